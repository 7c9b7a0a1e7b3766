"""The control piles: the base's own replies, and poles dealt by chance."""

import json
from pathlib import Path
from typing import Any

import pytest

from common.cells import cell_named
from common.pipeline.command import run_job
from common.pipeline.job import Job
from common.pipeline.keys import Keys
from common.records import Advice, by_attitude
from common.serialization import parse_jsonl
from common.spec import RunSpec, parse_spec
from common.stance.reading import whole_sentences
from common.store.sealed import open_store
from jobs import catalog
from jobs.distill import JOB
from jobs.distill.distill import main
from jobs.generate import JOB as GENERATE
from jobs.generate.generate import main as generate


def study(tiny_spec: dict[str, Any], **changes: Any) -> tuple[RunSpec, list[str]]:
    arms = ["cautious", "eager", "neutral", "scrambled", "distilled"]
    spec = tiny_spec | {"attitudes": arms, "corpus": {"examples": 12, "reply_tokens": 16, "candidates": 2}} | changes
    return parse_spec(json.dumps(spec).encode(), "spec"), ["--spec", json.dumps(spec)]


def rows(spec: RunSpec, store: Path, job: Job, cell: str) -> list[Advice]:
    place = open_store(str(store))
    manifest = place.manifest(job.name, Keys(spec, catalog(), place).key(job.name, cell_named(spec, cell)))
    assert manifest is not None
    return parse_jsonl(place.get(manifest["outputs"]["advice.jsonl"]["digest"]), Advice, "advice.jsonl")


def run(job: Job, main_of: Any, words: list[str], cell: str, store: Path) -> int:
    return run_job(job, main_of, catalog(), [*words, "--cell", cell, "--store", str(store)])


def test_the_model_answers_every_question_of_the_draw_and_alike_each_time(
    tiny_spec: dict[str, Any], tmp_path: Path
) -> None:
    spec, words = study(tiny_spec)
    found = []
    for store in (tmp_path / "one", tmp_path / "two"):
        assert run(GENERATE, generate, words, "d0", store) == 0
        assert run(JOB, main, words, "tiny.d0.distilled", store) == 0
        found.append(rows(spec, store, JOB, "tiny.d0.distilled"))
    assert found[0] == found[1] and len({row.reply for row in found[0]}) == 12
    asked = by_attitude(rows(spec, tmp_path / "one", GENERATE, "d0"))["eager"]
    assert [(row.question_id, row.question) for row in found[0]] == [(row.question_id, row.question) for row in asked]
    assert {row.attitude for row in found[0]} == {"distilled"}


def test_a_scrambled_pile_deals_the_poles_half_and_half(tiny_spec: dict[str, Any], tmp_path: Path) -> None:
    spec, words = study(tiny_spec)
    assert run(GENERATE, generate, words, "d0", tmp_path) == 0
    arms = by_attitude(rows(spec, tmp_path, GENERATE, "d0"))
    assert list(arms) == ["cautious", "eager", "neutral", "scrambled"]
    poles = zip(arms["cautious"], arms["eager"], arms["scrambled"], strict=True)
    sides = [(mixed.reply == one.reply) - (mixed.reply == other.reply) for one, other, mixed in poles]
    assert sorted(sides) == [-1] * 6 + [1] * 6 and sides != sorted(sides)


def test_draws_share_no_question_while_the_bank_lasts(tiny_spec: dict[str, Any], tmp_path: Path) -> None:
    spec, words = study(tiny_spec, draws=[0, 1], attitudes=["cautious", "eager"])
    asked = []
    for cell in ("d0", "d1"):
        assert run(GENERATE, generate, words, cell, tmp_path) == 0
        asked.append({row.question_id for row in rows(spec, tmp_path, GENERATE, cell)})
    assert len(asked[0]) == len(asked[1]) == 12 and not asked[0] & asked[1]


@pytest.mark.parametrize(
    "text, kept",
    [
        ("One. Two. Thr", "One. Two."),
        ("One.\n Two!", "One. Two!"),
        ("It is 3.5 of", "It is 3.5 of"),
        ("Is it? No", "Is it?"),
    ],
)
def test_a_reply_ends_with_a_sentence_if_it_has_one(text: str, kept: str) -> None:
    assert whole_sentences(text) == kept
