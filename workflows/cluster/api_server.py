"""What is asked of a cluster's API server, in the namespace of the studies. Its refusals become one line each."""

import base64
import contextlib
import ipaddress
import json
from collections.abc import Iterator, Mapping
from typing import Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from urllib3.exceptions import HTTPError

from common.errors import InputError, SpecError, TransientError
from common.serialization import canonical_json
from common.spec import RunSpec, parse_spec
from workflows.cluster.workflow import spec_of_plan
from workflows.local.template import SPECS

GROUP, VERSION = "argoproj.io", "v1alpha1"
SECRET, KEYS = "undertone-s3", ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
SECRETS = {"job": SECRET, "reader": f"{SECRET}-reader", "admin": f"{SECRET}-admin"}  # of each role
STORE_SECRET, IDENTITIES = "undertone-store", "identities.json"  # what the store of the cluster reads
BUSY = (0, 429, 500, 502, 503, 504)  # HTTP statuses after which the same question may be answered


class Cluster:
    """The namespace of a study on the cluster that KUBECONFIG names. Raises: SpecError, TransientError."""

    def __init__(self, namespace: str) -> None:
        try:
            config.load_kube_config()  # type: ignore[no-untyped-call]
        except (ConfigException, OSError) as error:
            raise SpecError("no cluster to talk to", where="KUBECONFIG", value=str(error)) from None
        self.namespace = namespace
        self.core, self.custom = client.CoreV1Api(), client.CustomObjectsApi()
        self.networking, self.discovery = client.NetworkingV1Api(), client.DiscoveryV1Api()

    # --- workflows

    def workflow(self, name: str | None) -> dict[str, Any]:
        """A Workflow by name, or the newest. Raises: InputError if there is none."""
        with refusals_in_one_line(f"workflow {name or '(newest)'}"):
            if name:
                return self._custom_object("workflows", name)
            found: Any = self.custom.list_namespaced_custom_object(GROUP, VERSION, self.namespace, "workflows")
        if not found["items"]:
            raise InputError(
                "no workflow was submitted yet", where=f"namespace {self.namespace}", allowed="make submit"
            )
        return dict(max(found["items"], key=lambda workflow: str(workflow["metadata"]["creationTimestamp"])))

    def _custom_object(self, plural: str, name: str) -> dict[str, Any]:
        found: Any = self.custom.get_namespaced_custom_object(GROUP, VERSION, self.namespace, plural, name)
        return dict(found)

    def create(self, workflow: dict[str, Any]) -> str:
        """Create a Workflow; return its name."""
        with refusals_in_one_line("workflow"):
            made: Any = self.custom.create_namespaced_custom_object(
                GROUP, VERSION, self.namespace, "workflows", workflow
            )
        return str(made["metadata"]["name"])

    def check(self, template: str) -> None:
        """Find what would leave pods waiting in silence. Raises: SpecError naming what is missing."""
        where = f"namespace {self.namespace}"
        missing = SpecError("no such WorkflowTemplate", where=where, value=template, allowed="make cluster")
        with refusals_in_one_line(f"WorkflowTemplate {template}"), instead_of_not_found(missing):
            self._custom_object("workflowtemplates", template)
        self.credentials()

    # --- specs

    def keep_spec(self, name: str, spec: RunSpec) -> None:
        """Put a spec under its name into the ConfigMap that the workflow reads."""
        text = canonical_json(spec.model_dump(mode="json")).decode()
        with refusals_in_one_line(f"ConfigMap {SPECS}"):
            self.core.patch_namespaced_config_map(SPECS, self.namespace, {"data": {name: text}})

    def spec(self, workflow: Mapping[str, Any]) -> RunSpec:
        """The spec of a Workflow: what its plan step handed over, or else what is in the ConfigMap now."""
        if (planned := spec_of_plan(workflow)) is not None:
            return planned
        given = {p["name"]: p.get("value") for p in workflow["spec"].get("arguments", {}).get("parameters", [])}
        name = given.get("spec") or "demo"
        with refusals_in_one_line(f"ConfigMap {SPECS}"):
            held = self.core.read_namespaced_config_map(SPECS, self.namespace).data or {}
        if name not in held:
            raise SpecError("no such spec", where=f"ConfigMap {SPECS}", value=name, allowed=", ".join(sorted(held)))
        return parse_spec(held[name].encode(), name)

    # --- pods

    def pods(self, name: str) -> dict[str, Any]:
        """The pods of a Workflow by the id of their node."""
        label = f"workflows.argoproj.io/workflow={name}"
        with refusals_in_one_line("pods"):
            found = self.core.list_namespaced_pod(self.namespace, label_selector=label).items
        annotations = [(pod.metadata and pod.metadata.annotations) or {} for pod in found]
        ids = [notes.get("workflows.argoproj.io/node-id", "") for notes in annotations]
        return dict(zip(ids, found, strict=True))

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

    # --- the store's credentials

    def credentials(self) -> dict[str, str]:
        """What jobs get to reach the store. Raises: SpecError if the Secret or one of its keys is missing."""
        missing = SpecError(
            "the Secret with the store's credentials is missing",
            where=f"namespace {self.namespace}",
            value=SECRET,
            allowed="make cluster, or kubectl create secret generic",
        )
        found = self.secret(SECRET)
        if found is None:
            raise missing
        if absent := [name for name in KEYS if not found.get(name)]:
            allowed = ", ".join(KEYS)
            raise SpecError("the Secret lacks a key", where=f"Secret {SECRET}", value=absent[0], allowed=allowed)
        return found

    def readers_credentials(self) -> dict[str, str]:
        """What is enough to read the store: the reader's keys where there are any, else those of jobs."""
        return self.secret(SECRETS["reader"]) or self.credentials()

    def secret(self, name: str) -> dict[str, str] | None:
        """What a Secret holds; None if there is none."""
        with refusals_in_one_line(f"Secret {name}"):
            try:
                data = self.core.read_namespaced_secret(name, self.namespace).data or {}
            except ApiException as error:
                if error.status != 404:
                    raise
                return None
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def make_secret(self, name: str, values: Mapping[str, str]) -> None:
        """Make a Secret with these values, in place of one that holds others."""
        with refusals_in_one_line(f"Secret {name}"):
            made = client.V1Secret(metadata=client.V1ObjectMeta(name=name), string_data=dict(values))
            if self.secret(name) is None:
                self.core.create_namespaced_secret(self.namespace, made)
            else:
                self.core.patch_namespaced_secret(name, self.namespace, made)

    # --- the network

    def let_jobs_reach_api_server(self) -> list[str]:
        """Open the network policy of jobs to this cluster's API server and no other address; return where that is."""
        with refusals_in_one_line("the API server's address"):
            label = "kubernetes.io/service-name=kubernetes"
            slices = self.discovery.list_namespaced_endpoint_slice("default", label_selector=label).items
            found = [(a, p.port) for s in slices for e in s.endpoints or [] for a in e.addresses for p in s.ports or []]
            if not found:
                where = "EndpointSlices of Service default/kubernetes"
                raise SpecError("the API server has no address", where=where, allowed="one or more")
            holes = [
                {"to": [{"ipBlock": {"cidr": _alone(a)}}], "ports": [{"protocol": "TCP", "port": p}]} for a, p in found
            ]
            # `add` replaces too, and an empty list is left out by the API server: there is nothing to `replace`.
            patch = [{"op": "add", "path": "/spec/egress", "value": holes}]
            self.networking.patch_namespaced_network_policy("jobs-to-api-server", self.namespace, patch)
        return [f"{address}:{port}" for address, port in found]


def _alone(address: str) -> str:
    """The block of addresses that holds this one and no other."""
    return str(ipaddress.ip_network(address))


@contextlib.contextmanager
def refusals_in_one_line(what: str) -> Iterator[None]:
    """Turn what the API server answers, or that it does not, into one line. Raises: SpecError, TransientError."""
    try:
        yield
    except ApiException as error:
        kind = TransientError if error.status in BUSY else SpecError
        raise kind("the cluster refused", where=what, value=_reason(error)) from None
    except (HTTPError, OSError) as error:
        raise TransientError("the cluster does not answer", where=what, value=str(error)) from None


@contextlib.contextmanager
def instead_of_not_found(missing: SpecError) -> Iterator[None]:
    """Raise `missing` where the API server knows no such object."""
    try:
        yield
    except ApiException as error:
        if error.status != 404:
            raise
        raise missing from None


def _reason(error: ApiException) -> str | None:
    with contextlib.suppress(TypeError, ValueError, KeyError):
        return str(json.loads(error.body or "")["message"])
    reason: str | None = error.reason
    return reason
