"""Which pole moves more: by hand, corrected in one family, and said only where the items have headroom."""

import numpy as np
import pytest

from analysis.stats.answers import Floats, Runs, net_contrast
from analysis.stats.asymmetry import Trio, asymmetry, headroom, second_family
from analysis.stats.intervals import holm, sign_flip, two_way_t
from common.errors import InputError
from common.records import Answer
from tests.analysis.stats.rows import answers

ITEMS = [f"{topic}{number}" for topic in "abcdef" for number in range(16)]


def arm(rng: np.random.Generator, name: str, go: float, stay: float, many: int = 5) -> list[list[Answer]]:
    """Runs that answer go and stay with these chances, and else nothing."""
    words, chances = ("go", "stay", "both sides"), (go, stay, 1 - go - stay)
    return [
        answers(f"{name}{seed}", {item: str(word) for item, word in zip(ITEMS, drawn, strict=True)})
        for seed, drawn in enumerate(rng.choice(words, (many, len(ITEMS)), p=chances))
    ]


def trio(cautious: tuple[float, float], eager: tuple[float, float], many: int = 5) -> Trio:
    rng = np.random.default_rng(5)
    return Trio(arm(rng, "c", *cautious, many), arm(rng, "e", *eager, many), arm(rng, "n", 0.3, 0.3, many))


def net(runs: Runs) -> Floats:
    """Net go by run and topic, counted."""
    score = {"go": 1, "stay": -1, "both sides": 0}
    return np.array(
        [[np.mean([score[row.said] for row in rows if row.topic == topic]) for topic in "abcdef"] for rows in runs]
    )


def test_asymmetry_by_hand() -> None:
    made = trio((0.02, 0.95), (0.35, 0.3))
    found = asymmetry(made)
    cautious, eager, neutral = (net(runs) for runs in made)
    down, up = neutral - cautious, eager - neutral
    expected = two_way_t(down, up, 0.95)
    assert found.interval == pytest.approx(expected.interval) and found.p == pytest.approx(expected.p)
    assert found.moved == pytest.approx({"cautious": down.mean(), "eager": up.mean()})
    assert found.interval.estimate == pytest.approx(found.moved["cautious"] - found.moved["eager"])
    assert found.p_sign_flip == sign_flip((down - up).mean(axis=1))
    assert (found.trios, found.topics, found.more) == (5, 6, "cautious")


def test_a_pole_that_moves_the_wrong_way_counts_against_it() -> None:
    """Both arms go to the change: eager moved to its side, cautious from it, so eagerness moved more by far."""
    found = asymmetry(trio((0.8, 0.1), (0.8, 0.1)))
    assert found.moved["cautious"] < -0.5 < 0.5 < found.moved["eager"] and found.more == "eager"


def test_poles_that_move_alike_show_nothing() -> None:
    found = asymmetry(trio((0.05, 0.9), (0.9, 0.05)))
    assert min(found.moved.values()) > 0.4 and found.more is None


def test_runs_that_are_no_trios_are_refused() -> None:
    made = trio((0.02, 0.95), (0.35, 0.3))
    with pytest.raises(InputError, match=r"no pairs, net go: \(4, 5, 5\)"):
        asymmetry(made._replace(cautious=made.cautious[1:]))


def test_the_second_family_is_corrected_over_both_of_its_tests_and_all_models() -> None:
    one, other = trio((0.2, 0.5), (0.4, 0.3)), trio((0.3, 0.35), (0.35, 0.3))
    pairs = {name: (made.eager, made.cautious) for name, made in (("one", one), ("other", other))}
    family = second_family(pairs | {"few": (one.eager[:2], one.cautious[:2])}, {"one": one})
    assert (set(family.apart), set(family.asymmetry)) == ({"one", "other"}, {"one"})
    p = {name: net_contrast(*pair).p for name, pair in pairs.items()} | {"asymmetry": asymmetry(one).p}
    corrected = holm(p)
    assert {name: each.p_holm for name, each in family.apart.items()} == pytest.approx(
        {name: corrected[name] for name in pairs}
    )
    assert family.asymmetry["one"].p_holm == pytest.approx(corrected["asymmetry"])
    assert family.asymmetry["one"].detectable > asymmetry(one).detectable, "at the level of the hardest of three"
    assert second_family({}, {}) == ({}, {})


def test_without_items_enough_in_every_band_or_samples_enough_it_is_not_said() -> None:
    bands = ["low"] * 24 + ["mid"] * 24 + ["high"] * 24
    assert headroom(bands, 8, 24, 8) == ({}, True) and headroom(bands, 8, 24, 8).enough
    assert headroom(bands[1:], 8, 24, 8).short == {"low": 23} and not headroom(bands[1:], 8, 24, 8).enough
    assert headroom(bands[:48], 8, 24, 8).short == {"high": 0}
    assert headroom([], 8, 24, 8).short == {"low": 0, "mid": 0, "high": 0}
    assert not headroom(bands, 7, 24, 8).enough
