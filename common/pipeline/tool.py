"""The second door of a job that is a tool: files of a user's own, in place of a cell of a study.

A step has three arguments, --spec, --cell and --store. A tool has flags of its own beside them, and one of these opens
its door. It ends as a step does: one JSON line on stdout, one line for an error, the exit codes of the contract.
"""

import argparse
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from common.cli import parsed, program
from common.errors import ExitCode, Interrupted
from common.logs import Log
from common.pipeline.command import EXIT_CODES, quiet_stdout, told
from common.secrets import redacted_value
from common.store.names import write_below


class Found(NamedTuple):
    """What a tool found. It is written only when it is whole."""

    code: ExitCode  # OK or BLOCKED
    summary: Mapping[str, Any]  # the line on stdout: JSON values
    files: Mapping[str, bytes]  # name → bytes, below --out
    text: str  # the same for a person, a few lines, on stderr


@dataclass(frozen=True)
class Tool:
    """A tool: the flag that opens its door, its other flags, its help, its work."""

    name: str
    flag: str  # as --corpus
    describe: str
    arguments: Callable[[argparse.ArgumentParser], None]
    main: Callable[[argparse.Namespace, Log], Found]
    others: tuple[str, ...] = ()  # flags that open it too
    left: str = "nothing was written"  # what is said of its work where it ends early

    def opened_by(self, argv: Sequence[str]) -> bool:
        """Whether a command line asks for the tool and not for a step."""
        given = {word.partition("=")[0] for word in argv}
        return not given.isdisjoint({self.flag, *self.others})

    def parser(self) -> argparse.ArgumentParser:
        """The tool's command line."""
        parser = argparse.ArgumentParser(
            prog=program(self.name),
            description=self.describe,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            epilog=EXIT_CODES,
        )
        self.arguments(parser)
        parser.add_argument(
            "--out", type=Path, default=Path(f"undertone-{self.name}"), help="folder for what it writes (%(default)s)"
        )
        return parser


def run_tool(tool: Tool, argv: Sequence[str]) -> int:
    """Run a tool on a user's files, write what it found, and return the exit code."""
    args = parsed(tool.parser(), argv)
    log = Log(tool.name, "files")

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Interrupted(f"stopped by SIGTERM; {tool.left}")

    before = signal.signal(signal.SIGTERM, stop)
    with quiet_stdout() as say:
        try:
            found = tool.main(args, log)
            write_below(args.out, found.files)
            log.done()
            print(found.text, file=sys.stderr)
            say(
                redacted_value({"tool": tool.name, **found.summary, "exit_code": int(found.code), "out": str(args.out)})
            )
            return int(found.code)
        except (Exception, KeyboardInterrupt) as error:
            return told(error, log, tool.left)
        finally:
            log.done()
            signal.signal(signal.SIGTERM, before)
