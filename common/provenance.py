"""What ran: commit, image, packages, processor, times. Written into every manifest; never part of a step's key."""

import importlib.metadata
import os
import platform
import re
import resource
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from common.digests import file_sha256

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("torch", "transformers", "peft", "accelerate", "deepspeed", "boto3", "numpy", "scipy", "pandas")
COMMIT = re.compile("[0-9a-f]{40}")
CODE = ("analysis", "common", "jobs")  # all that makes a row or a number, with its data
BUILT_FROM = Path(__file__).with_name("built_from")  # in a wheel alone: the commit, empty where the build knew none


@cache
def code_digests() -> dict[str, str]:
    """All code and data that make a row or a number: path in this repository → SHA-256. They go into the lock.

    Nothing tuned is scored with other code than locked, and a later change is said in the report.
    """
    files = (path for folder in CODE for path in (ROOT / folder).rglob("*") if path.is_file())
    kept = sorted(path for path in files if "__pycache__" not in path.parts and path != BUILT_FROM)
    return {str(path.relative_to(ROOT)): file_sha256(path) for path in kept}


def installed() -> bool:
    """Whether this code came in a wheel: then nothing is kept beside it."""
    return BUILT_FROM.is_file()


def differing(now: Mapping[str, str], then: Mapping[str, str]) -> list[str]:
    """Files whose digests differ, or that came or went, of two lists like that of `code_digests`."""
    return sorted(name for name in now.keys() | then.keys() if now.get(name) != then.get(name))


def commit_and_dirty(told: str | None = None) -> tuple[str | None, bool | None]:
    """The commit that runs, or that a manifest tells, and whether files differed from it; None where not known."""
    commit = _commit() if told is None else told
    if not COMMIT.fullmatch(commit.removesuffix("+")):
        return None, None
    return commit.removesuffix("+"), commit.endswith("+")


def usable_cores() -> int:
    """Processors that this process may use: the least of affinity, cgroup quota (v1 or v2) and OMP_NUM_THREADS."""
    limits = [len(os.sched_getaffinity(0)), *_cgroup_quota()]
    if (asked := os.environ.get("OMP_NUM_THREADS", "")).isdigit():
        limits.append(int(asked))
    return max(1, min(limits))


def _cgroup_quota() -> list[int]:
    v2, v1 = Path("/sys/fs/cgroup/cpu.max"), Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
    try:
        if v2.exists():
            quota, period = v2.read_text().split()
        else:
            quota, period = v1.read_text(), v1.with_name("cpu.cfs_period_us").read_text()
        return [max(1, int(quota) // int(period))] if quota.strip() not in ("max", "-1") else []
    except OSError:
        return []


@cache
def cpu_has_bf16() -> bool:
    """Whether the processor multiplies bf16 in hardware; elsewhere bf16 is 44-500 times slower than fp32."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def started() -> str:
    """The time now, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def provenance() -> dict[str, Any]:
    """Facts about code, environment and machine that explain a result but do not name it."""
    return {
        "commit": _commit(),
        "deviations": {path.name: file_sha256(path) for path in sorted((ROOT / "locks").glob("*.deviations.jsonl"))},
        "image": os.environ.get("UNDERTONE_IMAGE", ""),
        "packages": {name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "processor": _processor(),
        "cores": usable_cores(),
        "bf16": cpu_has_bf16(),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


@cache
def _commit() -> str:
    """The commit, with '+' if files differ from it; an image carries it in UNDERTONE_COMMIT, a wheel in a file."""
    if told := os.environ.get("UNDERTONE_COMMIT"):
        return told
    if installed():  # Git would tell of whatever repository the environment lies in
        return BUILT_FROM.read_text().strip()
    try:
        head = _git("rev-parse", "HEAD")
        return head + ("+" if _git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(*words: str) -> str:
    made = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    return made.stdout.strip()


@cache
def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


@cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()
