"""Work done twice, another clock, locale or number of threads, and a run that fails for good."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from common.cells import STUDY
from common.errors import ExitCode
from common.pipeline.keys import Keys
from common.provenance import ROOT
from common.store.sealed import open_store
from jobs import catalog
from tests.faults.finetunes import Study, copied, events, made_of, objects
from tests.faults.forks import Asked, alone
from tests.faults.promise import Ended, clean, files, kept, without_notes
from tests.jobs import sealed_study
from tests.jobs.finetuning import CELL

pytestmark = pytest.mark.long

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
