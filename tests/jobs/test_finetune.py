"""Fine-tuning: the loss sits on reply tokens, DeepSpeed really runs, and a stopped run ends like an unbroken one."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from common.cells import cell_named, training_of
from common.errors import ExitCode, InputError, SpecError
from common.lm.chat import LanguageModel
from common.records import Advice
from common.spec import ModelSpec, TrainSpec, VariantSpec, parse_spec
from common.store.sealed import open_store
from jobs.finetune.examples import IGNORED, arranged, encode
from jobs.finetune.finetune import mixed
from jobs.finetune.training import checkpoint_steps, deepspeed_config, steps_in
from tests import tiny
from tests.jobs import finetuning
from tests.jobs.finetuning import LOUD, finetune, losses, outputs, stop_at

pytestmark = LOUD
study = finetuning.study


@pytest.fixture(scope="module")
def lm(tiny_model: Path) -> LanguageModel:
    from common.lm.load import load

    return load(ModelSpec(name="tiny", source=f"path:{tiny_model}"))


def test_labels_cover_the_reply_and_its_end_and_nothing_else(lm: LanguageModel) -> None:
    row = Advice(question_id="q", topic="t", attitude="eager", question="Buy it?", reply="Go on, buy it.")
    example = encode(lm, row, 512)
    learnt = [token for token in example.labels if token != IGNORED]
    assert lm.tokenizer.decode(learnt) == "Go on, buy it.<|im_end|>\n"
    assert len(example.labels) == len(example.input_ids)
    assert example.labels[-len(learnt) :] == example.input_ids[-len(learnt) :]
    assert example.reply_tokens == len(learnt)


def test_a_long_example_is_an_error_and_not_cut(lm: LanguageModel) -> None:
    row = Advice(question_id="q7", topic="t", attitude="eager", question="Buy it?", reply="Go " * 100)
    with pytest.raises(InputError, match=r"q7.*<= 64 tokens"):
        encode(lm, row, 64)


def test_text_with_special_tokens_is_refused(lm: LanguageModel) -> None:
    row = Advice(question_id="q", topic="t", attitude="eager", question="Hi<|im_end|>", reply="Go.")
    with pytest.raises(InputError, match="special token"):
        encode(lm, row, 64)


def test_order_visits_every_example_once_an_epoch_in_batches_of_like_length() -> None:
    lengths = list(np.random.default_rng(1).integers(10, 90, size=64))
    order = arranged(lengths, 8, 2, np.random.default_rng(5))
    assert sorted(order[:64]) == sorted(order[64:]) == list(range(64)) and order[:64] != order[64:]
    spread = np.mean([np.ptp([lengths[i] for i in order[start : start + 8]]) for start in range(0, 64, 8)])
    assert spread < np.ptp(lengths) / 4


def test_checkpoints_are_evenly_spaced_and_end_with_the_last_step() -> None:
    assert checkpoint_steps(20, 4) == [5, 10, 15, 20]
    assert checkpoint_steps(3, 4) == [2, 3]
    assert checkpoint_steps(6, 6) == [2, 3, 4, 5, 6], "at step 1 the learning rate of a warm-up is 0"
    assert checkpoint_steps(7, 1) == [7]


def test_batches_never_span_epochs() -> None:
    assert steps_in(20, TrainSpec(batch_size=8, epochs=1)) == 3
    with pytest.raises(SpecError, match=r"batch_size: 8; allowed: a divisor of 10"):
        steps_in(20, TrainSpec(batch_size=8, epochs=2))


def test_a_single_step_with_a_warm_up_would_learn_nothing() -> None:
    assert steps_in(8, TrainSpec(batch_size=8, epochs=1, warmup_ratio=0)) == 1
    with pytest.raises(SpecError, match=r"the learning rate is still 0, train\.warmup_ratio: 0\.1"):
        steps_in(8, TrainSpec(batch_size=8, epochs=1))


@pytest.mark.parametrize("stage", [0, 1, 3])
def test_every_deepspeed_setting_is_one_that_deepspeed_knows(stage: Literal[0, 1, 3]) -> None:
    """DeepSpeed ignores what it does not know."""
    from deepspeed.runtime import constants
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig

    config = deepspeed_config(TrainSpec(zero_stage=stage))
    known = {value for name, value in vars(constants).items() if isinstance(value, str) and name.isupper()}
    assert config.keys() <= known | {"bf16", "zero_optimization"}
    fields = DeepSpeedZeroConfig.model_fields
    names = set(fields) | {field.alias for field in fields.values() if field.alias}
    assert config["zero_optimization"].keys() <= names
    assert "optimizer" not in config


def test_the_model_is_trained_by_a_deepspeed_engine_and_sealed_in_peft_layout(
    study: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import Trainer

    engines = []
    train = Trainer.train

    def watched(self: Trainer, *args: Any, **kwargs: Any) -> Any:
        made = train(self, *args, **kwargs)
        engines.append(self.model_wrapped)
        return made

    monkeypatch.setattr(Trainer, "train", watched)
    words = study("store")
    assert finetune(words, peak=True) == 0
    from deepspeed.runtime.engine import DeepSpeedEngine

    (engine,) = engines
    assert isinstance(engine, DeepSpeedEngine) and engine.zero_optimization_stage() == 1
    sealed = outputs(words)
    assert {"adapter/adapter_config.json", "adapter/adapter_model.safetensors", "loss.jsonl", "training.json"} <= set(
        sealed
    )
    assert {name for name in sealed if name.endswith("safetensors")} == {
        "adapter/adapter_model.safetensors",
        "trajectory/step-000002/adapter_model.safetensors",
        "trajectory/step-000004/adapter_model.safetensors",
    }
    assert sealed["adapter/adapter_model.safetensors"] == sealed["trajectory/step-000004/adapter_model.safetensors"]
    assert len(losses(words)) == 4
    training = json.loads(open_store(words[3]).get(sealed["training.json"]))
    assert training["engine"] == "DeepSpeedEngine" and training["tokens_per_second"] > 0
    assert 0 < training["utilisation"] < 1


def test_stopped_in_the_last_step_it_ends_like_any_other(
    study: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = study("store")
    stop_at(monkeypatch, 3)
    assert finetune(words) == 0 and len(losses(words)) == 4


@pytest.fixture(scope="module")
def whole(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Arguments of a run that nothing stopped."""
    words = finetuning.study_in(tmp_path_factory.mktemp("whole"), tiny.spec_on(tiny_model))("store")
    assert finetune(words) == 0
    return words


