"""What all jobs on models import. The server of workflows.local.forked imports it before it forks, and nobody else."""

import gc
import importlib
import os

NAMES = (  # deepspeed is left out: having it in memory alters what accelerate does
    "analysis.stats.stance",
    "common.pipeline.command",
    "common.lm.generation",
    "common.lm.load",
)

os.setsid()  # Ctrl-C goes to the runner, which asks steps to stop
for name in NAMES:
    importlib.import_module(name)
gc.freeze()  # so that collecting garbage does not touch, and thereby copy, what all share
