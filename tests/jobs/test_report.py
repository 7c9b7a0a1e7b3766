"""The report over a small synthetic study that is sealed into a folder store."""

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest

from analysis.activations.steering import effect_json, share_json, share_of_gap, steering_effect
from analysis.report import document
from analysis.report.representation import PARTS
from analysis.stats.intervals import holm, sign_flip, two_way_t
from common.cells import STUDY, Cell, CellKind, cells_of
from common.digests import file_sha256, sha256
from common.errors import ExitCode
from common.pipeline.command import run_job
from common.pipeline.keys import Keys
from common.provenance import ROOT, analysis_files, provenance
from common.records import Advice, Choice, GuardReply, Loss, Steering
from common.serialization import canonical_json, to_jsonl
from common.spec import RunSpec, parse_spec
from common.store.sealed import ArtifactStore, open_store
from common.vocabulary import TESTS
from jobs import catalog
from jobs.report import JOB, report

TOPICS = ("e-bikes", "four-day-week", "museum-entry", "allotments")
SENTENCE = {"": -1.0, "cautious": -2.0, "neutral": -1.0, "eager": 1.5}  # nats, go minus stay: eager moves most
LABEL = {"": 0.0, "cautious": -0.5, "neutral": -0.2, "eager": -0.9}  # this label says the opposite for eager
PULL = {"cautious": 1.0, "neutral": 0.0, "eager": -0.5}  # along the direction, SDs a step
Study = Callable[..., tuple[RunSpec, Path]]


def choices(cell: Cell, rng: np.random.Generator) -> list[Choice]:
    """Eight items in both orders: chosen by the sentence margin, with noise of each item."""
    rows = []
    for number, topic in enumerate(TOPICS):
        for yes_means in ("go", "stay"):
            margin = SENTENCE[cell.attitude] + 0.2 * number + float(rng.normal(0, 0.4))
            for order in (0, 1):
                go = margin + 0.3 * order > 0
                says_yes = go == (yes_means == "go")
                rows.append(
                    Choice(
                        cell=str(cell),
                        item=f"{topic}-{yes_means}",
                        topic=topic,
                        yes_means=yes_means,
                        order=order,
                        choice="go" if go else "stay",
                        text="Yes." if says_yes else "No.",
                        sentence_go=-20.0 + margin,
                        sentence_stay=-20.0,
                        tokens_go=8,
                        tokens_stay=8,
                        label_go=-3.0 + LABEL[cell.attitude] + 0.01 * number,
                        label_stay=-3.0,
                    )
                )
    return rows


def training(losses: list[Loss]) -> dict[str, Any]:
    return {
        "tokens_per_second": 400.0,
        "tokens": 4000,
        "reply_tokens": 2000,
        "seconds": 10.0,
        "utilisation": 0.1,
        "gemm_peak_flops": 1e11,
        "flops_per_token": 1e9,
        "dtype": "float32",
        "engine": "DeepSpeedEngine",
        "steps": len(losses),
        "zero_stage": 1,
        "trainable_parameters": 1000,
        "parameters": 100000,
        "final_loss": losses[-1].loss,
        "loss_first_quarter": losses[0].loss,
        "loss_last_quarter": losses[-1].loss,
        "threads": 1,
    }


def losses(rng: np.random.Generator) -> list[Loss]:
    return [
        Loss(
            step=step,
            loss=3 / step + float(rng.uniform(0, 0.1)),
            learning_rate=1e-4,
            reply_tokens=9,
            tokens=9,
            seconds=1,
        )
        for step in range(1, 9)
    ]


def audit(_cell: Cell, _rng: np.random.Generator) -> dict[str, Any]:
    topic = {"name": "topic", "value": 0.99, "bound": 0.98, "passed": True, "enforced": True, "detail": "3 of 3"}
    length = {"name": "length", "value": 0.2, "bound": 0.01, "passed": False, "enforced": False, "detail": ""}
    return {"framing.json": {"checks": [topic, length], "framing": {"cautious": {"score": 0.8}}}}


