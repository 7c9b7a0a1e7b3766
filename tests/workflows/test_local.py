"""The local runner: what it understands, what it refuses, how it orders, retries and stops."""

import copy
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.errors import SpecError
from common.provenance import ROOT
from workflows import local, template
from workflows.local import Slots, changes, selected
from workflows.template import Phase, fill, holds, items, read_template, retry_of, seconds

STUDY = ROOT / "workflows" / "study.yaml"
WHOLE: dict[str, Any] = yaml.safe_load(STUDY.read_text())
RETRY = {
    "limit": "2",
    "retryPolicy": "Always",
    "expression": 'lastRetry.status == "Error" || asInt(lastRetry.exitCode) in [75, 137, 143]',
    "backoff": {"duration": "2s", "factor": "2", "cap": "3s"},
}


def spec_of(whole: dict[str, Any]) -> dict[str, Any]:
    return whole["spec"]


def leaf(whole: dict[str, Any]) -> dict[str, Any]:
    return whole["spec"]["templates"][2]


def dag(whole: dict[str, Any]) -> dict[str, Any]:
    return whole["spec"]["templates"][0]["dag"]


PLACES = {
    "top": lambda whole: whole,
    "spec": spec_of,
    "template": leaf,
    "container": lambda whole: leaf(whole)["container"],
    "inputs": lambda whole: leaf(whole)["inputs"],
    "output parameter": lambda whole: leaf(whole)["outputs"]["parameters"][0],
    "valueFrom": lambda whole: leaf(whole)["outputs"]["parameters"][0]["valueFrom"],
    "retryStrategy": lambda whole: leaf(whole)["retryStrategy"],
    "backoff": lambda whole: leaf(whole)["retryStrategy"]["backoff"],
    "dag": dag,
    "task": lambda whole: dag(whole)["tasks"][1],
    "arguments": lambda whole: dag(whole)["tasks"][1]["arguments"],
    "parameter": lambda whole: dag(whole)["tasks"][1]["arguments"]["parameters"][0],
}


@pytest.mark.parametrize("place", list(PLACES))
def test_an_unknown_field_raises_wherever_it_stands(tmp_path, place):
    whole = copy.deepcopy(WHOLE)
    PLACES[place](whole)["memoize"] = {}
    path = tmp_path / "flow.yaml"
    path.write_text(yaml.safe_dump(whole))
    with pytest.raises(SpecError, match=r"not implemented here.*memoize"):
        read_template(path)


def test_every_field_that_is_left_out_has_a_reason():
    reasons = [reason for fields in template.ON_A_CLUSTER_ONLY.values() for reason in fields.values()]
    assert len(reasons) > 15 and all(len(reason) > 10 for reason in reasons)


@pytest.mark.parametrize(
    "change",
    [
        lambda whole: dag(whole).update(failFast=True),
        lambda whole: leaf(whole)["retryStrategy"].update(expression="true"),
        lambda whole: leaf(whole).update(timeout=600),
        lambda whole: dag(whole)["tasks"][1].update(depends="plan &&"),
        lambda whole: dag(whole)["tasks"][1].update(depends="plan.Daemoned"),
    ],
)
def test_settings_that_mean_something_else_here_raise(tmp_path, change):
    whole = copy.deepcopy(WHOLE)
    change(whole)
    path = tmp_path / "flow.yaml"
    path.write_text(yaml.safe_dump(whole))
    with pytest.raises(SpecError):
        read_template(path)


PHASES = {"a": Phase.SUCCEEDED, "b": Phase.FAILED, "c": Phase.OMITTED, "d-e": Phase.SKIPPED}


@pytest.mark.parametrize(
    "expression, value",
    [
        ("a", True),
        ("b", False),
        ("c", False),
        ("d-e", True),
        ("d-e.Succeeded", False),
        ("a && b", False),
        ("a || b", True),
        ("b.Failed && !c.Succeeded", True),
        ("(b || c.Omitted) && a", True),
        ("b.Succeeded || b.Failed || b.Errored", True),
    ],
)
def test_depends(expression, value):
    assert holds(expression, PHASES) is value


@pytest.mark.parametrize("expression", ["a b", "a +", "a &&", "(a", "a.succeeded", "__import__('os')"])
def test_depends_that_is_none(expression):
    with pytest.raises((SpecError, KeyError)):
        holds(expression, PHASES)


def test_durations_need_a_unit():
    assert (seconds("90s"), seconds("10m"), seconds("2h")) == (90, 600, 7200)
    with pytest.raises(SpecError):
        seconds("600")


def test_waits_grow_to_the_cap():
    retry = retry_of({"name": "x", "retryStrategy": RETRY})
    assert retry.limit == 2 and retry.codes == {75, 137, 143}
    assert [retry.wait(attempt) for attempt in (1, 2, 3)] == [2, 3, 3]


def test_items_are_text_as_argo_passes_them():
    task = {"withParam": "{{x}}"}
    assert items(task, {"x": '["a", {"id": 1}]'}) == ["a", '{"id": 1}']
    assert items({}, {}) is None
    with pytest.raises(SpecError, match="unknown variable"):
        fill("{{y}}", {"x": ""})


