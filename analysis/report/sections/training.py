"""Did training take? What runs say on the topics of the piles themselves, and how their loss fell."""

from analysis.report.chart_data import loss_rows
from analysis.report.charts import losses
from analysis.report.prose import Named, Prose, listed, prose
from analysis.report.section import Figure, Fold, Part, Section, row, say, table
from analysis.report.sections.facts import Facts, model_name
from analysis.stats.sensitivity import TRAINING_TOOK
from common.vocabulary import ATTITUDES

ENDS = {
    "loss_first_quarter": "loss, first quarter",
    "loss_last_quarter": "loss, last quarter",
    "steps": "steps",
    "tokens_per_second": "speed",
    "utilisation": "of the GEMM peak",
    "seconds": "time",
}


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
    number = facts.n(f"condition.{model}.{TRAINING_TOOK}")
    verdict = "took" if told.passed else "is **not** shown to have taken"
    where = "on the topics of the piles, eager less cautious runs: "
    return prose(f"Training {verdict} in ", model_name(model), f": {where}", number, ".")


def net_by_kind(facts: Facts, model: str) -> list[Part]:
    """Net go of each arm by kind of item."""
    kinds = {
        "source": "topics of the piles",
        "held-out": "held-out topics",
        "acting": "caution means the change",
        "discriminant": "nothing changes",
    }
    rows = [
        row(arm, *(facts.or_else(f"netgo.{model}.{arm}.{kind}", "not asked") for kind in kinds))
        for arm in facts.arms()
        if any(f"netgo.{model}.{arm}.{kind}" in facts for kind in kinds)
    ]
    return table([prose(Named(model), ", net go"), *kinds.values()], rows)


def held_out(facts: Facts) -> list[Part]:
    """The loss of each run on replies that it did not read, before and after."""
    told = [
        prose(Named(run.cell), " ", facts.n(f"{at}.held_out_before"), ", ", facts.n(f"{at}.held_out_after"))
        for run in facts.study.runs
        if f"{(at := f'run.{run.cell}')}.held_out_after" in facts
    ]
    if not told:
        return []
    rows = prose(*(piece for at, each in enumerate(told) for piece in ("; " if at else "", each)))
    return [say("Loss on held-out replies of the same attitude, before and after: ", rows, ".")]


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
    rows = [
        row(Named(run.cell), *(facts.n(f"run.{run.cell}.{what}") for what in ENDS))
        for run in facts.study.runs
        if run.training
    ]
    return table(["run", *ENDS.values()], rows)


def costs(facts: Facts) -> list[Part]:
    """Time and memory of each stage."""
    rows = [row(job, facts.n(f"seconds.{job}"), facts.n(f"memory.{job}")) for job in facts.study.memory]
    made = table(["stage", "time of all its steps", "largest memory of a step"], rows)
    if facts.study.made_by:
        made.append(say("Packages, processor and commit of the steps stand in ", Named("provenance.json"), "."))
    return made


def trained(facts: Facts) -> Prose:
    """How many fine-tunes there are, in a sentence."""
    names = listed([prose(Named(name)) for name in facts.study.models])
    fewer = [prose(", of ", arm, " ", facts.n(at)) for arm in ATTITUDES if (at := f"seeds.{arm}") in facts]
    return prose(facts.n("runs"), " fine-tunes of ", names, "; seeds of each arm: ", facts.n("seeds"), *fewer, ".")
