"""What Kubernetes and Argo cost: the demo on a cluster beside the demo here, and where the time of a pod goes.

    python -m benchmarks.cluster [--spec workflows/specs/demo.json] [--skip-laptop]

Needs what `make cluster` needs. Times are the API server's and the jobs' own, to the second. For each step:
created → first line of the job (scheduling, Argo's init container, start of Python), and last line → node finished.
What the controller takes until it creates the next pod shows in the wall time alone.
"""

import argparse
import json
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from typing import Any

from benchmarks.record import record
from common.cli import parsed
from workflows.cluster.api_server import Cluster
from workflows.cluster.workflow import ENDED, NAMESPACE, cell_of, phase_of, pod_nodes


def submit(spec: str) -> str:
    """Start the study over a store prefix of its own; return the Workflow's name."""
    words = [sys.executable, "-m", "workflows.cluster", "submit", "--spec", spec]
    store = f"s3://undertone/benchmark-{secrets.token_hex(4)}"
    made = subprocess.run([*words, "--store", store], check=True, capture_output=True, text=True)
    return made.stdout.split()[1]


def seconds(begin: str, end: str) -> float:
    """Between two times as the API server writes them."""
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()


def step_times(cluster: Cluster, workflow: dict[str, Any]) -> list[dict[str, Any]]:
    """For each pod: its step, and seconds before, in and after its job."""
    pods, found = cluster.pods(workflow["metadata"]["name"]), list[dict[str, Any]]()
    for node in pod_nodes(workflow):
        pod = pods[node["id"]]
        text = cluster.core.read_namespaced_pod_log(pod.metadata.name, NAMESPACE, container="main")
        lines = [json.loads(line) for line in text.splitlines() if line.startswith('{"time"')]
        first, last = lines[0]["time"], lines[-1]["time"]
        created = pod.metadata.creation_timestamp.isoformat()
        parts = (seconds(created, first), seconds(first, last), seconds(last, node["finishedAt"]))
        times = {"first": first, "last": last, "before": parts[0], "job": parts[1], "after": parts[2]}
        found.append({"step": cell_of(node), **times})
    return found


def ended_workflow(cluster: Cluster, name: str) -> dict[str, Any]:
    """Wait for the end of a Workflow. Exits unless it succeeded."""
    while phase_of(workflow := cluster.workflow(name)) not in ENDED:
        time.sleep(5)
    if phase_of(workflow) != "Succeeded":
        sys.exit(f"error: {name} {phase_of(workflow)}: {workflow['status'].get('message', '')}")
    return workflow


def times_of(workflow: dict[str, Any], steps: list[dict[str, Any]]) -> dict[str, Any]:
    """What is recorded of a Workflow and its steps."""
    state = workflow["status"]
    slow = max(steps, key=lambda step: float(step["before"] + step["after"]))
    first, last = min(step["first"] for step in steps), max(step["last"] for step in steps)
    return {
        "pods": len(steps),
        "wall on the cluster, seconds": seconds(state["startedAt"], state["finishedAt"]),
        "submit to first line, seconds": seconds(workflow["metadata"]["creationTimestamp"], first),
        "last line to Succeeded, seconds": seconds(last, state["finishedAt"]),
        "created to first line, median of a step, seconds": statistics.median(s["before"] for s in steps),
        "last line to finished, median of a step, seconds": statistics.median(s["after"] for s in steps),
        "before and after, mean of a step, seconds": statistics.mean(s["before"] + s["after"] for s in steps),
        f"before and after, largest ({slow['step']}), seconds": slow["before"] + slow["after"],
        "in the job, sum, seconds": sum(s["job"] for s in steps),
    }


def seconds_here(spec: str) -> float:
    """How long the same spec takes on this machine, over a fresh store. Raises: CalledProcessError."""
    with tempfile.TemporaryDirectory(prefix="undertone-laptop-") as data:
        words = ["-m", "workflows.local", "workflows/study.yaml", "--spec", spec, "--data", data]
        clock = time.perf_counter()
        subprocess.run([sys.executable, *words], check=True)
        return time.perf_counter() - clock


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spec", default="workflows/specs/demo.json")
    parser.add_argument("--skip-laptop", action="store_true", help="do not run the same spec on this machine")
    parser.add_argument("--name", help="a Workflow that ended already; none is submitted")
    args = parsed(parser)
    cluster = Cluster(NAMESPACE)
    workflow = ended_workflow(cluster, args.name or submit(args.spec))
    results = times_of(workflow, step_times(cluster, workflow))
    if not args.skip_laptop:
        laptop = seconds_here(args.spec)
        added = 1 - laptop / results["wall on the cluster, seconds"]
        results |= {"wall on this machine, seconds": laptop, "share of the wall that the cluster adds": added}
    record("cluster", "python -m benchmarks.cluster", results)


if __name__ == "__main__":
    main()
