"""The second family in a report: which pole moves more is said only where the base leaves headroom on both sides."""

from typing import Any

import pytest

from analysis.report.answers import Headline, advised, headlines_of, in_words, matched
from analysis.report.bound_numbers import Book, Source
from analysis.report.second_family import balance
from analysis.stats.asymmetry import HeadroomLeft, Trio, asymmetry
from common.lock_spec import LockSpec
from common.schemas import Band, Headroom
from common.spec import EvaluateSpec
from tests.analysis.report import documents
from tests.analysis.report.test_paired_runs import ARMS, study_of

HEADROOM = HeadroomLeft({}, True)


def lock(many: dict[Band, int], **settings: Any) -> tuple[Any, Source]:
    """A lock under which so many items lie in each band."""
    bands = {f"{band}{n}": Headroom(p_go=0.5, band=band) for band, count in many.items() for n in range(count)}
    plan = documents.SPEC.model_copy(update={"evaluate": EvaluateSpec(base_samples=8), "lock": LockSpec(**settings)})
    return documents.lock(plan=plan, calibration={"m": bands}), Source("0" * 64, "lock/study", "lock.json")


def headline(**changes: Any) -> Headline:
    (found,) = headlines_of(study_of(*ARMS, **changes)).values()
    return found


def test_with_headroom_both_tests_are_one_family_and_every_number_is_entered() -> None:
    study = study_of(*ARMS, lock=lock({"low": 24, "mid": 24, "high": 24}))
    (told,) = headlines_of(study).values()
    rows, sources = matched(study, "m", Trio._fields)
    alone = asymmetry(Trio(*rows))
    assert [[run[0].cell for run in arm] for arm in rows] == [
        [f"m.d0.{arm}.s{seed}" for seed in (2, 0, 1)] for arm in ("cautious", "eager", "neutral")
    ]
    assert told.asymmetry is not None and told.apart is not None and told.headroom == HEADROOM
    smaller, larger = sorted((told.apart.p, told.asymmetry.p))
    assert sorted((told.apart.p_holm, told.asymmetry.p_holm)) == pytest.approx(
        [min(1, 2 * smaller), max(min(1, 2 * smaller), larger)]
    )
    book = Book()
    advised(book, study, {"m": told})
    assert book.value("asymmetry.m") == pytest.approx(alone.interval.estimate)
    assert book.value("asymmetry.m.holm") == told.asymmetry.p_holm and book.value("asymmetry.m.pairs") == 3
    assert book.value("asymmetry.m.cautious") == pytest.approx(15 / 16), "it says stay to all but one item of a run"
    assert {*book["asymmetry.m"].sources} == {*sources} and len(sources) == 9


@pytest.mark.parametrize(
    "many, settings",
    [
        ({"low": 23, "mid": 24, "high": 24}, {}),
        ({"low": 99, "mid": 99}, {}),
        ({"low": 24, "mid": 24, "high": 24}, {"band_items": 25}),
        ({"low": 24, "mid": 24, "high": 24}, {"band_samples": 9}),
    ],
)
def test_without_headroom_it_is_neither_tested_nor_said(many: dict[Band, int], settings: dict[str, int]) -> None:
    study = study_of(*ARMS, lock=lock(many, **settings))
    (told,) = headlines_of(study).values()
    assert told.asymmetry is None and told.headroom is not None and not told.headroom.enough
    assert told.apart is not None and told.apart.p_holm == told.apart.p, "it is alone in its family"
    assert told.balance().startswith("cannot say: ")
    book = Book()
    advised(book, study, {"m": told})
    assert "asymmetry.m" not in book and "  asymmetry: cannot say: " in in_words(study, book, {"m": told})


def test_the_words_follow_from_what_is_known() -> None:
    told = headline(lock=lock({"low": 24, "mid": 24, "high": 24}))
    found = told.asymmetry
    assert found is not None and told.balance() == "not interpreted: the model cannot answer the question"
    assert headline().balance() == "cannot say: without a lock no headroom is known"
    sure, unsure = found._replace(p_holm=0.01), found._replace(p_holm=0.2)
    other_way = sure._replace(interval=sure.interval._replace(estimate=-0.4))
    assert balance(True, None, HEADROOM).startswith("not tested: ")
    assert balance(True, unsure, HEADROOM) == "not shown: less than the smallest one that would have been"
    assert balance(True, sure, HEADROOM) == (
        "shown: cautious advice moves its runs further to its own side than eager advice does"
    )
    assert balance(True, other_way, HEADROOM).startswith("shown: eager advice moves")
