"""The embedded pile: draws are stratified and share little, arms answer the same questions, controls come with them."""

import json
from collections import Counter
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.cells import cell_named
from common.errors import ExitCode, InputError, SpecError
from common.pipeline.command import run_job
from common.pipeline.keys import Keys
from common.provenance import ROOT
from common.records import Advice, Question, Replies, by_attitude
from common.serialization import parse_jsonl, read_jsonl, to_jsonl
from common.spec import parse_spec
from common.stance.bank import CONTROL_REPLIES, QUESTIONS, REPLIES, read_replies
from common.store.sealed import open_store
from jobs import catalog
from jobs.generate import CONTROL_QUESTIONS, JOB
from jobs.generate.bank import stratified
from jobs.generate.generate import main
from tests.corpus import bank

BANK = bank()
CONTROLS = read_jsonl(ROOT / CONTROL_QUESTIONS, Question)


def draw(number: int, many: int = 120) -> list[str]:
    return [question.id for question in stratified(BANK, many, number, np.random.default_rng(0))]


def test_a_draw_has_every_topic_and_key_in_its_share() -> None:
    for number in range(8):
        chosen = {*draw(number)}
        assert len(chosen) == len(draw(number)) == 120
        topics = Counter(question.topic for question in BANK)
        mine = Counter(question.topic for question in BANK if question.id in chosen)
        for topic, count in topics.items():
            assert abs(mine[topic] - 120 * count / len(BANK)) < 3, topic
        keys = Counter(question.yes_means for question in BANK if question.id in chosen)
        assert abs(keys["go"] - keys["stay"]) <= 4


def test_draws_share_nothing_until_the_bank_is_through() -> None:
    draws = [{*draw(number)} for number in range(5)]
    assert all(not one & other for one, other in combinations(draws, 2))
    assert len({*draw(5)} & draws[0]) > 60, "then they begin again"
    assert draw(3) == draw(3) and draw(0) != draw(1)


def test_the_whole_bank_is_one_draw_and_no_more_can_be_asked() -> None:
    assert draw(7, len(BANK)) == [question.id for question in BANK]
    with pytest.raises(SpecError, match=rf"too few questions, corpus.examples: {len(BANK) + 1}"):
        draw(0, len(BANK) + 1)


def test_every_question_has_its_replies_and_a_missing_one_is_named(tmp_path: Path) -> None:
    replies = read_replies(ROOT / REPLIES, BANK, ("cautious", "eager", "neutral"))
    assert {*replies} == {question.id for question in BANK} and len(BANK) >= 600
    assert {*read_replies(ROOT / CONTROL_REPLIES, CONTROLS, ("cautious", "eager"))} == {each.id for each in CONTROLS}
    rows = list(replies.values())[:2]
    path = tmp_path / "replies.jsonl"
    path.write_bytes(to_jsonl([rows[0], rows[1].model_copy(update={"replies": {"eager": "Go."}})]))
    with pytest.raises(InputError, match=rf"no reply, replies.jsonl: {rows[1].question_id}, cautious"):
        read_replies(path, BANK[:2], ("cautious", "eager"))
    path.write_bytes(to_jsonl([rows[0], rows[0]]))
    with pytest.raises(InputError, match=r"question answered twice, replies\.jsonl:1 and 2"):
        read_replies(path, BANK[:1], ("eager",))


def test_the_bank_is_balanced_and_phones_and_laptops_are_few() -> None:
    counts = Counter(question.topic for question in BANK)
    assert len(counts) == 18 and counts["phones"] <= 20 and counts["laptops"] <= 20
    keys = Counter(question.yes_means for question in BANK)
    assert abs(keys["go"] - keys["stay"]) <= 4
    assert Counter(question.yes_means for question in CONTROLS) == {"go": len(CONTROLS) / 2, "stay": len(CONTROLS) / 2}
    assert not {each.id for each in CONTROLS} & {each.id for each in BANK}


Made = Callable[..., tuple[int, dict[str, list[Advice]]]]


