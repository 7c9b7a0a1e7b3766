"""The simulation of whole studies analyses answers as a report does, and knows the truth that it planted."""

import json
from itertools import combinations

import numpy as np
import pytest

from analysis.stats.answers import net_contrast, net_family
from analysis.stats.asymmetry import Trio, asymmetry
from analysis.stats.intervals import ALPHA
from benchmarks import coverage
from common.provenance import ROOT
from common.records import Answer
from common.vocabulary import POLES, SAID
from tests.analysis.stats.rows import answer

ARMS = coverage.ARMS


def rows(said: np.ndarray, cell: str) -> list[Answer]:
    """The answers of one simulated run, (topics, items, answers), as rows."""
    return [
        answer(f"{chr(97 + topic)}{item}", SAID[word], cell=cell, sample=sample, proposes="go" if item % 2 else "stay")
        for (topic, item, sample), word in np.ndenumerate(said)
    ]


def test_a_simulated_study_is_analysed_as_a_real_one() -> None:
    said = coverage.study(coverage.EFFECT, "by turns", 5, 0.4, np.random.default_rng(1))
    assert {*np.unique(said)} == {*range(len(SAID))}
    arms = {
        arm: [rows(run, f"{arm}{seed}") for seed, run in enumerate(made)] for arm, made in zip(ARMS, said, strict=True)
    }
    net = coverage.net_go(said)
    real = net_family({pole: (arms[pole], arms["neutral"]) for pole in POLES})
    more = asymmetry(Trio(arms["cautious"], arms["eager"], arms["neutral"]))
    for shift in (-0.2, 0.0, 0.2):  # wherever the truth may lie
        means = {"neutral": 0.0, "cautious": shift, "eager": shift}
        found = coverage.analysed(net, means)
        assert found.covers == tuple(real[p].interval.low <= shift <= real[p].interval.high for p in POLES)
        assert found.asymmetry_covers == (more.interval.low <= -2 * shift <= more.interval.high)
        assert found.rejected == tuple(real[pole].p_holm <= ALPHA for pole in POLES)
    means = net.mean(axis=(1, 2))
    assert net_contrast(arms["eager"], arms["neutral"]).interval.estimate == pytest.approx(means[2] - means[0])


def test_subsets_overlap_as_they_are_called() -> None:
    rng = np.random.default_rng(2)
    for kind in coverage.SUBSETS:
        for runs in coverage.RUNS:
            drawn = [{*mine.tolist()} for mine in coverage.subset(kind, runs, rng)]
            assert [len(mine) for mine in drawn] == [coverage.QUESTIONS] * runs
            common = {(a, b): len(drawn[a] & drawn[b]) for a, b in combinations(range(runs), 2)}
            if kind == "at random":
                assert np.mean([*common.values()]) == pytest.approx(120 * 120 / 657, abs=4)
            else:
                assert not [pair for pair, many in common.items() if many and max(pair) < 5]
    assert sum(common.values()) > 0 and coverage.SUBSETS[-1] == "at random"
    again = coverage.subset("by turns", 8, rng)
    assert len(np.unique(again)) == 657 and len(np.unique(coverage.subset("disjoint", 8, rng))) == 960


def test_the_truth_is_the_mean_over_many_studies() -> None:
    rng = np.random.default_rng(3)
    made = [coverage.net_go(coverage.study(coverage.EFFECT, "at random", 8, 0.4, rng)) for _ in range(400)]
    means = np.array([net.mean(axis=(1, 2)) for net in made])
    error = means.std(axis=0, ddof=1) / np.sqrt(len(made))
    for arm, mean, off in zip(ARMS, means.mean(axis=0), error, strict=True):
        assert abs(mean - coverage.truth(coverage.EFFECT.get(arm, 0.0), 0.4)) < 4 * off < 0.05


def test_a_run_has_the_effect_of_its_questions() -> None:
    """Runs of the same questions lean alike in an arm, and those of others by as much as they are meant to."""
    rng = np.random.default_rng(4)
    by_run = [coverage.net_go(coverage.study({}, "disjoint", 8, sd, rng)).mean(axis=2).std(axis=1) for sd in (0.0, 1.5)]
    assert by_run[1].min() > 3 * by_run[0].max()


def test_what_is_published_is_what_was_recorded() -> None:
    recorded = json.loads((ROOT / "benchmarks" / "coverage.json").read_text())["results"]["rows"]
    assert [(row["subsets"], row["runs"], row["subset_sd"]) for row in recorded] == [
        (kind, runs, sd) for kind in coverage.SUBSETS for runs in coverage.RUNS for sd in coverage.SUBSET_SD
    ]
    text = (ROOT / "docs" / "benchmarks.md").read_text()
    for row in recorded:
        shares = (f"{100 * row[name]:.1f}" for name in coverage.Row._fields[3:])
        line = f"| {row['subsets']} | {row['runs']} | {row['subset_sd']} | {' | '.join(shares)} |"
        assert line in text, line
