"""The flags of a tool that name models and say how they are spoken to."""

import argparse
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from common.errors import InputError, SpecError
from common.serialization import parse_json
from common.spec import ModelSpec

MODELS = "a folder, hf:<repo>@<revision, 40 hex digits>, or package:<wheel>"


def add_model_flags(parser: argparse.ArgumentParser, told: str, *, required: bool = True) -> None:
    """--base, --system-prompt and --template-arguments. told: what the base is."""
    parser.add_argument("--base", required=required, metavar="MODEL", help=f"{told}: {MODELS}")
    parser.add_argument("--system-prompt", metavar="TEXT", help="sent in every chat; empty: none is sent")
    parser.add_argument(
        "--template-arguments", metavar="JSON", help='more for the chat template: {"enable_thinking": false}'
    )


def source_of(text: str, flag: str) -> str:
    """A model's source as specs name it; a plain folder becomes path:. Raises: SpecError if it is of no such kind."""
    source = _with_kind(text)
    if source.partition(":")[0] not in ("package", "hf", "path"):
        raise SpecError("no such model", where=flag, value=text, allowed=MODELS)
    return source


def model_of(args: argparse.Namespace) -> ModelSpec:
    """The base that the flags name. Raises: SpecError naming the flag."""
    given: dict[str, Any] = {}
    if args.system_prompt is not None:
        given["system_prompt"] = args.system_prompt or None
    if args.template_arguments is not None:
        try:
            given["template_arguments"] = parse_json(args.template_arguments.encode(), "--template-arguments")
        except InputError as error:
            raise SpecError(str(error)) from None
    return named(args.base, "--base", **given)


def named(text: str, flag: str, **given: Any) -> ModelSpec:
    """The model that a flag names. given: fields that have flags of their own. Raises: SpecError naming the flag."""
    try:
        return ModelSpec(name="base", source=_with_kind(text), **given)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else "template_arguments"
        if field == "source":
            raise SpecError("not a model", where=flag, value=text, allowed=MODELS) from None
        where = f"--{field.replace('_', '-')}"
        raise SpecError("bad value", where=where, value=str(first["input"]), allowed=first["msg"]) from None


def _with_kind(text: str) -> str:
    return f"path:{text}" if Path(text).is_dir() else text
