"""Models, adapters and checkpoints for the faults of models, and the two tools that judge them."""

import gzip
import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save

from common.pipeline.tool import run_tool
from common.store.sealed import open_store
from jobs.gate.tool import TOOL as GATE
from jobs.monitor.tool import TOOL as MONITOR
from tests.adapters import trained
from tests.faults.promise import Ended, files, kept

SETTINGS, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
EVERY = 1 if os.environ.get("UNDERTONE_EVERY") else 3  # of a matrix, so many points at a time are left out
QUICK = [
    "--margin",
    "0.9",
    "--max-unreadable",
    "1",
    "--min-reliability",
    "-1",
    "--max-new-tokens",
    "1",
    "--limit",
    "2",
    "--looks",
    "1",
    "--samples",
    "2",
]
TOPICS = "e-bikes,school-start,bus-routes,allotments"
Tensors = Mapping[str, torch.Tensor]


class Place:
    """A good base, a good adapter of it, and copies of both to be damaged."""

    def __init__(self, root: Path, capfd: pytest.CaptureFixture[str], base: Path, adapter: Path) -> None:
        self.root, self.capfd = root, capfd
        self.base = Path(shutil.copytree(base, root / "base"))
        self.adapter = Path(shutil.copytree(adapter, root / "adapter"))
        self.out, self.ran = root / "out", root / "ran"
        settings = json.loads((self.adapter / SETTINGS).read_bytes())
        (self.adapter / SETTINGS).write_text(json.dumps(settings | {"base_model_name_or_path": str(self.base)}))

    def store(self) -> Path:
        """An empty store, whose conditional writes were tried before."""
        open_store(str(self.root / "store")).check_conditional_writes()
        return self.root / "store"

    def gate(self, *more: str, base: str = "", adapter: str = "") -> Ended:
        """Judge the adapter by `jobs.gate --adapter`."""
        named = ["--base", base or str(self.base), "--adapter", adapter or str(self.adapter)]
        return self._run(GATE, [*named, "--topics", TOPICS, *QUICK, *more])

    def monitor(self, checkpoints: Path, direction: Path) -> Ended:
        """Follow checkpoints by `jobs.monitor --checkpoints`."""
        named = ["--base", str(self.base), "--checkpoints", str(checkpoints), "--direction", str(direction)]
        return self._run(MONITOR, [*named, "--items", "8", "--max-new-tokens", "1"])

    def refused(self, run: Callable[[], Ended], *says: str) -> Ended:
        """End with 3 and a line that says so; nothing is written anywhere here, and nothing of a model has run."""
        ended = kept(run, code=3, says=says, state=lambda: files(self.root))
        assert not self.ran.exists()
        return ended

    def _run(self, tool: Any, argv: list[str]) -> Ended:
        self.capfd.readouterr()
        code = run_tool(tool, [*argv, "--out", str(self.out)])
        return Ended(code, *self.capfd.readouterr())

    def broken(self, name: str, of: Path, file: str, data: bytes) -> Path:
        """A copy of a folder in which a file holds these bytes."""
        folder = Path(shutil.copytree(of, self.root / name, dirs_exist_ok=True))
        (folder / file).write_bytes(data)
        return folder


def adapter_of(base: Path, folder: Path) -> Path:
    """A good adapter of a base."""
    trained(base, folder)
    return folder


def headed(said: bytes, behind: bytes = b"", length: int | None = None) -> bytes:
    """A file of safetensors with this head. length: what it says of the head's, where that is not so."""
    return struct.pack("<Q", len(said) if length is None else length) + said + behind


def odd_files(good: bytes) -> dict[str, bytes]:
    """Files of safetensors that are none, made of a good one."""
    length = int.from_bytes(good[:8], "little")
    head = json.loads(good[8 : 8 + length])
    first, second = [name for name in head if name != "__metadata__"][:2]
    overlap = {**head, second: head[second] | {"data_offsets": head[first]["data_offsets"]}}
    huge = {first: {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 2**63 - 1]}}
    return {
        "a head of 2⁶³ bytes": headed(good[8:], length=2**63),
        "overlapping tensors": headed(json.dumps(overlap).encode(), good[8 + length :]),
        "bytes behind the end": good + b"\0" * 64,
        "sizes that overflow": headed(json.dumps(huge).encode()),
        "10⁵ brackets": headed(b"[" * 100_000),
        "a tensor twice": headed(good[8 : 8 + length].rstrip().rstrip(b"}") + b"," + good[9 : 8 + length], b""),
        "nothing": b"",
    }


def saved(tensors: Tensors) -> bytes:
    """The bytes of a file of safetensors, as PEFT writes it."""
    return save({name: tensor.contiguous() for name, tensor in tensors.items()}, {"format": "pt"})


def eighths(data: bytes) -> list[bytes]:
    """The first eighth of some bytes, two eighths, to seven."""
    return [data[: len(data) * part // 8] for part in range(1, 8)]


def pickles(marker: Path) -> dict[str, bytes]:
    """Pickles that make a file when they are opened: as pickle and as torch write them, packed by gzip, and bare."""

    class Payload:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
            return (os.system, (f"touch '{marker}'",))

    torch.save({"weight": Payload()}, marker.with_suffix(".torch"))
    archive = marker.with_suffix(".torch").read_bytes()
    marker.with_suffix(".torch").unlink()
    made = {
        "a pickle": pickle.dumps({"weight": Payload()}),
        "a pickle of the oldest kind": pickle.dumps({"weight": Payload()}, protocol=0),
        "what torch saves": archive,
        "a pickle in gzip": gzip.compress(pickle.dumps(Payload()), mtime=0),
    }
    pickle.loads(made["a pickle"])
    assert marker.exists(), "the payload works"
    marker.unlink()
    return made


def along(path: Path, width: int = 32) -> Path:
    """A direction of one's own for the monitor."""
    vector = torch.from_numpy(np.random.default_rng(0).standard_normal(width).astype(np.float32))
    path.write_bytes(save({"direction": vector}, {"layer": "1", "name": "mine"}))
    return path


def some(points: Iterable[Any]) -> list[Any]:
    """Some points of a matrix, its last one among them; all where UNDERTONE_EVERY is set."""
    return list(points)[::-1][::EVERY]
