"""What each measure is worth on each model, as the report tells it."""

from collections.abc import Sequence

from analysis.report.answers import paired
from analysis.report.bound_numbers import Book
from analysis.report.breakdown import shift
from analysis.report.study import Scored, Study
from analysis.stats.answers import plain
from analysis.stats.measures import MEASURES
from analysis.stats.reliability import ANSWER, UNRELIABLE, Told, reliabilities
from analysis.stats.stance import items_of
from common.records import Answer


def worth(book: Book, study: Study) -> None:
    """Enter the correlations of every measure, why one is not known, and the verdict by the threshold of the lock."""
    for model, base in study.bases.items():
        cautious, eager = paired(study, model, "cautious", "eager")
        cells = [base, *cautious, *eager]
        sources = [source for cell in cells for source in (*cell.counted_from, cell.sources[0])]
        whole = study.labels is None or not study.labels.missing
        arms = [[told(run, run.counted if whole else run.answers) for run in arm] for arm in (cautious, eager)]
        found = reliabilities(told(base, base.answers), *arms)  # labels are of greedy answers; a base has its samples
        for name, each in found.items():
            at = f"reliability.{name}.{model}"
            for what, made in each._asdict().items():
                book.add(f"{at}.{what}", made.value, "plain", sources)
                book.say(f"{at}.{what}", made.reason)
            if study.lock is not None:
                book.say(at, each.verdict(study.lock[0].plan.lock.reliable))
        if study.lock is not None:
            book.add(f"reliability.{model}.least", study.lock[0].plan.lock.reliable, "plain", [study.lock[1]])
        _apart(book, model, cautious, eager)


def _apart(book: Book, model: str, cautious: list[Scored], eager: list[Scored]) -> None:
    """Eager less cautious by each closed form; the open answers have theirs in the registered part."""
    if not cautious:
        return
    before, after = (items_of([cell.choices for cell in arm]) for arm in (cautious, eager))
    sources = [cell.sources[0] for cell in (*cautious, *eager)]
    for measure in MEASURES:
        book.add_shift(f"apart.{measure}.{model}", shift(before, after, measure), sources)


def told(cell: Scored, answers: Sequence[Answer]) -> Told:
    """What a cell said to held-out items."""
    return Told(plain(answers, "held-out"), cell.choices)


def titles() -> dict[str, str]:
    """Open answers and every measure, as tables name them."""
    return {ANSWER: "open answers", **{name: declared.title for name, declared in MEASURES.items()}}


def is_unreliable(book: Book, measure: str, model: str) -> bool:
    """Whether a measure is shown greyed."""
    return book.word(f"reliability.{measure}.{model}", "") == UNRELIABLE


def heading(book: Book, measure: str, model: str, words: str) -> str:
    """The heading of a measure, marked where it is unreliable."""
    return f"{words}, {UNRELIABLE}" if is_unreliable(book, measure, model) else words
