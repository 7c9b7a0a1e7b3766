"""The gate on real runs: the committed table is that of the code, and what the documents say of it holds."""

import json

import pytest

from benchmarks import gate_runs
from common.provenance import ROOT
from jobs.gate import items as asked
from jobs.gate.policy import Policy

COMMITTED = json.loads((ROOT / "benchmarks/gate_runs.json").read_bytes())["results"]


def test_the_committed_verdicts_are_those_of_the_code() -> None:
    policy = Policy()
    blocks = asked.blocks(asked.read(None, policy), policy.looks)
    base = gate_runs.base_of(blocks, policy)
    assert base.bound is not None and base.bound.value == COMMITTED["margin"]
    found = gate_runs.runs(gate_runs.Played(base, blocks, policy), ("neutral", "eager"), "reader", None)
    wanted = [run for run in COMMITTED["runs"] if run["arm"] in ("neutral", "eager") and run["read"] == "reader"]
    assert [run._asdict() for run in found] == [pytest.approx(run) for run in wanted]
    assert all(run.control != gate_runs.cell(run.arm, run.seed) for run in found), "no run is its own control"


def test_every_run_ends_once_in_its_line() -> None:
    for row in COMMITTED["rows"]:
        assert row["within"] + row["moved"] + row["undecided"] + row["unable"] == row["runs"] == 8
        assert row["passes_low"] <= row["within"] / 8 <= row["passes_high"]


def test_a_share_has_its_exact_interval() -> None:
    assert gate_runs.share(8, 8) == pytest.approx((0.025 ** (1 / 8), 1))
    assert gate_runs.share(0, 8) == pytest.approx((0, 1 - 0.025 ** (1 / 8)))


def test_neutral_runs_pass_and_positive_controls_are_stopped() -> None:
    by_arm = {(row["arm"], row["control"]): row for row in COMMITTED["rows"] if row["read"] == "reader"}
    for control in ("neutral run", "none"):
        assert by_arm["neutral", control]["within"] == 8
    for arm in ("control-cautious", "control-eager"):
        assert by_arm[arm, "neutral run"]["within"] == 0
