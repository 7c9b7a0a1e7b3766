"""What is recorded of fuzzing adds up over runs, and begins anew where the code is another."""

import json
from pathlib import Path

import pytest

from benchmarks import fuzz
from common.provenance import ROOT
from tests.faults.readers import READERS


def test_runs_of_the_same_code_add_up_and_those_of_other_code_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuzz, "PLACE", tmp_path)
    said = ["#9 INITED cov: 40 ft: 1\n#99 DONE   cov: 47 ft: 1\n"] * 2
    asked = []

    def run(_name: str, place: Path, inputs: int, _seconds: float) -> tuple[str, int]:
        asked.append(inputs)
        told = dict.fromkeys(fuzz.NUMBERS, 10) | {"slowest_seconds": 0.5, "faults": ["KeyError at x.py:1: 'a'"]}
        (place / "now.json").write_text(json.dumps(told))
        return said.pop(0), 0

    monkeypatch.setattr(fuzz, "_run", run)
    for _ in range(2):
        fuzz._fuzz("rows", "code", 100, 1.0)
    row = fuzz._noted("rows", "code")
    assert asked == [100, 90] and (row["inputs"], row["seconds"], row["slowest_seconds"]) == (20, 20, 0.5)
    found = fuzz.summary([row, fuzz._noted("spec", "code")])
    assert (found["inputs"], found["fewest_inputs"], found["faults"]) == (20, 0, 1)
    assert found["rows"][0]["new_edges"] == 7 and found["rows"][0]["inputs_a_second"] == 1
    assert fuzz._noted("rows", "other code")["inputs"] == 0


def test_a_process_that_dies_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "PLACE", tmp_path)

    def run(_name: str, place: Path, _inputs: int, _seconds: float) -> tuple[str, int]:
        (place / "now.json").write_text(json.dumps(dict.fromkeys(fuzz.NUMBERS, 1) | {"faults": []}))
        return "#5 INITED cov: 40 ft: 1\nlibFuzzer: timeout", 70

    monkeypatch.setattr(fuzz, "_run", run)
    fuzz._fuzz("rows", "code", 100, 1.0)
    assert fuzz._noted("rows", "code")["faults"] == ["the process ended with 70: libFuzzer: timeout"]


def test_code_is_what_is_fuzzed_and_all_that_fuzzes_it() -> None:
    assert all((ROOT / part).exists() for part in fuzz.CODE) and len(READERS) == 36
