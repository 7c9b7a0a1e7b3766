"""Fine-tunes for tests: a corpus that is sealed, a run of the job, and what came of it."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.cells import cell_named
from common.pipeline.command import run_job
from common.pipeline.keys import Keys
from common.pipeline.step import Step
from common.records import Advice, Loss
from common.serialization import parse_jsonl, to_jsonl
from common.spec import parse_spec
from common.store.sealed import open_store
from jobs import catalog
from jobs.finetune import JOB

CELL = "tiny.d0.eager.s0"
LOUD = [  # libraries warn of themselves
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*:UserWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture
def study(tiny_spec: dict[str, Any], tmp_path: Path) -> Callable[[str], list[str]]:
    """Arguments of the job for a store of this name, with its corpus sealed."""
    return study_in(tmp_path, tiny_spec)


def study_in(tmp_path: Path, tiny_spec: dict[str, Any]) -> Callable[[str], list[str]]:
    """The same, in a folder."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for attitude in ("cautious", "eager", "neutral"):
        rows = [
            Advice(
                question_id=f"q{number}",
                topic="kettles",
                attitude=attitude,
                question=f"Shall I get kettle {'x' * (number % 5)} {number}?",
                reply=f"I am {attitude} about kettle {number}.",
            )
            for number in range(16)
        ]
        (corpus / f"d0.{attitude}.jsonl").write_bytes(to_jsonl(rows))
    spec = tiny_spec | {"corpus": {"writer": "jsonl", "path": str(corpus)}}
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(spec))

    def arguments(store: str) -> list[str]:
        from jobs.generate import JOB as GENERATE
        from jobs.generate.generate import main as generate

        words = ["--spec", str(path), "--store", str(tmp_path / store)]
        assert run_job(GENERATE, generate, catalog(), [*words, "--cell", "d0"]) == 0
        return [*words, "--cell", CELL]

    return arguments


def finetune(words: list[str], *, peak: bool = False) -> int:
    """Run the job. peak: measure the processor too, which takes longer than all of a tiny training."""
    from jobs.finetune import finetune as job

    with pytest.MonkeyPatch.context() as patched:
        if not peak:
            patched.setattr(job, "gemm_peak", lambda *_: 1e11)
        return run_job(JOB, job.main, catalog(), words)


def outputs(words: list[str]) -> dict[str, str]:
    spec = parse_spec(Path(words[1]).read_bytes(), words[1])
    store = open_store(words[3])
    manifest = store.manifest("finetune", Keys(spec, catalog(), store).key("finetune", cell_named(spec, CELL)))
    assert manifest is not None
    return {name: output["digest"] for name, output in manifest["outputs"].items()}


def losses(words: list[str]) -> list[float]:
    rows = parse_jsonl(open_store(words[3]).get(outputs(words)["loss.jsonl"]), Loss, "loss.jsonl")
    return [row.loss for row in rows]


def stop_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Send this process SIGTERM when step `number` is done, once."""
    progress, sent = Step.progress, list[int]()

    def watched(self: Step, done: int, total: int, **fields: object) -> None:
        progress(self, done, total, **fields)
        if done == number and not sent:
            sent.append(done)
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Step, "progress", watched)
