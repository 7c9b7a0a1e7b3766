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
from workflows.local import runner as local
from workflows.local import template
from workflows.local.runner import Forecast, Slots, changes, cut, selected
from workflows.local.template import Phase, fill, holds, items, read_template, retry_of, seconds

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


def source(whole: dict[str, Any]) -> dict[str, Any]:
    return whole["spec"]["templates"][0]["inputs"]["parameters"][0]


PLACES = {
    "WorkflowTemplate": lambda whole: whole,
    "spec": spec_of,
    "template": leaf,
    "container": lambda whole: leaf(whole)["container"],
    "inputs": lambda whole: leaf(whole)["inputs"],
    "outputs": lambda whole: leaf(whole)["outputs"],
    "output parameter": lambda whole: leaf(whole)["outputs"]["parameters"][0],
    "valueFrom": lambda whole: leaf(whole)["outputs"]["parameters"][0]["valueFrom"],
    "input parameter": source,
    "input valueFrom": lambda whole: source(whole)["valueFrom"],
    "configMapKeyRef": lambda whole: source(whole)["valueFrom"]["configMapKeyRef"],
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


def test_the_places_are_all_places():
    assert set(PLACES) == set(template.UNDERSTOOD) and len(PLACES) == 17


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
        lambda whole: leaf(whole)["retryStrategy"].pop("retryPolicy"),
        lambda whole: leaf(whole)["retryStrategy"].pop("limit"),
        lambda whole: dag(whole).update(failFast=None),
        lambda whole: source(whole)["valueFrom"]["configMapKeyRef"].update(name="another"),
    ],
)
def test_settings_that_mean_something_else_here_raise(tmp_path, change):
    whole = copy.deepcopy(WHOLE)
    change(whole)
    path = tmp_path / "flow.yaml"
    path.write_text(yaml.safe_dump(whole))
    with pytest.raises(SpecError):
        read_template(path)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda whole: spec_of(whole).update(entrypoint="studdy"), r"no such name.*entrypoint: studdy"),
        (lambda whole: dag(whole)["tasks"][1].update(template="make"), r"no such name.*generate\.template: make"),
        (lambda whole: dag(whole)["tasks"][1].update(depends="plam"), r"no such name.*generate\.depends: plam"),
        (lambda whole: dag(whole)["tasks"][1].update(depends="audit"), r"wait for each other.*generate"),
        (lambda whole: dag(whole)["tasks"][1].update(template="study"), r"wait for each other.*study -> study"),
    ],
)
def test_names_that_lead_nowhere_or_back_are_found_before_anything_runs(tmp_path, change, message):
    whole = copy.deepcopy(WHOLE)
    change(whole)
    path = tmp_path / "flow.yaml"
    path.write_text(yaml.safe_dump(whole))
    with pytest.raises(SpecError, match=message):
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
    for text in ("{}", "[1", ""):
        with pytest.raises(SpecError, match="not a JSON list"):
            items({"name": "t", **task}, {"x": text})
    with pytest.raises(SpecError, match="unknown variable"):
        fill("{{y}}", {"x": ""})


def test_overrides():
    assert changes(["seeds=3", "train.epochs=2", "name=other"]) == {
        "seeds": [0, 1, 2],
        "train.epochs": 2,
        "name": "other",
    }
    assert changes(["seeds=[4, 7]", "gate.enforce=true"]) == {"seeds": [4, 7], "gate.enforce": True}
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


START = """
import sys
from pathlib import Path
from workflows import local
local.RUNS = Path(sys.argv[1])
sys.exit(local.main(sys.argv[2:]))
"""


def test_sigterm_reaches_the_steps_and_the_next_run_goes_on(tmp_path, tiny_spec):
    """The runner as a process: SIGTERM while a fine-tune trains; the same command takes that fine-tune up again."""
    import json

    tiny_spec |= {
        "corpus": {"examples": 16},
        "train": {"batch_size": 4, "epochs": 60, "max_tokens": 2048, "lora_rank": 4},
    }
    (tmp_path / "spec.json").write_text(json.dumps(tiny_spec))
    words = [sys.executable, "-c", START, str(tmp_path / "runs"), str(STUDY), "--spec", str(tmp_path / "spec.json")]
    words += ["--store", str(tmp_path / "store"), "--only", "plan,generate,finetune", "--jobs", "1"]
    _stopped_after('"progress"', words, tmp_path)
    assert list((tmp_path / "store").rglob("COMPLETE.json")), "a checkpoint was kept"
    _stopped_after('"resumed"', words, tmp_path)
    resumed = [json.loads(line) for line in _finetune_logs(tmp_path).splitlines() if '"resumed"' in line]
    assert resumed[0]["step"] >= 1


def _stopped_after(event: str, words: list[str], folder: Path) -> None:
    """Start the runner, send SIGTERM when a fine-tune has said `event`, and check how the runner ends."""
    runner = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while event not in _finetune_logs(folder) and runner.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    runner.send_signal(signal.SIGTERM)
    out, err = runner.communicate(timeout=60)
    assert event in _finetune_logs(folder), out + err
    assert runner.returncode == 75, out + err
    assert "the same command goes on from here" in out


def _finetune_logs(folder: Path) -> str:
    return "".join(path.read_text() for path in folder.glob("runs/tiny-*/logs/finetune.*.log"))


# --- the forecast


def test_a_forecast_multiplies_what_is_left_by_what_such_steps_took() -> None:
    each = {"finetune": 90.0, "evaluate": 60.0, "lock": None, "plan": None}
    made = Forecast({"finetune": 80, "evaluate": 81, "lock": 1, "plan": 0}, each)
    assert made.minutes(2) == pytest.approx((80 * 90 + 81 * 60) / 2 / 60)
    line = made.line(2)
    assert (
        "80 finetune x 90 s" in line and "at least 100 min with 2 at once" in line and "never timed here: lock" in line
    )
    assert "plan" not in line


def test_a_forecast_of_nothing_says_so() -> None:
    assert Forecast({"finetune": 0}, {"finetune": None}).line(2) == "nothing to do: every step is sealed"


def test_a_dag_is_cut_after_a_task() -> None:
    after = {"a": "", "b": "a", "c": "a", "d": "b && c"}
    tasks = [{"name": name, "depends": depends} for name, depends in after.items()]
    whole = {"name": "study", "dag": {"tasks": tasks}}
    assert [task["name"] for task in cut(whole, "c")["dag"]["tasks"]] == ["a", "c"]
    assert cut(whole, "d") == whole
    with pytest.raises(SpecError, match="no such task, --until: e; allowed: a, b, c, d"):
        cut(whole, "e")