def test_overrides():
    assert changes(["seeds=3", "train.epochs=2", "name=other"]) == {
        "seeds": [0, 1, 2],
        "train.epochs": 2,
        "name": "other",
    }
    with pytest.raises(SpecError, match="NAME=VALUE"):
        changes(["seeds"])


def test_selection():
    stages = ["plan", "generate", "finetune"]
    assert selected(stages, None, None) == set(stages)
    assert selected(stages, "plan,finetune", None) == {"plan", "finetune"}
    assert selected(stages, None, "generate") == {"generate", "finetune"}
    with pytest.raises(SpecError, match="--only: trian"):
        selected(stages, "trian", None)


def test_at_most_so_many_run_at_once_and_the_first_listed_goes_first():
    slots, running, most, order = Slots(2), [0], [0], []
    gate = threading.Event()

    def work(rank: int) -> None:
        gate.wait()
        time.sleep(0.02 * rank)  # they arrive in order, so that the queue is what decides
        with slots.one((rank,)):
            running[0] += 1
            most[0] = max(most[0], running[0])
            order.append(rank)
            time.sleep(0.15)
            running[0] -= 1

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(6)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join()
    assert most[0] == 2 and order == sorted(order)


FLOW = """
apiVersion: argoproj.io/v1alpha1
kind: WorkflowTemplate
metadata: {name: x}
spec:
  entrypoint: x
  arguments: {parameters: [{name: spec}, {name: store}]}
  templates:
    - name: x
      dag:
        failFast: false
        tasks: [{name: plan, template: plan, arguments: {parameters: [{name: cell, value: study}]}}]
    - name: plan
      inputs: {parameters: [{name: cell}]}
      timeout: 10m
      retryStrategy: {limit: "3", retryPolicy: Always, backoff: {duration: 1s, factor: "1"},
        expression: 'lastRetry.status == "Error" || asInt(lastRetry.exitCode) in [75, 137, 143]'}
      container:
        command: [python, -m, jobs.plan]
        args: ["--spec", "{{workflow.parameters.spec}}", "--cell", "{{inputs.parameters.cell}}",
          "--store", "{{workflow.parameters.store}}"]
"""


@pytest.fixture
def small(tmp_path, monkeypatch, tiny_spec):
    import json

    monkeypatch.setattr(local, "RUNS", tmp_path / "runs")
    (tmp_path / "flow.yaml").write_text(FLOW)
    (tmp_path / "spec.json").write_text(json.dumps(tiny_spec))
    return [str(tmp_path / "flow.yaml"), "--spec", str(tmp_path / "spec.json")]


def test_a_busy_store_is_retried_and_its_code_is_returned_in_the_end(small, monkeypatch, capsys, tmp_path):
    """Nothing listens: the runner itself cannot ask, and says so with the code for 'later'."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-canary")
    assert local.main([*small, "--store", "s3://bucket/x"]) == 75
    printed = capsys.readouterr()
    assert printed.err.startswith("error: the store cannot be reached") and printed.err.count("\n") == 1
    assert "canary" not in printed.err + printed.out


def test_a_failed_attempt_is_run_again_as_often_as_the_file_says(small, monkeypatch, tmp_path):
    """A child that says 75 twice and then works: three processes in all."""
    real, started = subprocess.Popen, []

    def popen(words, **kwargs):
        started.append(words)
        if len(started) < 3:
            words = [sys.executable, "-c", "import sys; print('error: busy', file=sys.stderr); sys.exit(75)"]
        return real(words, **kwargs)

    monkeypatch.setattr(subprocess, "Popen", popen)
    assert local.main([*small, "--store", str(tmp_path / "store")]) == 0
    assert len(started) == 3
    log = next((tmp_path / "runs").rglob("plan.study.log")).read_text()
    assert log.count("error: busy") == 2 and '"sealed"' in log


def test_an_unknown_spec_field_starts_nothing(small, tmp_path, capsys):
    assert local.main([*small, "--store", str(tmp_path / "store"), "--set", "train.epoch=2"]) == 2
    assert "did you mean 'epochs'?" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_sigterm_reaches_the_steps_and_the_next_run_goes_on(tmp_path, tiny_spec):
    """The runner as a process: SIGTERM while a fine-tune trains, then again to the end of that stage."""
    import json

    tiny_spec |= {
        "corpus": {"examples": 16},
        "train": {"batch_size": 4, "epochs": 60, "max_tokens": 2048, "lora_rank": 4},
    }
    (tmp_path / "spec.json").write_text(json.dumps(tiny_spec))
    words = [sys.executable, "-m", "workflows.local", str(STUDY), "--spec", str(tmp_path / "spec.json")]
    words += ["--store", str(tmp_path / "store"), "--only", "plan,generate,finetune", "--jobs", "1"]
    runner = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    logs = ROOT / ".undertone" / "runs"
    while time.monotonic() < deadline and not _training(logs):
        time.sleep(0.2)
    runner.send_signal(signal.SIGTERM)
    out, err = runner.communicate(timeout=60)
    assert runner.returncode == 75, out + err
    assert "the same command goes on from here" in out
    assert list((tmp_path / "store").rglob("COMPLETE.json")), "a checkpoint was kept"


def _training(logs: Path) -> bool:
    recent = [path for path in logs.glob("tiny-*/logs/finetune.*.log") if path.stat().st_mtime > time.time() - 120]
    return any('"progress"' in path.read_text() for path in recent)
