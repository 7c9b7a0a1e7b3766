"""Steps that are raced, killed, or fed odd things: what is sealed stays whole, and the exit code says what happened."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.cells import STUDY, CellKind
from common.errors import ExitCode, InputError
from common.pipeline.command import run_job
from common.pipeline.job import Job, Read
from common.pipeline.step import Step
from common.provenance import ROOT
from common.store.objects import FolderObjects
from common.store.sealed import open_store

MAKER = Job("maker", 1, "cpu", (CellKind.STUDY,), writes=("a.json", "folder/"), parameters=("p",))
READER = Job(
    "reader", 1, "cpu", (CellKind.STUDY,), reads=(Read("maker", lambda spec, cell: (STUDY,), ("a.json", "folder/")),)
)
LENIENT = Job(
    "lenient",
    1,
    "cpu",
    (CellKind.STUDY,),
    reads=(Read("maker", lambda spec, cell: (STUDY,), ("a.json",), optional=True),),
)
CATALOG = {"maker": MAKER, "reader": READER, "lenient": LENIENT}
SPEC = json.dumps({"name": "x", "models": [{"name": "m", "source": "package:p"}]})
Main = Callable[[Step], ExitCode]
Run = Callable[..., tuple[int, dict[str, Any], list[str]]]


@pytest.fixture
def run(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a job: exit code, result, lines on stderr."""
    monkeypatch.setenv("UNDERTONE_OUTPUTS", str(tmp_path / "outputs"))

    def go(main: Main, job: Job = MAKER, *words: str, spec: str = SPEC) -> tuple[int, dict[str, Any], list[str]]:
        argv = ["--spec", spec, "--cell", "study", "--store", str(tmp_path / "store"), *words]
        code = run_job(job, main, CATALOG, argv)
        out, err = capfd.readouterr()
        return code, json.loads(out) if out else {}, err.splitlines()

    return go


def makes(step: Step) -> ExitCode:
    step.write_json("a.json", [1])
    return ExitCode.OK


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def events(lines: list[str]) -> list[str]:
    return [json.loads(line)["event"] for line in lines if line.startswith("{")]


def test_a_worker_that_comes_second_adopts_the_first_ones_result(run: Run, tmp_path: Path) -> None:
    def raced(step: Step) -> ExitCode:
        makes(step)
        other: dict[str, Any] = {"job": "maker", "cell": "study", "key": step.key, "seconds": 1.0, "summary": {}}
        other |= {"exit_code": 10, "parameters": {"p": '"theirs"'}, "outputs": {}}
        open_store(str(tmp_path / "store")).seal("maker", step.key, other)
        step.parameter("p", "mine")
        return ExitCode.OK

    code, _, lines = run(raced)
    assert code == 10 and "adopted" in events(lines)
    assert json.loads((tmp_path / "outputs" / "p").read_text()) == "theirs"


def test_a_step_alone_adopts_nothing(run: Run) -> None:
    def tuples(step: Step) -> ExitCode:
        step.summary(shape=(1, 2))  # comes back from JSON as a list
        return ExitCode.OK

    code, out, lines = run(tuples)
    assert code == 0 and out["summary"] == {"shape": [1, 2]} and events(lines) == ["started", "sealed"]


def test_a_blocked_step_replays_its_code_and_its_parameters(run: Run, tmp_path: Path) -> None:
    def blocks(step: Step) -> ExitCode:
        step.parameter("p", [1, "two"])
        return ExitCode.BLOCKED

    assert run(blocks)[0] == 10
    (tmp_path / "outputs" / "p").unlink()
    code, out, lines = run(makes)
    assert (code, out["exit_code"], out["reused"], events(lines)) == (10, 10, True, ["reused"])
    assert json.loads((tmp_path / "outputs" / "p").read_text()) == [1, "two"]


def test_an_undeclared_parameter_is_a_bug(run: Run) -> None:
    def main(step: Step) -> ExitCode:
        step.parameter("q", 1)
        return ExitCode.OK

    code, out, lines = run(main)
    assert (code, out) == (1, {}) and any("Traceback" in line for line in lines)
    assert [line for line in lines if line.startswith("error: ")] == [
        "error: job does not declare this parameter, maker: q; allowed: p"
    ]


def test_a_failure_leaves_what_was_published_as_it_was(run: Run, tmp_path: Path) -> None:
    run(makes)
    before = snapshot(tmp_path / "store")

    def fails(step: Step) -> ExitCode:
        raise InputError("no", where="here")

    assert run(fails, READER)[0] == 3
    assert snapshot(tmp_path / "store") == before
    assert run(lambda step: ExitCode.OK, READER)[0] == 0, "a second clean run succeeds"


