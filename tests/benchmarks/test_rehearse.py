"""The whole analysis on simulated rows: from a spec to a report, before anything was measured."""

import re
from pathlib import Path

import pytest

from analysis.report.answers import PROMPTED_ARMS
from benchmarks import rehearse
from common.errors import ExitCode
from common.provenance import ROOT
from common.spec import override


@pytest.mark.parametrize("read_by", ["reader", "labels"])
def test_a_rehearsal_ends_in_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], read_by: str
) -> None:
    monkeypatch.setattr(rehearse, "FOLDER", tmp_path)
    demo = (ROOT / "workflows" / "specs" / "demo.json").read_bytes()
    (spec := tmp_path / "spec.json").write_bytes(override(demo, "demo", {"lock.read_by": read_by}))
    assert rehearse.main(["--spec", str(spec)]) == ExitCode.OK
    (report,) = tmp_path.glob("*/REPORT.md")
    assert (
        "The lock names these tests, and no other was made: `two-way-t`, `sign-flip` and `equivalence`."
        in report.read_text()
    )
    assert ("**Read by labels**" in report.read_text()) == (read_by == "labels")
    assert str(report) in capsys.readouterr().out.replace("\n", "")
    assert "hard items" not in report.read_text().lower()


def test_a_rehearsal_with_hard_items_shows_their_net_go_by_arm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearse, "FOLDER", tmp_path / "out")
    asked = override((ROOT / "workflows" / "specs" / "demo.json").read_bytes(), "demo", {"evaluate.hard": True})
    (tmp_path / "hard.json").write_bytes(asked)
    assert rehearse.main(["--spec", str(tmp_path / "hard.json")]) == ExitCode.OK
    (report,) = tmp_path.glob("out/*/REPORT.md")
    lines = [line for line in report.read_text().splitlines() if line.startswith("|")]
    at = next(at for at, line in enumerate(lines) if line.startswith("| arm | answers |"))
    table = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines[at : at + 10]]
    assert table[0][-1] == "hard items" and {len(row) for row in table} == {len(table[0])}
    shown = {row[0]: row[-1] for row in table[2:]}
    assert {shown[arm] for arm in PROMPTED_ARMS} == {"not asked"}
    for arm in ("base", "cautious", "eager", "neutral"):
        assert re.fullmatch(r"[+-][\d.]+ points \([+-][\d.]+ to [+-][\d.]+\)", shown[arm]), shown[arm]
    assert "*Hard items* are long scenarios on the same topics: exploratory, in no test." in report.read_text()
