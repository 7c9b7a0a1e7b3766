"""Checkpoints are found as Hugging Face's Trainer leaves them, and only whole ones are read, without a pickle."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from common.errors import InputError, SpecError
from common.store.objects import FolderObjects
from jobs.monitor.checkpoints import BucketFiles, Files, LocalFiles, NotYet, listing, opened, taken
from jobs.monitor.weights import check_shapes, head
from tests.common.store.conftest import server  # noqa: F401
from tests.common.store.network import client

ADAPTER = save({"a.lora_B": np.ones((4, 2), dtype=np.float32)})


def checkpoint(root: Path, name: str, **files: bytes | None) -> Path:
    """A folder as Trainer writes it for a LoRA; None leaves a file out. A pickle in it would fail to load."""
    pickles = dict.fromkeys(("optimizer.pt", "rng_state.pth", "training_args.bin"), b"no pickle")
    given: dict[str, bytes | None] = {
        "adapter_config.json": b'{"peft_type": "LORA"}',
        "adapter_model.safetensors": ADAPTER,
        "trainer_state.json": b"{",
        **pickles,
    }
    given |= {name.replace("__", "."): data for name, data in files.items()}
    (root / name).mkdir(parents=True)
    for file, data in given.items():
        if data is not None:
            (root / name / file).write_bytes(data)
    return root / name


@pytest.fixture(params=["folder", "bucket"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    """The checkpoints below tmp_path/run, on this machine or as objects."""
    return (
        LocalFiles(tmp_path / "run")
        if request.param == "folder"
        else BucketFiles(FolderObjects(tmp_path), "run", "s3://bucket/run")
    )


def test_they_are_sorted_by_number_and_other_names_are_told(tmp_path: Path, files: Files) -> None:
    for name in ("checkpoint-100", "checkpoint-20", "checkpoint-best", "runs"):
        checkpoint(tmp_path / "run", name)
    (tmp_path / "run" / "README.md").write_text("")
    found = listing(files)
    assert list(found.numbered.items()) == [(20, "checkpoint-20"), (100, "checkpoint-100")]
    assert found.ignored == ["checkpoint-best", "runs"]


def test_weights_are_taken_and_nothing_else(tmp_path: Path, files: Files) -> None:
    checkpoint(tmp_path / "run", "checkpoint-5")
    with taken(files, "checkpoint-5", listing(files).files["checkpoint-5"]) as found:
        assert found.kind == "adapter"
        assert sorted(path.name for path in found.folder.iterdir()) == [
            "adapter_config.json",
            "adapter_model.safetensors",
        ]
        first = found.digest
    (tmp_path / "run" / "checkpoint-5" / "optimizer.pt").write_bytes(b"another")
    with taken(files, "checkpoint-5", listing(files).files["checkpoint-5"]) as again:
        assert again.digest == first
    other = save({"a.lora_B": np.zeros((4, 2), dtype=np.float32)})
    (tmp_path / "run" / "checkpoint-5" / "adapter_model.safetensors").write_bytes(other)
    with taken(files, "checkpoint-5", listing(files).files["checkpoint-5"]) as changed:
        assert changed.digest != first


@pytest.mark.parametrize(
    "name, data, why",
    [
        ("adapter_model__safetensors", None, "no weights yet"),
        ("adapter_model__safetensors", ADAPTER[:-1], "still being written"),
        ("adapter_model__safetensors", ADAPTER[:20], "still being written"),
        ("adapter_model__safetensors", b"", "still being written"),
        ("adapter_config__json", None, "no adapter_config.json yet"),
        ("adapter_config__json", b'{"r": ', "adapter_config.json is still being written"),
    ],
)
def test_one_that_is_still_being_written_is_not_read(
    tmp_path: Path, files: Files, name: str, data: bytes | None, why: str
) -> None:
    checkpoint(tmp_path / "run", "checkpoint-5", **{name: data})
    with pytest.raises(NotYet, match=why), taken(files, "checkpoint-5", listing(files).files["checkpoint-5"]):
        pass


def test_a_whole_model_in_shards_waits_for_all_of_them(tmp_path: Path, files: Files) -> None:
    folder = tmp_path / "run" / "checkpoint-5"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    (folder / names[0]).write_bytes(ADAPTER)
    with (
        pytest.raises(NotYet, match=r"no model\.safetensors yet"),
        taken(files, folder.name, listing(files).files[folder.name]),
    ):
        pass
    index = {"weight_map": {"a": names[0], "b": names[1]}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with (
        pytest.raises(NotYet, match=f"no {names[1]} yet"),
        taken(files, folder.name, listing(files).files[folder.name]),
    ):
        pass
    (folder / names[1]).write_bytes(ADAPTER)
    (folder / "pytorch_model.bin").write_bytes(b"no pickle")
    with taken(files, folder.name, listing(files).files[folder.name]) as found:
        assert found.kind == "model" and not (found.folder / "pytorch_model.bin").exists()


@pytest.mark.parametrize("pickle", ["adapter_model.bin", "pytorch_model.bin", "pytorch_model-00001-of-00002.bin"])
def test_pickled_weights_are_refused(tmp_path: Path, files: Files, pickle: str) -> None:
    folder = tmp_path / "run" / "checkpoint-5"
    folder.mkdir(parents=True)
    (folder / pickle).write_bytes(b"no pickle")
    with (
        pytest.raises(InputError, match=f"only pickled weights.*{pickle}"),
        taken(files, folder.name, listing(files).files[folder.name]),
    ):
        pass


def test_an_adapter_of_another_kind_is_refused_by_its_name(tmp_path: Path, files: Files) -> None:
    checkpoint(tmp_path / "run", "checkpoint-5", adapter_config__json=b'{"peft_type": "IA3"}')
    with pytest.raises(InputError, match="IA3"), taken(files, "checkpoint-5", listing(files).files["checkpoint-5"]):
        pass


def test_one_that_is_taken_away_meanwhile_is_not_read(tmp_path: Path, files: Files) -> None:
    folder = checkpoint(tmp_path / "run", "checkpoint-5")
    names = listing(files).files["checkpoint-5"]
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(NotYet, match="gone"), taken(files, "checkpoint-5", names):
        pass


def test_a_place_is_a_folder_or_a_prefix_of_a_bucket(tmp_path: Path) -> None:
    assert listing(opened(str(tmp_path / "none"), "--checkpoints")).numbered == {}
    assert isinstance(opened("s3://bucket/some/run/", "--checkpoints"), BucketFiles)
    for address in ("s3://bucket", "s3://"):
        with pytest.raises(SpecError, match="--control"):
            opened(address, "--control")


def test_a_bucket_is_read_by_its_address(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    for name, value in {"ENDPOINT_URL_S3": server, "ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "y"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    for path in checkpoint(tmp_path, "checkpoint-5").iterdir():
        client(server).put_object(Bucket="bucket", Key=f"my/run/checkpoint-5/{path.name}", Body=path.read_bytes())
    files = opened("s3://bucket/my/run", "--checkpoints")
    found = listing(files)
    assert list(found.numbered) == [5] and "optimizer.pt" in found.files["checkpoint-5"]
    with taken(files, "checkpoint-5", found.files["checkpoint-5"]) as mine:
        assert mine.folder.joinpath("adapter_model.safetensors").read_bytes() == ADAPTER
        assert not any(mine.folder.parent.glob("*.pt"))


# --- heads of files


def test_a_head_tells_shapes_and_whether_all_is_there(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(ADAPTER)
    assert head(path) == ({"a.lora_B": (4, 2)}, True)
    path.write_bytes(ADAPTER[:-4])
    assert head(path) == ({"a.lora_B": (4, 2)}, False)


@pytest.mark.parametrize(
    "data", [b"PK\x03\x04" + b"\xff" * 40, struct.pack("<Q", 2) + b"[]", struct.pack("<Q", 2) + b"{a"]
)
def test_what_is_no_safetensors_file_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.safetensors").write_bytes(data)
    with pytest.raises(InputError, match="no safetensors file"):
        head(tmp_path / "x.safetensors")


def model(folder: Path, rows: int = 10, width: int = 4, more: dict[str, tuple[int, ...]] | None = None) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"vocab_size": 10}))
    shapes = {"embed": (rows, width), "block.weight": (width, width), **(more or {})}
    (folder / "model.safetensors").write_bytes(save({k: np.zeros(v, dtype=np.float32) for k, v in shapes.items()}))
    return folder


def test_a_model_of_another_base_is_refused(tmp_path: Path) -> None:
    base = model(tmp_path / "base")
    check_shapes(base, model(tmp_path / "same", more={"lm_head.weight": (10, 4)}), "checkpoint-5")
    check_shapes(base, model(tmp_path / "more words", rows=12), "checkpoint-5")
    with pytest.raises(InputError, match=r"another base, checkpoint-5:block.weight: \[6, 6\]; allowed: \[4, 4\]"):
        check_shapes(base, model(tmp_path / "wider", width=6), "checkpoint-5")
    with pytest.raises(InputError, match=r"checkpoint-5:more: .*the base has none"):
        check_shapes(base, model(tmp_path / "deeper", more={"more": (2, 2)}), "checkpoint-5")
