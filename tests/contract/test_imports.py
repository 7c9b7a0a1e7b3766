"""Which part may import which: the arrows of the architecture, over the import graph."""

import ast
from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from common.provenance import ROOT

PACKAGES = ("common", "analysis", "jobs", "workflows", "benchmarks")
FILES = sorted(path for part in PACKAGES for path in (ROOT / part).rglob("*.py"))
# Who may import whom: a part imports itself and what is named here.
ARROWS = {
    "common": (),
    "common.store": ("common",),
    "common.pipeline": ("common", "common.store"),
    "common.server": ("common", "common.pipeline"),
    "common.stance": ("common",),
    "common.lm": ("common", "common.store", "common.pipeline", "common.stance"),
    "analysis": ("common.vocabulary", "analysis.stats"),
    "analysis.stats": ("common.errors", "common.records", "common.vocabulary"),
    "analysis.corpus": ("common.errors", "common.records", "common.vocabulary", "analysis.stats"),
    "analysis.activations": ("common.errors", "common.records", "common.vocabulary", "analysis.stats"),
    "analysis.report": (
        "common.errors",
        "common.records",
        "common.schemas",
        "common.steering_schemas",
        "common.vocabulary",
        "analysis.stats",
        "analysis.corpus",
        "analysis.activations",
    ),
    "jobs": ("common", "common.pipeline"),
    "workflows": ("common", "common.store", "common.pipeline", "common.stance", "jobs", "workflows.local"),
    "workflows.cost": ("common", "common.lm.flops", "common.lm.sources", "common.pipeline", "common.stance", "jobs"),
    "workflows.local": ("common", "common.store", "common.pipeline", "jobs", "workflows.cost"),
}
OF_A_JOB = (*(name for name in ARROWS if name.startswith(("common", "analysis"))), "jobs")
HEAVY = {"torch", "transformers", "peft", "deepspeed"}
WITH_TORCH = (
    "common/lm",
    *(f"jobs/{n}" for n in ("register", "finetune", "evaluate", "interpret", "selftest", "steer", "trace", "monitor")),
)
NO_TORCH = {f"common/lm/{name}.py" for name in ("__init__", "flops", "sources", "tokenizers")}


def module_of(path: Path) -> str:
    where = path.relative_to(ROOT).with_suffix("")
    return ".".join(where.parts[:-1] if where.name == "__init__" else where.parts)


MODULES = {module_of(path) for path in FILES}


def imported(tree: ast.AST) -> set[str]:
    """Every module of ours that a file imports, anywhere in it; what it does for type checkers alone counts too."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            below = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = below & MODULES
            names |= modules | ({node.module} if below - modules else set())
    return names


def imports_of(path: Path) -> set[str]:
    return imported(ast.parse(path.read_text()))


def ours(names: Iterable[str]) -> set[str]:
    return {name for name in names if name.split(".")[0] in (*PACKAGES, "tests")}


def package_of(module: str) -> str:
    """The part of the house that a module stands in: the longest name among the arrows, or a job."""
    parts = module.split(".")
    if parts[0] == "jobs" and len(parts) > 1:
        return ".".join(parts[:2])
    outside = ("benchmarks", "tests")  # a benchmark may take the tiny model and the readers of the tests
    return next(name for name in (".".join(parts[:2]), parts[0]) if name in (*ARROWS, *outside))


def strangers(module: str, names: Iterable[str]) -> set[str]:
    """The modules of ours that a module may not import."""
    mine = package_of(module)
    allowed = (*OF_A_JOB, mine) if mine.startswith("jobs.") else (*ARROWS[mine], mine)
    return {name for name in names if name not in allowed and package_of_any(name) not in allowed}


def package_of_any(name: str) -> str:
    return "tests" if name.startswith("tests") else package_of(name)


def circle(graph: dict[str, set[str]]) -> list[str]:
    """One circle of imports, empty if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_something_was_found() -> None:
    assert len(FILES) > 90
    assert sum(len(ours(imports_of(path))) for path in FILES) > 300


@pytest.mark.parametrize(
    "module, names, found",
    [
        ("jobs.gate.gate", {"jobs.evaluate"}, {"jobs.evaluate"}),
        ("jobs.gate.gate", {"jobs", "jobs.gate", "common.lm.layers", "analysis.stats.verdict", "common.cells"}, set()),
        ("jobs.plan.plan", {"jobs.planner.x", "workflows.local"}, {"jobs.planner.x", "workflows.local"}),
        ("jobs", {"jobs.gate.gate", "common.pipeline.job"}, {"jobs.gate.gate"}),
        ("analysis.stats.verdict", {"common.records", "common.pipeline.job"}, {"common.pipeline.job"}),
        (
            "analysis.stats.verdict",
            {"analysis.report.results", "common.spec"},
            {"analysis.report.results", "common.spec"},
        ),
        (
            "common.pipeline.step",
            {"analysis.stats.verdict", "jobs", "common.lm.load"},
            {"analysis.stats.verdict", "jobs", "common.lm.load"},
        ),
        ("common.store.sealed", {"common.pipeline.step", "tests.x"}, {"common.pipeline.step", "tests.x"}),
    ],
)
def test_the_check_itself_finds_strangers(module: str, names: set[str], found: set[str]) -> None:
    assert strangers(module, names) == found


def test_the_check_itself_finds_circles() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert set(circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})) == {"a", "b", "c"}
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from common.cells import Cell\n"
    assert imported(ast.parse(text)) >= {"common.cells"}


@pytest.mark.parametrize("path", [p for p in FILES if module_of(p).split(".")[0] != "benchmarks"], ids=module_of)
def test_imports_follow_the_arrows(path: Path) -> None:
    assert strangers(module_of(path), ours(imports_of(path))) == set()


def test_nothing_imports_itself_in_a_circle() -> None:
    assert circle({module_of(path): ours(imports_of(path)) for path in FILES}) == []


def test_parts_of_the_house_stand_in_one_order() -> None:
    graph: dict[str, set[str]] = {}
    for path in FILES:
        mine = package_of(module_of(path))
        graph.setdefault(mine, set()).update({package_of(name) for name in ours(imports_of(path))} - {mine})
    assert circle(graph) == []


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_torch_stays_where_models_run(path: Path) -> None:
    where = path.relative_to(ROOT)
    heavy = {name.split(".")[0] for name in imports_of(path)} & HEAVY
    if heavy and where.parts[0] != "benchmarks":
        assert str(where).startswith(WITH_TORCH) and str(where) not in NO_TORCH
    if where.parts[0] == "common":
        assert not any(name.split(".")[0] == "pandas" for name in imports_of(path))
