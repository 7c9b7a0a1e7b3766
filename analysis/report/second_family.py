"""The second registered family as the report tells it: eager less cautious, and which pole moves more."""

from collections.abc import Sequence

from analysis.report.bound_numbers import Book, Source
from analysis.report.study import Study
from analysis.stats.answers import NetContrast
from analysis.stats.asymmetry import Asymmetry, HeadroomLeft, headroom
from common.vocabulary import POLES


def headroom_of(study: Study, model: str) -> HeadroomLeft | None:
    """What headroom the items leave a base; None without a lock, which holds it."""
    if study.lock is None:
        return None
    locked = study.lock[0]
    bands = [headroom.band for headroom in locked.calibration.get(model, {}).values()]
    settings = locked.plan.lock
    return headroom(bands, locked.plan.evaluate.base_samples, settings.band_items, settings.band_samples)


def balance(able: bool, found: Asymmetry | None, left: HeadroomLeft | None) -> str:
    """Which pole moves more, in words without a number."""
    if left is None:
        return "cannot say: without a lock no headroom is known"
    if not left.enough:
        return "cannot say: too few items in a band of headroom"
    if not able:
        return "not interpreted: the model cannot answer the question"
    if found is None:
        return "not tested: too few runs of both poles and neutral"
    if found.more is None:
        return "not shown: less than the smallest one that would have been"
    (other,) = set(POLES) - {found.more}
    return f"shown: {found.more} advice moves its runs further to its own side than {other} advice does"


def thresholds(book: Book, study: Study) -> None:
    """Enter what the lock demands before it is said which pole moves more."""
    if study.lock is not None:
        locked, source = study.lock
        for name, value in (
            ("band_items", locked.plan.lock.band_items),
            ("band_samples", locked.plan.lock.band_samples),
            ("base_samples", locked.plan.evaluate.base_samples),
        ):
            book.add(name, value, "count", [source])


def enter(book: Book, study: Study, model: str, found: Asymmetry, sources: Sequence[Source]) -> None:
    """Enter the numbers of an asymmetry."""
    name = f"asymmetry.{model}"
    enter_tested(book, study, name, found, found.trios, sources)
    for pole, moved in found.moved.items():
        book.add(f"{name}.{pole}", moved, "points", sources)


def enter_tested(
    book: Book, study: Study, name: str, found: NetContrast | Asymmetry, runs: int, sources: Sequence[Source]
) -> None:
    """Enter an interval with the tests that are registered, over so many matched runs, and what they could find."""
    book.add_shift(name, found.interval, sources)
    for what, value, unit in (
        ("pairs", runs, "count"),
        ("holm", found.p_holm if "two-way-t" in study.tests else None, "p"),
        ("flip", found.p_sign_flip if "sign-flip" in study.tests else None, "p"),
        ("detectable", found.detectable, "points"),
    ):
        book.add(f"{name}.{what}", value, unit, sources)