def test_a_store_that_keeps_other_bytes_seals_nothing_and_is_mended_by_a_second_run(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = FolderObjects.put
    with monkeypatch.context() as patch:
        patch.setattr(FolderObjects, "put", lambda self, key, data, once: keep(self, key, data + b"?", once=once))
        code, _, lines = run(makes)
    said = [line for line in lines if not line.startswith("{")]
    assert code == 3 and len(said) == 1 and said[0].startswith("error: blob was altered, blobs/sha256/")
    assert not list(tmp_path.rglob("manifest.json"))
    code, out, _ = run(makes)
    assert code == 0 and open_store(str(tmp_path / "store")).manifest("maker", out["key"]) is not None
    assert run(lambda step: step.read_json("maker", STUDY, "a.json") and ExitCode.OK, READER)[0] == 0


def test_a_missing_input_takes_one_line_and_no_traceback(run: Run) -> None:
    code, _, lines = run(lambda step: pytest.fail("ran without its input"), READER)
    said = [line for line in lines if not line.startswith("{")]
    assert code == 3 and len(said) == 1 and said[0].startswith("error: step is not sealed, maker/study: ")


def test_an_optional_input_may_be_missing_and_changes_the_key_when_it_comes(run: Run) -> None:
    seen = []

    def looks(step: Step) -> ExitCode:
        seen.append(step.sealed("maker", STUDY))
        return ExitCode.OK

    _, without, _ = run(looks, LENIENT)
    run(makes)
    _, with_it, _ = run(looks, LENIENT)
    assert seen == [False, True] and without["key"] != with_it["key"]


def test_a_dry_run_leaves_a_store_as_it_is_and_says_what_would_happen(run: Run, tmp_path: Path) -> None:
    run(makes)
    before = snapshot(tmp_path)
    _, maker, _ = run(lambda step: pytest.fail("ran"), MAKER, "--dry-run")
    _, reader, _ = run(lambda step: pytest.fail("ran"), READER, "--dry-run")
    assert (maker["would_reuse"], reader["would_reuse"], reader["missing"]) == (True, False, [])
    assert snapshot(tmp_path) == before


def test_folders_go_through_the_store(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "x").write_bytes(b"\x00\xff")
    (tmp_path / "in" / "y").write_bytes(b"")

    def writes(step: Step) -> ExitCode:
        step.write_folder("folder/", tmp_path / "in")
        return ExitCode.OK

    def reads(step: Step) -> ExitCode:
        step.read_folder("maker", STUDY, "folder/", tmp_path / "out")
        assert step.names("maker", STUDY) == ["folder/deep/x", "folder/y"]
        with pytest.raises(InputError, match="step has no such output, maker/study: folder/z; allowed: folder/deep/x"):
            step.read_bytes("maker", STUDY, "folder/z")
        return ExitCode.OK

    assert run(writes)[0] == 0 and run(reads, READER)[0] == 0
    assert (tmp_path / "out" / "deep" / "x").read_bytes() == b"\x00\xff" and (tmp_path / "out" / "y").exists()
    store = open_store(str(tmp_path / "store"))
    manifest = store.manifest("reader", run(reads, READER)[1]["key"])
    assert manifest is not None and set(manifest["inputs"]) == {"maker/study/folder/deep/x", "maker/study/folder/y"}


def test_working_files_are_gone_whatever_happens(run: Run) -> None:
    folders = []

    def fails(step: Step) -> ExitCode:
        folders.append(step.workdir)
        (step.workdir / "x").write_text("x")
        raise RuntimeError("no")

    assert run(fails)[0] == 1 and not folders[0].exists()


@pytest.mark.parametrize(
    "spec, line",
    [
        ("{", "error: malformed JSON, --spec:2: "),
        ('{"name": "x"}', "error: bad field, --spec:models"),
        ("none.json", "error: cannot read the spec, --spec: none.json; allowed: No such file or directory"),
    ],
    ids=["not JSON", "incomplete", "no file"],
)
def test_a_bad_spec_is_one_line(run: Run, spec: str, line: str) -> None:
    code, out, lines = run(makes, spec=spec)
    assert (code, out, len(lines)) == (2, {}, 1) and lines[0].startswith(line)


def test_a_bad_command_line_is_exit_2() -> None:
    with pytest.raises(SystemExit) as caught:
        run_job(MAKER, makes, CATALOG, ["--spec", SPEC])
    assert caught.value.code == 2


CHILD = """
import signal, sys, time
from pathlib import Path
from common.errors import ExitCode
from common.pipeline.command import run_job
from common.pipeline.job import Job
from common.cells import CellKind

job = Job("child", 1, "cpu", (CellKind.STUDY,), writes=("a.json",), resumes={resumes})

def main(step):
    step.write_json("a.json", 1)
    Path({ready!r}).touch()
    for _ in range(1000):
        time.sleep(0.01)
        if step.stopping:
            (step.workdir / "s").mkdir()
            (step.workdir / "s" / "x").write_text("kept")
            step.save_checkpoint(step.workdir / "s", at=3)
            from common.errors import Interrupted
            raise Interrupted("stopped; checkpoint kept")
    return ExitCode.OK

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that started the tests with & has it ignored
sys.exit(run_job(job, main, {{"child": job}}, sys.argv[1:]))
"""


@pytest.mark.parametrize("number, resumes, code", [(15, False, 75), (15, True, 75), (2, False, 75), (9, False, -9)])
def test_a_killed_process_seals_nothing(tmp_path: Path, number: int, resumes: bool, code: int) -> None:
    ready, store = tmp_path / "ready", tmp_path / "store"
    script = textwrap.dedent(CHILD).format(ready=str(ready), resumes=resumes)
    words = [sys.executable, "-c", script, "--spec", SPEC, "--cell", "study", "--store", str(store)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        while not ready.exists():
            assert child.poll() is None, child.communicate()[1]
        os.kill(child.pid, signal.Signals(number))
        out, err = child.communicate(timeout=60)
    assert (child.returncode, out) == (code, "")
    assert not list(store.rglob("manifest.json"))
    assert bool(list(store.rglob("COMPLETE.json"))) == resumes
    assert "Traceback" not in err and err.count("error: ") == (0 if number == 9 else 1)
