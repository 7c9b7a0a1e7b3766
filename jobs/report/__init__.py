"""Gather every sealed step into results, figures and a report in which each number is bound to its artifact.

Reads   everything that is sealed; what is not is listed as a gap
Writes  results.json  provenance.json (the outputs behind each number)  REPORT.md  report.html  figures/…
        in_words.txt (its gist, for a terminal)  rows/… (all that it read, to make it again: jobs.report.again)
Exits   0 every cell is in | 10 made, but with gaps | 1 a number in the text is bound to no artifact
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from common.cells import Cell, CellKind, every, judged_cells, steered_directions, traced_runs
from common.deviations import deviations_file
from common.digests import file_sha256
from common.pipeline.job import Fact, Job, Read
from common.provenance import ROOT
from common.spec import RunSpec
from common.stance.items import CONTROL_ITEMS, HARD_ITEMS, ITEMS, PILOT_ITEMS
from common.stance.labels import labels_file
from common.stance.reading import READER_WORTH
from jobs import version
from jobs.report.aloud import aloud_file


def kept_beside_the_lock(
    name: str, file: Callable[[str], Path], counts: Callable[[RunSpec], bool] = lambda _spec: True
) -> Fact[Path]:
    """A file of a study in this repository, by digest; nothing where it is not there, or does not count."""

    def digest(spec: RunSpec, _cell: Cell) -> Mapping[str, str]:
        path = file(spec.name)
        return {path.name: file_sha256(path)} if counts(spec) and path.is_file() else {}

    return Fact(name, lambda spec, _cell: file(spec.name), digest)


LABELS = kept_beside_the_lock("labels", labels_file, lambda spec: spec.lock.read_by == "labels")
ALOUD = kept_beside_the_lock("aloud", aloud_file)
DEVIATIONS = kept_beside_the_lock("deviations", lambda study: deviations_file(ROOT / f"locks/{study}.json"))
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
