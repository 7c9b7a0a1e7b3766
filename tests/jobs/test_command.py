"""The command `undertone`: the first word names a job, and all else is that job's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.provenance import ROOT
from jobs import catalog, command


def test_alone_it_lists_the_tools_and_names_every_job(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in ([], ["--help"]):
        monkeypatch.setattr(sys, "argv", ["undertone", *words])
        assert command.main() == 0
        said = capsys.readouterr().out
        assert [line.split()[0] for line in said.splitlines() if line.startswith("  ")] == ["audit", "gate", "monitor"]
        assert set(command.TOOLS) <= catalog().keys() and all(name in said for name in catalog())


def test_what_is_no_tool_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["undertone", "adit", "--corpus", "x"])
    assert command.main() == 2
    said = capsys.readouterr().err
    assert said.startswith("error: no such tool, undertone: adit; allowed: audit, gate, monitor, ")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "words", [["--help"], ["--spec", "{}", "--cell", "study", "--store", "/nowhere"], ["--nonsense"]]
)
def test_it_says_and_ends_as_the_job_does(words: list[str]) -> None:
    start = "import sys; from jobs.command import main; sys.exit(main())"
    before = {**os.environ, "COLUMNS": "100"}
    ours, jobs = (
        subprocess.run(
            [sys.executable, *called, *words], cwd=ROOT, capture_output=True, text=True, check=False, env=before
        )
        for called in (["-c", start, "gate"], ["-m", "jobs.gate"])
    )
    assert (ours.returncode, ours.returncode in (0, 2)) == (jobs.returncode, True)
    said = [made.stdout + made.stderr for made in (ours, jobs)]
    assert "Traceback" not in said[0]
    if "usage: " in said[1]:
        assert "usage: undertone gate " in said[0] and "usage: python -m jobs.gate " in said[1]
    assert said[0].replace("undertone gate", "python -m jobs.gate").split() == said[1].split()


def test_the_command_is_the_one_that_a_wheel_installs() -> None:
    text = (Path(ROOT) / "pyproject.toml").read_text()
    assert f'undertone = "{command.__name__}:{command.main.__name__}"' in text
