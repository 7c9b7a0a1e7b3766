"""The part of an Argo WorkflowTemplate that runs on one machine, read from the same YAML. Any other field raises.

Fields that matter only on a cluster are listed with the reason, so that nothing is skipped in silence.
"""

import ast
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import yaml
from yaml.scanner import ScannerError

from common.errors import SpecError
from common.serialization import DEEPEST

Scope = Mapping[str, str]

SPECS = "undertone-specs"  # on a cluster, the ConfigMap that holds the specs by name
UNDERSTOOD = {
    "WorkflowTemplate": {"apiVersion", "kind", "spec"},
    "spec": {"entrypoint", "arguments", "templates"},
    "dag": {"failFast", "tasks"},
    "task": {"name", "template", "depends", "withParam", "arguments"},
    "template": {"name", "inputs", "outputs", "dag", "container", "retryStrategy", "timeout"},
    "input parameter": {"name", "valueFrom"},
    "input valueFrom": {"configMapKeyRef"},
    "configMapKeyRef": {"name"},
    "container": {"command", "args"},
    "inputs": {"parameters"},
    "outputs": {"parameters"},
    "arguments": {"parameters"},
    "parameter": {"name", "value", "description"},
    "output parameter": {"name", "valueFrom"},
    "valueFrom": {"path"},
    "retryStrategy": {"limit", "retryPolicy", "expression", "backoff"},
    "backoff": {"duration", "factor", "cap"},
}
ON_A_CLUSTER_ONLY = {
    "WorkflowTemplate": {"metadata": "names an object of the API server"},
    "spec": {
        "parallelism": "bounds pods; here --jobs bounds processes",
        "activeDeadlineSeconds": "guards a cluster; here the person stops it",
        "ttlStrategy": "deletes objects of the API server",
        "podGC": "deletes pods",
    },
    "template": {
        "priorityClassName": "order of pods that wait for a node",
        "serviceAccountName": "rights of a pod",
        "automountServiceAccountToken": "rights of a pod",
        "executor": "rights of Argo's own containers",
        "securityContext": "isolation of a pod",
        "volumes": "file systems of a pod; here the machine's own",
        "metadata": "labels and annotations of a pod",
        "pendingTimeout": "a process does not wait for a node",
        "podSpecPatch": "memory limit of a pod",
        "synchronization": "bounds pods over all workflows; here --jobs bounds processes",
    },
    "outputs": {"artifacts": "shown in Argo's UI; here the report lies in a folder"},
    "valueFrom": {"default": "shown in Argo's UI for a step that handed nothing over"},
    "configMapKeyRef": {"key": "the command line names the spec"},
    "container": {
        "image": "here the running interpreter",
        "imagePullPolicy": "here the running interpreter",
        "env": "threads follow from --jobs",
        "envFrom": "credentials come from this process's environment",
        "volumeMounts": "file systems of a pod",
        "securityContext": "isolation of a container",
        "resources": "limits of a container; here the machine's",
    },
}
RETRY = re.compile(r'lastRetry\.status == "Error" \|\| asInt\(lastRetry\.exitCode\) in \[([\d, ]+)\]')
NAME = re.compile(r"([a-z][a-z0-9-]*)(?:\.([A-Z]\w+))?")
UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600}


class Phase(StrEnum):
    """How a task ended, in Argo's words."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"  # exit code other than 0
    ERRORED = "Errored"  # could not be run
    SKIPPED = "Skipped"  # not selected, or no items
    OMITTED = "Omitted"  # its `depends` is false


@dataclass(frozen=True)
class Retry:
    """When a failed step is run again."""

    limit: int = 0
    codes: frozenset[int] = frozenset()
    seconds: float = 0
    factor: float = 1
    cap: float = 0

    def wait(self, attempt: int) -> float:
        """Seconds before attempt number `attempt`, the first retry being 1."""
        return min(self.seconds * self.factor ** (attempt - 1), self.cap or float("inf"))


class _Loader(yaml.SafeLoader):
    """PyYAML's, which takes the square of the time for brackets in brackets: more of them than JSON has are refused."""

    def fetch_flow_collection_start(self, TokenClass: Any) -> None:  # noqa: N803 - its name in PyYAML
        if self.flow_level >= DEEPEST:
            raise ScannerError(problem="nested too deeply", problem_mark=self.get_mark())
        super().fetch_flow_collection_start(TokenClass)


