"""Follow the checkpoints of a training: all that are there, or each as it comes, until the training is done."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from common.errors import InputError
from common.lm.foreign import names_other_base
from common.lm.load import folder_of
from common.logs import Log
from jobs.monitor.checkpoints import LAYOUT, Checkpoint, Files, NotYet, listing, taken
from jobs.monitor.found import Monitored, judged
from jobs.monitor.measuring import Gauge, Measured
from jobs.monitor.policy import Policy

STOP, DONE = "stop", "done"  # files below --out: written here for the training, and by the training
Clock = Callable[[], float]


@dataclass
class Run:
    """One training and what was measured of it so far."""

    files: Files
    gauge: Gauge
    log: Log
    measured: dict[int, Measured] = field(default_factory=dict)
    waiting: dict[int, str] = field(default_factory=dict)  # number → what is missing
    ignored: list[str] = field(default_factory=list)
    named: str | None = None  # another base, which was told

    def sweep(self, most: int | None = None) -> int:
        """Measure what is there and was not measured yet, up to so many; return how many were.

        Raises: InputError if a checkpoint has only pickled weights, is of another base, or is broken.
        """
        found, new = listing(self.files), 0
        if found.ignored != self.ignored:
            self.ignored = found.ignored
            self.log.event("ignored", folders=found.ignored[:8], count=len(found.ignored), allowed=LAYOUT)
        for number, folder in found.numbered.items():
            if number not in self.measured and new != most:
                new += self._measure(number, folder, found.files[folder])
        self.waiting = {number: why for number, why in self.waiting.items() if number not in self.measured}
        return new

    def _measure(self, number: int, folder: str, names: list[str]) -> bool:
        """Measure one, if it is whole and stays there."""
        try:
            with taken(self.files, folder, names) as checkpoint:
                self._tell_base(checkpoint)
                self.measured[number] = self.gauge.measure(checkpoint, folder)
            self.log.event("measured", checkpoint=number)
            return True
        except NotYet as missing:
            why = str(missing)
        except InputError:
            if folder in self.files.folders():
                raise
            why = "taken away while it was read"  # as save_total_limit does
        if self.waiting.get(number) != why:
            self.log.event("not measured", checkpoint=number, why=why)
        self.waiting[number] = why
        return False

    def _tell_base(self, checkpoint: Checkpoint) -> None:
        """Say once that an adapter names another base; whether it fits, its tensors tell."""
        adapter, source = checkpoint.adapter, self.gauge.spec.source
        if adapter is None or adapter.base == self.named or not names_other_base(adapter, source):
            return
        if names_other_base(adapter, str(folder_of(source))):  # a training may have loaded it from where it is unpacked
            self.log.event("the adapter names another base", named=adapter.base, base=source)
            self.named = adapter.base

    def left_out(self) -> list[str]:
        """What is there and was not measured, and why."""
        waits = [f"checkpoint-{number}: {why}" for number, why in sorted(self.waiting.items())]
        return waits + [f"{name}: not called checkpoint-<number>" for name in self.ignored]


@dataclass
class Follower:
    """A training beside its control, judged by a policy."""

    gauge: Gauge
    base: Measured
    run: Run
    control: Run | None
    policy: Policy

    def there(self) -> Monitored:
        """Measure all that is there. Raises: InputError if there is no checkpoint."""
        self._read_control()
        self.run.sweep()
        if not self.run.measured:
            raise self._empty(self.run)
        return self.judged()

    def watch(
        self,
        out: Path,
        poll_seconds: float,
        idle_minutes: float,
        keep: Callable[[Monitored], None],
        now: Clock = time.monotonic,
        wait: Callable[[float], None] = time.sleep,
    ) -> Monitored:
        """Measure each checkpoint as it comes; end when one is beyond the policy, or nothing more comes.

        keep: is given what was found after each. Raises: InputError if no checkpoint came at all.
        """
        self._read_control()
        last = now()
        while True:
            done = (out / DONE).exists()  # asked before looking: what came before it is seen
            if self.run.sweep(most=1):
                last, found = now(), self.judged()
                keep(found)
                if found.beyond_at is not None:
                    write_stop(out, found)
                    return found
            elif done or now() - last > idle_minutes * 60:
                self.run.log.event("ended", why="the training is done" if done else f"idle for {idle_minutes:g} min")
                break
            else:
                wait(poll_seconds)
        if not self.run.measured:
            raise self._empty(self.run)
        return self.judged()

    def judged(self) -> Monitored:
        """What was measured so far, judged."""
        control = self.control
        places = (self.run.files.address, None if control is None else control.files.address)
        curve = {} if control is None else control.measured
        left_out = self.run.left_out()
        return judged(self.gauge, self.base, self.run.measured, curve, self.policy, places, left_out)

    def _read_control(self) -> None:
        if self.control is not None:
            self.control.sweep()
            if not self.control.measured:
                raise self._empty(self.control)

    def _empty(self, run: Run) -> InputError:
        return InputError(
            "no checkpoint to measure", where=run.files.address, value="; ".join(run.left_out()) or None, allowed=LAYOUT
        )


def write_stop(out: Path, found: Monitored) -> None:
    """Tell the training to stop: one line with the reason."""
    first = next(point for point in found.curve if point.beyond)
    out.mkdir(parents=True, exist_ok=True)
    fresh = out / f".{STOP}.new"  # whoever reads it finds the whole line
    fresh.write_text(f"checkpoint-{first.step}: {'; '.join(first.beyond)}\n", encoding="utf-8")
    fresh.replace(out / STOP)
