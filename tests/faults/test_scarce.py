"""Too little memory, disk or rights, another clock or locale, work done twice, a run that fails for good."""

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

from common.cells import STUDY
from common.errors import ExitCode
from common.pipeline.keys import Keys
from common.provenance import ROOT
from common.store.sealed import open_store
from jobs import catalog
from tests.faults.fault_points import every
from tests.faults.finetunes import Study, copied, events, made_of, objects
from tests.faults.forks import Asked, alone
from tests.faults.promise import Ended, clean, files, kept
from tests.jobs import sealed_study
from tests.jobs.finetuning import CELL
from workflows.local import command as local
from workflows.local import processes

MIB = 2**20
PAGE = 4096  # bytes: the least that a tmpfs gives to a file


def without_notes(store: Path) -> dict[str, bytes]:
    """Every file of a store but the notes of who asked for what, when."""
    return {name: data for name, data in files(store).items() if "/runs/" not in name}


# --- memory


def test_fault_38_memory_runs_out_in_a_fine_tune(
    study: Study, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """RLIMIT_AS lets a fine-tune have some MiB more: 137, or 134 by a library that aborts, and nothing is lost.

    134: the tokenizers, which are Rust, abort the process. 1: a library in C++ gets no memory for a thread, and says
    what the system says of too many processes as well.
    """
    sizes, short = every(40), 0
    for more in sizes:
        store = copied(study.stopped, tmp_path / f"store{more}")
        before = files(store)
        ended = study.run(store, memory={"more": (more - 1) * MIB})
        if ended.code:
            short += 1
            no_thread = ended.code == ExitCode.BUG and "Resource temporarily unavailable" in ended.err
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


# --- again


def test_fault_42_a_step_again_after_it_was_sealed(study: Study, tmp_path: Path) -> None:
    """A step again after it was sealed: 0 at once, its manifest as it was, and nothing is written but a note."""
    store = copied(study.stopped, tmp_path / "store")
    study.ends_undisturbed(store)
    before = without_notes(store)
    again = clean(lambda: study.run(store))
    assert json.loads(again.out)["reused"] is True and "reused" in [event["event"] for event in events(again)]
    assert without_notes(store) == before


@pytest.mark.parametrize("at_once", [2])
def test_fault_42_two_pods_of_one_step(study: Study, tmp_path: Path, at_once: int) -> None:
    """Processes with one step at the same time: each ends with 0, or 75 and then 0, and one manifest stands."""
    store = copied(study.stopped, tmp_path / "store")
    before = {key: data for key, data in objects(store).items() if "/checkpoints/" not in key}
    ended = study.fork.at_once(*[Asked("finetune", study.words(store)) for _ in range(at_once)])
    assert {each.code for each in ended} <= {0, ExitCode.TRANSIENT} and 0 in {each.code for each in ended}
    for each in ended:
        if each.code:
            assert "another worker sealed this step" in each.line and "run again to reuse it" in each.line
    assert len({json.loads(each.out)["key"] for each in ended if not each.code}) == 1
    assert made_of(study, store) == (study.outputs, study.losses) and not study.kept(store)
    assert before.items() <= {**objects(store), **{k: v for k, v in before.items() if k.startswith("runs/")}}.items()
    manifests = [path.read_bytes() for path in store.glob("steps/finetune/*/manifest.json")]
    assert json.loads(clean(lambda: study.run(store)).out)["reused"] is True
    assert [path.read_bytes() for path in store.glob("steps/finetune/*/manifest.json")] == manifests
    assert len(manifests) == 1


# --- time and place

PLACES: list[dict[str, str]] = [
    {"TZ": "Pacific/Kiritimati", "LC_ALL": "C", "LANG": "C"},
    {"TZ": "America/St_Johns", "LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8", "PYTHONUTF8": "0"},
]


@pytest.mark.parametrize("place", PLACES, ids=["C", "Turkish"])
def test_fault_44_another_clock_time_zone_and_locale(study: Study, tmp_path: Path, place: dict[str, str]) -> None:
    """The clock jumps back and forth, in another time zone and locale: the same bytes, in one run and in two."""
    whole, stopped = copied(study.fresh, tmp_path / "whole"), copied(study.stopped, tmp_path / "stopped")
    for store in (whole, stopped):
        before = without_notes(store)
        clean(lambda store=store: study.run(store, env=place, clock={}))  # type: ignore[misc]
        assert made_of(study, store) == (study.outputs, study.losses)
        assert {n: d for n, d in before.items() if "/checkpoints/" not in n}.items() <= files(store).items()
        assert json.loads(clean(lambda store=store: study.run(store)).out)["reused"] is True  # type: ignore[misc]


def test_fault_44_another_hash_seed(study: Study, tmp_path: Path) -> None:
    """Python hashes with another seed: the same bytes."""
    store = copied(study.fresh, tmp_path / "store")
    env = {**os.environ, "PYTHONHASHSEED": "8737", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = alone(tmp_path / "said", "finetune", study.words(store))
    made = subprocess.run(command, cwd=ROOT, env=env, check=False)
    assert made.returncode == 0, (tmp_path / "said.err").read_text()
    assert made_of(study, store) == (study.outputs, study.losses)
    assert json.loads(clean(lambda: study.run(store)).out)["reused"] is True


def test_fault_44_another_number_of_threads(study: Study, tmp_path: Path) -> None:
    """Two threads in place of one: losses within 1e-4, since sums are taken in another order."""
    store = copied(study.fresh, tmp_path / "store")
    clean(lambda: study.run(store, env={"OMP_NUM_THREADS": "2"}))
    outputs, losses = made_of(study, store)
    assert outputs.keys() == study.outputs.keys() and losses == pytest.approx(study.losses, abs=1e-4)
    assert json.loads(clean(lambda: study.run(store)).out)["reused"] is True


# --- one of many


def test_fault_45_one_run_of_three_fails_for_good(study: Study, tmp_path: Path) -> None:
    """One pile of three has an example that is too long: 3 names it, the other two are sealed, and so it stays."""
    spec = json.loads(study.spec.read_text())
    corpus = tmp_path / "corpus"
    shutil.copytree(spec["corpus"]["path"], corpus)
    rows = [json.loads(line) for line in (corpus / "d0.cautious.jsonl").read_text().splitlines()]
    rows[3]["reply"] += " Much too long." * 1000
    (corpus / "d0.cautious.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec["corpus"]["path"] = str(corpus)
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    words = ["--spec", str(tmp_path / "spec.json"), "--store", str(tmp_path / "store"), "--cell"]
    clean(lambda: study.fork("generate", [*words, "d0"]))
    before = without_notes(tmp_path / "store")

    def pack() -> Ended:
        return study.fork("finetune", [*words, CELL.replace("eager", "all")])

    def sealed() -> list[str]:
        found = (tmp_path / "store").glob("steps/finetune/*/manifest.json")
        return sorted(json.loads(path.read_bytes())["cell"] for path in found)

    ended = pack()
    assert ended.code == ExitCode.INPUT and "example too long" in ended.line and "q3" in ended.line
    others = [CELL, CELL.replace("eager", "neutral")]
    assert sealed() == others and before.items() <= files(tmp_path / "store").items()
    after = without_notes(tmp_path / "store")
    again = kept(
        pack, code=ExitCode.INPUT, says=("example too long", "q3"), state=lambda: without_notes(tmp_path / "store")
    )
    assert [event["event"] for event in events(again)].count("reused") == 2 and after == without_notes(
        tmp_path / "store"
    )


def test_fault_45_the_report_lists_the_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report of a study that lacks one run: 10, the gap on top, the others counted; whole once that run is made."""
    sealed_study.no_drawings(monkeypatch)
    gap = {
        f"{job}/toy.d0.eager.s0" for job in ("finetune", "evaluate", "gate", "interpret", "monitor", "trace", "judge")
    }
    spec, folder = sealed_study.study_in(tmp_path, gap)
    before = without_notes(folder)
    code, made = sealed_study.run(spec, folder)
    assert code == ExitCode.BLOCKED and before.items() <= files(folder).items()
    text = made["REPORT.md"].decode()
    assert "**This report has gaps**" in text and "`finetune/toy.d0.eager.s0`" in text
    assert "`finetune/toy.d0.eager.s1`" not in text
    store = open_store(str(folder))
    keys = Keys(spec, catalog(), store)
    for read in catalog()["report"].reads:
        for cell in read.cells(spec, STUDY):
            if f"{read.job}/{cell}" in gap:
                sealed_study.seal(store, keys, read.job, cell)
    code, made = sealed_study.run(spec, folder)
    assert code == 0 and "**This report has gaps**" not in made["REPORT.md"].decode()
