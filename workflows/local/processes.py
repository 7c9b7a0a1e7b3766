"""The processes of a run: started in a session of their own, followed line by line, and ended whatever happens."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from common.errors import RETRYABLE, ExitCode
from common.pipeline.job import Catalog
from common.provenance import ROOT
from workflows.local.display import Screen
from workflows.local.forked import ForkedStep
from workflows.local.logs import StepLog
from workflows.local.template import seconds

SECONDS_TO_STOP = 120  # for a checkpoint, after SIGTERM and before SIGKILL; as long as a pod of study.yaml gets
SECONDS_BETWEEN_ASKING = 3  # two signals closer than this are one: `timeout` and some shells send each twice

Child = subprocess.Popen[str] | ForkedStep


class Ended(NamedTuple):
    """How a step's process ended."""

    code: int  # its exit code, or 128 + the signal that killed it
    last: str = ""  # its error line, or else the last line that is not JSON


class Processes:
    """The steps that run. Safe to use from many threads."""

    def __init__(self, jobs: Catalog, threads: int, screen: Screen) -> None:
        """threads: of each step, where it computes."""
        self._jobs, self._threads, self._screen = jobs, threads, screen
        self._children: set[Child] = set()
        self._asked_to_stop = 0.0
        self._left_out = False
        self.stopping = threading.Event()  # set: no step is started any more

    @property
    def asked_to_stop(self) -> bool:
        """Whether running steps were asked to stop."""
        return self._asked_to_stop > 0

    @property
    def stopped(self) -> bool:
        """Whether running steps were asked to stop, or one was not started because the time was up."""
        return self.asked_to_stop or self._left_out

    # --- starting

    def start(self, command: Sequence[str], outputs: Path) -> Child | None:
        """Start `python -m …`, or None when stopping. outputs: the folder of its small outputs."""
        if self.stopping.is_set():
            self._left_out = True
            return None
        env = {**os.environ, "UNDERTONE_OUTPUTS": str(outputs), "OMP_NUM_THREADS": str(self._threads)}
        on_models = self._jobs[command[2].rpartition(".")[2]].image == "gpu"
        child = _forked(command, env) if on_models else _spawned(command, env)
        self._children.add(child)
        if self.asked_to_stop:  # the signal came after the first look, and stop() did not see this child
            child.terminate()
        return child

    # --- following

    def follow(self, child: Child, name: str, limit: str, log: Path) -> Ended:
        """Follow a step to its end, its stderr to `log`. limit: when it is stopped, as '90s', '10m' or '2h'.

        Raises: TransientError if the log did not fit on the disk and that is all that is wrong.
        """
        try:
            with _time_limit(child, seconds(limit)) as late, child, StepLog(log) as file:
                last = self._listen(child.stderr, file, name)
                code = child.wait()
        finally:
            self._children.discard(child)
        if code == ExitCode.OK or code in RETRYABLE:
            file.check()
        return Ended(128 - code if code < 0 else code, f"stopped after its timeout of {limit}" if late() else last)

    def _listen(self, lines: IO[str] | None, file: StepLog, name: str) -> str:
        """Copy a step's stderr to its log and show its progress; return its error line, or else its last plain line."""
        last = plain = ""
        for line in lines or ():
            file.write(line)
            if line.startswith("error: "):
                last = line.strip()
            elif '"event": "progress"' in line:
                self._show_progress(line, name)
            elif not line.startswith("{") and line.strip():
                plain = line.strip()
        return last or plain

    def _show_progress(self, line: str, name: str) -> None:
        with contextlib.suppress(ValueError):
            event = json.loads(line)
            self._screen.progress(name, event["done"], event["total"])

    # --- ending

    @contextlib.contextmanager
    def no_longer_than(self, minutes: float | None) -> Iterator[None]:
        """While the block runs, start no step after so many minutes; those that run then go on to their end."""
        timer = threading.Timer(60 * minutes, self.stopping.set) if minutes is not None else None
        if timer is not None:
            timer.daemon = True
            timer.start()
        try:
            yield
        finally:
            if timer is not None:
                timer.cancel()

    def stop(self) -> None:
        """Ask every running step to stop, so that it keeps what it can; asked again some seconds later, kill it."""
        again = self.asked_to_stop and time.monotonic() - self._asked_to_stop > SECONDS_BETWEEN_ASKING
        if not self.asked_to_stop:
            self._asked_to_stop = time.monotonic()
            self.stopping.set()
        for child in list(self._children):
            _kill(child) if again else child.terminate()

    def end(self) -> None:
        """Stop every step and wait until it is gone."""
        self.stop()
        for child in list(self._children):
            _end(child)


def _forked(command: Sequence[str], env: Mapping[str, str]) -> Child:
    """Start a step where its libraries are imported already; if there is no such place, as any other."""
    try:
        return ForkedStep(command[2:], env)
    except (OSError, EOFError):
        return _spawned(command, env)


def _spawned(command: Sequence[str], env: Mapping[str, str]) -> Child:
    """Start a step as a process that imports what it needs."""
    return subprocess.Popen(
        [sys.executable, *command[1:]],
        env=env,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,  # the result is in the manifest
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,  # Ctrl-C goes to this process, which asks its children to stop
    )


@contextlib.contextmanager
def _time_limit(child: Child, limit_seconds: float) -> Iterator[Callable[[], bool]]:
    """End a step that is not done in time. Yields whether that has happened."""
    late = threading.Event()

    def time_is_up() -> None:
        late.set()
        _end(child)

    timer = threading.Timer(limit_seconds, time_is_up)
    timer.daemon = True
    timer.start()
    try:
        yield late.is_set
    finally:
        timer.cancel()


def _end(child: Child) -> None:
    """Ask a process to stop, and kill it if it has not in good time."""
    child.terminate()
    try:
        child.wait(SECONDS_TO_STOP)
    except subprocess.TimeoutExpired:
        _kill(child)
        child.wait()


def _kill(child: Child) -> None:
    """Kill a step and the processes that it started: they hold its stderr open."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
