"""What a pod may do: nothing that it need not."""

import ipaddress
import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.errors import SpecError
from common.store.objects import S3Objects
from tests.cluster.harness import Lab, kubectl, run, small, until
from workflows.cluster.api_server import KEYS, SECRETS
from workflows.cluster.workflow import NAMESPACE

OUTSIDE = "undertone-outside"
PROBE = """
import socket, sys
def open_to(host, port):
    try:
        socket.create_connection((host, port), timeout=5).close()
        return True
    except OSError:
        return False
for target in sys.argv[1:]:
    host, _, port = target.rpartition(":")
    print(target, open_to(host, int(port)))
"""


@pytest.fixture(scope="module")
def running(lab: Lab) -> Iterator[str]:
    """A pod of a running study, with a job in it."""
    raw, _ = small(name="probed", seeds=[5], study_seed=3)
    name = lab.submit(raw)
    yield lab.pod(name, "finetune smollm2.d0.cautious.s5")
    run("argo", "terminate", "-n", NAMESPACE, name, check=False)


@pytest.fixture(scope="module")
def outside() -> Iterator[str]:
    """A server in another namespace, and its address."""
    run("kubectl", "create", "namespace", OUTSIDE, check=False)
    made = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "server", "namespace": OUTSIDE},
        "spec": {
            "containers": [
                {
                    "name": "server",
                    "image": "undertone/cpu:demo",
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python", "-m", "http.server", "8000", "-d", "/models"],
                    "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
                }
            ]
        },
    }
    run("kubectl", "apply", "-f", "-", input=json.dumps(made))
    run("kubectl", "-n", OUTSIDE, "wait", "--for=condition=Ready", "pod/server", "--timeout=120s")
    yield run("kubectl", "-n", OUTSIDE, "get", "pod", "server", "-o", "jsonpath={.status.podIP}").stdout
    run("kubectl", "delete", "namespace", OUTSIDE, "--wait=false")


def reached(pod: str, container: str, *targets: str) -> dict[str, bool]:
    text = kubectl("exec", pod, "-c", container, "--", "python", "-c", PROBE, *targets).stdout
    return {line.split()[0]: line.split()[1] == "True" for line in text.splitlines()}


def test_a_job_has_no_token_and_argos_container_has_one(running: str) -> None:
    found = kubectl(
        "exec", running, "-c", "main", "--", "ls", "/var/run/secrets/kubernetes.io/serviceaccount", check=False
    )
    assert found.returncode != 0 and "No such file" in found.stderr
    pod = json.loads(kubectl("get", "pod", running, "-o", "json").stdout)
    mounts = {
        container["name"]: [mount["mountPath"] for mount in container.get("volumeMounts", [])]
        for container in (*pod["spec"]["containers"], *pod["spec"]["initContainers"])
    }
    token = "/var/run/secrets/kubernetes.io/serviceaccount"
    assert token not in mounts["main"] and token in mounts["wait"]


def test_the_root_file_system_is_read_only_and_the_user_a_number(running: str) -> None:
    made = kubectl("exec", running, "-c", "main", "--", "sh", "-c", "id -u; touch /app/x", check=False)
    assert made.stdout.strip() == "10001" and "Read-only file system" in made.stderr


def test_a_job_reaches_the_store_and_the_api_server_and_nothing_else(running: str, outside: str, lab: Lab) -> None:
    node = json.loads(run("kubectl", "get", "nodes", "-o", "json").stdout)["items"][0]["status"]["addresses"][0][
        "address"
    ]
    store = f"store.{NAMESPACE}.svc:8333"
    api = "kubernetes.default.svc:443"
    targets = (store, api, f"{outside}:8000", f"{node}:10250", f"{node}:22")
    assert reached(running, "main", *targets) == {
        store: True,
        api: True,  # Argo's container beside the job needs it, and they share a network; the job has no token for it
        f"{outside}:8000": False,
        f"{node}:10250": False,
        f"{node}:22": False,
    }


