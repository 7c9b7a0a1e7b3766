"""What a sealed step hands to the orchestrator, which builds the commands of later steps from it."""

from collections.abc import Mapping
from typing import Any

from common.errors import InputError, SpecError
from common.spec import RunSpec, parse_spec


def handed_over(manifest: Mapping[str, Any], spec: RunSpec) -> dict[str, str]:
    """The output parameters of a step of this study.

    A spec among them is the one that was asked for: whoever forged another could send later steps, with the secrets
    that they hold, to a server of theirs. Raises: InputError.
    """
    found, where = manifest["parameters"], f"{manifest['job']}/{manifest['cell']}"
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise InputError("malformed parameters in a manifest", where=where, allowed="names and texts")
    if "spec" in found and (other := _spec(found["spec"], where)).settings() != spec.settings():
        raise InputError(
            "the sealed step hands over another spec", where=where, value=other.run_id, allowed=spec.run_id
        )
    return dict(found)


def _spec(text: str, where: str) -> RunSpec:
    try:
        return parse_spec(text.encode(errors="replace"), where)
    except SpecError as error:  # exit 2 is for a spec that a user gave
        raise InputError("the sealed step hands over no spec", where=where, value=str(error)) from error
