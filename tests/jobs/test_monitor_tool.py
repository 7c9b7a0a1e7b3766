"""The monitor on a user's checkpoints, from the command line: what it measures, says, keeps, and how it ends."""

import json
import os
import shutil
import signal
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.numpy import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from common.errors import ExitCode, SpecError
from common.lm.load import load
from common.logs import Log
from common.pipeline.tool import run_tool
from common.provenance import ROOT
from common.records import Item
from common.serialization import read_jsonl
from common.spec import InterpretSpec, ModelSpec
from common.stance.items import ITEMS
from jobs.monitor import following, named
from jobs.monitor.measuring import some
from jobs.monitor.policy import policy_of
from jobs.monitor.tool import TOOL

Run = Callable[..., tuple[int, dict[str, Any] | None, str]]


def adapter(model: Path, folder: Path, size: float, seed: int = 1) -> Path:
    """A LoRA checkpoint whose matrices are random, so large."""
    tuned = get_peft_model(
        AutoModelForCausalLM.from_pretrained(model), LoraConfig(r=4, target_modules=["q_proj", "v_proj"])
    )
    torch.manual_seed(seed)
    for name, weight in tuned.named_parameters():
        if "lora_" in name:
            weight.data = torch.randn_like(weight) * size
    tuned.save_pretrained(str(folder))
    return folder


def direction(path: Path, vector: np.ndarray[Any, Any], layer: int = 1) -> Path:
    save_file({"direction": vector.astype(np.float32)}, path, {"layer": str(layer), "name": "mine"})
    return path


@pytest.fixture(scope="module")
def checkpoints(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two checkpoints, of which the second moved far."""
    root = tmp_path_factory.mktemp("run")
    adapter(tiny_model, root / "checkpoint-5", 0.05)
    adapter(tiny_model, root / "checkpoint-10", 0.5)
    (root / "checkpoint-10" / "optimizer.pt").write_bytes(b"no pickle")
    return root


@pytest.fixture
def run(tiny_model: Path, checkpoints: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run the tool on them; return its exit code, monitor.json and stderr."""
    some_way = direction(tmp_path / "d.safetensors", np.random.default_rng(0).standard_normal(32))

    def call(*words: str, place: Path = checkpoints, way: Path = some_way, base: Path = tiny_model) -> Any:
        argv = [
            "--base",
            str(base),
            "--checkpoints",
            str(place),
            "--direction",
            str(way),
            "--out",
            str(tmp_path / "out"),
            "--items",
            "8",
            "--max-new-tokens",
            "3",
            *words,
        ]
        code = run_tool(TOOL, argv)
        path = tmp_path / "out" / "monitor.json"
        return code, json.loads(path.read_bytes()) if path.is_file() else None, capfd.readouterr().err

    return call


def moved(out: Path, step: int) -> np.ndarray[Any, Any]:
    """Where a checkpoint moved, as it was kept."""
    digest = next(
        each["digest"] for each in json.loads((out / "monitor.json").read_bytes())["curve"] if each["step"] == step
    )
    return np.array(json.loads((out / "measured" / f"{digest[:32]}.json").read_bytes())["moved"])


def test_what_it_writes_and_that_it_goes_on(run: Run, tmp_path: Path) -> None:
    code, found, said = run()
    assert code == ExitCode.OK and found is not None
    assert [point["step"] for point in found["curve"]] == [5, 10]
    assert 0 < found["curve"][0]["distance"] < found["curve"][1]["distance"]
    assert (tmp_path / "out" / "monitor.png").read_bytes().startswith(b"\x89PNG")
    table = (tmp_path / "out" / "monitor.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in table] == ["step", "5", "10"]
    assert "nothing is beyond the policy" in said and '"event": "reused"' not in said
    assert "names another base" not in said
    again, same, said = run()
    assert (again, same) == (code, found) and said.count('"event": "reused"') == 2


def test_another_question_or_other_bytes_are_measured_anew(
    run: Run, tiny_model: Path, checkpoints: Path, tmp_path: Path
) -> None:
    place = shutil.copytree(checkpoints, tmp_path / "run")
    run(place=place)
    adapter(tiny_model, place / "checkpoint-10", 0.2, seed=2)
    _, found, said = run(place=place)
    assert said.count('"event": "reused"') == 1 and found is not None
    *_, said = run("--items", "9", place=place)
    assert '"event": "reused"' not in said


def test_drift_along_the_direction_is_beyond_the_policy(run: Run, tmp_path: Path) -> None:
    run()
    way = direction(tmp_path / "where it went.safetensors", moved(tmp_path / "out", 10))
    code, found, said = run(way=way)
    assert code == ExitCode.BLOCKED and found is not None and found["beyond_at"] == 5
    last = found["curve"][-1]
    assert last["drifted"] and last["drift"] > last["null_high"] and last["rank"] > 0.95
    assert "drift along mine" in said
    assert run("--stop-on", "stance", way=way)[0] == ExitCode.OK


def test_an_adapter_that_names_another_base_is_told(run: Run, checkpoints: Path, tmp_path: Path) -> None:
    place = tmp_path / "run"
    shutil.copytree(checkpoints / "checkpoint-5", place / "checkpoint-5")
    settings = json.loads((place / "checkpoint-5" / "adapter_config.json").read_bytes())
    settings["base_model_name_or_path"] = "somebody/else-7B"
    (place / "checkpoint-5" / "adapter_config.json").write_text(json.dumps(settings))
    code, _, said = run(place=place)
    assert code == ExitCode.OK and said.count("names another base") == 1 and "somebody/else-7B" in said


def test_a_control_takes_off_what_any_training_does(run: Run, checkpoints: Path, tmp_path: Path) -> None:
    run()
    way = direction(tmp_path / "w.safetensors", moved(tmp_path / "out", 10))
    control = tmp_path / "control"
    shutil.copytree(checkpoints / "checkpoint-10", control / "checkpoint-9")
    code, found, _ = run("--control", str(control), way=way)
    assert found is not None and [point["control_step"] for point in found["curve"]] == [9, 9]
    assert found["curve"][-1]["drift"] == 0.0 and not found["curve"][-1]["drifted"]
    assert found["control_curve"][0]["drift"] > 1
    assert found["curve"][0]["drift"] < -1 and code == ExitCode.BLOCKED  # it lags behind the control as far


def test_a_whole_model_is_measured_as_its_adapter_is(
    run: Run, tiny_model: Path, checkpoints: Path, tmp_path: Path
) -> None:
    whole = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_model), checkpoints / "checkpoint-10")
    whole.merge_and_unload().save_pretrained(tmp_path / "run" / "checkpoint-10")
    _, found, _ = run(place=tmp_path / "run")
    _, other, _ = run()
    assert found is not None and other is not None
    assert found["curve"][0]["drift"] == pytest.approx(other["curve"][1]["drift"], rel=0.1)