def test_the_hole_to_the_api_server_is_as_wide_as_the_api_server(lab: Lab) -> None:
    policy = json.loads(kubectl("get", "networkpolicy", "jobs-to-api-server", "-o", "json").stdout)
    found = run("kubectl", "-n", "default", "get", "endpointslices", "-o", "json").stdout
    slices = [
        s for s in json.loads(found)["items"] if s["metadata"]["labels"]["kubernetes.io/service-name"] == "kubernetes"
    ]
    there = {(a, p["port"]) for s in slices for e in s["endpoints"] for a in e["addresses"] for p in s["ports"]}
    holes = {
        (str(ipaddress.ip_network(to["ipBlock"]["cidr"]).network_address), port["port"])
        for rule in policy["spec"]["egress"]
        for to in rule["to"]
        for port in rule["ports"]
    }
    assert holes == there and len(holes) == len(policy["spec"]["egress"]) > 0
    blocks = [ipaddress.ip_network(to["ipBlock"]["cidr"]) for r in policy["spec"]["egress"] for to in r["to"]]
    assert all(block.num_addresses == 1 for block in blocks)


def test_a_reader_of_the_store_writes_nothing_and_a_job_deletes_no_manifest(lab: Lab) -> None:
    place = f"{lab.store_uri.removeprefix('s3://undertone/')}-roles"
    with pytest.MonkeyPatch.context() as patch:
        lab.store.objects.put("probe/roles", b"1", once=False)
        with pytest.raises(SpecError, match="the store forbids this"):
            lab.store.objects.delete("probe/roles")
        for name, value in (lab.cluster.secret(SECRETS["reader"]) or {}).items():
            if name in KEYS:
                patch.setenv(name, value)
        reader = S3Objects("undertone", place)
        with pytest.raises(SpecError, match="the store forbids this"):
            reader.put("x", b"1", once=True)
        assert reader.get("x") is None


def test_the_store_reaches_nothing(outside: str) -> None:
    pod = kubectl("get", "pods", "-l", "app.kubernetes.io/name=undertone-store", "-o", "name").stdout.strip()
    api = run("kubectl", "-n", "default", "get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}").stdout
    targets = (f"{outside}:8000", f"{api}:443")
    assert reached(pod, "seaweedfs", *targets) == dict.fromkeys(targets, False)


def test_the_store_is_closed_to_other_namespaces(outside: str) -> None:
    address = kubectl("get", "service", "store", "-o", "jsonpath={.spec.clusterIP}").stdout
    words = ("kubectl", "-n", OUTSIDE, "exec", "server", "--", "python", "-c", PROBE, f"{address}:8333")
    assert run(*words).stdout.split()[-1] == "False"


def test_a_pod_that_is_not_restricted_is_rejected() -> None:
    bare = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "bare", "namespace": NAMESPACE},
        "spec": {"containers": [{"name": "main", "image": "undertone/cpu:demo", "command": ["true"]}]},
    }
    made = run("kubectl", "apply", "-f", "-", input=json.dumps(bare), check=False)
    assert made.returncode != 0 and 'violates PodSecurity "restricted' in made.stderr


def test_the_executors_account_may_only_report() -> None:
    who = f"--as=system:serviceaccount:{NAMESPACE}:undertone-executor"
    for verb, what, allowed in (
        ("create", "workflowtaskresults.argoproj.io", "yes"),
        ("patch", "workflowtaskresults.argoproj.io", "yes"),
        ("get", "secrets", "no"),
        ("create", "pods", "no"),
        ("get", "pods", "no"),
    ):
        assert kubectl("auth", "can-i", verb, what, who, check=False).stdout.strip() == allowed, f"{verb} {what}"
    who = f"--as=system:serviceaccount:{NAMESPACE}:undertone-job"
    assert kubectl("auth", "can-i", "get", "secrets", who, check=False).stdout.strip() == "no"


# --- by hand