def read_template(path: Path) -> dict[str, Any]:
    """The spec of a WorkflowTemplate, checked field by field.

    Raises: SpecError naming the place of the first field that is not understood.
    """
    try:
        whole = _Loader(path.read_text("utf-8")).get_single_data()
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise SpecError("cannot read the workflow", where=str(path), value=str(error)) from None
    try:
        return _checked(whole, path)
    except (LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        # A field that Argo asks for is left out, or is of another kind: Argo itself refuses such a file.
        value = f"{type(error).__name__}: {error}"
        raise SpecError("no WorkflowTemplate", where=str(path), value=value, allowed="what Argo takes") from error


def _checked(whole: Any, path: Path) -> dict[str, Any]:
    check("WorkflowTemplate", whole, path.name)
    if whole["kind"] != "WorkflowTemplate":
        raise SpecError("not understood", where=f"{path.name}:kind", value=whole["kind"], allowed="WorkflowTemplate")
    spec: dict[str, Any] = whole["spec"]
    check("spec", spec, "spec")
    check_parameters(spec.get("arguments", {}), "arguments", "spec")
    for template in spec["templates"]:
        _check_template(template, f"template {template.get('name')}")
    _check_references(spec)
    return spec


def check(kind: str, fields: Any, where: str) -> None:
    """Raise SpecError if `fields` holds one that this machine neither understands nor may leave out."""
    known = UNDERSTOOD[kind] | ON_A_CLUSTER_ONLY.get(kind, {}).keys()
    if not isinstance(fields, dict) or (unknown := sorted(fields.keys() - known)):
        found = unknown[0] if isinstance(fields, dict) else type(fields).__name__
        raise SpecError("Argo field not implemented here", where=where, value=found, allowed=", ".join(sorted(known)))


def check_parameters(fields: dict[str, Any], kind: str, where: str) -> None:
    """Check inputs, outputs or arguments."""
    check(kind, fields, f"{where}.{kind}")
    kinds = {"outputs": "output parameter", "inputs": "input parameter"}
    for parameter in fields.get("parameters", []):
        place = f"{where}.{kind}.parameters"
        check(kinds.get(kind, "parameter"), parameter, place)
        if kind == "outputs":
            check("valueFrom", parameter["valueFrom"], f"{place}.{parameter['name']}")
        elif kind == "inputs" and "valueFrom" in parameter:
            _check_source(parameter["valueFrom"], f"{place}.{parameter['name']}")


def _check_source(fields: dict[str, Any], where: str) -> None:
    """An input may come from the ConfigMap of specs, which here is the file on the command line."""
    check("input valueFrom", fields, where)
    check("configMapKeyRef", fields["configMapKeyRef"], where)
    if (name := fields["configMapKeyRef"]["name"]) != SPECS:
        raise SpecError("ConfigMap not implemented here", where=where, value=name, allowed=SPECS)


def _check_template(template: dict[str, Any], where: str) -> None:
    check("template", template, where)
    for kind in ("inputs", "outputs"):
        check_parameters(template.get(kind, {}), kind, where)
    if ("dag" in template) == ("container" in template):
        raise SpecError("a template is either a dag or a container", where=where)
    if "container" in template:
        check("container", template["container"], f"{where}.container")
        retry_of(template)
        seconds(template.get("timeout", "1h"))
        return
    check("dag", template["dag"], f"{where}.dag")
    if template["dag"].get("failFast") is not False:
        raise SpecError("Argo setting not implemented here", where=f"{where}.dag.failFast", allowed="false")
    if refused := template.keys() & {"retryStrategy", "timeout", "outputs"}:
        raise SpecError("only a container template may have this", where=where, value=sorted(refused)[0])
    for task in template["dag"]["tasks"]:
        check("task", task, f"{where}.task {task.get('name')}")
        check_parameters(task.get("arguments", {}), "arguments", f"{where}.task {task['name']}")
        dependencies(task)


def _check_references(spec: dict[str, Any]) -> None:
    """Every template and task that is named exists, and no template or task waits for itself."""
    templates = {template["name"]: template for template in spec["templates"]}
    _known(spec["entrypoint"], templates, "spec.entrypoint")
    uses: dict[str, set[str]] = {}
    for name, template in templates.items():
        tasks = template.get("dag", {"tasks": []})["tasks"]
        before = {task["name"]: dependencies(task) for task in tasks}
        for task in tasks:
            where = f"template {name}.task {task['name']}"
            _known(task["template"], templates, f"{where}.template")
            for other in sorted(before[task["name"]]):
                _known(other, before, f"{where}.depends")
        _acyclic(before, f"template {name}")
        uses[name] = {task["template"] for task in tasks}
    _acyclic(uses, "templates")


def _known(name: str, names: Mapping[str, Any], where: str) -> None:
    if name not in names:
        raise SpecError("no such name in the workflow", where=where, value=name, allowed=", ".join(names))


def _acyclic(before: Mapping[str, set[str]], where: str) -> None:
    try:
        TopologicalSorter(before).prepare()
    except CycleError as error:
        raise SpecError("these wait for each other", where=where, value=" -> ".join(error.args[1])) from None


def retry_of(template: dict[str, Any]) -> Retry:
    """The retry strategy of a template. Raises: SpecError for an expression of another form."""
    fields = template.get("retryStrategy")
    where = f"template {template['name']}.retryStrategy"
    if fields is None:
        return Retry()
    check("retryStrategy", fields, where)
    if absent := {"limit", "retryPolicy", "expression"} - fields.keys():
        raise SpecError("must be given, for Argo's default is another", where=where, value=sorted(absent)[0])
    backoff = fields.get("backoff", {"duration": "1s"})
    check("backoff", backoff, f"{where}.backoff")
    found = RETRY.fullmatch(fields["expression"].strip())
    if found is None or fields.get("retryPolicy") != "Always":
        raise SpecError(
            "retry rule not implemented here", where=where, value=fields["expression"], allowed=RETRY.pattern
        )
    return Retry(
        limit=int(fields["limit"]),
        codes=frozenset(int(code) for code in found[1].split(",")),
        seconds=seconds(backoff["duration"]),
        factor=float(backoff.get("factor", "1")),
        cap=seconds(backoff["cap"]) if "cap" in backoff else 0,
    )


def seconds(text: str) -> float:
    """'90s', '10m' or '2h' in seconds. Raises: SpecError; Argo itself refuses a number without unit."""
    if not (found := re.fullmatch(r"(\d+)([smh])", str(text))):
        raise SpecError("not a duration", value=str(text), allowed="a whole number with s, m or h")
    return int(found[1]) * UNIT_SECONDS[found[2]]


def fill(text: str, scope: Scope) -> str:
    """Replace every {{name}}. Raises: SpecError for an unknown name."""

    def known(match: re.Match[str]) -> str:
        name = match[1].strip()
        if name not in scope:
            raise SpecError("unknown variable", where=text, value=name, allowed=", ".join(sorted(scope)))
        return scope[name]

    return re.sub(r"\{\{(.+?)\}\}", known, text)


def dependencies(task: dict[str, Any]) -> set[str]:
    """Names of the tasks that a task waits for. Raises: SpecError for an expression that does not parse."""
    text = task.get("depends", "")
    names = {match[1] for match in NAME.finditer(text)}
    if text:
        holds(text, dict.fromkeys(names, Phase.SUCCEEDED))
    return names


def holds(expression: str, phases: Mapping[str, Phase]) -> bool:
    """Whether a `depends` expression is true. A bare name means succeeded or skipped, as in Argo.

    Raises: SpecError for anything but names, statuses, &&, ||, ! and parentheses.
    """
    allowed = "task, task.Status, &&, ||, !, ( )"
    statuses = {str(phase) for phase in Phase}

    def value(match: re.Match[str]) -> str:
        name, status = match[1], match[2]
        if status and status not in statuses:
            raise SpecError("unknown status", where=expression, value=status, allowed=", ".join(sorted(statuses)))
        phase = phases[name]
        return str(phase == status if status else phase in (Phase.SUCCEEDED, Phase.SKIPPED))

    text = NAME.sub(value, expression).replace("&&", " and ").replace("||", " or ").replace("!", " not ")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except SyntaxError:
        raise SpecError("depends does not parse", value=expression, allowed=allowed) from None
    kinds = (ast.Expression, ast.BoolOp, ast.UnaryOp, ast.And, ast.Or, ast.Not, ast.Constant)
    if not all(isinstance(node, kinds) for node in ast.walk(tree)):
        raise SpecError("depends does not parse", value=expression, allowed=allowed)
    return bool(eval(compile(tree, "depends", "eval"), {"__builtins__": {}}))  # only constants and Boolean operators


def items(task: dict[str, Any], scope: Scope) -> list[str] | None:
    """The items of a fan-out as Argo passes them (text as it is, others as JSON); None without withParam.

    Raises: SpecError if what withParam stands for is not a JSON list.
    """
    if "withParam" not in task:
        return None
    text = fill(task["withParam"], scope)
    try:
        listed = json.loads(text)
    except ValueError:
        listed = None
    if not isinstance(listed, list):
        raise SpecError("not a JSON list", where=f"task {task['name']}.withParam", value=text)
    return [item if isinstance(item, str) else json.dumps(item) for item in listed]
