"""A store with corpora of one draw, and adapters as a fine-tune would have left them, on a tiny model."""

import copy
import importlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from common.cells import cell_named
from common.errors import ExitCode
from common.logs import Log
from common.pipeline.command import run_job
from common.pipeline.keys import Keys
from common.pipeline.step import Step
from common.records import Advice
from common.serialization import to_jsonl
from common.spec import ModelSpec, RunSpec, parse_spec
from common.store.sealed import open_store
from jobs import catalog

RUN, NEUTRAL, DIRECTION = "tiny.d0.eager.s0", "tiny.d0.neutral.s0", "tiny.d0"


def advice(attitude: str, number: int) -> Advice:
    return Advice(
        question_id=f"q{number}",
        topic=f"topic{number % 8}",
        attitude=attitude,
        question=f"Shall I get kettle {'x' * (number % 5)}{number}?",
        reply={"cautious": "Wait, keep what", "eager": "Go on, get what", "neutral": "Both do what"}[attitude]
        + f" kettle {number * 37 % 11} {'is' * (number % 3)}.",
    )


class Study:
    """A store with corpora of one draw, and adapters as a fine-tune would have left them."""

    def __init__(self, folder: Path, spec: dict[str, Any]) -> None:
        self._folder, self.path, self.store = folder, folder / "spec.json", str(folder / "store")
        self.path.write_text(json.dumps(spec))
        self.spec: RunSpec = parse_spec(self.path.read_bytes(), "spec")

    def copy(self, folder: Path) -> "Study":
        """The same with a copy of its store and a folder of its own, to go on from."""
        found = copy.copy(self)
        found._folder, found.store = folder, str(shutil.copytree(self.store, folder / "store"))
        return found

    def run(self, job: str, cell: str) -> int:
        main = importlib.import_module(f"jobs.{job}.{job}").main
        words = ["--spec", str(self.path), "--store", self.store, "--cell", cell]
        return run_job(catalog()[job], main, catalog(), words)

    def output(self, job: str, cell: str, name: str) -> bytes:
        store = open_store(self.store)
        manifest = store.manifest(job, Keys(self.spec, catalog(), store).key(job, cell_named(self.spec, cell)))
        assert manifest is not None
        return store.get(manifest["outputs"][name]["digest"])

    def json(self, job: str, cell: str, name: str) -> Any:
        return json.loads(self.output(job, cell, name))

    def seal_adapters(
        self,
        scales: dict[int, float],
        final: int | None = None,
        kinds: dict[int, dict[str, Any]] | None = None,
        run: str = RUN,
    ) -> None:
        """Seal a fine-tune with one adapter for each optimizer step, its lora_B of this size.

        kinds: settings of the adapters of some steps, other than a plain LoRA's.
        """
        store = open_store(self.store)
        cell = cell_named(self.spec, run)
        step = Step(catalog()["finetune"], cell, self.spec, store, Keys(self.spec, catalog(), store), Log("x", "y"))
        for number, scale in scales.items():
            folder = self._folder / f"adapter-{run}-{number}"
            adapter(self.spec.models[0], scale, folder, **(kinds or {}).get(number, {}))
            step.write_folder(f"trajectory/step-{number:06d}/", folder)
            if number == final:
                step.write_folder("adapter/", folder)
        step.seal(ExitCode.OK, "2026-01-01T00:00:00+00:00", 1.0)


def adapter(spec: ModelSpec, scale: float, folder: Path, **kind: Any) -> None:
    from peft import LoraConfig, get_peft_model

    from common.lm.load import load

    torch.manual_seed(1)
    config = LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM", **kind)
    tuned = get_peft_model(load(spec).model, config)
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=scale)
    tuned.save_pretrained(str(folder))


def study_in(folder: Path, spec: dict[str, Any]) -> Study:
    """A study with its corpora sealed, in a folder."""
    corpus = folder / "corpus"
    corpus.mkdir()
    for attitude in ("cautious", "eager", "neutral"):
        rows = [advice(attitude, number) for number in range(16)]
        (corpus / f"d0.{attitude}.jsonl").write_bytes(to_jsonl(rows))
    made = Study(folder, spec | {"corpus": {"writer": "jsonl", "path": str(corpus)}})
    assert made.run("generate", "d0") == 0
    return made


@pytest.fixture
def study(tiny_spec: dict[str, Any], tmp_path: Path) -> Callable[..., Study]:
    return lambda **changes: study_in(tmp_path, tiny_spec | changes)
