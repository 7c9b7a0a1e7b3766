"""The gate's second door: its command line."""

import argparse
from pathlib import Path

from common.errors import ExitCode, SpecError
from common.logs import Log
from common.model_flags import add_model_flags
from common.pipeline.tool import Found, Tool
from jobs.gate import items, policy

DESCRIBE = """Did fine-tuning move what a model stands for? Asks a base and what was made of it the same questions.

Exits   0 within | 10 moved, undecided, or unable | 3 files are missing, altered or of another kind | 2 wrong flags
Writes  verdict.json, junit.xml and summary.md below --out
Does not see: stances on topics that no item asks about; docs/gate.md says more.
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of the gate on files."""
    add_model_flags(parser, "what the fine-tune was made of", required=False)
    tuned = parser.add_mutually_exclusive_group()
    tuned.add_argument("--adapter", metavar="FOLDER", help="a LoRA: a folder, s3://…, or hf:<repo>@<revision>")
    tuned.add_argument("--model", metavar="MODEL", help="a whole fine-tune of the base instead, as --base")
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--against", metavar="FOLDER", help="another adapter: the shift is from it, not from the base")
    other.add_argument("--control", metavar="FOLDER", help="an adapter trained on neutral data: its shift is taken off")
    parser.add_argument("--items", type=Path, metavar="FILE", help="items of your own, JSON lines (docs/gate.md)")
    parser.add_argument("--lint", action="store_true", help="say every fault of --items, with its line; asks no model")
    parser.add_argument("--log-samples", action="store_true", help="write all answers to answers.jsonl too")
    policy.arguments(parser)


def main(args: argparse.Namespace, log: Log) -> Found:
    """Lint items, or judge a model. Raises: SpecError, InputError, TransientError."""
    if args.lint:
        return linted(args.items)
    for flag, given in (("--base", args.base), ("--adapter or --model", args.adapter or args.model)):
        if not given:
            raise SpecError("the gate needs a model more", where="command line", allowed=flag)
    settled = policy.policy_of(args)
    from jobs.gate.files import gated  # torch, only where a model is asked

    return gated(args, settled, log)


def linted(path: Path | None) -> Found:
    """Every fault of a file of items. Raises: SpecError if it cannot be read."""
    if path is None:
        raise SpecError("nothing to lint", where="--lint", allowed="--items FILE")
    found, faults = items.parsed(path)
    told = [fault.told(path) for fault in faults]
    code = ExitCode.BLOCKED if faults else ExitCode.OK
    topics = len({item.topic for item in found})
    text = "\n".join([*told, f"{len(faults)} faults; {len(found)} items on {topics} topics"])
    return Found(code, {"faults": len(faults), "items": len(found), "topics": topics}, {}, text)


TOOL = Tool("gate", "--base", DESCRIBE, arguments, main, others=("--adapter", "--model", "--lint"))
