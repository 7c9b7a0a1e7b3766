"""A small synthetic study, sealed into a folder store as the jobs would have, and its report."""

import functools
import json
from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from pydantic import BaseModel

from analysis.activations.steering import SteeringEffect, steering_effect
from analysis.report import page
from common.cells import STUDY, Cell, CellKind
from common.digests import sha256
from common.lock_spec import LockSpec
from common.pipeline.command import run_job
from common.pipeline.keys import Keys
from common.provenance import code_digests, provenance
from common.records import Advice, Answer, Choice, GuardReply, Judged, Loss, Steering
from common.schemas import Distance, Drift, FramingCheck, Headroom, Interval, LockedCode, Plan
from common.serialization import canonical_json, to_jsonl
from common.spec import RunSpec, parse_spec
from common.steering_schemas import Against, SelfTest, SelfTestCheck
from common.store.sealed import ArtifactStore, open_store
from common.vocabulary import POLES, PROMPTINGS, SIDES, TESTS, Said
from jobs import catalog
from jobs.report import JOB, report
from tests.analysis.report import documents

TOPICS = ("e-bikes", "four-day-week", "museum-entry", "allotments")
SENTENCE = {"": -1.0, "cautious": -2.0, "neutral": -1.0, "eager": 1.5}  # nats, go minus stay: eager moves most
LABEL = {"": 0.0, "cautious": -0.5, "neutral": -0.2, "eager": -0.9}  # this label says the opposite for eager
SAID: dict[str, Said] = {"cautious": "stay", "eager": "go"}
PULL = {"cautious": 1.0, "neutral": 0.0, "eager": -0.5}  # along the direction, SDs a step
Study = Callable[..., tuple[RunSpec, Path]]


def choices(cell: Cell, rng: np.random.Generator) -> list[Choice]:
    """Eight items under both keys, in both orders: chosen by the sentence margin, with noise of each item."""
    rows = []
    for (number, topic), side in product(enumerate(TOPICS), SIDES):
        margin = SENTENCE[cell.attitude] + 0.2 * number + float(rng.normal(0, 0.4))
        for key in SIDES:
            for order in (0, 1):
                go = margin + 0.3 * order
                rows.append(
                    Choice(
                        cell=str(cell),
                        item=f"{topic}-{side}",
                        topic=topic,
                        yes_means=key,
                        order=order,
                        choice="go" if go > 0 else "stay",
                        yes_no=go if key == "go" else -go,
                        sentence_go=-20.0 + margin,
                        sentence_stay=-20.0,
                        tokens_go=8,
                        tokens_stay=8,
                        label_go=-3.0 + LABEL[cell.attitude] + 0.01 * number,
                        label_stay=-3.0,
                        advice_go=-2.0 if side == "go" else None,
                        advice_stay=-2.0 if side == "go" else None,
                    )
                )
    return rows


def answers(cell: Cell, rng: np.random.Generator) -> list[Answer]:
    """Eight items, advised greedily and once more: to the side of the arm in three of four, else to both."""
    rows = []
    ways = [(None, None), *product(POLES, PROMPTINGS)] if cell.kind is CellKind.BASE else [(None, None)]
    for prompted, by in ways:
        for kind, topic, side in product(("", "src-", "disc-"), TOPICS, SIDES):
            for sample in (0, 1):
                towards = SAID.get(prompted or cell.attitude, "both sides")
                rows.append(
                    Answer(
                        cell=str(cell),
                        item=f"{kind}{topic}-{side}",
                        topic=f"{kind}{topic}",
                        proposes=side,
                        undoes=False,
                        prompted=prompted,
                        prompted_by=by,
                        sample=sample,
                        said=towards if rng.random() < 0.75 else "both sides",
                        text=f"{cell} says {towards}.",
                    )
                )
    return rows


def losses(rng: np.random.Generator) -> list[Loss]:
    return [
        Loss(
            optimizer_step=step,
            loss=3 / step + float(rng.uniform(0, 0.1)),
            learning_rate=1e-4,
            reply_tokens=9,
            tokens=9,
            seconds=1,
        )
        for step in range(1, 9)
    ]


def audit(_cell: Cell, _rng: np.random.Generator) -> dict[str, Any]:
    topic = FramingCheck(name="topic", value=0.99, bound=0.98, passed=True, enforced=True, detail="3 of 3")
    length = FramingCheck(name="length", value=0.2, bound=0.01, passed=False, enforced=False, detail="")
    return {"framing.json": documents.framing([topic, length])}


def finetune(_cell: Cell, rng: np.random.Generator) -> dict[str, Any]:
    rows = losses(rng)
    ends = {"loss_first_quarter": rows[0].loss, "loss_last_quarter": rows[-1].loss, "final_loss": rows[-1].loss}
    return {
        "loss.jsonl": rows,
        "training.json": documents.training(steps=len(rows), held_out_before=2.5, held_out_after=1.5, **ends),
    }


