"""How a Workflow is shown: every attempt of a step, and a last word for each that failed or waits."""

from types import SimpleNamespace
from typing import Any

from rich.console import Console

from workflows.cluster.status import line, table, troubles
from workflows.cluster.workflow import cell_of, phase_of


def node(name: str, phase: str, began: str, **more: Any) -> dict[str, Any]:
    stage, cell = name.split()
    inputs = {"parameters": [{"name": "cell", "value": cell}]}
    times = {"startedAt": f"2026-01-01T{began}Z", "finishedAt": None}
    return {"id": name, "type": "Pod", "templateName": stage, "inputs": inputs, "phase": phase, **times, **more}


WORKFLOW: dict[str, Any] = {
    "metadata": {"name": "demo-x"},
    "status": {
        "phase": "Running",
        "progress": "1/4",
        "nodes": {
            "c": node("finetune a.s0", "Failed", "10:00:09", message="Error (exit code 3)"),
            "d": node("finetune b.s0", "Failed", "10:00:10", message="Error (exit code 1)"),
            "a": node("plan study", "Succeeded", "10:00:00"),
            "e": node("evaluate base", "Pending", "10:00:12", message="Waiting for a lock"),
            "b": node("generate d0", "Running", "10:00:05"),
            "f": {"id": "f", "type": "DAG", "phase": "Running", "startedAt": "2026-01-01T10:00:00Z"},
        },
    },
}


def test_a_table_has_a_row_for_each_pod_in_the_order_in_which_they_began() -> None:
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    with console.file:
        console.print(table(WORKFLOW))
    rows = [row for row in console.export_text().splitlines() if row.startswith("│")]
    assert [row.split("│")[1].strip() for row in rows] == ["plan", "generate", "finetune", "finetune", "evaluate"]
    assert "10:00:05" in rows[1] and "d0" in rows[1]


def test_a_line_names_what_runs() -> None:
    assert line(WORKFLOW) == "Running 1/4  running: generate d0"
    assert line({"metadata": {"name": "x"}}) == "Pending 0/0  running: nothing"


def test_what_failed_or_waits_is_told_with_its_last_word() -> None:
    pod = SimpleNamespace(metadata=SimpleNamespace(name="demo-x-finetune-1"))
    cluster: Any = SimpleNamespace(
        namespace="undertone", pods=lambda name: {"finetune a.s0": pod}, last_word=lambda pod: "error: no such model"
    )
    assert troubles(cluster, WORKFLOW) == [
        "finetune a.s0 failed, Error (exit code 3): error: no such model",
        "  kubectl -n undertone logs demo-x-finetune-1 -c main",
        "finetune b.s0 failed, Error (exit code 1): its pod is gone",
        "evaluate base waits: Waiting for a lock",
    ]
    refused = {"metadata": {"name": "x"}, "status": {"phase": "Error", "message": "no such template"}}
    assert troubles(cluster, refused) == ["no such template"]


def test_a_step_of_another_template_has_its_stage_too() -> None:
    assert cell_of({"templateRef": {"name": "study", "template": "gate"}}) == "gate"
    assert phase_of({"status": {}}) == "Pending"
