"""Gather every sealed step into results, figures and a report in which each number is bound to its artifact.

Reads   everything that is sealed; what is not is listed as a gap
Writes  results.json  REPORT.md  report.html  report.ipynb  figures/…
Exits   0 every cell is in | 10 made, but with gaps | 1 a number in the text is bound to no artifact
"""

from common.job import Job, Read
from common.spec import CellKind
from jobs import every

JOB = Job(
    "report",
    version=1,
    image="cpu",
    kinds=(CellKind.STUDY,),
    sections=("*",),
    reads=(
        Read("plan", every(CellKind.STUDY)),
        Read("generate", every(CellKind.CORPUS), optional=True),
        Read("audit", every(CellKind.DRAW), optional=True),
        Read("finetune", every(CellKind.RUN), optional=True),
        Read("evaluate", every(CellKind.BASE, CellKind.RUN), optional=True),
        Read("gate", every(CellKind.RUN), optional=True),
        Read("interpret", every(CellKind.DIRECTION, CellKind.RUN), optional=True),
        Read("monitor", every(CellKind.RUN), optional=True),
    ),
    shows=("report.html",),
    writes=("results.json", "REPORT.md", "report.html", "report.ipynb", "figures/"),
    data=("analysis/REPORT.md.jinja", "analysis/notebook.py"),
)
