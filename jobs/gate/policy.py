"""What a user of the gate settles: by flags, or in a TOML file of the same names."""

import argparse
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from analysis.stats.reliability import ANSWER
from common.cli import policy_in
from common.errors import SpecError
from common.frozen import Frozen
from common.lock_spec import LockSpec
from common.serialization import canonical_json
from common.spec import EvaluateSpec, GateSpec
from common.spec_errors import spec_error
from common.vocabulary import PRIMARY, Primary

STUDY, ASKED = GateSpec(), EvaluateSpec()  # where a study has a default, it is that of the gate too


class Policy(Frozen):
    """When an adapter passes, and how it is asked."""

    measure: Primary = Field(
        STUDY.measure, description="answer: net go of open answers; others: P(go) by a closed form"
    )
    margin: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="largest shift that does not matter; left out: the smallest that the items can pass",
    )
    level: float = Field(STUDY.level, gt=0.5, lt=1, description="coverage of the interval, all looks together")
    looks: int = Field(5, ge=1, le=50, description="blocks in which items are asked; it may stop after each")
    samples: int = Field(4, ge=2, le=64, description="sampled answers of the base to each item: margin, reliability")
    min_reliability: float | None = Field(
        None,
        ge=-1,
        le=1,
        description="of the measure over items of the base; below it the verdict is unable; -1: none is asked for; "
        f"left out: {LockSpec().reliable} for a closed form, none for open answers",
    )
    max_margin: float = Field(
        0.5, gt=0, lt=1, description="largest margin that may be found; if the items need a larger one: unable"
    )
    max_unreadable: float = Field(
        0.5, ge=0, le=1, description="share of answers off topic or incoherent above which a model cannot answer"
    )
    topics: tuple[str, ...] | None = Field(None, min_length=1, description="topics to ask about; left out: all")
    limit: int | None = Field(None, ge=1, description="first so many items of each topic")
    seed: int = Field(0, ge=0, lt=2**32, description="of samples and of the simulation")
    max_new_tokens: int = Field(ASKED.answer_tokens, ge=1, le=1024, description="most tokens of an answer")
    batch_size: int = Field(ASKED.batch_rows, ge=1, description="rows a pass; in bf16 it changes the last digits")

    def floor(self) -> float | None:
        """The least reliability over items that the measure must have; None: any will do.

        An open answer is drawn by chance, and chance averages out in a mean over items: the margin that is found takes
        account of it. A closed form is computed. If its two orders disagree over items, the order of the options drives
        it, and more items do not mend that.
        """
        if self.min_reliability is not None:
            return None if self.min_reliability == -1 else self.min_reliability
        return None if self.measure == ANSWER else LockSpec().reliable

    def asked(self) -> EvaluateSpec:
        """How an evaluation asks with these settings."""
        return EvaluateSpec(batch_rows=self.batch_size, answer_tokens=self.max_new_tokens)


def arguments(parser: argparse.ArgumentParser) -> None:
    """A flag for each field; none has a default of its own, so that a file may say it."""
    parser.add_argument("--policy", type=Path, metavar="FILE", help="TOML file with any of these, by the same names:")
    kinds: dict[str, dict[str, Any]] = {
        "measure": {"choices": PRIMARY},
        "topics": {"type": lambda text: tuple(text.split(",")), "metavar": "A,B,…"},
        **{name: {"type": float} for name in ("margin", "level", "min_reliability", "max_margin", "max_unreadable")},
    }
    for name, field in Policy.model_fields.items():
        default = "" if field.default is None else f" ({field.default})"
        told = f"{field.description}{default}".replace("%", "%%")
        parser.add_argument(f"--{name.replace('_', '-')}", help=told, **kinds.get(name, {"type": int, "metavar": "N"}))


def policy_of(args: argparse.Namespace) -> Policy:
    """The policy that a command line asks for: flags before the file. Raises: SpecError."""
    found = policy_in(args.policy) if args.policy is not None else {}
    flags = {name: value for name in Policy.model_fields if (value := getattr(args, name)) is not None}
    _parsed(found, str(args.policy))  # a file is right by itself
    return _parsed(found | flags, "command line")


def _parsed(values: dict[str, Any], where: str) -> Policy:
    try:
        return Policy.model_validate_json(canonical_json(values))
    except (TypeError, ValueError) as error:
        if isinstance(error, ValidationError):
            raise spec_error(Policy, error, where) from None
        raise SpecError("bad field", where=where, value=str(error), allowed="JSON values") from None  # such as a date
