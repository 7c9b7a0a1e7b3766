"""Checkpoints of a fine-tune are data: nothing in the store runs, and what was not saved by this step is refused."""

import errno
import gzip
import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from transformers import Trainer

from common.digests import sha256
from common.errors import ExitCode
from common.serialization import canonical_json
from jobs.finetune.checkpoints import STATE, TENSORS
from tests import tiny
from tests.jobs import finetuning
from tests.jobs.finetuning import LOUD, finetune, losses, outputs, stop_at

pytestmark = LOUD
study = finetuning.study
ADAPTER = "trajectory/step-000002/adapter_model.safetensors"
HELD = {"state.json", "state.safetensors", "loss.jsonl", ADAPTER}  # what a checkpoint after step 3 holds


@pytest.fixture(scope="module")
def stopped_once(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Arguments of a run that was stopped after step 3 of 4 and kept a checkpoint."""
    words = finetuning.study_in(tmp_path_factory.mktemp("stopped"), tiny.spec_on(tiny_model))("store")
    with pytest.MonkeyPatch.context() as patched:
        stop_at(patched, 2)
        assert finetune(words) == ExitCode.TRANSIENT
    return words


@pytest.fixture
def stopped(stopped_once: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> list[str]:
    """The same, with a copy of that store."""
    capfd.readouterr()
    words = [*stopped_once[:3], str(tmp_path / "store"), *stopped_once[4:]]
    shutil.copytree(stopped_once[3], words[3])
    return words


def checkpoint(words: list[str]) -> Path:
    (complete,) = Path(words[3]).rglob("COMPLETE.json")
    return complete.parent


def snapshot(words: list[str]) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in Path(words[3]).rglob("*") if path.is_file()}


def put(words: list[str], name: str, data: bytes, *, listed: bool = True) -> None:
    """Write a file into the checkpoint as someone who can write to the store would, its digest in the list."""
    path = checkpoint(words) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    if listed:
        change_complete(words, lambda complete: complete["files"].update({name: sha256(data)}))


def change_complete(words: list[str], change: Callable[[dict[str, Any]], object]) -> None:
    path = checkpoint(words) / "COMPLETE.json"
    complete = json.loads(path.read_bytes())
    del complete["digest"]  # whoever forges a record can leave it out
    change(complete)
    path.write_bytes(canonical_json(complete))


def change_state(words: list[str], change: Callable[[dict[str, Any]], object]) -> None:
    state = json.loads((checkpoint(words) / STATE).read_bytes())
    change(state)
    put(words, STATE, canonical_json(state))


def refused(words: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    """The line with which a run refuses the checkpoint; it changes nothing in the store."""
    before = snapshot(words)
    assert finetune(words) == ExitCode.INPUT
    assert snapshot(words) == before
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    return line


def test_a_checkpoint_holds_safetensors_and_json_alone(stopped: list[str]) -> None:
    folder = checkpoint(stopped)
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == HELD | {"COMPLETE.json"}
    assert load((folder / TENSORS).read_bytes()) and load((folder / ADAPTER).read_bytes())
    assert {"rng_state.pth", "scheduler.pt", "trainer_state.json"} < json.loads((folder / STATE).read_bytes()).keys()
    assert len((folder / "loss.jsonl").read_bytes().splitlines()) == 3
    facts = json.loads((folder / "COMPLETE.json").read_bytes())["facts"]
    assert facts.keys() == {"at", "commit", "key", "order"} and facts["at"] == 3 and len(facts["order"]) == 64
    assert folder.name.startswith(f"{3:012d}-") and facts["key"] == folder.parent.parent.name


@pytest.mark.parametrize("stage", [0, 1, 3])
def test_rebuilt_from_it_training_ends_as_if_it_had_not_been_stopped(
    study: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch, stage: int
) -> None:
    whole, broken = study("whole"), study("broken")
    spec = json.loads(Path(whole[1]).read_text())
    spec["train"]["zero_stage"] = stage
    Path(whole[1]).write_text(json.dumps(spec))
    assert finetune(whole) == 0
    with monkeypatch.context() as patched:
        stop_at(patched, 2)
        assert finetune(broken) == ExitCode.TRANSIENT
    assert finetune(broken) == 0
    same = outputs(whole).keys() - {"loss.jsonl", "training.json"}  # those hold times
    again = study("again")
    assert finetune(again) == 0 and {name: outputs(again)[name] for name in same} == {
        n: outputs(whole)[n] for n in same
    }
    assert len(same) == 6 and {name: outputs(broken)[name] for name in same} == {n: outputs(whole)[n] for n in same}
    assert losses(broken) == losses(whole)


# --- payloads


class Payload:
    """What a pickle runs when it is read."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self._marker}",)


