"""Somebody else's program, run with so much of the processor's time and so much memory, and no more. No torch."""

import contextlib
import resource
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from common.errors import InputError

SECONDS = 2.0  # of the processor, for this thread; a template takes some thousandths of one
BYTES = 1 << 29  # more than the process has when it begins
TICK = 0.1  # seconds of the processor between two looks


@contextlib.contextmanager
def bounded(what: str, where: str) -> Iterator[None]:
    """Stop what runs inside when it takes too long or too much. what: what runs, as "the chat template".

    Time is counted in the main thread alone: no other thread can be stopped. Raises: InputError.
    """
    with _address_space(what, where), _looked_at(what, where):
        yield


@contextlib.contextmanager
def _looked_at(what: str, where: str) -> Iterator[None]:
    """Time, and the memory that an allocation takes out of what the C library had kept and given back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    until, most = time.thread_time() + SECONDS, _memory().resident + BYTES

    def look(_number: int, _frame: FrameType | None) -> None:  # again at each tick: a library may swallow the first
        if time.thread_time() > until:
            raise InputError(f"{what} takes too long", where=where, allowed=f"{SECONDS:g} s of the processor")
        if _memory().resident > most:
            raise _too_much(what, where)

    before = signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, TICK, TICK)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, signal.SIG_DFL if before is None else before)


@contextlib.contextmanager
def _address_space(what: str, where: str) -> Iterator[None]:
    before = soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = _memory().size + BYTES
    if soft != resource.RLIM_INFINITY and soft <= most:  # a limit of the machine's, and not the program's fault
        yield
        return
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    try:
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)
    except MemoryError:
        raise _too_much(what, where) from None


class _Memory(NamedTuple):
    size: int  # bytes of address space
    resident: int  # bytes


def _memory() -> _Memory:
    """What this process has. Source: proc_pid_statm(5)."""
    size, resident, *_ = map(int, Path("/proc/self/statm").read_text().split())
    return _Memory(size * resource.getpagesize(), resident * resource.getpagesize())


def _too_much(what: str, where: str) -> InputError:
    return InputError(f"{what} takes too much memory", where=where, allowed=f"{BYTES >> 20} MiB")
