"""Where a disk or memory runs out in the middle of a step, the exit code says so, whichever library found it out."""

import errno
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.cells import CellKind
from common.errors import ExitCode, InputError, disk_full, out_of_memory
from common.pipeline.command import run_job
from common.pipeline.job import Job
from common.pipeline.step import Step
from common.provenance import ROOT

JOB = Job("first", 1, "cpu", (CellKind.STUDY,), writes=("a.json",))
SPEC = json.dumps({"name": "x", "models": [{"name": "m", "source": "package:p"}]})


class SafetensorError(Exception):
    """Named like the one of safetensors."""


@pytest.fixture
def ends(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[[Callable[[], object]], tuple[int, str]]:
    """Run a step that calls something: its exit code and its error line. Nothing is sealed, and it runs clean after."""

    def go(call: Callable[[], object]) -> tuple[int, str]:
        argv = ["--spec", SPEC, "--cell", "study", "--store", str(tmp_path / "store")]

        def main(step: Step) -> ExitCode:
            call()
            return ExitCode.OK

        code = run_job(JOB, main, {"first": JOB}, argv)
        (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
        assert not [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
        assert run_job(JOB, lambda step: ExitCode.OK, {"first": JOB}, argv) == 0
        return code, line

    return go


def raiser(error: BaseException) -> Callable[[], object]:
    def call() -> object:
        raise error

    return call


def taken_for_a_broken_file(error: BaseException) -> Callable[[], object]:
    """As loaders do: whatever ends a load is called a file that cannot be read."""

    def call() -> object:
        try:
            raise error
        except (OSError, RuntimeError, MemoryError) as cause:
            raise InputError("model cannot be loaded", where="folder", value=str(cause)) from cause

    return call


def torch_save() -> object:
    import torch

    torch.save({"a": torch.zeros(200_000)}, "/dev/full")
    return None


def torch_save_to_a_file() -> object:
    import torch

    with Path("/dev/full").open("wb", buffering=0) as file:
        torch.save({"a": torch.zeros(200_000)}, file)
    return None


def write() -> object:
    with Path("/dev/full").open("wb", buffering=0) as file:
        file.write(b"x")
    return None


DISK = [
    write,
    torch_save,
    torch_save_to_a_file,
    raiser(OSError(errno.EDQUOT, "Disk quota exceeded", "/data/x")),
    raiser(SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")),
    raiser(RuntimeError("[enforce fail at inline_container.cc:858] . PytorchStreamWriter failed writing file data/3")),
    raiser(RuntimeError("write(): fd 3 failed with No space left on device")),
    taken_for_a_broken_file(OSError(errno.ENOSPC, "No space left on device")),
]


@pytest.mark.parametrize("call", DISK, ids=range(len(DISK)))
def test_a_full_disk_is_to_be_tried_again(ends: Callable[..., Any], call: Callable[[], object]) -> None:
    code, line = ends(call)
    assert code == ExitCode.TRANSIENT and line.startswith("error: disk full, ") and "nothing was sealed" in line


MEMORY = [
    raiser(MemoryError()),
    raiser(type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory. Tried to allocate 20.00 MiB.\nGPU 0")),
    raiser(RuntimeError("CUDA error: out of memory")),
    raiser(RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried")),
    raiser(RuntimeError("unable to mmap 269 bytes from file <model.safetensors>: Cannot allocate memory (12)")),
    raiser(RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")),
    raiser(OSError(errno.ENOMEM, "Cannot allocate memory")),
    raiser(ImportError("/lib/x.so: failed to map segment from shared object")),
    taken_for_a_broken_file(RuntimeError("can't start new thread")),
    taken_for_a_broken_file(type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory. Tried to allocate")),
    taken_for_a_broken_file(MemoryError()),
]


@pytest.mark.parametrize("call", MEMORY, ids=range(len(MEMORY)))
def test_out_of_memory_has_its_own_exit_code(ends: Callable[..., Any], call: Callable[[], object]) -> None:
    code, line = ends(call)
    assert code == ExitCode.OUT_OF_MEMORY and line.startswith("error: out of memory")


def test_a_file_that_is_only_broken_stays_an_input(ends: Callable[..., Any]) -> None:
    code, line = ends(taken_for_a_broken_file(OSError(errno.EIO, "Input/output error")))
    assert code == ExitCode.INPUT and line.startswith("error: model cannot be loaded, folder: ")


def test_a_disk_that_is_full_once_the_step_is_sealed_is_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    job = Job("first", 1, "cpu", (CellKind.STUDY,), writes=("a.json",), parameters=("p",))
    argv = ["--spec", SPEC, "--cell", "study", "--store", str(tmp_path / "store")]
    monkeypatch.setenv("UNDERTONE_OUTPUTS", str(tmp_path / "outputs"))
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "p").symlink_to("/dev/full")
    monkeypatch.setattr("common.store.names.inside", lambda root, name: root / name)  # or the link is what is wrong

    def main(step: Step) -> ExitCode:
        step.parameter("p", 1)
        return ExitCode.OK

    assert run_job(job, main, {"first": job}, argv) == ExitCode.TRANSIENT
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: disk full, {tmp_path}/outputs/p: ") and "nothing was sealed" not in line
    assert line.endswith("the step is sealed, and its results were not handed over")
    assert list(tmp_path.glob("store/steps/first/*/manifest.json"))


def test_what_is_known_of_the_load_is_in_the_line(ends: Callable[..., Any]) -> None:
    error = MemoryError()
    error.add_note("batch size 8")
    error.add_note("longest row 500 tokens")
    assert ends(raiser(error))[1] == "error: out of memory, batch size 8, longest row 500 tokens; nothing was sealed"


def test_no_memory_even_for_the_line(ends: Callable[..., Any]) -> None:
    class Unsayable(MemoryError):
        def __str__(self) -> str:
            raise MemoryError

    code, line = ends(raiser(Unsayable()))
    assert (code, line) == (ExitCode.OUT_OF_MEMORY, "error: out of memory; nothing was sealed")


def test_torch_itself_has_the_name_that_is_looked_for() -> None:
    import torch

    assert out_of_memory(torch.cuda.OutOfMemoryError("CUDA out of memory."))
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert out_of_memory(caught.value)


def test_safetensors_itself_has_the_name_that_is_looked_for(tmp_path: Path) -> None:
    import torch
    from safetensors import SafetensorError as Real
    from safetensors.torch import save_file

    with pytest.raises(Real) as caught:
        save_file({"a": torch.zeros(1)}, tmp_path / "none" / "x")
    assert not disk_full(caught.value)
    assert disk_full(Real("I/O error: No space left on device (os error 28)"))


@pytest.mark.parametrize(
    "error",
    [ValueError("no space left on device"), RuntimeError("PytorchStreamReader failed"), OSError(errno.EACCES, "no")],
    ids=str,
)
def test_any_other_failure_stays_a_bug(ends: Callable[..., Any], error: Exception) -> None:
    assert ends(raiser(error))[0] == ExitCode.BUG


def test_an_error_log_on_the_full_disk_changes_nothing_about_the_exit_code(tmp_path: Path) -> None:
    script = """
    import sys
    from common.cells import CellKind
    from common.errors import ExitCode
    from common.pipeline.command import run_job
    from common.pipeline.job import Job
    job = Job("child", 1, "cpu", (CellKind.STUDY,))
    sys.exit(run_job(job, lambda step: ExitCode.OK, {"child": job}, sys.argv[1:]))
    """
    words = ["--spec", SPEC, "--cell", "study", "--store", str(tmp_path / "store")]
    command = [sys.executable, "-c", textwrap.dedent(script), *words]
    with Path("/dev/full").open("w") as full:
        assert subprocess.run(command, cwd=ROOT, stderr=full, check=False).returncode == ExitCode.TRANSIENT
    assert not list(tmp_path.rglob("manifest.json"))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, env=os.environ)
    assert done.returncode == 0
