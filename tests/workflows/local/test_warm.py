"""A step that was forked is a process like any other: its exit code, its words, its environment, its end."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from workflows.local.warm import Warm

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent)}


@pytest.fixture(scope="module")
def warm() -> Iterator[Warm]:
    made = Warm(ENVIRONMENT)
    yield made
    made.close()


def run(warm: Warm, module: str, *words: str, **more: str) -> tuple[int, str]:
    with warm.start([module, *words], {**ENVIRONMENT, **more}) as step:
        said = step.stderr.read()
        return step.wait(), said


def test_exit_codes_and_words(warm: Warm):
    assert run(warm, "jobs.plan", "--help") == (0, "")
    code, said = run(warm, "jobs.evaluate", "--nonsense")
    assert code == 2 and "the following arguments are required" in said
    code, said = run(warm, "jobs.nonsense")
    assert code == 1 and said.startswith("Traceback") and "No module named jobs.nonsense" in said


def test_it_gets_its_environment_and_its_own_session(warm: Warm):
    code, said = run(warm, "toy.timely", "0", "7", WORD="mine")
    assert (code, said.split()) == (7, ["mine", "True", "1"])
    assert run(warm, "toy.timely", "0", "0")[1].split()[0] == "None", "the last step's is not kept"


def test_it_can_be_asked_to_stop_and_killed(warm: Warm):
    for end, code in ((lambda step: step.terminate(), -15), (lambda step: os.killpg(step.pid, signal.SIGKILL), -9)):
        clock = time.monotonic()
        with warm.start(["toy.timely", "60", "0"], ENVIRONMENT) as step:
            assert step.stderr.readline()
            with pytest.raises(subprocess.TimeoutExpired):
                step.wait(0.1)
            end(step)
            assert step.stderr.read() == "" and step.wait(10) == code
        assert time.monotonic() - clock < 30


def test_steps_run_side_by_side(warm: Warm):
    clock = time.monotonic()
    steps = [warm.start(["toy.timely", "3", str(code)], ENVIRONMENT) for code in (0, 3)]
    assert [step.wait() for step in steps] == [0, 3] and time.monotonic() - clock < 5.5
    for step in steps:
        step.__exit__(None, None, None)


def test_when_it_is_gone_that_is_an_error_to_fall_back_on():
    made = Warm(ENVIRONMENT)
    made._process.kill()
    made._process.wait()
    with pytest.raises(OSError):
        made.start(["jobs.plan", "--help"], ENVIRONMENT)
    made.close()
