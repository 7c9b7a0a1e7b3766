"""Fuzz one reader in this process, which ends with it: `python -m benchmarks.fuzz` starts it.

What is imported below `instrument_imports` tells atheris which of its edges are reached. So nothing of ours is imported
before.
"""

import json
import resource
import sys
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import atheris

INSTRUMENTED = ["common", "analysis", "jobs", "workflows", "tests.faults", "tomllib"]
NOT = ["tests.faults.altered"]
LONGEST = 8192  # bytes of an input
MEMORY = 2048  # MiB that all inputs together may take, beside what the reader is made of
HANG = 20  # seconds after which an input that does not come back ends the process
NOTE_EVERY = 1.0  # seconds

with atheris.instrument_imports(include=INSTRUMENTED, exclude=NOT):
    from tests.faults.altered import altered
    from tests.faults.readers import READERS, address_space, folder, unlike


def main() -> None:
    """Arguments: name of the reader, its folder, how many inputs, how many seconds."""
    name, place, inputs, seconds = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    reader, made = READERS[name], folder()
    with atheris.instrument_imports(include=INSTRUMENTED, exclude=NOT):
        read = reader.opened(Path(made.name))
        for seed in reader.seeds():
            unlike(read, seed)  # imports what it needs
    _fuzz(_Run(place, inputs, read), reader.shape, seconds)


class _Run:
    """What happens to each input, and what is known so far, noted in now.json each second."""

    def __init__(self, place: Path, most: int, read: Any) -> None:
        self.place, self.most, self._read = place, most, read
        self.now: dict[str, Any] = {"inputs": 0, "slowest_seconds": 0.0, "faults": []}
        self.now["memory_of_imports_mib"] = held()
        self._seen, self._began, self._last = set[str](), time.monotonic(), 0.0

    def one(self, data: bytes) -> None:
        """Try one input."""
        fault, seconds = unlike(self._read, data)
        self.now["inputs"] += 1
        self.now["slowest_seconds"] = max(self.now["slowest_seconds"], round(seconds, 4))
        if fault and (kind := fault.partition(": ")[0]) not in self._seen:
            self._seen.add(kind)
            self.now["faults"].append(fault)
            (self.place / "faults" / sha256(data).hexdigest()[:16]).write_bytes(data)
        if time.monotonic() - self._last > NOTE_EVERY or self.now["inputs"] >= self.most:
            self._last = time.monotonic()
            self._note()

    def _note(self) -> None:
        self.now |= {"seconds": time.monotonic() - self._began, "largest_memory_mib": held()}
        part = self.place / "now.json.part"
        part.write_text(json.dumps(self.now))
        part.replace(self.place / "now.json")


def _fuzz(run: _Run, shape: Any, seconds: float) -> None:
    def change(data: bytes, most: int, seed: int) -> bytes:
        return altered(data, shape, seed)[:most] if seed % 2 else bytes(atheris.Mutate(data, most))

    resource.setrlimit(resource.RLIMIT_AS, (address_space() + (MEMORY << 20), resource.RLIM_INFINITY))
    flags = [f"-runs={run.most}", f"-max_total_time={max(1, int(seconds))}", f"-max_len={LONGEST}", f"-timeout={HANG}"]
    flags += [f"-rss_limit_mb={held() + MEMORY}", f"-artifact_prefix={run.place}/faults/"]
    atheris.Setup(["fuzz", *flags, str(run.place / "corpus"), str(run.place / "seeds")], run.one, custom_mutator=change)
    atheris.Fuzz()


def held() -> int:
    """The most that this process has held, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


if __name__ == "__main__":
    main()
