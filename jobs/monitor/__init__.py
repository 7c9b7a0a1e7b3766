"""Say at which checkpoint, if any, a fine-tune drifted along the direction further than random directions do.

Reads   interpret/<cell>/readout.json
Writes  drift.json   at each checkpoint: shift over the base's SD, rank among the null directions, drifted or not
Exits   0 | 3 the readout is missing
Does not see: drift that lies across the direction.

With --base and --checkpoints it is a tool for anybody's training instead: docs/monitor.md.
"""

from common.cells import CellKind, itself
from common.pipeline.job import Job, Read
from jobs import version

JOB = Job(
    "monitor",
    version=version("monitor"),
    image="cpu",
    kinds=(CellKind.RUN,),
    sections=("monitor",),
    reads=(Read("interpret", itself, ("readout.json",)),),
    writes=("drift.json",),
)
