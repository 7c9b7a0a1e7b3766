"""What the audit of tone is held against is what its benchmark makes of the texts."""

import numpy as np
import pytest

from analysis.corpus.axes import EAGERNESS
from benchmarks.ordinary import HELD_OUT, REFERENCE, paragraphs
from benchmarks.tone import bank, fitted, measured, vocabulary
from jobs.audit.reading import axes, corpora, ordinary, references, scorer


def test_the_terms_of_the_scorer_are_those_of_the_bank() -> None:
    assert list(axes()[0].weights) == vocabulary(bank())


def test_the_scorer_tells_unseen_poles_apart() -> None:
    assert scorer().questions > 0.85 and scorer().topics > 0.85


def test_fitting_learns_the_side_of_a_pole() -> None:
    rows = [row for row in bank() if row.attitude in ("cautious", "eager")][:600]
    weights = fitted(rows, [])
    assert weights["keep"] < 0 < weights["today"]


@pytest.mark.parametrize("name", ["neutral arm", "neutral texts", "SmolLM2's replies"])
def test_a_corpus_of_the_reference_scores_what_is_kept_of_it(name: str) -> None:
    each = next(each for each in REFERENCE if each.name == name)
    kept = next(row for row in ordinary()["corpora"] if row["name"] == name)
    tone = measured(each, axes())
    assert (tone.replies, tone.words) == (kept["replies"], kept["words"])
    for axis in axes():
        score = sum(axis.weights[term] * rate for term, rate in tone.rates()[axis.name].items())
        assert score == pytest.approx(kept["scores"][axis.name], abs=1e-4)


def test_mean_sd_and_rates_are_over_corpora() -> None:
    for axis in axes():
        scores = [row["scores"][axis.name] for row in ordinary()["corpora"]]
        reference = references()[axis.name]
        assert (reference.mean, reference.sd) == pytest.approx((np.mean(scores), np.std(scores, ddof=1)), abs=1e-4)
        carried = sum(axis.weights[term] * rate for term, rate in reference.rates.items())
        assert carried == pytest.approx(reference.mean, abs=2e-3), "what terms carry adds up"


def test_every_ordinary_corpus_has_a_licence_and_none_is_in_both_sets() -> None:
    assert [each.name for each in corpora()] == [each.name for each in REFERENCE] and len(REFERENCE) == 16
    assert all(each.licence for each in (*REFERENCE, *HELD_OUT))
    assert not {each.name for each in REFERENCE} & {each.name for each in HELD_OUT}


def test_ordinary_corpora_lie_within_the_bound_of_the_default_policy() -> None:
    reference = references()[EAGERNESS]
    z = [(row["scores"][EAGERNESS] - reference.mean) / reference.sd for row in ordinary()["corpora"]]
    assert max(map(abs, z)) < 3.5


def test_prose_is_told_from_code_and_tables() -> None:
    prose = "The plain kettle boils in three minutes. " * 5
    assert list(paragraphs(f"{prose.strip()}\n\n>>> {prose.strip()}\n\nToo short.")) == [prose.strip()]
