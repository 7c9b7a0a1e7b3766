"""Gather every sealed step into results, figures and a report in which each number is bound to its artifact.

Reads   everything that is sealed; what is not is listed as a gap
Writes  results.json  provenance.json (the outputs behind each number)  REPORT.md  report.html  figures/…
        in_words.txt (its gist, for a terminal)  rows/… (all that it read, to make it again: jobs.report.again)
Exits   0 every cell is in | 10 made, but with gaps | 1 a number in the text is bound to no artifact
"""

from collections.abc import Mapping
from pathlib import Path

from common.cells import Cell, CellKind, every, judged_cells, steered_directions, traced_runs
from common.deviations import deviations_file
from common.digests import file_sha256
from common.pipeline.job import Fact, Job, Read
from common.provenance import ROOT
from common.spec import RunSpec
from common.stance.aloud import aloud_file
from common.stance.items import CONTROL_ITEMS, HARD_ITEMS, ITEMS, PILOT_ITEMS
from common.stance.labels import labels_file
from common.stance.reading import READER_WORTH
from jobs import version


def file_of_deviations(spec: RunSpec, _cell: Cell) -> Path:
    """Where deviations from the lock of a study are written down, in this repository."""
    return deviations_file(ROOT / f"locks/{spec.name}.json")


def digest_of_deviations(spec: RunSpec, cell: Cell) -> Mapping[str, str]:
    """The deviations so far, by digest."""
    path = file_of_deviations(spec, cell)
    return {path.name: file_sha256(path)} if path.is_file() else {}


def file_of_labels(spec: RunSpec, _cell: Cell) -> Path:
    """Where the labels of a study are kept, in this repository."""
    return labels_file(spec.name)


def digest_of_labels(spec: RunSpec, cell: Cell) -> Mapping[str, str]:
    """The labels so far, by digest; nothing where the study is not read by them."""
    path = file_of_labels(spec, cell)
    return {path.name: file_sha256(path)} if spec.lock.read_by == "labels" and path.is_file() else {}


def file_of_aloud(spec: RunSpec, _cell: Cell) -> Path:
    """Where it is kept what the answers of a study say, in this repository."""
    return aloud_file(spec.name)


def digest_of_aloud(spec: RunSpec, cell: Cell) -> Mapping[str, str]:
    """What was read aloud, by digest."""
    path = file_of_aloud(spec, cell)
    return {path.name: file_sha256(path)} if path.is_file() else {}


LABELS = Fact("labels", file_of_labels, digest_of_labels)
ALOUD = Fact("aloud", file_of_aloud, digest_of_aloud)
DEVIATIONS = Fact("deviations", file_of_deviations, digest_of_deviations)
ITEM_FILES = (ITEMS, PILOT_ITEMS, HARD_ITEMS, *CONTROL_ITEMS)
SCORES = ("answers.jsonl", "choices.jsonl", "controls.jsonl", "replies.jsonl", "guards.json")

JOB = Job(
    "report",
    version=version("report"),
    image="cpu",
    kinds=(CellKind.STUDY,),
    sections=("*",),
    reads=(
        Read("plan", every(CellKind.STUDY), ("plan.json",)),
        Read("generate", every(CellKind.DRAW), ("advice.jsonl",), optional=True),
        Read("distill", every(CellKind.DISTILLED), ("advice.jsonl",), optional=True),
        Read("lock", every(CellKind.STUDY), ("lock.json",), optional=True),
        Read("audit", every(CellKind.DRAW), ("framing.json",), optional=True),
        Read("finetune", every(CellKind.RUN), ("loss.jsonl", "training.json"), optional=True),
        Read("evaluate", every(CellKind.BASE, CellKind.RUN), SCORES, optional=True),
        Read("gate", every(CellKind.RUN), ("verdict.json",), optional=True),
        Read("interpret", every(CellKind.DIRECTION, CellKind.RUN), ("layers.json", "readout.json"), optional=True),
        Read("monitor", every(CellKind.RUN), ("drift.json",), optional=True),
        Read("selftest", lambda spec, _cell: steered_directions(spec), ("selftest.json",), optional=True),
        Read("steer", lambda spec, _cell: steered_directions(spec), ("steering.json",), optional=True),
        Read("judge", lambda spec, _cell: judged_cells(spec), ("judged.jsonl",), optional=True),
        Read("trace", lambda spec, _cell: traced_runs(spec), ("trace.json",), optional=True),
    ),
    shows=("report.html",),
    writes=(
        *("results.json", "provenance.json", "REPORT.md", "report.html", "in_words.txt"),
        *("figures/", "rows/"),
    ),
    data=(
        READER_WORTH,
        *(f"analysis/report/page/{name}" for name in ("page.css", "page.html.jinja", "page.js")),
        *ITEM_FILES,
    ),
    facts=(DEVIATIONS, LABELS, ALOUD),
)
