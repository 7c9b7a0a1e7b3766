"""What is wrong with a spec, in one line: the field, its value and what was allowed."""

import difflib
from typing import get_args

from pydantic import BaseModel, ValidationError

from common.errors import SpecError


def spec_error(whole: type[BaseModel], error: ValidationError, where: str) -> SpecError:
    """The first thing that is wrong. whole: the model of a whole spec."""
    # A misspelt field also leaves its right name missing: say the misspelling, it is the cause.
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    path = ".".join(map(str, first["loc"])) or "spec"
    if first["type"] == "extra_forbidden":
        known = _fields(whole, first["loc"][:-1])
        return SpecError("unknown field", where=f"{where}:{path}", allowed=nearest(str(first["loc"][-1]), known))
    value = None if first["type"] == "missing" else first["input"]
    message = first["msg"].removeprefix("Value error, ")
    return SpecError("bad field", where=f"{where}:{path}", value=value, allowed=message)


def _fields(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    for step in path:
        if isinstance(step, int):
            continue
        annotation = model.model_fields[step].annotation
        inner = [a for a in (annotation, *get_args(annotation)) if isinstance(a, type) and issubclass(a, BaseModel)]
        model = inner[0]
    return list(model.model_fields)


def nearest(word: str, known: list[str]) -> str:
    """What a misspelt word may have meant, and what is known."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    listed = ", ".join(known[:12]) + (", …" if len(known) > 12 else "")
    return f"did you mean {close[0]!r}? (of {listed})" if close else listed
