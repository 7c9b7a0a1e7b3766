"""The whole analysis on simulated rows: from a spec to a report, before anything was measured."""

import pytest

from benchmarks import rehearse
from common.errors import ExitCode
from common.provenance import ROOT
from common.spec import override


@pytest.mark.parametrize("read_by", ["reader", "labels"])
def test_a_rehearsal_ends_in_a_report(tmp_path, monkeypatch, capsys, read_by):
    monkeypatch.setattr(rehearse, "FOLDER", tmp_path)
    demo = (ROOT / "workflows" / "specs" / "demo.json").read_bytes()
    (spec := tmp_path / "spec.json").write_bytes(override(demo, "demo", {"lock.read_by": read_by}))
    assert rehearse.main(["--spec", str(spec)]) == ExitCode.OK
    (report,) = tmp_path.glob("*/REPORT.md")
    assert (
        "The lock names these tests, and no other was made: `two-way-t`, `sign-flip`, `equivalence`."
        in report.read_text()
    )
    assert ("**Read by labels**" in report.read_text()) == (read_by == "labels")
    assert str(report) in capsys.readouterr().out.replace("\n", "")
