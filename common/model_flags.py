"""The flags of a tool that name the base and say how it is spoken to."""

import argparse
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from common.errors import InputError, SpecError
from common.serialization import parse_json
from common.spec import ModelSpec

MODELS = "a folder, hf:<repo>@<revision, 40 hex digits>, or package:<wheel>"


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """--base, --system-prompt and --template-arguments."""
    parser.add_argument("--base", required=True, metavar="MODEL", help=f"the model that is trained: {MODELS}")
    parser.add_argument("--system-prompt", metavar="TEXT", help="sent in every chat; empty: none is sent")
    parser.add_argument(
        "--template-arguments", metavar="JSON", help='more for the chat template: {"enable_thinking": false}'
    )


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
    source = f"path:{args.base}" if Path(args.base).is_dir() else args.base
    try:
        return ModelSpec(name="base", source=source, **given)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else "template_arguments"
        if field == "source":
            raise SpecError("not a model", where="--base", value=args.base, allowed=MODELS) from None
        where = f"--{field.replace('_', '-')}"
        raise SpecError("bad value", where=where, value=str(first["input"]), allowed=first["msg"]) from None
