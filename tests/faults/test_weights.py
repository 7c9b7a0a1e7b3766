"""Faults 13 to 16: weights that are cut off, altered, of another model or not finite. Never loaded, never judged."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load

from common.lm.sources import folder_digest
from common.store.sealed import open_store
from tests.faults.models import SETTINGS, WEIGHTS, Place, adapter_of, along, eighths, headed, odd_files, saved, some
from tests.faults.promise import Ended, clean

pytestmark = pytest.mark.filterwarnings("ignore")  # PEFT's, of keys that do not fit; here each is an error


@pytest.fixture(scope="module")
def adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return adapter_of(tiny_model, tmp_path_factory.mktemp("adapter") / "adapter")


@pytest.fixture
def place(tiny_model: Path, adapter: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Place:
    return Place(tmp_path, capfd, tiny_model, adapter)


def test_fault_13_weights_that_are_cut_at_every_eighth(place: Place) -> None:
    """The weights of a base and of an adapter are cut at every eighth: 3, with the file"""
    for cut in some(eighths((place.base / "model.safetensors").read_bytes())):
        base = place.broken("cut base", place.base, "model.safetensors", cut)
        place.refused(partial(place.gate, base=str(base)), f"model cannot be loaded, {base}/model.safetensors: ")
    for cut in some(eighths((place.adapter / WEIGHTS).read_bytes())):
        tuned = place.broken("cut adapter", place.adapter, WEIGHTS, cut)
        place.refused(partial(place.gate, adapter=str(tuned)), f"adapter cannot be read, {tuned}/{WEIGHTS}: ")
    clean(place.gate)


def test_fault_13_a_head_that_is_not_of_its_file(place: Place) -> None:
    """A head of 2⁶³ bytes, over 100 MB, overlaps, sizes that overflow, 10⁵ brackets, bytes behind: 3, with its name"""
    for name, data in some(odd_files((place.base / "model.safetensors").read_bytes()).items()):
        base = place.broken(f"base of {name}", place.base, "model.safetensors", data)
        place.refused(partial(place.gate, base=str(base)), f"model cannot be loaded, {base}/model.safetensors: ")
    for name, data in odd_files((place.adapter / WEIGHTS).read_bytes()).items():
        tuned = place.broken(f"adapter of {name}", place.adapter, WEIGHTS, data)
        place.refused(partial(place.gate, adapter=str(tuned)), f"adapter cannot be read, {tuned}/{WEIGHTS}: ")
    tuned = place.broken("long head", place.adapter, WEIGHTS, headed(b" " * 100_000_001))
    ended = place.gate(adapter=str(tuned))
    assert ended.code == 3 and f"adapter cannot be read, {tuned}/{WEIGHTS}: " in ended.line
    clean(place.gate)


@pytest.fixture(scope="module")
def followed(tiny_model: Path, adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, a run of one checkpoint and a direction; what the monitor keeps of the base is in it too."""
    root = tmp_path_factory.mktemp("followed")
    shutil.copytree(tiny_model, root / "base")
    shutil.copytree(adapter, root / "run" / "checkpoint-5")
    along(root / "direction.safetensors")
    return root


