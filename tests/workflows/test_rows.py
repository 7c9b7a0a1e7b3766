"""Rows that are kept as files put a study back into an empty store: its report is the same, nothing is done twice."""

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.cells import STUDY, Cell, cell_named
from common.errors import ExitCode, InputError
from common.pipeline.keys import Keys
from common.spec import RunSpec
from common.store.packed import packed, unpacked
from common.store.sealed import ArtifactStore, open_store
from jobs import catalog
from jobs.report import JOB
from tests.jobs import sealed_study
from tests.jobs.sealed_study import run, study_in
from workflows import rows
from workflows.local.forecast import forecast

Writer = Callable[[Cell, np.random.Generator], dict[str, Any]]
RUN = "toy.d0.eager.s0"
LARGE = {  # job → outputs that are not kept; some of them end as rows do
    "finetune": ("adapter/weights.json", "trajectory/step-1/weights.json"),
    "interpret": ("direction.npz",),
}


@pytest.fixture(autouse=True)
def _with_adapters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fine-tunes and directions put out what is not kept, too."""
    for job, names in LARGE.items():
        monkeypatch.setitem(sealed_study.WRITERS, job, larger(sealed_study.WRITERS[job], names))


def larger(made: Writer, names: Iterable[str]) -> Writer:
    return lambda cell, rng: made(cell, rng) | {name: {"of": str(cell)} for name in names}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def sealed(spec: RunSpec, store: ArtifactStore, job: str, cell: str) -> dict[str, Any] | None:
    return store.manifest(job, Keys(spec, catalog(), store).key(job, cell_named(spec, cell)))


def kept_in(place: Path, without: Iterable[str] = (), **changes: Any) -> tuple[RunSpec, Path]:
    """A study whose rows are kept in `place`/rows."""
    spec, folder = study_in(place, without, **changes)
    rows.save(spec, catalog(), open_store(str(folder)), place / "rows")
    return spec, folder


def test_what_is_kept_puts_the_study_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed_study.no_drawings(monkeypatch)
    spec, folder = kept_in(tmp_path)
    there = files(tmp_path / "rows")
    assert f"finetune/{RUN}/loss.jsonl.gz" in there and f"evaluate/{RUN}/answers.jsonl.gz" in there
    assert not [name for name in there if "adapter" in name or ".npz" in name]
    elsewhere = tmp_path / "elsewhere"
    told = rows.restore(spec, catalog(), open_store(str(elsewhere)), tmp_path / "rows")
    assert "again" not in told and "left out" not in told
    one, other = (
        forecast(spec, catalog(), open_store(str(folder))),
        forecast(spec, catalog(), open_store(str(elsewhere))),
    )
    assert other.to_do == one.to_do and {job for job, count in other.to_do.items() if count} >= {"report"}
    (_, first), (_, second) = run(spec, folder), run(spec, elsewhere)
    assert json.loads(first["results.json"])["numbers"] == json.loads(second["results.json"])["numbers"]
    with pytest.raises(InputError, match="missing from the store"):  # the adapter itself is not there
        manifest = sealed(spec, open_store(str(elsewhere)), "finetune", RUN)
        assert manifest is not None
        open_store(str(elsewhere)).get(manifest["outputs"][LARGE["finetune"][0]]["digest"])


def test_a_second_save_adds_what_is_new_and_the_bytes_are_the_same(tmp_path: Path) -> None:
    late = [f"{job}/{RUN}" for job in ("evaluate", "gate", "interpret", "monitor")]
    spec, folder = kept_in(tmp_path, without=late)
    before = files(tmp_path / "rows")
    store = open_store(str(folder))
    for name in late:
        job, _, cell = name.partition("/")
        sealed_study.seal(store, Keys(spec, catalog(), store), job, cell_named(spec, cell))
    assert ": 4 steps added, " in rows.save(spec, catalog(), store, tmp_path / "rows")
    after = files(tmp_path / "rows")
    assert before.items() < after.items()
    assert {"/".join(name.split("/")[:2]) for name in after.keys() - before.keys()} == set(late)
    assert ": 0 steps added, " in rows.save(spec, catalog(), store, tmp_path / "rows")
    rows.save(spec, catalog(), store, tmp_path / "at once")
    assert files(tmp_path / "at once") == files(tmp_path / "rows") == after


@pytest.mark.parametrize(
    ("absent", "again"),
    [
        (f"evaluate/{RUN}", {f"finetune/{RUN}"}),
        (f"interpret/{RUN}", {f"finetune/{RUN}", "interpret/toy.d0"}),
        (f"gate/{RUN}", set()),
        ("steer/toy.d0", {"interpret/toy.d0"}),
    ],
)
def test_what_reads_no_adapter_needs_no_training(tmp_path: Path, absent: str, again: set[str]) -> None:
    """A fine-tune is to do where a step that reads its adapter is; no other one is, and rows that are there stay."""
    spec, _ = kept_in(tmp_path, without=[absent])
    store = open_store(str(tmp_path / "elsewhere"))
    told = rows.restore(spec, catalog(), store, tmp_path / "rows")
    to_do = {
        f"{job}/{cell}" for job, cell in rows.steps(spec, catalog()) if sealed(spec, store, job, str(cell)) is None
    }
    known = {f"{read.job}/{cell}" for read in JOB.reads for cell in read.cells(spec, STUDY)}
    assert to_do & known == {absent, *again}
    assert all(name in told for name in again) and ("to be made again" in told) == bool(again)


def test_a_report_needs_no_adapters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fine-tunes are lost and nothing was asked inside: the report still says how training went."""
    sealed_study.no_drawings(monkeypatch)
    absent = [f"interpret/{RUN}", "interpret/toy.d0", f"monitor/{RUN}", "selftest/toy.d0", "steer/toy.d0"]
    spec, _ = kept_in(tmp_path, without=absent)
    (tmp_path / "elsewhere").mkdir()
    told = rows.restore(spec, catalog(), open_store(str(tmp_path / "elsewhere")), tmp_path / "rows", for_report=True)
    assert "again" not in told
    code, made = run(spec, tmp_path / "elsewhere")
    assert code == ExitCode.BLOCKED
    text = made["REPORT.md"].decode()
    assert "finetune/" not in text.partition("**Does training")[0] and "Not measured: its steps are not sealed." in text


