"""Make a published report again from the rows beside it, and compare all of it: no store, no model, no network.

    python -m workflows.report reports/smollm2

It is made by the code of the commit that the results name, or by that of this folder where they name none. Exits 0
with what was checked, or 3 with one line: what differs, where, what is said and what the rows give.
"""

import argparse
import base64
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from common.cli import ended, parsed
from common.deviations import deviations_file, heads
from common.errors import ExitCode, InputError
from common.provenance import CODE, ROOT
from common.serialization import parse_json
from common.store.names import inside
from common.store.packed import unzipped
from workflows.lock import LOCKS
from workflows.locks.again import refuse_differences
from workflows.locks.findings import Findings
from workflows.locks.made import Results, check_sealed
from workflows.locks.repository import Repository

NUMBER = re.compile(r"[-+]?\d+\.\d+(?:e[-+]?\d+)?")
PACKED = re.compile(r'(<script type="text/plain" id="packed-data">)([^<]*)')
CLOSE = 1e-6  # relative; processors round otherwise in the last digits
SEEN = 1e-3  # absolute: less is not seen in a picture


def verify(folder: Path) -> str:
    """Check a published report; return what was checked. Raises: InputError naming what differs, OSError."""
    findings = Findings()
    results = Results.read(folder / "results.json")
    check_sealed(results, findings)
    with code_of(results, findings) as code, tempfile.TemporaryDirectory() as out:
        _facts(results, folder, code, findings)
        _make(folder, code, Path(out))
        compare(results, folder, Path(out), findings)
    return str(findings)


@contextmanager
def code_of(results: Results, findings: Findings) -> Iterator[Path]:
    """A folder of its own with the code that made the results, as far as that is known."""
    made = results.made
    if made is not None and made.commit is not None and not made.dirty:
        with Repository(ROOT).checked_out(made.commit) as code:
            findings.checked(f"made again by the code of commit {made.commit[:12]}, which the results name")
            yield code
        return
    findings.unchecked(
        "which code made the results", "they name no commit, or files differed from it; made by this code"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name in CODE:
            shutil.copytree(ROOT / name, Path(folder) / name, ignore=shutil.ignore_patterns("__pycache__"))
        yield Path(folder)


def _facts(results: Results, folder: Path, code: Path, findings: Findings) -> None:
    """Give the code the deviations, labels and what was read aloud that the results were made with.

    Raises: InputError if deviations are gone.
    """
    target = code / "locks"
    target.mkdir(exist_ok=True)
    spec = folder / "rows" / "spec.json"
    if not spec.is_file():
        raise InputError("no rows are published", where=str(spec.parent), allowed="a report that was made with them")
    study = str(parse_json(spec.read_bytes(), str(spec))["name"])
    file = deviations_file(LOCKS / f"{study}.json")
    kept = file.read_bytes() if file.is_file() else b""
    if results.made is not None and results.made.lock is not None:
        found = heads(kept, results.made.lock)
        if results.made.deviations not in found:
            allowed = f"rows that end at this digest; there are {len(found) - 1}"
            value = results.made.deviations
            raise InputError("deviations that results name are gone", where=str(file), value=value, allowed=allowed)
        many = found.index(results.made.deviations)
        kept = b"".join(kept.splitlines(keepends=True)[:many])
        findings.checked(f"{many} deviations that the results name are there")
    for whole in LOCKS.glob(f"{study}.*.jsonl"):  # labels, and what was read aloud
        shutil.copyfile(whole, target / whole.name)
    (target / file.name).write_bytes(kept)


def _make(folder: Path, code: Path, out: Path) -> None:
    command = [sys.executable, "-m", "jobs.report.again", str(folder.resolve()), str(out)]
    made = subprocess.run(command, cwd=code, env={**os.environ}, capture_output=True, text=True, check=False)
    if made.returncode:
        said = " ".join(made.stderr.strip().splitlines()[-1:]).removeprefix("error: ")
        raise InputError("cannot be made again", where=str(folder), value=said)


def compare(results: Results, folder: Path, out: Path, findings: Findings) -> None:
    """Hold what is published against what was made again. Raises: InputError naming the first difference."""
    again = Results.read(out / "results.json")
    refuse_differences(results, again.numbers, "not what the rows give")
    if results.made is not None and again.made is not None and results.made.lock != again.made.lock:
        where, allowed = f"{results.path}: made", str(again.made.lock)
        raise InputError("another lock", where=where, value=results.made.lock, allowed=allowed)
    findings.checked(f"{len(again.numbers)} numbers are what the rows give")
    names = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    for name in names:
        _alike(inside(folder, name), out / name)
    findings.checked(
        f"{len(names)} files, {sum(name.startswith('figures/') for name in names)} of them figures, are too"
    )


def _alike(said: Path, found: Path) -> None:
    if not said.is_file():
        raise InputError("a file of the report is gone", where=str(said))
    if said.name == "results.json" or said.read_bytes() == found.read_bytes():
        return
    if said.suffix == ".png":
        raise InputError("not the figure that the rows give", where=str(said))
    one, other = (_text(path) for path in (said, found))
    if not _same_text(one, other):
        raise InputError(
            "not what the rows give", where=str(said), value=_first(one, other), allowed=_first(other, one)
        )


def _text(path: Path) -> str:
    """A file as text, what a page has packed among it."""
    try:
        page = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise InputError("not UTF-8", where=f"{path}, byte {error.start + 1}") from None
    return PACKED.sub(lambda found: found[1] + _unpacked(found[2], path), page)


def _unpacked(packed: str, path: Path) -> str:
    try:
        return unzipped(base64.b64decode(packed), str(path)).decode()
    except ValueError as error:
        raise InputError("a page that was altered", where=str(path), value=str(error)) from error


def _same_text(one: str, other: str) -> bool:
    """Whether two texts are the same but for the last digits of their numbers."""
    if NUMBER.sub("", one) != NUMBER.sub("", other):
        return False
    pairs = zip(NUMBER.findall(one), NUMBER.findall(other), strict=True)
    return all(a == b or math.isclose(float(a), float(b), rel_tol=CLOSE, abs_tol=SEEN) for a, b in pairs)


def _first(one: str, other: str) -> str:
    """Where a text begins to differ from another."""
    at = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return one[max(0, at - 20) : at + 40].replace("\n", " ")


def main(argv: Sequence[str] | None = None) -> int:
    """Verify the report of a folder."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m workflows.report", description=__doc__, formatter_class=raw)
    parser.add_argument("report", type=Path, help="folder of a published report")
    arguments = parsed(parser, argv)
    return ended(lambda: _tell(arguments.report), unreadable=ExitCode.INPUT)


def _tell(folder: Path) -> int:
    print(verify(folder))
    return int(ExitCode.OK)


if __name__ == "__main__":
    sys.exit(main())
