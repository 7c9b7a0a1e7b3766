"""A judge held against the labels of the validation answers, beside the reader."""

import sys
from collections.abc import Callable
from typing import Any

import pytest

from analysis.stats.agreement import kappa
from benchmarks import reader
from common.errors import ExitCode
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

    def answer(number: int) -> tuple[int, dict[str, Any]]:
        asked = server.requests[number - 1]["messages"][1]["content"]
        return 200, completion(next(row.first for row in rows if f"Answer: {row.text}\n" in asked))

    server = serve(answer)
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
