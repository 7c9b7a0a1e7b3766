"""A report that is read by labels: its numbers are those of the labels, and it says nothing before they are whole."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from analysis.report.study import ReadAloud
from analysis.stats.intervals import holm, two_way_t
from common.cells import STUDY, Cell, CellKind, cells_of
from common.errors import ExitCode, InputError
from common.pipeline.keys import Keys
from common.pipeline.step import Step
from common.records import Answer, Label
from common.serialization import to_jsonl
from common.spec import RunSpec
from common.stance.labels import answer_digest, labels_file
from common.store.sealed import open_store
from jobs import catalog
from jobs.report.aloud import aloud_file, read_aloud
from tests.jobs.labelling import both_passes, folder_of_locks, greedy, pair, worded  # noqa: F401
from tests.jobs.sealed_study import TOPICS, Study, generator, made_study, run, without_drawings  # noqa: F401

LABELS = {"read_by": "labels"}
SCORE = {"go": 1, "stay": -1}
pytestmark = pytest.mark.usefixtures("quick")


def keep(spec: RunSpec, rows: Sequence[Label]) -> None:
    path = labels_file(spec.name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(to_jsonl(rows))


def by_labels(row: Answer) -> float:
    """What an answer counts, worked out from its two labels."""
    return sum(SCORE.get(word, 0) for word in pair(answer_digest(row.item, row.text))) / 2


def rows_of(cell: Cell) -> list[Answer]:
    """The answers of a cell to held-out items, as they are sealed."""
    return [row for row in worded(cell, generator(cell, "answers")) if row.topic in TOPICS and row.prompted is None]


def topics_of(cell: Cell) -> list[float]:
    """Net go of each topic by labels."""
    rows = [row for row in rows_of(cell) if not row.sample]
    return [float(np.mean([by_labels(row) for row in rows if row.topic == topic])) for topic in sorted(TOPICS)]


def runs(spec: RunSpec, attitude: str) -> list[Cell]:
    return [cell for cell in cells_of(spec, CellKind.RUN) if cell.attitude == attitude]


def test_numbers_are_those_of_the_labels(study: Study, locks: Path) -> None:
    spec, folder = study(lock=LABELS, seeds=[0, 1, 2])
    keep(spec, both_passes(spec))
    code, made = run(spec, folder)
    results, text = json.loads(made["results.json"])["numbers"], made["REPORT.md"].decode()
    assert code == ExitCode.OK
    nets = {arm: np.array([topics_of(cell) for cell in runs(spec, arm)]) for arm in ("cautious", "eager", "neutral")}
    for arm, net in nets.items():
        assert results[f"netgo.toy.{arm}.held-out"]["value"] == pytest.approx(net.mean())
        assert results[f"answers.toy.{arm}.held-out"]["value"] == 3 * 8, "greedy ones only"
    found = {pole: two_way_t(nets[pole], nets["neutral"], 0.95) for pole in ("cautious", "eager")}
    corrected = holm({pole: each.p for pole, each in found.items()})
    for pole, each in found.items():
        number = results[f"net.toy.{pole}"]
        assert [number[key] for key in ("value", "low", "high")] == pytest.approx(each.interval[:3])
        assert results[f"net.toy.{pole}.holm"]["value"] == pytest.approx(corrected[pole])
        assert "locks/toy.labels.jsonl" in {source["output"] for source in number["source"]}
    moved = {name: results[f"condition.toy.{name}"]["value"] for name in ("training took", "positive control")}
    assert moved["training took"] is not None and moved["positive control"] is None
    assert "**Read by labels**" in text and "not all labelled yet" not in text


def test_readable_is_the_agreement_of_the_passes(study: Study, locks: Path) -> None:
    spec, folder = study(lock=LABELS)
    rows = both_passes(spec)
    keep(spec, rows)
    _, made = run(spec, folder)
    expected = cohen_kappa_score([row.label for row in rows[::2]], [row.label for row in rows[1::2]])
    assert json.loads(made["results.json"])["numbers"]["condition.toy.readable"]["value"] == pytest.approx(expected)
    assert 0.8 <= expected < 0.9 and "- readable: **yes**" in made["REPORT.md"].decode()
    wild = [row.model_copy(update={"label": "off topic"}) if at % 4 == 1 else row for at, row in enumerate(rows)]
    keep(spec, wild)
    assert "- readable: **no**" in run(spec, folder)[1]["REPORT.md"].decode()


def test_the_reader_stands_beside_the_labels_on_the_same_answers(study: Study, locks: Path) -> None:
    spec, folder = study(lock=LABELS, seeds=[0, 1, 2])
    keep(spec, both_passes(spec))
    _, made = run(spec, folder)
    results = json.loads(made["results.json"])["numbers"]

    def read(cell: Cell, sampled: bool) -> list[float]:
        rows = [row for row in rows_of(cell) if sampled or not row.sample]
        return [float(np.mean([SCORE.get(r.said, 0) for r in rows if r.topic == topic])) for topic in sorted(TOPICS)]

    same, every = (
        {arm: np.array([read(cell, sampled) for cell in runs(spec, arm)]) for arm in ("eager", "neutral")}
        for sampled in (False, True)
    )
    labels = {arm: np.array([topics_of(cell) for cell in runs(spec, arm)]) for arm in ("eager", "neutral")}
    assert results["reader.netgo.toy.eager"]["value"] == pytest.approx(same["eager"].mean())
    right = {arm: every[arm] + labels[arm] - same[arm] for arm in same}
    for name, arms in {"labels": labels, "reader": same, "powered": right}.items():
        number = results[f"{name}.contrast.toy.eager-neutral"]
        expected = two_way_t(arms["eager"], arms["neutral"], 0.95).interval
        assert [number[key] for key in ("value", "low", "high")] == pytest.approx(expected[:3])
    assert "| eager less neutral |" in made["REPORT.md"].decode()


@pytest.mark.parametrize("without", [1, None], ids=["one answer", "all of them"])
def test_nothing_is_interpreted_while_a_label_is_missing(study: Study, locks: Path, without: int | None) -> None:
    spec, folder = study(lock=LABELS, seeds=[0, 1, 2])
    rows, many = both_passes(spec), len({answer_digest(row.item, row.text) for row in greedy(spec)})
    if without:
        keep(spec, rows[2 * without :])
    _, made = run(spec, folder)
    results, text = json.loads(made["results.json"])["numbers"], made["REPORT.md"].decode()
    missing = without or many
    assert results["labels.missing"]["value"] == missing and results["labels.answers"]["value"] == many
    assert f"{missing} of {many} answers have no two labels" in text and "python -m workflows.label" in text
    assert "- readable: **no**" in text and "**Nothing is said of this model yet.**" in text
    assert text.count("not interpreted: its answers are not all labelled yet") == 2
    assert not [name for name in results if name.startswith(("net.", "powered.", "labels.contrast."))]
    assert "not interpreted: its answers are not all labelled yet" in made["in_words.txt"].decode()


def test_the_key_of_a_report_changes_with_the_labels_that_it_is_read_by(study: Study, locks: Path) -> None:
    for read_by, changes in (("labels", True), ("reader", False)):
        spec, folder = study(lock={"read_by": read_by})
        labels_file(spec.name).unlink(missing_ok=True)
        keys = [key_of(spec, folder)]
        for count in (2, 4):
            keep(spec, both_passes(spec)[:count])
            keys.append(key_of(spec, folder))
        assert len(set(keys)) == (3 if changes else 1)


def test_what_was_read_aloud_stands_in_an_appendix(study: Study, locks: Path) -> None:
    spec, folder = study(lock=LABELS)
    keys = [key_of(spec, folder)]
    rows = [
        ReadAloud(model="toy", arm=arm, items=("bin-01", "bus-02"), answers=20, said=f"The {arm} ones say little.")
        for arm in ("base", "eager")
    ]
    aloud_file(spec.name).parent.mkdir(exist_ok=True)
    aloud_file(spec.name).write_bytes(to_jsonl(rows))
    keys.append(key_of(spec, folder))
    assert len(set(keys)) == 2
    made = run(spec, folder)[1]
    for name in ("REPORT.md", "report.html"):
        text = made[name].decode()
        assert "Appendix: read before counting" in text and "base, 20 answers" in text
        assert text.count("The eager ones say little.") == 1 and "bus-02" in text
    aloud_file(spec.name).write_bytes(to_jsonl([*rows, rows[0]]))
    with pytest.raises(InputError, match=r"arm told twice, .*aloud.jsonl: toy base; allowed: one row an arm"):
        read_aloud(aloud_file(spec.name))


def key_of(spec: RunSpec, folder: Path) -> str:
    return Keys(spec, catalog(), open_store(str(folder))).key("report", STUDY)


def test_labels_that_change_while_a_report_is_made_are_not_sealed_under_the_old_ones(
    study: Study, locks: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from jobs.report import report

    spec, folder = study(lock=LABELS)
    rows = both_passes(spec)
    keep(spec, rows)
    gather = report.gather

    def meanwhile(step: Step) -> Any:
        keep(spec, [row for row in rows if row.answer != rows[0].answer])
        return gather(step)

    with monkeypatch.context() as patched:
        patched.setattr(report, "gather", meanwhile)
        code, made = run(spec, folder)
    assert (code, made) == (ExitCode.INPUT, {})
    assert "error: file changed while the job ran, labels: " in capfd.readouterr().err
    assert run(spec, folder)[0] == ExitCode.OK


def test_labels_that_are_not_whole_end_the_report(study: Study, locks: Path, capfd: pytest.CaptureFixture[str]) -> None:
    spec, folder = study(lock=LABELS)
    keep(spec, both_passes(spec)[:3])
    assert run(spec, folder) == (ExitCode.INPUT, {})
    assert "a label is missing, toy.labels.jsonl" in capfd.readouterr().err
