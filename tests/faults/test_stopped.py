"""Told to stop, at any time: what can be kept is kept, the exit code says to run again, and the end is the same."""

from pathlib import Path

import pytest

from common.errors import ExitCode
from tests.faults.finetunes import STEPS, Study, copied, objects
from tests.faults.promise import Ended, files, kept


def other_files(store: Path) -> dict[str, bytes]:
    """What is published: all but checkpoints."""
    return {name: data for name, data in files(store).items() if "/checkpoints/" not in name}


def test_fault_35_sigterm_at_every_step(study: Study, tmp_path: Path) -> None:
    """SIGTERM in each optimizer step in turn: 75 with a checkpoint at that step, and the end is that of one run."""
    store = copied(study.fresh, tmp_path / "store")
    for number in range(1, STEPS):
        line = ("stopped by SIGTERM; goes on from its checkpoint", f"step {number}")
        kept(
            lambda number=number: study.run(store, sigterm={"at": f"step={number}"}),  # type: ignore[misc]
            code=ExitCode.TRANSIENT,
            says=line,
            state=lambda: other_files(store),
        )
        assert study.kept(store) == list(range(1, number + 1))
    study.ends_undisturbed(store)


def test_fault_35_sigterm_in_the_last_step(study: Study, tmp_path: Path) -> None:
    """SIGTERM in the last optimizer step: all work is done, so the step is sealed, with 0."""
    store = copied(study.stopped, tmp_path / "store")
    before = other_files(store)
    ended = study.run(store, sigterm={"at": f"step={STEPS}"})
    assert ended.code == 0 and "error: " not in ended.err
    assert before.items() <= files(store).items()
    study.ends_undisturbed(store)


@pytest.mark.parametrize("second", ["file"])
def test_fault_37_a_second_sigterm(study: Study, tmp_path: Path, second: str) -> None:
    """A second SIGTERM while the checkpoint is kept: it is kept to its end, and 75."""
    store = copied(study.stopped, tmp_path / "store")
    kept(
        lambda: study.run(store, sigterm={"at": f"step=7 {second}"}),
        code=ExitCode.TRANSIENT,
        says=("stopped by SIGTERM; goes on from its checkpoint", "step 7"),
        state=lambda: other_files(store),
    )
    assert study.kept(store) == [6, 7]
    study.ends_undisturbed(store)


@pytest.mark.parametrize("place", ["fetch", "load"])
def test_fault_37_sigterm_while_files_are_fetched(study: Study, tmp_path: Path, place: str) -> None:
    """SIGTERM while the corpus or the model is fetched: 75 at once, and the checkpoint from before stays."""
    store = copied(study.stopped, tmp_path / "store")
    ended = kept(
        lambda: study.run(store, sigterm={"at": place}),
        code=ExitCode.TRANSIENT,
        says=("stopped by SIGTERM; nothing was sealed", "finetune/tiny.d0.eager.s0"),
        state=lambda: files(store),
    )
    assert '"progress"' not in ended.err, "a step was done all the same"
    study.ends_undisturbed(store)


def test_fault_37_sigterm_before_the_first_step(study: Study, tmp_path: Path) -> None:
    """SIGTERM while training is set up: 75 after the first optimizer step, which is kept."""
    store = copied(study.fresh, tmp_path / "store")
    kept(
        lambda: study.run(store, sigterm={"at": "train"}),
        code=ExitCode.TRANSIENT,
        says=("stopped by SIGTERM; goes on from its checkpoint", "step 1"),
        state=lambda: other_files(store),
    )
    assert study.kept(store) == [1]
    study.ends_undisturbed(store)


@pytest.mark.parametrize("place", ["start", "seal"])
def test_fault_37_sigterm_outside_of_the_work(study: Study, tmp_path: Path, place: str) -> None:
    """SIGTERM before a step begins, or while it is sealed: the process ends by it (143), and nothing is half sealed."""
    store = copied(study.stopped, tmp_path / "store")
    before = objects(store)
    ended: Ended = study.run(store, sigterm={"at": place})
    assert (ended.code, ended.out) == (-15, ""), "a shell and a cluster call it 143"
    assert "error: " not in ended.err and "Traceback" not in ended.err
    assert before.items() <= objects(store).items() and not study.is_sealed(store)
    study.ends_undisturbed(store)
