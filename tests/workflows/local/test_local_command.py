"""The command: retries, a store that is out of reach, a wrong spec, a signal while a fine-tune trains."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from common.provenance import ROOT
from workflows.local import command as local

STUDY = ROOT / "workflows" / "study.yaml"
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
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_spec: dict[str, Any]) -> list[str]:
    monkeypatch.setattr(local, "RUNS", tmp_path / "runs")
    (tmp_path / "flow.yaml").write_text(FLOW)
    (tmp_path / "spec.json").write_text(json.dumps(tiny_spec))
    return [str(tmp_path / "flow.yaml"), "--spec", str(tmp_path / "spec.json")]


def test_a_busy_store_is_retried_and_its_code_is_returned_in_the_end(
    small: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Nothing listens: the runner itself cannot ask, and says so with the code for 'later'."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-canary")
    assert local.main([*small, "--store", "s3://bucket/x"]) == 75
    printed = capsys.readouterr()
    assert printed.err.startswith("error: the store cannot be reached") and printed.err.count("\n") == 1
    assert "canary" not in printed.err + printed.out


def test_a_failed_attempt_is_run_again_as_often_as_the_file_says(
    small: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A child that says 75 twice and then works: three processes in all."""
    real, started = subprocess.Popen, []

    def popen(words: list[str], **kwargs: Any) -> Any:
        started.append(words)
        if len(started) < 3:
            words = [sys.executable, "-c", "import sys; print('error: busy', file=sys.stderr); sys.exit(75)"]
        return real(words, **kwargs)

    monkeypatch.setattr(subprocess, "Popen", popen)
    assert local.main([*small, "--store", str(tmp_path / "store")]) == 0
    assert len(started) == 3
    log = next((tmp_path / "runs").rglob("plan.study.log")).read_text()
    assert log.count("error: busy") == 2 and '"sealed"' in log


def test_an_unknown_spec_field_starts_nothing(
    small: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert local.main([*small, "--store", str(tmp_path / "store"), "--set", "train.epoch=2"]) == 2
    assert "did you mean 'epochs'?" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


START = """
import sys
from pathlib import Path
from workflows.local import command as local
local.RUNS = Path(sys.argv[1])
sys.exit(local.main(sys.argv[2:]))
"""


@pytest.mark.long
def test_sigterm_reaches_the_steps_and_the_next_run_goes_on(tmp_path: Path, tiny_spec: dict[str, Any]) -> None:
    """The runner as a process: SIGTERM while a fine-tune trains; the same command takes that fine-tune up again."""
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
