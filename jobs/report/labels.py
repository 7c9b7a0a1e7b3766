"""Labels of a study beside its answers: each greedy answer of base and runs with the labels of both passes."""

from collections.abc import Sequence
from dataclasses import replace

from analysis.report.bound_numbers import Source
from analysis.report.study import Labelling, Scored, Study
from analysis.stats.agreement import kappa, kappa_with
from common.digests import sha256
from common.pipeline.outputs import Outputs
from common.records import Answer, Labelled
from common.stance.labels import Pairs, answer_digest, pairs_of, read_labels, to_label
from jobs.report import LABELS


def with_labels(step: Outputs, study: Study) -> Study:
    """The study with its labels, where its lock has it read by them. Raises: InputError if their file is not whole."""
    if step.spec.lock.read_by != "labels":
        return study
    path = step.fact(LABELS)
    pairs = pairs_of(read_labels(path), path.name)
    source = Source(sha256(path.read_bytes()), "code", f"locks/{path.name}") if path.is_file() else study.plan
    told = labelling([*study.bases.values(), *(run.scored for run in study.runs if run.scored)], pairs, source)
    if told.missing:  # with some labels only, arms would not be asked alike
        return replace(study, labels=told)
    return replace(
        study,
        labels=told,
        bases={model: labelled(base, pairs, source) for model, base in study.bases.items()},
        runs=[replace(run, scored=labelled(run.scored, pairs, source)) if run.scored else run for run in study.runs],
    )


def labelling(cells: Sequence[Scored], pairs: Pairs, source: Source) -> Labelling:
    """How far these cells are labelled, and how the passes agree over what is."""
    named: dict[str, Answer] = {
        answer_digest(row.item, row.text): row for cell in cells for row in to_label(cell.answers)
    }
    both = [name for name in named if name in pairs]
    labels = [pairs[name] for name in both]
    return Labelling(
        answers=len(named),
        missing=len(named) - len(both),
        kappa=kappa([first for first, _ in labels], [second for _, second in labels]),
        kappa_reader=kappa_with([named[name].said for name in both], labels),
        source=source,
    )


def labelled(scored: Scored, pairs: Pairs, source: Source) -> Scored:
    """One cell with the labels of its greedy answers."""
    rows = [Labelled(**dict(row), labels=pairs[answer_digest(row.item, row.text)]) for row in to_label(scored.answers)]
    return replace(scored, labelled=(rows, source))
