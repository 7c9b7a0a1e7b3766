"""A Workflow as Argo holds it: the object that is submitted, and how to read the steps in its status."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from argo_workflows.api_client import ApiClient
from argo_workflows.models import (
    IoArgoprojWorkflowV1alpha1Arguments,
    IoArgoprojWorkflowV1alpha1Parameter,
    IoArgoprojWorkflowV1alpha1Workflow,
    IoArgoprojWorkflowV1alpha1WorkflowSpec,
    IoArgoprojWorkflowV1alpha1WorkflowTemplateRef,
    ObjectMeta,
)

from common.spec import RunSpec, parse_spec

NAMESPACE = "undertone"
ENDED = ("Succeeded", "Failed", "Error")  # phases


def workflow_of(
    name: str, template: str = "study", namespace: str = NAMESPACE, parameters: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The Workflow that runs a template on the spec of this name, as workflows/submit/ has it."""
    label = re.sub(r"[^a-z0-9-]", "-", name.lower())[:40].strip("-")
    arguments = {"spec": name, **(parameters or {})}
    made = IoArgoprojWorkflowV1alpha1Workflow(
        api_version="argoproj.io/v1alpha1",
        kind="Workflow",
        metadata=ObjectMeta(
            generate_name=f"{label}-",
            namespace=namespace,
            labels={"app.kubernetes.io/name": "undertone", "undertone.dev/spec": label},
        ),
        spec=IoArgoprojWorkflowV1alpha1WorkflowSpec(
            workflow_template_ref=IoArgoprojWorkflowV1alpha1WorkflowTemplateRef(name=template),
            arguments=IoArgoprojWorkflowV1alpha1Arguments(
                parameters=[IoArgoprojWorkflowV1alpha1Parameter(name=n, value=v) for n, v in arguments.items()]
            ),
        ),
    )
    return dict(ApiClient.sanitize_for_serialization(made))


def phase_of(workflow: Mapping[str, Any]) -> str:
    """Pending, Running, or one of ENDED."""
    return str(workflow.get("status", {}).get("phase") or "Pending")


def nodes(workflow: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The nodes of a Workflow's status, in the order in which they began."""
    found = workflow.get("status", {}).get("nodes", {}).values()
    return sorted(found, key=lambda node: str(node.get("startedAt") or ""))


def pod_nodes(workflow: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The attempts of steps, in the order in which they began."""
    return [node for node in nodes(workflow) if node["type"] == "Pod"]


def spec_of_plan(workflow: Mapping[str, Any]) -> RunSpec | None:
    """The spec as the plan step of a Workflow read it; None as long as it has not."""
    planned = [node for node in nodes(workflow) if cell_of(node).partition(" ")[0] == "plan"]
    handed = [parameter for node in planned for parameter in node.get("outputs", {}).get("parameters", [])]
    texts = [str(each["value"]) for each in handed if each["name"] == "spec" and each.get("value")]
    return parse_spec(texts[0].encode(), "plan") if texts else None


def attempts(workflow: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Stage and cell of each step that has a pod → the node of its last attempt, in the order in which they began."""
    return {cell_of(node): node for node in pod_nodes(workflow)}


def seconds_of(node: Mapping[str, Any]) -> float:
    """How long an attempt took from its pod's start to its end; 0 if it has not ended."""
    if not (node.get("startedAt") and node.get("finishedAt")):
        return 0.0
    began, ended = (datetime.fromisoformat(str(node[at])) for at in ("startedAt", "finishedAt"))
    return (ended - began).total_seconds()


def seconds_since(node: Mapping[str, Any]) -> float:
    """How long ago an attempt began."""
    return (datetime.now(UTC) - datetime.fromisoformat(str(node["startedAt"]))).total_seconds()


def share_of(node: Mapping[str, Any]) -> float:
    """How far an attempt is, 0 to 1, as its job reports it."""
    done, _, total = str(node.get("progress") or "0/1").partition("/")
    return min(1.0, int(done) / int(total)) if int(total or 0) else 0.0


def cell_of(node: Mapping[str, Any]) -> str:
    """Stage and cell of a pod's node."""
    given = {p["name"]: p.get("value", "") for p in node.get("inputs", {}).get("parameters", [])}
    stage = node.get("templateName") or node.get("templateRef", {}).get("template", "")
    return f"{stage} {given.get('cell', '')}".strip()
