"""Steps that begin with the libraries already imported: torch and transformers alone take 5 s of a core.

The standard library's fork server imports `workflows.local.libraries`, touches nothing else, and forks for each step. A
step is still a process of its own that ends with its work; it shares what was imported and nothing that it made. It
ends as multiprocessing ends processes: without taking the interpreter apart, and so without what `atexit` was given.
The server is started with the first step and ends with the process that asked for it. Used by workflows.local; a
container has one step and no use for it.
"""

import contextlib
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing import connection
from typing import Self

from common.provenance import ROOT

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["workflows.local.libraries", "workflows.local.forked"])
_ONE = threading.Lock()  # starting a process also asks after those that ended, and two that ask at once get it wrong


class ForkedStep:
    """A running step, with what workflows.local uses of `subprocess.Popen`."""

    def __init__(self, words: Sequence[str], environment: Mapping[str, str]) -> None:
        """Run `python -m MODULE …`, given as [MODULE, …], with this environment.

        Raises: OSError or EOFError if the server cannot be started or is gone.
        """
        lines, its_stderr = _SERVER.Pipe(duplex=False)
        with lines, its_stderr:
            self._process = _SERVER.Process(target=_run, args=(list(words), dict(environment), its_stderr))
            with _ONE, _threads_as(environment):
                self._process.start()
            self.stderr = os.fdopen(os.dup(lines.fileno()), errors="replace")
        assert self._process.pid is not None, "it was started"
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stderr.close()
        self.wait()

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, or minus the signal that ended it. Raises: subprocess.TimeoutExpired after these seconds."""
        if not connection.wait([self._process.sentinel], timeout):
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        with _ONE:
            self._process.join()
            assert self._process.exitcode is not None, "it has ended"
            return self._process.exitcode

    def terminate(self) -> None:
        """Ask it to stop."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)


@contextlib.contextmanager
def _threads_as(environment: Mapping[str, str]) -> Iterator[None]:
    """Have a server that starts now start with the number of threads of its steps: it is read when torch is loaded."""
    name = "OMP_NUM_THREADS"
    before = os.environ.get(name)
    os.environ[name] = environment[name]
    try:
        yield
    finally:
        os.environ.pop(name) if before is None else os.environ.update({name: before})


def _run(words: Sequence[str], environment: Mapping[str, str], stderr: "connection.Connection[str, str]") -> None:
    """Become the step: its own session, standard streams, environment and arguments; then do as `python -m` does."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd, number in ((nothing, 0), (nothing, 1), (stderr.fileno(), 2)):
        os.dup2(fd, number)
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = list(words)
    try:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    except Exception:
        sys.excepthook(*sys.exc_info())
        sys.exit(1)
