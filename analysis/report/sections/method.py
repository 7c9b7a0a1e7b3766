"""How to read this, what was fixed beforehand, and what it does not show."""

from dataclasses import dataclass

from analysis.report.bound_numbers import Shown
from analysis.report.prose import Named, Prose, Written, listed, prose
from analysis.report.section import Bullets, Fold, Part, Section, row, say, table
from analysis.report.sections.facts import Facts, LabelNumbers, Numbers
from analysis.report.sections.training import trained
from analysis.stats.intervals import FEWEST_RUNS


@dataclass(frozen=True)
class Extent(Numbers):
    """How much a study asked."""

    seeds: Shown
    draws: Shown
    models: Shown


def method(facts: Facts) -> Section:
    """What was done, and what was fixed before anything tuned was scored."""
    study = facts.study
    opening = prose(
        *(trained(facts), " Each was trained on one pile of everyday advice that differs from the others in attitude "),
        "alone, and asked what it would advise on topics that no pile mentions.",
    )
    parts: list[Part] = [
        say(
            "Each answer was read as *go* (the change), *stay*, *both sides*, *off topic* or *incoherent*. As many "
            "items propose to keep things as propose to change them: agreeing with what is proposed is no stance. "
            "*Base* is the model before training."
        ),
        *read_by(facts),
        say(
            *("Brackets hold intervals with ", facts.n("level"), " coverage. What is not in a registered family is "),
            *(
                "exploratory, and has intervals alone. In ",
                Named("report.html"),
                " a click on a number tells the outputs ",
            ),
            *("that it was worked out from; all digests stand in ", Named("provenance.json"), "."),
        ),
    ]
    parts += fixed(facts)
    if study.identities:
        rows = [row(Named(model), Named(identity)) for model, identity in study.identities.items()]
        parts.append(Fold(prose("The models, by digest"), tuple(table(["model", "digest or revision"], rows))))
    return Section("method", "Method, and what was fixed beforehand", "", opening, tuple(parts))


def read_by(facts: Facts) -> list[Part]:
    """What says which word an answer is."""
    told = facts.study.labels
    if not told:
        return []
    return [by_labels(facts.labels(), whole=not told.missing)]


def by_labels(labels: LabelNumbers, whole: bool) -> Part:
    """That labels say it, and how well the passes agree; or that they are not whole."""
    if not whole:
        return say(
            *("**The labels are not whole.** The lock has this study read by labels, and ", labels.missing, " of "),
            *(labels.answers, " greedy answers have none of both passes. Until they have, net go "),
            "is what the reader says: a sketch, and nothing registered is told.",
        )
    return say(
        "**Read by labels**, as the lock has it: net go is taken over greedy answers, and both labels of an ",
        *("answer count alike. Of ", labels.answers, " different answers both blind passes agree at κ "),
        *(labels.kappa, "; the reader agrees with labels at κ ", labels.kappa_reader),
        ", where both passes are of one mind.",
    )


def fixed(facts: Facts) -> list[Part]:
    """The lock, what differs from it, and the deviations that were written down."""
    if facts.study.lock is None:
        return [say("There is no lock: nothing that was tuned was scored.")]
    locked, source = facts.study.lock
    named = listed([Named(test) for test in facts.study.tests])
    lead = say(
        "Before any tuned model was scored, the plan, the items, the corpora and all code were locked; every scored ",
        *(
            "row holds the digest of that lock, ",
            Named(source.digest),
            ". The lock names these tests, and no other was made: ",
        ),
        *(named, "."),
    )
    return [lead, say(commit(locked.commit)), *changed(facts), *deviations(facts), *earlier(facts)]


def commit(of: str) -> Prose:
    """Whether the lock is of a commit."""
    if not of or of.endswith("+"):
        return prose(
            "**It was made on files that differed from their commit, so it registers nothing**: this study is a trial."
        )
    return prose("It was made at commit ", Named(of), "; check it with ", Named("make verify-lock"), ".")


