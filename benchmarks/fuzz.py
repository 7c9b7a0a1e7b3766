"""Fuzz every reader of foreign bytes by coverage, with atheris, and record how many inputs each has withstood.

    python -m benchmarks.fuzz [--inputs 1000000] [--minutes 60] [--reader NAME …]

The readers are those of `tests/faults/readers.py`, which `make test` fuzzes too, by chance alone. Here libFuzzer keeps
inputs that reach new edges of our code and goes on from them. Half of its changes are its own; the others alter what a
file is made of, by `tests/faults/altered.py`. A reader may refuse bytes with exit code 2 or 3. Anything else that it
raises, or more than a second for one input, is kept below .undertone/fuzz/<reader>/faults, and the exit code is 1.

Runs add up: what was tried is noted in .undertone/fuzz, and a later run goes on from there, as long as neither the code
nor the table of readers changed. Minutes are those of this run; each reader gets its share of what is left.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.record import record
from common.cli import parsed
from common.digests import sha256
from common.provenance import ROOT
from tests.faults.readers import READERS

PLACE = ROOT / ".undertone/fuzz"
TARGETS = tuple(f"tests/faults/{name}.py" for name in ("readers", "opened", "right_files", "altered"))
CODE = ("common", "analysis", "jobs", "workflows", *TARGETS)
COVERAGE = re.compile(r"#\d+\s+(INITED|DONE)\s+cov: (\d+)")
PASSED = ("PATH", "HOME", "LD_LIBRARY_PATH")  # variables; what hides secrets looks at all that are there
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
NUMBERS = ("inputs", "seconds", "largest_memory_mib", "memory_of_imports_mib", "slowest_seconds")


def main(argv: Sequence[str] | None = None) -> int:
    """Fuzz, print, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="of each reader, all runs together (%(default)s)")
    parser.add_argument("--minutes", type=float, default=60.0, help="of this run (%(default)s)")
    parser.add_argument("--reader", action="append", choices=list(READERS), help="this one alone; may be given again")
    args = parsed(parser, argv)
    code, ends = _code(), time.monotonic() + 60 * args.minutes
    rest = [name for name in args.reader or READERS if _noted(name, code)["inputs"] < args.inputs]
    for place, name in enumerate(rest):
        share = (ends - time.monotonic()) / (len(rest) - place)
        if share > 0:
            _fuzz(name, code, args.inputs, share)
    rows = [_noted(name, code) for name in READERS]
    results = summary(rows)
    _tell(results["rows"])
    record("fuzz", "python -m benchmarks.fuzz", results)
    return int(results["faults"] > 0)


def _code() -> str:
    """The digest of all that is fuzzed, and of how."""
    files = [file for part in CODE for file in ([ROOT / part] if part.endswith(".py") else (ROOT / part).rglob("*.py"))]
    return sha256(b"".join(sorted(sha256(file.read_bytes()).encode() for file in files)))


def _below(name: str) -> Path:
    return PLACE / re.sub(r"\W+", "-", name)


def _noted(name: str, code: str) -> dict[str, Any]:
    """What is known of a reader: inputs, seconds and what they found; nothing yet where the code is another."""
    path = _below(name) / "noted.json"
    found: dict[str, Any] = json.loads(path.read_bytes()) if path.is_file() else {}
    if found.get("code") == code:
        return found
    return {"code": code, "reader": name, **dict.fromkeys(NUMBERS, 0), "edges_of_seeds": 0, "edges": 0, "faults": []}


def _fuzz(name: str, code: str, most: int, seconds: float) -> None:
    """Fuzz a reader in a process of its own for so many seconds, and note what came of it."""
    noted, place = _noted(name, code), _below(name)
    for part in ("corpus", "seeds", "none", "faults"):
        (place / part).mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(READERS[name].seeds()):
        (place / "seeds" / str(number)).write_bytes(seed)
    if not noted["edges_of_seeds"] and any((place / "corpus").iterdir()):
        noted["edges_of_seeds"] = _edges_of_seeds(name)
    log, ended = _run(name, place, most - noted["inputs"], seconds)
    (place / "log").write_text(log)
    told = json.loads((place / "now.json").read_bytes())
    edges = {kind: int(count) for kind, count in COVERAGE.findall(log)}
    if ended or "DONE" not in edges:
        told["faults"].append(f"the process ended with {ended}: {(log.strip().splitlines() or [''])[-1]}")
    for field in NUMBERS:
        both = (noted[field], told[field])
        noted[field] = sum(both) if field in ("inputs", "seconds") else max(both)
    noted["edges_of_seeds"] = noted["edges_of_seeds"] or edges.get("INITED", 0)
    noted["edges"] = max(noted["edges"], edges.get("DONE", 0))
    noted["faults"] = sorted({*noted["faults"], *told["faults"]})
    (place / "noted.json").write_text(json.dumps(noted, indent=1))
    print(f"{name}: {noted['inputs']:,} inputs, {len(noted['faults'])} faults", file=sys.stderr, flush=True)


def _edges_of_seeds(name: str) -> int:
    """Edges that the right files alone reach, where others are kept too. A run looks at its files before all else."""
    place = _below(name) / "alone"
    for part in ("corpus", "faults"):
        (place / part).mkdir(parents=True, exist_ok=True)
    (place / "seeds").unlink(missing_ok=True)
    (place / "seeds").symlink_to(_below(name) / "seeds")
    found = {kind: int(count) for kind, count in COVERAGE.findall(_run(name, place, 1, 60)[0])}
    return found.get("INITED", found.get("DONE", 0))


def _run(name: str, place: Path, inputs: int, seconds: float) -> tuple[str, int]:
    """What libFuzzer said, and its exit code."""
    (place / "now.json").unlink(missing_ok=True)
    command = [sys.executable, "-m", "benchmarks.fuzz_one", name, str(place), str(inputs), str(seconds)]
    kept = {key: os.environ[key] for key in PASSED if key in os.environ}
    ran = subprocess.run(command, cwd=ROOT, env=kept | ENVIRONMENT, capture_output=True, check=False)
    return ran.stderr.decode(errors="replace"), ran.returncode


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What is recorded: all together, and a row for each reader."""
    table = [
        {name: row[name] for name in ("reader", *NUMBERS)}
        | {"seconds": round(row["seconds"], 1), "inputs_a_second": round(row["inputs"] / max(row["seconds"], 1))}
        | {"edges": row["edges"], "new_edges": max(0, row["edges"] - row["edges_of_seeds"]), "faults": row["faults"]}
        for row in rows
    ]
    return {
        "readers": len(rows),
        "inputs": sum(row["inputs"] for row in rows),
        "seconds": round(sum(row["seconds"] for row in rows), 1),
        "fewest_inputs": min(row["inputs"] for row in rows),
        "slowest_seconds": max(row["slowest_seconds"] for row in rows),
        "faults": sum(len(row["faults"]) for row in rows),
        "rows": table,
    }


def _tell(rows: Sequence[dict[str, Any]]) -> None:
    names = ("inputs", "inputs_a_second", "largest_memory_mib", "slowest_seconds", "edges", "new_edges")
    table = Table("reader", *(name.replace("_", " ") for name in names), "faults")
    for row in rows:
        table.add_row(row["reader"], *(f"{row[name]}" for name in names), "; ".join(row["faults"]) or "none")
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
