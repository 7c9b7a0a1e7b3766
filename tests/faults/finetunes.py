"""A tiny fine-tune that tests stop and kill: how it ends undisturbed, and how it stands half way."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.cells import cell_named
from common.errors import ExitCode
from common.pipeline.keys import Keys
from common.records import Loss
from common.serialization import parse_jsonl
from common.spec import parse_spec
from common.store.sealed import ArtifactStore, open_store
from jobs import catalog
from tests import tiny
from tests.faults.forks import Forks
from tests.faults.promise import Ended, clean
from tests.jobs.finetuning import CELL, study_in

TIMES = {"loss.jsonl", "training.json"}  # outputs that hold how long things took
STEPS = 8


@dataclass(frozen=True)
class Study:
    """A fine-tune of 8 steps in fp32. Its corpus is sealed in `fresh`; in `stopped` it also has a checkpoint at 6."""

    fork: Forks
    spec: Path
    fresh: Path
    stopped: Path
    outputs: Mapping[str, str] = field(default_factory=dict)  # of an undisturbed run: name → digest, but for `TIMES`
    losses: tuple[float, ...] = ()

    def words(self, store: str | Path, cell: str = CELL) -> list[str]:
        """The command line."""
        return ["--spec", str(self.spec), "--cell", cell, "--store", str(store)]

    def run(self, store: str | Path, *, env: Mapping[str, str] | None = None, **faults: Any) -> Ended:
        """The fine-tune, with faults of `tests.faults.fault_points`."""
        return self.fork("finetune", self.words(store), env=env, **faults)

    def key(self, store: ArtifactStore, job: str = "finetune", cell: str = CELL) -> str:
        """The key of a step."""
        spec = parse_spec(self.spec.read_bytes(), "spec")
        return Keys(spec, catalog(), store).key(job, cell_named(spec, cell))

    def is_sealed(self, uri: str | Path) -> bool:
        """Whether the fine-tune is."""
        store = open_store(str(uri))
        return store.manifest("finetune", self.key(store)) is not None

    def kept(self, uri: str | Path) -> list[int]:
        """The optimizer steps of its whole checkpoints."""
        store = open_store(str(uri))
        names = store.objects.keys(f"steps/finetune/{self.key(store)}/checkpoints/")
        return sorted(int(name.split("/")[4].split("-")[0]) for name in names if name.endswith("/COMPLETE.json"))

    def ends_undisturbed(self, uri: str | Path, *, env: Mapping[str, str] | None = None) -> Ended:
        """Run it again without a fault: it goes on from its furthest checkpoint and ends as if nothing had happened."""
        kept, sealed = self.kept(uri), self.is_sealed(uri)
        ended = clean(lambda: self.run(uri, env=env))
        assert json.loads(ended.out)["reused"] is sealed
        resumed = [event["step"] for event in events(ended) if event["event"] == "resumed"]
        assert resumed == ([] if sealed or not kept else [kept[-1]]), "not gone on from the furthest checkpoint"
        assert made_of(self, uri) == (self.outputs, self.losses), "not as the run that nothing disturbed"
        assert not self.kept(uri), "checkpoints of a step that is sealed"
        return ended


def made_of(study: Study, uri: str | Path) -> tuple[dict[str, str], tuple[float, ...]]:
    """The digests of the outputs of the fine-tune, each read whole, and its losses."""
    store = open_store(str(uri))
    manifest = store.manifest("finetune", study.key(store))
    assert manifest is not None
    digests = {name: output["digest"] for name, output in manifest["outputs"].items()}
    read = {name: store.get(digest) for name, digest in digests.items()}
    losses = tuple(row.loss for row in parse_jsonl(read["loss.jsonl"], Loss, "loss.jsonl"))
    return {name: digest for name, digest in digests.items() if name not in TIMES}, losses


def objects(uri: str | Path) -> dict[str, bytes]:
    """Everything in a store that a job can see."""
    store = open_store(str(uri)).objects
    names = [name for top in ("blobs/", "steps/", "runs/") for name in store.keys(top)]
    return {name: store.get(name) or b"" for name in names}


def events(ended: Ended) -> list[dict[str, Any]]:
    """What a step said."""
    return [json.loads(line) for line in ended.err.splitlines() if line.startswith("{")]


def copied(store: Path, to: Path) -> Path:
    """A copy of a store."""
    shutil.copytree(store, to)
    return to


@contextmanager
def made_in(folder: Path, model: Path, running: Callable[[Path], Any]) -> Iterator[Study]:
    """The study, in a folder. running: starts the process that forks."""
    spec = tiny.spec_on(model)
    spec["train"]["batch_size"] = 16 // STEPS
    arguments = study_in(folder, spec)
    (_, path, *_), whole = arguments("fresh")[:3], folder / "whole"
    with running(folder) as fork:
        begun = Study(fork, Path(path), folder / "fresh", folder / "stopped")
        copied(begun.fresh, whole)
        clean(lambda: begun.run(whole))
        copied(begun.fresh, begun.stopped)
        assert begun.run(begun.stopped, sigterm={"at": "step=6"}).code == ExitCode.TRANSIENT
        yield Study(fork, begun.spec, begun.fresh, begun.stopped, *made_of(begun, whole))