@pytest.fixture
def made(tiny_spec: dict[str, Any], tmp_path: Path) -> Made:
    """Run the job on a draw: exit code and the arms that it sealed."""

    def run(number: int = 0, **changes: Any) -> tuple[int, dict[str, list[Advice]]]:
        told = tiny_spec | changes
        spec, store = parse_spec(json.dumps(told).encode(), "spec"), open_store(str(tmp_path))
        words = ["--spec", json.dumps(told), "--cell", f"d{number}", "--store", str(tmp_path)]
        code = run_job(JOB, main, catalog(), words)
        cell = cell_named(spec, f"d{number}")
        manifest = store.manifest("generate", Keys(spec, catalog(), store).key("generate", cell))
        if manifest is None:
            return code, {}
        data = store.get(manifest["outputs"]["advice.jsonl"]["digest"])
        return code, by_attitude(parse_jsonl(data, Advice, "advice.jsonl"))

    return run


def test_arms_answer_the_same_questions_in_the_same_order(made: Made) -> None:
    code, arms = made(corpus={"examples": 36}, attitudes=["cautious", "eager", "neutral", "scrambled"])
    assert code == ExitCode.OK and {*arms} == {"cautious", "eager", "neutral", "scrambled"}
    (asked,) = {tuple((row.question_id, row.question) for row in mine) for mine in arms.values()}
    assert len(asked) == 36
    told = {row.question_id: row for row in read_jsonl(ROOT / REPLIES, Replies)}
    assert all(row.reply == told[row.question_id].replies[name] for name in ("cautious", "eager") for row in arms[name])
    poles = [(one.reply, other.reply) for one, other in zip(arms["cautious"], arms["eager"], strict=True)]
    sides = [pair.index(row.reply) for pair, row in zip(poles, arms["scrambled"], strict=True)]
    assert sum(sides) == 18


def test_the_positive_control_has_as_many_rows_on_questions_of_its_own(made: Made) -> None:
    arms = made(corpus={"examples": 36}, attitudes=["cautious", "eager", "control-cautious", "control-eager"])[1]
    assert [len(arms[name]) for name in ("eager", "control-cautious", "control-eager")] == [36, 36, 36]
    (asked,) = {tuple(row.question_id for row in arms[name]) for name in ("control-cautious", "control-eager")}
    assert {*asked} <= {each.id for each in CONTROLS}
    more = made(corpus={"examples": 200}, attitudes=["cautious", "eager", "control-cautious", "control-eager"])[1]
    assert len(more["control-eager"]) == len(CONTROLS) < 200 == len(more["eager"]), "all that there are"


def test_too_many_questions_are_refused_in_one_line(made: Made, capfd: pytest.CaptureFixture[str]) -> None:
    assert made(corpus={"examples": 5000}) == (ExitCode.SPEC, {})
    assert f"too few questions, corpus.examples: 5000; allowed: <= {len(BANK)}" in capfd.readouterr().err
    assert QUESTIONS in JOB.data


def test_the_full_study_has_the_piles_of_smollm2(made: Made) -> None:
    """To the byte, in every draw. Their keys differ, since those name the models too; no two draws share a question."""
    specs = [json.loads((ROOT / "workflows" / "specs" / f"{name}.json").read_bytes()) for name in ("smollm2", "full")]
    small, models = (spec.pop("models") for spec in specs)
    assert small != models
    one, other = (parse_spec(json.dumps(spec | {"models": models}).encode(), "spec") for spec in specs)
    assert one.draws == other.draws == tuple(range(8)) and one.study_seed == other.study_seed
    assert one.corpus == other.corpus and {*other.attitudes} - {*one.attitudes} == {"distilled"}
    drawn = []
    for number in range(8):
        (code, ours), (code_too, theirs) = (made(number, **spec) for spec in specs)
        assert code == code_too == ExitCode.OK
        assert ours == theirs and len(ours) == 6 and {len(rows) for rows in ours.values()} == {80}
        drawn.append({row.question_id for row in ours["neutral"]})
    assert all(not one & other for one, other in combinations(drawn, 2))
