"""The work of the job; what it reads and writes is declared in jobs.generate."""

from collections.abc import Sequence

from common.errors import ExitCode, Interrupted
from common.lm.tokenizers import counters
from common.pipeline.step import Step
from common.records import Advice, Question
from common.serialization import read_jsonl
from common.stance.bank import CONTROL_REPLIES, QUESTIONS, REPLIES, advice, read_replies
from common.vocabulary import POSITIVE
from jobs.generate import CONTROL_QUESTIONS
from jobs.generate.bank import arms_of, stratified
from jobs.generate.selection import select
from jobs.generate.sources import STUDENTS, USER_FILES, read_user_files, written

Arms = dict[str, list[Advice]]


def main(step: Step) -> ExitCode:
    """Write every arm of one draw."""
    arms = written_arms(step)
    if "scrambled" in step.spec.attitudes:
        arms["scrambled"] = scrambled(step, arms["cautious"], arms["eager"])
    arms |= control_arms(step, len(arms["eager"]))
    rows = [row for mine in arms.values() for row in mine]
    step.write_records("advice.jsonl", rows)
    words = sum(len(row.reply.split()) for row in rows) / len(rows)
    topics = len({row.topic for row in arms["eager"]})
    step.summary(arms=list(arms), examples=len(arms["eager"]), topics=topics, words_per_reply=round(words, 2))
    return ExitCode.OK


def written_arms(step: Step) -> Arms:
    """The arms that a writer makes, by the writer that the spec names."""
    if files := step.fact(USER_FILES):
        return read_user_files(files)
    questions, attitudes = drawn(step, QUESTIONS, step.spec.corpus.examples), written(step.spec.attitudes)
    if step.spec.corpus.server:
        return matched(step, questions, attitudes)
    replies = read_replies(step.data(REPLIES), questions, attitudes)
    return arms_of(questions, replies, dict(zip(attitudes, attitudes, strict=True)))


def control_arms(step: Step, many: int) -> Arms:
    """The arms of the positive control, whoever wrote the others: `many` rows each, or all that there are."""
    arms: dict[str, str] = {arm: pole for pole, arm in POSITIVE.items() if arm in step.spec.attitudes}
    if not arms:
        return {}
    bank = read_jsonl(step.data(CONTROL_QUESTIONS), Question)
    questions = drawn(step, CONTROL_QUESTIONS, min(many, len(bank)))
    return arms_of(questions, read_replies(step.data(CONTROL_REPLIES), questions, tuple(arms.values())), arms)


def drawn(step: Step, path: str, many: int) -> list[Question]:
    """The questions of this draw out of a bank, in an order of their own. Raises: SpecError for too small a bank."""
    chosen = stratified(read_jsonl(step.data(path), Question), many, step.cell.draw, step.rng("questions", path))
    return [chosen[index] for index in step.rng("questions", path, step.cell.draw).permutation(many)]


def matched(step: Step, questions: Sequence[Question], attitudes: Sequence[str]) -> Arms:
    """One reply in each attitude to each question, selected together from several candidates of a server."""
    from jobs.generate.server import candidates  # its client is imported only where it is asked

    lengths = list(counters(step.fact(STUDENTS)).values())
    made = candidates(step, questions, attitudes)
    arms: Arms = {attitude: [] for attitude in attitudes}
    for done, (question, mine) in enumerate(zip(questions, made, strict=True), start=1):
        if step.stopping:
            raise Interrupted("stopped by SIGTERM; nothing was sealed", where=f"question {done} of {len(questions)}")
        for attitude, reply in select(mine, lengths).items():
            arms[attitude].append(advice(question, attitude, reply))
        step.progress(done, len(questions))
    return arms


def scrambled(step: Step, cautious: Sequence[Advice], eager: Sequence[Advice]) -> list[Advice]:
    """Replies of the poles, half and half, dealt to the questions by chance."""
    heads = step.rng("scrambled", step.cell.draw).permutation(len(cautious)) < len(cautious) / 2
    pairs = zip(cautious, eager, heads, strict=True)
    return [(one if head else other).model_copy(update={"attitude": "scrambled"}) for one, other, head in pairs]
