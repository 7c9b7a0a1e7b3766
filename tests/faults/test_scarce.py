"""Too little memory, disk or rights."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from common.errors import ExitCode
from common.provenance import ROOT
from tests.faults.fault_points import every
from tests.faults.finetunes import Study, copied, events, made_of, objects
from tests.faults.forks import alone
from tests.faults.promise import clean, files, kept, without_notes
from workflows.local import command as local
from workflows.local import processes

pytestmark = pytest.mark.long

MIB = 2**20
PAGE = 4096  # bytes: the least that a tmpfs gives to a file
NO_THREAD = {  # exit code → what the line on stderr holds
    int(ExitCode.BUG): "Resource temporarily unavailable",
    127: "cannot allocate memory for thread-local data",
    -signal.SIGALRM: "",
}


# --- memory


def test_fault_38_memory_runs_out_in_a_fine_tune(
    study: Study, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """RLIMIT_AS lets a fine-tune have some MiB more: 137, or 134 by a library that aborts, and nothing is lost.

    134: the tokenizers, which are Rust, abort the process. 1: a library in C++ gets no memory for a thread, and says
    what the system says of too many processes as well. 127: the C library gets none for the data of a thread. And torch
    may wait for ever for one that it could not start: SIGALRM ends it here.
    """
    sizes, short, waited = every(40), 0, 0
    for more in sizes:
        store = copied(study.stopped, tmp_path / f"store{more}")
        before = files(store)
        ended = study.run(store, memory={"more": (more - 1) * MIB})
        if ended.code:
            short += 1
            waited += ended.code == -signal.SIGALRM
            no_thread = ended.code in NO_THREAD and NO_THREAD[ended.code] in ended.err
            assert no_thread or ended.code in (ExitCode.OUT_OF_MEMORY, -signal.SIGABRT), ended.err
            assert files(store) == before
            if no_thread:
                pass
            elif ended.code == ExitCode.OUT_OF_MEMORY:
                assert ended.line.startswith("error: out of memory") and "nothing was sealed" in ended.line
            else:
                assert "memory allocation of" in ended.err or "bad_alloc" in ended.err
        assert study.is_sealed(store) == (ended.code == 0)
        study.ends_undisturbed(store)
        shutil.rmtree(store)
    record_property("points", len(sizes))
    assert short >= 2, "memory did not run out"
    assert waited <= 1, "torch waited for ever for a thread that it could not start, at more than one size"


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
        tasks:
          - {name: a, template: generate, arguments: {parameters: [{name: cell, value: d0}]}}
          - {name: b, template: generate, arguments: {parameters: [{name: cell, value: d1}]}}
          - {name: c, template: generate, arguments: {parameters: [{name: cell, value: d2}]}}
    - name: generate
      inputs: {parameters: [{name: cell}]}
      timeout: 10m
      retryStrategy: {limit: "1", retryPolicy: Always, backoff: {duration: 1s, factor: "1"},
        expression: 'lastRetry.status == "Error" || asInt(lastRetry.exitCode) in [75, 137, 143]'}
      container:
        command: [python, -m, jobs.generate]
        args: ["--spec", "{{workflow.parameters.spec}}", "--cell", "{{inputs.parameters.cell}}",
          "--store", "{{workflow.parameters.store}}"]
"""
LIMITED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_AS, (64 * 2**20, 64 * 2**20))
runpy.run_module("jobs.generate", run_name="__main__", alter_sys=True)
"""
KILLED = "import os; os.kill(os.getpid(), 9)"  # as the kernel ends what takes more than its cgroup may have


@pytest.mark.parametrize("ends, code", [(LIMITED, ExitCode.BUG), (KILLED, ExitCode.OUT_OF_MEMORY)])
def test_fault_38_memory_runs_out_in_one_run_of_three(
    study: Study,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    ends: str,
    code: int,
) -> None:
    """One step has too little memory, or is killed for it: the others are sealed, and the whole never ends with 0."""
    spec = json.loads(study.spec.read_text()) | {"draws": [0, 1, 2]}
    corpus = tmp_path / "corpus"
    shutil.copytree(spec["corpus"]["path"], corpus)
    for path in list(corpus.glob("d0.*")):
        for draw in (1, 2):
            shutil.copy(path, path.with_name(path.name.replace("d0", f"d{draw}")))
    spec["corpus"]["path"] = str(corpus)
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    (tmp_path / "flow.yaml").write_text(FLOW)
    monkeypatch.setattr(local, "RUNS", tmp_path / "runs")
    store, started = tmp_path / "store", list[str]()
    words = [str(tmp_path / "flow.yaml"), "--spec", str(tmp_path / "spec.json"), "--store", str(store)]
    spawned = processes._spawned

    def faulty(command: list[str], env: Mapping[str, str]) -> Any:
        started.append(command[command.index("--cell") + 1])
        return spawned([command[0], "-c", ends, *command[3:]] if started[-1] == "d1" else command, env)

    def sealed() -> list[str]:
        return sorted(json.loads(path.read_bytes())["cell"] for path in store.glob("steps/*/*/manifest.json"))

    with monkeypatch.context() as patched:
        patched.setattr(processes, "_spawned", faulty)
        assert local.main(words) == code
    said = capsys.readouterr()
    assert "generate d1" in said.out and "Traceback" not in said.out + said.err
    assert sealed() == ["d0", "d2"]
    assert started.count("d1") == (2 if code == ExitCode.OUT_OF_MEMORY else 1), "a kill is tried again, a bug is not"
    before = without_notes(store)
    assert local.main(words) == 0
    assert sealed() == ["d0", "d1", "d2"] and before.items() <= without_notes(store).items()


def test_fault_39_a_gpu_holds_half_the_rows(study: Study, tmp_path: Path) -> None:
    """A GPU's memory runs out with all rows at a time: once more with half of them, to the same losses within 1e-4."""
    store = copied(study.fresh, tmp_path / "store")
    longest = 80  # tokens: more than any row has, fewer than two rows
    ended = clean(lambda: study.run(store, gpu_memory={"tokens": longest}))
    (halved,) = [event for event in events(ended) if event["event"] == "halved"]
    assert (halved["rows_at_a_time"], halved["batch_size"]) == (1, 2) and "CUDA out of memory" in halved["reason"]
    outputs, losses = made_of(study, store)
    assert outputs.keys() == study.outputs.keys() and len(losses) == len(study.losses)
    assert losses == pytest.approx(study.losses, abs=1e-4), "another optimizer batch"
    assert json.loads(clean(lambda: study.run(store)).out)["reused"] is True


