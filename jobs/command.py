"""The command `undertone`, for people without a clone: `undertone audit …` is `python -m jobs.audit …`."""

import runpy
import sys
from importlib import metadata

from common.cli import ended
from common.errors import ExitCode, SpecError
from common.provenance import provenance
from jobs import catalog

TOOLS = ("audit", "gate", "monitor")  # those that take files of a user's own


def main() -> int:
    """Run the job that the first word names. Return the exit code; a job that ran exits itself."""
    return ended(lambda: _run(sys.argv[1:]))


def _run(words: list[str]) -> int:
    if words[:1] in ([], ["-h"], ["--help"]):
        print(listing())
        return int(ExitCode.OK)
    if words[0] == "--version":
        print(f"undertone {metadata.version('undertone')}, commit {provenance()['commit'] or 'not known'}")
        return int(ExitCode.OK)
    if words[0] not in catalog():
        raise SpecError("no such tool", where="undertone", value=words[0], allowed=", ".join((*TOOLS, *others())))
    sys.argv = [f"undertone {words[0]}", *words[1:]]
    runpy.run_module(f"jobs.{words[0]}", run_name="__main__")
    raise AssertionError(f"jobs.{words[0]} did not exit")


def listing() -> str:
    """The tools in a line each, and the names of the other jobs."""
    lines = ["usage: undertone TOOL …     (undertone TOOL --help says more)", ""]
    jobs = catalog()  # imports what each says of itself
    for job in (jobs[name] for name in TOOLS):
        lines.append(f"  {job.name:8} {(sys.modules[f'jobs.{job.name}'].__doc__ or '').splitlines()[0]}")
    return "\n".join([*lines, "", f"jobs of a study, which take --spec, --cell and --store: {', '.join(others())}"])


def others() -> list[str]:
    """Jobs that are no tools."""
    return [name for name in catalog() if name not in TOOLS]