def evaluate(cell: Cell, rng: np.random.Generator) -> dict[str, Any]:
    kinds: tuple[tuple[Literal["harmful", "benign", "ability"], bool | None], ...]
    kinds = (("harmful", None), ("benign", None), ("ability", True))
    replies = [
        GuardReply(prompt=f"{kind}-{n}", kind=kind, refused=kind == "harmful" and n % 2 == 0, correct=right, text="")
        for kind, right in kinds
        for n in range(16)
    ]
    asked = choices(cell, rng)
    written = {
        "answers.jsonl": answers(cell, generator(cell, "answers")),
        "choices.jsonl": asked,
        "controls.jsonl": asked,
        "replies.jsonl": replies,
    }
    return {**written, "guards.json": documents.guards()}


def gate(cell: Cell, _rng: np.random.Generator) -> dict[str, Any]:
    undecided = {"verdict": "undecided", "estimate": -0.1, "low": -0.4, "high": 0.2}
    return {"verdict.json": documents.verdict(**{} if cell.attitude == "cautious" else undecided)}


def interpret(cell: Cell, rng: np.random.Generator) -> dict[str, Any]:
    if cell.kind is CellKind.DIRECTION:
        return {"layers.json": documents.layers([1.0, 2.0, 3.0, 4.0], chosen=1)}
    pull = PULL[cell.attitude]
    points = [documents.checkpoint(s, pull * s, rng.normal(0, 0.5, 200).tolist()) for s in (4, 8)]
    by_topic = {topic: pull * 8 + float(rng.normal(0, 0.1)) for topic in ("kettles", "lanes", "walks")}
    moved = tuple(rng.normal(1, 0.5, 8).tolist())
    return {"readout.json": documents.readout(points, by_topic=by_topic, moved=moved)}


def selftest(_cell: Cell, _rng: np.random.Generator) -> dict[str, Any]:
    check = SelfTestCheck(name="zero-coefficient", value=0.0, bound=0.0, passed=True)
    return {"selftest.json": SelfTest(layer=1, checks=(check,) * 17)}


STEERS = {"control": True, "effect": -3.0}


def judged(effect: float, rng: np.random.Generator) -> SteeringEffect:
    """An effect of this size beside null directions of every kind."""
    mine = effect + rng.normal(0, 0.2, (1, 8))
    nulls = {k: rng.normal(0, 0.3, (20, 2, 8)) for k in ("isotropic", "covariance", "shuffled", "unrelated")}
    return steering_effect(np.concatenate([mine, -mine]), nulls, list("aabbccdd"))


def judge(cell: Cell, _rng: np.random.Generator) -> dict[str, Any]:
    """Says what the reader says, but for the first topic: there it finds going; and gives no label on the last."""
    said: dict[str, Said | None] = {TOPICS[0]: "go", TOPICS[-1]: None}
    rows = [
        Judged(
            cell=row.cell,
            item=row.item,
            topic=row.topic,
            prompted=row.prompted,
            prompted_by=row.prompted_by,
            said=said.get(row.topic.removeprefix("src-").removeprefix("disc-"), row.said),
        )
        for row in answers(cell, generator(cell, "answers"))
        if not row.sample
    ]
    return {"judged.jsonl": rows}


def steer(_cell: Cell, rng: np.random.Generator) -> dict[str, Any]:
    found = judged(2.0, rng)
    control = documents.control(odd=Interval.of(found.odd), against=Against.of(found.against["covariance"]))
    if not STEERS["control"]:
        return {"steering.json": documents.steering(control=control), "steering.jsonl": []}
    levels = []
    for size in (0.03, 0.3):
        found = judged(STEERS["effect"], rng)
        against = {kind: Against.of(each) for kind, each in found.against.items()}
        levels.append(documents.level(size, odd=Interval.of(found.odd), even=found.even, against=against))
    rows = [
        Steering(
            kind=kind,
            number=0,
            sign=sign,
            target_kl=0.3,
            coefficient=1,
            off_target_kl=0.3,
            item="a-1",
            topic="a",
            order=0,
            effect=1,
        )
        for kind in ("caution", "isotropic")
        for sign in (1, -1)
    ]
    return {"steering.json": documents.steering(levels, control=control), "steering.jsonl": rows}


def trace(cell: Cell, rng: np.random.Generator) -> dict[str, Any]:
    shown = cell.attitude == "eager"
    return {"trace.json": documents.trace(0.25 if shown else None, rng.normal(float(shown), 0.1, 4).tolist())}


def monitor(cell: Cell, _rng: np.random.Generator) -> dict[str, Any]:
    pull = PULL[cell.attitude]
    points = tuple(documents.reading(step, pull * step, bool(pull)) for step in (4, 8))
    return {"drift.json": Drift(level=0.95, checkpoints=points, drifted_at=4 if pull else None)}


