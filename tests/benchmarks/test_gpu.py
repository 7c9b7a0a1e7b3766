"""The benchmark of a GPU, at a tiny size on the CPU."""

import json
import subprocess
import sys

import pytest

from benchmarks import gpu
from common.provenance import ROOT

pytestmark = pytest.mark.long


def test_a_turn_trains_and_tells_speed_utilisation_and_memory() -> None:
    words = [sys.executable, "-m", "benchmarks.gpu", "--tiny", "--one", "tiny", "--batches", "4"]
    made = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    figures = json.loads(made.stdout.splitlines()[-1])
    assert figures["tokens a second"] > 0 and 0 < figures["model-FLOP utilisation"] < 1
    assert figures["memory, GiB"] > 0.1


def test_what_fails_or_has_no_time_is_said_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(words: list[str], **given: float) -> subprocess.CompletedProcess[str]:
        if "64" in words:
            raise subprocess.TimeoutExpired(words, given["timeout"])
        if "broken" in words:
            return subprocess.CompletedProcess(words, 137, "")
        return subprocess.CompletedProcess(words, 0, 'noise\n{"tokens a second": 7.0}\n')

    monkeypatch.setattr(subprocess, "run", run)
    assert gpu.measure({"whole": {}, "broken": {}}, [8, 64], 1.0) == {
        "whole, batches of 8: tokens a second": 7.0,
        "whole, batches of 64": "no time left",
        "broken, batches of 8": "ended with exit code 137",
        "broken, batches of 64": "no time left",
    }
