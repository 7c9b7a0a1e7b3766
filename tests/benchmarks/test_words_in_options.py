"""Words that the advice and one option share: which items have them, and the shift in those and the others."""

from typing import Any

import pandas as pd
import pytest

from benchmarks.words_in_options import (
    ITEMS,
    compared,
    keeping_in_stay,
    mean_of,
    shift,
    start_in_go_alone,
    told,
)
from common.cells import Cell, CellKind
from common.records import Choice, Item
from common.serialization import parse_jsonl

ROWS: dict[str, Any] = {
    "topic": "t",
    "yes_means": "go",
    "choice": "invalid",
    "text": "",
    "sentence_stay": -10.0,
    "tokens_go": 5,
    "tokens_stay": 5,
    "label_go": -1.0,
    "label_stay": -1.0,
}
BASE = Cell(kind=CellKind.BASE, model="m")


def run(attitude: str, seed: int) -> Cell:
    return Cell(kind=CellKind.RUN, model="m", draw=0, attitude=attitude, seed=seed)


def rows(cell: Cell, **margins: float) -> list[Choice]:
    """Both orders of each item, with its log-likelihood of go less that of stay."""
    return [
        Choice(cell=str(cell), item=item, order=order, sentence_go=margin - 10, **ROWS)
        for item, margin in margins.items()
        for order in (0, 1)
    ]


def item(go: str, stay: str) -> Item:
    return Item(id="i", topic="t", yes_means="go", scenario="s", question="q", go=go, stay=stay)


@pytest.mark.parametrize(
    "go, stay, start, keeping",
    [
        ("The board should start it.", "The board should keep it.", True, True),
        ("Start it.", "Start it later, and hold on.", False, True),
        ("The board should restart it.", "The board should uphold it.", False, False),
        ("The board should keep it.", "The board should start it.", False, False),
    ],
)
def test_which_items_have_a_word(go: str, stay: str, start: bool, keeping: bool) -> None:
    assert (start_in_go_alone(item(go, stay)), keeping_in_stay(item(go, stay))) == (start, keeping)


def test_the_items_of_the_study() -> None:
    items = parse_jsonl(ITEMS.read_bytes(), Item, ITEMS.name)
    assert (len(items), sum(map(start_in_go_alone, items)), sum(map(keeping_in_stay, items))) == (72, 7, 47)


def test_words_are_counted_whole_and_whatever_the_case() -> None:
    assert told(["Start now, keep going.", "Starting late; restart. Leave, LEAVE"]) == (1, 2, 3)


def test_a_shift_is_the_mean_over_pairs_by_item() -> None:
    still, up = rows(BASE, a=0.0, b=0.0), rows(run("eager", 0), a=100.0, b=0.0)
    assert shift([(still, up), (still, still)]).to_dict() == pytest.approx({"a": 25.0, "b": 0.0})


def test_the_marked_items_and_the_others() -> None:
    by_item = pd.Series({"a": 1.0, "b": 3.0, "c": -2.0})
    assert mean_of(by_item, {"a", "b"}, inside=True) == "+2.0 ± 1.0 (2)"
    assert mean_of(by_item, {"a", "b"}, inside=False) == "-2.0 ± nan (1)"


def test_an_arm_is_compared_with_base_and_with_the_neutral_run_of_its_seed() -> None:
    margins = {BASE: 0.0, run("neutral", 0): -100.0, run("neutral", 1): 0.0, run("eager", 0): 0.0, run("eager", 1): 0.0}
    found = dict(compared({cell: rows(cell, a=margin) for cell, margin in margins.items()}))
    assert {name: moved["a"] for name, moved in found.items()} == pytest.approx(
        {
            "m d0, 2 runs: neutral from base": -25.0,
            "m d0, 2 runs: eager from base": 0.0,
            "m d0, 2 runs: eager from neutral": 25.0,
        }
    )
