"""The whole analysis on simulated rows: from a spec to a report, before anything was measured."""

from pathlib import Path

import pytest

from benchmarks import rehearse
from common.errors import ExitCode
from common.provenance import ROOT


def test_a_rehearsal_ends_in_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rehearse, "FOLDER", tmp_path)
    assert rehearse.main(["--spec", str(ROOT / "workflows" / "specs" / "demo.json")]) == ExitCode.OK
    (report,) = tmp_path.glob("*/REPORT.md")
    assert (
        "The lock names these tests, and no other was made: `two-way-t`, `sign-flip`, `equivalence`."
        in report.read_text()
    )
    assert str(report) in capsys.readouterr().out.replace("\n", "")
