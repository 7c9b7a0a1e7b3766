"""Every fault of tests/faults at every point, and the procedures of docs/operations.md, recorded.

    python -m benchmarks.faults [words for pytest]

`make test` and `make test-long` take every tenth point of a kill or of a disk that fills up; this takes all of them.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.record import record
from common.provenance import ROOT

TESTS = ("tests/faults", "tests/e2e/test_operations.py")


def counted(report: Path) -> dict[str, int | list[str]]:
    """What pytest's report in XML says: tests, how they ended, and the points that they went through."""
    cases = list(ElementTree.parse(report).iter("testcase"))
    bad = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = [case for case in cases if case.find("skipped") is not None]
    points = [
        each.get("value", "0") for case in cases for each in case.iter("property") if each.get("name") == "points"
    ]
    return {
        "tests": len(cases),
        "passed": len(cases) - len(bad) - len(skipped),
        "failed": len(bad),
        "skipped": len(skipped),
        "points": sum(map(int, points)),
        "not_passed": [f"{case.get('classname')}::{case.get('name')}" for case in (*bad, *skipped)],
    }


def main(words: Sequence[str]) -> int:
    """Run, record, and return pytest's exit code."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        command = [sys.executable, "-m", "pytest", *TESTS, f"--junitxml={report}", *words]
        code = subprocess.run(command, cwd=ROOT, env={**os.environ, "UNDERTONE_EVERY": "1"}, check=False).returncode
        found = counted(report)
    record("faults", " ".join(["python -m benchmarks.faults", *words]), {**found, "seconds": time.monotonic() - began})
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