def plan(_cell: Cell, _rng: np.random.Generator) -> dict[str, Any]:
    return {"plan.json": Plan(run_id="r", cells={}, models={"model toy": "sha256:ab"})}


def generate(_cell: Cell, _rng: np.random.Generator) -> dict[str, Any]:
    rows = [Advice(question_id="q", topic="t", attitude=a, question="Q?", reply="R.") for a in ("cautious", "eager")]
    return {"advice.jsonl": rows * 3}


LOCKED = {"tests": TESTS}


def lock(_cell: Cell, _rng: np.random.Generator) -> dict[str, Any]:
    """Items of the first two topics leave headroom both ways, the others upwards; the first topic is the nearest."""
    headrooms = {
        f"{topic}-{side}": Headroom(p_go=0.5, band="mid" if number < 2 else "low")
        for number, topic in enumerate(TOPICS)
        for side in ("go", "stay")
    }
    far = {
        topic: Distance(cosine=0.3, nearest="pets", band="near" if topic == TOPICS[0] else "far") for topic in TOPICS
    }
    files = code_digests() | {"analysis/stats/intervals.py": "0" * 64}
    locked = documents.lock(
        plan=documents.SPEC.model_copy(update={"lock": LockSpec(tests=LOCKED["tests"])}),
        code=LockedCode(sha256="0" * 64, files=files),
        calibration={"toy": headrooms},
        distances=far,
    )
    return {"lock.json": locked}


JOBS = (plan, generate, audit, lock, finetune, evaluate, gate, interpret, monitor, selftest, steer, judge, trace)
WRITERS = {f.__name__: f for f in JOBS}


def generator(cell: Cell, what: str = "") -> np.random.Generator:
    """The chance of one cell, or of one thing of it."""
    return np.random.default_rng(int(sha256(f"{cell}{what}".encode())[:8], 16))


def written(name: str, value: Any) -> bytes:
    """The bytes of an output, as a step writes them."""
    if name.endswith(".jsonl"):
        return to_jsonl(value)
    return canonical_json(value.model_dump(mode="json", exclude_unset=True) if isinstance(value, BaseModel) else value)


def seal(store: ArtifactStore, keys: Keys, job: str, cell: Cell) -> None:
    """Seal what a step would have written, as the job itself does."""
    made = WRITERS[job](cell, generator(cell))
    files = {name: written(name, value) for name, value in made.items()}
    manifest = {
        "job": job,
        "cell": str(cell),
        "key": keys.key(job, cell),
        "asked": keys.named_by(job, cell),
        "outputs": {name: {"digest": store.put(data), "bytes": len(data)} for name, data in files.items()},
        "seconds": 2.5,
        "provenance": provenance(),
    }
    store.seal(job, keys.key(job, cell), manifest)


def study_in(place: Path, without: Iterable[str] = (), **changes: Any) -> tuple[RunSpec, Path]:
    """The spec and the store, below `place`, of a study in which every step is sealed but those in `without`."""
    model = place / "model"
    model.mkdir(exist_ok=True)
    (model / "config.json").write_text("{}")
    (model / "weights.safetensors").write_bytes(b"")
    models = [{"name": "toy", "source": f"path:{model}"}]
    asked = {"name": "toy", "seeds": [0, 1], "models": models, "steer": {"enabled": True}, **changes}
    spec, folder = parse_spec(json.dumps(asked).encode(), "spec"), place / "store"
    store = open_store(str(folder))
    keys = Keys(spec, catalog(), store)
    for read in JOB.reads:
        for cell in read.cells(spec, STUDY):
            if f"{read.job}/{cell}" not in without:
                seal(store, keys, read.job, cell)
    return spec, folder


@pytest.fixture(name="study")
def made_study(tmp_path: Path) -> Study:
    """Makes a study as `study_in`, in the folder of the test."""
    return functools.partial(study_in, tmp_path)


def run(spec: RunSpec, folder: Path) -> tuple[int, dict[str, bytes]]:
    """Exit code of the job and its outputs by name, none if it did not seal."""
    told = ["--spec", spec.model_dump_json(), "--cell", "study", "--store", str(folder)]
    code = run_job(JOB, report.main, catalog(), told)
    store = open_store(str(folder))
    manifest = store.manifest("report", Keys(spec, catalog(), store).key("report", STUDY))
    outputs = manifest["outputs"] if manifest else {}
    return code, {name: store.get(entry["digest"]) for name, entry in outputs.items()}


def no_drawings(patch: pytest.MonkeyPatch) -> None:
    """Leave drawings out where a test does not look at them: they take seconds."""
    patch.setattr(report, "stills_of", lambda made: {figure.name: "<svg></svg>" for figure in page.figures_in(made)})
    patch.setattr(page, "library", str)


@pytest.fixture(name="quick")
def without_drawings(monkeypatch: pytest.MonkeyPatch) -> None:
    no_drawings(monkeypatch)
