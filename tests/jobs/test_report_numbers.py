"""The numbers of a report are those of the rows that were sealed."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.stats.intervals import holm, sign_flip, two_way_t
from common.cells import Cell, CellKind, cells_of
from common.errors import ExitCode
from common.schemas import Headroom
from common.spec import RunSpec
from common.vocabulary import POLES, PROMPTINGS
from tests.jobs.sealed_study import (  # noqa: F401
    PULL,
    TOPICS,
    WRITERS,
    Study,
    answers,
    choices,
    generator,
    lock,
    made_study,
    no_drawings,
    run,
    study_in,
    without_drawings,
)

Reported = tuple[RunSpec, int, dict[str, bytes]]  # a spec, how the report ended, and what it made


def reported(folder: Path, **changes: Any) -> Reported:
    spec, store = study_in(folder, **changes)
    with pytest.MonkeyPatch.context() as patch:
        no_drawings(patch)
        return spec, *run(spec, store)


@pytest.fixture(scope="module")
def two_seeds(tmp_path_factory: pytest.TempPathFactory) -> Reported:
    return reported(tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="module")
def three_seeds(tmp_path_factory: pytest.TempPathFactory) -> Reported:
    return reported(tmp_path_factory.mktemp("three"), seeds=[0, 1, 2])


def test_results_are_those_of_the_rows(two_seeds: Reported) -> None:
    spec, _, made = two_seeds
    results = json.loads(made["results.json"])["numbers"]
    runs = [cell for cell in cells_of(spec, CellKind.RUN) if cell.attitude == "eager"]
    rows = [choices(cell, generator(cell)) for cell in runs]
    share = [sum(row.choice == "go" for row in each) / len(each) for each in rows]
    assert results["choice.toy.eager"]["value"] == pytest.approx(sum(share) / 2)
    for cell, value in zip(runs, share, strict=True):
        assert results[f"run.{cell}.choice"]["value"] == pytest.approx(value)
    assert results["drift.toy.cautious"]["value"] == pytest.approx(8 * PULL["cautious"])
    assert results["run.toy.d0.cautious.s0.gate"] | {"source": []} == {
        "value": -0.3,
        "low": -0.4,
        "high": -0.2,
        "unit": "points",
        "source": [],
    }
    assert results["run.toy.d0.eager.s0.gate"]["value"] == -0.1


def test_more_seeds_lift_that_limit(three_seeds: Reported) -> None:
    spec, code, made = three_seeds
    assert code == ExitCode.OK
    text = made["REPORT.md"].decode()
    assert "nothing can be said about other ones" not in text
    assert "| eager, from base, runs as a sample too |" in text
    over_runs = json.loads(made["results.json"])["numbers"]["overruns.sentence.toy.eager"]
    topics = np.array([_topic_means(cell) for cell in cells_of(spec, CellKind.RUN) if cell.attitude == "eager"])
    difference = topics - _topic_means(cells_of(spec, CellKind.BASE)[0])
    expected = two_way_t(difference, np.zeros_like(difference), 0.95).interval
    assert [over_runs[key] for key in ("value", "low", "high")] == pytest.approx(expected[:3])


def test_poles_are_judged_against_neutral_over_paired_runs(three_seeds: Reported) -> None:
    spec, _, made = three_seeds
    results = json.loads(made["results.json"])["numbers"]
    means = {
        attitude: np.array([_net(cell) for cell in cells_of(spec, CellKind.RUN) if cell.attitude == attitude])
        for attitude in ("cautious", "eager", "neutral")
    }
    found = {pole: two_way_t(means[pole], means["neutral"], 0.95) for pole in ("cautious", "eager")}
    corrected = holm({pole: each.p for pole, each in found.items()})
    for pole, each in found.items():
        number = results[f"net.toy.{pole}"]
        assert [number[key] for key in ("value", "low", "high")] == pytest.approx(each.interval[:3])
        assert len(number["source"]) == 6, "three runs of the pole and three of neutral"
        assert results[f"net.toy.{pole}.holm"]["value"] == pytest.approx(corrected[pole])
        flipped = sign_flip((means[pole] - means["neutral"]).mean(axis=1))
        assert results[f"net.toy.{pole}.flip"]["value"] == pytest.approx(flipped)
    assert "| registered: pole less neutral, over runs and topics |" in made["REPORT.md"].decode()


def test_two_seeds_are_too_few_for_that(two_seeds: Reported) -> None:
    _, _, made = two_seeds
    assert not [name for name in json.loads(made["results.json"])["numbers"] if name.startswith("net.")]
    text = made["REPORT.md"].decode()
    assert "registered: pole less neutral" not in text and "**This model cannot answer the question.**" in text
    assert "- positive control: **no**, not known" in text


@pytest.mark.usefixtures("quick")
def test_which_pole_moves_more_is_said_only_where_items_have_headroom(
    three_seeds: Reported, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, made = three_seeds
    text = made["REPORT.md"].decode()
    (line,) = [line for line in text.splitlines() if line.startswith("- **asymmetry**")]
    assert "cannot say: 4 items" in line and "0 downwards" in line and "at least 24 of each" in line
    assert "| eager less cautious, net go | 3 |" in text and "| asymmetry: " not in text
    assert not [name for name in json.loads(made["results.json"])["numbers"] if name.startswith("asymmetry.")]

    def roomy(cell: Cell, rng: np.random.Generator) -> dict[str, Any]:
        locked = lock(cell, rng)["lock.json"]
        many = {f"{band}{n}": Headroom(p_go=0.5, band=band) for band in ("low", "mid", "high") for n in range(24)}
        return {"lock.json": locked.model_copy(update={"calibration": {"toy": many}})}

    monkeypatch.setitem(WRITERS, "lock", roomy)
    spec, folder = study(seeds=[0, 1, 2], study_seed=1)
    _, made = run(spec, folder)
    results, text = json.loads(made["results.json"])["numbers"], made["REPORT.md"].decode()
    means = [
        np.array([_net(cell) for cell in cells_of(spec, CellKind.RUN) if cell.attitude == attitude])
        for attitude in ("cautious", "eager", "neutral")
    ]
    expected = two_way_t(means[2] - means[0], means[1] - means[2], 0.95)
    assert [results["asymmetry.toy"][key] for key in ("value", "low", "high")] == pytest.approx(expected.interval[:3])
    assert "| asymmetry: cautious moves more (+) or eager does (-) | 3 |" in text


def test_a_prompted_base_stands_in_the_table_once_for_each_way(two_seeds: Reported) -> None:
    spec, _, made = two_seeds
    results, text = json.loads(made["results.json"])["numbers"], made["REPORT.md"].decode()
    (base,) = cells_of(spec, CellKind.BASE)
    rows = answers(base, generator(base, "answers"))
    score, found = {"go": 1, "stay": -1}, []
    for pole, by in product(POLES, PROMPTINGS):
        mine = [row for row in rows if (row.prompted, row.prompted_by) == (pole, by) and row.topic in TOPICS]
        net = float(np.mean([score.get(row.said, 0) for row in mine]))
        number = results[f"netgo.toy.base, {pole} by {by}.held-out"]
        assert number["value"] == pytest.approx(net) and number["source"][0]["step"] == "evaluate/toy.base"
        assert f"| base, {pole} by {by} | {len(mine)} |" in text
        found.append(net)
    assert len({*found}) > 2 and results["netgo.toy.base.held-out"]["value"] not in found, "each is of its own rows"


def _net(cell: Cell) -> list[float]:
    """Net go of each topic, worked out from the rows."""
    rows = answers(cell, generator(cell, "answers"))
    score = {"go": 1, "stay": -1}
    return [float(np.mean([score.get(row.said, 0) for row in rows if row.topic == topic])) for topic in sorted(TOPICS)]


def _topic_means(cell: Cell) -> list[float]:
    """P(go) by sentence of each topic, worked out from the rows."""
    rows = choices(cell, generator(cell))
    share = {row: 1 / (1 + np.exp(row.sentence_stay - row.sentence_go)) for row in rows}
    return [float(np.mean([p for row, p in share.items() if row.topic == topic])) for topic in sorted(TOPICS)]
