"""Faults 21 and 23: lists of files that do not agree with the files, and models of another revision."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from common.cells import cell_named
from common.digests import file_sha256
from common.lm.sources import DIGESTS, folder_digest, folder_digests
from common.pipeline.keys import Keys
from common.provenance import ROOT
from common.spec import parse_spec
from common.store.sealed import as_given, as_kept, open_store
from jobs import catalog
from jobs.evaluate import JOB as EVALUATE
from tests.faults.models import SETTINGS, WEIGHTS, Place, adapter_of, eighths, some
from tests.faults.promise import Ended, clean, files, kept, step
from tests.jobs.test_evaluate import seal_lock

pytestmark = pytest.mark.filterwarnings("ignore")
CELL = "tiny.d0.eager.s0"
Change = Callable[[dict[str, Any]], dict[str, Any]]


# --- of a sealed step


def first(manifest: dict[str, Any]) -> str:
    return str(next(iter(manifest["outputs"].values()))["digest"])


def forged(path: Path, change: Change) -> bytes:
    """A manifest that was changed by somebody who works out its own digest anew."""
    return as_kept(change(as_given(json.loads(path.read_bytes()), str(path))))


def another_key(manifest: dict[str, Any]) -> dict[str, Any]:
    return manifest | {"key": "0" * 64}


def an_absent_blob(manifest: dict[str, Any]) -> dict[str, Any]:
    return manifest | {"outputs": {name: {"digest": "0" * 64} for name in manifest["outputs"]}}


def no_outputs(manifest: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in manifest.items() if name != "outputs"}


def another_output(manifest: dict[str, Any]) -> dict[str, Any]:
    return manifest | {"outputs": {"another.jsonl": {"digest": first(manifest)}}}


def an_output_outside(manifest: dict[str, Any]) -> dict[str, Any]:
    return manifest | {"outputs": {"advice.jsonl": {"digest": f"../../{first(manifest)}"}}}


FORGED: dict[str, tuple[Change, str]] = {
    "of another step": (another_key, "the manifest of another step"),
    "of a missing blob": (an_absent_blob, "blob is missing from the store"),
    "without outputs": (no_outputs, "a manifest without a field"),
    "of another output": (another_output, "step has no such output"),
    "of a path for a digest": (an_output_outside, "malformed manifest"),
}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def test_fault_21_a_manifest_that_does_not_agree_with_what_is_there(
    tiny_spec: dict[str, Any], store: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A manifest is cut at every eighth, altered or forged, or its blob is missing or altered: 3, with its name"""

    def audited() -> Ended:
        return step(capfd, "audit", "d0", tiny_spec, store)

    def refused(*says: str) -> None:
        kept(audited, code=3, says=says, state=lambda: files(store))

    clean(lambda: step(capfd, "generate", "d0", tiny_spec, store))
    (path,) = store.glob("steps/generate/*/manifest.json")
    good, name = path.read_bytes(), str(path.relative_to(store))
    for cut in some(eighths(good)):
        path.write_bytes(cut)
        refused("malformed JSON", name)
    for odd in (good.replace(b'"exit_code":0', b'"exit_code":10'), good.replace(b'"cell":"d0"', b'"cell":"d1"')):
        assert odd != good
        path.write_bytes(odd)
        refused("record was altered", name)
    path.write_bytes(b"")
    refused("malformed JSON", name)
    for change, says in FORGED.values():
        path.write_bytes(good)
        path.write_bytes(forged(path, change))
        refused(says)
    path.write_bytes(good)
    digest = first(json.loads(good))
    blob = store / "blobs" / "sha256" / digest[:2] / digest
    data = blob.read_bytes()
    blob.unlink()
    refused("blob is missing from the store", digest)
    for odd in (data[:-1] + b" ", data[:-1], data + b"\n", b""):
        blob.write_bytes(odd)
        refused("blob was altered", digest)
    blob.write_bytes(data)
    clean(audited)


# --- of a model, and of an adapter


@pytest.fixture(scope="module")
def adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return adapter_of(tiny_model, tmp_path_factory.mktemp("adapter") / "adapter")


