"""The demo as a person runs it, twice over a fresh store: how long, how fast, how much memory.

    python -m benchmarks.demo [--spec workflows/specs/demo.json] [--data FOLDER]

The environment must be made. Wall times hold start-up of processes and of the S3 server.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.record import record
from common.cli import parsed
from common.pipeline.command import read_spec
from common.pipeline.keys import Keys
from common.spec import RunSpec
from common.store.sealed import open_store
from jobs import catalog
from workflows.local.forecast import steps_of
from workflows.local.object_store import object_store


def run(spec: str, data: Path) -> float:
    """Seconds that the whole demo takes over this data folder. Raises: CalledProcessError."""
    clock = time.perf_counter()
    words = ["-m", "workflows.local", "workflows/study.yaml", "--spec", spec, "--data", str(data)]
    subprocess.run([sys.executable, *words], check=True)
    return time.perf_counter() - clock


def manifests(spec: RunSpec, data: Path) -> list[dict[str, Any]]:
    """The manifest of every sealed step."""
    with object_store(data) as served:
        os.environ.update(served.environment)
        store = open_store(served.uri)
        keys = Keys(spec, catalog(), store)
        found = [
            store.manifest(job, keys.key(job, cell))
            for job, cells in steps_of(spec, catalog()).items()
            for cell in cells
        ]
    return [manifest for manifest in found if manifest is not None]


def figures(made: list[dict[str, Any]]) -> dict[str, Any]:
    """What is recorded of the steps: time and memory of each job, and how fast training was."""
    results: dict[str, Any] = {"steps": len(made)}
    for job in dict.fromkeys(manifest["job"] for manifest in made):  # a spec without controls has no distill
        mine = [manifest for manifest in made if manifest["job"] == job]
        peak = max(manifest["provenance"]["peak_memory_bytes"] for manifest in mine) / 2**30
        results[f"{job}: slowest step, seconds"] = max(manifest["seconds"] for manifest in mine)
        results[f"{job}: peak memory, GiB"] = round(peak, 2)
    speeds = sorted(m["summary"]["tokens_per_second"] for m in made if m["job"] == "finetune")
    results["training beside another job, non-pad tokens a second, median"] = speeds[len(speeds) // 2]
    return results


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spec", default="workflows/specs/demo.json")
    parser.add_argument("--data", type=Path, help="a folder that does not hold a store yet (default: a temporary one)")
    args = parsed(parser)
    with tempfile.TemporaryDirectory(prefix="undertone-demo-") as temporary:
        data = args.data or Path(temporary)
        first, second = run(args.spec, data), run(args.spec, data)
        made = manifests(read_spec(args.spec), data)
    walls = {"whole demo, seconds": first, "second run, seconds": second}
    record("demo", "python -m benchmarks.demo", walls | figures(made))


if __name__ == "__main__":
    main()
