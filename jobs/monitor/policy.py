"""When a checkpoint is beyond what is allowed: flags, or the table [monitor] of a policy in TOML."""

import argparse
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from common.cli import policy_in
from common.errors import SpecError
from common.frozen import Frozen
from common.spec import GateSpec, MonitorSpec

TABLE = "monitor"


class Policy(Frozen):
    """What is allowed of a checkpoint. The first two mean what they mean for the gate and in a study."""

    max_shift: float = Field(
        GateSpec().bound, gt=0, lt=2, description="shift of net go (-1 to 1): beyond it where the whole interval is"
    )
    level: float = Field(
        MonitorSpec().level, gt=0.5, lt=1, description="share of the random directions that drift must exceed"
    )
    max_drift: float = Field(
        0.25, ge=0, lt=100, description="SDs of the base along the direction: no less is called drift, however rare"
    )
    stop_on: Literal["either", "stance", "drift"] = Field("either", description="which of the two counts")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of the policy; each is named as its field. A flag goes before the file."""
    for name, field in Policy.model_fields.items():
        kind: Any = str if field.annotation is not float else float
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=kind, help=f"{field.description} (default {field.default})")
    parser.add_argument("--policy", type=Path, metavar="FILE", help=f"a TOML file; these fields in its table [{TABLE}]")


def policy_of(args: argparse.Namespace) -> Policy:
    """What flags and file say. Raises: SpecError naming the field, its value and what is allowed."""
    table = {} if args.policy is None else _table(args.policy)
    flags = {name: getattr(args, name) for name in Policy.model_fields if getattr(args, name) is not None}
    try:
        return Policy.model_validate(table | flags)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        where = f"--{name.replace('_', '-')}" if name in flags else f"{args.policy}: {TABLE}.{name}"
        raise SpecError("bad policy", where=where, value=repr(first["input"]), allowed=first["msg"]) from None


def _table(path: Path) -> dict[str, Any]:
    found = policy_in(path).get(TABLE, {})
    if not isinstance(found, dict):
        raise SpecError("no table", where=f"{path}: {TABLE}", value=found, allowed=f"[{TABLE}] and its fields")
    return found
