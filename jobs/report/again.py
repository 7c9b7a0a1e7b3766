"""Make a report again from the rows that were published beside it: `python -m jobs.report.again REPORT OUT`.

No store and no model is read. OUT gets the files of the report, without its rows. Exits 0, or 3 where
rows are gone or altered.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from common.cli import ended, parsed
from common.errors import ExitCode
from common.store.names import write_below
from jobs.report.published import Published
from jobs.report.report import files_of


def main(argv: Sequence[str] | None = None) -> int:
    """Make it, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m jobs.report.again", description=__doc__)
    parser.add_argument("report", type=Path, help="folder of a report with rows/")
    parser.add_argument("out", type=Path, help="folder for what is made")
    arguments = parsed(parser, argv)
    return ended(lambda: _made(arguments.report, arguments.out), unreadable=ExitCode.INPUT)


def _made(folder: Path, out: Path) -> int:
    _, files = files_of(Published(folder))
    write_below(out, files)
    return int(ExitCode.OK)


if __name__ == "__main__":
    sys.exit(main())
