"""What a run will take."""

import pytest

from workflows.local.forecast import Forecast


def test_a_forecast_multiplies_what_is_left_by_what_such_steps_took() -> None:
    each = {"finetune": 90.0, "evaluate": 60.0, "lock": None, "plan": None}
    made = Forecast({"finetune": 80, "evaluate": 81, "lock": 1, "plan": 0}, each)
    assert made.minutes(2) == pytest.approx((80 * 90 + 81 * 60) / 2 / 60)
    line = made.line(2)
    assert (
        "80 finetune x 90 s" in line and "about 100 min with 2 at once" in line and "lock: not timed here yet" in line
    )
    assert "plan" not in line


def test_a_forecast_of_nothing_says_so() -> None:
    assert Forecast({"finetune": 0}, {"finetune": None}).line(2) == "nothing to do: every step is sealed"


def test_where_nothing_was_ever_timed_no_time_is_told() -> None:
    line = Forecast({"finetune": 2, "lock": 1}, {"finetune": None, "lock": None}).line(2)
    assert line == "left: 2 finetune, 1 lock; how long that takes is known once a step of each has ended"
