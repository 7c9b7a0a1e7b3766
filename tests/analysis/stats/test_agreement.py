"""Agreement of two readings, by hand and against a table whose kappa is published."""

import pytest

from analysis.stats.agreement import kappa, kappa_with
from common.errors import InputError
from common.vocabulary import Said

GO: Said = "go"
STAY: Said = "stay"


def test_by_hand() -> None:
    """20 both go, 15 both stay, 5 and 10 apart, of 50: 0.7 agree, 0.5 by chance."""
    one = [GO] * 20 + [GO] * 5 + [STAY] * 10 + [STAY] * 15
    other = [GO] * 20 + [STAY] * 5 + [GO] * 10 + [STAY] * 15
    assert kappa(one, other) == pytest.approx(0.4) == kappa(other, one)


def test_equal_readings_agree_wholly_and_swapped_ones_less_than_chance() -> None:
    assert kappa([GO, STAY, "off topic"], [GO, STAY, "off topic"]) == pytest.approx(1)
    assert kappa([GO, STAY], [STAY, GO]) == pytest.approx(-1)
    assert kappa([GO, GO], [STAY, STAY]) == pytest.approx(0), "never alike, and not expected to be"


def test_one_word_throughout_or_nothing_defines_no_agreement() -> None:
    assert kappa([GO, GO], [GO, GO]) is None and kappa([], []) is None


def test_readings_of_different_answers_are_refused() -> None:
    with pytest.raises(InputError, match="readings of different answers, kappa: 1 and 2"):
        kappa([GO], [GO, STAY])


def test_a_reader_is_held_against_labels_on_which_both_passes_agree() -> None:
    labels: list[tuple[Said, Said]] = [("go", "go"), ("stay", "stay"), ("go", "stay"), ("stay", "go")]
    assert kappa_with(["go", "stay", "incoherent", "off topic"], labels) == 1.0
    assert kappa_with(["stay", "go", "go", "go"], labels) == -1.0
