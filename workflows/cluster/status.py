"""How a Workflow stands: a line a stage, with what is wrong with which step."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from rich.console import Console
from rich.text import Text

from common.cells import packs
from common.spec import RunSpec
from jobs import catalog
from workflows.cluster.api_server import Cluster
from workflows.cluster.workflow import (
    ENDED,
    attempts,
    cell_of,
    phase_of,
    pod_nodes,
    seconds_of,
    seconds_since,
    share_of,
    spec_of_plan,
)
from workflows.local.display import Done, Learning, Lines
from workflows.local.forecast import Forecast, steps_of

FAILED = ("Failed", "Error")  # phases of a node


class Stage(NamedTuple):
    """How far the steps of a job are."""

    name: str
    steps: int  # as planned; before that, and in other workflows than a study, those that have a pod
    ended: int
    failed: int  # of those that ended
    under_way: float  # steps done in part, summed
    left: str  # how long it takes yet, in words

    def line(self) -> str:
        """For people without a terminal."""
        return f"{self.name:10} {self.ended}/{self.steps}  {self.words()}"

    def words(self) -> str:
        """What failed, and how long it takes yet."""
        return f"{self.failed} failed, {self.left}" if self.failed else self.left


def stages(workflow: Mapping[str, Any]) -> list[Stage]:
    """Every stage that is planned or has a pod. A pod for all arms of a seed counts as so many steps."""
    spec, last = spec_of_plan(workflow), attempts(workflow)
    sizes = {name: len(cells) for name, cells in packs(spec).items()} if spec else {}
    many = {step: sizes.get(step.partition(" ")[2], 1) for step in last}
    steps = _planned(workflow, spec)
    for stage, seen in _counted(many).items():
        steps[stage] = max(seen, steps.get(stage, 0))
    ended = {step: node for step, node in last.items() if node.get("phase") in ("Succeeded", *FAILED)}
    running = {step: many[step] * share_of(node) for step, node in last.items() if node.get("phase") == "Running"}
    learning = Learning(Forecast(dict(steps), dict.fromkeys(steps)), at_once=max(1, len(running)))
    for step, node in ended.items():
        _learn(learning, step, node, many[step])
    over = phase_of(workflow) in ENDED
    done = _counted({step: many[step] for step in ended})
    failed = _counted({step: many[step] for step, node in ended.items() if node["phase"] in FAILED})
    made = []
    for stage, total in steps.items():
        parts = sum(share for step, share in running.items() if step.partition(" ")[0] == stage)
        missed = f"{total - done[stage]} did not run" if over and total > done[stage] else ""
        made.append(Stage(stage, total, done[stage], failed[stage], parts, missed or learning.words(stage, parts)))
    return made


def _planned(workflow: Mapping[str, Any], spec: RunSpec | None) -> dict[str, int]:
    """Stage → how many steps a study will have; nothing where no study is planned yet, or another template runs."""
    template = workflow.get("spec", {}).get("workflowTemplateRef", {}).get("name")
    if spec is None or template != "study":
        return {}
    return {stage: len(cells) for stage, cells in steps_of(spec, catalog()).items() if cells}


def _counted(many: Mapping[str, int]) -> Counter[str]:
    found: Counter[str] = Counter()
    for step, number in many.items():
        found[step.partition(" ")[0]] += number
    return found


def _learn(learning: Learning, step: str, node: Mapping[str, Any], many: int) -> None:
    """Tell how long the steps of a pod took."""
    stage, _, cell = step.partition(" ")
    code = int(node["phase"] in FAILED)
    for _ in range(many):
        learning.ended(Done(stage, cell, code, reused=False, seconds=seconds_of(node) / many, memory=0, log=None))


class Standing:
    """Shows a Workflow again and again: on a terminal lines with bars; elsewhere plain lines of what has changed."""

    def __init__(self, console: Console, patience: float = 0.0) -> None:
        """patience: seconds that a step may wait before it is told."""
        self._console, self._lines, self._patience = console, Lines(console), patience
        self._head, self._shown = "", dict[str, tuple[int, int, int]]()
        self._told: set[str] = set()  # nodes of which it was said what is wrong

    def __enter__(self) -> Self:
        self._lines.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.__exit__()

    def show(self, cluster: Cluster, workflow: Mapping[str, Any]) -> None:
        """Bring it up to date. Raises: SpecError, TransientError."""
        if (found := head(workflow)) != self._head:
            self._head = found
            self._shown.clear()  # now that it ended, say also what did not run
            self._say(found)
        for stage in stages(workflow):
            self._lines.show(stage.name, stage.ended + stage.under_way, stage.steps, stage.words())
            facts = (stage.ended, stage.failed, stage.steps)
            if not self._console.is_terminal and self._shown.get(stage.name) != facts:
                self._shown[stage.name] = facts
                self._say(stage.line())
        for trouble in troubles(cluster, workflow, self._told, self._patience):
            self._say(trouble)

    def _say(self, words: str) -> None:
        self._console.print(Text(words), soft_wrap=True)


def head(workflow: Mapping[str, Any]) -> str:
    """Name, phase, and what Argo says of it."""
    message = workflow.get("status", {}).get("message")
    return f"{workflow['metadata']['name']}: {phase_of(workflow)}" + (f", {message}" if message else "")


def troubles(cluster: Cluster, workflow: Mapping[str, Any], told: set[str], patience: float = 0.0) -> list[str]:
    """For each attempt that failed, or waits longer than `patience` seconds: its last word and how to read its log.

    told: ids of the nodes that were told of; they are left out, and the new ones come in. Raises: SpecError,
    TransientError.
    """
    news = [node for node in pod_nodes(workflow) if _is_wrong(node, patience) and node["id"] not in told]
    pods = cluster.pods(workflow["metadata"]["name"]) if news else {}
    told |= {node["id"] for node in news}
    return [said for node in news for said in _trouble(cluster, node, pods.get(node["id"]))]


def _is_wrong(node: Mapping[str, Any], patience: float) -> bool:
    if node.get("phase") == "Pending" and node.get("message"):
        return seconds_since(node) >= patience
    return node.get("phase") in FAILED


def _trouble(cluster: Cluster, node: Mapping[str, Any], pod: Any) -> list[str]:
    """What is wrong with one attempt of a step. pod: None if it is gone."""
    phase, message = str(node["phase"]), node.get("message", "")
    if phase == "Pending":
        return [f"{cell_of(node)} waits: {message}"]
    said = cluster.last_word(pod) if pod else "its pod is gone"
    lines = [f"{cell_of(node)} {phase.lower()}, {message}: {said}"]
    return [*lines, f"  kubectl -n {cluster.namespace} logs {pod.metadata.name} -c main"] if pod else lines
