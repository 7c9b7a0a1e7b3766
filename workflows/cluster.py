"""Send studies to a Kubernetes with Argo Workflows, watch them, and fetch what they found.

    python -m workflows.cluster submit --spec workflows/specs/demo.json [--set seeds=4] [--dry-run]
    python -m workflows.cluster status [NAME] [--watch]
    python -m workflows.cluster fetch-report [NAME] [--out FOLDER]
    python -m workflows.cluster prepare

The cluster is the one that KUBECONFIG names. `prepare` is the part of `make cluster` that YAML cannot say.
"""

import argparse
import base64
import contextlib
import json
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from argo_workflows.api_client import ApiClient
from argo_workflows.models import (
    IoArgoprojWorkflowV1alpha1Arguments,
    IoArgoprojWorkflowV1alpha1Parameter,
    IoArgoprojWorkflowV1alpha1Workflow,
    IoArgoprojWorkflowV1alpha1WorkflowSpec,
    IoArgoprojWorkflowV1alpha1WorkflowTemplateRef,
    ObjectMeta,
)
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text
from urllib3.exceptions import HTTPError

from common.cli import changes
from common.errors import ExitCode, InputError, JobError, SpecError, TransientError
from common.serialization import canonical_json, parse_json
from common.spec import RunSpec, override, parse_spec
from common.store.sealed import open_store
from workflows.local.command import RUNS
from workflows.local.results import write_outputs
from workflows.local.template import SPECS

NAMESPACE = "undertone"
KIND: dict[str, str] = {"group": "argoproj.io", "version": "v1alpha1", "plural": "workflows"}
SECRET, KEYS = "undertone-s3", ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
STORE = "s3://undertone/studies"
ENDED = ("Succeeded", "Failed", "Error")
SECONDS_TO_FORWARD = 20


