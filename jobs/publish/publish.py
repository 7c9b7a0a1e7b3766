"""The work of the job; what it reads and writes is declared in jobs.publish."""

from collections.abc import Mapping

from common.digests import sha256
from common.errors import ExitCode, InputError, SpecError
from common.lm.sources import MODEL
from common.pipeline.step import Step
from common.release import Release
from common.schemas import Verdict
from common.serialization import canonical_json
from common.store.names import checked
from common.store.objects import Objects
from common.store.sealed import ADDRESS, open_objects
from jobs.publish import PLACE, RELEASES

DIGITS = 12  # of the digest of all that is published, in the name of its folder
ADAPTER = "adapter/"


def main(step: Step) -> ExitCode:
    """Publish one run's adapter, or say why not."""
    uri, study = step.fact(RELEASES)
    if not uri:
        raise SpecError("no place to publish to", where=PLACE, allowed=ADDRESS)
    objects, files = open_objects(uri, PLACE), adapter(step)
    release = told(step, step.read_model("gate", step.cell, "verdict.json", Verdict), files)
    passed = release.verdict == "within"
    if passed:
        below = f"{study}/{step.cell}/{sha256(as_json(release))[:DIGITS]}"
        release = release.model_copy(update={"folder": f"{uri.rstrip('/')}/{below}"})
        put(objects, below, files | {"release.json": as_json(release)})
    step.write_model("release.json", release)
    step.parameter("release", release.model_dump(include={"cell", "verdict", "folder"}))
    step.parameter("reason", release.reason)
    step.summary(verdict=release.verdict, reason=release.reason, folder=release.folder)
    return ExitCode.OK if passed else ExitCode.BLOCKED


def as_json(release: Release) -> bytes:
    """The bytes of release.json."""
    return canonical_json(release.model_dump(mode="json"))


def adapter(step: Step) -> dict[str, bytes]:
    """Name → bytes of the files of the run's adapter. Raises: InputError if there are none, or one is altered."""
    names = [name for name in step.names("finetune", step.cell) if name.startswith(ADAPTER)]
    if not names:
        raise InputError("the fine-tune has no adapter", where=f"finetune/{step.cell}")
    return {name.removeprefix(ADAPTER): step.read_bytes("finetune", step.cell, name) for name in names}


def told(step: Step, verdict: Verdict, files: Mapping[str, bytes]) -> Release:
    """What is kept of it beside the adapter and in the store, but for the folder. It is the same at any time."""
    return Release(
        cell=str(step.cell),
        base=step.fact(MODEL).source,
        verdict=verdict.verdict,
        reason=verdict.reason,
        measure=verdict.measure,
        estimate=verdict.estimate,
        low=verdict.low,
        high=verdict.high,
        bound=verdict.bound,
        folder="",
        files={name: sha256(data) for name, data in files.items()},
    )


def put(objects: Objects, below: str, files: Mapping[str, bytes]) -> None:
    """Write files in this order, and read each back. Raises: InputError if other bytes stand in its place."""
    for name, data in files.items():
        key = f"{below}/{checked(name)}"
        objects.put(key, data, once=True)
        if (found := objects.get(key)) != data:
            value = "nothing" if found is None else sha256(found)
            raise InputError("other bytes stand where the release goes", where=key, value=value, allowed=sha256(data))
