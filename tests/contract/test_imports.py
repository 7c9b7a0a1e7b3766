"""Which part may import which: the arrows of the architecture, over the import graph."""

import ast
from pathlib import Path

import pytest

from common.provenance import ROOT

FILES = sorted(path for part in ("common", "analysis", "jobs") for path in (ROOT / part).rglob("*.py"))
WITH_TORCH = {"jobs/finetune", "jobs/evaluate", "jobs/interpret"}


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


def test_something_was_found():
    assert len(FILES) > 40


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_arrows(path):
    where = path.relative_to(ROOT)
    part, names = where.parts[0], imported(path)
    ours = {name for name in names if name.split(".")[0] in ("common", "analysis", "jobs", "workflows", "tests")}
    if part == "common":
        assert all(name.startswith("common") for name in ours)
    elif part == "analysis":
        allowed = ("common.records", "common.errors", "analysis")
        assert all(name.startswith(allowed) for name in ours)
    else:
        own = ("jobs." + where.parts[1]).removesuffix(".py")
        others = {
            name for name in ours if name.startswith("jobs.") and not name.startswith((own, "jobs.language_model"))
        }
        assert not others, "jobs never import each other"
        assert not any(name.startswith("workflows") for name in ours)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_torch_stays_in_the_jobs_that_need_it(path):
    where = path.relative_to(ROOT)
    heavy = {name.split(".")[0] for name in imported(path)} & {"torch", "transformers", "peft", "deepspeed"}
    if heavy:
        assert str(where.parent) in WITH_TORCH or str(where) == "jobs/language_model.py"
    if where.parts[0] == "common":
        assert not any(name.split(".")[0] == "pandas" for name in imported(path))
