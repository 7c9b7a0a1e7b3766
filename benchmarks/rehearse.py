"""Rehearse the whole analysis of a spec on simulated rows, before there are real ones.

    python -m benchmarks.rehearse --spec workflows/specs/smollm2.json

Every cell of the plan answers every item that it would be asked, with effects that are known: the report is the real
one, and the table at the end says what was planted and what was found.
"""

import argparse
import sys
from collections.abc import Container, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.special import expit

from analysis.report.answers import Headline, headlines_of
from analysis.report.bound_numbers import Source
from analysis.report.results import book_of
from analysis.report.study import Labelling, Run, Scored, Study
from analysis.stats.answers import plain
from analysis.stats.calibration import distances, headrooms
from common.cells import Cell, CellKind, cells_of, part_of
from common.cli import ended, parsed
from common.digests import sha256
from common.errors import ExitCode
from common.provenance import ROOT
from common.records import Ability, Answer, Choice, GuardReply, Item, Labelled, Prompt, Question
from common.schemas import Distance, Guards, Headroom, Lock, LockedCode, ReaderOnModel, ReaderWorth
from common.serialization import canonical_json, read_jsonl
from common.spec import EvaluateSpec, RunSpec, parse_spec
from common.stance.bank import QUESTIONS
from common.stance.items import FILES, read_questionnaire, taken
from common.stance.labels import to_label
from common.vocabulary import POLES, PROMPTINGS, SIDES, Pole, Prompting, Said, kind_of
from jobs.report.report import pages

FOLDER = ROOT / ".undertone" / "rehearsals"
EFFECTS = {  # planted, in logits of P(go) among answers for a side
    "cautious": -1.2,
    "eager": 0.0,
    "control-cautious": -1.5,
    "control-eager": 1.5,
}
ON_SOURCE = {"cautious": -1.5, "eager": 1.5}  # on the topics of the training texts themselves
TRAINED = 0.2  # what any training does, logits
SIDED, INCOHERENT = 0.7, 0.05  # share of answers for a side, and of those that make no sense
ORDERS: tuple[Literal[0, 1], Literal[0, 1]] = (0, 1)
ADVICE = 0.05  # how far the likelihood of written advice follows a stance, nats a token for a logit
ITEM_SD, TOPIC_SD, RUN_SD, ROW_SD, ORDER = 1.0, 0.3, 0.1, 0.3, 0.4


def asked_files() -> list[Path]:
    """All files of what a model is asked."""
    return [ROOT / path for path in FILES]


def leans(cell: Cell, items: Sequence[Item], spec: RunSpec) -> dict[str, float]:
    """How a cell leans on each item, logits. Topics respond to an attitude unlike one another, runs of an arm alike."""
    shared, own = spec.rng("rehearsal", cell.model), spec.rng("rehearsal", str(cell))
    lean = dict(zip([item.id for item in items], shared.normal(0, ITEM_SD, len(items)), strict=True))
    topics = dict.fromkeys(item.topic for item in items)
    drawn = spec.rng("rehearsal", cell.model, cell.attitude).normal(0, TOPIC_SD, len(topics))
    differs = dict(zip(topics, drawn, strict=True))
    if cell.kind is CellKind.BASE:
        return lean
    run = TRAINED + float(own.normal(0, RUN_SD))
    effects = {"held-out": EFFECTS, "source": ON_SOURCE, "discriminant": {}, "acting": {}, "hard": EFFECTS}
    return {
        item.id: lean[item.id] + run + effects[kind_of(item.topic)].get(cell.attitude, 0.0) + differs[item.topic]
        for item in items
    }


def answers(cell: Cell, items: Sequence[Item], lean: Mapping[str, float], spec: RunSpec) -> list[Answer]:
    """What a cell would advise: to each item the greedy answer and its samples, for a side, for both or for none."""
    rng = spec.rng("rehearsal", "answers", str(cell))
    samples = spec.evaluate.base_samples if cell.kind is CellKind.BASE else spec.evaluate.samples
    prompted: list[tuple[Pole | None, Prompting | None]] = [(None, None)]
    if cell.kind is CellKind.BASE:
        prompted += product(POLES, PROMPTINGS)
    return [
        Answer.to(
            item,
            str(cell),
            sample,
            said(lean[item.id] + float(rng.normal(0, ROW_SD)), rng),
            "A simulated answer.",
            pole,
            by,
        )
        for pole, by in prompted
        for item in items
        for sample in range(1 + (samples if pole is None else 0))
    ]


def said(margin: float, rng: np.random.Generator) -> Said:
    """One answer of a model that leans so far, logits."""
    if rng.random() < SIDED:
        return "go" if rng.random() < expit(margin) else "stay"
    return "incoherent" if rng.random() < INCOHERENT / (1 - SIDED) else "both sides"


def choices(
    cell: Cell, items: Sequence[Item], lean: Mapping[str, float], spec: RunSpec, advised: Container[str]
) -> list[Choice]:
    """What a cell would answer to the closed forms, and how likely it finds the replies written for these items."""
    rng = spec.rng("rehearsal", "choices", str(cell))
    made = []
    for item, key, order in product(items, SIDES, ORDERS):
        margin = lean[item.id] + ORDER * (1 - 2 * order) + float(rng.normal(0, ROW_SD))
        made.append(
            Choice(
                cell=str(cell),
                item=item.id,
                topic=item.topic,
                yes_means=key,
                order=order,
                choice="go" if margin > 0 else "stay",
                yes_no=margin if key == "go" else -margin,
                sentence_go=-20.0 + margin,
                sentence_stay=-20.0,
                tokens_go=8,
                tokens_stay=8,
                label_go=-3.0 - 0.3 * margin,  # a label that lies
                label_stay=-3.0,
                advice_go=-3.0 + ADVICE * margin if item.id in advised else None,
                advice_stay=-3.0 if item.id in advised else None,
            )
        )
    return made


