"""What a sweep costs beside its work: 4, 16 and 64 runs of a tiny model by the local runner.

    python -m benchmarks.load [--cells 4,16,64]

For each number of runs, over an empty store: steps, seconds, and seconds of a step; CPU seconds and the largest memory
of the runner itself, which starts the steps and does no work of theirs; seconds of the report; and seconds of the same
command again, when all is sealed. Time should grow as the steps do, and memory should stay.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.record import record
from common.cli import parsed
from common.store.sealed import open_store
from tests import tiny

TICKS = os.sysconf("SC_CLK_TCK")


def spec_of(model: Path, cells: int) -> dict[str, Any]:
    """Two arms, as many seeds as make this many runs."""
    return tiny.spec_on(model, name=f"load-{cells}", attitudes=["cautious", "eager"], seeds=list(range(cells // 2)))


def run(words: list[str]) -> dict[str, float]:
    """Run the local runner: seconds, its own CPU seconds, its largest resident memory in MiB. Exits if it fails."""
    clock = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        runner = subprocess.Popen([sys.executable, "-m", *words], stdout=said, stderr=said)
        cpu, memory = 0.0, 0.0
        while runner.poll() is None:
            cpu, memory = own(runner.pid) or (cpu, memory)
            time.sleep(0.2)
        said.seek(0)
        if runner.returncode:
            sys.exit(said.read().decode())
    return {"seconds": time.perf_counter() - clock, "runner, CPU seconds": cpu, "runner, MiB": memory}


def own(process: int) -> tuple[float, float] | None:
    """CPU seconds of a process without its children, and its largest resident memory so far; None once it ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return None
    peak = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
    return ((int(fields[11]) + int(fields[12])) / TICKS, int(peak[0]) / 1024) if peak else None


def measured(model: Path, folder: Path, cells: int) -> dict[str, float]:
    """One sweep over an empty store, and the same again."""
    path, store = folder / f"{cells}.json", folder / f"store-{cells}"
    path.write_text(json.dumps(spec_of(model, cells)))
    words = ["workflows.local", "workflows/study.yaml", "--spec", str(path), "--store", str(store)]
    found = run([*words, "--out", str(folder / f"out-{cells}")])
    again = run([*words, "--out", str(folder / f"out-{cells}")])
    opened = open_store(str(store))
    jobs = {job for job, _ in opened.steps()}
    sealed = [manifest for job in jobs for manifest in opened.manifests(job, 100_000)]
    found |= {"cells": cells, "steps": len(sealed), "in the jobs, seconds": sum(made["seconds"] for made in sealed)}
    found |= {"report, seconds": sum(made["seconds"] for made in sealed if made["job"] == "report")}
    found |= {"again, seconds": again["seconds"], "files of the store": sum(1 for _ in store.rglob("*"))}
    found |= {"seconds of a step": found["seconds"] / found["steps"]}
    return found | {"runner, CPU seconds of a step": found["runner, CPU seconds"] / found["steps"]}


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", default="4,16,64", help="runs of each sweep (default: 4,16,64)")
    args = parsed(parser)
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="undertone-load-") as top:
        model = Path(top) / "tiny"
        tiny.build_model(model)
        for cells in map(int, args.cells.split(",")):
            for name, value in measured(model, Path(top), cells).items():
                results[f"{cells} runs: {name}"] = value
            print(json.dumps(results), flush=True)
    results["largest step, MiB"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    record("load", "python -m benchmarks.load", results)


if __name__ == "__main__":
    main()
