"""What a manifest must be before anything in it is used: whoever can write to a store can write another one."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from common.errors import SEALED, InputError
from common.store.sealed import ArtifactStore

KINDS: Mapping[str, tuple[type, ...]] = {
    "job": (str,),
    "cell": (str,),
    "key": (str,),
    "outputs": (dict,),
    "summary": (dict,),
    "parameters": (dict,),
    "exit_code": (int,),
    "started": (str,),
    "seconds": (int, float),
    "provenance": (dict,),
}
OUTCOME = ("job", "cell", "key", "outputs", "summary", "parameters", "exit_code", "started", "seconds")


def sealed_manifest(
    store: ArtifactStore, job: str, key: str, needs: Sequence[str] = ("outputs",)
) -> dict[str, Any] | None:
    """The manifest of a sealed step, None while it is not sealed. Raises: InputError as `checked_manifest`."""
    found = store.manifest(job, key)
    return None if found is None else checked_manifest(found, job, key, needs)


def checked_manifest(
    manifest: dict[str, Any], job: str, key: str, needs: Sequence[str] = ("outputs",)
) -> dict[str, Any]:
    """The manifest of this step itself, with every field in `needs`, each of its kind.

    Raises: InputError naming the field.
    """
    where = f"steps/{job}/{key}/manifest.json"
    for name in needs:
        if name not in manifest:
            raise InputError("a manifest without a field", where=where, value=name, allowed=", ".join(needs))
    for name, kinds in KINDS.items():
        if name in manifest and (isinstance(manifest[name], bool) or not isinstance(manifest[name], kinds)):
            allowed = " or ".join(kind.__name__ for kind in kinds)
            raise InputError("malformed manifest", where=f"{where}:/{name}", value=manifest[name], allowed=allowed)
    for name, value in {"job": job, "key": key}.items():
        if manifest.get(name, value) != value:
            raise InputError("the manifest of another step", where=f"{where}:/{name}", value=manifest[name])
    if (code := manifest.get("exit_code", SEALED[0])) not in SEALED:
        allowed = ", ".join(str(int(each)) for each in SEALED)
        raise InputError("malformed manifest", where=f"{where}:/exit_code", value=code, allowed=allowed)
    for name, output in manifest["outputs"].items():
        if not (isinstance(output, dict) and re.fullmatch("[0-9a-f]{64}", str(output.get("digest")))):
            allowed = "a digest of 64 hex digits"
            raise InputError("malformed manifest", where=f"{where}:/outputs/{name}", value=output, allowed=allowed)
    return manifest
