"""Where benchmarks leave their results: benchmarks/<name>.json, with what they ran on."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from common.provenance import provenance, started

FOLDER = Path(__file__).parent
CPU_INFO = Path("/proc/cpuinfo")


def record(name: str, command: str, results: dict[str, Any]) -> None:
    """Write results beside the benchmark and print them."""
    facts = {key: value for key, value in provenance().items() if key not in ("peak_memory_bytes", "deviations")}
    whole = {"command": command, "when": started(), "results": results, "provenance": facts | {"flags": cpu_flags()}}
    (FOLDER / f"{name}.json").write_text(json.dumps(whole, indent=1) + "\n")
    table = Table("result", "value", title=f"benchmarks/{name}.json")
    for key, value in results.items():
        if isinstance(value, list):
            continue  # who makes a table prints it
        table.add_row(key, f"{value:,.4g}" if isinstance(value, float) else str(value))
    Console().print(table)


def cpu_flags() -> list[str]:
    """What the processor has for products of matrices; empty where it is not told."""
    try:
        lines = CPU_INFO.read_text().splitlines()
    except OSError:
        return []
    flags = next((line.split(":", 1)[1].split() for line in lines if line.startswith("flags")), [])
    return sorted(flag for flag in flags if flag.startswith(("avx", "amx", "fma")))


def bootstrap_ratio(pairs: Sequence[tuple[float, ...]], draws: int = 10_000) -> tuple[float, float, float]:
    """Median of the ratios first / second over paired blocks, with a 95 % percentile bootstrap interval."""
    import numpy as np

    ratios = np.array([first / second for first, second in pairs])
    resampled = np.median(np.random.default_rng(0).choice(ratios, (draws, len(ratios))), axis=1)
    low, high = np.quantile(resampled, [0.025, 0.975])
    return float(np.median(ratios)), float(low), float(high)
