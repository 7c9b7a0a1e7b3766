"""Checkpoints in the store hold safetensors and JSON, and nothing that could run.

state.json                                      what the Trainer and DeepSpeed saved, by file, as jobs.finetune.plain
state.safetensors                               the tensors and arrays in it
loss.jsonl                                      records Loss, one for each optimizer step so far
trajectory/step-…/adapter_model.safetensors     the adapter at each mark so far

Trainer and DeepSpeed read pickles, and whoever can write a pickle runs code where it is read. So what comes from the
store is parsed as data, and the pickles that they resume from are made here, of values, in this step's own folder.
"""

import json
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor
from transformers import TrainerState

from common.digests import sha256
from common.errors import InputError, JobError
from common.pipeline.step import Step
from common.records import Loss
from common.serialization import canonical_json, parse_json, parse_jsonl
from jobs.finetune.adapters import ADAPTER, non_finite
from jobs.finetune.examples import Example
from jobs.finetune.plain import from_plain, to_plain

STATE, TENSORS, LOSSES, TRAINER = "state.json", "state.safetensors", "loss.jsonl", "trainer_state.json"
ONE_ADAPTER = re.compile(r"trajectory/step-\d{6}/" + re.escape(ADAPTER))
# What the Trainer and DeepSpeed read again. The rest of what they write is not kept: settings, scripts, tokenizer.
PICKLES = re.compile(r"rng_state(?:_\d+)?\.pth|scheduler\.pt|global_step\d+/\w+_(?:model|optim)_states\.pt")
NEEDED = {
    "random states": r"rng_state(?:_0)?\.pth",
    "schedule": r"scheduler\.pt",
    "model": r"global_step\d+/\w+_model_states\.pt",
}
MOST_NESTED = "as deep as the state of a trainer"


def order_digest(ordered: Sequence[Example]) -> str:
    """The digest of the token ids and labels of all examples, in the order of training."""
    return sha256(canonical_json([[row.input_ids, row.labels] for row in ordered]))


def keep(step: Step, folder: Path, at: int, order: str) -> None:
    """Send what was saved below `folder` after optimizer step `at` to the store.

    Raises: JobError if the Trainer saved something that has no plain form; TransientError; OSError.
    """
    with tempfile.TemporaryDirectory(dir=step.workdir) as packed:
        for name, data in packed_files(folder, at).items():
            _in_its_folder(Path(packed, name)).write_bytes(data)
        step.save_checkpoint(Path(packed), at=at, order=order)


def restore(step: Step, folder: Path, order: str) -> int | None:
    """Fill `folder` as it was when the furthest checkpoint was kept; return its optimizer step, None without one.

    Raises: InputError naming the file and the place of anything else than that checkpoint holds.
    """
    with tempfile.TemporaryDirectory(dir=step.workdir) as received:
        facts = step.load_checkpoint(Path(received), known, order=order)
        if facts is None:
            return None
        unpack(Path(received), facts["at"], folder)
        return int(facts["at"])


def known(name: str) -> bool:
    """Whether a checkpoint holds a file of this name."""
    return name in (STATE, TENSORS, LOSSES) or ONE_ADAPTER.fullmatch(name) is not None


# --- to the store


def packed_files(folder: Path, at: int) -> dict[str, bytes]:
    """The files of a checkpoint, made of what was saved below `folder` after step `at`. Raises: JobError."""
    saved, tensors = folder / f"checkpoint-{at}", dict[str, Tensor]()
    state = {name: to_plain(value, tensors, name) for name, value in _saved(saved)}
    adapters = {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob(f"trajectory/*/{ADAPTER}")}
    losses = (folder / LOSSES).read_bytes()
    return adapters | {STATE: canonical_json(state), TENSORS: save(tensors), LOSSES: losses}


