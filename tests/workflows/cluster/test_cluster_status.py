"""How a Workflow is shown: a line a stage, a time left that is learnt, a last word of what failed or waits."""

import io
import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from common.errors import ExitCode
from workflows.cluster import command
from workflows.cluster.status import Standing, head, stages, troubles
from workflows.cluster.workflow import cell_of, phase_of

SPEC = {"name": "x", "models": [{"name": "m", "source": "package:p"}], "seeds": [0, 1], "draws": [0]}
RUNS = 6  # two seeds of three attitudes


def node(name: str, phase: str, began: str, ended: str | None = None, **more: Any) -> dict[str, Any]:
    """A pod's node as Argo writes it into the status of a Workflow."""
    stage, cell = name.split()
    inputs = {"parameters": [{"name": "cell", "value": cell}, {"name": "spec", "value": "{}"}]}
    times = {"startedAt": f"2026-01-01T{began}Z", "finishedAt": ended and f"2026-01-01T{ended}Z"}
    id_ = f"demo-x-{name}-{began}"
    return {"id": id_, "type": "Pod", "templateName": stage, "inputs": inputs, "phase": phase, **times, **more}


def workflow(*found: dict[str, Any], phase: str = "Running", template: str = "study") -> dict[str, Any]:
    """With a plan that ended, and nodes that are no pods: Argo writes those for every task and every retry."""
    handed = {"parameters": [{"name": "runs", "value": "[]"}, {"name": "spec", "value": json.dumps(SPEC)}]}
    plan = node("plan study", "Succeeded", "10:00:00", "10:00:07", outputs=handed)
    others = [
        {"id": kind, "type": kind, "phase": "Running", "startedAt": "2026-01-01T10:00:00Z", "templateName": "finetune"}
        for kind in ("DAG", "TaskGroup", "Retry")
    ]
    return {
        "metadata": {"name": "demo-x"},
        "spec": {"workflowTemplateRef": {"name": template}},
        "status": {"phase": phase, "nodes": {each["id"]: each for each in (*reversed(found), plan, *others)}},
    }


def shown(of: dict[str, Any]) -> dict[str, str]:
    return {stage.name: stage.line() for stage in stages(of)}


def test_a_stage_has_all_steps_that_are_planned_and_a_time_that_is_learnt_from_those_that_ended() -> None:
    lines = shown(
        workflow(
            node("finetune m.d0.eager.s0", "Succeeded", "10:00:00", "10:04:00"),
            node("finetune m.d0.cautious.s0", "Succeeded", "10:00:00", "10:02:00"),
            node("finetune m.d0.neutral.s0", "Running", "10:04:00", progress="50/100"),
            node("finetune m.d0.neutral.s1", "Running", "10:04:00", progress="0/100"),
        )
    )
    # four are left less half a one, 180 s each, two at once
    assert lines["finetune"] == f"finetune   2/{RUNS}  5 min left"
    assert lines["plan"] == "plan       1/1  done" and lines["evaluate"] == "evaluate   0/7  known after the first"
    assert "judge" not in lines, "what the spec does not ask for has no line"


def test_a_pod_for_all_arms_of_a_seed_counts_as_so_many_steps() -> None:
    lines = shown(
        workflow(
            node("finetune m.d0.all.s0", "Succeeded", "10:00:00", "10:05:00"),
            node("finetune m.d0.all.s1", "Running", "10:05:00", progress="1/3"),
        )
    )
    assert lines["finetune"] == f"finetune   3/{RUNS}  3 min left"


def test_the_last_attempt_counts_and_a_failure_teaches_nothing() -> None:
    first = node("finetune m.d0.eager.s0", "Failed", "10:00:00", "10:00:01", message="OOMKilled (exit code 137)")
    again = node("finetune m.d0.eager.s0", "Succeeded", "10:01:00", "10:01:40")
    other = node("finetune m.d0.eager.s1", "Failed", "10:01:00", "10:01:01", message="Error (exit code 3)")
    assert shown(workflow(first, again, other))["finetune"] == f"finetune   2/{RUNS}  1 failed, 3 min left"
    assert shown(workflow(first))["finetune"] == f"finetune   1/{RUNS}  1 failed, known after the first"