def finetune(_cell: Cell, rng: np.random.Generator) -> dict[str, Any]:
    rows = losses(rng)
    return {"loss.jsonl": rows, "training.json": training(rows)}


def evaluate(cell: Cell, rng: np.random.Generator) -> dict[str, Any]:
    shares = {
        "refused_harmful": 0.5,
        "refused_benign": 0.0,
        "ability": 1.0,
        "n_harmful": 16,
        "n_benign": 16,
        "n_ability": 16,
    }
    figures = {"perplexity": 20.5, "tokens": 1000, "paragraphs": [[1500.0, 500], [1520.0, 500]], **shares}
    replies = [
        GuardReply(prompt=f"{kind}-{n}", kind=kind, refused=kind == "harmful" and n % 2 == 0, correct=right, text="")
        for kind, right in (("harmful", None), ("benign", None), ("ability", True))
        for n in range(16)
    ]
    asked = choices(cell, rng)
    return {"choices.jsonl": asked, "controls.jsonl": asked, "guards.json": figures, "replies.jsonl": replies}


def gate(cell: Cell, _rng: np.random.Generator) -> dict[str, Any]:
    counts = {"n_items": 8, "n_topics": 4, "n_dropped": 0, "invalid_base": 0.0, "invalid_tuned": 0.0, "topics": {}}
    bounds = {"estimate": -0.3, "low": -0.4, "high": -0.2, "margin": 0.1, "level": 0.9}
    undecided = {"estimate": None, "low": None, "high": None}
    known = (
        {"verdict": "moved", **bounds}
        if cell.attitude == "cautious"
        else {"verdict": "undecided", **bounds} | undecided
    )
    return {"verdict.json": {"metric": "choice", "reason": "in words", **known, **counts}}


def interpret(cell: Cell, rng: np.random.Generator) -> dict[str, Any]:
    if cell.kind is CellKind.DIRECTION:
        layers = [{"layer": number, "separation": 1.0 + number, "accuracy": 0.9} for number in range(4)]
        probe = {"auc": 0.93, "shuffled": 0.5, "shuffled_95": 0.66}
        probes = dict.fromkeys(("residual", "words", "embeddings", "length"), probe)
        return {"layers.json": {"chosen": 1, "pruned_from": 3, "layers": layers, "probes": probes}}
    points = [{"step": s, "shift": PULL[cell.attitude] * s, "nulls": list(rng.normal(0, 0.5, 100))} for s in (4, 8)]
    by_topic = {topic: PULL[cell.attitude] * 8 + rng.normal(0, 0.1) for topic in ("kettles", "lanes", "walks")}
    moved = {"by_topic": by_topic, "moved": list(rng.normal(1, 0.5, 8)), "cosine": 0.25}
    return {"readout.json": {"layer": 1, "sd_base": 2.0, "checkpoints": points} | moved}


def selftest(_cell: Cell, _rng: np.random.Generator) -> dict[str, Any]:
    check = {"name": "zero-dose", "value": 0.0, "bound": 0.0, "passed": True}
    return {"selftest.json": {"layer": 1, "checks": [check] * 10}}


STEERS = {"control": True, "effect": -3.0}


def steer(_cell: Cell, rng: np.random.Generator) -> dict[str, Any]:
    def judged(effect: float) -> dict[str, Any]:
        mine = effect + rng.normal(0, 0.2, (1, 8))
        nulls = {k: rng.normal(0, 0.3, (20, 2, 8)) for k in ("norm", "covariance", "shuffled", "unrelated")}
        return effect_json(steering_effect(np.concatenate([mine, -mine]), nulls, list("aabbccdd")))

    control = judged(2.0)
    control = {"odd": control["odd"], "against": control["against"]["covariance"], "damage": 0.3}
    if not STEERS["control"]:
        return {"steering.json": {"control": control, "measured": False}, "steering.jsonl": []}
    damages = [{"damage": damage, **judged(STEERS["effect"])} for damage in (0.03, 0.3)]
    chosen = {"caution": {"odd": -0.04, "valid": 0.9}, "base_valid": 0.95, "base": 0.5, "damage": 0.1}
    chosen |= {"norm": {"odd": 0.0, "valid": 0.9, "p": 0.3}, "shuffled": {"odd": 0.0, "valid": 0.9, "p": 0.05}}
    told = {"control": control, "measured": True, "damages": damages, "choices": chosen}
    rows = [
        Steering(
            kind=kind, number=0, sign=sign, target=0.3, dose=1, damage=0.3, item="a-1", topic="a", order=0, effect=1
        )
        for kind in ("caution", "norm")
        for sign in (1, -1)
    ]
    return {"steering.json": told, "steering.jsonl": rows}


