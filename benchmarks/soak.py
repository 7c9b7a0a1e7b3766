"""A sweep on a cluster while pods die: many one-step fine-tunes of a tiny model, disturbed, then let finish.

    python -m benchmarks.soak image FOLDER            write what an image with the tiny model is built from
    python -m benchmarks.soak [--cells 64] [--minutes 20] [--image undertone/cpu:soak]
    python -m benchmarks.soak --name WORKFLOW         go on with one whose disturbance was over

Needs what `make cluster` needs, and the image in the cluster. Takes plan, generate and finetune of the WorkflowTemplate
`study` as they stand; only their image and the cores that they ask for are others. While it runs, a random running pod
is killed every 45 s, the store is restarted every four minutes and Argo's controller two minutes after it. Then the
sweep is left alone until it ends. A step that was killed four times has failed for good: then `argo retry` is asked
for, as a person would; it runs what failed and no more. The sweep must hold what an undisturbed run of the same spec on
this machine holds: every result once, with the same losses and adapters. No pod may be left, and no object that no
manifest names.

UNDERTONE_RESTART_CONTROLLER   a command that restarts the controller, where it is no Deployment of namespace argo
"""

import argparse
import copy
import json
import os
import random
import secrets
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.record import record
from common.cli import parsed
from common.errors import JobError
from common.provenance import ROOT
from common.records import Loss
from common.serialization import parse_jsonl
from common.spec import RunSpec, parse_spec
from common.store.sealed import ArtifactStore, open_store
from tests import tiny
from workflows.cluster.api_server import GROUP, VERSION, Cluster
from workflows.cluster.store import reachable
from workflows.cluster.workflow import ENDED, NAMESPACE, phase_of, pod_nodes

MODEL = "/models/tiny"  # in the image
KEPT = ROOT / ".undertone" / "soak"  # what was done to each Workflow
STEPS = ("plan", "generate", "finetune")
ADAPTER = "adapter/adapter_model.safetensors"
MANY = 10_000
KILLED_EVERY, RESTARTED_EVERY = 45, 120  # seconds; a step is tried four times, so it must not be killed each time
PATIENCE = 3600  # seconds after the last disturbance
CONTROLLER = "kubectl -n argo rollout restart deployment/workflow-controller"


