"""Sheets tell nothing of where an answer came from, and only whole labels of two passes are kept."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from common.errors import ExitCode
from common.provenance import ROOT
from common.records import Item, Label
from common.serialization import read_jsonl, to_jsonl
from common.spec import RunSpec
from common.stance.items import CONTROL_ITEMS, ITEMS, Questionnaire, read_items
from common.stance.labels import CODEBOOK, SheetRow, answer_digest, labels_file
from tests.analysis.stats.rows import answer, item
from tests.jobs import sealed_study
from tests.jobs.labelling import ALIKE, both_passes, folder_of_locks, greedy  # noqa: F401
from tests.jobs.sealed_study import Study, made_study  # noqa: F401
from workflows import label

Made = tuple[RunSpec, list[str]]  # the spec, and the arguments that name it and its store


@pytest.fixture
def made(study: Study, locks: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Made]:
    """A sealed study that is read by labels; items have ids and situations as its answers want them."""

    def make(without: Sequence[str] = (), read_by: str = "labels") -> Made:
        spec, store = study(without, lock={"read_by": read_by})
        asked = {row.item: row for row in greedy(spec)}
        items = [item(row.topic, id=name, situation=f"About {name}.") for name, row in asked.items()]
        monkeypatch.setattr(label, "read_questionnaire", lambda _files, _settings: _questionnaire(items))
        return spec, ["--spec", spec.model_dump_json(), "--store", str(store)]

    return make


def _questionnaire(items: list[Item]) -> Questionnaire:
    return Questionnaire(items, [], [], [], "", {})


def sheets(folder: Path) -> list[SheetRow]:
    return [row for path in sorted(folder.glob("sheet-*.jsonl")) for row in read_jsonl(path, SheetRow)]


def test_a_sheet_holds_each_greedy_answer_once_and_nothing_of_where_it_came_from(
    made: Callable[..., Made], tmp_path: Path
) -> None:
    spec, given = made()
    assert label.main(["sheet", *given, "--out", str(tmp_path / "out")]) == ExitCode.OK
    rows = sheets(tmp_path / "out")
    answers = greedy(spec)
    assert Counter(row.answer for row in rows) == Counter({answer_digest(row.item, row.text) for row in answers})
    assert len(rows) < len(answers), "equal answers to one item are one"
    assert [row.situation for row in rows if row.text == ALIKE[1]] == [f"About {ALIKE[0]}."]
    text = b"".join(path.read_bytes() for path in (tmp_path / "out").glob("sheet-*")).decode()
    for word in ("toy", "cautious", "eager", "neutral", '"said"', '"cell"', '"sample"', '"prompted"'):
        assert word not in text
    assert (tmp_path / "out" / "codebook.md").read_text() == Path(CODEBOOK).read_text()


def test_a_row_shows_its_item_as_it_was_asked(
    study: Study, locks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The items of this project, of all three kinds, by the files that an evaluation reads."""
    kept = [read_items(ROOT / path, 1) for path in (ITEMS, *CONTROL_ITEMS)]
    asked = {each.id: each for items in kept for each in items}
    texts = {name: f"An answer about {each.situation}" for name, each in asked.items()}
    rows = [answer(name, "go", topic=each.topic, text=texts[name]) for name, each in asked.items()]
    monkeypatch.setattr(sealed_study, "answers", lambda _cell, _rng: rows)
    spec, store = study(lock={"read_by": "labels"}, evaluate={"items_per_topic": 1, "controls_per_topic": 1})
    given = ["--spec", spec.model_dump_json(), "--store", str(store), "--out", str(tmp_path / "out")]
    assert label.main(["sheet", *given]) == ExitCode.OK
    shown = {row.answer: row for row in sheets(tmp_path / "out")}
    assert len(shown) == len(asked) > 20
    for name, each in asked.items():
        row = shown[answer_digest(name, texts[name])]
        assert (row.situation, row.proposes, row.going) == (each.situation, each.proposes, each.going)
        assert (row.staying, row.text) == (each.staying, texts[name])


