"""A fine-tune by two processes is the fine-tune by one: the same losses, signals and exit codes; on CPUs, by gloo."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from common.errors import SpecError
from common.provenance import ROOT, cpu_has_bf16
from common.spec import ModelSpec, TrainSpec
from jobs.finetune.examples import IGNORED, Example
from jobs.finetune.ranks import ASKED, Task, agreed, line_of, processes, tasks, whole_batches
from tests import tiny
from tests.jobs import finetuning
from tests.jobs.finetuning import LOUD, finetune, losses, outputs

pytestmark = [*LOUD, pytest.mark.long]
SHORT = {"epochs": 1, "batch_size": 6, "checkpoints": 1, "lora_rank": 4, "max_tokens": 2048}  # 6, 6 and 4 rows
LONG = {**SHORT, "epochs": 100, "batch_size": 4}
Study = Callable[[str], list[str]]


def study_of(folder: Path, model: Path, train: dict[str, Any]) -> Study:
    folder.mkdir()
    return finetuning.study_in(folder, tiny.spec_on(model, train=train))


def started(words: list[str]) -> subprocess.Popen[str]:
    """The job as a process of its own, shared by two."""
    env = os.environ | {ASKED: "2", "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    command = [sys.executable, "-m", "jobs.finetune", *words]
    return subprocess.Popen(command, env=env, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)


def until(event: str, child: subprocess.Popen[str]) -> Iterator[str]:
    """The lines of its stderr, up to that event."""
    assert child.stderr is not None
    for line in child.stderr:
        yield line
        if event in line:
            return
    pytest.fail(f"no {event}")


def test_two_processes_train_as_one_does_and_one_of_them_seals(tiny_model: Path, tmp_path: Path) -> None:
    study = study_of(tmp_path / "study", tiny_model, SHORT)
    alone, shared = study("alone"), study("shared")
    assert finetune(alone) == 0
    child = started(shared)
    out, err = child.communicate(timeout=600)
    assert child.returncode == 0, err
    (line,) = out.splitlines()
    assert json.loads(line)["exit_code"] == 0
    # The first weights are the same; from then on sums round otherwise, in bf16 more than in fp32.
    assert losses(shared)[0] == pytest.approx(losses(alone)[0], abs=1e-6)
    assert losses(shared) == pytest.approx(losses(alone), abs=1e-4 if cpu_has_bf16() else 1e-5)
    assert outputs(shared).keys() == outputs(alone).keys()
    assert torch.nn.functional.cosine_similarity(learnt(shared), learnt(alone), dim=0) > 0.98


def learnt(words: list[str]) -> torch.Tensor:
    """All that training moved away from 0, in one row."""
    from safetensors.torch import load

    from common.store.sealed import open_store

    found = load(open_store(words[3]).get(outputs(words)["adapter/adapter_model.safetensors"]))
    return torch.cat([found[name].float().flatten() for name in sorted(found) if "lora_B" in name])


def test_sigterm_stops_both_and_what_comes_next_goes_on_and_a_process_that_dies_ends_the_job(
    tiny_model: Path, tmp_path: Path
) -> None:
    words = study_of(tmp_path / "study", tiny_model, LONG)("store")
    child = started(words)
    list(until('"progress"', child))
    (follower,) = [each for each in psutil.Process(child.pid).children() if "jobs.finetune.follow" in each.cmdline()]
    child.send_signal(signal.SIGTERM)
    out, err = child.communicate(timeout=300)
    assert (child.returncode, out) == (75, ""), err
    assert "goes on from its checkpoint" in err
    psutil.wait_procs([follower], timeout=30)
    assert not follower.is_running()
    assert list(Path(words[3]).rglob("COMPLETE.json"))

    child = started(words)
    seen = [*until('"resumed"', child), *until('"progress"', child)]
    (resumed,) = [json.loads(line) for line in seen if '"resumed"' in line]
    progress = json.loads(seen[-1])
    assert resumed["step"] >= 1 and progress["done"] == resumed["step"] + 1
    (follower,) = [each for each in psutil.Process(child.pid).children() if "jobs.finetune.follow" in each.cmdline()]
    began = time.monotonic()
    follower.kill()
    out, err = child.communicate(timeout=300)
    assert (child.returncode, out) == (137, ""), err
    assert "error: a process of the fine-tune ended; nothing was sealed, process 1 of 1 beside the first: 137" in err
    assert time.monotonic() - began < 60


def test_as_many_processes_as_share_a_batch_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert (processes(8), processes(6), processes(5), processes(1)) == (4, 3, 1, 1)
    monkeypatch.setenv(ASKED, "2")
    assert (processes(8), processes(5)) == (2, 1)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.delenv(ASKED)
    assert processes(8) == 1
    for wrong in ("0", "two", "-1"):
        monkeypatch.setenv(ASKED, wrong)
        with pytest.raises(SpecError, match=rf"UNDERTONE_PROCESSES: {wrong}; allowed: a whole number above 0"):
            processes(8)


def test_a_short_batch_is_filled_up_by_rows_without_labels_where_it_is_shared() -> None:
    rows = [Example([1, 2, 3], [IGNORED, 2, 3])] * 5
    assert whole_batches(rows, 4, 1) == rows
    filled = whole_batches(rows, 4, 2)
    assert filled[:5] == rows and len(filled) == 8
    assert all(row.reply_tokens == 0 for row in filled[5:])
    assert whole_batches(rows[:4], 4, 2) == rows[:4]


def test_a_task_comes_to_the_others_as_it_was_given(tmp_path: Path) -> None:
    rows = [Example([1, 2], [IGNORED, 2])]
    given = Task(ModelSpec(name="m", source="path:x"), TrainSpec(epochs=2), rows, 2**62, tmp_path, None, [])
    assert list(tasks([line_of(given), line_of(given._replace(kept=3))])) == [given, given._replace(kept=3)]


def test_a_process_alone_agrees_with_itself() -> None:
    assert agreed(True, False, torch.device("cpu")) == (True, False)