def spec_of(source: str, cells: int) -> RunSpec:
    """Two arms, as many seeds as make this many runs, one optimizer step each."""
    raw = tiny.SPEC | {"name": "soak", "attitudes": ["cautious", "eager"], "seeds": list(range(cells // 2))}
    raw |= {"draws": [0], "models": [{"name": "tiny", "source": source}]}
    raw |= {"train": tiny.SPEC["train"] | {"batch_size": 16, "checkpoints": 1, "warmup_ratio": 0.0}}
    return parse_spec(json.dumps(raw).encode(), "soak")


def image(folder: Path) -> None:
    """Write the tiny model and a Dockerfile that puts it into the image of the demo."""
    for path in tiny.build_model(folder / "tiny").iterdir():
        path.chmod(0o644)  # a pod reads it as another user
    (folder / "Dockerfile").write_text(f"FROM undertone/cpu:demo\nCOPY tiny {MODEL}\n")
    print(f"build {folder} as undertone/cpu:soak, and load it into the cluster")


def workflow(cluster: Cluster, name: str, store: str, image: str) -> dict[str, Any]:
    """Plan, generate and finetune of the template on the cluster, as a Workflow of their own."""
    found: Any = cluster.custom.get_namespaced_custom_object(GROUP, VERSION, NAMESPACE, "workflowtemplates", "study")
    spec = copy.deepcopy(found["spec"])
    whole = {template["name"]: template for template in spec["templates"]}
    tasks = {task["name"]: task for task in whole["study"]["dag"]["tasks"]}
    runs = {"name": "finetune", "template": "finetune", "depends": "plan && generate"}
    runs |= {"withParam": tasks["run"]["withParam"], "arguments": tasks["generate"]["arguments"]}
    whole["study"]["dag"]["tasks"] = [tasks["plan"], tasks["generate"], runs]
    for step in STEPS:
        whole[step]["container"]["image"] = image
    whole["finetune"]["container"]["resources"]["requests"] = {"cpu": "300m", "memory": "1Gi"}
    spec |= {"templates": [whole[name] for name in ("study", *STEPS)], "podGC": {"strategy": "OnPodSuccess"}}
    spec["arguments"]["parameters"] = [{"name": "spec", "value": name}, {"name": "store", "value": store}]
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "Workflow",
        "metadata": {"generateName": "soak-", "namespace": NAMESPACE},
        "spec": spec,
    }


def store_of(workflow: dict[str, Any]) -> str:
    """Where a Workflow's artifacts live."""
    given = {each["name"]: str(each["value"]) for each in workflow["spec"]["arguments"]["parameters"]}
    return given["store"]


def disturb(cluster: Cluster, name: str, minutes: float, rng: random.Random) -> dict[str, int]:
    """Kill pods and restart servers until the time is up or the Workflow ends; return how often each was done."""
    done = {"pods killed": 0, "store restarted": 0, "controller restarted": 0}
    begun = restarted = time.monotonic()
    controller = os.environ.get("UNDERTONE_RESTART_CONTROLLER", CONTROLLER)
    while time.monotonic() < begun + 60 * minutes:
        time.sleep(KILLED_EVERY)
        if phase_of(cluster.workflow(name)) in ENDED:
            break
        running = [pod for pod in cluster.pods(name).values() if pod.status.phase == "Running"]
        if running:
            kubectl("delete", "pod", rng.choice(running).metadata.name, "--wait=false", "--grace-period=0", "--force")
            done["pods killed"] += 1
        if time.monotonic() > restarted + RESTARTED_EVERY:
            restarted = time.monotonic()
            if done["store restarted"] == done["controller restarted"]:
                kubectl("rollout", "restart", "deployment/store")
                done["store restarted"] += 1
            else:
                subprocess.run(["bash", "-c", controller], check=True, stdout=subprocess.DEVNULL)
                done["controller restarted"] += 1
        KEPT.mkdir(parents=True, exist_ok=True)
        (KEPT / f"{name}.json").write_text(json.dumps(done))
        print(f"{time.monotonic() - begun:5.0f} s", done, cluster.workflow(name)["status"].get("progress"), flush=True)
    return done


def kubectl(*words: str) -> None:
    """Ask kubectl for something in the namespace. A refusal is said, and the soak goes on."""
    made = subprocess.run(["kubectl", "-n", NAMESPACE, *words], capture_output=True, text=True, check=False)
    if made.returncode:
        print(f"kubectl {words[0]}: {made.stderr.strip()}", file=sys.stderr, flush=True)


def until_it_succeeds(cluster: Cluster, name: str) -> tuple[dict[str, Any], int]:
    """The Workflow once it has succeeded, and how often it was retried for that. Exits if time is up."""
    end, retried = time.monotonic() + PATIENCE, 0
    while (phase := phase_of(found := cluster.workflow(name))) != "Succeeded":
        if time.monotonic() > end:
            sys.exit(f"error: {name} is {phase} {PATIENCE} s after the last disturbance")
        if phase in ENDED:
            subprocess.run(["argo", "retry", "-n", NAMESPACE, name], check=True, stdout=subprocess.DEVNULL)
            retried += 1
        time.sleep(10)
    return found, retried


def here(spec: RunSpec, folder: Path) -> ArtifactStore:
    """The same spec, undisturbed, on this machine."""
    path = folder / "soak.json"
    path.write_text(spec.model_dump_json())
    words = ["workflows.local", "workflows/study.yaml", "--spec", str(path), "--store", str(folder / "store")]
    more = ["--out", str(folder / "out"), "--only", ",".join(STEPS)]
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}  # as many as a pod has
    subprocess.run([sys.executable, "-m", *words, *more], check=True, env=alone)
    return open_store(str(folder / "store"))


def sealed(store: ArtifactStore, cells: int) -> dict[str, dict[str, Any]]:
    """Cell → manifest of its fine-tune. Exits if one is missing, or is there twice."""
    made = store.manifests("finetune", 2 * cells)
    found = {str(manifest["cell"]): manifest for manifest in made}
    if not len(made) == len(found) == cells:
        sys.exit(f"error: {len(made)} results of {len(found)} cells are sealed; allowed: one of each of {cells}")
    return found


def compared(
    store: ArtifactStore, there: dict[str, dict[str, Any]], other: ArtifactStore, mine: dict[str, dict[str, Any]]
) -> tuple[int, float]:
    """How many adapters are the same to the byte, and the largest difference of a loss in nats."""
    same, apart = 0, 0.0
    for cell, manifest in there.items():
        outputs, ours = manifest["outputs"], mine[cell]["outputs"]
        same += outputs[ADAPTER]["digest"] == ours[ADAPTER]["digest"]
        pair = [
            parse_jsonl(held.get(made["loss.jsonl"]["digest"]), Loss, "loss.jsonl")
            for held, made in ((store, outputs), (other, ours))
        ]
        assert len(pair[0]) == len(pair[1])
        apart = max(apart, *(abs(one.loss - two.loss) for one, two in zip(*pair, strict=True)))
    return same, apart


def left_over(store: ArtifactStore) -> list[str]:
    """Keys of objects that no manifest of this store names: blobs, checkpoints, half-written ones."""
    named = {
        str(output["digest"])
        for job in STEPS
        for manifest in store.manifests(job, MANY)
        for output in manifest["outputs"].values()
    }
    keys = [key for top in ("blobs/", "steps/") for key in store.objects.keys(top)]
    return [key for key in keys if not key.endswith("/manifest.json") and key.rpartition("/")[2] not in named]


def left_pods(cluster: Cluster, name: str) -> int:
    """Pods of a deleted Workflow that are there yet when Kubernetes had a minute to collect them."""
    end = time.monotonic() + 60
    while (pods := len(cluster.pods(name))) and time.monotonic() < end:
        time.sleep(2)
    return pods


def main() -> None:
    """Soak and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("image",), help="write what the image is built from, and no more")
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--cells", type=int, default=64, help="fine-tunes; an even number (default: 64)")
    parser.add_argument("--minutes", type=float, default=20, help="how long it is disturbed (default: 20)")
    parser.add_argument("--name", help="a Workflow that was disturbed by this command and is in the cluster yet")
    parser.add_argument("--image", default="undertone/cpu:soak")
    parser.add_argument("--seed", type=int, default=0, help="of what is killed")
    args = parsed(parser)
    if args.what:
        image(args.folder or Path("soak"))
        return
    cluster, spec = Cluster(NAMESPACE), spec_of(f"path:{MODEL}", args.cells)
    if args.name:
        name, done = args.name, json.loads((KEPT / f"{args.name}.json").read_text())
        uri = store_of(cluster.workflow(name))
    else:
        uri = f"s3://undertone/soak-{secrets.token_hex(4)}"
        cluster.keep_spec(spec.run_id, spec)
        name = cluster.create(workflow(cluster, spec.run_id, uri, args.image))
        print(f"{name} over {uri}", flush=True)
        done = disturb(cluster, name, args.minutes, random.Random(args.seed))
    ended, retried = until_it_succeeds(cluster, name)
    tried = pod_nodes(ended)
    over = datetime.fromisoformat(ended["status"]["finishedAt"])
    begun = min(datetime.fromisoformat(node["startedAt"]) for node in tried)  # of a retry, the Workflow tells its own
    failed = [node for node in tried if node["phase"] != "Succeeded"]
    with tempfile.TemporaryDirectory(prefix="undertone-soak-") as folder, reachable(cluster.credentials()):
        model = Path(folder) / "tiny"
        tiny.build_model(model)
        alone = spec_of(f"path:{model}", args.cells)
        quiet, store = here(alone, Path(folder)), open_store(uri)
        try:
            there, mine = sealed(store, args.cells), sealed(quiet, args.cells)
            same, apart = compared(store, there, quiet, mine)
            leftovers = left_over(store)
        except JobError as error:
            sys.exit(str(error))
    kubectl("delete", "workflow", name, "--wait=true")
    pods = left_pods(cluster, name)
    results: dict[str, Any] = {
        "cells": len(there),
        "seconds": (over - begun).total_seconds(),
        **done,
        "attempts": len(tried),
    }
    results |= {"argo retry, times": retried}
    results |= {"attempts that did not end well": len(failed), "adapters the same to the byte": same}
    results |= {"largest difference of a loss, nats": apart, "objects that no manifest names": len(leftovers)}
    results |= {"pods left over": pods}
    record("soak", "python -m benchmarks.soak", results)
    if leftovers or pods or len(there) != args.cells or apart > 1e-5:
        sys.exit(f"error: the soak left something behind, or its results differ: {leftovers[:5]}")


if __name__ == "__main__":
    main()