def zipped(data: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("data.pkl", data)
    return made.getvalue()


def saved_by_torch(data: bytes) -> bytes:
    """A file as torch.save makes it, with the payload where its pickle is."""
    made, source = io.BytesIO(), io.BytesIO()
    torch.save({"a": torch.zeros(1)}, source)
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            new.writestr(name, data if name.endswith("data.pkl") else old.read(name))
    return made.getvalue()


def as_it_is(data: bytes) -> bytes:
    return data


PLACES = [
    ("checkpoint-3/scheduler.pt", saved_by_torch),
    ("checkpoint-3/rng_state.pth", as_it_is),
    ("checkpoint-3/training_args.bin", saved_by_torch),
    ("checkpoint-3/global_step3/mp_rank_00_model_states.pt", saved_by_torch),
    ("checkpoint-3/zero_to_fp32.py", lambda data: b"import os"),
    ("scheduler.pt.gz", gzip.compress),
    ("state.pkl", as_it_is),
    (TENSORS, as_it_is),
    (TENSORS, saved_by_torch),
    (TENSORS, gzip.compress),
    (TENSORS, zipped),
    (STATE, as_it_is),
    (STATE, gzip.compress),
    ("loss.jsonl", as_it_is),
    ("loss.jsonl", zipped),
    (ADAPTER, saved_by_torch),
    ("trajectory/step-000002/adapter_config.json", as_it_is),
    ("trajectory/step-000002/deep/er/adapter_model.safetensors", as_it_is),
    ("folder/state.safetensors", as_it_is),
    ("state.safetensors.zip", zipped),
    ("trajectory/step-000003/adapter_model.safetensors", gzip.compress),
]


def test_a_payload_is_refused_by_name_and_does_not_run(
    stopped: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    marker, clean = tmp_path / "marker", snapshot(stopped)
    for name, wrapped in PLACES:
        put(stopped, name, wrapped(pickle.dumps(Payload(marker))))
        line = refused(stopped, capfd)
        assert name in line and not marker.exists(), name
        for path in snapshot(stopped).keys() - clean.keys():
            path.unlink()
        for path, data in clean.items():
            path.write_bytes(data)
        assert snapshot(stopped) == clean, name
    assert finetune(stopped) == 0 and not marker.exists()


def test_the_payload_would_run_where_pickles_are_read(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    data = pickle.dumps(Payload(marker))
    torch.load(io.BytesIO(saved_by_torch(data)), weights_only=False)
    assert marker.exists()
    marker.unlink()
    pickle.loads(gzip.decompress(gzip.compress(data)))
    assert marker.exists()


def test_a_file_that_the_checkpoint_does_not_list_is_refused_too(
    stopped: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    put(stopped, "checkpoint-3/scheduler.pt", pickle.dumps(Payload(tmp_path / "marker")), listed=False)
    assert "checkpoint-3/scheduler.pt" in refused(stopped, capfd)
    (checkpoint(stopped) / "checkpoint-3" / "scheduler.pt").unlink()
    assert finetune(stopped) == 0 and not (tmp_path / "marker").exists()


# --- values


def rename(state: dict[str, Any], name: str) -> None:
    state[name] = state.pop("scheduler.pt")


STATES: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda state: rename(state, "../../../escaped.pt"), "not a file that training resumes from, state.json: ../"),
    (lambda state: rename(state, "/tmp/escaped.pt"), "not a file that training resumes from, state.json: /tmp/"),
    (lambda state: rename(state, "global_step9/x_model_states.pt"), "not a file that training resumes from"),
    (lambda state: rename(state, "training_args.bin"), "not a file that training resumes from"),
    (lambda state: state.pop("rng_state.pth"), "a checkpoint without a part, state.json: random states"),
    (lambda state: state.update({"scheduler.pt": {"os.system": ["touch x"]}}), "state.json:/scheduler.pt: os.system"),
    (lambda state: state.update({"scheduler.pt": {"ZeroStageEnum": [77]}}), "a value of ZeroStageEnum"),
    (lambda state: state.update({"scheduler.pt": {"LossScaler": ["1"]}}), "cur_scale of LossScaler"),
    (lambda state: state.update({"scheduler.pt": {"tensor": "999999"}}), "state.json:/scheduler.pt/tensor: 999999"),
    (lambda state: state.update({"scheduler.pt": {"dict": [["a", 1], ["a", 2]]}}), "a key that stands twice"),
    (lambda state: state.update({"scheduler.pt": {"dict": [[None, 1]]}}), "not the plain form of a value"),
    (lambda state: state.update({"scheduler.pt": {}}), "not the plain form of a value"),
    (lambda state: state.pop("trainer_state.json"), "state.json:/trainer_state.json: NoneType"),
    (
        lambda state: state["trainer_state.json"]["dict"].append(["os", 1]),
        "no field of the state of the Trainer, state.json:/trainer_state.json: os",
    ),
]


@pytest.mark.parametrize("change, message", STATES, ids=range(len(STATES)))
def test_a_state_that_was_not_saved_so_is_refused(
    stopped: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str], change: Callable[..., Any], message: str
) -> None:
    change_state(stopped, change)
    assert message in refused(stopped, capfd)
    assert not list(tmp_path.rglob("escaped*")) and not Path("/tmp/escaped.pt").exists()


def test_a_state_nested_as_deep_as_json_goes_is_refused(stopped: Any, capfd: pytest.CaptureFixture[str]) -> None:
    state = json.loads((checkpoint(stopped) / STATE).read_bytes()) | {"scheduler.pt": 0}
    deep = b"[" * 900 + b"]" * 900
    put(stopped, STATE, canonical_json(state).replace(b'"scheduler.pt":0', b'"scheduler.pt":' + deep))
    assert "state.json" in refused(stopped, capfd)


@pytest.mark.parametrize("name", ["scheduler.pt", "rng_state.pth", "model"])
def test_values_that_training_cannot_go_on_from_are_one_line(
    stopped: Any, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    def change(state: dict[str, Any]) -> None:
        mine = next(each for each in state if name in each)
        state[mine] = {"tensor": "000000"}

    change_state(stopped, change)
    assert "checkpoint cannot be gone on from, step 3: " in refused(stopped, capfd)


@pytest.mark.parametrize(
    "error, code",
    [(TypeError("a bug of ours"), 1), (NameError("x"), 1), (KeyError("x"), 1), (MemoryError(), 137)],
    ids=["TypeError", "NameError", "KeyError", "MemoryError"],
)
def test_what_fails_beside_the_reading_of_a_checkpoint_is_not_called_the_checkpoint(
    stopped: Any, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    from jobs.finetune import training

    def on_train_begin(*_: object, **__: object) -> None:
        raise error

    before = snapshot(stopped)
    with monkeypatch.context() as patched:
        patched.setattr(training.Diary, "on_train_begin", on_train_begin)
        assert finetune(stopped) == code
    told = capfd.readouterr().err
    assert ("Traceback" in told) is (code == 1) and "gone on from" not in told and snapshot(stopped) == before


@pytest.mark.parametrize(
    "error, code", [(AttributeError("a bug of ours"), 1), (MemoryError(), 137), (OSError(errno.ENOSPC, "full"), 75)]
)
def test_while_a_checkpoint_is_read_what_ran_out_and_bugs_of_ours_are_what_they_are(
    stopped: Any, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    def _load_rng_state(*_: object) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_load_rng_state", _load_rng_state)
        assert finetune(stopped) == code
    assert "gone on from" not in capfd.readouterr().err


def test_an_adapter_that_is_not_finite_or_losses_of_other_steps_are_refused(
    stopped: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    clean = snapshot(stopped)
    tensors = load((checkpoint(stopped) / ADAPTER).read_bytes())
    name = min(tensors)
    put(stopped, ADAPTER, save(tensors | {name: tensors[name] * float("nan")}))
    assert f"adapter that is not finite, {ADAPTER}: 256 of 256 values of {name}" in refused(stopped, capfd)
    for path, data in clean.items():
        path.write_bytes(data)
    rows = (checkpoint(stopped) / "loss.jsonl").read_bytes().splitlines(keepends=True)
    put(stopped, "loss.jsonl", b"".join(rows[1:]))
    assert "not the losses of every step, loss.jsonl" in refused(stopped, capfd)


# --- facts


@pytest.mark.parametrize(
    "facts, message",
    [
        ({"key": "0" * 64}, "checkpoint of something else, key: 000"),
        ({"order": "0" * 64}, "checkpoint of something else, order: 000"),
        ({"order": None}, "checkpoint of something else, order"),
        ({"at": "../3"}, "checkpoint does not say how far it is, at: ../3"),
        ({"at": 2}, "not the losses of every step, loss.jsonl: 3; allowed: steps 1 to 2"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(
    stopped: Any, capfd: pytest.CaptureFixture[str], facts: dict[str, Any], message: str
) -> None:
    change_complete(stopped, lambda complete: complete["facts"].update(facts))
    assert message in refused(stopped, capfd)


def test_another_data_order_is_refused(
    stopped: Any, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from jobs.finetune import finetune as job

    in_order = job.in_order
    with monkeypatch.context() as patched:
        patched.setattr(job, "in_order", lambda *args: in_order(*args)[::-1])
        assert "checkpoint of something else, order: " in refused(stopped, capfd)
    assert finetune(stopped) == 0


def test_another_commit_is_said_and_not_refused(stopped: Any, capfd: pytest.CaptureFixture[str]) -> None:
    change_complete(stopped, lambda complete: complete["facts"].update(commit="abc"))
    assert finetune(stopped) == 0
    said = [json.loads(line) for line in capfd.readouterr().err.splitlines() if '"other_commit"' in line]
    assert len(said) == 1 and said[0]["checkpoint"] == "abc"


# --- where training itself goes wrong


def test_a_disk_that_is_full_when_a_checkpoint_is_saved_leaves_the_one_before(
    stopped: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    before, real = snapshot(stopped), torch.save
    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", lambda value, path, **_: real(value, "/dev/full"))
        assert finetune(stopped) == ExitCode.TRANSIENT
    assert capfd.readouterr().err.splitlines()[-1].startswith("error: disk full, ")
    assert snapshot(stopped) == before
    assert finetune(stopped) == 0
