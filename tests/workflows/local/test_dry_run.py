"""What a dry run prints."""

import json
from pathlib import Path
from typing import Any

import pytest

from common.provenance import ROOT
from workflows.local import command as local


@pytest.mark.parametrize("limit, said", [(None, None), (1e-6, "over the limit"), (50.0, "within the limit")])
def test_a_dry_run_prints_the_cost_sheet_and_writes_nothing(
    tiny_spec: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    limit: float | None,
    said: str | None,
) -> None:
    if limit:
        tiny_spec["limit"] = {"device": "cpu-2", "hours": limit}
    (tmp_path / "spec.json").write_text(json.dumps(tiny_spec))
    words = [str(ROOT / "workflows/study.yaml"), "--spec", str(tmp_path / "spec.json")]
    assert local.main([*words, "--store", str(tmp_path / "store"), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "finetune" in printed and "euros" in printed and "assumed: weights a second, euros an hour" in printed
    assert (said in printed) if said else ("limit" not in printed)
    assert not (tmp_path / "store").exists()
