"""Gather every sealed step into results, figures and a report in which each number is bound to its artifact.

Reads   everything that is sealed; what is not is listed as a gap
Writes  results.json  REPORT.md  report.html  report.ipynb  figures/…
Exits   0 every cell is in | 10 made, but with gaps | 1 a number in the text is bound to no artifact
"""

from collections.abc import Mapping

from common.cells import Cell, CellKind, every, steered_directions, traced_runs
from common.digests import file_sha256
from common.pipeline.job import Job, Read
from common.provenance import ROOT
from common.spec import RunSpec


def deviations_file(spec: RunSpec) -> str:
    """Where deviations from the lock of a study are written down, in this repository."""
    return f"locks/{spec.name}.deviations.jsonl"


def outside(spec: RunSpec, _cell: Cell) -> Mapping[str, str]:
    """The deviations so far."""
    path = ROOT / deviations_file(spec)
    return {path.name: file_sha256(path)} if path.is_file() else {}


JOB = Job(
    "report",
    version=5,
    image="cpu",
    kinds=(CellKind.STUDY,),
    sections=("*",),
    reads=(
        Read("plan", every(CellKind.STUDY)),
        Read("generate", every(CellKind.DRAW), optional=True),
        Read("distill", every(CellKind.DISTILLED), optional=True),
        Read("lock", every(CellKind.STUDY), optional=True),
        Read("audit", every(CellKind.DRAW), optional=True),
        Read("finetune", every(CellKind.RUN), optional=True),
        Read("evaluate", every(CellKind.BASE, CellKind.RUN), optional=True),
        Read("gate", every(CellKind.RUN), optional=True),
        Read("interpret", every(CellKind.DIRECTION, CellKind.RUN), optional=True),
        Read("monitor", every(CellKind.RUN), optional=True),
        Read("selftest", lambda spec, _cell: steered_directions(spec), optional=True),
        Read("steer", lambda spec, _cell: steered_directions(spec), optional=True),
        Read("trace", lambda spec, _cell: traced_runs(spec), optional=True),
    ),
    shows=("report.html",),
    writes=("results.json", "REPORT.md", "report.html", "report.ipynb", "figures/"),
    data=("analysis/REPORT.md.jinja", "analysis/notebook.py"),
    outside=outside,
)