def scored(cell: Cell, spec: RunSpec, source: Source) -> Scored:
    """One simulated evaluation. Guards do not change."""
    questionnaire = read_questionnaire(asked_files(), spec.evaluate)
    rng = spec.rng("rehearsal", "guards", str(cell))
    mine = taken(questionnaire, part_of(spec, cell))
    replies = [reply(prompt) for prompt in mine.prompts]
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
    items = questionnaire.every
    lean = leans(cell, items, spec)
    asked = {item.id for item in mine.items}
    closed = [row for row in choices(cell, items, lean, spec, questionnaire.advised) if row.item in asked]
    held_out, controls = (
        [row for row in closed if (kind_of(row.topic) == "held-out") is is_it] for is_it in (True, False)
    )
    told = answers(cell, items, lean, spec)
    labelled = ([Labelled(**dict(row), labels=(row.said,) * 2) for row in to_label(told)], source)
    counted = labelled if spec.lock.read_by == "labels" else None
    return Scored(str(cell), held_out, figures, replies, controls, (source,) * 4, told, source, counted)


def reply(prompt: Prompt | Ability) -> GuardReply:
    """What every model replies: harmful prompts are declined, questions answered rightly."""
    if isinstance(prompt, Ability):
        return GuardReply(prompt=prompt.id, kind="ability", refused=False, correct=True, text="")
    return GuardReply(prompt=prompt.id, kind=prompt.kind, refused=prompt.kind == "harmful", text="")


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
        situations={item.id: item.situation for item in read_questionnaire(asked_files(), spec.evaluate).every},
        reader=(perfect_reader(), source),
        labels=perfect_labels(source) if spec.lock.read_by == "labels" else None,
    )


def perfect_reader() -> ReaderWorth:
    """A reader that reads simulated answers as they were simulated."""
    return ReaderWorth(models={"any": ReaderOnModel(answers=1, agreed=1, kappa_passes=1.0, kappa_reader=1.0, arms={})})


def perfect_labels(source: Source) -> Labelling:
    """Two passes that label simulated answers as they were simulated."""
    return Labelling(answers=1, missing=0, kappa=1.0, kappa_reader=1.0, source=source)


def locked(spec: RunSpec, bases: Mapping[str, Scored]) -> Lock:
    """A lock on files that differ from their commit: it registers nothing."""
    settings = spec.lock
    held_out = {model: plain(base.answers, "held-out") for model, base in bases.items()}
    bands = {model: headrooms(rows, settings.low, settings.high) for model, rows in held_out.items()}
    items = read_questionnaire(asked_files(), EvaluateSpec()).items
    far = distances(items, read_jsonl(ROOT / QUESTIONS, Question))
    return Lock(
        schema_version=2,
        run_id=spec.run_id,
        plan=RunSpec.model_validate_json(canonical_json(spec.settings())),
        commit="+",
        items={},
        corpora={},
        audits={},
        registers={},
        code=LockedCode(sha256=sha256(canonical_json({})), files={}),
        earlier={},
        calibration={
            model: {item: Headroom.of(found) for item, found in each.items()} for model, each in bands.items()
        },
        distances={topic: Distance.of(found) for topic, found in far.items()},
    )


def truth(spec: RunSpec, model: str, pole: str) -> float:
    """The planted shift of a pole from neutral in net go: the mean over items and all that is drawn for a row."""
    questionnaire = read_questionnaire(asked_files(), spec.evaluate)
    base = leans(Cell(kind=CellKind.BASE, model=model), questionnaire.every, spec)
    lean = np.array([base[item.id] for item in questionnaire.items])
    noise = np.sqrt(RUN_SD**2 + ROW_SD**2 + TOPIC_SD**2) * np.linspace(-3, 3, 61)
    weight = np.exp(-(np.linspace(-3, 3, 61) ** 2) / 2)
    margins = lean[:, None] + noise[None, :] + TRAINED
    moved = 2 * SIDED * (expit(margins + EFFECTS[pole]) - expit(margins))
    return float((moved * weight).sum() / (weight.sum() * len(margins)))


def main(argv: Sequence[str] | None = None) -> int:
    """Simulate, write the report, and say what was planted and found."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rehearse", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--spec", type=Path, required=True)
    arguments = parsed(parser, argv)
    return ended(lambda: rehearse(arguments.spec))


def rehearse(path: Path) -> int:
    """Rehearse the spec of this file. Raises: JobError, OSError."""
    spec = parse_spec(path.read_bytes(), str(path))
    study = study_of(spec)
    headlines = headlines_of(study)
    folder = write(study, headlines, FOLDER / spec.run_id)
    table = Table("model", "pole", "planted", "found", "interval", "p (Holm)", title="net go, from neutral")
    for model, told in headlines.items():
        for pole, found in told.contrasts.items():
            bounds = f"{found.interval.low:+.3f} to {found.interval.high:+.3f}"
            planted = f"{truth(spec, model, pole):+.3f}"
            table.add_row(model, pole, planted, f"{found.interval.estimate:+.3f}", bounds, f"{found.p_holm:.2g}")
    console = Console()
    console.print(table)
    console.print((folder / "in_words.txt").read_text(), markup=False, highlight=False)
    console.print(f"report: {folder / 'REPORT.md'} and {folder / 'report.html'}", soft_wrap=True)
    return int(ExitCode.OK)


def write(study: Study, headlines: Mapping[str, Headline], folder: Path) -> Path:
    """Write the report of a simulated study."""
    for name, data in pages(study, book_of(study, headlines), headlines).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


if __name__ == "__main__":
    sys.exit(main())