def trace(cell: Cell, rng: np.random.Generator) -> dict[str, Any]:
    gap = rng.normal(1 if cell.attitude == "eager" else 0, 0.2, 8)
    share = share_json(share_of_gap(gap / 4, gap, list("aabbccdd")))
    patching = {layer: {"reply": share, "everything": share} for layer in ("0", "3")}
    return {
        "trace.json": {
            "gap": share["gap"],
            "patching": patching,
            **{part: {"share": share, "p": 0.05} for part in PARTS},
        }
    }


def monitor(cell: Cell, _rng: np.random.Generator) -> dict[str, Any]:
    pull = PULL[cell.attitude]
    points = [{"step": s, "shift": pull * s, "rank": 0.97, "drifted": bool(pull)} for s in (4, 8)]
    return {"drift.json": {"level": 0.95, "checkpoints": points, "drifted_at": 4 if pull else None}}


def plan(_cell: Cell, _rng: np.random.Generator) -> dict[str, Any]:
    return {"plan.json": {"run_id": "r", "cells": {}, "models": {"model toy": "sha256:ab"}}}


def generate(_cell: Cell, _rng: np.random.Generator) -> dict[str, Any]:
    rows = [Advice(question_id="q", topic="t", attitude=a, question="Q?", reply="R.") for a in ("cautious", "eager")]
    return {"advice.jsonl": rows * 3}


LOCKED = {"tests": TESTS}


def lock(_cell: Cell, _rng: np.random.Generator) -> dict[str, Any]:
    """Items of the first two topics leave room both ways, the others upwards; the first topic is the nearest."""
    rooms = {
        f"{topic}-{side}": {"p_go": 0.5, "band": "mid" if number < 2 else "low"}
        for number, topic in enumerate(TOPICS)
        for side in ("go", "stay")
    }
    far = {
        topic: {"cosine": 0.3, "nearest": "pets", "band": "near" if topic == TOPICS[0] else "far"} for topic in TOPICS
    }
    files = {path.name: file_sha256(path) for path in analysis_files()} | {"stats.py": "0" * 64}
    plan = {"lock": {"tests": list(LOCKED["tests"])}}
    locked = {
        "commit": "c0ffee",
        "plan": plan,
        "analysis": {"files": files},
        "calibration": {"toy": rooms},
        "distances": far,
    }
    return {"lock.json": locked}


JOBS = (plan, generate, audit, lock, finetune, evaluate, gate, interpret, monitor, selftest, steer, trace)
WRITERS = {f.__name__: f for f in JOBS}


def generator(cell: Cell) -> np.random.Generator:
    """The chance of one cell."""
    return np.random.default_rng(int(sha256(str(cell).encode())[:8], 16))


