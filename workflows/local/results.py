"""Copies what steps sealed from the store into a folder that a person opens."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.cells import STUDY
from common.errors import InputError
from common.pipeline.job import Catalog, Job, declared
from common.pipeline.keys import Keys
from common.spec import RunSpec
from common.store.names import checked, write_below
from common.store.sealed import ArtifactStore, as_kept

MANIFEST = "manifest.json"  # says which bytes the step sealed: whoever keeps its outputs can show that none was edited


def fetch(spec: RunSpec, jobs: Catalog, store: ArtifactStore, job: str, folder: Path) -> Path | None:
    """Copy what a step over the whole study sealed, as its report, into `folder`; None if it is not sealed."""
    if job not in jobs:
        return None
    manifest = store.manifest(job, Keys(spec, jobs, store).key(job, STUDY))
    if manifest is None:
        return None
    write_outputs(manifest, store, folder, jobs[job])
    return folder


def write_outputs(manifest: Mapping[str, Any], store: ArtifactStore, folder: Path, job: Job) -> None:
    """Copy every output of a sealed step, and its manifest, into `folder`.

    An output that its job does not write is badly named: in the folder that was asked for it could be a program.
    Raises: InputError if one is missing, altered or badly named; then none is copied.
    """
    if stranger := [name for name in manifest["outputs"] if not declared(checked(name), job.writes)]:
        allowed = ", ".join(job.writes)
        raise InputError("not an output of this job", where=job.name, value=stranger[0], allowed=allowed)
    outputs = {name: store.get(output["digest"]) for name, output in manifest["outputs"].items()}
    write_below(folder, {**outputs, MANIFEST: as_kept(manifest)})
