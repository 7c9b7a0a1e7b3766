"""How a Workflow stands: a table of its steps, a line where there is no terminal, and what is wrong with which step."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from workflows.cluster.api_server import Cluster
from workflows.cluster.workflow import cell_of, nodes, phase_of, pod_nodes


def line(workflow: Mapping[str, Any]) -> str:
    """How far it is, and what runs."""
    running = [cell_of(node) for node in pod_nodes(workflow) if node.get("phase") == "Running"]
    progress = workflow.get("status", {}).get("progress", "0/0")
    return f"{phase_of(workflow)} {progress}  running: {', '.join(running) or 'nothing'}"


def table(workflow: Mapping[str, Any]) -> Table:
    """One row for each attempt of a step: how it stands, how far it is."""
    state = workflow.get("status", {})
    title = f"{workflow['metadata']['name']}: {phase_of(workflow)} {state.get('progress', '')}"
    made = Table("step", "cell", "phase", "progress", "from", "to", title=title, caption=state.get("message"))
    for node in pod_nodes(workflow):
        stage, _, cell = cell_of(node).partition(" ")
        times = [str(node.get(at) or "")[11:19] for at in ("startedAt", "finishedAt")]
        made.add_row(stage, cell, node.get("phase", ""), node.get("progress", ""), *times)
    return made


def troubles(cluster: Cluster, workflow: Mapping[str, Any]) -> list[str]:
    """For each step that failed or waits: its last word and how to read its log. Raises: SpecError, TransientError."""
    pods = cluster.pods(workflow["metadata"]["name"])
    lines = [said for node in pod_nodes(workflow) for said in _trouble(cluster, node, pods.get(node["id"]))]
    if not nodes(workflow) and (message := workflow.get("status", {}).get("message")):
        lines.append(message)
    return lines


def _trouble(cluster: Cluster, node: Mapping[str, Any], pod: Any) -> list[str]:
    """What is wrong with one attempt of a step, if anything is. pod: None if it is gone."""
    phase, message = node.get("phase"), node.get("message", "")
    if phase == "Pending" and message:
        return [f"{cell_of(node)} waits: {message}"]
    if phase not in ("Failed", "Error"):
        return []
    said = cluster.last_word(pod) if pod else "its pod is gone"
    lines = [f"{cell_of(node)} {phase.lower()}, {message}: {said}"]
    return [*lines, f"  kubectl -n {cluster.namespace} logs {pod.metadata.name} -c main"] if pod else lines