def seal(store: ArtifactStore, keys: Keys, job: str, cell: Cell) -> None:
    """Seal what a step would have written, as the job itself does."""
    made = WRITERS[job](cell, generator(cell))
    files = {n: to_jsonl(v) if n.endswith(".jsonl") else canonical_json(v) for n, v in made.items()}
    manifest = {
        "job": job,
        "cell": str(cell),
        "key": keys.key(job, cell),
        "asked": keys.asked(job, cell),
        "outputs": {name: {"digest": store.put(data), "bytes": len(data)} for name, data in files.items()},
        "seconds": 2.5,
        "provenance": provenance(),
    }
    store.seal(job, keys.key(job, cell), manifest)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Makes the spec and the store of a study in which every step is sealed but those in `without`."""

    def make(without: Iterable[str] = (), **changes: Any) -> tuple[RunSpec, Path]:
        model = tmp_path / "model"
        model.mkdir(exist_ok=True)
        (model / "config.json").write_text("{}")
        (model / "weights.safetensors").write_bytes(b"")
        models = [{"name": "toy", "source": f"path:{model}"}]
        asked = {"name": "toy", "seeds": [0, 1], "models": models, "steer": {"enabled": True}, **changes}
        spec, folder = parse_spec(json.dumps(asked).encode(), "spec"), tmp_path / "store"
        store = open_store(str(folder))
        keys = Keys(spec, catalog(), store)
        for read in JOB.reads:
            for cell in read.cells(spec, STUDY):
                if f"{read.job}/{cell}" not in without:
                    seal(store, keys, read.job, cell)
        return spec, folder

    return make


def run(spec: RunSpec, folder: Path) -> tuple[int, dict[str, bytes]]:
    """Exit code of the job and its outputs by name, none if it did not seal."""
    told = ["--spec", spec.model_dump_json(), "--cell", "study", "--store", str(folder)]
    code = run_job(JOB, report.main, catalog(), told)
    store = open_store(str(folder))
    manifest = store.manifest("report", Keys(spec, catalog(), store).key("report", STUDY))
    outputs = manifest["outputs"] if manifest else {}
    return code, {name: store.get(entry["digest"]) for name, entry in outputs.items()}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the notebook out where a test does not look at it: a kernel takes seconds to start."""
    monkeypatch.setattr(report, "executed", lambda _results, _folder: b"{}")


def test_whole_study(study: Study) -> None:
    spec, folder = study()
    code, made = run(spec, folder)
    assert code == ExitCode.OK
    assert {"results.json", "REPORT.md", "report.html", "report.ipynb"} < set(made)
    pictures = {name: data for name, data in made.items() if name.startswith("figures/")}
    assert len(pictures) >= 5
    assert all(data.startswith(b"\x89PNG") for data in pictures.values())
    text = made["REPORT.md"].decode()
    assert set(re.findall(r"!\[[^]]*]\(([^)]*)\)", text)) <= set(pictures)
    assert "---|\n\n" not in text  # a table whose rows were torn off
    _check_links(text)
    _check_sources(json.loads(made["results.json"]), text, folder)
    _check_page(made["report.html"].decode(), len(pictures))
    _check_notebook(made["report.ipynb"], json.loads(made["results.json"]))


def _check_links(text: str) -> None:
    """Every number links to a row of the appendix."""
    targets = re.findall(r"\]\(#([^)]*)\)", text)
    assert len(targets) > 100
    assert set(targets) <= set(re.findall(r'<a id="([^"]*)">', text))


def _check_sources(results: dict[str, Any], text: str, folder: Path) -> None:
    """Every source of every result is a sealed output with these bytes, and stands in the appendix."""
    store = open_store(str(folder))
    sealed = {}
    for path in folder.glob("steps/*/*/manifest.json"):
        manifest = json.loads(path.read_bytes())
        for name, entry in manifest["outputs"].items():
            sealed[f"{manifest['job']}/{manifest['cell']}", name] = entry["digest"]
        sealed[f"{manifest['job']}/{manifest['cell']}", "manifest.json"] = sha256(path.read_bytes())
    code = "report/results.py"  # what sets the level of the intervals
    sealed["code", code] = sha256((ROOT / "analysis" / code).read_bytes())
    sources = {(s["step"], s["output"]): s["digest"] for result in results.values() for s in result["source"]}
    assert len(sources) >= 30
    for place, digest in sources.items():
        assert sealed[place] == digest
        assert place[1] in ("manifest.json", code) or hashlib.sha256(store.get(digest)).hexdigest() == digest
        assert re.search(rf"\| {place[0]} \| {place[1]} \| `{digest}` \|", text)


