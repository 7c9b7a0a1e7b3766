"""A step that was forked is a process like any other: its exit code, its words, its environment, its end."""

import json
import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from workflows.local.forked import ForkedStep

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent)}


@pytest.fixture(autouse=True)
def toys_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)


def run(module: str, *words: str, **more: str) -> tuple[int, str]:
    with ForkedStep([module, *words], {**ENVIRONMENT, **more}) as step:
        said = step.stderr.read()
        return step.wait(), said


def test_exit_codes_and_words() -> None:
    assert run("jobs.plan", "--help") == (0, "")
    code, said = run("jobs.evaluate", "--nonsense")
    assert code == 2 and "the following arguments are required" in said
    code, said = run("jobs.nonsense")
    assert code == 1 and said.startswith("Traceback") and "No module named jobs.nonsense" in said


def test_it_gets_its_environment_and_its_own_session() -> None:
    code, said = run("toy.timely", "0", "7", WORD="mine")
    assert (code, said.split()) == (7, ["mine", "True", "1"])
    assert run("toy.timely", "0", "0")[1].split()[0] == "None", "the last step's is not kept"


def test_it_can_be_asked_to_stop_and_killed() -> None:
    for end, code in ((lambda step: step.terminate(), -15), (lambda step: os.killpg(step.pid, signal.SIGKILL), -9)):
        clock = time.monotonic()
        with ForkedStep(["toy.timely", "60", "0"], ENVIRONMENT) as step:
            assert step.stderr.readline()
            with pytest.raises(subprocess.TimeoutExpired):
                step.wait(0.1)
            end(step)
            assert step.stderr.read() == "" and step.wait(10) == code
        assert time.monotonic() - clock < 30


def test_steps_run_side_by_side() -> None:
    clock = time.monotonic()
    steps = [ForkedStep(["toy.timely", "3", str(code)], ENVIRONMENT) for code in (0, 3)]
    assert [step.wait() for step in steps] == [0, 3] and time.monotonic() - clock < 5.5
    for step in steps:
        step.__exit__(None, None, None)


def test_what_steps_share_is_one_thread_and_no_deepspeed() -> None:
    code, said = run("toy.shared")
    assert (code, json.loads(said)) == (0, {"torch": True, "deepspeed": False, "threads of the server": 1})


def test_signals_for_the_group_of_the_runner_reach_neither_the_server_nor_a_step() -> None:
    with ForkedStep(["toy.timely", "60", "0"], ENVIRONMENT) as step:
        assert step.stderr.readline()
        server = psutil.Process(step.pid).ppid()
        assert len({os.getpgid(step.pid), os.getpgid(server), os.getpgid(0)}) == 3
        step.terminate()


def test_when_the_server_is_gone_another_is_started() -> None:
    with ForkedStep(["toy.timely", "0", "0"], ENVIRONMENT) as step:
        server = psutil.Process(step.pid).parent()
    assert server is not None
    server.kill()
    while server.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.05)
    assert run("toy.timely", "0", "5")[0] == 5


def test_of_many_threads_that_start_and_wait_each_gets_its_own_code() -> None:
    codes = list(range(1, 41))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda code: run("toy.leave", str(code))[0], codes)) == codes
