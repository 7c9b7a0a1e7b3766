"""A Workflow as Argo holds it: the object that is submitted, and how to read the steps in its status."""

import re
from collections.abc import Mapping
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


def cell_of(node: Mapping[str, Any]) -> str:
    """Stage and cell of a pod's node."""
    given = {p["name"]: p.get("value", "") for p in node.get("inputs", {}).get("parameters", [])}
    stage = node.get("templateName") or node.get("templateRef", {}).get("template", "")
    return f"{stage} {given.get('cell', '')}".strip()
