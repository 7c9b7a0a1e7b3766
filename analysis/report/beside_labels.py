"""Where labels are what is counted: the reader on the same answers, and what both tell together, beside them."""

from collections.abc import Sequence

from analysis.report.answers import PAIRS, paired, scored
from analysis.report.bound_numbers import Book, Source
from analysis.report.study import Scored, Study
from analysis.stats.answers import plain, rates
from analysis.stats.powered import Both, powered
from analysis.stats.sensitivity import apart
from common.records import Answer


def beside_labels(book: Book, study: Study) -> None:
    """Enter how far the study is labelled and, once it is, held-out net go and contrasts by the reader, and by both."""
    if (told := study.labels) is None:
        return
    book.add("labels.answers", told.answers, "count", [told.source])
    book.add("labels.missing", told.missing, "count", [told.source])
    book.add("labels.kappa", told.kappa, "plain", [told.source])
    book.add("labels.kappa.reader", told.kappa_reader, "plain", [told.source])
    for model, base in study.bases.items() if not told.missing else ():
        arms = {"base": [base], **{name: scored(study, model, name) for name in study.attitudes}}
        for arm, cells in arms.items():
            rows = [row for cell in cells for row in _same_by_reader(cell)]
            if rows:
                sources = [cell.answers_source for cell in cells]
                book.add(f"reader.netgo.{model}.{arm}", rates(rows).net, "points", sources)
        for one, other in PAIRS:
            _pair(book, f"{model}.{one}-{other}", *paired(study, model, one, other))


def _pair(book: Book, name: str, tuned: Sequence[Scored], control: Sequence[Scored]) -> None:
    """One contrast by labels, by the reader on the same answers, and by both; nothing where no run has its pair."""
    if not tuned:
        return
    read: list[Source] = [cell.answers_source for cell in (*tuned, *control)]
    labelled: list[Source] = [source for cell in (*tuned, *control) for source in cell.counted_from]
    arms = (tuned, control)
    labels = apart(*([plain(cell.counted, "held-out") for cell in arm] for arm in arms))
    reader = apart(*([_same_by_reader(cell) for cell in arm] for arm in arms))
    both = powered(*([_both(cell) for cell in arm] for arm in arms))
    book.add_shift(f"labels.contrast.{name}", labels, labelled)
    book.add_shift(f"reader.contrast.{name}", reader, read)
    book.add_shift(f"powered.contrast.{name}", both, labelled)


def _same_by_reader(cell: Scored) -> list[Answer]:
    """The held-out answers that are labelled, as the reader reads them."""
    seen = {(row.item, row.sample) for row in plain(cell.counted, "held-out")}
    return [row for row in plain(cell.answers, "held-out") if (row.item, row.sample) in seen]


def _both(cell: Scored) -> Both:
    """The held-out answers with labels, and all of them as the reader reads them."""
    labelled = cell.labelled[0] if cell.labelled else []
    return plain(labelled, "held-out"), plain(cell.answers, "held-out")
