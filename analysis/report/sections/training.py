"""Did training take? What runs say on the topics of the piles themselves, and how their loss fell."""

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.report.bound_numbers import Shown
from analysis.report.chart_data import loss_rows
from analysis.report.charts import losses
from analysis.report.prose import Named, Prose, listed, prose
from analysis.report.section import Figure, Fold, Part, Section, row, say, table
from analysis.report.sections.facts import Facts, Numbers, OfArm, model_name
from analysis.stats.sensitivity import TRAINING_TOOK
from common.vocabulary import ATTITUDES

KINDS = ("topics of the piles", "held-out topics", "caution means the change", "nothing changes")
ENDS = ("loss, first quarter", "loss, last quarter", "steps", "speed", "of the GEMM peak", "time")
NOT_ASKED = "not asked"


@dataclass(frozen=True)
class Took(Numbers):
    """Whether training took in a model."""

    passed: bool
    apart: Shown  # net go on the topics of the piles, eager less cautious runs


@dataclass(frozen=True)
class NetByKind(Numbers):
    """Net go of an arm by kind of item, in the order of the columns KINDS, or that it was not asked."""

    source: Shown | str
    held_out: Shown | str
    acting: Shown | str
    discriminant: Shown | str


@dataclass(frozen=True)
class HeldOutLoss(Numbers):
    """The loss of a run on replies that it did not read."""

    cell: str
    before: Shown
    after: Shown


@dataclass(frozen=True)
class Ends(Numbers):
    """How a run was trained, in the order of the columns ENDS."""

    loss_first_quarter: Shown
    loss_last_quarter: Shown
    steps: Shown
    tokens_per_second: Shown
    utilisation: Shown
    seconds: Shown


@dataclass(frozen=True)
class Cost(Numbers):
    """What a stage cost."""

    seconds: Shown  # of all its steps
    memory: Shown  # the largest of a step


@dataclass(frozen=True)
class Trained(Numbers):
    """How many fine-tunes there are."""

    runs: Shown
    seeds: Shown  # of each arm
    fewer: tuple[OfArm, ...]  # the seeds of the arms that have fewer


def training(facts: Facts) -> Section:
    """The section."""
    told = [took(facts, model) for model in facts.study.bases]
    parts: list[Part] = []
    for model in facts.study.bases:
        parts += net_by_kind(facts, model)
    parts += [*held_out(facts), *loss(facts)]
    if runs := every_run(facts):
        parts.append(Fold(prose("How every run was trained, and what the stages cost"), (*runs, *costs(facts))))
    opening = prose(*(piece for each in told for piece in (each, " "))) if told else prose("No base was evaluated.")
    return Section("training", "Did training take?", "", opening, tuple(parts))


def took(facts: Facts, model: str) -> Prose:
    """Whether training took, in a sentence."""
    told = next((each for each in facts.headlines[model].conditions if each.name == TRAINING_TOOK), None)
    if told is None:
        return prose("Whether training took in ", model_name(model), " was not judged.")
    return judged(model, Took(told.passed, apart=facts.n(f"condition.{model}.{TRAINING_TOOK}")))


def judged(model: str, found: Took) -> Prose:
    """Whether training took, where a lock says how that is judged."""
    verdict = "took" if found.passed else "is **not** shown to have taken"
    where = "on the topics of the piles, eager less cautious runs: "
    return prose(f"Training {verdict} in ", model_name(model), f": {where}", found.apart, ".")


def net_by_kind(facts: Facts, model: str) -> list[Part]:
    """Net go of each arm by kind of item."""
    told = {arm: by_kind(facts, f"netgo.{model}.{arm}") for arm in facts.arms()}
    rows = [kinds_row(arm, found) for arm, found in told.items() if found.each()]
    return table([prose(Named(model), ", net go"), *KINDS], rows)


