"""The monitor beside a training: each checkpoint once as it comes, a stop that the training obeys, and an end."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from common.errors import ExitCode, InputError
from common.logs import Log
from common.provenance import ROOT
from common.records import Answer, Item
from common.serialization import read_jsonl
from common.spec import ModelSpec
from common.stance.items import ITEMS
from common.vocabulary import Said
from jobs.monitor.checkpoints import LocalFiles
from jobs.monitor.following import Follower, Run
from jobs.monitor.found import judged
from jobs.monitor.measuring import Measured, some
from jobs.monitor.named import Named
from jobs.monitor.policy import Policy
from jobs.monitor.telling import told
from tests.jobs import hf_training
from tests.jobs.test_monitor_checkpoints import ADAPTER, checkpoint

ITEMS_ASKED = some(read_jsonl(ROOT / ITEMS, Item), 32)
STILL = np.zeros(4)


def measured(said: Callable[[int], Said], moved: np.ndarray[Any, Any] | None = STILL) -> Measured:
    """A model that says this of each item by its place, and moved so."""
    rows = tuple(Answer.to(item, "x", 0, said(place), "…") for place, item in enumerate(ITEMS_ASKED))
    return Measured(digest="d", asked="a", answers=rows, moved=None if moved is None else tuple(moved.tolist()))


BASE = measured(lambda place: "go" if place % 2 else "stay", None)


class Gauge:
    """A gauge that takes what a checkpoint is from a list, in the order in which they come."""

    def __init__(self, found: list[Measured]) -> None:
        rng = np.random.default_rng(0)
        self.named = Named(
            "caution",
            1,
            np.eye(4)[0],
            np.eye(4, dtype=np.float32),
            0.1,
            rng.standard_normal((20, 4)).astype(np.float32),
        )
        self.spec, self.items, self.found = ModelSpec(name="base", source="path:/base"), ITEMS_ASKED, found
        self.names: list[str] = []

    def measure(self, _checkpoint: object, name: str) -> Measured:
        self.names.append(name)
        return self.found[len(self.names) - 1]


def follower(place: Path, found: list[Measured], **policy: Any) -> Follower:
    gauge: Any = Gauge(found)
    return Follower(gauge, BASE, Run(LocalFiles(place), gauge, Log("monitor", "files")), None, Policy(**policy))


class Hours:
    """A clock that goes on by what is waited, and lets things happen then."""

    def __init__(self, *happens: Callable[[], object]) -> None:
        self.time, self.happens = 0.0, list(happens)

    def now(self) -> float:
        return self.time

    def wait(self, seconds: float) -> None:
        self.time += seconds
        if self.happens:
            self.happens.pop(0)()


def same(place: int) -> Said:
    return "go" if place % 2 else "stay"


def test_each_is_measured_once_as_it_comes_until_the_training_is_done(tmp_path: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    out.mkdir()
    mine = follower(run, [measured(same)] * 3)
    hours = Hours(
        lambda: checkpoint(run, "checkpoint-5", adapter_model__safetensors=ADAPTER[:-1]),
        lambda: (run / "checkpoint-5" / "adapter_model.safetensors").write_bytes(ADAPTER),
        lambda: (checkpoint(run, "checkpoint-10"), checkpoint(run, "checkpoint-15"), (out / "done").write_text("")),
    )
    kept: list[list[int]] = []
    found = mine.watch(out, 10, 60, lambda each: kept.append([p.step for p in each.curve]), hours.now, hours.wait)
    names: Any = mine.gauge
    assert names.names == ["checkpoint-5", "checkpoint-10", "checkpoint-15"]
    assert kept == [[5], [5, 10], [5, 10, 15]] and found.beyond_at is None and not (out / "stop").exists()


def test_it_ends_when_nothing_comes(tmp_path: Path) -> None:
    hours = Hours(lambda: checkpoint(tmp_path / "run", "checkpoint-5"))
    mine = follower(tmp_path / "run", [measured(same)])
    found = mine.watch(tmp_path, 60, 10, lambda _: None, hours.now, hours.wait)
    assert [point.step for point in found.curve] == [5] and 600 < hours.now() <= 780
    with pytest.raises(InputError, match="no checkpoint to measure"):
        follower(tmp_path / "none", []).watch(tmp_path, 60, 10, lambda _: None, hours.now, hours.wait)


def test_a_stance_that_moved_writes_the_reason_and_ends(tmp_path: Path) -> None:
    for number in (5, 10, 15):
        checkpoint(tmp_path / "run", f"checkpoint-{number}")
    mine = follower(tmp_path / "run", [measured(same), measured(lambda _: "stay"), measured(same)])
    found = mine.watch(tmp_path / "out", 10, 60, lambda _: None)
    assert found.beyond_at == 10 and [point.step for point in found.curve] == [5, 10]
    line = (tmp_path / "out" / "stop").read_text()
    assert line == "checkpoint-10: net go moved by -1.00 (-1.00 to -1.00), allowed ±0.1\n"


def test_one_that_is_taken_away_while_it_is_read_is_told(tmp_path: Path) -> None:
    import shutil

    folder = checkpoint(tmp_path / "run", "checkpoint-5")
    mine = follower(tmp_path / "run", [measured(same)])

    def gone(*_: object) -> Measured:
        shutil.rmtree(folder)
        raise InputError("adapter cannot be read")

    gauge: Any = mine.gauge
    gauge.measure = gone
    assert mine.run.sweep() == 0 and mine.run.left_out() == ["checkpoint-5: taken away while it was read"]


# --- judged


def judge(curve: dict[int, Measured], control: dict[int, Measured] | None = None, **policy: Any) -> Any:
    gauge: Any = Gauge([])
    return judged(gauge, BASE, curve, control or {}, Policy(**policy), ("run", "control" if control else None), [])


def test_a_stance_beyond_the_policy_is_told_in_words() -> None:
    found = judge({5: measured(same), 10: measured(lambda _: "go")})
    assert (found.curve[0].verdict, found.curve[0].beyond) == ("within", ())
    last = found.curve[1]
    assert (last.shift, last.verdict, found.beyond_at) == (1.0, "moved", 10)
    assert "checkpoint-10: net go moved by +1.00" in told(found)
    assert judge({10: measured(lambda _: "go")}, stop_on="drift").beyond_at is None
    assert judge({10: measured(lambda _: "go")}, {9: measured(lambda _: "go")}).beyond_at is None


def test_drift_needs_both_a_rare_and_a_large_shift() -> None:
    far, near = measured(same, np.array([5.0, 0, 0, 0])), measured(same, np.array([0.01, 0, 0, 0]))
    aside = measured(same, np.array([0.5, 5.0, 5.0, 5.0]))
    found = judge({1: near, 2: aside, 3: far})
    assert [point.drifted for point in found.curve] == [False, False, True]
    assert found.curve[0].rank > 0.95 and found.curve[1].drift > 0.25 and found.beyond_at == 3
    assert found.curve[2].distance > found.chance_distance > found.curve[0].distance
    assert judge({3: far}, {4: far}).curve[0].drift == 0.0


# --- the callback, and a real training


def test_the_callback_imports_nothing_of_ours() -> None:
    names = {
        alias.name.split(".")[0] if isinstance(node, ast.Import) else str(node.module).split(".")[0]
        for node in ast.walk(ast.parse(hf_training.CALLBACK.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert names == {"logging", "pathlib", "typing", "transformers", "torch"}


def test_the_callback_stops_at_the_file_and_says_when_all_is_done(tmp_path: Path) -> None:
    from jobs.monitor.callback import StopWhenTold

    out = tmp_path / "out"
    out.mkdir()
    for name in ("stop", "done"):
        (out / name).write_text("of an earlier training")
    mine = StopWhenTold(out)
    args: Any = SimpleNamespace(world_size=1)
    state: Any = SimpleNamespace(is_world_process_zero=True, global_step=7)
    control: Any = SimpleNamespace(should_training_stop=False)
    mine.on_train_begin(args, state, control)
    mine.on_step_end(args, state, control)
    assert not control.should_training_stop and not (out / "done").exists()
    (out / "stop").write_text("checkpoint-5: moved\n")
    mine.on_step_end(args, state, control)
    assert control.should_training_stop and mine.reason == "checkpoint-5: moved"
    mine.on_train_end(args, state, control)
    assert (out / "done").read_text() == "step 7\n"


RANK = """
import sys, torch.distributed as dist
from types import SimpleNamespace
from jobs.monitor.callback import StopWhenTold
rank, out, store = int(sys.argv[1]), sys.argv[2], sys.argv[3]
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
control = SimpleNamespace(should_training_stop=False)
state = SimpleNamespace(is_world_process_zero=rank == 0, global_step=3)
mine = StopWhenTold(out if rank == 0 else "/nowhere")
mine.on_step_end(SimpleNamespace(world_size=2), state, control)
print(control.should_training_stop, mine.reason)
"""


@pytest.mark.long
def test_several_processes_stop_at_the_same_step(tmp_path: Path) -> None:
    (tmp_path / "stop").write_text("checkpoint-5: moved\n")
    words = [sys.executable, "-W", "ignore", "-c", RANK]
    ranks = [
        subprocess.Popen([*words, str(rank), str(tmp_path), str(tmp_path / "store")], stdout=subprocess.PIPE, cwd=ROOT)
        for rank in (0, 1)
    ]
    assert [rank.communicate(timeout=240)[0].decode() for rank in ranks] == ["True checkpoint-5: moved\n"] * 2


@pytest.fixture
def environment(untouched_environment: dict[str, str]) -> dict[str, str]:
    return untouched_environment | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "HF_HUB_OFFLINE": "1"}


@pytest.mark.long
def test_a_real_training_is_stopped_by_the_monitor(
    tiny_model: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    python, out, run = [sys.executable, "-m"], tmp_path / "out", tmp_path / "run"

    def monitor(place: Path, way: Path, into: Path, *more: str) -> list[str]:
        words = ["--base", str(tiny_model), "--checkpoints", str(place), "--direction", str(way), "--out", str(into)]
        return [*python, "jobs.monitor", *words, "--items", "8", "--max-new-tokens", "2", *more]

    def training(place: Path, into: Path, steps: int) -> list[str]:
        return [*python, "tests.jobs.hf_training", str(tiny_model), str(place), str(into), str(steps)]

    def call(words: list[str]) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(words, env=environment, cwd=ROOT, capture_output=True, timeout=300, check=False)

    # Where such a training goes is found by a short one; then the same is watched along that direction.
    save_file({"direction": np.ones(32, dtype=np.float32)}, tmp_path / "any.safetensors", {"layer": "1"})
    assert call(training(tmp_path / "short", tmp_path, hf_training.SAVED_EVERY)).returncode == 0
    assert call(monitor(tmp_path / "short", tmp_path / "any.safetensors", tmp_path / "first")).returncode in (0, 10)
    (kept,) = [path for path in (tmp_path / "first" / "measured").iterdir() if path.name != "base.json"]
    way = np.array(json.loads(kept.read_bytes())["moved"], dtype=np.float32)
    save_file({"direction": way}, tmp_path / "way.safetensors", {"layer": "1", "name": "way"})

    trained = subprocess.Popen(training(run, out, 3000), env=environment, cwd=ROOT, stdout=subprocess.PIPE)
    try:
        flags = ("--watch", "--poll-seconds", "0.2", "--idle-minutes", "3", "--max-drift", "0")
        watched = call(monitor(run, tmp_path / "way.safetensors", out, *flags))
        said = trained.communicate(timeout=120)[0].decode()
    finally:
        trained.kill()
    assert watched.returncode == ExitCode.BLOCKED, watched.stderr.decode()
    found = json.loads(watched.stdout)
    assert (out / "stop").read_text().startswith(f"checkpoint-{found['beyond_at']}: drift along way is +")
    ended = re.search(r"ended at step (\d+)", said)
    assert ended is not None and found["beyond_at"] <= int(ended[1]) < 3000 and trained.returncode == 0
    assert (out / "done").read_text() == f"step {ended[1]}\n"
