"""A budget is one pass that was timed, times the passes of each part."""

import time

import pytest

from common.lm.budget import Budget


def test_a_budget_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 13.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    made: list[int] = []
    found = Budget.measured(lambda: made.append(1), {"grid": 20.0, "answers": 0.5})
    assert made == [1] and found.parts == {"grid": 60.0, "answers": 1.5}
    assert found.told(4) == {"minutes": 1.0, "minutes_of_all_steps": 4.1, "seconds": {"grid": 60, "answers": 2}}
