"""What a manifest must be before anything in it is used: whoever can write to a store can write another one."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from common.errors import SEALED, InputError

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
RAN: Mapping[str, tuple[type, ...]] = {  # of what provenance says, the part that is read again
    "commit": (str,),
    "image": (str,),
    "python": (str,),
    "processor": (str,),
    "packages": (dict,),
    "peak_memory_bytes": (int, float),
}
OUTCOME = ("job", "cell", "key", "outputs", "summary", "parameters", "exit_code", "started", "seconds")


OUTPUTS = ("outputs",)


def checked_manifest(manifest: dict[str, Any], job: str, key: str, needs: Sequence[str] = OUTPUTS) -> dict[str, Any]:
    """The manifest of this step itself, with its outputs and every field in `needs`, each of its kind.

    Raises: InputError naming the field.
    """
    where = f"steps/{job}/{key}/manifest.json"
    _check_fields(manifest, KINDS, {*OUTPUTS, *needs}, where)
    if "provenance" in manifest:
        of_it = RAN if "provenance" in needs else ()
        _check_fields(manifest["provenance"], RAN, of_it, f"{where}:/provenance")
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


def digest_of(manifest: Mapping[str, Any], name: str, where: str) -> str:
    """The digest of an output of a sealed step. Raises: InputError if it has none of this name."""
    outputs = manifest["outputs"]
    if name not in outputs:
        raise InputError("step has no such output", where=where, value=name, allowed=", ".join(outputs))
    return str(outputs[name]["digest"])


def _check_fields(
    facts: Mapping[str, Any], kinds: Mapping[str, tuple[type, ...]], needs: Collection[str], where: str
) -> None:
    """Refuse facts that lack a field, or hold one of another kind. Raises: InputError naming it."""
    if absent := sorted(set(needs) - facts.keys()):
        allowed = ", ".join(sorted(needs))
        raise InputError("a manifest without a field", where=where, value=absent[0], allowed=allowed)
    for name, known in kinds.items():
        if name in facts and (isinstance(facts[name], bool) or not isinstance(facts[name], known)):
            allowed = " or ".join(kind.__name__ for kind in known)
            raise InputError("malformed manifest", where=f"{where}:/{name}", value=facts[name], allowed=allowed)