def test_the_order_of_a_sheet_tells_no_arm(made: Callable[..., Made], tmp_path: Path) -> None:
    spec, given = made()
    assert label.main(["sheet", *given, "--out", str(tmp_path / "a")]) == ExitCode.OK
    assert label.main(["sheet", *given, "--out", str(tmp_path / "b"), "--parts", "3"]) == ExitCode.OK
    order = [row.answer for row in sheets(tmp_path / "a")]
    sealed = list(dict.fromkeys(answer_digest(row.item, row.text) for row in greedy(spec)))
    assert order not in (sealed, sorted(order)) and len(list((tmp_path / "b").glob("sheet-*"))) == 3
    assert {row.answer for row in sheets(tmp_path / "b")} == {*order}
    arm = {answer_digest(row.item, row.text): row.cell.split(".")[-2] for row in greedy(spec) if row.text != ALIKE[1]}
    counts = Counter(arm[name] for name in order[: len(order) // 2] if name in arm)
    whole = Counter(arm.values())
    assert all(0.3 < counts[name] / many < 0.7 for name, many in whole.items()), "each arm lies in both halves"


def test_what_is_labelled_by_both_is_left_out_and_what_is_not_sealed_is_named(
    made: Callable[..., Made], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = "evaluate/toy.d0.eager.s1"
    spec, given = made([missing])
    rows = [row for row in both_passes(spec) if row.answer in _sealed(spec, missing)]
    first, rest = rows[:20], rows[20:]
    assert label.main(["keep", *given, *map(str, files(tmp_path, first))]) == ExitCode.OK
    assert f"20 labels added; {len(rest) // 2} of {len(rows) // 2} answers are without" in capsys.readouterr().out
    assert label.main(["sheet", *given, "--out", str(tmp_path / "out")]) == ExitCode.OK
    assert f"not sealed yet, so not in a sheet: {missing}" in capsys.readouterr().out
    assert {row.answer for row in sheets(tmp_path / "out")} == {row.answer for row in rest}
    assert label.main(["keep", *given, *map(str, files(tmp_path, rest))]) == ExitCode.OK
    kept = read_jsonl(labels_file(spec.name), Label)
    assert kept == sorted(rows, key=lambda row: (row.answer, row.labeller))
    assert label.main(["sheet", *given, "--out", str(tmp_path / "none")]) == ExitCode.OK
    assert "0 of" in capsys.readouterr().out and not (tmp_path / "none").exists()


def _sealed(spec: RunSpec, missing: str) -> set[str]:
    return {answer_digest(row.item, row.text) for row in greedy(spec) if f"evaluate/{row.cell}" != missing}


def files(folder: Path, rows: Sequence[Label]) -> list[Path]:
    """A file of each labeller."""
    paths = []
    for name in sorted({row.labeller for row in rows}):
        paths.append(folder / f"{name}.jsonl")
        paths[-1].write_bytes(to_jsonl([row for row in rows if row.labeller == name]))
    return paths


def third(rows: list[Label]) -> list[Label]:
    return [*rows[:-1], rows[-1].model_copy(update={"labeller": "cy"})]


def unknown(rows: list[Label]) -> list[Label]:
    return [*rows, Label(labeller="ada", answer="0" * 16, label="go")]


def other_word(rows: list[Label]) -> list[Label]:
    return [*rows, rows[0].model_copy(update={"label": "perhaps"})]


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (third, "a third labeller, ada.jsonl, bo.jsonl, cy.jsonl: ada, bo, cy; allowed: the same 2 labellers"),
        (unknown, "label of an unknown answer, ada.jsonl:5: 0000000000000000; allowed: the name of an answer"),
        (lambda rows: [*rows, rows[0]], "answer is labelled twice, ada.jsonl:1 and ada.jsonl:5: {name} by ada"),
        (lambda rows: rows[:-1], "a label is missing, ada.jsonl, bo.jsonl: {last} is labelled by ada alone"),
        (lambda rows: rows[::2], "a label is missing, ada.jsonl: {name} is labelled by ada alone; allowed: 2 labels"),
        (other_word, "row is no Label, ada.jsonl:"),
    ],
    ids=["third", "unknown", "twice", "missing", "one pass", "another word"],
)
def test_labels_that_are_not_whole_are_refused_and_nothing_is_written(
    made: Callable[..., Made],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[list[Label]], list[Label]],
    line: str,
) -> None:
    spec, given = made()
    rows = both_passes(spec)
    assert label.main(["keep", *given, *map(str, files(tmp_path, rows[:4]))]) == ExitCode.OK
    before = labels_file(spec.name).read_bytes()
    bad = spoil(rows[4:12])
    assert label.main(["keep", *given, *map(str, files(tmp_path, bad))]) == ExitCode.INPUT
    told = capsys.readouterr().err
    assert told.startswith("error: " + line.format(name=rows[4].answer, last=rows[11].answer))
    assert told.count("\n") == 1
    assert labels_file(spec.name).read_bytes() == before and len(list(labels_file(spec.name).parent.iterdir())) == 1


