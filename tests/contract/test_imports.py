"""Which part may import which: the arrows of the architecture, over the import graph."""

import ast
from pathlib import Path

import pytest

from common.provenance import ROOT

FILES = sorted(path for part in ("common", "analysis", "jobs") for path in (ROOT / part).rglob("*.py"))
WITH_TORCH = {f"jobs/{name}" for name in ("distill", "finetune", "evaluate", "interpret", "selftest", "steer", "trace")}
SHARED_WITH_TORCH = ("language_model", "decoding", "decoder", "capture", "margins", "scoring")
SHARED = tuple(f"jobs.{name}" for name in (*SHARED_WITH_TORCH, "tokens", "prompts", "passages", "saved"))


PACKAGES = ("common", "analysis", "jobs", "workflows", "benchmarks")


def _is_module(package: str, name: str) -> bool:
    return (ROOT / package / name).is_dir() or (ROOT / package / f"{name}.py").is_file()


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
            if node.module in PACKAGES:  # `from jobs import gate` imports jobs.gate
                names |= {f"{node.module}.{alias.name}" for alias in node.names if _is_module(node.module, alias.name)}
    return names


def test_something_was_found():
    assert len(FILES) > 40


def strangers(part: str, where: Path, ours: set[str]) -> set[str]:
    """The modules of ours that a file may not import."""
    if part == "common":
        allowed: tuple[str, ...] = ("common",)
    elif part == "analysis":
        allowed = ("common.records", "common.errors", "analysis")
    else:  # jobs never import each other
        own = "" if len(where.parts) == 2 else f"jobs.{where.parts[1]}"
        allowed = ("common", "analysis", *SHARED, *([own] if own else []))
    fine = {name for name in ours if any(name == one or name.startswith(one + ".") for one in allowed)}
    return ours - fine - ({"jobs"} if part == "jobs" else set()) - ({"common"} if part == "analysis" else set())


@pytest.mark.parametrize(
    "file, names, found",
    [
        ("jobs/gate/__main__.py", {"jobs.evaluate"}, {"jobs.evaluate"}),
        ("jobs/gate/__main__.py", {"jobs", "jobs.gate", "jobs.language_model", "analysis.gate", "common.job"}, set()),
        ("jobs/language_model.py", {"jobs.evaluate.choice"}, {"jobs.evaluate.choice"}),
        ("jobs/plan/__main__.py", {"jobs.planner", "workflows.local"}, {"jobs.planner", "workflows.local"}),
        ("analysis/gate.py", {"common", "common.records", "common.job"}, {"common.job"}),
        ("common/job.py", {"analysis.gate", "jobs"}, {"analysis.gate", "jobs"}),
    ],
)
def test_the_check_itself_finds_strangers(file, names, found):
    assert strangers(Path(file).parts[0], Path(file), names) == found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_arrows(path):
    where = path.relative_to(ROOT)
    part, names = where.parts[0], imported(path)
    ours = {name for name in names if name.split(".")[0] in ("common", "analysis", "jobs", "workflows", "tests")}
    assert strangers(part, where, ours) == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_torch_stays_in_the_jobs_that_need_it(path):
    where = path.relative_to(ROOT)
    heavy = {name.split(".")[0] for name in imported(path)} & {"torch", "transformers", "peft", "deepspeed"}
    if heavy:
        assert str(where.parent) in WITH_TORCH or str(where) in {f"jobs/{name}.py" for name in SHARED_WITH_TORCH}
    if where.parts[0] == "common":
        assert not any(name.split(".")[0] == "pandas" for name in imported(path))
