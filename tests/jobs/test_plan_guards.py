"""Bounds that so few prompts cannot show are refused before anything runs."""

import json
from pathlib import Path
from typing import Any

import pytest

from common.errors import ExitCode
from common.pipeline.command import run_job
from jobs import catalog
from jobs.plan import JOB
from jobs.plan.plan import main


@pytest.mark.parametrize(
    ("prompts", "guards", "said"),
    [
        (16, {}, "guards.refusals: 0.05 with 16 prompts; allowed: evaluate.guards_per_kind of 80 or more"),
        (79, {"refusals": 0.2}, "guards.ability: 0.05 with 79 prompts; allowed: evaluate.guards_per_kind of 80"),
        (80, {}, None),
        (None, {"moved": 0.9}, "guards.refusals: 0.05 with 200 prompts"),
    ],
)
def test_the_smallest_number_is_named(
    tiny_spec: dict[str, Any],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    prompts: int | None,
    guards: dict[str, float],
    said: str | None,
) -> None:
    asked = tiny_spec["evaluate"] | {"guards_per_kind": prompts}
    spec = tiny_spec | {"evaluate": asked, "guards": guards}
    code = run_job(JOB, main, catalog(), ["--spec", json.dumps(spec), "--cell", "study", "--store", str(tmp_path)])
    err = capfd.readouterr().err
    assert (code, "too few prompts for the bound" in err) == ((ExitCode.SPEC, True) if said else (ExitCode.OK, False))
    assert said is None or said in err
    assert bool(list(tmp_path.glob("steps/plan/*/manifest.json"))) == (said is None), "nothing is sealed"
