"""Copy a run's adapter to where releases are kept, if the gate's verdict on it is *within*.

Reads   gate/<cell>/verdict.json, finetune/<cell>/adapter/…
Writes  release.json   the verdict with its reason, the base, the digest of each file of the adapter; and the folder,
                       if it was published
        Below UNDERTONE_RELEASES (s3://bucket/prefix or a folder), in <study>/<cell>/<12 digits that name the bytes>:
        the adapter in PEFT's own layout, and release.json last. Nothing there is ever written over.
Hands over  release: cell, verdict and folder, which is empty if it was not published
            reason: the gate's, in words
Exits   0 published | 10 the verdict is moved or undecided: nothing was copied | 2 UNDERTONE_RELEASES names no place |
        3 verdict or adapter is missing, or other bytes stand in the folder
No study publishes: workflows/release.yaml does. Once sealed it is not copied again, even if the folder was emptied.
Does not see: whether the gate asked about the topics that matter to you.
"""

import os
from typing import NamedTuple

from common.cells import CellKind, itself
from common.lm.sources import MODEL
from common.pipeline.job import Fact, Job, Read
from jobs import version

PLACE = "UNDERTONE_RELEASES"


class Releases(NamedTuple):
    """Where releases of a study are kept."""

    uri: str  # s3://bucket/prefix or a folder; empty: nobody said
    study: str


def releases() -> str:
    """The place that the environment names, empty if it names none."""
    return os.environ.get(PLACE, "")


RELEASES = Fact(
    "releases",
    lambda spec, _cell: Releases(releases(), spec.name),
    lambda spec, _cell: {"uri": releases(), "study": spec.name},
)

JOB = Job(
    "publish",
    version=version("publish"),
    image="cpu",
    kinds=(CellKind.RUN,),
    reads=(Read("gate", itself, ("verdict.json",)), Read("finetune", itself, ("adapter/",))),
    writes=("release.json",),
    facts=(MODEL, RELEASES),
    parameters=("release", "reason"),
    among=lambda _spec: (),
)
