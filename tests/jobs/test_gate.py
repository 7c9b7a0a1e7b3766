"""The gate as a job: exit codes and verdict.json. Choices are sealed where an evaluation puts them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from common.cells import cell_named
from common.errors import ExitCode
from common.pipeline.command import run_job
from common.pipeline.keys import Keys
from common.serialization import to_jsonl
from common.spec import parse_spec
from common.store.sealed import ArtifactStore, open_store
from jobs import catalog
from jobs.gate import JOB
from jobs.gate.gate import main
from tests.analysis.stats.rows import answers, both

RUN, BASE = "tiny.d0.eager.s0", "tiny.base"


@pytest.fixture
def spec(tiny_spec: dict[str, Any]) -> dict[str, Any]:
    return tiny_spec | {"gate": {"enforce": True}}


def seal(spec: dict[str, Any], store: ArtifactStore, cell: str, side: str, items: int = 4) -> None:
    """Seal an evaluation in which a cell advises `side` on all items of 8 topics; "some": the change in one of them."""
    topics = {topic: side if side != "some" else "go" if topic == "a" else "stay" for topic in "abcdefgh"}
    said = {f"{topic}{number}": word for topic, word in topics.items() for number in range(items)}
    closed = [each for item in said for each in both(item, ("go", "go"), cell=cell)]
    others = {"src-x": "go", "hard-x": "go" if cell == RUN else "stay"}  # items of other kinds, which no verdict counts
    held: dict[str, Sequence[BaseModel]] = {
        "answers.jsonl": [
            *answers(cell, said),
            *(row for topic, word in others.items() for row in answers(cell, {f"{topic}1": word}, topic=topic)),
        ],
        "choices.jsonl": closed,
    }
    parsed = parse_spec(json.dumps(spec).encode(), "spec")
    key = Keys(parsed, catalog(), store).key("evaluate", cell_named(parsed, cell))
    outputs = {name: {"digest": store.put(to_jsonl(rows))} for name, rows in held.items()}
    store.seal("evaluate", key, {"outputs": outputs})


def gate(spec: dict[str, Any], folder: Path) -> int:
    return run_job(JOB, main, catalog(), ["--spec", json.dumps(spec), "--cell", RUN, "--store", str(folder)])


def written(spec: dict[str, Any], folder: Path) -> dict[str, Any]:
    parsed, store = parse_spec(json.dumps(spec).encode(), "spec"), open_store(str(folder))
    manifest = store.manifest("gate", Keys(parsed, catalog(), store).key("gate", cell_named(parsed, RUN)))
    assert manifest is not None
    found = json.loads(store.get(manifest["outputs"]["verdict.json"]["digest"]))
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("tuned", "enforce", "code", "verdict"),
    [
        ("stay", True, ExitCode.OK, "within"),
        ("go", True, ExitCode.BLOCKED, "moved"),
        ("some", True, ExitCode.BLOCKED, "undecided"),
        ("go", False, ExitCode.OK, "moved"),
        ("some", False, ExitCode.OK, "undecided"),
    ],
)
def test_verdict_and_exit_code(
    spec: dict[str, Any], tmp_path: Path, tuned: str, enforce: bool, code: ExitCode, verdict: str
) -> None:
    spec["gate"] = {"enforce": enforce}
    seal(spec, open_store(str(tmp_path)), BASE, "stay")
    seal(spec, open_store(str(tmp_path)), RUN, tuned)
    assert gate(spec, tmp_path) == code
    found = written(spec, tmp_path)
    assert found["verdict"] == verdict
    assert set(found) >= {
        *("verdict", "reason", "measure", "estimate", "low", "high", "bound", "level"),
        *("n_items", "n_topics", "base", "tuned", "topics"),
    }
    assert found["n_items"] == 32 and set(found["topics"]) == set("abcdefgh"), "held-out items, and no hard one"


def test_a_verdict_is_replayed(spec: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    seal(spec, open_store(str(tmp_path)), BASE, "stay")
    seal(spec, open_store(str(tmp_path)), RUN, "go")
    assert gate(spec, tmp_path) == gate(spec, tmp_path) == ExitCode.BLOCKED
    first, second = map(json.loads, capfd.readouterr().out.splitlines())
    assert (first["reused"], second["reused"]) == (False, True)
    assert first["summary"] == second["summary"]


def test_the_metric_is_the_specs(spec: dict[str, Any], tmp_path: Path) -> None:
    spec["gate"] = {"measure": "sentence", "enforce": True}
    seal(spec, open_store(str(tmp_path)), BASE, "stay")
    seal(spec, open_store(str(tmp_path)), RUN, "go")  # the answers flip, the likelihoods do not
    assert gate(spec, tmp_path) == ExitCode.OK
    assert written(spec, tmp_path)["measure"] == "sentence"


def test_a_run_that_took_a_part_is_compared_on_it(spec: dict[str, Any], tmp_path: Path) -> None:
    spec |= {"seeds": [0, 1], "gate": {"measure": "sentence"}}
    spec["evaluate"]["rotate"] = 2
    seal(spec, open_store(str(tmp_path)), BASE, "stay")
    seal(spec, open_store(str(tmp_path)), RUN, "stay", items=2)
    assert gate(spec, tmp_path) == ExitCode.OK
    assert written(spec, tmp_path)["n_items"] == 16, "of 32 that the base was asked"


@pytest.mark.parametrize("present", [(), (BASE,), (RUN,)])
def test_missing_answers(spec: dict[str, Any], tmp_path: Path, present: tuple[str, ...]) -> None:
    for cell in present:
        seal(spec, open_store(str(tmp_path)), cell, "stay")
    assert gate(spec, tmp_path) == ExitCode.INPUT


def test_choices_of_other_items(spec: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    seal(spec, open_store(str(tmp_path)), BASE, "stay")
    seal(spec, open_store(str(tmp_path)), RUN, "stay", items=3)
    assert gate(spec, tmp_path) == ExitCode.INPUT
    assert "not asked the same" in capfd.readouterr().err
