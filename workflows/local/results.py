"""Copies what steps sealed from the store into a folder that a person opens."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.cells import STUDY
from common.pipeline.job import Catalog
from common.pipeline.keys import Keys
from common.serialization import canonical_json
from common.spec import RunSpec
from common.store.names import write_below
from common.store.sealed import ArtifactStore

MANIFEST = "manifest.json"  # says which bytes the step sealed: whoever keeps its outputs can show that none was edited


def fetch(spec: RunSpec, jobs: Catalog, store: ArtifactStore, job: str, folder: Path) -> Path | None:
    """Copy what a step over the whole study sealed, as its report, into `folder`; None if it is not sealed."""
    if job not in jobs:
        return None
    manifest = store.manifest(job, Keys(spec, jobs, store).key(job, STUDY))
    if manifest is None:
        return None
    write_outputs(manifest, store, folder)
    return folder


def write_outputs(manifest: Mapping[str, Any], store: ArtifactStore, folder: Path) -> None:
    """Copy every output of a sealed step, and its manifest, into `folder`.

    Raises: InputError if one is missing, altered or badly named; then none is copied.
    """
    outputs = {name: store.get(output["digest"]) for name, output in manifest["outputs"].items()}
    write_below(folder, {**outputs, MANIFEST: canonical_json(manifest)})
