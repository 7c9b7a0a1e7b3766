"""A step goes on from the furthest checkpoint of its own, and from none that another worker has made needless."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.cells import CellKind
from common.errors import ExitCode, Interrupted
from common.pipeline.command import run_job
from common.pipeline.job import Job
from common.pipeline.step import Step
from common.store.objects import FolderObjects
from common.store.sealed import open_store

JOB = Job("long", 1, "cpu", (CellKind.STUDY,), writes=("a.json",), resumes=True)
SPEC = json.dumps({"name": "x", "models": [{"name": "m", "source": "package:p"}]})
Main = Callable[[Step], ExitCode]
Run = Callable[[Main], tuple[int, dict[str, Any], list[str]]]


@pytest.fixture
def run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a job: exit code, result, error lines."""

    def go(main: Main) -> tuple[int, dict[str, Any], list[str]]:
        words = ["--spec", SPEC, "--cell", "study", "--store", str(tmp_path / "store")]
        code = run_job(JOB, main, {"long": JOB}, words)
        out, err = capfd.readouterr()
        return code, json.loads(out) if out else {}, [x for x in err.splitlines() if x.startswith("error: ")]

    return go


def saves(at: int) -> Main:
    """A job that keeps a checkpoint and is interrupted."""

    def main(step: Step) -> ExitCode:
        (step.workdir / "s").mkdir()
        (step.workdir / "s" / "x").write_text(str(at))
        step.save_checkpoint(step.workdir / "s", at=at)
        raise Interrupted("stopped")

    return main


def loads(step: Step) -> ExitCode:
    kept = step.load_checkpoint(step.workdir / "s")
    step.summary(at=kept and kept["at"], x=kept and (step.workdir / "s" / "x").read_text())
    return ExitCode.OK


def test_a_clock_that_was_set_back_does_not_make_an_older_checkpoint_the_newest(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(saves(9))[0] == 75
    with monkeypatch.context() as patched:
        patched.setattr(time, "time_ns", lambda: 10**18 * 9)
        assert run(saves(10))[0] == 75
        patched.setattr(time, "time_ns", lambda: 1)
        assert run(saves(11))[0] == 75
    code, out, _ = run(loads)
    assert code == 0 and out["summary"] == {"at": 11, "x": "11"}


def test_two_attempts_that_stop_at_the_same_step_never_mix_files(run: Callable[..., Any], tmp_path: Path) -> None:
    assert run(saves(3))[0] == run(saves(3))[0] == 75
    assert len(list(tmp_path.rglob("COMPLETE.json"))) == 2
    assert run(loads)[1]["summary"] == {"at": 3, "x": "3"}


@pytest.mark.parametrize("dropped", [True, False])
def test_a_duplicate_that_finds_its_step_sealed_stops_and_the_next_run_reuses_it(
    run: Callable[..., Any], tmp_path: Path, dropped: bool
) -> None:
    assert run(saves(3))[0] == 75

    def overtaken(step: Step) -> ExitCode:
        winner = Step(JOB, step.cell, step._whole, step._store, step._keys, step.log)
        winner.seal(ExitCode.OK, "now", 1.0)
        if not dropped:
            step._store.put_checkpoint("long", step.key, "1-a", {"x": b"x"}, {"at": 1})
        loads(step)
        pytest.fail("went on with a step that is sealed")

    code, out, (line,) = run(overtaken)
    assert (code, out) == (75, {})
    assert line.startswith("error: another worker sealed this step, long: ") and "run again to reuse it" in line
    before = {path: path.read_bytes() for path in (tmp_path / "store").rglob("manifest.json")}
    code, out, lines = run(lambda step: pytest.fail("ran although it is sealed"))
    assert (code, out["reused"], lines) == (0, True, [])
    assert before == {path: path.read_bytes() for path in (tmp_path / "store").rglob("manifest.json")}


def test_a_duplicate_that_lists_checkpoints_while_they_are_dropped_is_not_told_of_damage(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(saves(3))[0] == 75
    keys = FolderObjects.keys

    def overtaken(step: Step) -> ExitCode:
        winner = Step(JOB, step.cell, step._whole, step._store, step._keys, step.log)

        def listed(self: FolderObjects, prefix: str) -> Any:
            found = list(keys(self, prefix))
            if "checkpoints" in prefix and step._store.manifest("long", step.key) is None:
                winner.seal(ExitCode.OK, "now", 1.0)
            return iter(found)

        monkeypatch.setattr(FolderObjects, "keys", listed)
        return loads(step)

    code, _, (line,) = run(overtaken)
    assert code == 75 and "another worker sealed this step" in line
    code, out, _ = run(loads)
    assert (code, out["reused"]) == (0, True)


def test_a_checkpoint_of_another_step_is_refused(run: Callable[..., Any], tmp_path: Path) -> None:
    assert run(saves(3))[0] == 75
    (complete,) = tmp_path.rglob("COMPLETE.json")
    whole = complete.read_bytes()
    record = json.loads(whole)
    record["facts"]["key"] = "0" * 64
    complete.write_text(json.dumps(record))
    code, _, (line,) = run(loads)
    assert code == 3 and line.startswith("error: every checkpoint of this step is damaged"), "its digest is another's"
    del record["digest"]
    complete.write_text(json.dumps(record))
    code, _, (line,) = run(loads)
    assert code == 3 and line.startswith("error: checkpoint of something else, key: 0000")
    complete.write_bytes(whole)
    assert run(loads)[0] == 0 and open_store(str(tmp_path / "store"))


def test_a_file_that_the_job_does_not_know_is_refused_before_anything_is_written(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    assert run(saves(3))[0] == 75

    def strict(step: Step) -> ExitCode:
        try:
            step.load_checkpoint(step.workdir / "s", known=lambda name: name == "y")
        finally:
            assert not (step.workdir / "s").exists()
        return ExitCode.OK

    code, _, (line,) = run(strict)
    assert code == 3 and line == "error: not a file that a checkpoint of this job holds, long: x"