def by_kind(facts: Facts, at: str) -> NetByKind:
    """The numbers of one arm."""
    return NetByKind(
        source=facts.or_else(f"{at}.source", NOT_ASKED),
        held_out=facts.or_else(f"{at}.held-out", NOT_ASKED),
        acting=facts.or_else(f"{at}.acting", NOT_ASKED),
        discriminant=facts.or_else(f"{at}.discriminant", NOT_ASKED),
    )


def kinds_row(arm: str, found: NetByKind) -> tuple[Prose, ...]:
    """One arm in a line."""
    return row(arm, found.source, found.held_out, found.acting, found.discriminant)


def held_out(facts: Facts) -> list[Part]:
    """The loss of each run on replies that it did not read, before and after."""
    found = [
        HeldOutLoss(run.cell, before=facts.n(f"{at}.held_out_before"), after=facts.n(f"{at}.held_out_after"))
        for run in facts.study.runs
        if f"{(at := f'run.{run.cell}')}.held_out_after" in facts
    ]
    return [before_and_after(found)] if found else []


def before_and_after(found: Sequence[HeldOutLoss]) -> Part:
    """The losses of runs, one after another."""
    told = [prose(Named(each.cell), " ", each.before, ", ", each.after) for each in found]
    rows = prose(*(piece for at, each in enumerate(told) for piece in ("; " if at else "", each)))
    return say("Loss on held-out replies of the same attitude, before and after: ", rows, ".")


def loss(facts: Facts) -> list[Part]:
    """The loss of every run."""
    rows = loss_rows(facts.study)
    if rows.empty:
        return []
    arms = [arm for arm in ATTITUDES if arm in set(rows["arm"])]
    last = rows.groupby("arm", sort=False)["loss"].last()
    alt = "Loss by optimizer step. It ends at " + ", ".join(f"{value:.2f} for {arm}" for arm, value in last.items())
    caption = prose("Loss on reply tokens, in nats; a line is one run.")
    return [Figure("losses", losses(rows, arms), f"{alt}.", caption)]


def every_run(facts: Facts) -> list[Part]:
    """Each run: loss, steps, speed."""
    rows = [row(Named(run.cell), *ends(facts, f"run.{run.cell}").each()) for run in facts.study.runs if run.training]
    return table(["run", *ENDS], rows)


def ends(facts: Facts, at: str) -> Ends:
    """The numbers of one run."""
    return Ends(
        loss_first_quarter=facts.n(f"{at}.loss_first_quarter"),
        loss_last_quarter=facts.n(f"{at}.loss_last_quarter"),
        steps=facts.n(f"{at}.steps"),
        tokens_per_second=facts.n(f"{at}.tokens_per_second"),
        utilisation=facts.n(f"{at}.utilisation"),
        seconds=facts.n(f"{at}.seconds"),
    )


def costs(facts: Facts) -> list[Part]:
    """Time and memory of each stage."""
    rows = [
        row(job, *Cost(seconds=facts.n(f"seconds.{job}"), memory=facts.n(f"memory.{job}")).each())
        for job in facts.study.memory
    ]
    made = table(["stage", "time of all its steps", "largest memory of a step"], rows)
    if facts.study.made_by:
        made.append(say("Packages, processor and commit of the steps stand in ", Named("provenance.json"), "."))
    return made


def trained(facts: Facts) -> Prose:
    """How many fine-tunes there are, in a sentence."""
    fewer = tuple(OfArm(arm, facts.n(at)) for arm in ATTITUDES if (at := f"seeds.{arm}") in facts)
    return fine_tunes(list(facts.study.models), Trained(runs=facts.n("runs"), seeds=facts.n("seeds"), fewer=fewer))


def fine_tunes(models: Sequence[str], made: Trained) -> Prose:
    """How many fine-tunes of these models there are."""
    names = listed([prose(Named(name)) for name in models])
    fewer = [prose(", of ", each.told()) for each in made.fewer]
    return prose(made.runs, " fine-tunes of ", names, "; seeds of each arm: ", made.seeds, *fewer, ".")