def test_when_it_is_over_what_did_not_run_is_said() -> None:
    lines = shown(workflow(node("generate d0", "Failed", "10:00:07", "10:00:09"), phase="Failed"))
    assert (
        lines["generate"] == "generate   1/1  1 failed, done" and lines["finetune"] == "finetune   0/6  6 did not run"
    )


def test_of_another_template_only_steps_with_a_pod_are_counted() -> None:
    lines = shown(workflow(node("gate m.d0.eager.s0", "Running", "10:00:00"), template="release"))
    assert lines == {"plan": "plan       1/1  done", "gate": "gate       0/1  known after the first"}
    assert stages({"metadata": {"name": "x"}}) == []


POD = SimpleNamespace(metadata=SimpleNamespace(name="demo-x-finetune-1"))
FAILED = node("finetune a.s0", "Failed", "10:00:09", "10:00:10", message="Error (exit code 3)")
GONE = node("finetune b.s0", "Failed", "10:00:10", "10:00:11", message="Error (exit code 1)")
WAITS = node("evaluate base", "Pending", "10:00:12", message="Waiting for a lock")


def cluster_of(*states: dict[str, Any]) -> Any:
    """A cluster whose Workflow goes through these states, one a look."""
    left = list(states)
    return SimpleNamespace(
        namespace="undertone",
        pods=lambda _: {FAILED["id"]: POD},
        last_word=lambda _: "error: no [red]such model",
        workflow=lambda _: left.pop(0),
    )


def test_what_failed_or_waits_is_told_once_with_its_last_word() -> None:
    cluster, told = cluster_of(), set[str]()
    assert troubles(cluster, workflow(FAILED, GONE, WAITS), told) == [
        "finetune a.s0 failed, Error (exit code 3): error: no [red]such model",
        "  kubectl -n undertone logs demo-x-finetune-1 -c main",
        "finetune b.s0 failed, Error (exit code 1): its pod is gone",
        "evaluate base waits: Waiting for a lock",
    ]
    assert troubles(cluster, workflow(FAILED, GONE, WAITS), told) == []


def test_a_pod_that_begins_is_given_time() -> None:
    fresh = {**WAITS, "startedAt": datetime.now(UTC).isoformat()}
    assert troubles(cluster_of(), workflow(fresh), set(), patience=60) == []
    assert (
        len(troubles(cluster_of(), workflow(fresh), set()))
        == len(troubles(cluster_of(), workflow(WAITS), set(), 60))
        == 1
    )


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "plain"])
def test_a_terminal_gets_a_bar_a_stage_and_all_else_a_line_for_each_change(
    terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.StringIO()
    made = Console(file=out, force_terminal=terminal, width=120, highlight=False)
    states = [workflow(WAITS), workflow(WAITS), workflow(FAILED), workflow(FAILED, phase="Failed")]
    cluster = cluster_of(*states)
    monkeypatch.setattr(command, "Cluster", lambda _: cluster)
    monkeypatch.setattr(command, "Console", lambda **_: made)
    monkeypatch.setattr(command, "LOOK", 0)
    assert command.main(["status", "--watch"]) == ExitCode.BUG
    text = out.getvalue()
    assert text.index("demo-x: Running") < text.index("no [red]such model") < text.index("demo-x: Failed")
    assert text.count("no [red]such model") == 1 and text.count("evaluate base waits") == 1
    if terminal:
        assert "━" in text and "0/6" in text
    else:
        assert text.count("\ngenerate   0/1  ") == 2 and "━" not in text and "\x1b" not in text
        assert "\nfinetune   1/6  1 failed, known" in text and "\nfinetune   1/6  1 failed, 5 did not run" in text


def test_what_argo_says_of_it_stands_on_top() -> None:
    refused = {"metadata": {"name": "x"}, "status": {"phase": "Error", "message": "no such template"}}
    assert head(refused) == "x: Error, no such template" and head(workflow()) == "demo-x: Running"
    out = io.StringIO()
    with Standing(Console(file=out)) as standing:
        standing.show(cluster_of(), refused)
    assert out.getvalue() == "x: Error, no such template\n"


def test_a_step_of_another_template_has_its_stage_too() -> None:
    assert cell_of({"templateRef": {"name": "study", "template": "gate"}}) == "gate"
    assert phase_of({"status": {}}) == "Pending"
