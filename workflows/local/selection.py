"""The part of a workflow that was asked for: --only, --from and --until."""

from typing import Any

from common.errors import SpecError
from workflows.local.template import dependencies


def selected(stages: list[str], only: str | None, start: str | None) -> set[str]:
    """The stages that may run; others are taken from the store or left out. Raises: SpecError for an unknown one."""
    wanted = only.split(",") if only else [start] if start else []
    if unknown := [name for name in wanted if name not in stages]:
        flag = "--only" if only else "--from"
        raise SpecError("no such stage", where=flag, value=unknown[0], allowed=", ".join(stages))
    if only:
        return set(wanted)
    return set(stages[stages.index(start) :]) if start else set(stages)


def cut(template: dict[str, Any], last: str) -> dict[str, Any]:
    """A DAG up to one of its tasks: that task and those before it. Raises: SpecError if there is none such."""
    tasks = {task["name"]: task for task in template["dag"]["tasks"]}
    if last not in tasks:
        raise SpecError("no such task", where="--until", value=last, allowed=", ".join(tasks))
    kept, waiting = set[str](), [last]
    while waiting:
        kept.add(name := waiting.pop())
        waiting += dependencies(tasks[name]) - kept
    return template | {"dag": template["dag"] | {"tasks": [task for name, task in tasks.items() if name in kept]}}
