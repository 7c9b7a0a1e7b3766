"""What runs in a container: a folder a job. `jobs.<name>` declares it, `jobs.<name>.<name>` does it."""

import importlib
import json
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import MappingProxyType

from common.errors import ExitCode
from common.pipeline.command import run_job
from common.pipeline.job import Catalog, Job
from common.pipeline.step import Step
from common.pipeline.tool import Tool, run_tool

# Read when torch is loaded, which is after this. Idle OpenMP threads otherwise spin, and jobs that share cores slow
# each other down: an evaluation of 12 s took 244 s beside two others, and 17 s with this.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

VERSIONS = Path(__file__).with_name("versions.json")  # pins versions to code: python -m tests.pins --help


@cache
def version(job: str) -> int:
    """The version of a job: a part of the key of its steps. One that was never pinned has 0."""
    return int(json.loads(VERSIONS.read_text())["jobs"].get(job, {}).get("version", 0))


@cache
def catalog() -> Catalog:
    """Every job by name. Imports only their declarations."""
    names = sorted(path.parent.name for path in Path(__file__).parent.glob("*/__main__.py"))
    jobs: dict[str, Job] = {name: importlib.import_module(f"jobs.{name}").JOB for name in names}
    return MappingProxyType(jobs)


def start(name: str, main: Callable[[Step], ExitCode], tool: Tool | None = None) -> None:
    """Run a job from the command line, and exit with the code of the contract.

    tool: what it does with files of a user's own, where a flag asks for that.
    """
    argv = sys.argv[1:]
    if tool is not None and tool.opened_by(argv):
        sys.exit(run_tool(tool, argv))
    if tool is not None and {"-h", "--help"} & set(argv):
        tool.parser().print_help()
        print("\nAs a step of a study:\n")
    sys.exit(run_job(catalog()[name], main, catalog()))