def test_fault_13_checkpoints_that_are_cut_or_odd(
    followed: Path, adapter: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A checkpoint's weights are cut at every eighth, or their head is odd: the monitor ends with 3 and names it"""
    place, good = Place(tmp_path, capfd, followed / "base", adapter), (adapter / WEIGHTS).read_bytes()
    run = tmp_path / "run" / "checkpoint-5"
    run.mkdir(parents=True)

    def check() -> Ended:
        return place.monitor(run.parent, followed / "direction.safetensors")

    shutil.copytree(adapter, run, dirs_exist_ok=True)
    clean(check)
    for data in [*some(eighths(good)), *odd_files(good).values()]:
        (run / WEIGHTS).write_bytes(data)
        ended = place.refused(check, "checkpoint-5")
        assert WEIGHTS in ended.line
    (run / WEIGHTS).write_bytes(good)
    clean(check)


# --- one bit


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_fault_14_one_bit_of_the_weights_is_flipped(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """One bit of a prefetched base is flipped, its head left whole: 3, with both digests; no library can tell"""
    monkeypatch.setenv("UNDERTONE_MODELS", str(place.root))
    revision = "0" * 40
    folder = place.base.rename(place.root / f"a--b@{revision}")
    digest, path = folder_digest(folder), folder / "model.safetensors"
    source, good = f"hf:a/b@{revision}#sha256={digest}", path.read_bytes()
    begin = 8 + int.from_bytes(good[:8], "little")
    for at in some([begin, begin + 1, (begin + len(good)) // 2, len(good) - 2, len(good) - 1]):
        path.write_bytes(flipped(good, at))
        assert load(path.read_bytes()), "safetensors reads it"
        place.refused(partial(place.gate, base=source), "prefetched model was altered", str(folder), digest)
    path.write_bytes(good)
    clean(partial(place.gate, base=source))


def sealed_adapter(place: Place, key: str, weights: bytes) -> tuple[str, str]:
    """An adapter with these weights, sealed in a store as a fine-tune: its address, and the digest of its weights."""
    store = open_store(str(place.root / "store"))
    held = {SETTINGS: store.put((place.adapter / SETTINGS).read_bytes()), WEIGHTS: store.put(weights)}
    outputs = {f"adapter/{name}": {"digest": digest} for name, digest in held.items()}
    store.seal("finetune", key, {"job": "finetune", "key": key, "outputs": outputs})
    return f"{place.root}/store/steps/finetune/{key}", held[WEIGHTS]


def test_fault_14_one_bit_of_a_sealed_adapter_is_flipped(place: Place) -> None:
    """One bit of an adapter in a store is flipped: 3, with the blob and the digest that was found"""
    address, digest = sealed_adapter(place, "0" * 64, (place.adapter / WEIGHTS).read_bytes())
    path = place.root / "store" / "blobs" / "sha256" / digest[:2] / digest
    good = path.read_bytes()
    path.chmod(0o644)
    for at in some([len(good) // 2, len(good) - 3, len(good) - 1]):
        path.write_bytes(flipped(good, at))
        assert load(path.read_bytes()), "safetensors reads it"
        place.refused(partial(place.gate, adapter=address), "blob was altered", digest)
    path.write_bytes(good)
    clean(partial(place.gate, adapter=address))


# --- an adapter of something else


def without_one(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return dict(list(tensors.items())[1:])


def renamed(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.replace("q_proj", "query"): tensor for name, tensor in tensors.items()}


def wider(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.repeat_interleave(2, dim=-1) for name, tensor in tensors.items()}


def one_more(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return tensors | {"base_model.model.model.layers.9.mlp.down_proj.lora_A.weight": torch.ones(4, 64)}


def zero(letter: str) -> Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]:
    return lambda tensors: {
        name: tensor * 0 if f"lora_{letter}" in name else tensor for name, tensor in tensors.items()
    }


FIT = "adapter does not fit the model"
ADAPTERS: dict[str, tuple[Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]], str]] = {
    "a key missing": (without_one, FIT),
    "keys renamed": (renamed, FIT),
    "a key too many": (one_more, FIT),
    "of another base": (wider, FIT),
    "all of B zero": (zero("B"), "adapter changes nothing: every lora_A or lora_B is zero"),
    "all of A zero": (zero("A"), "adapter changes nothing: every lora_A or lora_B is zero"),
    "nothing in it": (lambda _: {}, FIT),
}
ODD: dict[str, tuple[dict[str, Any], str]] = {
    "of another rank": ({"r": 8}, FIT),
    "for modules that the base has not": ({"target_modules": ["nowhere"]}, FIT),
    "of scale zero": ({"lora_alpha": 0}, "adapter changes nothing: its scale is zero"),
    "of a scale that is no number": ({"lora_alpha": float("nan")}, "malformed JSON"),
}


def test_fault_15_an_adapter_that_does_not_fit_or_changes_nothing(place: Place) -> None:
    """An adapter lacks a key, has one renamed or too many, is of another base, rank or scale, or all zero: 3"""
    good = load((place.adapter / WEIGHTS).read_bytes())
    for name, (change, says) in ADAPTERS.items():
        tuned = place.broken(name, place.adapter, WEIGHTS, saved(change(good)))
        place.refused(partial(place.gate, adapter=str(tuned)), says)
    settings = json.loads((place.adapter / SETTINGS).read_bytes())
    for name, (changes, says) in ODD.items():
        data = json.dumps(settings | changes).encode()
        tuned = place.broken(name, place.adapter, SETTINGS, data)
        place.refused(partial(place.gate, adapter=str(tuned)), says)
    clean(place.gate)


def test_fault_15_an_adapter_that_names_another_base_is_said(place: Place) -> None:
    """An adapter names another base, whose shapes are the same: judged, and said by name in the verdict"""
    settings = json.loads((place.adapter / SETTINGS).read_bytes())
    other = json.dumps(settings | {"base_model_name_or_path": "somebody/else-7B"}).encode()
    tuned = place.broken("other", place.adapter, SETTINGS, other)
    clean(partial(place.gate, adapter=str(tuned)))
    (note,) = json.loads((place.out / "verdict.json").read_bytes())["notes"]
    assert "names somebody/else-7B as its base" in note
    clean(place.gate)
    assert json.loads((place.out / "verdict.json").read_bytes())["notes"] == []


# --- not finite


NARROW = getattr(torch, "float8_e4m3fn", torch.float16)


def test_fault_16_a_value_of_an_adapter_that_is_not_finite(place: Place) -> None:
    """NaN or infinity in one value of an adapter, of any type of numbers: 3, with the file and the tensor"""
    good = load((place.adapter / WEIGHTS).read_bytes())
    for name in (min(good), max(good)):
        for value, kind in (
            (float("nan"), torch.float32),
            (float("inf"), torch.bfloat16),
            (float("-inf"), torch.float16),
            (float("nan"), NARROW),
        ):
            tensor = good[name].to(torch.float32).clone()
            tensor.view(-1)[-1] = value
            tuned = place.broken("not finite", place.adapter, WEIGHTS, saved({**good, name: tensor.to(kind)}))
            says = f"adapter holds a value that is not finite, {tuned}/{WEIGHTS}:{name}"
            place.refused(partial(place.gate, adapter=str(tuned)), says)
    clean(place.gate)


def test_fault_16_a_sealed_adapter_that_is_not_finite(place: Place) -> None:
    """NaN in an adapter of a store, whose digests agree: 3, with the tensor"""
    good = load((place.adapter / WEIGHTS).read_bytes())
    name = min(good)
    address, _ = sealed_adapter(place, "0" * 64, saved({**good, name: good[name] * float("nan")}))
    place.refused(partial(place.gate, adapter=address), "adapter holds a value that is not finite", name)
    address, _ = sealed_adapter(place, "1" * 64, (place.adapter / WEIGHTS).read_bytes())
    clean(partial(place.gate, adapter=address))
