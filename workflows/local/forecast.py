"""What a run would do, and how long that takes judged by steps that the store holds. Runs nothing."""

import contextlib
import statistics
from typing import NamedTuple

from rich.table import Table

from common.cells import Cell
from common.errors import InputError
from common.pipeline.job import Catalog
from common.pipeline.keys import Keys
from common.spec import RunSpec
from common.store.sealed import ArtifactStore

STEPS_TO_TIME = 40  # sealed steps of a job that a forecast looks at


def steps_of(spec: RunSpec, jobs: Catalog) -> dict[str, list[Cell]]:
    """Every step of a spec: job → its cells."""
    return {job.name: list(job.cells(spec)) for job in jobs.values()}


def dry_run(spec: RunSpec, jobs: Catalog, store: ArtifactStore) -> Table:
    """Every step of a spec: its key, and whether it is sealed. Raises: InputError for a damaged manifest."""
    keys = Keys(spec, jobs, store)
    table = Table("job", "cell", "key", "state", title=f"{spec.run_id}: nothing is run")
    for job, cells in steps_of(spec, jobs).items():
        for cell in cells:
            key = keys.key(job, cell)
            table.add_row(job, str(cell), key[:12], "sealed" if store.manifest(job, key) else "to do")
    return table


class Forecast(NamedTuple):
    """What a run will take, judged by steps that this store holds."""

    to_do: dict[str, int]  # job → steps that are not sealed
    each: dict[str, float | None]  # job → median seconds of its sealed steps of any study; None where there is none

    def minutes(self, at_once: int) -> float:
        """Minutes with so many processes, without the jobs that nothing is known of."""
        return sum(count * (self.each[job] or 0) for job, count in self.to_do.items()) / at_once / 60

    def line(self, at_once: int) -> str:
        """For people."""
        if not (waiting := {job: count for job, count in self.to_do.items() if count}):
            return "nothing to do: every step is sealed"
        unknown = [job for job in waiting if self.each[job] is None]
        known = {job: "" if (each := self.each[job]) is None else f" x {each:.0f} s" for job in waiting}
        steps = ", ".join(f"{count} {job}{known[job]}" for job, count in waiting.items())
        if len(unknown) == len(waiting):
            return f"left: {steps}; how long that takes is known once a step of each has ended"
        time_left = f"about {max(1, round(self.minutes(at_once)))} min with {at_once} at once"
        return f"left: {steps}; {time_left}" + (f", and {', '.join(unknown)}: not timed here yet" if unknown else "")


def forecast(spec: RunSpec, jobs: Catalog, store: ArtifactStore) -> Forecast:
    """Count what is not sealed, and look up how long such steps took."""
    keys, to_do, each = Keys(spec, jobs, store), dict[str, int](), dict[str, float | None]()
    for job, cells in steps_of(spec, jobs).items():
        to_do[job] = sum(not _is_sealed(store, job, keys.key(job, cell)) for cell in cells)
        times = _times(store, job) if to_do[job] else []
        each[job] = statistics.median(times) if times else None
    return Forecast(to_do, each)


def _is_sealed(store: ArtifactStore, job: str, key: str) -> bool:
    try:
        return store.manifest(job, key) is not None
    except InputError:  # a damaged manifest is told by the step itself
        return False


def _times(store: ArtifactStore, job: str) -> list[float]:
    with contextlib.suppress(InputError):
        return [manifest["seconds"] for manifest in store.manifests(job, STEPS_TO_TIME, ("seconds",))]
    return []
