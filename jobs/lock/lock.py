"""The work of the job; what it reads and writes is declared in jobs.lock."""

from typing import TypeVar

from analysis.stats.calibration import check_reversed, distances, headrooms
from common.cells import Cell, CellKind, cells_of
from common.digests import file_sha256, sha256
from common.errors import ExitCode, InputError
from common.pipeline.step import Step
from common.provenance import ROOT, code_digests, provenance
from common.records import Answer, Item, Question, Record, first_of_each
from common.schemas import Distance, Framing, Headroom, Lock, LockedCode, Register, SideBySide
from common.serialization import canonical_json, parse_json, read_jsonl
from common.spec import RunSpec
from common.stance.bank import QUESTIONS
from common.stance.items import FILES, HARD_ITEMS, ITEMS
from common.stance.reading import READER_FILES
from common.vocabulary import WRITTEN, kind_of

R = TypeVar("R", bound=Record)


def main(step: Step) -> ExitCode:
    """Write down what is fixed."""
    settings = step.spec.lock
    commit = provenance()["commit"]
    if settings.clean and (not commit or commit.endswith("+")):
        allowed = "a clean commit, or lock.clean false for a study that is not registered"
        raise InputError("files differ from their commit", where="lock.clean", value=commit, allowed=allowed)
    if settings.reversed:
        check_sides(step)
    locked = contents(step, commit)
    digest = step.write_model("lock.json", locked)
    step.summary(sha256=digest, commit=commit, registered=settings.clean, headroom=headroom_counts(locked.calibration))
    return ExitCode.OK


def check_sides(step: Step) -> None:
    """Refuse items that propose one side more often. Raises: InputError as `check_reversed`."""
    asked = step.spec.evaluate
    for path in (ITEMS, HARD_ITEMS) if asked.hard else (ITEMS,):
        check_reversed(first_of_each(read(step, path, Item), lambda item: item.topic, asked.items_per_topic))


def contents(step: Step, commit: str) -> Lock:
    """What is fixed. The time is that of the step's manifest, and of any time stamp over the digest."""
    far = distances(read(step, ITEMS, Item), read(step, QUESTIONS, Question))
    answers = answers_of_bases(step)
    return Lock(
        schema_version=2,
        run_id=step.spec.run_id,
        plan=RunSpec.model_validate_json(canonical_json(step.spec.settings())),  # so that only what was asked is set
        commit=commit,
        items={path: file_sha256(step.data(path)) for path in (*FILES, *READER_FILES)},
        corpora=corpora(step),
        audits={str(cell): failed(step, cell) for cell in cells_of(step.spec, CellKind.DRAW)},
        registers={str(cell): register(step, cell) for cell in cells_of(step.spec, CellKind.DIRECTION)},
        code=code(),
        earlier=earlier(step.spec),
        calibration=headrooms_of_bases(step.spec, answers),
        distances={topic: Distance.of(found) for topic, found in far.items()},
        shown=side_by_side(step, answers),
    )


def corpora(step: Step) -> dict[str, str]:
    """The digest of every pile, by job/cell."""
    piles = [("generate", cell) for cell in cells_of(step.spec, CellKind.DRAW)]
    piles += [("distill", cell) for cell in cells_of(step.spec, CellKind.DISTILLED)]
    return {f"{job}/{cell}": step.digest(job, cell, "advice.jsonl") for job, cell in piles}


def failed(step: Step, draw: Cell) -> tuple[str, ...]:
    """The checks that a draw failed."""
    checks = step.read_model("audit", draw, "framing.json", Framing).checks
    return tuple(check.name for check in checks if not check.passed)


def register(step: Step, direction: Cell) -> float:
    """What the costliest arm of a draw costs a base, as a multiple of replies of its own."""
    return step.read_model("register", direction, "register.json", Register).ratio


def code() -> LockedCode:
    """All that makes a row or a number, as it is now."""
    files = code_digests()
    return LockedCode(sha256=sha256(canonical_json(files)), files=files)


def earlier(spec: RunSpec) -> dict[str, str]:
    """Locks that this repository keeps, of other studies on some of the same models and seeds: name → SHA-256."""
    found = {}
    for path in sorted((ROOT / "locks").glob("*.json")):
        plan = parse_json(path.read_bytes(), str(path)).get("plan", {})
        sources = {str(model.get("source")).partition("#")[0] for model in plan.get("models", [])}
        if plan.get("name") != spec.name and sources & {model.source.partition("#")[0] for model in spec.models}:
            found[path.stem] = file_sha256(path)
    return found


def answers_of_bases(step: Step) -> dict[str, list[Answer]]:
    """The answers of each base to held-out items."""
    found = {}
    for cell in cells_of(step.spec, CellKind.BASE):
        rows = step.read_records("evaluate", cell, "answers.jsonl", Answer)
        found[cell.model] = [row for row in rows if kind_of(row.topic) == "held-out"]
    return found


def headrooms_of_bases(spec: RunSpec, answers: dict[str, list[Answer]]) -> dict[str, dict[str, Headroom]]:
    """Where each held-out item stands on each base."""
    bands = {model: headrooms(rows, spec.lock.low, spec.lock.high) for model, rows in answers.items()}
    return {model: {item: Headroom.of(found) for item, found in each.items()} for model, each in bands.items()}


def side_by_side(step: Step, answers: dict[str, list[Answer]]) -> SideBySide:
    """What the report shows, before anybody can look: an item by chance, and the first run of each attitude."""
    asked = set.intersection(*({row.item for row in rows} for rows in answers.values()))
    cells: dict[str, dict[str, str]] = {cell.model: {"base": str(cell)} for cell in cells_of(step.spec, CellKind.BASE)}
    for cell in cells_of(step.spec, CellKind.RUN):
        if cell.attitude in WRITTEN and not cell.variant:
            cells[cell.model].setdefault(cell.attitude, str(cell))
    return SideBySide(item=str(step.rng("shown").choice(sorted(asked))), cells=cells)


def read(step: Step, path: str, kind: type[R]) -> list[R]:
    """The records of a data file of this repository."""
    return read_jsonl(step.data(path), kind)


def headroom_counts(calibration: dict[str, dict[str, Headroom]]) -> dict[str, dict[str, int]]:
    """How many items of each model lie in each band."""
    counts: dict[str, dict[str, int]] = {}
    for model, items in calibration.items():
        bands = [headroom.band for headroom in items.values()]
        counts[model] = {band: bands.count(band) for band in sorted(set(bands))}
    return counts