class Cluster:
    """The namespace of a study on the cluster that KUBECONFIG names. Raises: SpecError, TransientError."""

    def __init__(self, namespace: str) -> None:
        try:
            config.load_kube_config()
        except (ConfigException, OSError) as error:
            raise SpecError("no cluster to talk to", where="KUBECONFIG", value=str(error)) from None
        self.namespace = namespace
        self.core, self.custom, self.networking = (
            client.CoreV1Api(),
            client.CustomObjectsApi(),
            client.NetworkingV1Api(),
        )

    # --- workflows

    def workflow(self, name: str | None) -> dict[str, Any]:
        """A Workflow by name, or the newest. Raises: InputError if there is none."""
        with _asked(f"workflow {name or '(newest)'}"):
            if name:
                return dict(self.custom.get_namespaced_custom_object(namespace=self.namespace, name=name, **KIND))
            found = self.custom.list_namespaced_custom_object(namespace=self.namespace, **KIND)["items"]
        if not found:
            raise InputError(
                "no workflow was submitted yet", where=f"namespace {self.namespace}", allowed="make submit"
            )
        return dict(max(found, key=lambda workflow: str(workflow["metadata"]["creationTimestamp"])))

    def create(self, workflow: dict[str, Any]) -> str:
        """Create a Workflow; return its name."""
        with _asked("workflow"):
            made = self.custom.create_namespaced_custom_object(namespace=self.namespace, body=workflow, **KIND)
        return str(made["metadata"]["name"])

    def check(self, template: str) -> None:
        """Find what would leave pods waiting in silence. Raises: SpecError naming what is missing."""
        with _asked(f"WorkflowTemplate {template}"):
            try:
                self.custom.get_namespaced_custom_object(
                    namespace=self.namespace, name=template, **{**KIND, "plural": "workflowtemplates"}
                )
            except ApiException as error:
                if error.status != 404:
                    raise
                where = f"namespace {self.namespace}"
                raise SpecError(
                    "no such WorkflowTemplate", where=where, value=template, allowed="make cluster"
                ) from None
        self.credentials()

    def keep_spec(self, name: str, spec: RunSpec) -> None:
        """Put a spec under its name into the ConfigMap that the workflow reads."""
        text = canonical_json(spec.model_dump(mode="json")).decode()
        with _asked(f"ConfigMap {SPECS}"):
            self.core.patch_namespaced_config_map(SPECS, self.namespace, {"data": {name: text}})

    def spec(self, workflow: Mapping[str, Any]) -> RunSpec:
        """The spec of a Workflow: what its plan step handed over, or else what is in the ConfigMap now."""
        for node in nodes(workflow):
            for parameter in node.get("outputs", {}).get("parameters", []):
                if node.get("templateName") == "plan" and parameter["name"] == "spec" and parameter.get("value"):
                    return parse_spec(parameter["value"].encode(), "plan")
        given = {p["name"]: p.get("value") for p in workflow["spec"].get("arguments", {}).get("parameters", [])}
        name = given.get("spec") or "demo"
        with _asked(f"ConfigMap {SPECS}"):
            held = self.core.read_namespaced_config_map(SPECS, self.namespace).data or {}
        if name not in held:
            raise SpecError("no such spec", where=f"ConfigMap {SPECS}", value=name, allowed=", ".join(sorted(held)))
        return parse_spec(held[name].encode(), name)

    def pods(self, name: str) -> dict[str, Any]:
        """The pods of a Workflow by the id of their node."""
        with _asked("pods"):
            found = self.core.list_namespaced_pod(
                self.namespace, label_selector=f"workflows.argoproj.io/workflow={name}"
            ).items
        return {(pod.metadata.annotations or {}).get("workflows.argoproj.io/node-id", ""): pod for pod in found}

    def last_word(self, pod: Any) -> str:
        """The error line of a pod's job, else its last line; why there is none where there is none."""
        try:
            text = self.core.read_namespaced_pod_log(pod.metadata.name, self.namespace, container="main", tail_lines=30)
        except ApiException:
            return "no log"
        # Argo's executor adds lines of its own, which say no more than the exit code does.
        lines = [line for line in (text or "").splitlines() if line.strip() and "argo=true" not in line]
        lines = [line for line in lines if not line.startswith("Error: exit status")]
        said = [line for line in lines if line.startswith("error: ")]
        return (said or lines or ["no log"])[-1]

    # --- the store

    def credentials(self) -> dict[str, str]:
        """What jobs get to reach the store. Raises: SpecError if the Secret or one of its keys is missing."""
        with _asked(f"Secret {SECRET}"):
            try:
                data = self.core.read_namespaced_secret(SECRET, self.namespace).data or {}
            except ApiException as error:
                if error.status != 404:
                    raise
                raise SpecError(
                    "the Secret with the store's credentials is missing",
                    where=f"namespace {self.namespace}",
                    value=SECRET,
                    allowed="make cluster, or kubectl create secret generic",
                ) from None
        found = {name: base64.b64decode(value).decode() for name, value in data.items()}
        if absent := [name for name in KEYS if not found.get(name)]:
            raise SpecError(
                "the Secret lacks a key", where=f"Secret {SECRET}", value=absent[0], allowed=", ".join(KEYS)
            )
        return found

    @contextlib.contextmanager
    def store(self) -> Iterator[None]:
        """Make the store reachable while the block runs: forward a port where it is a Service of the cluster."""
        environment = self.credentials()
        endpoint = environment.get("AWS_ENDPOINT_URL_S3", "")
        inside = re.fullmatch(r"http://([a-z0-9-]+)\.([a-z0-9-]+)\.svc:(\d+)", endpoint)
        with contextlib.ExitStack() as stack:
            if inside:
                port = stack.enter_context(_forwarded(inside[1], inside[2], inside[3]))
                environment["AWS_ENDPOINT_URL_S3"] = f"http://127.0.0.1:{port}"
            os.environ.update(environment)
            yield


@contextlib.contextmanager
def _asked(what: str) -> Iterator[None]:
    """Turn what the API server answers into one line."""
    try:
        yield
    except ApiException as error:
        kind = TransientError if error.status in (0, 429, 500, 502, 503, 504) else SpecError
        message = error.reason
        with contextlib.suppress(TypeError, ValueError, AttributeError):
            message = json.loads(error.body)["message"]
        raise kind("the cluster refused", where=what, value=message) from None
    except (HTTPError, OSError) as error:
        raise TransientError("the cluster does not answer", where=what, value=str(error)) from None


@contextlib.contextmanager
def _forwarded(service: str, namespace: str, port: str) -> Iterator[int]:
    """A local port that leads to a Service while the block runs."""
    words = ["kubectl", "-n", namespace, "port-forward", "--address=127.0.0.1", f"service/{service}", f":{port}"]
    try:
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except FileNotFoundError:
        raise SpecError("kubectl is not installed; it forwards a port to the store", where="PATH") from None
    try:
        line = process.stdout.readline() if process.stdout else ""
        found = re.search(r"127\.0\.0\.1:(\d+) ->", line)
        if not found:
            raise TransientError("cannot reach the store", where=f"service/{service}", value=line.strip())
        yield int(found[1])
    finally:
        process.terminate()
        process.wait(SECONDS_TO_FORWARD)


# --- the object


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


