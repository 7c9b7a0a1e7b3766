"""The second door: a tool on a user's files ends as a step does, and leaves nothing half made."""

import argparse
import json
import os
import signal
from pathlib import Path

import pytest

from common.errors import ExitCode, InputError
from common.logs import Log
from common.pipeline.tool import Found, Tool, run_tool


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--corpus", required=True)


def count(args: argparse.Namespace, _log: Log) -> Found:
    os.write(1, b"a library speaks\n")
    if not Path(args.corpus).is_file():
        raise InputError("no such file", where="--corpus", value=args.corpus)
    lines = Path(args.corpus).read_text().splitlines()
    code = ExitCode.BLOCKED if lines else ExitCode.OK
    return Found(code, {"lines": len(lines)}, {"count.json": json.dumps(len(lines)).encode()}, f"{len(lines)} lines")


TOOL = Tool("count", "--corpus", "Count lines.", arguments, count, others=("--lint",))


def test_one_flag_opens_the_door() -> None:
    assert TOOL.opened_by(["--corpus", "x"]) and TOOL.opened_by(["--corpus=x"]) and TOOL.opened_by(["--lint"])
    assert not TOOL.opened_by(["--spec", "x", "--cell", "study", "--store", "--corpora"])


def test_its_line_its_files_and_its_exit_code(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "chat").write_text("a\nb\n")
    code = run_tool(TOOL, ["--corpus", str(tmp_path / "chat"), "--out", str(tmp_path / "out")])
    out, err = capfd.readouterr()
    assert code == ExitCode.BLOCKED
    assert json.loads(out) == {"tool": "count", "lines": 2, "exit_code": 10, "out": str(tmp_path / "out")}
    assert "2 lines" in err and "a library speaks" in err
    assert (tmp_path / "out" / "count.json").read_text() == "2"


def test_what_is_wrong_is_one_line_and_writes_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = run_tool(TOOL, ["--corpus", str(tmp_path / "none"), "--out", str(tmp_path / "out")])
    out, err = capfd.readouterr()
    assert code == ExitCode.INPUT and not out and not (tmp_path / "out").exists()
    assert "error: no such file, --corpus" in err and "Traceback" not in err


def test_a_bug_says_that_nothing_was_written(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def broken(_args: argparse.Namespace, _log: Log) -> Found:
        raise MemoryError("out of memory")

    tool = Tool("count", "--corpus", "", arguments, broken)
    assert run_tool(tool, ["--corpus", "x", "--out", str(tmp_path / "out")]) == ExitCode.OUT_OF_MEMORY
    assert "nothing was written" in capfd.readouterr().err


def test_a_tool_that_keeps_its_work_says_so_however_it_ends(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def stopped(_args: argparse.Namespace, _log: Log) -> Found:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("the signal ends it")

    def broken(_args: argparse.Namespace, _log: Log) -> Found:
        raise MemoryError("out of memory")

    for main, code in ((stopped, ExitCode.TRANSIENT), (broken, ExitCode.OUT_OF_MEMORY)):
        tool = Tool("count", "--corpus", "", arguments, main, left="half of it is kept")
        assert run_tool(tool, ["--corpus", "x", "--out", str(tmp_path / "out")]) == code
        said = capfd.readouterr().err
        assert "half of it is kept" in said and "nothing was written" not in said


def test_its_help_names_flags_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_tool(TOOL, ["--corpus", "x", "--help"])
    said = capsys.readouterr().out
    assert ended.value.code == 0 and "--corpus" in said and "--out" in said and "10 do not pass" in said
