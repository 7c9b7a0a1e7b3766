"""The commands of docs/operations.md that need no cluster, as they stand there, in the order of the page."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from common.errors import ExitCode
from common.provenance import ROOT
from common.spec import parse_spec
from tests.operations_page import LAPTOP, PAGE, as_script, by_heading, named
from workflows.local.command import RUNS


def test_the_page_says_what_each_exit_code_means() -> None:
    table = PAGE.partition("\n## Exit codes\n")[2].partition("\n## ")[0]
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    assert told == {int(code) for code in ExitCode} | {137, 143}


@pytest.fixture
def script(tiny_spec: dict[str, Any], tmp_path: Path) -> Path:
    """The page's commands as one script; it says each heading, and the exit code and output of what follows."""
    spec = tmp_path / "tiny.json"
    spec.write_text(json.dumps(tiny_spec))
    lines = [f"SPEC={spec}", f"DATA={tmp_path / 'store'}", f"ROWS={tmp_path / 'rows'}"]
    assert [line.partition("=")[0] for line in lines] == [line.partition("=")[0] for line in named(LAPTOP)]
    path = tmp_path / "page.sh"
    path.write_text(as_script(LAPTOP, lines))
    return path


@pytest.mark.skipif(os.environ.get("UNDERTONE_EVERY") != "1", reason="it takes minutes: make faults")
def test_the_procedures_of_the_page_do_what_it_says(script: Path, tiny_spec: dict[str, Any]) -> None:
    """Stop, resume, retry, keep, clean up, new keys, a store lost twice: each on the same small study."""
    try:
        made = subprocess.run(["bash", str(script)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=500)
    finally:
        shutil.rmtree(RUNS / parse_spec(json.dumps(tiny_spec).encode(), "x").run_id, ignore_errors=True)
    assert made.returncode == 0, made.stdout[-3000:] + made.stderr[-3000:]
    said, reused = by_heading(made.stdout), "everything was reused"
    assert said["Stop and resume"].count(reused) == 1, "the second time"
    assert '"reused": true' in said["Retry one step"] or '"reused":true' in said["Retry one step"]
    assert "steps added" in said["Keep what cannot be made again cheaply"]
    assert reused in said["Rotate credentials"], "new keys, the same data"
    assert said["Restore from a lost store"].count(reused) == 2, "from a copy, and from rows alone"
    keys = [Path(script.parent, name, "credentials.json") for name in ("store-copy", "store-lost")]
    old, new = (json.loads(path.read_text()) for path in keys)
    assert all(old[role] != new[role] for role in ("job", "reader", "admin"))
    assert keys[1].stat().st_mode & 0o077 == 0
