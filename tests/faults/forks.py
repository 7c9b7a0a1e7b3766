"""Steps that are processes and begin at once: a process imports what a fine-tune needs, and forks for each step.

A step of its own would import for seconds. What is forked is a process that ends by itself, with a real exit code.
"""

import gc
import importlib
import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from common.provenance import ROOT
from tests.faults import fault_points
from tests.faults.promise import Ended

LATE = (  # what a fine-tune imports when it begins: for seconds
    "deepspeed",
    "deepspeed.runtime.zero.muon.muon_optimizer",
    "deepspeed.runtime.zero.stage_1_and_2",
    "jobs.finetune.finetune",
    "jobs.generate.generate",
)


@dataclass(frozen=True)
class Asked:
    """A step to run: the words of its command line, what is in its environment, and its faults by name."""

    job: str
    words: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    faults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # of tests.faults.fault_points


class Forks:
    """Runs steps, one after another or side by side."""

    def __init__(self, folder: Path) -> None:
        """folder: where what they say is kept."""
        self._folder, self._asked = folder, 0
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.forks"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment,
        )

    def __call__(self, job: str, words: Sequence[str], *, env: Mapping[str, str] | None = None, **faults: Any) -> Ended:
        """Run one step. faults: functions of tests.faults.fault_points, each with its arguments as a dict."""
        (ended,) = self.at_once(Asked(job, words, env or {}, faults))
        return ended

    def at_once(self, *asked: Asked) -> list[Ended]:
        """Run steps side by side, to their ends."""
        assert self._process.stdin is not None and self._process.stdout is not None, "they are pipes"
        self._asked += 1
        places = [str(self._folder / f"{self._asked}-{number}") for number in range(len(asked))]
        said = [{**asdict(each), "place": place} for each, place in zip(asked, places, strict=True)]
        self._process.stdin.write(json.dumps(said) + "\n")
        self._process.stdin.flush()
        codes = json.loads(self._process.stdout.readline())
        texts = ([Path(f"{place}.{name}").read_text() for name in ("out", "err")] for place in places)
        return [Ended(code, *text) for code, text in zip(codes, texts, strict=True)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None, "they are pipes"
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@contextmanager
def forks(folder: Path) -> Iterator[Forks]:
    """The process, while the block runs."""
    with Forks(folder) as running:
        yield running


def _run(asked: dict[str, Any]) -> int:
    """Become the step, and return its exit code."""
    from common.pipeline.command import run_job
    from jobs import catalog

    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{asked['place']}.{name}", os.O_WRONLY | os.O_CREAT), number)
    os.environ.update(asked["environment"])
    tempfile.tempdir = None  # asked before TMPDIR was set
    main = importlib.import_module(f"jobs.{asked['job']}.{asked['job']}").main
    for name, given in asked["faults"].items():
        getattr(fault_points, name)(**given)
    return run_job(catalog()[asked["job"]], main, catalog(), asked["words"])


def _forked(asked: dict[str, Any]) -> int:
    if pid := os.fork():
        return pid
    code = 1
    try:
        code = _run(asked)
    except SystemExit as error:
        code = int(error.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def alone(place: Path, job: str, words: Sequence[str]) -> list[str]:
    """The command of a step that is no fork. place: its stdout and stderr go to files of this name."""
    asked = {"job": job, "words": words, "environment": {}, "faults": {}, "place": str(place)}
    return [sys.executable, "-m", "tests.faults.forks", json.dumps(asked)]


def _settled() -> None:
    """The same in every step: fp32 on every processor, and no measuring of it, which takes longer than a training."""
    from common.lm import runtime
    from jobs.finetune import finetune

    vars(finetune)["gemm_peak"] = lambda *_: 1e11
    vars(runtime)["cpu_has_bf16"] = lambda: False


def main() -> None:
    """Import, then fork for each line of stdin. With a word: run that step, here."""
    if len(sys.argv) > 1:
        _settled()
        sys.exit(_run(json.loads(sys.argv[1])))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries say things on stdout
    from jobs import catalog

    for late in LATE:
        importlib.import_module(late)
    catalog()

    _settled()
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        children = [_forked(asked) for asked in json.loads(line)]
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
        print(json.dumps(codes), file=answers, flush=True)


if __name__ == "__main__":
    main()
