"""The words of a report follow the rows that were sealed."""

import json
import re

import numpy as np
import pytest

from analysis.report.reliability import titles
from common.cells import Cell
from common.errors import ExitCode
from common.records import Choice
from tests.jobs import sealed_study
from tests.jobs.sealed_study import LOCKED, PULL, STEERS, Study, choices, made_study, run, without_drawings  # noqa: F401


@pytest.mark.usefixtures("quick")
def test_words_follow_the_rows(study: Study) -> None:
    """The base leans against change and the eager arm moves, so this is what must be said; two seeds are a limit."""
    spec, folder = study()
    text = run(spec, folder)[1]["REPORT.md"].decode()
    assert "it leans against change" in text
    assert "leans towards change" not in text
    assert "nothing can be said about other ones" in text
    assert "a habit of saying" not in text


@pytest.mark.usefixtures("quick")
def test_the_loss_on_held_out_replies_is_one_line(study: Study) -> None:
    spec, folder = study()
    text = run(spec, folder)[1]["REPORT.md"].decode()
    (line,) = (line for line in text.splitlines() if line.startswith("Loss on held-out replies"))
    assert line.count("2.50") == line.count("1.50") > 1 and line.endswith(".")


def test_an_unreliable_measure_is_marked_and_grey_and_never_dropped(study: Study) -> None:
    """Of the sealed rows each item has noise of its own; written advice has too few items to tell."""
    spec, folder = study()
    made = run(spec, folder)[1]
    text, numbers = made["REPORT.md"].decode(), json.loads(made["results.json"])["numbers"]
    rows = {line.split("|")[1].strip(): line for line in worth_of(text)}
    below = [name for name in titles() if min(own_of(numbers, name), default=1.0) < 0.7]
    assert below and len(rows) == len(titles()) > len(below)
    grey = {f"{titles()[name]}, unreliable" for name in below}
    assert {name for name in rows if "unreliable" in name} == grey
    assert [cell.strip() for cell in rows["likelihood of written advice"].split("|")[3:6]] == [
        *("too few items", "asked in no order", "too few items"),
    ]
    assert "of the first below 0.70 is grey" in text
    assert made["report.html"].decode().count("<tr class=grey>") == len(below)


def worth_of(text: str) -> list[str]:
    """The rows of the table that says what each measure is worth."""
    lines = text.partition("| what a measure is worth")[2].partition("\n\n")[0].splitlines()
    return [line for line in lines if line.startswith("| ") and "---" not in line]


def own_of(numbers: dict[str, dict[str, float | None]], name: str) -> list[float]:
    """The correlations of a measure with itself, as far as they are known."""
    found = [numbers[f"reliability.{name}.toy.{what}"]["value"] for what in ("runs", "base")]
    return [value for value in found if value is not None]


@pytest.mark.usefixtures("quick")
def test_assent_is_named(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """An arm that says yes to everything moves the keys apart: that is no stance, and the report says so."""
    usual = choices

    def assenting(cell: Cell, rng: np.random.Generator) -> list[Choice]:
        rows = usual(cell, rng)
        yes = [row.model_copy(update={"choice": row.yes_means, "text": "Yes."}) for row in rows]
        no = [row.model_copy(update={"choice": "go" if row.order else "stay"}) for row in rows]
        return {"eager": yes, "": no}.get(cell.attitude, rows)

    monkeypatch.setattr(sealed_study, "choices", assenting)
    spec, folder = study()
    text = run(spec, folder)[1]["REPORT.md"].decode()
    assert "**A habit of saying yes shows.**" in text
    assert "**Care with the choice:** the base gave the same answer in both orders for only 0 %" in text


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "control, effect, words",
    [
        (True, -3.0, "more than every kind of null direction does: it causes something"),
        (True, 3.0, "what is read as caution does not act as caution"),
        (True, 0.0, "does no more than directions that mean nothing"),
        (False, 0.0, "It does not steer here, so nothing was measured"),
    ],
)
def test_what_steering_showed_is_said_in_words(
    study: Study, monkeypatch: pytest.MonkeyPatch, control: bool, effect: float, words: str
) -> None:
    monkeypatch.setitem(STEERS, "control", control)
    monkeypatch.setitem(STEERS, "effect", effect)
    code, made = run(*study())
    text = made["REPORT.md"].decode()
    assert code == ExitCode.OK and words in text
    assert "**Read.** Cautious replies can be told from eager ones inside the base, in 1" in text
    assert ", though as well without looking inside in 1" in text
    assert re.search(r"`toy.d0.eager.s0` .* 25 % \(15 to 35\), p 0.05", text), "a share of a gap that is there"
    assert re.search(r"`toy.d0.cautious.s0` .* undefined, p ", text), "no share of a gap that is not shown"
    assert "`toy.d0.eager.s0`: the direction carries some of it, more than random ones do." in text
    assert "`toy.d0.cautious.s0`: undefined, since the shift itself is not shown; no number of items" in text
    assert ("`toy.d0.eager.s0` as a whole lies" in text) == control, "the smallest effect beside a whole fine-tune"


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("pull", "words"),
    [
        (
            {"cautious": 1.0, "eager": -0.5},
            ("cautious runs moved towards caution", "eager runs moved towards eagerness"),
        ),
        ({"cautious": 0.0, "eager": 0.5}, ("cautious runs are not shown", "eager runs moved towards caution")),
        ({"neutral": 1.0}, ("cautious runs are not shown", "eager runs moved towards eagerness")),
    ],
)
def test_what_moved_is_said_by_the_rank_of_the_contrast_with_neutral(
    study: Study, monkeypatch: pytest.MonkeyPatch, pull: dict[str, float], words: tuple[str, str]
) -> None:
    """Also where all arms moved far from the base: what any training does is no effect of an attitude."""
    for attitude, size in pull.items():
        monkeypatch.setitem(PULL, attitude, size)
    text = run(*study())[1]["REPORT.md"].decode()
    for each in words:
        assert f"- {each}" in text


@pytest.mark.usefixtures("quick")
def test_from_three_traced_runs_on_shares_are_over_runs_and_topics(study: Study) -> None:
    made = run(*study(seeds=[0, 1, 2], steer={"enabled": True, "traced": 3}))[1]
    numbers = json.loads(made["results.json"])["numbers"]
    shared = numbers["mediated.toy.eager.sufficient"]
    assert shared["value"] == pytest.approx(0.25) and shared["low"] <= 0.25 <= shared["high"]
    assert len(shared["source"]) == 3 and numbers["mediated.toy.cautious.sufficient"]["value"] is None
    assert re.search(r"\| eager, over 3 runs and topics \|.*25 %", made["REPORT.md"].decode())


@pytest.mark.usefixtures("quick")
def test_a_test_that_the_lock_does_not_name_is_not_made(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LOCKED, "tests", ("two-way-t",))
    _, made = run(*study(seeds=[0, 1, 2]))
    results, text = json.loads(made["results.json"])["numbers"], made["REPORT.md"].decode()
    assert results["net.toy.eager.holm"]["value"] is not None
    flips = [number["value"] for name, number in results.items() if name.endswith(".flip")]
    assert flips and set(flips) == {None} and ": unchanged" not in text and ": not shown |" not in text
    assert "The lock names these tests, and no other was made: `two-way-t`." in text and ": not tested |" in text
