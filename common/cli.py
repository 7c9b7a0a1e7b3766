"""What our command lines share: changes to a spec, and how they end when something is wrong.

An error that a person can mend is one line on stderr and an exit code of `common.errors`, never a traceback.
"""

import argparse
import json
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from common.errors import ExitCode, JobError, SpecError, TransientError, disk_full
from common.secrets import redacted, stderr_redacted

COUNTED = ("seeds", "draws")  # fields of which a number stands for so many


def ended(command: Callable[[], int], unreadable: ExitCode = ExitCode.SPEC) -> int:
    """Run a command and return its exit code. What it raises becomes a line on stderr and the code of that error.

    unreadable: the exit code where a file cannot be read or written; for most commands the user named that file.
    """
    try:
        return int(command())
    except JobError as error:
        return _complain(str(error), error.exit_code)
    except OSError as error:
        if disk_full(error):
            line = str(TransientError("disk full", where=str(error.filename or Path.cwd()), value=error.strerror))
            return _complain(line, ExitCode.TRANSIENT)
        return _complain(f"cannot read {error.filename}: {error.strerror}", unreadable)


def _complain(line: str, code: ExitCode) -> int:
    print(f"error: {redacted(line)}", file=sys.stderr)
    return int(code)


def program(job: str) -> str:
    """What the user typed to start a job: `undertone <job>`, or Python with its module."""
    named = sys.argv[0]
    return named if named == f"undertone {job}" else f"python -m jobs.{job}"


def parsed(parser: argparse.ArgumentParser, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments of a command line; what is said of wrong ones holds no secret. Raises: SystemExit."""
    with stderr_redacted():
        return parser.parse_args(argv)


def changes(words: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE words as overrides of a spec. A value is JSON, else text; seeds=8 stands for 0 to 7, as draws=8 does.

    Raises: SpecError for a word without '='.
    """
    made: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise SpecError("not an override", where="--set", value=word, allowed="NAME=VALUE, as in train.epochs=2")
        value = _value(text)
        made[name] = list(range(value)) if name in COUNTED and type(value) is int else value
    return made


def policy_in(path: Path) -> dict[str, Any]:
    """The tables of a policy, which is TOML. Raises: SpecError if it cannot be read, or is none."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        allowed = str(error.strerror)
        raise SpecError("cannot read the policy", where="--policy", value=str(path), allowed=allowed) from None
    except (ValueError, RecursionError) as error:  # no UTF-8 or no TOML, or nested without end
        raise SpecError("the policy is no TOML", where=str(path), value=f"cannot be read: {error}") from None


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
