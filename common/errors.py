"""What can go wrong in a job, and the exit code each failure leaves with.

JobError (1, a bug: full traceback, never retried)
├── SpecError        2   the run spec, the command line or the credentials are wrong
├── InputError       3   an input is missing, altered or malformed
└── TransientError  75   storage was busy; the orchestrator may retry
    └── Interrupted 75   asked to stop; what can be kept was kept
"""

from enum import IntEnum

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


def _short(value: object, limit: int = 160) -> str:
    # Before it is cut: half a secret is no longer known for one.
    text = redacted(value if isinstance(value, str) else repr(value))
    return text if len(text) <= limit else text[: limit - 1] + "…"
