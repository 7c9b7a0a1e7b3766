"""A job's contract, with two small jobs of this test: exit codes, sealing, reuse, interruption, one line of output."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.cells import STUDY, CellKind
from common.errors import ExitCode, InputError, JobError, SpecError, TransientError
from common.pipeline.command import run_job
from common.pipeline.job import Job, Read
from common.pipeline.keys import Keys
from common.pipeline.step import Step
from common.spec import parse_spec
from common.store.sealed import ArtifactStore, open_store

FIRST = Job("first", 1, "cpu", (CellKind.STUDY,), writes=("a.json", "folder/"), parameters=("p",))
SECOND = Job(
    "second",
    1,
    "cpu",
    (CellKind.STUDY,),
    sections=("gate",),
    reads=(Read("first", lambda s, c: (STUDY,), ("a.json",)),),
    resumes=True,
)
PACKED = Job("packed", 1, "cpu", (CellKind.RUN,), writes=("a.json",))
CATALOG = {"first": FIRST, "second": SECOND, "packed": PACKED}
SPEC = {"name": "x", "models": [{"name": "m", "source": "package:p"}]}


Run = Callable[..., tuple[int, str, list[str]]]


@pytest.fixture
def run(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("UNDERTONE_OUTPUTS", str(tmp_path / "outputs"))

    def go(main: Callable[..., Any], job: Job = FIRST, *words: str, cell: str = "study") -> tuple[int, str, list[str]]:
        argv = ["--spec", json.dumps(SPEC), "--cell", cell, "--store", str(tmp_path / "store"), *words]
        code = run_job(job, main, CATALOG, argv)
        captured = capfd.readouterr()
        lines = captured.err.splitlines()
        return code, captured.out, [line for line in lines if line.startswith("error: ")]

    return go


def works(step: Step) -> ExitCode:
    os.write(1, b"a library that prints\n")
    os.system("echo and a program that prints")
    step.write_json("a.json", {"x": 1})
    step.parameter("p", ["one", "two"])
    return ExitCode.OK


def test_done_is_one_json_line_and_done_again_is_reused(run: Run, tmp_path: Path) -> None:
    code, out, errors = run(works)
    assert (code, errors) == (0, []) and out.count("\n") == 1 and json.loads(out)["reused"] is False
    assert json.loads((tmp_path / "outputs" / "p").read_text()) == ["one", "two"]
    (tmp_path / "outputs" / "p").unlink()
    code, out, _ = run(lambda step: pytest.fail("a sealed step ran again"))
    assert code == 0 and json.loads(out)["reused"] is True
    assert json.loads((tmp_path / "outputs" / "p").read_text()) == ["one", "two"], "parameters are handed over again"


@pytest.mark.parametrize(
    ("ends", "code", "said"),
    [
        ({}, 0, 3),
        ({"eager": ExitCode.BLOCKED}, 10, 3),
        ({"cautious": ExitCode.BLOCKED, "eager": InputError("gone")}, 3, 2),
        ({"cautious": InputError("gone"), "eager": RuntimeError("odd")}, 3, 1),
        ({"cautious": InputError("gone"), "eager": TransientError("busy")}, 75, 0),
    ],
)
def test_a_pack_runs_every_arm_of_a_seed_and_one_that_fails_stops_none_but_a_retry(
    run: Run, ends: dict[str, Any], code: int, said: int
) -> None:
    def main(step: Step) -> ExitCode:
        end = ends.get(step.cell.attitude, ExitCode.OK)
        if isinstance(end, Exception):
            raise end
        step.write_json("a.json", {"cell": str(step.cell)})
        return ExitCode(end)

    found, out, errors = run(main, PACKED, cell="m.d0.all.s1")
    lines = [json.loads(line) for line in out.splitlines()]
    assert (found, len(lines)) == (code, said)
    assert len(errors) == sum(isinstance(end, Exception) for end in ends.values())
    ends.clear()
    found, out, _ = run(main, PACKED, cell="m.d0.all.s1")
    assert [json.loads(line)["cell"] for line in out.splitlines()] == [
        f"m.d0.{arm}.s1" for arm in ("cautious", "eager", "neutral")
    ]
    assert sum(json.loads(line)["reused"] for line in out.splitlines()) == said


def test_a_verdict_is_sealed_and_replayed(run: Run) -> None:
    assert run(lambda step: ExitCode.BLOCKED)[0] == 10
    code, out, _ = run(works)
    assert code == 10 and json.loads(out)["reused"] is True


@pytest.mark.parametrize(
    "error, code",
    [
        (SpecError("a"), 2),
        (InputError("b", where="f:1", value=3, allowed="4"), 3),
        (TransientError("c"), 75),
        (JobError("d"), 1),
        (RuntimeError("e"), 1),
        (OSError(28, "No space left on device", "/x"), 75),
        (MemoryError(), 137),
        (KeyboardInterrupt(), 75),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_end_with_one_line_and_their_code_and_seal_nothing(
    run: Run, tmp_path: Path, error: Exception, code: int
) -> None:
    def fails(step: Step) -> ExitCode:
        step.write_json("a.json", {})
        raise error

    found, out, errors = run(fails)
    assert (found, out, len(errors)) == (code, "", 1)
    assert not list(tmp_path.rglob("manifest.json"))
    assert run(works)[0] == 0, "a second clean run succeeds"


def test_the_line_says_what_where_value_and_allowed() -> None:
    assert str(InputError("too\nlong", where="f:1", value=3, allowed="<= 2")) == "too long, f:1: 3; allowed: <= 2"


def test_an_undeclared_output_and_an_unsealed_exit_code_are_bugs(run: Run) -> None:
    assert run(lambda step: step.write_json("b.json", 1))[0] == 1
    assert run(lambda step: ExitCode.TRANSIENT)[0] == 1


def test_a_missing_input_names_the_step(run: Run) -> None:
    code, _, errors = run(lambda step: ExitCode.OK, SECOND)
    assert code == 3 and errors[0].startswith("error: step is not sealed, first/study")
    assert "python -m jobs.first --cell study" in errors[0]


def test_an_altered_input_is_refused(run: Run, tmp_path: Path) -> None:
    run(works)
    for path in (tmp_path / "store" / "blobs").rglob("*"):
        if path.is_file():
            path.write_bytes(b"{}")
    code, _, errors = run(lambda step: step.read_json("first", STUDY, "a.json") and ExitCode.OK, SECOND)
    assert code == 3 and "blob was altered" in errors[0]


def test_a_wrong_cell_is_refused_with_the_nearest(run: Run) -> None:
    code, _, errors = run(works, cell="studi")
    assert code == 2 and "did you mean 'study'?" in errors[0]
    code, _, errors = run(works, cell="m.base")
    assert code == 2 and "not a cell of this job" in errors[0]


def test_a_dry_run_changes_nothing(run: Run, tmp_path: Path) -> None:
    code, out, _ = run(works, SECOND, "--dry-run")
    assert code == 0 and json.loads(out)["missing"] == ["first/study"]
    assert not (tmp_path / "store").exists()


def test_sigterm_interrupts_a_job_that_cannot_resume(run: Run, tmp_path: Path) -> None:
    def slow(step: Step) -> ExitCode:
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("went on after SIGTERM")

    code, _, errors = run(slow)
    assert code == 75 and "stopped by SIGTERM" in errors[0] and not list(tmp_path.rglob("manifest.json"))


def test_sigterm_asks_a_job_that_resumes_which_goes_on_from_its_checkpoint(run: Run, tmp_path: Path) -> None:
    run(works)
    seen = []

    def resumable(step: Step) -> ExitCode:
        folder = step.workdir / "state"
        kept = step.load_checkpoint(folder)
        seen.append(kept and (kept["at"], (folder / "deep" / "x").read_text()))
        if kept is None:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)  # a second one, while it saves
            assert step.stopping
            (folder / "deep").mkdir(parents=True)
            (folder / "deep" / "x").write_text("state")
            step.save_checkpoint(folder, at=7)
            raise TransientError("stopped")
        return ExitCode.OK

    assert run(resumable, SECOND)[0] == 75
    assert run(resumable, SECOND)[0] == 0
    assert seen == [None, (7, "state")]
    assert not list(tmp_path.rglob("COMPLETE.json")), "checkpoints of a sealed step are dropped"


def test_checkpoints_that_a_worker_left_when_it_was_killed_after_its_seal_are_dropped_by_the_next(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(works)

    def saves(step: Step) -> ExitCode:
        (step.workdir / "state").mkdir()
        step.save_checkpoint(step.workdir / "state", at=1)
        return ExitCode.OK

    with monkeypatch.context() as killed:
        killed.setattr(ArtifactStore, "drop_checkpoints", lambda *_: None)
        run(saves, SECOND)
    assert list(tmp_path.rglob("COMPLETE.json"))
    code, out, _ = run(lambda step: pytest.fail("a sealed step ran again"), SECOND)
    assert code == 0 and json.loads(out)["reused"] is True and not list(tmp_path.rglob("COMPLETE.json"))


def test_keys_need_no_store_and_change_with_what_was_asked(tmp_path: Path) -> None:
    spec = parse_spec(json.dumps(SPEC).encode(), "s")
    other = parse_spec(json.dumps(SPEC | {"gate": {"bound": 0.2}}).encode(), "s")
    stores = [open_store(str(tmp_path / name)) for name in "ab"]
    one, two, changed = Keys(spec, CATALOG, stores[0]), Keys(spec, CATALOG, stores[1]), Keys(other, CATALOG, stores[0])
    assert one.key("second", STUDY) == two.key("second", STUDY) != changed.key("second", STUDY)
    assert one.key("first", STUDY) == changed.key("first", STUDY), "the first job does not read the gate's settings"


def test_a_specs_place_may_be_a_path_inline_json_or_nothing(tmp_path: Path, run: Run) -> None:
    argv = ["--spec", str(tmp_path / "none.json"), "--cell", "study", "--store", str(tmp_path)]
    assert run_job(FIRST, works, CATALOG, argv) == 2