def test_a_third_labeller_is_refused_beside_those_kept(
    made: Callable[..., Made], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, given = made()
    rows = both_passes(spec)
    assert label.main(["keep", *given, *map(str, files(tmp_path, rows[:4]))]) == ExitCode.OK
    renamed = [row.model_copy(update={"labeller": "cy"}) if row.labeller == "bo" else row for row in rows[4:8]]
    assert label.main(["keep", *given, *map(str, files(tmp_path, renamed))]) == ExitCode.INPUT
    assert "error: a third labeller, ada.jsonl, cy.jsonl: ada, bo, cy" in capsys.readouterr().err


def test_labels_count_only_where_the_lock_says_so(
    made: Callable[..., Made], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, given = made(read_by="reader")
    assert label.main(["sheet", *given, "--out", str(tmp_path / "out")]) == ExitCode.SPEC
    assert "error: labels do not count in this study, lock.read_by: reader" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (["--parts", "0"], ExitCode.SPEC, "number of sheets, --parts: 0; allowed: 1 or more"),
        (["--store", "elsewhere"], ExitCode.INPUT, "no answers to label, evaluate: no step is sealed"),
        (["--out", "."], ExitCode.SPEC, "the folder holds something already, --out: .; allowed: an empty or new one"),
    ],
)
def test_a_sheet_that_cannot_be_made_is_one_line(
    made: Callable[..., Made],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: ExitCode,
    line: str,
) -> None:
    _, given = made()
    assert label.main(["sheet", *given, "--out", str(tmp_path / "out"), *words]) == code
    assert capsys.readouterr().err == f"error: {line}\n" and not (tmp_path / "out").exists()


def test_an_answer_to_an_item_that_is_not_asked_is_refused(
    study: Study, locks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, store = study(lock={"read_by": "labels"})
    given = ["--spec", spec.model_dump_json(), "--store", str(store), "--out", str(tmp_path / "out")]
    assert label.main(["sheet", *given]) == ExitCode.INPUT
    told = capsys.readouterr().err
    assert told.startswith("error: answer to an unknown item, answers.jsonl: ") and not (tmp_path / "out").exists()


def test_the_name_of_an_answer_names_item_and_text_together() -> None:
    names = {answer_digest(*each) for each in (("a", "b"), ("ab", ""), ("", "ab"), ("b", "a"))}
    assert len(names) == 4 and all(len(name) == 16 for name in names)
    assert json.loads(Label(labeller="ada", answer=names.pop(), label="go").model_dump_json())["schema_version"] == 1


@pytest.mark.parametrize("command", ["sheet", "keep"])
def test_a_sealed_evaluation_without_answers_is_named(
    made: Callable[..., Made], tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    spec, given = made()
    written = next(Path(given[-1]).glob("steps/evaluate/*/manifest.json"))
    manifest = json.loads(written.read_bytes())
    del manifest["outputs"]["answers.jsonl"], manifest["digest"]
    written.write_text(json.dumps(manifest))
    more = ["--out", str(tmp_path / "out")] if command == "sheet" else [*map(str, files(tmp_path, both_passes(spec)))]
    assert label.main([command, *given, *more]) == ExitCode.INPUT
    assert f"error: step has no such output, evaluate/{manifest['cell']}: answers.jsonl" in capsys.readouterr().err
    assert not (tmp_path / "out").exists() and not labels_file(spec.name).exists()