def _saved(saved: Path) -> Iterable[tuple[str, Any]]:
    """Name and value of each file that resuming reads. Raises: JobError for one that is not known to be read."""
    for path in sorted(path for path in saved.rglob("*") if path.suffix in (".pt", ".pth")):
        name = str(path.relative_to(saved))
        if not PICKLES.fullmatch(name):
            raise JobError("the Trainer saved a file that no checkpoint holds", where=name, allowed=PICKLES.pattern)
        # Written by this very process a moment ago, and by nobody else: nothing of the store is ever unpickled. What is
        # in it must have a plain form. Reading weights alone would not do: Python 3.11.2 saves an enum by a call.
        yield name, torch.load(path, map_location="cpu", weights_only=False)
    yield TRAINER, json.loads((saved / TRAINER).read_bytes())


# --- from the store


def unpack(received: Path, at: int, folder: Path) -> None:
    """Check every file of a checkpoint, then write below `folder` what the Trainer, DeepSpeed and the diary read.

    Raises: InputError; then nothing is written.
    """
    losses = _bytes(received, LOSSES)
    rows = [row.optimizer_step for row in parse_jsonl(losses, Loss, LOSSES)]
    if rows != list(range(1, at + 1)):
        raise InputError("not the losses of every step", where=LOSSES, value=rows[-1], allowed=f"steps 1 to {at}")
    adapters = {str(path.relative_to(received)): path.read_bytes() for path in received.glob(f"*/*/{ADAPTER}")}
    for name, data in adapters.items():
        if found := non_finite(_tensors(data, name)):
            raise InputError("adapter that is not finite", where=name, value=found, allowed="finite values")
    state = _state(received, at)
    for name, data in ({LOSSES: losses} | adapters).items():
        _in_its_folder(folder / name).write_bytes(data)
    saved, trainer = folder / f"checkpoint-{at}", state.pop(TRAINER)
    for name, value in state.items():
        torch.save(value, _in_its_folder(saved / name))
    (saved / TRAINER).write_text(json.dumps(trainer))
    (saved / "latest").write_text(f"global_step{at}")


def _state(received: Path, at: int) -> dict[str, Any]:
    """Name and value of each file that the Trainer and DeepSpeed resume from. Raises: InputError."""
    tensors = _tensors(_bytes(received, TENSORS), TENSORS)
    plain = parse_json(_bytes(received, STATE), STATE)
    if not isinstance(plain, dict):
        raise InputError("not a JSON object", where=STATE, value=type(plain).__name__)
    for name in plain.keys() - {TRAINER}:
        if not PICKLES.fullmatch(name) or (name.startswith("global_step") and not name.startswith(f"global_step{at}/")):
            raise InputError("not a file that training resumes from", where=STATE, value=name, allowed=PICKLES.pattern)
    for what, pattern in NEEDED.items():
        if not any(re.fullmatch(pattern, name) for name in plain):
            raise InputError("a checkpoint without a part", where=STATE, value=what, allowed=pattern)
    try:
        state = {name: from_plain(value, tensors, f"{STATE}:/{name}") for name, value in plain.items()}
    except RecursionError:
        raise InputError("nested too deeply", where=STATE, allowed=MOST_NESTED) from None
    _check_trainer(state.get(TRAINER), at)
    return state


def _check_trainer(trainer: Any, at: int) -> None:
    """Refuse a state of the Trainer that is of another step or has fields that it does not know. Raises: InputError."""
    where, names = f"{STATE}:/{TRAINER}", {field.name for field in fields(TrainerState)}
    if not isinstance(trainer, dict) or trainer.get("global_step") != at:
        found = trainer.get("global_step") if isinstance(trainer, dict) else type(trainer).__name__
        raise InputError("not the state of the Trainer at this step", where=where, value=found, allowed=str(at))
    if strange := sorted(map(str, trainer.keys() - names)):
        raise InputError("no field of the state of the Trainer", where=where, value=strange[0])


def _bytes(received: Path, name: str) -> bytes:
    path = received / name
    if not path.is_file():
        raise InputError("a checkpoint without this file", where=name)
    return path.read_bytes()


def _tensors(data: bytes, name: str) -> Mapping[str, Tensor]:
    """Tensors by name. Raises: InputError if these are not safetensors, whatever they are called."""
    try:
        return load(data)
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise InputError("not safetensors", where=name, value=f"{type(error).__name__}: {error}") from error


def _in_its_folder(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