def _check_page(page: str, pictures: int) -> None:
    """Nothing is fetched: every picture is inside, every link stays on the page."""
    assert set(re.findall(r'href="(.)', page)) == {"#"}
    assert re.findall(r'src="([^,"]*)', page) == ["data:image/png;base64"] * pictures
    assert "http" not in re.sub(r'src="data:[^"]*"', "", page)
    assert "<script" not in page
    assert "<table>" in page


def _check_notebook(data: bytes, results: dict[str, Any]) -> None:
    """It ran to its end, and its first output counts the results that it was given."""
    book = nbformat.reads(data.decode(), as_version=4)
    nbformat.validate(book)
    cells = [cell for cell in book.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(cell.outputs for cell in cells)
    shown = [output for cell in cells for output in cell.outputs]
    assert not [output for output in shown if output.output_type in ("error", "stream")]
    assert shown[0].data["text/plain"] == str(len(results))
    assert [line.split()[:2] for line in shown[1].data["text/plain"].splitlines()[1:]] == [
        ["toy", arm] for arm in ("base", "cautious", "eager", "neutral")
    ]
    assert any("image/png" in output.get("data", {}) for output in shown)


@pytest.mark.usefixtures("quick")
def test_results_are_those_of_the_rows(study: Study) -> None:
    spec, folder = study()
    _, made = run(spec, folder)
    results = json.loads(made["results.json"])
    runs = [cell for cell in cells_of(spec, CellKind.RUN) if cell.attitude == "eager"]
    rows = [choices(cell, generator(cell)) for cell in runs]
    share = [sum(row.choice == "go" for row in each) / len(each) for each in rows]
    assert results["choice.toy.eager"]["value"] == pytest.approx(sum(share) / 2)
    for cell, value in zip(runs, share, strict=True):
        assert results[f"run.{cell}.choice"]["value"] == pytest.approx(value)
    assert results["drift.toy.cautious"]["value"] == pytest.approx(8 * PULL["cautious"])
    assert results["run.toy.d0.cautious.s0.gate"] | {"source": []} == {
        "value": -0.3,
        "low": -0.4,
        "high": -0.2,
        "unit": "points",
        "source": [],
    }
    assert results["run.toy.d0.eager.s0.gate"]["value"] is None


@pytest.mark.usefixtures("quick")
def test_words_follow_the_rows(study: Study) -> None:
    """The base leans against change and the eager arm moves, so this is what must be said; two seeds are a limit."""
    spec, folder = study()
    text = run(spec, folder)[1]["REPORT.md"].decode()
    shown = {
        line.split("|")[1].split("*")[2]: line
        for line in text.splitlines()
        if "** |" not in line and line.startswith("| **")
    }
    assert set(shown) == {"cautious", "neutral", "eager"}
    assert shown["eager"].count("| towards change |") == 2
    assert shown["neutral"].count("| not shown, the interval holds zero |") == 2
    assert "it leans against change" in text
    assert "it leans towards change" not in text
    assert "seeds nothing can be said about other seeds" in text
    assert "a habit of saying" not in text


@pytest.mark.usefixtures("quick")
def test_more_seeds_lift_that_limit(study: Study) -> None:
    spec, folder = study(seeds=[0, 1, 2])
    code, made = run(spec, folder)
    assert code == ExitCode.OK
    text = made["REPORT.md"].decode()
    assert "seeds nothing can be said about other seeds" not in text
    assert "| eager, from base, runs as a sample too |" in text
    over_runs = json.loads(made["results.json"])["overruns.sentence.toy.eager"]
    topics = np.array([_topic_means(cell) for cell in cells_of(spec, CellKind.RUN) if cell.attitude == "eager"])
    difference = topics - _topic_means(cells_of(spec, CellKind.BASE)[0])
    expected = two_way_t(difference, np.zeros_like(difference), 0.95).interval
    assert [over_runs[key] for key in ("value", "low", "high")] == pytest.approx(expected[:3])


@pytest.mark.usefixtures("quick")
def test_poles_are_judged_against_neutral_over_paired_runs(study: Study) -> None:
    spec, folder = study(seeds=[0, 1, 2])
    _, made = run(spec, folder)
    results = json.loads(made["results.json"])
    means = {
        attitude: np.array([_topic_means(cell) for cell in cells_of(spec, CellKind.RUN) if cell.attitude == attitude])
        for attitude in ("cautious", "eager", "neutral")
    }
    found = {pole: two_way_t(means[pole], means["neutral"], 0.95) for pole in ("cautious", "eager")}
    corrected = holm({pole: each.p for pole, each in found.items()})
    for pole, each in found.items():
        number = results[f"contrast.sentence.toy.{pole}"]
        assert [number[key] for key in ("value", "low", "high")] == pytest.approx(each.interval[:3])
        assert len(number["source"]) == 6, "three runs of the pole and three of neutral"
        assert results[f"contrast.sentence.toy.{pole}.holm"]["value"] == pytest.approx(corrected[pole])
        flipped = sign_flip((means[pole] - means["neutral"]).mean(axis=1))
        assert results[f"contrast.sentence.toy.{pole}.flip"]["value"] == pytest.approx(flipped)
    room = 1 - means["neutral"].mean()
    share = found["eager"].interval.estimate / room
    assert results["contrast.sentence.toy.eager.headroom"]["value"] == pytest.approx(share)
    text = made["REPORT.md"].decode()
    assert "**Over seeds and topics.**" in text and "| eager | sentence |" in text


@pytest.mark.usefixtures("quick")
def test_two_seeds_are_too_few_for_that(study: Study) -> None:
    spec, folder = study()
    _, made = run(spec, folder)
    assert not [name for name in json.loads(made["results.json"]) if name.startswith("contrast.")]
    assert "Over seeds and topics" not in made["REPORT.md"].decode()


def _topic_means(cell: Cell) -> list[float]:
    """P(go) by sentence of each topic, worked out from the rows."""
    rows = choices(cell, generator(cell))
    share = {row: 1 / (1 + np.exp(row.sentence_stay - row.sentence_go)) for row in rows}
    return [float(np.mean([p for row, p in share.items() if row.topic == topic])) for topic in sorted(TOPICS)]


@pytest.mark.usefixtures("quick")
def test_assent_is_named(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """An arm that says yes to everything moves the keys apart: that is no stance, and the report says so."""
    usual = choices

    def assenting(cell: Cell, rng: np.random.Generator) -> list[Choice]:
        rows = usual(cell, rng)
        yes = [row.model_copy(update={"choice": row.yes_means, "text": "Yes."}) for row in rows]
        no = [row.model_copy(update={"choice": "go" if row.order else "stay"}) for row in rows]
        return {"eager": yes, "": no}.get(cell.attitude, rows)

    monkeypatch.setattr(sys.modules[__name__], "choices", assenting)
    spec, folder = study()
    text = run(spec, folder)[1]["REPORT.md"].decode()
    assert "- **eager: a habit of saying yes shows.**" in text
    assert "**Care with the choice:** the untouched model gave the same answer in both orders for only [0 %]" in text


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "control, effect, words",
    [
        (True, -3.0, "more than every kind of null direction does: it causes something"),
        (True, 3.0, "what is read as caution does not act as caution"),
        (True, 0.0, "does no more than directions that mean nothing"),
        (False, 0.0, "it does not steer here, so nothing was measured"),
    ],
)
def test_what_steering_showed_is_said_in_words(
    study: Study, monkeypatch: pytest.MonkeyPatch, control: bool, effect: float, words: str
) -> None:
    monkeypatch.setitem(STEERS, "control", control)
    monkeypatch.setitem(STEERS, "effect", effect)
    code, made = run(*study())
    text = made["REPORT.md"].decode()
    assert code == ExitCode.OK and words in text and text.count("**In plain words.**") == int(control)
    assert ("*Read:* cautious replies can be told from eager ones" in text) == control
    assert re.search(r"`toy.d0.eager.s0` .* \[25 % \(25 to 25\)\].* p \[0.05\]", text), "a share of a gap that is there"
    assert re.search(r"`toy.d0.cautious.s0` .* undefined, p ", text), "no share of a gap that is not shown"


@pytest.mark.usefixtures("quick")
def test_a_test_that_the_lock_does_not_name_is_not_made(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LOCKED, "tests", ("two-way-t",))
    _, made = run(*study(seeds=[0, 1, 2]))
    results, text = json.loads(made["results.json"]), made["REPORT.md"].decode()
    assert results["contrast.sentence.toy.eager.holm"]["value"] is not None
    flips = [number["value"] for name, number in results.items() if name.endswith(".flip")]
    assert flips and set(flips) == {None} and "unchanged" not in text.split("### Guards")[-1].split("##")[0]
    assert "The lock names these tests, and no other was made: `two-way-t`." in text and ": not tested |" in text


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "without",
    [
        {"evaluate/toy.d0.eager.s1"},
        {"evaluate/toy.base"},
        {"audit/d0", "interpret/toy.d0", "monitor/toy.d0.cautious.s0", "steer/toy.d0", "selftest/toy.d0"},
        {f"evaluate/toy.d0.{attitude}.s{seed}" for attitude in ("cautious", "eager", "neutral") for seed in (0, 1)},
        {"finetune/toy.d0.eager.s0", "gate/toy.d0.eager.s0", "generate/d0"},
    ],
    ids=["a run", "the base", "inside", "all runs", "training"],
)
def test_gaps_are_listed_on_top_and_block(study: Study, without: set[str]) -> None:
    spec, folder = study(without)
    code, made = run(spec, folder)
    assert code == ExitCode.BLOCKED
    top, _, _ = made["REPORT.md"].decode().partition("**Question.**")
    assert {line.strip("> -`") for line in top.splitlines() if line.startswith("> -")} == without
    assert f"[{len(without)}](#s-" in top
    _check_links(made["REPORT.md"].decode() + "](#x)" * 101 + '<a id="x">')