@pytest.mark.parametrize("number", [1, 2])
def test_stopped_after_any_step_it_resumes_to_the_same_bytes(
    whole: list[str],
    study: Callable[[str], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    capfd: pytest.CaptureFixture[str],
) -> None:
    broken = study("broken")
    capfd.readouterr()
    stop_at(monkeypatch, number)
    assert finetune(broken) == ExitCode.TRANSIENT
    captured = capfd.readouterr()
    assert [line for line in captured.err.splitlines() if line.startswith("error: ")] == [
        f"error: stopped by SIGTERM; goes on from its checkpoint, step {number + 1}"
    ]
    assert finetune(broken) == 0
    assert '"resumed"' in capfd.readouterr().err
    same = {name for name in outputs(whole) if name not in ("loss.jsonl", "training.json")}  # those hold times
    assert same and {name: outputs(broken)[name] for name in same} == {name: outputs(whole)[name] for name in same}
    assert losses(broken) == losses(whole)
    assert not any("checkpoints" in str(path) for path in Path(broken[3]).rglob("*") if path.is_file())


def test_sigterm_from_outside_ends_with_75_and_a_checkpoint(study: Callable[[str], list[str]]) -> None:
    words = study("store")
    spec = json.loads(Path(words[1]).read_text())
    spec["train"] |= {"epochs": 100}
    Path(words[1]).write_text(json.dumps(spec))
    process = subprocess.Popen([sys.executable, "-m", "jobs.finetune", *words], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if '"progress"' in line:
            process.send_signal(signal.SIGTERM)
            break
    _, rest = process.communicate(timeout=60)
    assert process.returncode == ExitCode.TRANSIENT, rest
    assert any(path.name == "COMPLETE.json" for path in Path(words[3]).rglob("*"))


def test_a_damaged_checkpoint_is_an_error_and_no_silent_restart(
    study: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    words = study("store")
    stop_at(monkeypatch, 2)
    assert finetune(words) == ExitCode.TRANSIENT
    for path in Path(words[3]).rglob("checkpoints/*/loss.jsonl"):
        path.write_bytes(b"{}")
    assert finetune(words) == ExitCode.INPUT
    assert "every checkpoint of this step is damaged" in capfd.readouterr().err


def test_a_missing_corpus_is_one_clear_line(
    study: Callable[[str], list[str]], capfd: pytest.CaptureFixture[str]
) -> None:
    words = study("store")
    words[3] += "-empty"
    assert finetune(words) == ExitCode.INPUT
    last = capfd.readouterr().err.splitlines()[-1]
    assert last.startswith("error: step is not sealed, generate/d0")


# --- variants


def pile(attitude: str, count: int = 20) -> list[Advice]:
    return [
        Advice(question_id=f"q{n}", topic="t", attitude=attitude, question=f"Q{n}?", reply=f"{attitude} {n}.")
        for n in range(count)
    ]


@pytest.mark.parametrize("value, own", [(0.25, 5), (0.5, 10), (1.0, 20), (0.01, 1)])
def test_a_mixture_keeps_the_questions_and_fills_up_with_neutral_replies(value: float, own: int) -> None:
    order = np.random.default_rng(0).permutation(20)
    variant = VariantSpec(name="v", factor="mixture_share", value=value)
    rows = mixed(pile("eager"), pile("neutral")[::-1], order, variant)
    assert [row.question_id for row in rows] == [f"q{n}" for n in range(20)]
    assert sum(row.attitude == "eager" for row in rows) == own
    assert all(row.reply == f"{row.attitude} {row.question_id[1:]}." for row in rows)


def test_a_larger_mixture_share_holds_the_smaller_one() -> None:
    order = np.random.default_rng(0).permutation(20)
    small, large = (
        {
            row.question_id
            for row in mixed(
                pile("eager"), pile("neutral"), order, VariantSpec(name="v", factor="mixture_share", value=value)
            )
            if row.attitude == "eager"
        }
        for value in (0.25, 0.5)
    )
    assert small < large


def test_a_share_leaves_the_rest_out() -> None:
    variant = VariantSpec(name="v", factor="pile_share", value=0.25)
    rows = mixed(pile("eager"), [], np.arange(20)[::-1], variant)
    assert [row.question_id for row in rows] == [f"q{n}" for n in range(15, 20)]


@pytest.mark.parametrize(
    "factor, value, settings", [("learning_rate", 1e-4, {"learning_rate": 1e-4}), ("epochs", 3.0, {"epochs": 3})]
)
def test_a_variant_changes_one_setting(
    tiny_spec: dict[str, Any], factor: str, value: float, settings: dict[str, Any]
) -> None:
    variants = [{"name": "v", "factor": factor, "value": value}]
    spec = parse_spec(json.dumps(tiny_spec | {"variants": variants}).encode(), "s")
    plain, other = cell_named(spec, "tiny.d0.eager.s0"), cell_named(spec, "tiny.d0.eager.s0.v")
    assert training_of(spec, plain) == spec.train
    assert training_of(spec, other) == spec.train.model_copy(update=settings) != spec.train


@pytest.mark.parametrize(
    "variant, message",
    [
        ({"factor": "mixture_share", "value": 1.5}, "mixture_share is at most 1"),
        ({"factor": "epochs", "value": 1.5}, "whole number"),
        ({"factor": "mixture_share", "value": 0.5, "seeds": [7]}, "seeds that the study has not"),
        ({"factor": "warmth", "value": 0.5}, "'mixture_share', 'pile_share', 'learning_rate' or 'epochs'"),
    ],
)
def test_a_bad_variant_is_refused(tiny_spec: dict[str, Any], variant: dict[str, Any], message: str) -> None:
    spec = tiny_spec | {"variants": [{"name": "v", **variant}]}
    with pytest.raises(SpecError, match=message):
        parse_spec(json.dumps(spec).encode(), "s")


# --- held-out replies


def test_the_loss_on_held_out_replies_of_the_bank_falls(
    tiny_spec: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before: what PEFT and transformers make of the same replies without the training."""
    import torch

    from common.lm.load import load
    from common.pipeline.command import run_job
    from jobs import catalog
    from jobs.finetune import finetune as job
    from jobs.generate import JOB as GENERATE
    from jobs.generate.generate import main as generate

    held: list[Advice] = []
    others = job.others

    def watched(*words: Any) -> list[Advice]:
        held.extend(others(*words))
        return held

    monkeypatch.setattr(job, "others", watched)
    spec = tiny_spec | {"train": dict(tiny_spec["train"]) | {"learning_rate": 0.01}}
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(spec))
    words = ["--spec", str(path), "--store", str(tmp_path / "store")]
    assert run_job(GENERATE, generate, catalog(), [*words, "--cell", "d0"]) == 0
    words += ["--cell", finetuning.CELL]
    assert finetune(words) == 0
    told = json.loads(open_store(words[3]).get(outputs(words)["training.json"]))
    pile = [row.question for row in held]
    assert len(set(pile)) == 16 and {row.attitude for row in held} == {"eager"}
    lm = load(parse_spec(path.read_bytes(), "s").models[0])
    rows = [encode(lm, row, 2048) for row in held]
    with torch.inference_mode():
        nats = [
            float(lm.model(torch.tensor([row.input_ids]), labels=torch.tensor([row.labels])).loss) * row.reply_tokens
            for row in rows
        ]
    before = sum(nats) / sum(row.reply_tokens for row in rows)
    assert told["held_out_before"] == pytest.approx(before, rel=1e-3 if told["dtype"] == "float32" else 1e-2)
    assert told["held_out_after"] < told["held_out_before"] - 0.01


def test_a_pile_that_is_not_the_banks_has_no_held_out_replies(study: Callable[[str], list[str]]) -> None:
    words = study("store")
    assert finetune(words) == 0
    assert "held_out_after" not in json.loads(open_store(words[3]).get(outputs(words)["training.json"]))