def changed(facts: Facts) -> list[Part]:
    """Which files are not as locked."""
    if not facts.study.changed:
        return [say("Code and data are those that were locked.")]
    files = Bullets(tuple(prose(Named(file)) for file in facts.study.changed))
    return [say("**Code or data are not what was locked.**"), Fold(prose("Files that differ"), (files,))]


def deviations(facts: Facts) -> list[Part]:
    """What was done otherwise than locked, as it was written down."""
    if not facts.study.deviations:
        return [say("No deviation was written down.")]
    told = [
        prose(Named(each.when), ": ", Written(each.what), ", because ", Written(each.why))
        for each in facts.study.deviations
    ]
    return [say("Deviations from the lock:"), Bullets(tuple(told))]


def earlier(facts: Facts) -> list[Part]:
    """Locks of earlier studies on some of the same models."""
    if facts.study.lock is None or not facts.study.lock[0].earlier:
        return []
    names = [prose(Named(name), ", ", Named(digest)) for name, digest in facts.study.lock[0].earlier.items()]
    return [say("Earlier studies on some of the same models were locked before this one:"), Bullets(tuple(names))]


def limits(facts: Facts) -> Section:
    """What this does not show."""
    extent = Extent(seeds=facts.n("seeds"), draws=facts.n("draws"), models=facts.n("models"))
    points = not_shown(extent, judged=bool(facts.study.judged))
    opening = prose("What was not asked, or was asked too seldom, is not shown.")
    return Section("limits", "What this does not show", "", opening, (Bullets(tuple(points)),))


def not_shown(extent: Extent, judged: bool) -> list[Prose]:
    """What follows from how much was asked, a point each."""
    points = []
    if not judged:
        points.append(prose("Whether a judge would read the answers as the reader does: the spec names none."))
    points.append(prose("A guard that is *not shown* may have changed or not: the prompts were too few to tell."))
    if (extent.seeds.number.value or 0) < FEWEST_RUNS:
        luck = " nothing can be said about other ones: how much of a shift is the luck of one training is not known."
        points.append(prose("Number of seeds: ", extent.seeds, ". So", luck))
    if (extent.draws.number.value or 0) <= 1:
        points.append(prose("Whether another draw of the corpora would do the same: there is ", extent.draws, "."))
    if (extent.models.number.value or 0) <= 1:
        points.append(prose("Whether another model would do the same: there is ", extent.models, "."))
    return points


def runs(facts: Facts) -> list[Section]:
    """Every run in a line; nothing where none is planned."""
    parts: list[Part] = []
    for model in facts.study.bases:
        rows = [_run(facts, run.cell) for run in facts.study.arm_order(model)]
        parts += table(
            ["run", "by choice", "by sentence", "gate: shift from base", "verdict", "moved", "drifted"], rows
        )
    judged = [run.cell for run in facts.study.runs if run.verdict and run.model in facts.study.bases]
    if judged:
        at = f"run.{judged[0]}"
        level = prose(" and intervals of ", facts.n(f"{at}.level"), " coverage. *Undecided* does not pass.")
        parts.append(say("The gate judged each shift with a bound of ", facts.n(f"{at}.bound"), " either way", level))
    opening = prose("Each fine-tune by itself, as the gate and the monitor see it.")
    fold = Fold(prose("Shift, verdict and drift of every run"), tuple(parts))
    return [Section("runs", "Every run", "exploratory", opening, (fold,))] if parts else []


def _run(facts: Facts, cell: str) -> tuple[Prose, ...]:
    run = next(each for each in facts.study.runs if each.cell == cell)
    at = f"run.{cell}"
    drifted = facts.n(f"{at}.drifted_at") if run.drift and run.drift[0].drifted_at is not None else "never"
    return row(
        *(Named(cell), *(facts.or_else(f"{at}.{what}", "gap") for what in ("choice", "sentence", "gate"))),
        *(run.verdict[0].verdict if run.verdict else "gap", facts.or_else(f"{at}.drift", "gap")),
        drifted if run.drift else "gap",
    )
