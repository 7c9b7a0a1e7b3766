"""The study on a real cluster: the same results as on a laptop, whatever is killed, stopped or started twice."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from common.cells import CellKind, cells_of
from common.errors import TransientError
from common.provenance import ROOT
from common.spec import RunSpec, parse_spec
from common.store.sealed import ArtifactStore, open_objects, open_store
from tests.cluster.harness import Lab, cells, handed_over, kubectl, long, losses, run, small, until
from workflows.cluster.api_server import KEYS
from workflows.cluster.workflow import NAMESPACE, pod_nodes
from workflows.local import command as local

TOLERANCE = 2e-3  # of a loss in nats and of a P(go): bf16 sums differ with the number of threads

Plain = tuple[str, RunSpec, ArtifactStore]  # name of a Workflow, its spec, and the store of the same study here


@pytest.fixture(scope="module")
def demo(lab: Lab) -> tuple[str, RunSpec]:
    """The demo from `argo submit`, not disturbed."""
    name = lab.argo_submit("-p", f"store={lab.store_uri}")
    lab.wait(name, "Succeeded", 2400)
    path = ROOT / "workflows" / "specs" / "demo.json"
    return name, parse_spec(path.read_bytes(), path.name)


def test_the_demo_from_argo_submit_to_a_fetched_report(demo: tuple[str, RunSpec], lab: Lab, tmp_path: Path) -> None:
    """The same numbers as `make demo` on this machine, which is run first if it was not: ten minutes more."""
    name, spec = demo
    fetch = [sys.executable, "-m", "workflows.cluster", "fetch-report", name, "--store", lab.store_uri]
    run(*fetch, "--out", str(tmp_path))
    run(sys.executable, "-m", "workflows.local", "workflows/study.yaml", "--spec", "workflows/specs/demo.json")
    here = json.loads((local.RUNS / spec.run_id / "report" / "results.json").read_text())["numbers"]
    there = json.loads((tmp_path / "results.json").read_text())["numbers"]
    assert here.keys() == there.keys()
    stances = [name for name in here if name.startswith(("choice.", "sentence.", "label."))]
    assert len(stances) > len(cells_of(spec, CellKind.RUN))
    for number in stances:
        assert there[number]["value"] == pytest.approx(here[number]["value"], abs=0.02), number


@pytest.fixture(scope="module")
def plain(lab: Lab, laptop: Callable[..., ArtifactStore]) -> Plain:
    """A small study that nothing disturbs, here and there."""
    raw, spec = small()
    name = lab.submit(raw)
    here = laptop(raw)
    lab.wait(name, "Succeeded")
    return name, spec, here


def test_a_cluster_gives_the_same_steps_and_numbers_as_a_laptop(plain: Plain, lab: Lab) -> None:
    _, spec, here = plain
    compared = 0
    for job, cell in cells(spec):
        key = lab.key(spec, job, str(cell))
        there, mine = lab.store.manifest(job, key), here.manifest(job, key)
        assert there is not None and mine is not None, f"{job} {cell} has another key here than there"
        compared += 1
        if job in ("generate", "audit"):
            assert there["outputs"] == mine["outputs"], "what no model takes part in is the same to the byte"
        if job == "finetune":
            pair = [
                losses(store.get(m["outputs"]["loss.jsonl"]["digest"]))
                for store, m in ((lab.store, there), (here, mine))
            ]
            assert pair[0] == pytest.approx(pair[1], abs=TOLERANCE)
        if job == "evaluate":
            for name, value in mine["summary"].items():
                if isinstance(value, float):
                    assert there["summary"][name] == pytest.approx(value, rel=0.02, abs=0.02), f"{cell} {name}"
    assert compared == len(cells(spec)) > 12


def test_status_and_report_are_for_people(plain: Plain, lab: Lab, tmp_path: Path) -> None:
    name, spec, _ = plain
    shown = run(sys.executable, "-m", "workflows.cluster", "status", name).stdout
    assert "Succeeded" in shown and "finetune" in shown
    run(
        sys.executable,
        "-m",
        "workflows.cluster",
        "fetch-report",
        name,
        "--store",
        lab.store_uri,
        "--out",
        str(tmp_path),
    )
    manifest = lab.manifest(spec, "report", "study")
    for output, digest in {n: o["digest"] for n, o in manifest["outputs"].items()}.items():
        assert (tmp_path / output).read_bytes() == lab.store.get(digest)
    assert "# Undertone" in (tmp_path / "REPORT.md").read_text()


def test_logs_are_lines_with_labels_to_find_them(plain: Plain) -> None:
    name, _, _ = plain
    labels = f"undertone.dev/run={name},undertone.dev/stage=finetune"
    text = kubectl("logs", "-l", labels, "-c", "main", "--tail=-1", "--prefix").stdout
    events = [json.loads(line.split(" ", 1)[1]) for line in text.splitlines() if '{"time"' in line]
    for cell in ("smollm2.d0.cautious.s0", "smollm2.d0.eager.s0"):
        said = [event["event"] for event in events if event["cell"] == cell]
        assert said[0] == "started" and said[-1] == "sealed" and "progress" in said


def test_fault_46_on_a_cluster_no_log_and_no_workflow_tells_the_keys(plain: Plain, lab: Lab) -> None:
    """The keys of the store are in every pod; they are in no log of any container, and in no field of the Workflow."""
    name, _, _ = plain
    words = ("-l", f"undertone.dev/run={name}", "--all-containers", "--tail=-1", "--max-log-requests=100")
    said = kubectl("logs", *words).stdout + json.dumps(lab.workflow(name))
    assert '"event": "sealed"' in said
    assert lab.cluster.credentials()[KEYS[1]] not in said


def test_a_second_submit_reuses_every_step(plain: Plain, lab: Lab) -> None:
    raw, _ = small()
    name = lab.submit(raw)
    lab.wait(name, "Succeeded")
    for step, (node,) in lab.steps(name).items():
        pod = next(pod for id_, pod in lab.cluster.pods(name).items() if id_ == node["id"])
        said = [event["event"] for event in lab.events(pod.metadata.name)]
        assert said == ["reused"], step


def test_killed_in_mid_training_it_resumes_to_the_same_result(lab: Lab, laptop: Callable[..., ArtifactStore]) -> None:
    """One pod is deleted, in another the process gets SIGKILL; both were well under way.

    One after the other: on a small node the second may begin only when the first is gone.
    """
    raw, spec = long(name="killed")
    quiet = laptop(raw, "--only", "plan,generate,audit,finetune")
    uri = lab.store_uri + "-killed"
    name = lab.submit(raw, uri)
    deleted = lab.pod(name, "finetune smollm2.d0.cautious.s0")
    lab.until_checkpoint(deleted)
    kubectl("delete", "pod", deleted, "--wait=false", "--grace-period=0", "--force")
    killed = lab.pod(name, "finetune smollm2.d0.eager.s0")
    lab.until_checkpoint(killed)
    kill = (
        "import os, pathlib\n"
        "for p in pathlib.Path('/proc').glob('[0-9]*/cmdline'):\n"
        "    line = p.read_bytes()\n"  # Argo's executor, which started it, has the same words in its own line
        "    if b'-m\\0jobs.finetune\\0' in line and b'argoexec' not in line: os.kill(int(p.parent.name), 9)"
    )
    kubectl("exec", killed, "-c", "main", "--", "python", "-c", kill)
    lab.wait(name, "Succeeded")
    attempts = lab.steps(name)
    for cell, phase in (("cautious", "Error"), ("eager", "Failed")):
        tried = attempts[f"finetune smollm2.d0.{cell}.s0"]
        assert len(tried) == 2 and tried[0]["phase"] in (phase, "Error", "Failed")
        last = next(pod for id_, pod in lab.cluster.pods(name).items() if id_ == tried[-1]["id"])
        resumed = [event for event in lab.events(last.metadata.name) if event["event"] == "resumed"]
        assert resumed and resumed[0]["step"] >= 1, "it began anew"
        other = open_store(uri)
        key = lab.key(spec, "finetune", f"smollm2.d0.{cell}.s0")
        manifest = other.manifest("finetune", key)
        assert manifest is not None
        again = losses(other.get(manifest["outputs"]["loss.jsonl"]["digest"]))
        undisturbed = quiet.manifest("finetune", key)
        assert undisturbed is not None
        whole = losses(quiet.get(undisturbed["outputs"]["loss.jsonl"]["digest"]))
        assert again == pytest.approx(whole, abs=1e-6), "resumed, it must be the run that nothing disturbed"
    (main,) = [container for container in last.spec.containers if container.name == "main"]
    assert main.resources.limits["memory"] == "10Gi", "after SIGKILL it gets more memory"


def test_controller_and_store_may_restart_in_mid_run(lab: Lab) -> None:
    raw, spec = small(name="restarts", seeds=[1])
    name = lab.submit(raw)
    pod = lab.pod(name, "finetune smollm2.d0.cautious.s1")
    kubectl("rollout", "restart", "deployment/store")
    restart = os.environ.get("UNDERTONE_RESTART_CONTROLLER")
    if restart:
        subprocess.run(["bash", "-c", restart], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    else:
        run("kubectl", "-n", "argo", "rollout", "restart", "deployment/workflow-controller")
    kubectl("rollout", "status", "deployment/store", "--timeout=120s")
    assert pod
    lab.wait(name, "Succeeded")

    def sealed() -> object:
        try:  # the first request finds out that the forward to the old pod has ended, and makes it end
            return lab.store.manifest("report", lab.key(spec, "report", "study"))
        except TransientError:
            return None

    until("the store answers again", sealed, 60)


def test_stopped_it_leaves_a_checkpoint_and_goes_on_from_it(lab: Lab) -> None:
    raw, spec = long(name="stopped", seeds=[2])
    name = lab.submit(raw)
    step = "finetune smollm2.d0.eager.s2"
    lab.until_checkpoint(lab.pod(name, step))
    run("argo", "stop", "-n", NAMESPACE, name)
    lab.wait(name, "Failed")
    key = lab.key(spec, "finetune", "smollm2.d0.eager.s2")
    assert lab.store.manifest("finetune", key) is None and lab.store.newest_checkpoint("finetune", key) is not None
    again = lab.submit(raw)
    pod = lab.pod(again, step)
    until("it resumes", lambda: any(event["event"] == "resumed" for event in lab.events(pod)), 120)
    lab.wait(again, "Succeeded")


def test_two_submits_at_once_share_work_and_corrupt_nothing(lab: Lab) -> None:
    raw, spec = small(name="twice", seeds=[3], study_seed=2)
    names = [lab.submit(raw), lab.submit(raw)]
    for name in names:
        lab.wait(name, "Succeeded", 1500)
    adopted = 0
    for name in names:
        for pod in lab.cluster.pods(name).values():
            adopted += any(event["event"] in ("reused", "adopted") for event in lab.events(pod.metadata.name))
    assert adopted >= len(cells(spec)), "each step was sealed by one and taken over by the other"
    for job, cell in cells(spec):
        for output in lab.manifest(spec, job, str(cell))["outputs"].values():
            lab.store.get(output["digest"])  # raises unless the bytes are there and are these


def test_a_cell_that_fails_for_good_is_a_gap_and_retry_runs_only_what_failed(lab: Lab) -> None:
    raw, spec = small(name="gap", seeds=[0, 4])
    # A damaged checkpoint of one run, and no other: it is not begun anew in silence, whatever the attempt.
    broken = (
        f"steps/finetune/{lab.key(spec, 'finetune', 'smollm2.d0.eager.s4')}/checkpoints/{0:020d}-test/COMPLETE.json"
    )
    lab.store.objects.put(broken, b"{", once=False)
    try:
        name = lab.submit(raw)
        lab.wait(name, "Failed")
    finally:
        lab.store.objects.delete(broken)
    steps = lab.steps(name)
    (failed,) = steps["finetune smollm2.d0.eager.s4"]
    assert failed["phase"] == "Failed" and failed["outputs"]["exitCode"] == "3", "not retried: it would fail again"
    assert steps["finetune smollm2.d0.cautious.s4"][-1]["phase"] == "Succeeded"
    (report,) = steps["report study"]
    assert report["outputs"]["exitCode"] == "10"
    shown = run(sys.executable, "-m", "workflows.cluster", "status", name, check=False)
    assert shown.returncode == 1 and "every checkpoint of this step is damaged" in shown.stdout
    text = lab.read(spec, "report", "study", "REPORT.md").decode()
    assert "smollm2.d0.eager.s4" in text

    run("argo", "retry", "-n", NAMESPACE, name)
    until("it goes on", lambda: lab.phase(name) == "Running", 60)
    lab.wait(name, "Succeeded")
    after = lab.steps(name)
    began = {step: tried[-1]["startedAt"] for step, tried in steps.items()}
    again = {step for step, tried in after.items() if began.get(step) != tried[-1]["startedAt"]}
    run_of = {f"{job} smollm2.d0.eager.s4" for job in ("finetune", "evaluate", "gate", "interpret", "monitor")}
    assert again == run_of | {"report study"}


def test_a_release_ends_where_the_gate_says_no(lab: Lab) -> None:
    """No shift can be shown to lie within so small a margin: the verdict is sealed, exit 10 is not retried."""
    raw, spec = small(name="release", gate={"measure": "sentence", "bound": 0.001, "enforce": True})
    name = lab.submit(raw, template="release")
    lab.wait(name, "Failed")
    for cell in ("smollm2.d0.cautious.s0", "smollm2.d0.eager.s0"):
        (gate,), (publish,) = lab.steps(name)[f"gate {cell}"], lab.steps(name)[f"publish {cell}"]
        assert gate["outputs"]["exitCode"] == publish["outputs"]["exitCode"] == "10"
        verdict = json.loads(lab.read(spec, "gate", cell, "verdict.json"))
        assert verdict["verdict"] != "within"
        shown = handed_over(publish)
        assert json.loads(shown["reason"]) == verdict["reason"], "Argo's UI shows why"
        assert json.loads(shown["release"]) == {"cell": cell, "verdict": verdict["verdict"], "folder": ""}
    assert list(open_objects(lab.releases).keys("release/")) == [], "nothing is published"


def test_a_pipeline_of_somebody_else_releases_what_passes(lab: Lab) -> None:
    """docs/examples/pipeline.yaml as it stands, with a parameter of its own, but for the spec, the places and an image.

    Any shift lies within so wide a bound: both adapters are published, and the pipeline goes on with them.
    """
    _, spec = small(name="ship", gate={"measure": "sentence", "bound": 0.99, "enforce": True})
    lab.cluster.keep_spec(spec.run_id, spec)
    workflow = yaml.safe_load((ROOT / "docs" / "examples" / "pipeline.yaml").read_text())
    ship, deploy = workflow["spec"]["templates"]
    given = {"spec": spec.run_id, "store": lab.store_uri, "releases": lab.releases}
    release = ship["dag"]["tasks"][0]
    release["arguments"]["parameters"] = [{"name": name, "value": value} for name, value in given.items()]
    deploy["container"]["image"] = "undertone/cpu:demo"
    name = lab.create(workflow)
    lab.wait(name, "Succeeded")
    objects, folders = open_objects(lab.releases), []
    for cell in ("smollm2.d0.cautious.s0", "smollm2.d0.eager.s0"):
        (publish,) = lab.steps(name)[f"publish {cell}"]
        shown = json.loads(handed_over(publish)["release"])
        assert shown["verdict"] == "within" and shown["folder"].startswith(f"{lab.releases}/ship/{cell}/")
        below = shown["folder"].removeprefix(f"{lab.releases}/")
        files = {key.rpartition("/")[2]: objects.get(key) for key in objects.keys(f"{below}/")}
        assert files.keys() == {"adapter_config.json", "adapter_model.safetensors", "release.json"}
        assert files["adapter_model.safetensors"] == lab.read(
            spec, "finetune", cell, "adapter/adapter_model.safetensors"
        )
        folders.append(shown["folder"])
    # Steps that come by templateRef have no templateName.
    deployed = [node for node in pod_nodes(lab.workflow(name)) if node.get("templateName") == "deploy"]
    assert sorted(node["inputs"]["parameters"][0]["value"] for node in deployed) == folders
    for id_, pod in lab.cluster.pods(name).items():
        if id_ not in {node["id"] for node in deployed}:
            assert (
                pod.spec.service_account_name == "undertone-job" and pod.spec.priority_class_name == "undertone-batch"
            )


def test_a_pipeline_that_names_nothing_gets_the_defaults(lab: Lab) -> None:
    """As little as can be said: it is the spec `release` of the ConfigMap that is planned."""
    workflow = yaml.safe_load((ROOT / "docs" / "examples" / "pipeline.yaml").read_text())
    ship = workflow["spec"]["templates"][0]
    ship["dag"]["tasks"][0].pop("arguments")
    name = lab.create(workflow)
    until("its plan is made", lambda: "plan study" in lab.steps(name), 300)
    (plan,) = lab.steps(name)["plan study"]
    given = {each["name"]: each["value"] for each in plan["inputs"]["parameters"]}
    assert given["store"] == "s3://undertone/studies" and json.loads(given["spec"])["name"] == "release"
    run("argo", "terminate", "-n", NAMESPACE, name)
