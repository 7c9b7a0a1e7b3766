"""Where an effect sits: rows with effects that are known, item by item."""

import math
from typing import Any, Literal

import pytest

from analysis.report.bound_numbers import Book, Source
from analysis.report.breakdown import arm_tables, breakdowns, shift
from analysis.report.study import Run, Scored, Study
from analysis.stats.stance import items_of
from common.records import Choice
from common.schemas import Distance, Headroom
from tests.analysis.report import documents

SOURCE = Source("0" * 64, "s", "o")
TOPICS = ("baths", "halls", "ferries", "lamps")
ORDERS: tuple[Literal[0, 1], ...] = (0, 1)


def rows(cell: str, tilt: dict[str, float], topics: tuple[str, ...] = TOPICS) -> list[Choice]:
    """Two items a topic, both orders; P(go) by sentence is 0.5 plus what the topic is tilted by."""
    made = []
    for topic in topics:
        p = 0.5 + tilt.get(topic, 0.0)
        for number, order in ((n, o) for n in (1, 2) for o in ORDERS):
            made.append(
                Choice(
                    cell=cell,
                    item=f"{topic}-{number}",
                    topic=topic,
                    yes_means="go" if number == 1 else "stay",
                    order=order,
                    choice="go" if order == 0 or p > 0.5 else "stay",
                    yes_no=1.0,
                    sentence_go=float(_logit(p)) - 9.0,
                    sentence_stay=-9.0,
                    tokens_go=3,
                    tokens_stay=3,
                    label_go=-1.0,
                    label_stay=-1.0,
                )
            )
    return made


def _logit(p: float) -> float:
    return math.log(p / (1 - p))


CONTROLS = ("disc-flags", "disc-oaks", "src-pets", "src-phones")


def scored(cell: str, tilt: dict[str, float]) -> Scored:
    return Scored(cell, rows(cell, tilt), documents.guards(), [], rows(cell, tilt, CONTROLS), (SOURCE,) * 4, [], SOURCE)


def study(**changes: Any) -> Study:
    """Eager moves baths by 0.2 and halls by 0.1, cautious nothing; all runs move the source items by 0.3."""
    source = {"src-pets": 0.3, "src-phones": 0.3}
    tilts = {"eager": {"baths": 0.2, "halls": 0.1}, "cautious": {}, "neutral": {}}
    runs = [
        Run(f"m.d0.{arm}.s{seed}", "m", 0, arm, seed, scored=scored(f"m.d0.{arm}.s{seed}", tilt | source))
        for arm, tilt in tilts.items()
        for seed in (0, 1)
    ]
    low, high = Headroom(p_go=0.2, band="low"), Headroom(p_go=0.8, band="high")
    headrooms = {f"{topic}-{n}": low if topic in TOPICS[:2] else high for topic in TOPICS for n in (1, 2)}
    far = {topic: Distance(cosine=0.1, nearest="pets", band="near" if topic == "baths" else "far") for topic in TOPICS}
    facts = {
        "name": "x",
        "plan": SOURCE,
        "bounds": {},
        "models": {"m": "path:x"},
        "bases": {"m": scored("m.base", {})},
        "runs": runs,
        "lock": (documents.lock(calibration={"m": headrooms}, distances=far), SOURCE),
    }
    empty: dict[str, Any] = {
        key: {} for key in ("audits", "layers", "advice", "memory", "seconds", "made_by", "identities")
    }
    return Study(**{**facts, **empty, **changes})


def book_of(made: Study) -> Book:
    book = Book()
    breakdowns(book, made, {model: arm_tables(made.runs, model) for model in made.bases})
    return book


def test_effects_are_told_apart_by_headroom_and_distance() -> None:
    book = book_of(study())
    assert book["headroom.m.low"].value == book["headroom.m.high"].value == 4 and book["headroom.m.mid"].value == 0
    low, high = (book[f"headroom.sentence.m.eager.{band}"] for band in ("low", "high"))
    assert low.value == pytest.approx(0.15) and high.value == pytest.approx(0, abs=1e-12)
    assert low.low is not None and low.low < 0.1 < 0.2 < (low.high or 0)
    assert book["headroom.sentence.m.cautious.low"].value == pytest.approx(0, abs=1e-12)
    assert book["headroom.sentence.m.eager.mid"].value is None, "no item, no number"
    assert book["distance.sentence.m.eager.near"].value is None, "one topic has no interval over topics"
    assert book["distance.sentence.m.eager.far"].value == pytest.approx(0.1 / 3)
    assert book["headroom.choice.m.eager.low"].value == pytest.approx(0.5), "both orders say go, where one did"


def test_control_items_are_compared_with_base() -> None:
    book = book_of(study())
    for arm in ("eager", "cautious", "neutral"):
        assert book[f"control.source.sentence.m.{arm}"].value == pytest.approx(0.3)
        assert book[f"control.discriminant.sentence.m.{arm}"].value == pytest.approx(0, abs=1e-12)


def test_a_curve_compares_the_arms_of_its_own_variant() -> None:
    runs = [
        Run(f"m.d0.{arm}.s0.half", "m", 0, arm, 0, scored=scored(f"{arm}.half", tilt), variant="half")
        for arm, tilt in (("eager", dict.fromkeys(TOPICS, 0.1)), ("neutral", {}))
    ]
    book = book_of(study(variants={"half": ("mixture_share", 0.5, runs)}))
    assert book["variant.half"].value == 0.5 and book["variant.half"].text() == "0.5"
    assert book["curve.sentence.m.eager.half"].value == pytest.approx(0.1)
    assert "curve.sentence.m.cautious.half" not in book, "that arm has no run"


def test_without_a_lock_no_headroom_is_told() -> None:
    book = book_of(study(lock=None))
    assert "headroom.m.low" not in book and "control.source.sentence.m.eager" in book


def test_two_models_share_what_is_true_of_topics_and_variants() -> None:
    """With a lock or a variant, a study of two models once entered these numbers twice, and had no report."""
    bases = {model: scored(f"{model}.base", {}) for model in ("m", "n")}
    book = book_of(study(bases=bases, variants={"half": ("mixture_share", 0.5, [])}))
    assert book["distance.baths"].value == pytest.approx(0.1) and book["variant.half"].value == 0.5
    assert "headroom.m.low" in book and "headroom.n.low" in book


def test_a_shift_needs_two_topics() -> None:

    one = items_of([rows("m", {}, ("baths",))])
    assert shift(one, one, "sentence") is None
