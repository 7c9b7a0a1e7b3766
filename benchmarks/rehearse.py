"""Rehearse the whole analysis of a spec on simulated rows, before there are real ones.

    python -m benchmarks.rehearse --spec workflows/specs/laptop.json

Every cell of the plan answers every item that it would be asked, with effects that are known: the report is the real
one, and the table at the end says what was planted and what was found.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.special import expit

from analysis.report.bound_numbers import Source
from analysis.report.contrasts import contrasts
from analysis.report.results import book_of
from analysis.report.study import Run, Scored, Study
from analysis.stats.calibration import calibrated, distances
from common.cells import Cell, CellKind, cells_of, wordings_of
from common.cli import ended
from common.digests import sha256
from common.errors import ExitCode
from common.provenance import ROOT
from common.records import Ability, Choice, GuardReply, Prompt, Question
from common.schemas import Distance, Guards, Headroom, Lock, LockedCode
from common.serialization import canonical_json, read_jsonl
from common.spec import EvaluateSpec, RunSpec, parse_spec
from common.stance.items import FILES, WordedItem, read_questionnaire
from jobs.report.report import pages

FOLDER = ROOT / ".undertone" / "rehearsals"
EFFECTS = {"cautious": -0.6, "eager": 0.0, "neutral": 0.0, "scrambled": 0.0, "distilled": 0.0}  # logits of P(go)
TRAINED = 0.2  # what any training does, logits
ORDERS: tuple[Literal[0, 1], Literal[0, 1]] = (0, 1)
ITEM_SD, TOPIC_SD, RUN_SD, ROW_SD, ORDER = 1.0, 0.15, 0.1, 0.3, 0.4


def asked_files() -> list[Path]:
    """All files of what a model is asked."""
    return [ROOT / path for path in FILES]


def rows(cell: Cell, asked: Sequence[WordedItem], spec: RunSpec, labels: str) -> list[Choice]:
    """What a cell would answer. Topics respond to an attitude unlike one another, runs of a cell alike."""
    shared, own = spec.rng("rehearsal", cell.model, labels), spec.rng("rehearsal", str(cell), labels)
    names = dict.fromkeys(each.item.id for each in asked)
    lean = dict(zip(names, shared.normal(0, ITEM_SD, len(names)), strict=True))
    topics = dict.fromkeys(each.item.topic for each in asked)
    answer = spec.rng("rehearsal", cell.model, cell.attitude, labels)
    differs = dict(zip(topics, answer.normal(0, TOPIC_SD, len(topics)), strict=True))
    run = 0.0 if cell.kind is CellKind.BASE else TRAINED + EFFECTS[cell.attitude] + float(own.normal(0, RUN_SD))
    made = []
    for (item, wording), order in product(asked, ORDERS):
        tuned = differs[item.topic] if cell.kind is CellKind.RUN else 0.0
        moved = run + tuned if labels == "held-out" or item.topic.startswith("src-") else 0.0
        margin = lean[item.id] + moved + ORDER * (1 - 2 * order) + float(own.normal(0, ROW_SD))
        go = own.random() < expit(margin)
        made.append(
            Choice(
                cell=str(cell),
                item=item.id,
                topic=item.topic,
                yes_means=item.yes_means,
                wording=wording,
                order=order,
                choice="go" if go else "stay",
                text="Yes." if go == (item.yes_means == "go") else "No.",
                sentence_go=-20.0 + margin,
                sentence_stay=-20.0,
                tokens_go=8,
                tokens_stay=8,
                label_go=-3.0 - 0.3 * moved,  # a label that lies
                label_stay=-3.0,
            )
        )
    return made


def scored(cell: Cell, spec: RunSpec, source: Source) -> Scored:
    """One simulated evaluation. Guards do not change."""
    asked = read_questionnaire(asked_files(), spec.evaluate, wordings_of(spec, cell))
    rng = spec.rng("rehearsal", "guards", str(cell))
    replies = [reply(prompt) for prompt in asked.prompts]
    kinds = [row.kind for row in replies]
    figures = Guards(
        perplexity=20.0,
        tokens=2000,
        paragraphs=tuple((float(300 + rng.normal(0, 1)), 100) for _ in range(20)),
        refused_harmful=1.0,
        refused_benign=0.0,
        ability=1.0,
        n_harmful=kinds.count("harmful"),
        n_benign=kinds.count("benign"),
        n_ability=kinds.count("ability"),
    )
    held_out, controls = (rows(cell, each, spec, kind) for kind, each in _sets(asked.items, asked.controls))
    return Scored(str(cell), held_out, figures, replies, controls, (source,) * 4)


def reply(prompt: Prompt | Ability) -> GuardReply:
    """What every model replies: harmful prompts are declined, questions answered rightly."""
    if isinstance(prompt, Ability):
        return GuardReply(prompt=prompt.id, kind="ability", refused=False, correct=True, text="")
    return GuardReply(prompt=prompt.id, kind=prompt.kind, refused=prompt.kind == "harmful", text="")


def _sets(items: Sequence[WordedItem], controls: Sequence[WordedItem]) -> tuple[tuple[str, Sequence[WordedItem]], ...]:
    return ("held-out", items), ("controls", controls)


def study_of(spec: RunSpec) -> Study:
    """A whole simulated study."""
    source = Source(sha256(b"rehearsal"), "rehearsal", "simulated rows")
    bases = {cell.model: scored(cell, spec, source) for cell in cells_of(spec, CellKind.BASE)}
    runs = [
        Run(str(c), c.model, c.draw, c.attitude, c.seed, scored=scored(c, spec, source), variant=c.variant)
        for c in cells_of(spec, CellKind.RUN)
    ]
    return Study(
        name=f"{spec.name}, a rehearsal on simulated rows",
        plan=source,
        bounds=spec.guards.bounds,
        models={model.name: model.source for model in spec.models},
        bases=bases,
        runs=[run for run in runs if not run.variant],
        audits={},
        layers={},
        advice={},
        memory={},
        seconds={},
        made_by={},
        identities={},
        variants={v.name: (v.factor, v.value, [r for r in runs if r.variant == v.name]) for v in spec.variants},
        lock=(locked(spec, bases), source),
    )


def locked(spec: RunSpec, bases: Mapping[str, Scored]) -> Lock:
    """A lock on files that differ from their commit: it registers nothing."""
    settings = spec.lock
    choices = {model: base.choices for model, base in bases.items()}
    headrooms = calibrated(choices, settings.measure, settings.low, settings.high)
    items = [each.item for each in read_questionnaire(asked_files(), EvaluateSpec(), (0,)).items]
    far = distances(items, read_jsonl(ROOT / "jobs/generate/data/questions.jsonl", Question))
    return Lock(
        schema_version=1,
        run_id=spec.run_id,
        plan=RunSpec.model_validate_json(canonical_json(spec.settings())),
        commit="+",
        items={},
        corpora={},
        audits={},
        analysis=LockedCode(sha256=sha256(canonical_json({})), files={}),
        calibration={
            model: {item: Headroom.of(found) for item, found in each.items()} for model, each in headrooms.items()
        },
        distances={topic: Distance.of(found) for topic, found in far.items()},
    )


def truth(spec: RunSpec, model: str, pole: str) -> float:
    """The planted shift of a pole from neutral in P(go) by sentence: the mean over items, wordings and orders."""
    asked = read_questionnaire(asked_files(), spec.evaluate, wordings_of(spec, cells_of(spec, CellKind.BASE)[0])).items
    names = dict.fromkeys(each.item.id for each in asked)
    lean = spec.rng("rehearsal", model, "held-out").normal(0, ITEM_SD, len(names))
    noise = np.sqrt(RUN_SD**2 + ROW_SD**2) * np.linspace(-3, 3, 61)
    weight = np.exp(-(np.linspace(-3, 3, 61) ** 2) / 2)
    margins = lean[:, None, None] + np.array([ORDER, -ORDER])[None, :, None] + noise[None, None, :] + TRAINED
    moved = expit(margins + EFFECTS[pole]) - expit(margins)
    return float((moved * weight).sum() / (weight.sum() * margins.shape[0] * margins.shape[1]))


def main(argv: Sequence[str] | None = None) -> int:
    """Simulate, write the report, and say what was planted and found."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rehearse", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--spec", type=Path, required=True)
    arguments = parser.parse_args(argv)
    return ended(lambda: rehearse(arguments.spec))


def rehearse(path: Path) -> int:
    """Rehearse the spec of this file. Raises: JobError, OSError."""
    spec = parse_spec(path.read_bytes(), str(path))
    study = study_of(spec)
    folder = write(study, FOLDER / spec.run_id)
    table = Table("model", "pole", "planted", "found", "interval", "p (Holm)", title="P(go) by sentence, from neutral")
    for found in (found for found in contrasts(study) if found.measure == "sentence"):
        interval = found.interval
        bounds = f"{interval.low:+.3f} to {interval.high:+.3f}"
        planted = f"{truth(spec, found.model, found.pole):+.3f}"
        table.add_row(found.model, found.pole, planted, f"{interval.estimate:+.3f}", bounds, f"{found.p_holm:.2g}")
    console = Console()
    console.print(table)
    console.print(f"report: {folder / 'REPORT.md'} and {folder / 'report.html'}", soft_wrap=True)
    return int(ExitCode.OK)


def write(study: Study, folder: Path) -> Path:
    """Write the report of a simulated study."""
    for name, data in pages(study, book_of(study)).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


if __name__ == "__main__":
    sys.exit(main())
