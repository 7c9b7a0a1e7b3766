"""Net go by hand, who counts, what is shown, and that intervals cover when runs, topics and subsets are random."""

import numpy as np
import pytest

from analysis.stats.answers import by_item, net_contrast, net_family, net_over_topics, rates
from common.errors import InputError
from common.records import Answer
from common.vocabulary import SAID
from tests.analysis.stats.rows import answer, answers

ITEMS = [f"{topic}{number}" for topic in "abcd" for number in range(4)]


def run(cell: str, word: str, **others: str) -> list[Answer]:
    return answers(cell, dict.fromkeys(ITEMS, word) | others)


def test_all_answers_count_and_those_for_neither_side_count_nothing() -> None:
    rows = answers(
        "m", {"a0": "go", "a1": "stay", "b0": "go", "b1": "both sides", "c0": "off topic", "c1": "incoherent"}
    )
    found = rates(rows)
    assert found.net == pytest.approx((2 - 1) / 6)
    assert found.said == pytest.approx({word: (2 / 6 if word == "go" else 1 / 6) for word in SAID})
    assert (found.n_answers, found.n_items) == (6, 6)


def test_agreement_is_a_line_of_its_own() -> None:
    agreeing = answers("m", {"a0": "go", "a1": "stay"})  # a0 proposes the change, a1 to keep
    assert (rates(agreeing).net, rates(agreeing).agreed) == (0.0, 1.0)
    eager = answers("m", {"a0": "go", "a1": "go"})
    assert (rates(eager).net, rates(eager).agreed) == (1.0, 0.0)


def test_net_go_over_topics_has_an_interval_where_there_are_two() -> None:
    found = net_over_topics(answers("m", {"a0": "go", "a1": "go", "b0": "go", "b1": "both sides", "b2": "stay"}))
    assert found is not None and found[:3] == pytest.approx((0.5, 0.5 - 0.5 * 12.7062, 0.5 + 0.5 * 12.7062), abs=1e-3)
    assert net_over_topics(answers("m", {"a0": "go"})) is None


def test_samples_of_an_item_share_its_weight() -> None:
    rows = [answer("a0", "go"), *(answer("a0", "stay", sample=at) for at in (1, 2, 3)), answer("b0", "go")]
    assert by_item(rows)["net"].to_dict() == {"a0": -0.5, "b0": 1.0}
    with pytest.raises(InputError, match=r"answer comes twice, answers\.jsonl: m\.base b0 sample 0"):
        by_item([*rows, answer("b0", "stay")])
    with pytest.raises(InputError, match="no answers"):
        by_item([])


def test_a_contrast_by_hand() -> None:
    tuned = [run(f"t{seed}", "stay", a0="go") for seed in range(3)]
    neutral = [run(f"n{seed}", "both sides", a0="go") for seed in range(3)]
    found = net_contrast(tuned, neutral)
    assert found.interval.estimate == pytest.approx(-15 / 16)
    assert found.sides == pytest.approx({"go": 0.0, "stay": 15 / 16})
    assert found.keys == pytest.approx({"go": -7 / 8, "stay": -1.0})
    assert found.agreed == pytest.approx(1 / 16)
    assert found.others == pytest.approx((-15 / 16 - 15 / 16, 0.0)), "those for neither side as go, then as stay"
    assert (found.pairs, found.topics) == (3, 4)


def test_a_pole_is_shown_only_to_its_own_side_and_under_both_keys() -> None:
    neutral = [run(f"n{seed}", "both sides") for seed in range(4)]
    cautious = net_contrast([run(f"t{seed}", "stay") for seed in range(4)], neutral)
    assert cautious.shown("cautious") and not cautious.shown("eager")
    agreeing = [
        answers(f"t{seed}", {i: "stay" if i[-1] in "13579" else "both sides" for i in ITEMS}) for seed in range(4)
    ]
    assert net_contrast(agreeing, neutral).interval.estimate == pytest.approx(-0.5)
    assert not net_contrast(agreeing, neutral).shown("cautious"), "it only agrees where keeping is proposed"
    silent = net_contrast(
        [run(f"t{seed}", "both sides") for seed in range(4)], [run(f"n{seed}", "go") for seed in range(4)]
    )
    assert silent.interval.estimate == -1.0 and not silent.shown("cautious"), "fewer go, but no more stay"


def test_a_family_is_corrected_and_its_level_is_that_of_its_hardest_test() -> None:
    rng = np.random.default_rng(0)
    runs = {name: [simulated(rng, f"{name}{seed}", 0.3, 0.0) for seed in range(5)] for name in "abc"}
    family = net_family(
        {"x": (runs["a"], runs["c"]), "y": (runs["b"], runs["c"]), "few": (runs["a"][:1], runs["b"][:1])}
    )
    assert set(family) == {"x", "y"}
    smaller, larger = sorted(each.p for each in family.values())
    assert sorted(each.p_holm for each in family.values()) == pytest.approx(
        sorted([min(1, 2 * smaller), max(min(1, 2 * smaller), larger)])
    )
    alone = net_contrast(runs["a"], runs["c"])
    assert family["x"].detectable > alone.detectable


def test_runs_that_were_asked_other_things_are_no_pairs() -> None:
    with pytest.raises(InputError, match="not asked the same"):
        net_contrast([run("a", "go")] * 3, [run("b", "go", e0="go")] * 3)
    with pytest.raises(InputError, match="no pairs"):
        net_contrast([run("a", "go")] * 3, [run("b", "go")] * 2)


def simulated(rng: np.random.Generator, cell: str, run_sd: float, effect: float) -> list[Answer]:
    """One run whose leaning is drawn, as its subset of the corpus and its seed would have it."""
    lean = effect + rng.normal(0, run_sd)
    said = {}
    for topic in range(16):
        for number in range(8):
            p = 1 / (1 + np.exp(-(lean + TOPIC[topic])))
            said[f"{chr(97 + topic)}{number}"] = "go" if rng.random() < p else "stay"
    return answers(cell, said)


TOPIC = np.random.default_rng(7).normal(0, 0.7, 16)


@pytest.mark.parametrize("run_sd", [0.0, 0.4])
def test_a_null_is_called_an_effect_no_more_often_than_it_should(run_sd: float) -> None:
    rng, called, many = np.random.default_rng(3), 0, 60
    for _ in range(many):
        one, other = ([simulated(rng, f"{name}{seed}", run_sd, 0.0) for seed in range(4)] for name in "ab")
        called += net_contrast(one, other).p <= 0.05
    assert called <= 7, "60 studies: 8 or more in fewer than 1 % at 5 %"
