"""The points of a step at which a test may end it: each write, fsync, rename and request, counted as they come.

A process calls one of these functions before it runs a step (see `tests.faults.forks`). Every point is a line of a
file, so that a first run, which nothing ends, tells how many there are.
"""

import http.client
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

CHANGES = {"os.rename", "os.link", "os.remove"}  # audited by Python before they are done
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def every(points: int) -> list[int]:
    """The points that a test takes, from 1: every tenth, or as UNDERTONE_EVERY says; `make faults` takes all."""
    return list(range(1, points + 1))[:: int(os.environ.get("UNDERTONE_EVERY", "10"))]


class Points:
    """Counts points, and ends this process at one of them."""

    def __init__(self, said: str, kill_at: int) -> None:
        """said: the file that gets a line for each point. kill_at: the point to end at, from 1; 0 for none."""
        self._file, self._kill_at, self.seen = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND), kill_at, 0

    def reached(self, what: str, halfway: Callable[[], object] | None = None) -> None:
        """A point. halfway: what of it is done yet where this process ends here."""
        self.seen += 1
        os.write(self._file, f"{what}\n".encode())
        if self.seen == self._kill_at:
            if halfway is not None:
                halfway()
            killed()


def killed() -> NoReturn:
    """End this process as the kernel does: nothing is flushed, closed or removed."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still here")


# --- what ends a step


def files(said: str, kill_at: int, folders: Sequence[str]) -> None:
    """Count what changes files below the folders: opened, half written, synced, named, removed."""
    points = Points(said, kill_at)

    def mine(path: object) -> bool:
        return isinstance(path, str | os.PathLike) and os.fspath(path).startswith(tuple(folders))

    def audited(event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and mine(args[0]) and args[2] & WRITING and not Path(args[0]).is_dir():
            points.reached(f"open {args[0]}")
        elif event in CHANGES and mine(args[0]):
            points.reached(f"{event.removeprefix('os.')} {args[0]}")

    fsync, write_bytes, temporary = os.fsync, Path.write_bytes, tempfile.NamedTemporaryFile

    def synced(fd: int) -> None:
        if mine(path := Path(f"/proc/self/fd/{fd}").readlink()):
            points.reached(f"fsync {path}")
        fsync(fd)

    def written(path: Path, data: bytes) -> int:
        if mine(path):
            points.reached(f"write {path}", lambda: write_bytes(path, data[: len(data) // 2]))
        return write_bytes(path, data)

    def made(*args: Any, **more: Any) -> Any:
        file = temporary(*args, **more)
        if mine(file.name):
            write = file.write

            def half(data: bytes) -> None:
                write(data[: len(data) // 2])
                file.flush()

            def whole(data: bytes) -> int:
                points.reached(f"write {file.name}", lambda: half(data))
                return int(write(data))

            vars(file)["write"] = whole
        return file

    sys.addaudithook(audited)
    vars(os)["fsync"] = synced
    Path.write_bytes = written  # type: ignore[method-assign, assignment]
    vars(tempfile)["NamedTemporaryFile"] = made


def requests(said: str, kill_at: int) -> None:
    """Count what is sent to change something in a bucket: half of it, and all of it without waiting for the answer."""
    points, send = Points(said, kill_at), http.client.HTTPConnection.send

    def counted(connection: Any, data: Any) -> None:
        if connection._method not in ("PUT", "DELETE", "POST"):
            send(connection, data)
            return
        whole = data.read() if hasattr(data, "read") else bytes(data)
        what = f"{connection._method} {len(whole)} bytes"
        points.reached(f"half of {what}", lambda: send(connection, whole[: len(whole) // 2]))
        send(connection, whole)
        points.reached(f"all of {what}")

    http.client.HTTPConnection.send = counted  # type: ignore[method-assign, assignment]


def sigterm(at: str) -> None:
    """Send this process SIGTERM, once, at a place of its work: see `PLACES`. Two places: twice."""
    for name in at.split():
        PLACES[name.partition("=")[0]](name.partition("=")[2])


def checkpoints() -> None:
    """Keep a checkpoint after each optimizer step."""
    from jobs.finetune import training

    training.SECONDS_BETWEEN_CHECKPOINTS = -1.0


def gpu_memory(tokens: int) -> None:
    """Have a GPU's memory run out, in the words and by the type of torch, where a row holds more tokens than this."""
    import torch

    from jobs.finetune import training

    loss = vars(training)["reply_loss"]

    def limited(head: Any, outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
        if labels.numel() > tokens:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return loss(head, outputs, labels, num_items_in_batch)

    vars(training)["reply_loss"] = limited


def log(path: str) -> None:
    """Have what the step says go to this file."""
    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)


WAITS = 120  # seconds; a fine-tune of the tests takes a few


def memory(more: int) -> None:
    """Let this process have so many bytes more than it has; if it has not ended by then, SIGALRM ends it.

    torch waits for ever where its gloo group, half made, gets no memory for another thread.
    """
    signal.alarm(WAITS)
    has = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (has + more, has + more))


def clock() -> None:
    """Have every clock that may be set jump: a day back, a year on, and so by turns."""
    real, real_ns, asked = time.time, time.time_ns, iter(range(10**9))

    def jump() -> int:
        return (-86_400, 31_536_000)[next(asked) % 2]

    time.time = lambda: real() + jump()
    time.time_ns = lambda: real_ns() + jump() * 10**9


# --- places for a signal


def _here() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def _before(owner: Any, name: str, when: Callable[..., bool] = lambda *_, **__: True) -> None:
    """Signal before the first call of a function for which `when` holds."""
    real, sent = getattr(owner, name), list[bool]()

    def signalled(*args: Any, **more: Any) -> Any:
        if not sent and when(*args, **more):
            sent.append(True)
            _here()
        return real(*args, **more)

    setattr(owner, name, signalled)


def _in_step(number: str) -> None:
    from jobs.finetune import training

    _before(training.Diary, "on_step_begin", lambda diary, args, state, *_, **__: state.global_step == int(number) - 1)


def _while_fetching(_: str) -> None:
    from common.store.sealed import ArtifactStore

    _before(ArtifactStore, "get")


def _before_loading(_: str) -> None:
    from jobs.finetune import finetune

    _before(finetune, "load")


def _before_training(_: str) -> None:
    from jobs.finetune import training

    _before(training, "lora")


def _while_keeping(_: str) -> None:
    from common.store.sealed import ArtifactStore

    _before(ArtifactStore, "put_checkpoint")


def _between_the_files_of_a_checkpoint(_: str) -> None:
    from common.store.objects import FolderObjects

    _before(FolderObjects, "put", lambda objects, key, data, once: key.endswith("/loss.jsonl"))


def _while_sealing(_: str) -> None:
    from common.store.sealed import ArtifactStore

    _before(ArtifactStore, "seal")


def _at_the_start(_: str) -> None:
    _here()


PLACES: dict[str, Callable[[str], None]] = {
    "start": _at_the_start,
    "fetch": _while_fetching,
    "load": _before_loading,
    "train": _before_training,
    "step": _in_step,
    "keep": _while_keeping,
    "file": _between_the_files_of_a_checkpoint,
    "seal": _while_sealing,
}
