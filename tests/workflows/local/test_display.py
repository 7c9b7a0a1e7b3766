"""What a person sees while a run goes on: a line a stage, a time left that is learnt, failures with their word."""

import io
import re

import pytest
from rich.console import Console

from workflows.local import display
from workflows.local.display import Done, Learning, Screen
from workflows.local.forecast import Forecast

FORECAST = Forecast({"finetune": 4, "lock": 1, "gate": 0}, {"finetune": 100.0, "lock": None, "gate": None})
STEPS = {"finetune": 6, "lock": 1, "gate": 0}


def ended(stage: str, seconds: float, code: int = 0, reused: bool = False, last: str = "") -> Done:
    return Done(stage, "m.d0.eager.s0", code, reused, seconds, 0, None, last)


def test_the_time_left_is_learnt_from_the_steps_of_this_run() -> None:
    learning = Learning(FORECAST, at_once=2)
    assert learning.seconds("finetune") == 4 * 100 / 2 and learning.seconds("lock") is None
    learning.ended(ended("finetune", 20.0))
    assert learning.seconds("finetune") == 3 * 20 / 2, "this run is nearer than an earlier one"
    learning.ended(ended("finetune", 40.0))
    assert learning.seconds("finetune") == 2 * 30 / 2 and learning.seconds("finetune", under_way=0.5) == 1.5 * 30 / 2
    learning.ended(ended("finetune", 1.0, reused=True))
    learning.ended(ended("finetune", 1.0, code=1))
    assert learning.seconds("finetune") == 1 * 30 / 2, "what failed or was reused tells nothing of the others"


def test_the_time_left_in_words() -> None:
    learning = Learning(FORECAST, at_once=1)
    assert [learning.words(stage) for stage in ("finetune", "lock", "gate")] == [
        *("7 min left", "known after the first", "done")
    ]


@pytest.fixture(params=[True, False], ids=["terminal", "plain"])
def screen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[Screen, io.StringIO, bool]:
    out = io.StringIO()
    made = Console(file=out, force_terminal=request.param, width=120, highlight=False)
    monkeypatch.setattr(display, "Console", lambda **_: made)
    return Screen(STEPS, FORECAST, 2), out, request.param


def test_a_terminal_gets_a_line_a_stage_and_all_else_a_line_a_step(screen: tuple[Screen, io.StringIO, bool]) -> None:
    shown, out, terminal = screen
    with shown:
        shown.progress("finetune m.d0.eager.s0", 1, 2)
        shown.finished(ended("finetune", 20.0))
        shown.finished(ended("lock", 0.0, reused=True))
        shown.finished(ended("finetune", 3.0, code=1, last="out of [red]disk"))
    text = out.getvalue()
    assert "exit 1: out of [red]disk" in text, "a failure is told with its last line, whatever it holds"
    assert bool(re.search(r"finetune m\.d0\.eager\.s0 +20 s\n", text)) != terminal
    assert ("2/6" in text and "left" in text) == terminal
    assert "gate" not in text, "a stage without steps has no line"
    assert "reused" not in text
