"""Walks the DAGs of a workflow: each task as soon as its dependencies allow, each item of a fan-out side by side."""

import itertools
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from common.errors import SpecError
from workflows.local.slots import Rank, Slots
from workflows.local.steps import Outcome
from workflows.local.template import Phase, Scope, dependencies, fill, holds, items

Ends = Mapping[str, Future[Outcome]]  # by the name of a task
RunStep = Callable[[dict[str, Any], Scope, Rank], Outcome]  # a container template, what it sees, its place


class Runner:
    """One walk through a workflow. Every task and every item has a thread of its own."""

    def __init__(
        self, templates: Sequence[dict[str, Any]], step: RunStep, slots: Slots, stopping: threading.Event
    ) -> None:
        """step: runs a container template. stopping: when it is set, what was not begun is skipped."""
        self._templates = {template["name"]: template for template in templates}
        self._step, self._slots, self._stopping = step, slots, stopping
        self._ranks = itertools.count()

    def run(self, entry: str, parameters: Mapping[str, str]) -> Outcome:
        """Run the DAG `entry` with the parameters of the workflow. Raises: SpecError, as steps and tasks do."""
        template = self._templates[entry]
        scope = {f"workflow.parameters.{name}": value for name, value in parameters.items()}
        for parameter in template.get("inputs", {}).get("parameters", []):
            if "valueFrom" in parameter:  # checked to be the ConfigMap of specs
                scope[f"inputs.parameters.{parameter['name']}"] = parameters["spec"]
        return self._dag(template, scope, ())

    def _dag(self, template: dict[str, Any], scope: Scope, rank: Rank) -> Outcome:
        """Run every task as soon as its dependencies allow. Failed if an end failed or was left out for a failure."""
        tasks: list[dict[str, Any]] = template["dag"]["tasks"]
        ends: Ends = {task["name"]: Future() for task in tasks}
        for position, task in enumerate(tasks):
            _begin(ends[task["name"]], self._task, task, scope, ends, (*rank, position))
        outcomes = {name: end.result() for name, end in ends.items()}
        waited_for = set().union(*(dependencies(task) for task in tasks))
        bad = (Phase.FAILED, Phase.ERRORED, Phase.OMITTED)
        failed = any(outcome.phase in bad for name, outcome in outcomes.items() if name not in waited_for)
        return Outcome(Phase.FAILED if failed else Phase.SUCCEEDED)

    def _task(self, task: dict[str, Any], scope: Scope, ends: Ends, rank: Rank) -> Outcome:
        """Wait for the dependencies of one task, and run it if they allow."""
        before = {name: ends[name].result() for name in dependencies(task)}
        phases = {name: outcome.phase for name, outcome in before.items()}
        if task.get("depends") and not holds(task["depends"], phases):
            return Outcome(Phase.OMITTED)
        if skipped := _unanswered(task, before):
            if self._stopping.is_set():
                return Outcome(Phase.SKIPPED)
            what = "needs what a step hands over that is neither sealed nor selected"
            raise SpecError(what, where=task["name"], value=skipped)
        given = dict(scope)
        for name, outcome in before.items():
            given |= {f"tasks.{name}.outputs.parameters.{key}": value for key, value in outcome.parameters.items()}
        return self._fan_out(task, given, rank)

    def _fan_out(self, task: dict[str, Any], scope: Scope, rank: Rank) -> Outcome:
        """Run the template of a task once, or once for each item, all at the same time."""
        template = self._templates[task["template"]]
        listed = items(task, scope)
        if listed is None:
            return self._template(template, _given(task, scope), rank)
        ends: list[Future[Outcome]] = [Future() for _ in listed]
        for index, (item, end) in enumerate(zip(listed, ends, strict=True)):
            place = (*rank, index)
            _begin(end, self._template, template, _given(task, {**scope, "item": item}), place)
            self._slots.arrival(place, end)  # so that the item listed first is the first to ask
        return Outcome(_worst([end.result().phase for end in ends]))

    def _template(self, template: dict[str, Any], scope: Scope, rank: Rank) -> Outcome:
        if "dag" in template:
            return self._dag(template, scope, rank)
        return self._step(template, scope, (*rank, next(self._ranks)))


def _begin(end: Future[Outcome], run: Callable[..., Outcome], *given: Any) -> None:
    """Run something in a thread, which settles `end` whatever happens."""

    def settle() -> None:
        try:
            end.set_result(run(*given))
        except BaseException as error:
            end.set_exception(error)

    threading.Thread(target=settle, daemon=True).start()


def _worst(phases: Sequence[Phase]) -> Phase:
    """The phase of a fan-out. Without items it is skipped."""
    if not phases:
        return Phase.SKIPPED
    bad = (Phase.ERRORED, Phase.FAILED, Phase.SKIPPED)
    return next((phase for phase in bad if phase in phases), Phase.SUCCEEDED)


def _given(task: dict[str, Any], scope: Scope) -> Scope:
    """What a template sees: the workflow's parameters and its own inputs."""
    parameters = task.get("arguments", {}).get("parameters", [])
    inputs = {f"inputs.parameters.{p['name']}": fill(p["value"], scope) for p in parameters}
    return {name: value for name, value in scope.items() if name.startswith("workflow.")} | inputs


def _unanswered(task: Mapping[str, Any], before: Mapping[str, Outcome]) -> str | None:
    """The first task before this one that was skipped although this one uses its output parameters."""
    skipped, text = (name for name, outcome in before.items() if outcome.phase is Phase.SKIPPED), json.dumps(task)
    return next((name for name in skipped if f"tasks.{name}.outputs." in text), None)