@pytest.fixture
def place(tiny_model: Path, adapter: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Place:
    return Place(tmp_path, capfd, tiny_model, adapter)


def unpacked(place: Place, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The base as a wheel's model that was unpacked before, with its list of digests. Returns its folder."""
    wheel = place.root / "some_model"
    wheel.mkdir()
    (wheel / "__init__.py").touch()
    (wheel / "model.gguf").write_bytes(b"GGUF, of which the folder was made")
    monkeypatch.syspath_prepend(str(place.root))
    monkeypatch.setenv("UNDERTONE_MODELS", str(place.root / "models"))
    folder = place.root / "models" / file_sha256(wheel / "model.gguf")
    folder.parent.mkdir()
    shutil.copytree(place.base, folder)
    (folder / DIGESTS).write_text(json.dumps(folder_digests(folder)))
    return folder


def test_fault_21_a_list_of_a_models_files_that_does_not_agree(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of an unpacked model lacks a file, has one too many, a wrong digest, or is cut: 3, with the file"""
    folder = unpacked(place, monkeypatch)
    path = folder / DIGESTS
    listed = json.loads(path.read_bytes())
    good = path.read_bytes()

    def refused(data: bytes, *says: str) -> None:
        path.write_bytes(data)
        kept(partial(place.gate, base="package:some-model"), code=3, says=says, state=lambda: files(place.root))

    altered, weights = "model file was altered", folder / "model.safetensors"
    fewer = {name: digest for name, digest in listed.items() if name != weights.name}
    refused(json.dumps(fewer).encode(), f"{altered}, {weights}: ", "allowed: no such file")
    refused(json.dumps(listed | {"more.json": "0" * 64}).encode(), f"{altered}, {folder}/more.json: missing")
    refused(json.dumps(listed | {weights.name: "0" * 64}).encode(), f"{altered}, {weights}: ", "0" * 64)
    for cut in some(eighths(good)):
        refused(cut, "the model's digests cannot be read", str(path))
    refused(b"[" * 100_000, "the model's digests cannot be read", str(path))
    refused(b"[]", "the model's digests are no list of files", str(path))
    (folder / "more.json").write_text("{}")
    refused(good, f"{altered}, {folder}/more.json: ", "allowed: no such file")
    (folder / "more.json").unlink()
    clean(partial(place.gate, base="package:some-model"))


# --- another revision


def sealed(place: Place, spec: dict[str, Any]) -> str:
    """Seal the adapter as the fine-tune of a study on the base as it is now. Returns its address."""
    store, known = open_store(str(place.root / "store")), parse_spec(json.dumps(spec).encode(), "spec")
    keys, cell = Keys(known, catalog(), store), cell_named(known, CELL)
    key = keys.key("finetune", cell)
    held = {name: store.put((place.adapter / name).read_bytes()) for name in (SETTINGS, WEIGHTS)}
    outputs = {f"adapter/{name}": {"digest": digest} for name, digest in held.items()}
    facts = {
        "job": "finetune",
        "cell": CELL,
        "key": key,
        "outputs": outputs,
        "named_by": keys.named_by("finetune", cell),
    }
    store.seal("finetune", key, facts)
    return f"{place.root}/store/steps/finetune/{key}"


def lock(place: Place, spec: dict[str, Any]) -> None:
    """Seal a lock of the study on the base as it is now."""
    seal_lock(
        open_store(str(place.root / "store")),
        parse_spec(json.dumps(spec).encode(), "spec"),
        {path: file_sha256(ROOT / path) for path in EVALUATE.data},
    )


def changed_token(folder: Path) -> None:
    path = folder / "tokenizer.json"
    tokens = json.loads(path.read_bytes())
    vocab = tokens["model"]["vocab"]
    one, other = sorted(vocab, key=lambda word: -int(vocab[word]))[:2]
    vocab[one], vocab[other] = vocab[other], vocab[one]
    path.write_text(json.dumps(tokens))


def changed_template(folder: Path) -> None:
    path = folder / "chat_template.jinja"
    path.write_text(path.read_text() + "{# of a later revision #}")


def changed_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def changed_settings(folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"rope_theta": 5000.0}))


CHANGES = (changed_token, changed_template, changed_weights, changed_settings)


def test_fault_23_a_base_or_tokenizer_of_another_revision_than_at_training(
    place: Place, tiny_spec: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    """Tokenizer, template, weights or settings change after training: another key, under which no adapter is: 3"""
    spec = tiny_spec | {"models": [{"name": "tiny", "source": f"path:{place.base}"}]}
    address = sealed(place, spec)
    lock(place, spec)

    def asked() -> Ended:
        return step(capfd, "evaluate", CELL, spec, place.root / "store")

    for change in CHANGES:
        before = {path.name: path.read_bytes() for path in place.base.iterdir() if path.is_file()}
        change(place.base)
        lock(place, spec)
        ended = kept(asked, code=3, says=("step is not sealed", f"finetune/{CELL}"), state=lambda: files(place.root))
        assert address.rpartition("/")[2] not in ended.line, "it looks for another key"
        for name, data in before.items():
            (place.base / name).write_bytes(data)
    clean(asked)


def test_fault_23_an_adapter_of_another_revision_is_said(place: Place, tiny_spec: dict[str, Any]) -> None:
    """The gate puts a sealed fine-tune on another revision of its base: both identities are in the verdict"""
    address = sealed(place, tiny_spec | {"models": [{"name": "tiny", "source": f"path:{place.base}"}]})
    before = f"sha256:{folder_digest(place.base)}"
    good = (place.base / "chat_template.jinja").read_bytes()
    published = files(place.root / "store")
    changed_template(place.base)

    def notes() -> list[str]:
        clean(partial(place.gate, adapter=address))
        return list(json.loads((place.out / "verdict.json").read_bytes())["notes"])

    (note,) = notes()
    assert f"was trained on {before}" in note and f"sha256:{folder_digest(place.base)}" in note
    (place.base / "chat_template.jinja").write_bytes(good)
    assert notes() == [] and files(place.root / "store") == published


def test_fault_23_an_adapter_with_another_tokenizer_is_said(place: Place) -> None:
    """An adapter brings a tokenizer that numbers words in another way than the base: said in the verdict"""
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(place.base / name, place.adapter / name)
    changed_token(place.adapter)
    clean(place.gate)
    (note,) = json.loads((place.out / "verdict.json").read_bytes())["notes"]
    assert "brings a tokenizer that numbers words in another way" in note and str(place.adapter) in note
    shutil.copy(place.base / "tokenizer.json", place.adapter / "tokenizer.json")
    clean(place.gate)
    assert json.loads((place.out / "verdict.json").read_bytes())["notes"] == []


def test_fault_23_a_revision_that_is_not_the_one_that_is_here(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The base is asked for by a revision, and the folder holds the bytes of another one: 3, with both digests"""
    monkeypatch.setenv("UNDERTONE_MODELS", str(place.root))
    good, wanted = folder_digest(place.base), "1" * 40
    folder = place.base.rename(place.root / f"a--b@{wanted}")
    changed_token(folder)
    source = f"hf:a/b@{wanted}#sha256={good}"
    says = ("prefetched model was altered", str(folder), folder_digest(folder), good)
    kept(partial(place.gate, base=source), code=3, says=says, state=lambda: files(place.root))
    clean(partial(place.gate, base=source.replace(good, folder_digest(folder))))
