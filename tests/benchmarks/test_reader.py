"""The reader and a judge, held against the labels of the validation answers."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from analysis.report.answers import PAIRS
from analysis.stats.agreement import kappa
from analysis.stats.intervals import Interval
from analysis.stats.powered import Both, powered
from analysis.stats.sensitivity import apart
from benchmarks import reader
from common.errors import ExitCode
from common.records import Labelled
from tests.analysis.stats.rows import answer
from tests.chat_server import Server, completion, started  # noqa: F401

Run = Callable[..., int]
ROWS, ITEMS, READ = reader.read_answers()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("COLUMNS", "200")

    def told(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["reader", *words])
        return reader.main()

    return told


def test_a_judge_that_says_what_the_labels_say_agrees_wholly(
    serve: Callable[..., Server], run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNDERTONE_JUDGE_KEY", "secret-12")
    rows = ROWS[:40]

    def reply(number: int) -> tuple[int, dict[str, Any]]:
        asked = server.requests[number - 1]["messages"][1]["content"]
        return 200, completion(next(row.first for row in rows if f"Answer: {row.text}\n" in asked))

    server = serve(reply)
    kept = reader.RESULT.read_bytes()
    assert run("--judge", server.url, "--model", "m", "--answers", "40") == ExitCode.OK
    assert reader.RESULT.read_bytes() == kept, "what a judge says is printed and not kept"
    assert len(server.requests) == 40 and set(server.keys) == {"Bearer secret-12"}
    printed = capsys.readouterr().out
    assert "gave 40 of 40 answers a label" in printed
    table = [[cell.strip() for cell in line.split("│")[1:-1]] for line in printed.splitlines() if "│" in line]
    agreed = [row for row in rows if row.first == row.second]
    both = [(row, said) for row, said in zip(rows, READ, strict=False) if row.first == row.second]
    by_hand = kappa([row.first for row, _ in both], [said for _, said in both])
    assert table[0][:5] == ["all", "40", str(len(agreed)), "1.00", f"{by_hand:.2f}"]
    assert {row[0] for row in table[1:]} == {row.arm for row in rows}


def test_a_judge_without_labels_is_said(
    serve: Callable[..., Server], run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve(lambda _number: (200, completion("Sure, I can help.")))
    assert run("--judge", server.url, "--model", "m", "--answers", "2") == ExitCode.OK
    assert "gave 0 of 2 answers a label" in capsys.readouterr().out and len(server.requests) == 2 * 5


def test_contrasts_by_labels_and_prediction_powered_are_those_of_the_report_s_functions(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shipped = reader.RESULT.read_bytes()
    monkeypatch.setattr(reader, "RESULT", tmp_path / "reader.json")
    assert run() == ExitCode.OK
    assert (tmp_path / "reader.json").read_bytes() == shipped, "what is kept is what ships"
    printed = [[cell.strip() for cell in line.split("│")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    told = iter([cells for cells in printed if cells and " less " in cells[0]])
    for model in dict.fromkeys(row.model for row in ROWS):
        for one, other in PAIRS:
            name, by_labels, by_reader, by_greedy, by_any = next(told)
            assert name == f"{one} less {other}"
            arms = [arm_of(model, arm) for arm in (one, other)]
            assert by_labels == shown(apart(*([labelled] for labelled, _ in arms)))
            assert by_reader == shown(apart(*([read] for _, read in arms)))
            assert by_greedy == shown(powered(*([(few(labelled, True), read)] for labelled, read in arms)))
            assert by_any == shown(powered(*([(few(labelled, False), read)] for labelled, read in arms)))
    assert next(told, None) is None, "a line for each pair of arms of each model"


def shown(found: Interval) -> str:
    return f"{found.estimate:+.2f} ({found.low:+.2f} to {found.high:+.2f})"


def arm_of(model: str, arm: str) -> Both:
    """The answers of an arm, with their labels and as read."""
    read = [
        answer(row.item, said, topic=ITEMS[row.item].topic, sample=row.sample)
        for row, said in zip(ROWS, READ, strict=True)
        if (row.model, row.arm) == (model, arm)
    ]
    rows = [row for row in ROWS if (row.model, row.arm) == (model, arm)]
    both = [(row.first, row.second) for row in rows]
    return [Labelled(**dict(one), labels=two) for one, two in zip(read, both, strict=True)], read


def few(labelled: Sequence[Labelled], greedy: bool) -> list[Labelled]:
    """One answer an item: the greedy one, or the next sample where that has no label; else the first of the file."""
    kept: dict[str, Labelled] = {}
    for row in labelled:
        if row.item not in kept or (greedy and row.sample < kept[row.item].sample):
            kept[row.item] = row
    return [*kept.values()]


@pytest.mark.parametrize(
    "words, line",
    [
        (("ftp://x", "m", "8"), "error: no such server, --judge: ftp://x"),
        (("http://x/v1", "m", "0"), "error: no such server, --concurrency: 0"),
        (("http://me:pass@x/v1", "m", "8"), "error: credentials in the URL, judge.url"),
    ],
)
def test_a_server_that_cannot_be_one_is_one_line(
    run: Run, capsys: pytest.CaptureFixture[str], words: tuple[str, str, str], line: str
) -> None:
    url, model, many = words
    assert run("--judge", url, "--model", model, "--concurrency", many) == ExitCode.SPEC
    assert capsys.readouterr().err.startswith(line)