def nodes(workflow: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The nodes of a Workflow's status, in the order in which they began."""
    found = workflow.get("status", {}).get("nodes", {}).values()
    return sorted(found, key=lambda node: str(node.get("startedAt") or ""))


# --- commands


def submit(arguments: argparse.Namespace) -> int:
    """Check a spec and the cluster, then create the Workflow."""
    path: Path = arguments.spec
    data = override(path.read_bytes(), str(path), changes(arguments.set))
    spec = parse_spec(data, str(path))
    shipped = Path(__file__).parent / "specs" / f"{path.stem}.json"
    unchanged = shipped.is_file() and parse_json(data, str(path)) == parse_json(shipped.read_bytes(), str(shipped))
    name = path.stem if unchanged else spec.run_id
    store = {"store": arguments.store} if arguments.store else None
    workflow = workflow_of(name, arguments.template, arguments.namespace, store)
    if arguments.dry_run:
        print(yaml.safe_dump(workflow, sort_keys=False), end="")
        return int(ExitCode.OK)
    cluster = Cluster(arguments.namespace)
    cluster.check(arguments.template)
    if not unchanged:
        cluster.keep_spec(name, spec)
    made = cluster.create(workflow)
    print(f"submitted {made}\n  make status NAME={made} WATCH=1\n  make fetch-report NAME={made}")
    return int(ExitCode.OK)


def status(arguments: argparse.Namespace) -> int:
    """Show a Workflow: exit 0 while it runs or if it succeeded, 1 if it failed."""
    cluster, console = Cluster(arguments.namespace), Console()
    if not console.is_terminal:
        console.width = 120  # a pipe has no width of its own
    workflow = cluster.workflow(arguments.name)
    name = workflow["metadata"]["name"]
    if arguments.watch and console.is_terminal:
        with Live(console=console, refresh_per_second=1) as live:
            while workflow.get("status", {}).get("phase") not in ENDED:
                live.update(_table(workflow))
                time.sleep(3)
                workflow = cluster.workflow(name)
            live.update(_table(workflow))
    else:
        while arguments.watch and workflow.get("status", {}).get("phase") not in ENDED:
            print(_line(workflow), flush=True)
            time.sleep(10)
            workflow = cluster.workflow(name)
        console.print(_table(workflow))
    for line in troubles(cluster, workflow):
        console.print(Text(line), soft_wrap=True)
    return int(ExitCode.BUG if workflow.get("status", {}).get("phase") in ("Failed", "Error") else ExitCode.OK)


def _line(workflow: Mapping[str, Any]) -> str:
    state = workflow.get("status", {})
    running = [cell_of(node) for node in nodes(workflow) if node["type"] == "Pod" and node.get("phase") == "Running"]
    return f"{state.get('phase', 'Pending')} {state.get('progress', '0/0')}  running: {', '.join(running) or 'nothing'}"


def cell_of(node: Mapping[str, Any]) -> str:
    """Stage and cell of a pod's node."""
    given = {p["name"]: p.get("value", "") for p in node.get("inputs", {}).get("parameters", [])}
    stage = node.get("templateName") or node.get("templateRef", {}).get("template", "")
    return f"{stage} {given.get('cell', '')}".strip()


def _table(workflow: Mapping[str, Any]) -> Table:
    """One row for each step: how it stands, how far it is."""
    state = workflow.get("status", {})
    title = f"{workflow['metadata']['name']}: {state.get('phase', 'Pending')} {state.get('progress', '')}"
    table = Table("step", "cell", "phase", "progress", "from", "to", title=title, caption=state.get("message"))
    for node in nodes(workflow):
        if node["type"] == "Pod":
            stage, _, cell = cell_of(node).partition(" ")
            times = [str(node.get(at) or "")[11:19] for at in ("startedAt", "finishedAt")]
            table.add_row(stage, cell, node.get("phase", ""), node.get("progress", ""), *times)
    return table


def troubles(cluster: Cluster, workflow: Mapping[str, Any]) -> list[str]:
    """For each step that failed or waits: its last word and how to read its log."""
    pods, lines = cluster.pods(workflow["metadata"]["name"]), []
    for node in nodes(workflow):
        if node["type"] != "Pod" or node.get("phase") not in ("Failed", "Error", "Pending"):
            continue
        pod = pods.get(node["id"])
        message = node.get("message", "")
        if node["phase"] == "Pending":
            lines += [f"{cell_of(node)} waits: {message}"] if message else []
            continue
        said = cluster.last_word(pod) if pod else "its pod is gone"
        lines.append(f"{cell_of(node)} {node['phase'].lower()}, {message}: {said}")
        if pod:
            lines.append(f"  kubectl -n {cluster.namespace} logs {pod.metadata.name} -c main")
    if not nodes(workflow) and (message := workflow.get("status", {}).get("message")):
        lines.append(message)
    return lines


def fetch_report(arguments: argparse.Namespace) -> int:
    """Download the sealed report of a Workflow, found by what its run noted in the store."""
    cluster = Cluster(arguments.namespace)
    workflow = cluster.workflow(arguments.name)
    spec = cluster.spec(workflow)
    with cluster.store():
        store = open_store(arguments.store or STORE)
        notes = [note for note in store.run_notes(spec.run_id) if note["job"] == "report"]
        manifest = store.manifest("report", notes[0]["key"]) if notes else None
        if manifest is None:
            name = workflow["metadata"]["name"]
            raise InputError(
                "no report yet", where=f"workflow {name}", value=spec.run_id, allowed=f"make status NAME={name}"
            )
        folder = arguments.out or RUNS / spec.run_id / "cluster-report"
        write_outputs(manifest, store, folder)
    print(f"report: {folder / 'REPORT.md'} and {folder / 'report.html'}")
    return int(ExitCode.OK)


def prepare(arguments: argparse.Namespace) -> int:
    """Make the store's Secret if there is none, and let jobs reach this cluster's API server and no other address."""
    cluster = Cluster(arguments.namespace)
    with _asked(f"Secret {SECRET}"):
        try:
            cluster.core.read_namespaced_secret(SECRET, cluster.namespace)
        except ApiException as error:
            if error.status != 404:
                raise
            values = {KEYS[0]: secrets.token_hex(10), KEYS[1]: secrets.token_hex(20), "AWS_REGION": "us-east-1"}
            values["AWS_ENDPOINT_URL_S3"] = f"http://store.{cluster.namespace}.svc:8333"
            made = client.V1Secret(metadata=client.V1ObjectMeta(name=SECRET), string_data=values)
            cluster.core.create_namespaced_secret(cluster.namespace, made)
            print(f"made Secret {SECRET} with random keys")
    with _asked("the API server's address"):
        slices = client.DiscoveryV1Api().list_namespaced_endpoint_slice(
            "default", label_selector="kubernetes.io/service-name=kubernetes"
        )
        found = [(a, p.port) for s in slices.items for e in s.endpoints for a in e.addresses for p in s.ports]
        holes = [
            {"to": [{"ipBlock": {"cidr": f"{a}/32"}}], "ports": [{"protocol": "TCP", "port": p}]} for a, p in found
        ]
        patch = [{"op": "replace", "path": "/spec/egress", "value": holes}]
        cluster.networking.patch_namespaced_network_policy("jobs-to-api-server", cluster.namespace, patch)
    print("jobs may reach the API server at " + ", ".join(f"{address}:{port}" for address, port in found))
    return int(ExitCode.OK)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m workflows.cluster", description=__doc__, formatter_class=raw)
    parser.add_argument("--namespace", "-n", default=NAMESPACE)
    commands = parser.add_subparsers(dest="command", required=True)
    for function in (submit, status, fetch_report, prepare):
        doc = (function.__doc__ or "").partition(". Raises")[0]
        sub = commands.add_parser(function.__name__.replace("_", "-"), help=doc, description=doc)
        sub.set_defaults(run=function)
        if function is submit:
            sub.add_argument("--spec", type=Path, required=True, help="what to run, as workflows/specs/demo.json")
            sub.add_argument(
                "--set", action="append", default=[], metavar="NAME=VALUE", help="seeds=8, train.epochs=2, …"
            )
            sub.add_argument("--template", default="study", help="study, or release: train, evaluate, gate")
            sub.add_argument("--dry-run", action="store_true", help="print the Workflow; create nothing")
        if function in (status, fetch_report):
            sub.add_argument("name", nargs="?", help="a Workflow (default: the newest)")
        if function is status:
            sub.add_argument("--watch", action="store_true", help="go on until it ends")
        if function in (submit, fetch_report):
            sub.add_argument("--store", help=f"where artifacts live (default: {STORE})")
        if function is fetch_report:
            sub.add_argument("--out", type=Path, help="where to (default: .undertone/runs/<run id>/cluster-report)")
    arguments = parser.parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except JobError as error:
        print(f"error: {error}", file=sys.stderr)
        return int(error.exit_code)
    except OSError as error:
        print(f"error: cannot read {error.filename}: {error.strerror}", file=sys.stderr)
        return int(ExitCode.SPEC)
    except KeyboardInterrupt:
        return int(ExitCode.TRANSIENT)


if __name__ == "__main__":
    sys.exit(main())
