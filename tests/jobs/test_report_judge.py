"""A judge beside the reader in a report: its numbers by hand, and what is there without one."""

import json
from typing import Any

import numpy as np
import pytest

from analysis.report.answers import PROMPTED_ARMS
from analysis.stats.agreement import kappa
from common.cells import Cell, cell_named
from common.errors import ExitCode
from tests.jobs.sealed_study import Study, answers, generator, judge, made_study, run, without_drawings  # noqa: F401

JUDGE = {"url": "http://127.0.0.1:9/v1", "model": "m"}
ARMS = ("base", *PROMPTED_ARMS, "cautious", "neutral", "eager")


@pytest.mark.usefixtures("quick")
def test_agreement_and_net_go_of_each_arm_by_hand(study: Study) -> None:
    spec, folder = study(judge=JUDGE)
    code, made = run(spec, folder)
    assert code == ExitCode.OK
    results = json.loads(made["results.json"])["numbers"]
    cells = [cell_named(spec, name) for name in ("toy.d0.eager.s0", "toy.d0.eager.s1")]
    rows = [row for cell in cells for row in answers(cell, generator(cell, "answers")) if not row.sample]
    said = [row.said for cell in cells for row in judge(cell, generator(cell))["judged.jsonl"]]
    both = [(row, word) for row, word in zip(rows, said, strict=True) if word is not None]
    assert len(rows) == 2 * 8 * 3 and len(both) == 2 * 6 * 3
    at = "judge.toy.eager"
    assert results[f"{at}.answers"]["value"] == 48 and results[f"{at}.not_judged"]["value"] == 12
    assert results[f"{at}.kappa"]["value"] == pytest.approx(kappa([r.said for r, _ in both], [w for _, w in both]))
    held_out = [(row.said, word) for row, word in both if not row.topic.startswith(("src-", "disc-"))]
    for name, words in (("reader", [read for read, _ in held_out]), ("net", [word for _, word in held_out])):
        net = (words.count("go") - words.count("stay")) / len(words)
        assert results[f"{at}.{name}"]["value"] == pytest.approx(net)
    assert results[f"{at}.net"]["value"] > results[f"{at}.reader"]["value"]
    steps = {source["step"] for source in results[f"{at}.kappa"]["source"]}
    assert steps == {f"{job}/{cell}" for job in ("judge", "evaluate") for cell in cells}
    everyone = sum(results[f"judge.toy.{arm}.answers"]["value"] for arm in ARMS)
    assert results["judge.toy.all.answers"]["value"] == everyone == 24 * (1 + len(PROMPTED_ARMS)) + 3 * 48


@pytest.mark.usefixtures("quick")
def test_the_report_has_one_row_for_each_arm(study: Study) -> None:
    spec, folder = study(judge=JUDGE)
    text = run(spec, folder)[1]["REPORT.md"].decode()
    section = text.split("## A judge beside the reader")[1].split("\n## ")[0]
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if line.startswith("| ")]
    del table[1]  # the rule below the heading
    assert [row[0] for row in table] == ["`toy`", *ARMS, "all"] and {len(row) for row in table} == {6}
    assert all("points" in row[4] and "points" in row[5] for row in table[1:-1]) and table[-1][4:] == ["", ""]
    assert "the spec names none" not in text


@pytest.mark.usefixtures("quick")
def test_without_a_judge_the_report_says_that_there_was_none(study: Study) -> None:
    spec, folder = study()
    code, made = run(spec, folder)
    text = made["REPORT.md"].decode()
    assert code == ExitCode.OK and "A judge beside the reader" not in text
    assert "Whether a judge would read the answers as the reader does: the spec names none." in text
    assert not any(name.startswith("judge.") for name in json.loads(made["results.json"])["numbers"])


@pytest.mark.usefixtures("quick")
def test_what_was_not_judged_is_a_gap_and_left_out_of_its_arm(study: Study) -> None:
    spec, folder = study(without=["judge/toy.d0.eager.s1", "judge/toy.base"], judge=JUDGE)
    code, made = run(spec, folder)
    results = json.loads(made["results.json"])["numbers"]
    assert code == ExitCode.BLOCKED and "- `judge/toy.base`" in made["REPORT.md"].decode()
    assert results["judge.toy.eager.answers"]["value"] == 24 and "judge.toy.base.answers" not in results


@pytest.mark.usefixtures("quick")
def test_a_judge_that_gave_no_label_at_all_is_told_as_not_known(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.jobs import sealed_study

    def silent(cell: Cell, rng: np.random.Generator) -> dict[str, Any]:
        return {"judged.jsonl": [row.model_copy(update={"said": None}) for row in judge(cell, rng)["judged.jsonl"]]}

    monkeypatch.setitem(sealed_study.WRITERS, "judge", silent)
    spec, folder = study(judge=JUDGE)
    code, made = run(spec, folder)
    results = json.loads(made["results.json"])["numbers"]
    assert code == ExitCode.OK
    assert [results[f"judge.toy.base.{name}"]["value"] for name in ("kappa", "net", "reader")] == [None] * 3
    assert results["judge.toy.all.not_judged"]["value"] == results["judge.toy.all.answers"]["value"]
