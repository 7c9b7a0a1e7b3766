"""The monitor's verdict comes from the sealed readout, and only from one with enough random directions."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.cells import cell_named
from common.errors import ExitCode
from common.logs import Log
from common.pipeline.command import run_job
from common.pipeline.keys import Keys
from common.pipeline.step import Step
from common.schemas import Checkpoint
from common.spec import parse_spec
from common.store.sealed import open_store
from jobs import catalog
from jobs.monitor import JOB
from jobs.monitor.monitor import main
from tests.analysis.report import documents

CELL = "tiny.d0.eager.s0"


Judge = Callable[[list[Checkpoint] | None], tuple[int, dict[str, Any] | None]]


@pytest.fixture
def judge(tiny_spec: dict[str, Any], tmp_path: Path) -> Judge:
    """Seal a readout with these checkpoints, run the monitor, return its exit code and drift.json."""
    path = tmp_path / "spec.json"
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for attitude in ("cautious", "eager", "neutral"):  # only their digests are asked for
        (corpus / f"d0.{attitude}.jsonl").write_text("{}")
    tiny_spec = tiny_spec | {"corpus": {"writer": "jsonl", "path": str(corpus)}, "monitor": {"level": 0.9}}
    path.write_text(json.dumps(tiny_spec))
    spec = parse_spec(path.read_bytes(), "spec")

    def run(checkpoints: list[Checkpoint] | None) -> tuple[int, dict[str, Any] | None]:
        store = open_store(str(tmp_path / "store"))
        keys = Keys(spec, catalog(), store)
        if checkpoints is not None:
            step = Step(catalog()["interpret"], cell_named(spec, CELL), spec, store, keys, Log("x", "y"))
            step.write_model("readout.json", documents.readout(checkpoints))
            step.seal(ExitCode.OK, "2026-01-01T00:00:00+00:00", 1.0)
        code = run_job(JOB, main, catalog(), ["--spec", str(path), "--store", str(tmp_path / "store"), "--cell", CELL])
        manifest = store.manifest("monitor", keys.key("monitor", cell_named(spec, CELL)))
        return code, None if manifest is None else json.loads(store.get(manifest["outputs"]["drift.json"]["digest"]))

    return run


def test_the_verdict_by_hand(judge: Judge) -> None:
    nulls = tuple((np.arange(100) / 10).tolist())
    code, found = judge([documents.checkpoint(s, shift, nulls) for s, shift in ((5, -4.95), (10, 9.25))])
    assert code == 0
    assert found == {
        "level": 0.9,
        "checkpoints": [
            {"optimizer_step": 5, "shift": -4.95, "rank": 0.5, "drifted": False},
            {"optimizer_step": 10, "shift": 9.25, "rank": 0.93, "drifted": True},
        ],
        "drifted_at": 10,
    }


@pytest.mark.parametrize("checkpoints", [None, [], [documents.checkpoint(5, 1.0, (0.0,) * 99)]])
def test_too_little_evidence_seals_nothing(judge: Judge, checkpoints: list[Checkpoint] | None) -> None:
    assert judge(checkpoints) == (ExitCode.INPUT, None)
