"""How long a job will take, told before it starts: one pass is timed, and the others are counted."""

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple


class Budget(NamedTuple):
    """What the parts of a job will take, seconds."""

    parts: dict[str, float]

    @classmethod
    def measured(cls, one_pass: Callable[[], object], passes: Mapping[str, float]) -> "Budget":
        """From the time of one pass, made once here, and how many such passes each part is worth."""
        clock = time.perf_counter()
        one_pass()
        seconds = time.perf_counter() - clock
        return cls({name: number * seconds for name, number in passes.items()})

    def told(self, steps: int) -> dict[str, object]:
        """For the log: this step and all such steps on one model in minutes, the parts of this one in seconds."""
        minutes = sum(self.parts.values()) / 60
        return {
            "minutes": round(minutes, 1),
            "minutes_of_all_steps": round(minutes * steps, 1),
            "seconds": {name: round(seconds) for name, seconds in self.parts.items()},
        }
