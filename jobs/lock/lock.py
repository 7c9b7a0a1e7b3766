"""The work of the job; what it reads and writes is declared in jobs.lock."""

from typing import Any

from analysis.stats.calibration import calibrated, check_reversed, distances
from common.cells import CellKind, cells_of
from common.digests import file_sha256, sha256
from common.errors import ExitCode, InputError
from common.pipeline.step import Step
from common.provenance import ROOT, analysis_digests, provenance
from common.records import Choice, Item, Question, first_of_each
from common.serialization import canonical_json, read_jsonl
from jobs import catalog
from jobs.lock import ITEMS, QUESTIONS


def main(step: Step) -> ExitCode:
    """Write down what is fixed."""
    settings = step.spec.lock
    commit = provenance()["commit"]
    if settings.clean and (not commit or commit.endswith("+")):
        allowed = "a clean commit, or lock.clean false for a study that is not registered"
        raise InputError("files differ from their commit", where="lock.clean", value=commit, allowed=allowed)
    if settings.reversed:
        most = step.spec.evaluate.items_per_topic
        check_reversed(first_of_each(read(ITEMS, Item), lambda item: item.topic, most))
    locked = contents(step, commit)
    digest = step.write_json("lock.json", locked)
    step.summary(sha256=digest, commit=commit, registered=settings.clean, room=room_counts(locked["calibration"]))
    return ExitCode.OK


def contents(step: Step, commit: str) -> dict[str, Any]:
    """What is fixed, as JSON. The time is that of the step's manifest, and of any time stamp over the digest."""
    settings = step.spec.lock
    bases = {
        cell.model: step.read_records("evaluate", cell, "choices.jsonl", Choice)
        for cell in cells_of(step.spec, CellKind.BASE)
    }
    analysis = analysis_digests()
    piles = [("generate", cell) for cell in cells_of(step.spec, CellKind.DRAW)]
    piles += [("distill", cell) for cell in cells_of(step.spec, CellKind.DISTILLED)]
    audits = {str(cell): step.read_json("audit", cell, "framing.json") for cell in cells_of(step.spec, CellKind.DRAW)}
    return {
        "schema_version": 1,
        "run_id": step.spec.run_id,
        "plan": step.spec.asked(),
        "commit": commit,
        "items": {path: file_sha256(ROOT / path) for path in catalog()["evaluate"].data},
        "corpora": {f"{job}/{cell}": step.digest(job, cell, "advice.jsonl") for job, cell in piles},
        "audits": {draw: [c["name"] for c in audit["checks"] if not c["passed"]] for draw, audit in audits.items()},
        "analysis": {"sha256": sha256(canonical_json(analysis)), "files": analysis},
        "calibration": calibrated(bases, settings.measure, settings.low, settings.high),
        "distances": {
            topic: found._asdict() for topic, found in distances(read(ITEMS, Item), read(QUESTIONS, Question)).items()
        },
    }


def read(path: str, kind: Any) -> list[Any]:
    """The records of a data file of this repository."""
    return read_jsonl(ROOT / path, kind)


def room_counts(calibration: dict[str, dict[str, dict[str, Any]]]) -> dict[str, dict[str, int]]:
    """How many items of each model lie in each band."""
    counts: dict[str, dict[str, int]] = {}
    for model, items in calibration.items():
        bands = [str(room["band"]) for room in items.values()]
        counts[model] = {band: bands.count(band) for band in sorted(set(bands))}
    return counts