def test_one_jobs_container_by_hand_against_the_same_store(lab: Lab, tmp_path: Path) -> None:
    """As the README says, with docker or podman; with containerd's ctr where that is all there is."""
    job = ["python", "-m", "jobs.generate", "--spec", "workflows/specs/demo.json", "--cell", "d0"]
    job += ["--store", lab.store_uri + "-hand"]
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL_S3")
    given = {name: os.environ[name] for name in names}
    tools = (tool for tool in ("docker", "podman") if shutil.which(tool))
    if tool := next((tool for tool in tools if not run(tool, "info", check=False).returncode), None):
        words = [tool, "run", "--rm", "--read-only", "--tmpfs", "/tmp", "--tmpfs", "/scratch:mode=1777"]
        words += ["--network=host", *(f"-e{name}={value}" for name, value in given.items()), "undertone/cpu:demo", *job]
    elif shutil.which("ctr") and os.environ.get("CONTAINERD_ADDRESS"):
        words = ["ctr", "run", "--rm", "--net-host", "--read-only"]
        for place in ("/tmp", "/scratch"):
            words.append(f"--mount=type=tmpfs,src=tmpfs,dst={place},options=rw:mode=1777")
        words += [*(f"--env={name}={value}" for name, value in given.items())]
        words += ["docker.io/undertone/cpu:demo", f"hand-{os.getpid()}", *job]
    else:
        pytest.skip("no docker, no podman, and no ctr with CONTAINERD_ADDRESS")
    made = subprocess.run(words, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    (line,) = made.stdout.splitlines()
    assert json.loads(line)["exit_code"] == 0 and '"event": "sealed"' in made.stderr


# --- what is wrong is said within a minute, and before any pod where that can be


def message(lab: Lab, name: str) -> str:
    """Everything that `argo get` says, once the Workflow or a step of it has something to say."""
    text = run("argo", "get", "-n", NAMESPACE, name, "--no-color", check=False).stdout
    return textwrap.dedent(text)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-p", "spec=nonsense"), "does not have the key 'nonsense'"),
        (("-p", "seeds=8"), "unknown parameter seeds; allowed: spec, store"),
    ],
)
def test_an_unknown_spec_or_parameter_is_refused_before_any_pod(lab: Lab, words: tuple[str, ...], said: str) -> None:
    name = lab.argo_submit(*words)
    lab.wait(name, "Error", 60)
    assert said in message(lab, name)
    assert lab.cluster.pods(name) == {}


def test_a_missing_bucket_is_named(lab: Lab) -> None:
    name = lab.argo_submit("-p", "store=s3://not-there/studies")
    lab.wait(name, "Failed", 60)
    shown = run(sys.executable, "-m", "workflows.cluster", "status", name, check=False).stdout
    assert "not-there" in shown and "bucket" in shown


def test_a_missing_secret_is_named(lab: Lab) -> None:
    kept = json.loads(kubectl("get", "secret", "undertone-s3", "-o", "json").stdout)
    kubectl("delete", "secret", "undertone-s3")
    try:
        name = lab.argo_submit()
        until("it is named", lambda: 'secret "undertone-s3" not found' in message(lab, name), 60)
        refused = run("make", "submit", "SPEC=demo", check=False)
        assert refused.returncode != 0 and "undertone-s3" in refused.stderr
    finally:
        clean = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "undertone-s3"}, "data": kept["data"]}
        kubectl("apply", "-f", "-", input=json.dumps(clean))
    run("argo", "terminate", "-n", NAMESPACE, name)


def test_a_wrong_image_is_named(lab: Lab) -> None:
    text = kubectl("get", "workflowtemplate", "study", "-o", "json").stdout
    wrong = json.loads(text.replace("undertone/cpu:demo", "undertone/nonsense:demo"))
    wrong["metadata"] = {"name": "study-wrong-image", "namespace": NAMESPACE}
    kubectl("apply", "-f", "-", input=json.dumps(wrong))
    try:
        made = run("argo", "submit", "-n", NAMESPACE, "-o", "name", "--from", "workflowtemplate/study-wrong-image")
        name = made.stdout.split()[-1].rpartition("/")[2]
        lab.made.append(name)
        until("it is named", lambda: "undertone/nonsense:demo" in message(lab, name), 60)
        shown = run(sys.executable, "-m", "workflows.cluster", "status", name, check=False).stdout
        assert "undertone/nonsense:demo" in shown
        run("argo", "terminate", "-n", NAMESPACE, name)
    finally:
        kubectl("delete", "workflowtemplate", "study-wrong-image")
