"""What names a model: the bytes of its folder, or a pinned revision. Never a pickle."""

import json
from pathlib import Path

import pytest

from common.digests import file_sha256
from common.errors import InputError
from common.lm.sources import DIGESTS, check_digests, folder_digests, gguf_in, hf_folder, identity


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


def test_a_prefetched_model_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERTONE_MODELS", str(tmp_path))
    assert hf_folder("a/b", "0" * 40) is None
    made = tmp_path / f"a--b@{'0' * 40}"
    made.mkdir()
    (made / "config.json").write_text("{}")
    assert hf_folder("a/b", "0" * 40) == made
