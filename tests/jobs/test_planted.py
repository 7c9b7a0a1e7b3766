"""Planted fine-tunes through the whole of `trace`: what a direction carries is found, what it does not carry is not."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from peft import LoraConfig, get_peft_model

from common.cells import cell_named
from common.errors import ExitCode
from common.lm.directions import pack, unpack
from common.lm.load import load
from common.lm.margins import Readout, prompts_in_both_orders
from common.lm.planted import that_does_not, that_steers, topic_slopes
from common.logs import Log
from common.pipeline.keys import Keys
from common.pipeline.step import Step
from common.provenance import ROOT
from common.stance.items import ITEMS, read_items
from common.store.sealed import open_store
from jobs import catalog
from tests import tiny
from tests.jobs.inside import DIRECTION, NEUTRAL, RUN, Study, study_in

Floats = NDArray[np.float64]
pytestmark = pytest.mark.filterwarnings("ignore::peft.utils.warning.PeftWarning")  # of biases, which no arm has
LAYER = 1
SPEC = {"steer": {"enabled": True, "items_per_topic": 1, "text_tokens": 16}}


@dataclasses.dataclass
class Known:
    """A study whose direction is sealed, and two directions of which it is known what they do."""

    study: Study
    steers: Floats
    inert: Floats
    length: float


@pytest.fixture(scope="module")
def known(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Known:
    """The direction that steers all topics alike is sealed in place of that of caution."""
    read = study_in(tmp_path_factory.mktemp("read"), tiny.spec_on(tiny_model) | SPEC)
    assert read.run("interpret", DIRECTION) == 0
    saved = unpack(read.output("interpret", DIRECTION, "direction.npz"), "npz")
    lm = load(read.spec.models[0], precision=torch.float32)
    items = read_items(ROOT / ITEMS, 1)
    slopes = topic_slopes(Readout(lm, prompts_in_both_orders(lm, items), whole=True), LAYER)
    steers = that_steers(slopes)
    inert = that_does_not(slopes, np.random.default_rng(0).standard_normal(len(steers)))
    return Known(read, steers, inert, float(np.linalg.norm(saved.base, axis=1).mean()))


def sealed_along(known: Known, unit: Floats, folder: Path) -> Study:
    """A study of its own, whose direction is this one; its self-tests are sealed as passed."""
    saved = unpack(known.study.output("interpret", DIRECTION, "direction.npz"), "npz")
    directions = np.stack([unit, unit]).astype(np.float32)
    found = known.study.copy(folder)
    found.store = str(folder / "own")
    assert found.run("generate", "d0") == 0
    seal(
        found, "interpret", {"direction.npz": pack(saved._replace(direction=directions, layer=LAYER, dtype="float32"))}
    )
    passed = {"layer": LAYER, "checks": [{"name": "x", "value": 0.0, "bound": 0.0, "passed": True}]}
    seal(found, "selftest", {"selftest.json": passed})
    return found


def seal(study: Study, job: str, files: dict[str, Any]) -> None:
    store = open_store(study.store)
    cell = cell_named(study.spec, DIRECTION)
    step = Step(catalog()[job], cell, study.spec, store, Keys(study.spec, catalog(), store), Log("x", "y"))
    for name, value in files.items():
        (step.write_bytes if isinstance(value, bytes) else step.write_json)(name, value)
    step.seal(ExitCode.OK, "2026-01-01T00:00:00+00:00", 1.0)


def planted_run(study: Study, run: str, bias: Floats | None) -> None:
    """Seal a fine-tune whose adapter adds a bias after a block, on top of what all arms learn."""
    torch.manual_seed(1)
    config = LoraConfig(r=2, lora_alpha=2, target_modules=["down_proj"], lora_bias=True, task_type="CAUSAL_LM")
    tuned = get_peft_model(load(study.spec.models[0]).model, config)
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
        if bias is not None and f"layers.{LAYER}." in name and name.endswith("lora_B.default.bias"):
            parameter.data += torch.tensor(bias, dtype=parameter.dtype)
    folder = Path(study.store).parent / f"adapter-{run}"
    tuned.save_pretrained(str(folder))
    store, cell = open_store(study.store), cell_named(study.spec, run)
    step = Step(catalog()["finetune"], cell, study.spec, store, Keys(study.spec, catalog(), store), Log("x", "y"))
    step.write_folder("adapter/", folder)
    step.seal(ExitCode.OK, "2026-01-01T00:00:00+00:00", 1.0)


def traced(study: Study, bias: Floats) -> dict[str, Any]:
    planted_run(study, NEUTRAL, None)
    planted_run(study, RUN, bias)
    assert study.run("trace", RUN) == 0
    found: dict[str, Any] = study.json("trace", RUN, "trace.json")
    return found


def test_a_shift_that_the_direction_carries_is_called_mediated(known: Known, tmp_path: Path) -> None:
    study = sealed_along(known, known.steers, tmp_path)
    told = traced(study, 0.05 * known.length * known.steers)
    assert told["gap"]["low"] > 0 and told["neutral"] == NEUTRAL and told["questions"] == 32
    for part in ("sufficient", "necessary", "ablation", "whole"):
        assert told[part]["share"]["estimate"] == pytest.approx(1, abs=0.05), part
        assert told[part]["p"] == pytest.approx(1 / 21) and len(told[part]["nulls"]) == 20
    assert told["weights"]["share"] > 0.99 and told["weights"]["by_block"][LAYER] > 0.99
    assert told["weights"]["by_block"][0] == 0, "elsewhere both adapters write the same"
    everything = told["patching"][str(LAYER)]["everything"]
    assert everything["estimate"] == pytest.approx(1, abs=1e-2)
    assert told["patching"]["0"]["everything"]["estimate"] == pytest.approx(0, abs=1e-2), "it arises above that block"
    closed = np.mean(list(told["necessary"]["by_topic"].values()))
    assert closed == pytest.approx(np.mean(list(told["necessary"]["gap_by_topic"].values())), rel=0.05)


def test_a_shift_that_only_moves_along_the_direction_is_not(known: Known, tmp_path: Path) -> None:
    """Twice as far along the direction as along what causes the shift: it is read, it moves, it causes nothing."""
    study = sealed_along(known, known.inert, tmp_path)
    told = traced(study, 0.05 * known.length * (known.steers + 2 * known.inert))
    assert told["gap"]["low"] > 0 and told["whole"]["share"]["estimate"] == pytest.approx(1, abs=0.05)
    for part in ("sufficient", "necessary"):
        assert abs(told[part]["share"]["estimate"]) < 0.1 and told[part]["p"] > 0.05, part
    assert told["weights"]["share"] == pytest.approx(0.8, abs=0.02), "most of what is written causes nothing"


def test_without_a_gap_a_share_is_undefined_and_the_items_that_would_do_are_told(known: Known, tmp_path: Path) -> None:
    study = sealed_along(known, known.steers, tmp_path)
    told = traced(study, 0.05 * known.length * known.inert)
    assert told["gap"]["low"] < 0 < told["gap"]["high"]
    assert told["sufficient"]["share"]["estimate"] is None
    assert told["items_needed"] is None or told["items_needed"] > 16


def test_an_adapter_that_writes_into_its_base_is_not_traced(
    known: Known, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    study = sealed_along(known, known.steers, tmp_path)
    planted_run(study, NEUTRAL, None)
    study.seal_adapters({5: 0.5}, final=5, kinds={5: {"init_lora_weights": "olora"}})
    assert study.run("trace", RUN) == 3
    assert "an adapter changes weights of its base" in capfd.readouterr().err
