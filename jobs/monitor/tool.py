"""The monitor on anybody's checkpoints: `python -m jobs.monitor --base MODEL --checkpoints FOLDER`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from common.errors import ExitCode, SpecError
from common.logs import Log
from common.model_flags import add_model_flags, model_of
from common.pipeline.tool import Found, Tool
from common.spec import EvaluateSpec
from jobs.monitor.policy import add_flags, policy_of

if TYPE_CHECKING:
    from jobs.monitor.found import Monitored

DESCRIBE = """Say at which checkpoint of a training its stance moved, or drifted along a direction, if at any.

Reads   checkpoint-N folders as Hugging Face's Trainer writes them, LoRA or whole models; no pickle is opened
Writes  monitor.json, monitor.csv, monitor.png, tensorboard/ (where that is installed) below --out; there too what was
        measured of each checkpoint, which is not measured again while its bytes are the same
Does not see: topics that are not asked about; what a model does when it is not asked for advice
"""
FEWEST_ITEMS = 8
LEFT = "what was measured is kept, and the same command goes on"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of the tool."""
    add_model_flags(parser, "the model that is trained")
    parser.add_argument("--checkpoints", required=True, metavar="PLACE", help="a folder, or s3://bucket/prefix")
    parser.add_argument("--control", metavar="PLACE", help="checkpoints of a run on neutral data, to compare with")
    parser.add_argument(
        "--direction",
        default="caution",
        metavar="FILE",
        help="caution, which is made on the base, or a .safetensors file (%(default)s)",
    )
    parser.add_argument("--items", type=int, default=32, help="items that are asked openly (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=EvaluateSpec().batch_rows, help="rows a pass (%(default)s)")
    parser.add_argument(
        "--max-new-tokens", type=int, default=EvaluateSpec().answer_tokens, help="of an answer (%(default)s)"
    )
    add_flags(parser)
    watch = parser.add_argument_group("beside a training")
    watch.add_argument(
        "--watch",
        action="store_true",
        help="measure each checkpoint as it comes; write OUT/stop when "
        "one is beyond the policy; end then, or when OUT/done appears",
    )
    watch.add_argument("--poll-seconds", type=float, default=10.0, help="between two looks (%(default)s)")
    watch.add_argument(
        "--idle-minutes", type=float, default=60.0, help="end when nothing came for so long (%(default)s)"
    )


def main(args: argparse.Namespace, log: Log) -> Found:
    """Measure, judge and tell. Raises: SpecError, InputError, TransientError."""
    policy, spec, settings = policy_of(args), model_of(args), settings_of(args)
    from jobs.monitor.checkpoints import check_there, opened
    from jobs.monitor.following import STOP, Follower, Run
    from jobs.monitor.measuring import gauge_on
    from jobs.monitor.telling import files_of, told

    files = opened(args.checkpoints, "--checkpoints")
    control = None if args.control is None else opened(args.control, "--control")
    for each in filter(None, (None if args.watch else files, control)):
        check_there(each)
    gauge, base = gauge_on(spec, args.direction, args.items, settings, args.out, log)
    beside = None if control is None else Run(control, gauge, log)
    follower = Follower(gauge, base, Run(files, gauge, log), beside, policy)
    if args.watch:
        (args.out / STOP).unlink(missing_ok=True)
        found = follower.watch(args.out, args.poll_seconds, args.idle_minutes, lambda each: _keep(each, args.out))
    else:
        found = follower.there()
    code = ExitCode.OK if found.beyond_at is None else ExitCode.BLOCKED
    last = found.curve[-1]
    summary = {
        "base": args.base,
        "checkpoints": [point.step for point in found.curve],
        "beyond_at": found.beyond_at,
        "shift": last.shift,
        "verdict": last.verdict,
        "drift": last.drift,
        "drifted": last.drifted,
    }
    return Found(code, summary, files_of(found, log), told(found))


def settings_of(args: argparse.Namespace) -> EvaluateSpec:
    """How models are asked. Raises: SpecError naming a flag that is out of range."""
    if args.items < FEWEST_ITEMS:
        raise SpecError("too few items", where="--items", value=args.items, allowed=f">= {FEWEST_ITEMS}")
    for flag in ("poll_seconds", "idle_minutes"):
        if not (value := getattr(args, flag)) > 0:
            raise SpecError("no span of time", where=f"--{flag.replace('_', '-')}", value=value, allowed="> 0")
    try:
        return EvaluateSpec(answer_tokens=args.max_new_tokens, batch_rows=args.batch_size)
    except ValidationError as error:
        first = error.errors()[0]
        flag = {"answer_tokens": "--max-new-tokens", "batch_rows": "--batch-size"}[str(first["loc"][0])]
        raise SpecError("out of range", where=flag, value=first["input"], allowed=first["msg"]) from None


def _keep(found: "Monitored", out: Path) -> None:
    """What was found so far, for whoever looks while the training goes on."""
    from common.store.names import write_below

    write_below(out, {"monitor.json": f"{found.model_dump_json(indent=1)}\n".encode()})


TOOL = Tool("monitor", "--checkpoints", DESCRIBE, arguments, main, left=LEFT)