def test_fault_39_a_gpu_holds_not_even_half(study: Study, tmp_path: Path) -> None:
    """A GPU's memory runs out with half the rows too: 75, with the sizes, and the checkpoint from before stays."""
    store = copied(study.stopped, tmp_path / "store")
    ended = kept(
        lambda: study.run(store, gpu_memory={"tokens": 1}),
        code=ExitCode.TRANSIENT,
        says=("the GPU's memory ran out with one row at a time", "batch size 2", "longest row", "CUDA out of memory"),
        state=lambda: files(store),
    )
    assert len([event for event in events(ended) if event["event"] == "halved"]) == 1, "tried more than once"
    study.ends_undisturbed(store)


# --- disk


@contextmanager
def disk(place: Path, options: str = "size=64m") -> Iterator[Path]:
    """A file system of its own in memory."""
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no file system may be mounted here: {made.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def shrunk(place: Path, *, pages: int | None = None, inodes: int | None = None) -> None:
    """Leave so much room on a disk."""
    has = os.statvfs(place)
    used = (has.f_blocks - has.f_bfree) * has.f_frsize
    options = (
        f"size={used + pages * PAGE}" if pages is not None else f"nr_inodes={has.f_files - has.f_ffree + (inodes or 0)}"
    )
    subprocess.run(["mount", "-o", f"remount,{options}", place], check=True)


def through_a_full_disk(study: Study, tmp_path: Path, most: int, leave: Callable[[Path, int], None]) -> int:
    """Resume with ever more room in the store's disk, until there is enough; return how often there was not."""
    before, tried = objects(study.stopped), 0
    for number in every(most):
        with disk(tmp_path / f"disk{number}") as place:
            store = copied(study.stopped, place / "store")
            leave(place, number - 1)
            ended = study.run(store, checkpoints={})
            if ended.code == 0:
                return tried
            tried += 1
            assert ended.code == ExitCode.TRANSIENT, ended.err
            assert ended.line.startswith("error: disk full, ") and str(store) in ended.line
            assert not study.is_sealed(store) and before.items() <= objects(store).items()
            assert not list(store.rglob(".partial-*")), "what could not be written is not removed"
            subprocess.run(["mount", "-o", "remount,size=64m,nr_inodes=0", place], check=True)
            study.ends_undisturbed(store)
    raise AssertionError("never enough")


def test_fault_40_the_stores_disk_is_full(
    study: Study, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """A disk with room for some pages more: 75 wherever it fills up, nothing half written; then it goes on."""
    tried = through_a_full_disk(study, tmp_path, 200, lambda place, pages: shrunk(place, pages=pages))
    record_property("points", tried)
    assert tried >= 2


def test_fault_40_the_disk_has_no_room_for_a_name(
    study: Study, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """A disk with room for some names more, so that a file can be written and not be given its name: 75 as well."""
    tried = through_a_full_disk(study, tmp_path, 200, lambda place, names: shrunk(place, inodes=names))
    record_property("points", tried)
    assert tried >= 2


@pytest.mark.parametrize("pages", [0, 24])
def test_fault_40_the_working_disk_is_full(study: Study, tmp_path: Path, pages: int) -> None:
    """The disk under TMPDIR is full while a checkpoint is read or made: 75, and the store is as it was."""
    store = copied(study.stopped, tmp_path / "store")
    with disk(tmp_path / "work", f"size={(pages + 1) * PAGE}") as work:
        kept(
            lambda: study.run(store, env={"TMPDIR": str(work)}, checkpoints={}),
            code=ExitCode.TRANSIENT,
            says=("disk full",),
            state=lambda: files(store),
        )
        assert not list(work.rglob("*")), "working files are left"
    study.ends_undisturbed(store)


def test_fault_40_the_logs_disk_is_full(study: Study, tmp_path: Path) -> None:
    """The disk of the log is full: 75, which is all that can be said, and the store is as it was."""
    store = copied(study.stopped, tmp_path / "store")
    before = files(store)
    with disk(tmp_path / "logs", "size=8k") as logs:
        (logs / "rest").write_bytes(b"x" * 2 * PAGE)
        ended = study.run(store, log={"path": str(logs / "log")})
        assert (ended.code, ended.out) == (ExitCode.TRANSIENT, "") and (logs / "log").read_bytes() == b""
    assert files(store) == before
    study.ends_undisturbed(store)


# --- rights

CONFINED = """
set -e
umask 077
mount --make-rprivate /
mount --bind "$1" "$1"
mount -o remount,bind,ro /
cd "$2"; shift 2
exec setpriv --reuid 8737 --regid 8737 --clear-groups --no-new-privs --inh-caps -all,+dac_read_search \\
  --ambient-caps -all,+dac_read_search env -i "$@"
"""  # with the right to read whatever this user may not, as Python itself may be


def confined(mine: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command as an unknown user without HOME, under umask 077, on a root that is read-only but for a folder."""
    told = [f"TMPDIR={mine / 'tmp'}", "PATH=/usr/bin:/bin", "OMP_NUM_THREADS=1", "HF_HUB_OFFLINE=1"]
    command = ["unshare", "--mount", "sh", "-c", CONFINED, "sh", str(mine), str(ROOT), *told, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """The folder of the unknown user."""
    folder = tmp_path / "mine"
    (folder / "tmp").mkdir(parents=True)
    os.chown(folder, 8737, 8737)
    os.chown(folder / "tmp", 8737, 8737)
    probe = confined(folder, "true") if shutil.which("unshare") and shutil.which("setpriv") else None
    if os.getuid() or probe is None or probe.returncode:
        pytest.skip(
            f"no root of one's own may be made here: {probe.stderr.strip() if probe else 'no unshare, setpriv'}"
        )
    assert "Read-only file system" in confined(folder, "touch", str(ROOT / "x")).stderr
    return folder


def owned(folder: Path) -> None:
    """Give all of a folder to the unknown user."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, 8737, 8737)


def test_fault_41_a_root_that_cannot_be_written_and_a_user_without_a_home(study: Study, mine: Path) -> None:
    """A fine-tune under a read-only root, as an unknown user without HOME, umask 077: it goes on and is sealed."""
    store = copied(study.stopped, mine / "store")
    owned(store)
    before = objects(store)
    made = confined(mine, *alone(mine / "said", "finetune", study.words(store)))
    assert made.returncode == 0, made.stderr + (mine / "said.err").read_text()
    assert made_of(study, store) == (study.outputs, study.losses)
    assert {key: data for key, data in before.items() if "/checkpoints/" not in key}.items() <= objects(store).items()
    assert not list((mine / "tmp").glob("undertone-*")), "working files are left"
    assert json.loads(clean(lambda: study.run(store)).out)["reused"] is True
