"""What every fault must leave: its exit code, one line that names it, the store as it was, a clean second run."""

import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from common.pipeline.command import run_job
from jobs import catalog


@dataclass(frozen=True)
class Ended:
    """How a process or a step ended: its exit code, and what it wrote to stdout and stderr."""

    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The one line of the error. A second one, or a traceback, fails the test."""
        assert "Traceback" not in self.err, self.err
        (line,) = [line for line in self.err.splitlines() if line.startswith("error: ")]
        return line


def step(
    capfd: pytest.CaptureFixture[str], job: str, cell: str, spec: Mapping[str, Any], store: str | Path, *more: str
) -> Ended:
    """Run a step of the real job in this process, as `python -m jobs.<job>` does.

    spec: the study; store: a folder or s3://bucket/prefix; more: further words of the command line.
    """
    main = importlib.import_module(f"jobs.{job}.{job}").main
    capfd.readouterr()
    code = run_job(
        catalog()[job],
        main,
        catalog(),
        ["--spec", json.dumps(spec), "--cell", cell, "--store", str(store), *more],
    )
    return Ended(code, *capfd.readouterr())


def files(*folders: Path) -> dict[str, bytes]:
    """Every file under the folders, with its bytes."""
    return {str(path): path.read_bytes() for top in folders for path in sorted(top.rglob("*")) if path.is_file()}


def without_notes(store: Path) -> dict[str, bytes]:
    """Every file of a store but the notes of who asked for what, when."""
    return {name: data for name, data in files(store).items() if "/runs/" not in name}


def kept(
    fault: Callable[[], Ended], *, code: int, says: tuple[str, ...], state: Callable[[], Mapping[str, bytes]]
) -> Ended:
    """Assert three of the four: exit code, a line that says all of `says`, and every byte of the state as it was.

    state: what was published, such as `lambda: files(store)`; asked before and after. It may gain nothing either: what
    a fault writes is not published. The fourth is `clean`.
    """
    before = dict(state())
    ended = fault()
    assert ended.code == code, ended.err
    assert all(word in ended.line for word in says), ended.line
    after = state()  # by name: whole models would be compared letter by letter to show how they differ
    assert [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)] == []
    return ended


def clean(run: Callable[[], Ended]) -> Ended:
    """Assert the fourth: with the fault gone, the same command ends well."""
    ended = run()
    assert ended.code == 0, ended.err
    return ended
