"""Several processes for one fine-tune, one for each GPU: this process is rank 0, and starts the others.

torchrun stands before its ranks: it turns every exit code into 1, gives them 30 s after SIGTERM, and writes to stdout.
Here the process of the job stays in front. Signals reach it, its exit code is the job's, and it alone reads and writes
the store. The others get one line of JSON for each training, train beside it, and end when there is no more.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import distributed

from common.errors import ExitCode, InputError, JobError, SpecError, TransientError
from common.provenance import ROOT, usable_cores
from common.serialization import canonical_json, parse_json
from common.spec import ModelSpec, TrainSpec
from jobs.finetune.examples import IGNORED, Example

ASKED = "UNDERTONE_PROCESSES"  # how many, in place of one for each visible GPU
SECONDS_TO_END = 20  # for a process that was killed
SECONDS_TO_NOTICE = 10  # that a follower is gone, before this process is ended from outside
SECONDS_TO_FAIL = 2  # for a follower whose connection is gone already


class Task(NamedTuple):
    """One training, as every rank needs it."""

    model: ModelSpec
    settings: TrainSpec
    rows: Sequence[Example]  # in the order of training
    seed: int
    folder: Path  # where adapters and what the Trainer saves go; all ranks share it
    kept: int | None  # the optimizer step of the checkpoint to go on from
    held_out: Sequence[Example]
    parts: int = 1  # in which each optimizer batch goes through the model, one after another; of one process alone


def line_of(task: Task) -> bytes:
    """A task as one line."""
    rows, held = ([asdict(row) for row in part] for part in (task.rows, task.held_out))
    plain = {"rows": rows, "held_out": held, "folder": str(task.folder), "seed": task.seed, "kept": task.kept}
    specs = {"model": task.model.model_dump(mode="json"), "settings": task.settings.model_dump(mode="json")}
    return canonical_json(plain | specs) + b"\n"


def task_of(line: bytes) -> Task:
    """The task of a line."""
    told = parse_json(line, "task")
    model, settings = ModelSpec.model_validate(told["model"]), TrainSpec.model_validate(told["settings"])
    rows, held = ([Example(**row) for row in told[name]] for name in ("rows", "held_out"))
    return Task(model, settings, rows, told["seed"], Path(told["folder"]), told["kept"], held)


def processes(batch: int) -> int:
    """How many share an optimizer batch: as many as there are GPUs, or as UNDERTONE_PROCESSES says, that divide it.

    Raises: SpecError if that variable is no whole number above 0.
    """
    asked = os.environ.get(ASKED, "")
    if asked and not (asked.isdigit() and int(asked)):
        raise SpecError("not a number of processes", where=ASKED, value=asked, allowed="a whole number above 0")
    most = int(asked) if asked else max(1, torch.cuda.device_count())
    return max(many for many in range(1, most + 1) if batch % many == 0)


def whole_batches(rows: Sequence[Example], batch: int, ranks: int) -> list[Example]:
    """Rows whose last batch is filled up where ranks share it: by rows without a label, which add nothing to a loss.

    Else some rank would be left without rows, and get others in their place.
    """
    missing = -len(rows) % batch if ranks > 1 else 0
    filler = Example(rows[0].input_ids[:2], [IGNORED] * len(rows[0].input_ids[:2]))
    return [*rows, *[filler] * missing]


def agreed(save: bool, stop: bool, where: torch.device) -> tuple[bool, bool]:
    """What rank 0 says after an optimizer step: to save, and to stop. Others are not asked."""
    if not (distributed.is_initialized() and distributed.get_world_size() > 1):
        return save, stop
    told = torch.tensor([save, stop], dtype=torch.int32, device=where)
    distributed.broadcast(told, 0)
    first, second = told.tolist()
    return bool(first), bool(second)


def meet() -> None:
    """Wait until all ranks are here."""
    if distributed.is_initialized() and distributed.get_world_size() > 1:
        distributed.barrier()


def processes_here() -> int:
    """Ranks of the group that this process is in."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def leads() -> bool:
    """Whether this process is rank 0, or the only one."""
    return os.environ.get("RANK", "0") == "0"


class Followers:
    """The processes beside rank 0, for as long as it lives: DeepSpeed cannot join a second group."""

    def __init__(self, ranks: int, workdir: Path) -> None:
        """ranks: all of them. workdir: removed where a follower's end ends this process. Needs MASTER_PORT."""
        self._ranks, self._workdir, self._dismissed = ranks, workdir, False
        self._children = [self._started(rank) for rank in range(1, ranks)]
        for child in self._children:
            threading.Thread(target=self._watch, args=(child,), daemon=True).start()

    def _started(self, rank: int) -> subprocess.Popen[bytes]:
        threads = str(max(1, usable_cores() // self._ranks))
        env = os.environ | {"RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": threads}
        words = [sys.executable, "-m", "jobs.finetune.follow"]
        # stdout is the one line of the job: whatever a follower says goes to stderr.
        return subprocess.Popen(words, env=env, cwd=ROOT, stdin=subprocess.PIPE, stdout=2)

    def _watch(self, child: subprocess.Popen[bytes]) -> None:
        """End this process as a follower that failed did: on a GPU it may wait for that one for ever."""
        if child.wait() and not self._dismissed:
            time.sleep(SECONDS_TO_NOTICE)
        if (fault := self.fault()) is not None and not self._dismissed:
            os.write(2, f"error: {fault}\n".encode())
            shutil.rmtree(self._workdir, ignore_errors=True)
            os._exit(fault.exit_code)

    def fault(self) -> JobError | None:
        """What to raise where a follower failed: its exit code is the job's. Its own last words stand in the log."""
        for place, child in enumerate(self._children, start=1):
            with contextlib.suppress(subprocess.TimeoutExpired):
                if code := child.wait(SECONDS_TO_FAIL):
                    code = code if code > 0 else 128 - code
                    where = f"process {place} of {self._ranks - 1} beside the first"
                    error = JobError("a process of the fine-tune ended; nothing was sealed", where=where, value=code)
                    error.exit_code = ExitCode(code) if code in {*ExitCode} else ExitCode.BUG
                    return error
        return None

    def give(self, task: Task, workdir: Path) -> None:
        """Have all of them train. Raises: TransientError if they were dismissed."""
        if self._dismissed:
            raise TransientError("the processes of this job are gone after a fine-tune that failed")
        self._workdir = workdir
        for child in self._children:
            assert child.stdin is not None, "it was opened"
            child.stdin.write(line_of(task))
            child.stdin.flush()

    def dismiss(self) -> None:
        """End them: what they wait for does not come."""
        self._dismissed = True
        for child in self._children:
            child.kill()
        for child in self._children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(SECONDS_TO_END)


@contextlib.contextmanager
def followed(followers: Followers | None, task: Task, workdir: Path) -> Iterator[None]:
    """Have followers train while the block does; an error in it ends them."""
    if followers is not None:
        followers.give(task, workdir)
    try:
        yield
    except BaseException as error:
        # What is lost is a connection: who was lost says why.
        fault = None if followers is None or isinstance(error, JobError) else followers.fault()
        if followers is not None:
            followers.dismiss()
        if fault is not None:
            raise fault from error
        raise


def tasks(lines: Any) -> Iterator[Task]:
    """What rank 0 says until it has no more. Raises: InputError for a line that is cut off."""
    for line in lines:
        if not line.endswith(b"\n"):
            raise InputError("rank 0 ended while it spoke", where="task", value=f"{len(line)} bytes")
        yield task_of(line)
