"""A published report is made again from the rows beside it, and a difference anywhere is one line and exit 3."""

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.report.page import packed as in_a_page
from common.cells import STUDY
from common.digests import sha256
from common.errors import ExitCode
from common.pipeline.keys import Keys
from common.records import Deviation
from common.serialization import to_jsonl
from common.store.names import write_below
from common.store.sealed import open_store
from jobs import catalog
from tests.jobs.sealed_study import run, study_in
from workflows import report
from workflows.locks.findings import Findings
from workflows.locks.made import Results


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the report of a small study, made with two deviations written down, and the locks beside it."""
    place = tmp_path_factory.mktemp("published")
    spec, folder = study_in(place)
    store = open_store(str(folder))
    keys = Keys(spec, catalog(), store)
    locked = store.manifest("lock", keys.key("lock", STUDY))
    assert locked is not None
    lock = head = locked["outputs"]["lock.json"]["digest"]
    kept = place / "locks" / f"{spec.name}.deviations.jsonl"
    kept.parent.mkdir()
    for what in ("one thing", "another"):
        row = Deviation(when="2026-01-01T00:00:00+00:00", what=what, why="x", lock=lock, before=head)
        with kept.open("ab") as file:
            file.write(to_jsonl([row]))
        head = sha256(kept.read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jobs.report.ROOT", place)
        patch.setattr("jobs.report.report.commit_and_dirty", lambda: ("c" * 40, True))
        code, made = run(spec, folder)
        manifest = store.manifest("report", Keys(spec, catalog(), store).key("report", STUDY))
    assert code == ExitCode.OK and manifest is not None
    write_below(place / "report", {**made, "manifest.json": json.dumps(manifest).encode()})
    return place


@pytest.fixture(scope="module")
def again(place: Path) -> Path:
    """What the rows give: made once, in a process and a folder of its own."""
    made, found = place / "again", Results.read(place / "report" / "results.json")
    with pytest.MonkeyPatch.context() as patch, report.code_of(found, Findings()) as code:
        patch.setattr(report, "LOCKS", place / "locks")
        report._facts(found, place / "report", code, Findings())
        report._make(place / "report", code, made)
    return made


Change = Callable[[Path], None]


def number(folder: Path) -> None:
    path = folder / "report" / "results.json"
    found = json.loads(path.read_bytes())
    found["numbers"]["choice.toy.eager"]["value"] += 1e-6
    path.write_text(json.dumps(found))


def row(folder: Path) -> None:
    path = folder / "report" / "rows" / "evaluate" / "toy.d0.eager.s0" / "answers.jsonl.gz"
    text = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(text.replace(b'"said":"go"', b'"said":"stay"', 1)))


def cut_row(folder: Path) -> None:
    path = folder / "report" / "rows" / "evaluate" / "toy.d0.eager.s0" / "choices.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-20])


def lost_row(folder: Path) -> None:
    (folder / "report" / "rows" / "interpret" / "toy.d0" / "layers.json.gz").unlink()


def deviation(folder: Path) -> None:
    path = folder / "locks" / "toy.deviations.jsonl"
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])


def all_rows(folder: Path) -> None:
    shutil.rmtree(folder / "report" / "rows")


def text(folder: Path) -> None:
    path = folder / "report" / "REPORT.md"
    path.write_text(path.read_text().replace("Training", "No training", 1))


def figure(folder: Path) -> None:
    path = folder / "report" / "figures" / "forest-toy.svg"
    path.write_text(path.read_text().replace("points", "percent", 1))


def page(folder: Path) -> None:
    path = folder / "report" / "report.html"
    path.write_text(path.read_text().replace("Did training take?", "Training took.", 1))


def packed(folder: Path) -> None:
    """An answer that the page's viewer shows, and no text of the page."""
    path = folder / "report" / "report.html"
    whole = path.read_text()
    found = report.PACKED.search(whole)
    assert found is not None
    data = report._unpacked(found[2], path).replace("toy.base says", "toy.base never says", 1)
    path.write_text(whole.replace(found[2], in_a_page(data.encode())))


@pytest.mark.parametrize(
    "change, said",
    [
        (number, "not what the rows give"),
        (row, "a row was altered"),
        (cut_row, "a published file is damaged"),
        (lost_row, "a published file is gone"),
        (deviation, "deviations that results name are gone"),
        (all_rows, "no rows are published"),
        (text, "not what the rows give"),
        (figure, "not what the rows give"),
        (page, "not what the rows give"),
        (packed, "not what the rows give"),
    ],
)
def test_a_change_anywhere_is_found(
    place: Path,
    again: Path,
    tmp_path: Path,
    change: Change,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Without the manifest, which would tell of any change to a file at once."""
    shutil.copytree(place / "report", tmp_path / "report")
    shutil.copytree(place / "locks", tmp_path / "locks")
    (tmp_path / "report" / "manifest.json").unlink()
    change(tmp_path)
    if change not in (row, cut_row, lost_row, all_rows):  # rows are untouched: what they give is known
        monkeypatch.setattr(
            report, "_make", lambda _folder, _code, out: shutil.copytree(again, out, dirs_exist_ok=True)
        )
    monkeypatch.setattr(report, "LOCKS", tmp_path / "locks")
    assert report.main([str(tmp_path / "report")]) == ExitCode.INPUT
    told = capfd.readouterr().err
    assert said in told and len(told.splitlines()) == 1


def test_a_whole_report_holds(
    place: Path, again: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(report, "_make", lambda _folder, _code, out: shutil.copytree(again, out, dirs_exist_ok=True))
    monkeypatch.setattr(report, "LOCKS", place / "locks")
    assert report.main([str(place / "report")]) == ExitCode.OK
    told = capfd.readouterr().out
    many = len(json.loads((place / "report" / "results.json").read_bytes())["numbers"])
    assert f"{many} numbers are what the rows give" in told and "2 deviations" in told
    assert "NOT checked: which code made the results" in told, "they were made on files that differed"


def test_the_manifest_tells_of_a_changed_file(place: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(place / "report", tmp_path / "report")
    number(tmp_path)
    assert report.main([str(tmp_path / "report")]) == ExitCode.INPUT
    assert "not as it was sealed" in capfd.readouterr().err


def test_numbers_may_differ_in_their_last_digits_and_words_not_at_all() -> None:
    assert report._same_text("a 1.0000001 b", "a 1.0000002 b")
    assert not report._same_text("a 1.0 b", "a 1.1 b")
    assert not report._same_text("a 1.0 b", "a 1.0 c")