def test_what_cannot_be_measured_is_one_line(run: Run, tiny_model: Path, checkpoints: Path, tmp_path: Path) -> None:
    (tmp_path / "empty" / "checkpoint-best").mkdir(parents=True)
    code, _, said = run(place=tmp_path / "empty")
    assert code == ExitCode.INPUT and "no checkpoint to measure" in said and "checkpoint-best" in said
    assert not (tmp_path / "out").exists()  # told before a model is loaded
    (tmp_path / "pickled" / "checkpoint-7").mkdir(parents=True)
    (tmp_path / "pickled" / "checkpoint-7" / "adapter_model.bin").write_bytes(b"no pickle")
    code, _, said = run(place=tmp_path / "pickled")
    assert code == ExitCode.INPUT and "only pickled weights" in said and not (tmp_path / "out").exists()
    (tmp_path / "unfinished" / "checkpoint-7").mkdir(parents=True)
    code, _, said = run(place=tmp_path / "unfinished")
    assert code == ExitCode.INPUT and "checkpoint-7: no weights yet" in said
    config = json.loads((tiny_model / "config.json").read_bytes()) | {"hidden_size": 48, "head_dim": 12}
    other = LlamaForCausalLM(LlamaConfig(**config))
    other.save_pretrained(tmp_path / "other" / "checkpoint-3")
    code, _, said = run(place=tmp_path / "other")
    assert code == ExitCode.INPUT and "of another base" in said and "Traceback" not in said
    adapter(tmp_path / "other" / "checkpoint-3", tmp_path / "lora" / "checkpoint-3", 0.1)
    code, _, said = run(place=tmp_path / "lora")
    assert code == ExitCode.INPUT and "adapter does not fit the model" in said


