"""What can go wrong in a job, and the exit code each failure leaves with.

JobError (1, a bug: full traceback, never retried)
├── SpecError        2   the run spec, the command line or the credentials are wrong
├── InputError       3   an input is missing, altered or malformed
└── TransientError  75   storage was busy; the orchestrator may retry
    └── Interrupted 75   asked to stop; what can be kept was kept
"""

import errno
import traceback
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path

from common.secrets import redacted


class ExitCode(IntEnum):
    """How a job ends. 64 and 65 belong to Argo's executor and are never used."""

    OK = 0
    BUG = 1
    SPEC = 2
    INPUT = 3
    BLOCKED = 10
    TRANSIENT = 75
    OUT_OF_MEMORY = 137
    TERMINATED = 143


RETRYABLE = (ExitCode.TRANSIENT, ExitCode.OUT_OF_MEMORY, ExitCode.TERMINATED)
SEALED = (ExitCode.OK, ExitCode.BLOCKED)


class JobError(Exception):
    """A failure whose message a person reads: what, where, the value, and what was allowed. Never a secret."""

    exit_code = ExitCode.BUG

    def __init__(self, what: str, *, where: str = "", value: object = None, allowed: str = "") -> None:
        line = what + (f", {where}" if where else "")
        line += f": {_short(value)}" if value is not None else ""
        line += f"; allowed: {allowed}" if allowed else ""
        super().__init__(redacted(" ".join(line.split())))


class SpecError(JobError):
    """The run spec, the command line or the credentials are wrong; running again changes nothing."""

    exit_code = ExitCode.SPEC


class InputError(JobError):
    """An input is missing, altered (its digest differs) or malformed."""

    exit_code = ExitCode.INPUT


class TransientError(JobError):
    """Busy, throttled, disk full or a lost race: the same command may succeed later."""

    exit_code = ExitCode.TRANSIENT


class Interrupted(TransientError):
    """SIGTERM or SIGINT arrived; the work done so far was kept where the job can resume it."""


# Libraries tell these two in words of their own; torch is not imported to ask for its types.
DISK_FULL = (
    "no space left on device",
    "disk quota exceeded",
    "pytorchstreamwriter failed",
    "file write failed",
    "inline_container.cc",  # torch.save, where fewer bytes stand in the file than it wrote
)
OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",  # of a file that is mapped
    "not enough memory",
    "can't start new thread",  # whose stack has no room
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
)
GPU_FULL = (
    "cuda out of memory",
    "cuda error: out of memory",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
)


# Of a file that is cut off, of other values, or for a package that is not here.
BROKEN_FILE = (OSError, ValueError, LookupError, RuntimeError, EOFError, ImportError)


def disk_full(error: BaseException) -> bool:
    """Whether a disk was full or a quota used up, said by the system, by safetensors or by torch."""
    for each in _chain(error):
        if isinstance(each, OSError) and each.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if _said_by_a_library(each, DISK_FULL):
            return True
    return False


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, of the machine or of its accelerator, said by Python or by torch."""
    for each in _chain(error):
        if isinstance(each, MemoryError) or type(each).__name__ == "OutOfMemoryError":
            return True
        if isinstance(each, OSError) and each.errno == errno.ENOMEM:
            return True
        if isinstance(each, ImportError | OSError) and "failed to map segment" in str(each):  # of a library
            return True
        if _said_by_a_library(each, OUT_OF_MEMORY):
            return True
    return False


def gpu_full(error: BaseException) -> bool:
    """Whether it was the memory of an accelerator that ran out."""
    full = (type(each).__name__ == "OutOfMemoryError" or _said_by_a_library(each, GPU_FULL) for each in _chain(error))
    return any(full)


def broken_file(error: BaseException) -> bool:
    """Whether what a library raised while it read a file may be the file's fault: then the input is wrong.

    Anything else that it raises is a bug, as a call that does not fit. What ran out, and what this project raises by
    itself, as when it is told to stop, keeps its own exit code.
    """
    if isinstance(error, JobError) or out_of_memory(error) or disk_full(error):
        return False
    bare = type(error) is Exception or type(error).__name__ == "SafetensorError"  # Rust libraries have no narrower ones
    return bare or isinstance(error, BROKEN_FILE)


def broken_settings(error: BaseException) -> bool:
    """As `broken_file`, of JSON whose fields a library takes as they come: there it raises anything at all.

    A bug of ours is told by the place: it is not raised in a package that is installed.
    """
    if isinstance(error, JobError) or out_of_memory(error) or disk_full(error):
        return False
    return broken_file(error) or "site-packages" in Path(_raised_in(error)).parts


def _raised_in(error: BaseException) -> str:
    """The source file of the innermost frame."""
    frames = traceback.extract_tb(error.__traceback__)
    return frames[-1].filename if frames else ""


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _said_by_a_library(error: BaseException, words: tuple[str, ...]) -> bool:
    told = isinstance(error, RuntimeError) or type(error).__name__ == "SafetensorError"
    return told and any(word in str(error).lower() for word in words)


def _short(value: object, limit: int = 160) -> str:
    # Before it is cut: half a secret is no longer known for one.
    text = redacted(value if isinstance(value, str) else repr(value))
    return text if len(text) <= limit else text[: limit - 1] + "…"