def test_rows_kept_beside_a_report_leave_its_spec_alone(tmp_path: Path) -> None:
    spec, folder = kept_in(tmp_path)
    whole = json.dumps(spec.model_dump(mode="json")).encode()  # every setting, as a report keeps it
    (tmp_path / "rows" / rows.SPEC).write_bytes(whole)
    rows.save(spec, catalog(), open_store(str(folder)), tmp_path / "rows")
    assert (tmp_path / "rows" / rows.SPEC).read_bytes() == whole


def test_what_was_made_again_is_told_and_the_first_rows_stay(tmp_path: Path) -> None:
    spec, _ = kept_in(tmp_path)
    before = files(tmp_path / "rows")
    store = open_store(str(tmp_path / "other"))
    key = Keys(spec, catalog(), store).key("finetune", cell_named(spec, RUN))
    store.seal("finetune", key, {"key": key, "outputs": {"loss.jsonl": {"digest": store.put(b"other")}}})
    assert f"those kept first stay: finetune/{RUN}" in rows.save(spec, catalog(), store, tmp_path / "rows")
    assert files(tmp_path / "rows") == before
    told = rows.restore(spec, catalog(), store, tmp_path / "rows")
    assert f"made again in this store before, which stays: finetune/{RUN}" in told
    assert (made := sealed(spec, store, "finetune", RUN)) is not None and list(made["outputs"]) == ["loss.jsonl"]


def test_a_store_with_other_answers_is_refused(tmp_path: Path) -> None:
    spec, _ = kept_in(tmp_path)
    store = open_store(str(tmp_path / "other"))
    key = Keys(spec, catalog(), store).key("evaluate", cell_named(spec, RUN))
    store.seal("evaluate", key, {"key": key, "outputs": {"answers.jsonl": {"digest": store.put(b"other")}}})
    with pytest.raises(InputError, match=f"the store holds other rows, evaluate/{RUN}"):
        rows.restore(spec, catalog(), store, tmp_path / "rows")


def test_rows_of_another_spec_or_plan_are_told_apart(tmp_path: Path) -> None:
    spec, folder = kept_in(tmp_path)
    more = spec.model_copy(update={"seeds": (0, 1, 2)})
    with pytest.raises(
        InputError, match=f"rows of another spec are kept here, .*: {spec.run_id}; allowed: {more.run_id}"
    ):
        rows.save(more, catalog(), open_store(str(folder)), tmp_path / "rows")
    told = rows.restore(more, catalog(), open_store(str(tmp_path / "elsewhere")), tmp_path / "rows")
    assert "of another spec or another version: " in told and f"evaluate/{RUN}" in told, "scored under another plan"


@pytest.mark.parametrize("name", ["answers.jsonl.gz", "manifest.json.gz"])
def test_altered_rows_are_refused(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    kept_in(tmp_path)
    path = tmp_path / "rows" / "evaluate" / RUN / name
    text = unpacked(path)
    was, now = (
        (b'"said":"go"', b'"said":"stay"') if name.startswith("answers") else (b'"seconds":2.5', b'"seconds":9.5')
    )
    assert was in text
    path.write_bytes(packed(text.replace(was, now, 1)))
    words = ["restore", "--store", str(tmp_path / "elsewhere"), str(tmp_path / "rows")]
    assert rows.main(words) == ExitCode.INPUT
    told = capsys.readouterr().err
    assert "altered" in told and told.count("\n") == 1
    path.unlink()
    if name.startswith("answers"):
        assert rows.main(words) == ExitCode.INPUT and "is gone" in capsys.readouterr().err


def test_the_command_saves_and_restores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec, folder = study_in(tmp_path)
    (tmp_path / "spec.json").write_text(spec.model_dump_json(exclude_unset=True))
    out = str(tmp_path / "rows")
    assert rows.main(["save", "--spec", str(tmp_path / "spec.json"), "--store", str(folder), "--out", out]) == 0
    assert "steps added, 0 were there" in capsys.readouterr().out
    moved = shutil.copytree(out, tmp_path / "on another machine")
    assert rows.main(["restore", "--store", str(tmp_path / "elsewhere"), str(moved)]) == 0
    assert "steps put back" in capsys.readouterr().out
    assert sealed(spec, open_store(str(tmp_path / "elsewhere")), "lock", "study") is not None
    assert rows.main(["restore", "--store", str(tmp_path / "x"), str(tmp_path / "none")]) == ExitCode.INPUT
    assert "no such spec" in capsys.readouterr().err
