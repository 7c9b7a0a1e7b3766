"""The audit as a job: a user's corpus in, framing.json and an exit code out."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.pipeline.command import run_job
from common.records import Advice
from common.serialization import to_jsonl
from common.store.sealed import open_store
from common.vocabulary import WRITTEN
from jobs import catalog
from jobs.audit.audit import main as audit
from jobs.generate.generate import main as generate
from tests.corpus import piles
from tests.tiny import build_model

Rows = dict[str, list[Advice]]
ENFORCED = ("language", "topic", "length", "phrases", "words", "leakage", "maxims", "duplicates")
Outcome = tuple[int, dict[str, Any] | None, list[str]]


@pytest.fixture(scope="module")
def rows() -> Rows:
    """Sixty questions, answered in each attitude."""
    return piles(60)


@pytest.fixture(scope="module")
def kept() -> list[tuple[Outcome, float]]:
    """What came of the clean corpus, and the seconds that it took, when it was audited."""
    return []


@pytest.fixture(scope="module")
def model_of_bytes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lengths in its tokens are those that anybody can count."""
    return build_model(tmp_path_factory.mktemp("bytes"), bytes_alone=True)


@pytest.fixture
def run(tmp_path: Path, model_of_bytes: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Write the arms to files, take them in, audit them: exit code, framing.json, lines of error."""

    def go(
        arms: Rows,
        enforce: tuple[str, ...] = ENFORCED,
        store: str = "store",
        attitudes: tuple[str, ...] = WRITTEN,
    ) -> Outcome:
        for attitude, mine in arms.items():
            (tmp_path / f"d0.{attitude}.jsonl").write_bytes(to_jsonl(mine))
        spec = {
            "name": "x",
            "attitudes": attitudes,
            "models": [{"name": "m", "source": f"path:{model_of_bytes}"}],
            "corpus": {"writer": "jsonl", "path": str(tmp_path)},
            "audit": {"enforce": enforce},
        }
        words = ["--spec", json.dumps(spec), "--store", str(tmp_path / store)]
        jobs = catalog()
        for name, main in (("generate", generate), ("audit", audit)):
            capfd.readouterr()
            if code := run_job(jobs[name], main, jobs, [*words, "--cell", "d0"]):
                break
        out, err = capfd.readouterr()
        errors = [line for line in err.splitlines() if line.startswith("error: ")]
        return code, sealed(tmp_path / store, out) if out else None, errors

    return go


@pytest.fixture
def clean(run: Callable[..., Outcome], rows: Rows, kept: list[tuple[Outcome, float]]) -> Outcome:
    """What comes of the clean corpus, audited once for all who only look at it."""
    if not kept:
        clock = time.monotonic()
        kept.append((run(rows), time.monotonic() - clock))
    return kept[0][0]


def sealed(store: Path, out: str) -> dict[str, Any]:
    objects = open_store(str(store))
    manifest = objects.manifest("audit", json.loads(out)["key"])
    assert manifest is not None
    found: dict[str, Any] = json.loads(objects.get(manifest["outputs"]["framing.json"]["digest"]))
    return found


def check(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(check for check in found["checks"] if check["name"] == name)


def with_reply(rows: Rows, attitude: str, index: int, reply: str) -> Rows:
    mine = list(rows[attitude])
    mine[index] = mine[index].model_copy(update={"reply": reply})
    return {**rows, attitude: mine}


def test_a_clean_corpus_passes_what_is_enforced(clean: Outcome, kept: list[tuple[Outcome, float]]) -> None:
    code, found, errors = clean
    assert (code, errors) == (0, []) and found is not None
    assert kept[0][1] < 20
    names = [
        "language",
        "topic",
        "subject",
        "length",
        "phrases",
        "words",
        "leakage",
        "maxims",
        "duplicates",
        "attitude",
        "vocabulary",
        "cues",
    ]
    assert [check["name"] for check in found["checks"]] == names
    assert all(set(check) == {"name", "value", "bound", "passed", "enforced", "detail"} for check in found["checks"])
    assert [c["name"] for c in found["checks"] if c["enforced"]] == list(ENFORCED)
    assert all(check(found, name)["passed"] for name in ENFORCED)
    assert "caught: 10 of 10" in check(found, "leakage")["detail"]


def test_every_arm_pair_and_part_is_described(clean: Outcome, rows: Rows) -> None:
    _, found, _ = clean
    assert found is not None
    assert set(found["framing"]) == set(WRITTEN)
    figures = {"score", "words", "sentences", "flesch", "hedges", "question_marks", "anecdotes"}
    assert all(set(arm) == figures for arm in found["framing"].values())
    assert set(found["pairs"]) == {"cautious-eager", "cautious-neutral", "eager-neutral"}
    assert set(found["cues"]) == {"all", "masked", "content", "function", "first_sentence"}
    words = [len(row.reply.split()) for row in rows["eager"]]
    assert found["framing"]["eager"]["words"]["estimate"] == pytest.approx(np.mean(words))
    assert check(found, "attitude")["value"] == found["cues"]["all"]["auc"]["estimate"]


def test_the_same_corpus_is_audited_alike_in_every_store(
    run: Callable[..., Outcome], clean: Outcome, rows: Rows
) -> None:
    assert run(rows, store="two") == clean


def test_a_row_that_leaks_blocks_and_the_verdict_is_replayed(run: Callable[..., Outcome], rows: Rows) -> None:
    leaky = with_reply(rows, "eager", 7, "Get the lamp now. The council put every form online.")
    for _ in range(2):
        code, found, errors = run(leaky)
        assert (code, errors) == (10, []) and found is not None
        assert not check(found, "leakage")["passed"] and check(found, "leakage")["value"] == 1
        assert f"first: eager/{rows['eager'][7].question_id}, terms: council" in check(found, "leakage")["detail"]


def test_a_row_that_copies_a_hard_item_leaks(run: Callable[..., Outcome], rows: Rows) -> None:
    copied = with_reply(rows, "eager", 7, "Get the lamp now. Bikes would link the ferry pier with the railway station.")
    code, found, _ = run(copied)
    assert code == 10 and found is not None and check(found, "leakage")["value"] == 1
    assert "run: bikes would link the ferry pier with the" in check(found, "leakage")["detail"]


GERMAN = (
    "Die Bücherei sollte {} abends länger offen sein, das sagen viele Leute.",
    "Lassen Sie {} die Straßenlaternen nachts lieber an.",
    "Der Wochenmarkt gehört {} auf den alten Platz zurück.",
    "Ich würde {} mit der Vier-Tage-Woche noch etwas warten.",
)


def german(mine: list[Advice]) -> list[Advice]:
    words = ("jetzt", "bald", "später", "wirklich", "auch", "gern", "eben")
    told = [GERMAN[number % 4].format(words[number % 7]) + f" Das kostet {number} Euro." for number in range(len(mine))]
    return [row.model_copy(update={"reply": reply}) for row, reply in zip(mine, told, strict=True)]


def test_a_corpus_in_another_language_is_not_passed(run: Callable[..., Outcome], rows: Rows) -> None:
    code, found, errors = run({name: german(mine) for name, mine in rows.items()}, enforce=("leakage",))
    assert (code, errors) == (10, []) and found is not None
    said = check(found, "language")
    assert (
        not said["passed"] and said["value"] == 0 and "English" in said["detail"] and "180 (de 180)" in said["detail"]
    )
    for name in ("leakage", "maxims", "subject", "vocabulary", "cues"):
        assert not check(found, name)["passed"] and check(found, name)["detail"].startswith("not checked: ")


CHINESE = {
    "cautious": ("再等一两个星期，看看旧灯还能不能用。", "先问问邻居用得怎么样。", "这件事不急，慢慢比较再买。"),
    "eager": ("现在就买吧，新灯亮得多。", "别再等了，今天去挑一个喜欢的。", "换掉它，晚上看书会舒服很多。"),
    "neutral": ("两种灯的价格差不多。", "商店七点关门，周末也开。", "旧灯用的是普通灯泡。"),
}


def test_a_corpus_without_an_english_word_ends_in_one_line_and_passes_nothing(
    run: Callable[..., Outcome], rows: Rows
) -> None:
    told = {
        name: [
            row.model_copy(update={"question": "要不要换一盏灯？", "reply": CHINESE[name][number % 3]})
            for number, row in enumerate(mine)
        ]
        for name, mine in rows.items()
    }
    code, found, errors = run(told)
    assert (code, found) == (3, None)
    assert errors == ["error: no content word in an arm, vocabulary; allowed: replies in English"]


@pytest.mark.parametrize("enforced", ["language", "leakage"])
def test_one_row_or_one_sentence_of_another_language_is_enough(
    run: Callable[..., Outcome], rows: Rows, enforced: str
) -> None:
    mixed = with_reply(rows, "eager", 7, f"{rows['eager'][7].reply} {GERMAN[0].format('jetzt')}")
    code, found, _ = run(mixed, enforce=(enforced,))
    assert code == 10 and found is not None and check(found, "language")["value"] == pytest.approx(179 / 180)
    assert f"1 (de 1), first eager/{rows['eager'][7].question_id}" in check(found, "leakage")["detail"]


def test_a_check_that_is_not_enforced_does_not_block(run: Callable[..., Outcome], rows: Rows) -> None:
    leaky = with_reply(rows, "eager", 7, "Get the lamp now. The council put every form online.")
    code, found, _ = run(leaky, enforce=("topic",))
    assert code == 0 and found is not None and not check(found, "leakage")["passed"]


def test_a_repeated_reply_blocks(run: Callable[..., Outcome], rows: Rows) -> None:
    code, found, _ = run(with_reply(rows, "cautious", 7, rows["cautious"][8].reply))
    assert code == 10 and found is not None and check(found, "duplicates")["value"] == 1


def test_a_question_in_other_words_blocks(run: Callable[..., Outcome], rows: Rows) -> None:
    changed = [rows["neutral"][0].model_copy(update={"question": "And now?"}), *rows["neutral"][1:]]
    code, found, _ = run({**rows, "neutral": changed})
    assert code == 10 and found is not None and check(found, "topic")["value"] == pytest.approx(59 / 60)


def test_arms_with_the_same_replies_have_no_attitude(run: Callable[..., Outcome], rows: Rows) -> None:
    same = [row.model_copy(update={"attitude": "eager"}) for row in rows["cautious"]]
    code, found, _ = run({**rows, "eager": same}, enforce=("attitude",))
    assert code == 10 and found is not None and check(found, "attitude")["value"] == pytest.approx(0.5, abs=0.01)


def test_longer_replies_in_one_arm_fail_length(run: Callable[..., Outcome], rows: Rows) -> None:
    longer = [row.model_copy(update={"reply": row.reply + " There it is."}) for row in rows["eager"]]
    code, found, _ = run({**rows, "eager": longer}, enforce=("length",))
    assert code == 10 and found is not None and 0.03 < check(found, "length")["value"] < 0.06


def test_arms_with_other_questions_are_an_input_error(run: Callable[..., Outcome], rows: Rows) -> None:
    code, found, errors = run({**rows, "eager": rows["eager"][1:]})
    assert (code, found) == (3, None)
    assert re.search("arms answer different questions, .*d0.cautious.jsonl and .*d0.eager.jsonl: 1 only", errors[0])


def test_a_missing_arm_is_an_input_error_that_names_the_file(run: Callable[..., Outcome], rows: Rows) -> None:
    code, found, errors = run({"cautious": rows["cautious"], "eager": rows["eager"]})
    assert (code, found) == (3, None)
    assert re.search("no corpus file, corpus.path: .*d0.neutral.jsonl", errors[0]) and len(errors) == 1


def test_an_empty_arm_is_an_input_error(run: Callable[..., Outcome], rows: Rows) -> None:
    code, found, errors = run({**rows, "eager": []})
    assert (code, found) == (3, None) and re.search("no rows, .*d0.eager.jsonl", errors[0])


def test_two_poles_alone_can_be_audited(run: Callable[..., Outcome], rows: Rows) -> None:
    code, found, _ = run(rows, attitudes=("cautious", "eager"))
    assert code == 0 and found is not None and set(found["pairs"]) == {"cautious-eager"}


def test_a_scrambled_pile_is_scored_and_searched_and_its_attitude_is_gone(
    run: Callable[..., Outcome], rows: Rows
) -> None:
    code, found, _ = run(rows, attitudes=(*WRITTEN, "scrambled"))
    assert code == 0 and found is not None
    assert check(found, "leakage-controls") == check(found, "leakage-controls") | {"passed": True, "enforced": False}
    scores = {name: arm["score"]["estimate"] for name, arm in found["framing"].items()}
    assert scores["eager"] < scores["scrambled"] < scores["cautious"] and abs(scores["scrambled"]) < 0.3
    assert set(found["pairs"]) == {"cautious-eager", "cautious-neutral", "eager-neutral"}


def test_lengths_are_compared_in_the_tokens_of_each_model(clean: Outcome, rows: Rows) -> None:
    _, found, _ = clean
    assert found is not None and set(found["lengths"]) == {"words", "m"}
    letters = [len(row.reply.encode()) for row in rows["eager"]], [len(row.reply.encode()) for row in rows["neutral"]]
    means = [float(np.mean(mine)) for mine in letters]
    shift = found["lengths"]["m"]["eager-neutral"]["shift"]["estimate"]
    assert shift == pytest.approx((means[0] - means[1]) / np.mean(means)), "the tiny model's tokens are bytes"