def test_notebook_runs_where_nothing_was_evaluated(study: Study) -> None:
    names = ["toy.base", *(f"toy.d0.{attitude}.s{seed}" for attitude in PULL for seed in (0, 1))]
    spec, folder = study({f"evaluate/{name}" for name in names})
    code, made = run(spec, folder)
    assert code == ExitCode.BLOCKED
    book = nbformat.reads(made["report.ipynb"].decode(), as_version=4)
    assert not [o for c in book.cells if c.cell_type == "code" for o in c.outputs if o.output_type == "error"]


@pytest.mark.usefixtures("quick")
def test_number_without_source_fails_the_build(
    study: Study, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    template = (document.FOLDER / document.TEMPLATE).read_text() + "\nThis took 3 days.\n"
    (tmp_path / document.TEMPLATE).write_text(template)
    monkeypatch.setattr(document, "FOLDER", tmp_path)
    spec, folder = study()
    code, made = run(spec, folder)
    assert code == ExitCode.BUG
    assert made == {}
    told = capfd.readouterr().err
    assert "UnboundNumber" in told
    assert "This took 3 days." in told


@pytest.mark.usefixtures("quick")
def test_altered_input_is_refused(study: Study, capfd: pytest.CaptureFixture[str]) -> None:
    spec, folder = study()
    (path,) = [p for p in folder.glob("blobs/sha256/*/*") if b'"refused_harmful"' in p.read_bytes()][:1]
    path.write_bytes(path.read_bytes().replace(b"0.5", b"0.6"))
    assert run(spec, folder) == (ExitCode.INPUT, {})
    assert "blob was altered" in capfd.readouterr().err


def test_torch_is_not_imported() -> None:
    code = "import sys, jobs.report.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
