"""Steps that begin with the libraries already imported: torch and transformers alone take 5 s of a core.

One process imports them, touches nothing else, and forks for each step. A step is still a process of its own that
ends with its work; it shares what was imported and nothing that it made. Used by workflows.local; a container has one
step and no use for it.

    python -m workflows.local.warm FD       serve requests on a socket; ends when the other side closes it
"""

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import IO, Self

from common.provenance import ROOT

LIBRARIES = (  # what all jobs on models import; deepspeed is left out: having it in memory alters what accelerate does
    "analysis.stats.stance",
    "common.pipeline.command",
    "common.lm.generation",
    "common.lm.load",
)
LARGEST = 1 << 17  # bytes of a request; a spec on a command line is a few kilobytes


class WarmStep:
    """A running step, with what workflows.local uses of `subprocess.Popen`."""

    def __init__(self, stderr: IO[str], states: IO[str]) -> None:
        """states: tells the process id, and at the end how it ended. Raises: ConnectionError if it tells nothing."""
        self.stderr, self._states, self._code = stderr, states, None
        if not (first := states.readline()):
            raise ConnectionError("the process that forks is gone")
        self.pid = int(first)
        self._ended = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stderr.close()
        self.wait()
        self._states.close()

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, or minus the signal that ended it. Raises: subprocess.TimeoutExpired."""
        if not self._ended.acquire(timeout=-1 if timeout is None else timeout):
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        try:
            if self._code is None:
                if not select.select([self._states], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
                self._code = int(self._states.readline() or -signal.SIGKILL)
            return self._code
        finally:
            self._ended.release()

    def terminate(self) -> None:
        """Ask it to stop."""
        if self._code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)


class Warm:
    """The process that has imported the libraries."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Start it; it imports while others go on."""
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._one = threading.Lock()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "workflows.local.warm", str(theirs.fileno())],
                cwd=ROOT,
                env=dict(environment),
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C goes to the runner, which asks steps to stop
            )

    def start(self, words: Sequence[str], environment: Mapping[str, str]) -> WarmStep:
        """Run `python -m MODULE …`, given as [MODULE, …], with this environment. Raises: OSError if it is gone."""
        lines, its_stderr = os.pipe()
        states, its_states = os.pipe()
        try:
            message = json.dumps({"words": list(words), "environment": dict(environment)}).encode()
            with self._one:
                socket.send_fds(self._socket, [message], [its_stderr, its_states])
        except OSError:
            os.close(lines)
            os.close(states)
            raise
        finally:
            os.close(its_stderr)
            os.close(its_states)
        return WarmStep(os.fdopen(lines, errors="replace"), os.fdopen(states))

    def close(self) -> None:
        """End it. Steps that still run go on."""
        self._socket.close()
        self._process.wait()


def serve(connection: socket.socket) -> None:
    """Import, then fork for each request until the other side closes."""
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.freeze()  # so that collecting garbage does not touch, and thereby copy, what all share
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who watches a step is nobody's business any more
    while True:
        message, fds, _, _ = socket.recv_fds(connection, LARGEST, 2)
        if not message:
            return
        if os.fork() == 0:
            connection.close()
            _watch(json.loads(message), *fds)
        for fd in fds:
            os.close(fd)


def _watch(asked: Mapping[str, object], stderr: int, states: int) -> None:
    """Fork the step, tell its process id, wait for it and tell how it ended. Does not return."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        os.close(states)
        _run(asked, stderr)
    os.close(stderr)
    os.write(states, f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(BrokenPipeError):
        os.write(states, f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _run(asked: Mapping[str, object], stderr: int) -> None:
    """Become the step: its own session, standard streams, environment and arguments. Ends as `python -m` does."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd, number in ((nothing, 0), (nothing, 1), (stderr, 2)):
        os.dup2(fd, number)
    os.environ.clear()
    os.environ.update(asked["environment"])  # type: ignore[call-overload]
    sys.argv = list(asked["words"])  # type: ignore[call-overload]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    sys.exit(0)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
