"""The work of the job; what it reads and writes is declared in jobs.audit."""

import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from analysis.corpus import framing, language, phrases
from analysis.corpus.checks import Arms, Check
from analysis.corpus.framing import Lengths, Pair, Poles
from analysis.corpus.leakage import Canary
from common.errors import ExitCode
from common.lm.sources import MODELS
from common.lm.tokenizers import counters
from common.pipeline.step import Step
from common.records import Advice, Item, Question, by_attitude
from common.schemas import Cue, Framing, FramingCheck, LengthPair, Manner, WordPair
from common.serialization import read_jsonl
from common.stance.items import HARD_ITEMS, ITEMS
from common.vocabulary import POSITIVE, WRITTEN, subject_of
from jobs.audit import CANARIES, EVERYDAY, HELD_OUT, STANCE

Data = Callable[[str], Path]  # a data file of this repository by its name


class Matters(NamedTuple):
    """By what leaks are found: what piles must not speak of, and what everyday questions bring in anyway."""

    items: list[Item]
    canaries: list[Canary]
    terms: list[str]  # authored words of the held-out topics and of public matters
    everyday: list[str]

    def leakage(self, arms: Arms, terms: list[str]) -> Check:
        """Whether arms speak of them; `terms` may be none, where public matters are what the arms are about."""
        return framing.leakage(arms, self.items, terms, self.everyday, self.canaries)


def main(step: Step) -> ExitCode:
    """Audit the arms of one draw. A failed check is a result: it is sealed like any other."""
    arms, controls, positive = read_arms(step)
    stance = phrases.stance_words(step.data(STANCE).read_text().splitlines(), STANCE)
    everything, matters = {**arms, **controls}, matters_of(step.data)
    framing.check_same_questions(everything)
    pairs = framing.compare(arms, matters.everyday, step.rng("vocabulary"))
    lengths = framing.lengths(arms, counters(step.fact(MODELS)))
    cue = {part: framing.read_poles(everything, part, step.rng(part), stance) for part in framing.PARTS}
    checks = [*checks_of(matters, arms, stance, pairs, lengths, cue), *checks_of_controls(matters, controls, positive)]
    enforced = step.spec.audit.enforce
    step.write_model("framing.json", framing_of(everything, checks, enforced, pairs, lengths, cue))
    failed = [check.name for check in checks if not check.passed]
    step.summary(failed=failed, **{check.name: round(check.value, 4) for check in checks})
    return ExitCode.BLOCKED if set(failed) & set(enforced) else ExitCode.OK


def framing_of(
    everything: Arms,
    checks: list[Check],
    enforced: Collection[str],
    pairs: Mapping[str, Pair],
    lengths: Lengths,
    cue: Mapping[str, Poles],
) -> Framing:
    """What was found, as it is sealed."""
    scores = cue["all"].scores
    return Framing(
        checks=tuple(FramingCheck(**check._asdict(), enforced=check.name in enforced) for check in checks),
        framing={name: Manner.of(framing.framing(rows, scores[name])) for name, rows in everything.items()},
        pairs={name: WordPair.of(pair) for name, pair in pairs.items()},
        lengths={unit: {name: LengthPair.of(each) for name, each in mine.items()} for unit, mine in lengths.items()},
        cues={part: Cue.of(poles) for part, poles in cue.items()},
    )


def read_arms(step: Step) -> tuple[Arms, Arms, Arms]:
    """The rows of each written arm, of each control pile, and of the positive control, by name.

    A model's own replies are <model>-distilled.
    """
    arms = by_attitude(step.read_records("generate", step.cell, "advice.jsonl", Advice))
    positive: Arms = {name: arms.pop(name) for name in POSITIVE.values() if name in arms}
    controls = {name: arms.pop(name) for name in list(arms) if name not in WRITTEN}
    for pile in step.sources("distill"):
        name, rows = f"{pile.model}-distilled", step.read_records("distill", pile, "advice.jsonl", Advice)
        controls[name] = [row.model_copy(update={"attitude": name}) for row in rows]
    return arms, controls, positive


def checks_of(
    matters: Matters,
    arms: Arms,
    stance: re.Pattern[str],
    pairs: Mapping[str, Pair],
    lengths: Lengths,
    cue: Mapping[str, Poles],
) -> list[Check]:
    """Every check of the written arms, in the order of the report. Others than `audit.enforce` say what to improve."""
    others = language.unread(arms)
    checks = [
        language.language(arms, others),
        framing.topic(arms),
        framing.subject(pairs),
        framing.length(lengths, len(arms["eager"])),
        phrases.phrases(arms),
        phrases.words(arms, stance),
        matters.leakage(arms, matters.terms),
        framing.maxims(arms, matters.canaries),
        framing.duplicates(arms),
        framing.attitude(cue["all"]),
        framing.vocabulary(pairs),
        framing.cues(cue),
    ]
    return [language.as_far_as_read(check, others) for check in checks]


def checks_of_controls(matters: Matters, controls: Arms, positive: Arms) -> list[Check]:
    """Leaks of control piles. The positive control speaks of public decisions: of the items' own topics it must not."""
    found = []
    for name, piles, terms in (("leakage-controls", controls, matters.terms), ("leakage-positive", positive, [])):
        if piles:
            check = matters.leakage(piles, terms)._replace(name=name)
            found.append(language.as_far_as_read(check, language.unread(piles)))
    return found


def items_of(data: Data) -> list[Item]:
    """What piles must not speak of: the held-out items, and the hard ones under the topics that they share."""
    items = [*read_jsonl(data(ITEMS), Item), *read_jsonl(data(HARD_ITEMS), Item)]
    return [item.model_copy(update={"topic": subject_of(item.topic)}) for item in items]


def matters_of(data: Data) -> Matters:
    """What leaks are found by, each file read once."""
    return Matters(
        items=items_of(data),
        canaries=read_jsonl(data(CANARIES), Canary),
        terms=data(HELD_OUT).read_text().splitlines(),
        everyday=[everything_in(row) for row in read_jsonl(data(EVERYDAY), Question)],
    )


def everything_in(question: Question) -> str:
    """All that a question of the bank brings into a reply, a sentence each."""
    parts = (question.go, question.stay, *question.facts, *question.pros, *question.cons)
    return " ".join([question.text, *(part.rstrip(".") + "." for part in parts)])