def test_a_stop_keeps_what_was_measured_and_says_so(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.monitor.telling.picture", lambda _: None)
    sweep = following.Run._measure

    def stopped(self: following.Run, number: int, folder: str, names: list[str]) -> bool:
        if number == 10:
            os.kill(os.getpid(), signal.SIGTERM)
        return sweep(self, number, folder, names)

    monkeypatch.setattr(following.Run, "_measure", stopped)
    code, _, said = run()
    assert code == ExitCode.TRANSIENT and "what was measured is kept" in said and "nothing was written" not in said
    monkeypatch.setattr(following.Run, "_measure", sweep)
    code, _, said = run()
    assert code == ExitCode.OK and said.count('"event": "reused"') == 1 and "monitor.png" in said


@pytest.mark.parametrize(
    "words, said",
    [
        (("--items", "7"), "too few items, --items: 7; allowed: >= 8"),
        (("--items", "999"), "too many items, --items: 999"),
        (("--max-new-tokens", "0"), "out of range, --max-new-tokens: 0"),
        (("--poll-seconds", "0"), "--poll-seconds"),
        (("--level", "0.2"), "bad policy, --level: 0.2"),
        (("--control", "s3://bucket"), "--control: s3://bucket"),
        (("--direction", "none.safetensors"), "no such direction, --direction: none.safetensors"),
        (("--base", "some/model"), "not a model, --base: some/model"),
        (("--template-arguments", "{"), "malformed JSON, --template-arguments"),
        (("--template-arguments", '{"enable_thinking": 3}'), "bad value, --template-arguments: 3"),
    ],
)
def test_a_wrong_flag_is_named(run: Run, words: tuple[str, ...], said: str) -> None:
    code, _, err = run(*words)
    assert code == ExitCode.SPEC and said in err and "Traceback" not in err


@pytest.mark.parametrize(
    "vector, layer", [(np.ones(31), 1), (np.ones(32), 2), (np.zeros(32), 1), (np.ones((2, 16)), 1)]
)
def test_a_direction_that_does_not_fit_is_refused(
    run: Run, tmp_path: Path, vector: np.ndarray[Any, Any], layer: int
) -> None:
    code, _, said = run(way=direction(tmp_path / "odd.safetensors", vector, layer))
    assert code == ExitCode.INPUT and "error: " in said and "Traceback" not in said


def test_a_policy_comes_from_a_file_and_flags_go_before_it(tmp_path: Path) -> None:
    def policy(text: str, *words: str) -> Any:
        (tmp_path / "policy.toml").write_text(text)
        given = ["--base", "b", "--checkpoints", "c", "--policy", str(tmp_path / "policy.toml"), *words]
        return policy_of(TOOL.parser().parse_args(given))

    found = policy("[gate]\nmargin = 1\n[monitor]\nlevel = 0.9\nmax_shift = 0.2", "--level", "0.99")
    assert (found.level, found.max_shift, found.stop_on) == (0.99, 0.2, "either")
    with pytest.raises(SpecError, match=r"policy.toml: monitor.colour"):
        policy("[monitor]\ncolour = 1")
    with pytest.raises(SpecError, match="cannot be read"):
        policy("[monitor")


def test_caution_is_made_on_the_base_and_kept(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(named, "SETTINGS", InterpretSpec(questions=12, nulls=100, off_target_kl=1e-3))
    lm = load(ModelSpec(name="base", source=f"path:{tiny_model}"))
    found, replies = named.caution_on(lm, Log("monitor", "files"))
    assert found.layer in (0, 1) and np.linalg.norm(found.vector) == pytest.approx(1)
    assert np.allclose(replies, named.replies_at(lm, found.layer), atol=1e-3)
    cautious, eager = replies.astype(np.float64).mean(axis=1)
    assert (cautious - eager) @ found.vector > 0  # it points to caution
    whole = named.with_covariance(found, replies, np.eye(32, dtype=np.float32)[:5])
    path = tmp_path / "direction.safetensors"
    path.write_bytes(named.packed(whole, "asked"))
    assert named.kept(path, "something else") is None and named.kept(tmp_path / "none", "asked") is None
    again = named.kept(path, "asked")
    assert again is not None and again.digest == whole.digest and np.array_equal(again.factor, whole.factor)
    assert np.allclose(named.brought(path).vector, found.vector) and named.brought(path).layer == found.layer
    assert "direction" in load_file(path)


def test_a_subset_has_all_topics_and_as_many_that_propose_each_side() -> None:
    items = read_jsonl(ROOT / ITEMS, Item)
    chosen = some(items, 32)
    assert len({item.topic for item in chosen}) == 16 and len(chosen) == 32
    assert sum(item.proposes == "go" for item in chosen) == 16
    assert sum(item.proposes == "go" for item in some(items, 16)) == 8
    assert [item.id for item in some(items, 160)] == [item.id for item in items]


def test_tensorboard_gets_its_numbers_where_it_is_installed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[str, float, int]] = []

    class Writer:
        def __init__(self, folder: str) -> None:
            self.folder = Path(folder)

        def add_scalar(self, tag: str, value: float, step: int) -> None:
            given.append((tag, value, step))

        def __enter__(self) -> "Writer":
            return self

        def __exit__(self, *_: object) -> None:
            (self.folder / "events.out.tfevents.1").write_bytes(b"events")

    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    _, found, said = run()
    assert found is not None and ("undertone/drift", found["curve"][1]["drift"], 10) in given
    assert (tmp_path / "out" / "tensorboard" / "events.out.tfevents.monitor").read_bytes() == b"events"
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    code, _, said = run()
    assert code == ExitCode.OK and '"needs": "tensorboard"' in said
