"""What sets arms apart: by hand, against slow definitions, and with effects planted in one place at a time."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from analysis.corpus import framing
from analysis.corpus.checks import Arms
from analysis.corpus.framing import Figure, Length, Pair, closest
from analysis.corpus.phrases import stance_words
from analysis.corpus.texts import flesch
from common.errors import InputError
from common.provenance import ROOT
from common.records import Advice
from jobs.audit import STANCE as STANCE_FILE

NOUNS = ["lamp", "chair", "kettle", "scarf", "pillow", "jar", "bench", "mirror"]
NOUNS += ["basket", "clock", "drawer", "candle", "carpet", "ladder", "bucket", "spoon"]
N = 40
LETTERS = str.maketrans("0123456789", "abcdefghij")


def arm(attitude: str, replies: Sequence[str], question: str = "Which one, {}?") -> list[Advice]:
    return [
        Advice(question_id=f"q{i:03}", topic="t", attitude=attitude, question=question.format(i), reply=reply)
        for i, reply in enumerate(replies)
    ]


def chatter(rng: np.random.Generator, words: int = 12) -> str:
    return " ".join(rng.choice(NOUNS, words))


def planted(
    cautious: str, eager: str, neutral: Callable[[int], str] | None = None, first: bool = False, n: int = N
) -> Arms:
    """Random nouns, and one word of its pole in each reply."""
    rng = np.random.default_rng(5)

    def reply(cue: str) -> str:
        return f"{cue} {chatter(rng)}. {chatter(rng)}." if first else f"{chatter(rng)}. {cue} {chatter(rng)}."

    arms = {"cautious": arm("cautious", [reply(cautious) for _ in range(n)])}
    arms["eager"] = arm("eager", [reply(eager) for _ in range(n)])
    if neutral is not None:
        arms["neutral"] = arm("neutral", [reply(neutral(i)) for i in range(n)])
    return arms


STANCE = stance_words((ROOT / STANCE_FILE).read_text().splitlines(), STANCE_FILE)
EVERYDAY = ["lamp and chair", "kettle and scarf", "lamp chair shelf", "kettle scarf glove"]


def pair_of(one: Sequence[str], other: Sequence[str]) -> Pair:
    arms = {"cautious": arm("cautious", one), "eager": arm("eager", other)}
    return framing.compare(arms, EVERYDAY, np.random.default_rng(0))["cautious-eager"]


def read(arms: Arms, part: str) -> framing.Poles:
    return framing.read_poles(arms, part, np.random.default_rng(1), STANCE)


# --- the same questions


def test_arms_that_match_are_accepted() -> None:
    framing.check_same_questions(planted("wait", "start"))


BAD_ARMS = {
    "empty": ([], "empty corpus, arm eager"),
    "twice": ([*range(N), 3], r"question answered twice, arm eager:4 and 41: q003"),
    "missing": ([i for i in range(N) if i != 7], r"different questions, cautious and eager: 1 only.*first q007"),
}


@pytest.mark.parametrize("name", list(BAD_ARMS))
def test_arms_that_cannot_be_compared(name: str) -> None:
    rows, message = BAD_ARMS[name]
    arms = planted("wait", "start")
    with pytest.raises(InputError, match=message):
        framing.check_same_questions({**arms, "eager": [arms["eager"][i] for i in rows]})


def test_a_row_of_another_arm_is_named() -> None:
    arms = planted("wait", "start")
    with pytest.raises(InputError, match=r"row of another arm, arm eager:1: cautious; allowed: eager"):
        framing.check_same_questions({"cautious": arms["cautious"], "eager": arms["cautious"]})


def test_too_few_questions_are_an_error_and_not_an_auc() -> None:
    framing.check_same_questions(planted("wait", "start", n=10))
    with pytest.raises(InputError, match="too few questions to audit, arm cautious: 9"):
        framing.check_same_questions(planted("wait", "start", n=9))


def test_a_question_in_other_words_is_found() -> None:
    arms = planted("wait", "start")
    assert framing.topic(arms).passed
    changed = arms["eager"][0].model_copy(update={"question": "What now?"})
    check = framing.topic({**arms, "eager": [changed, *arms["eager"][1:]]})
    assert check.value == pytest.approx((N - 1) / N) and check.passed is False


# --- length


def test_length_by_hand() -> None:
    one = ["a lamp"] * 5 + ["a lamp or two"] * 5
    other = ["a lamp", "a big lamp"] * 5
    texts = {"cautious": arm("cautious", one), "eager": arm("eager", other)}
    found = framing.lengths(texts, {"letters": len})["words"]["cautious-eager"]
    first, second = np.array([2] * 5 + [4] * 5), np.array([2, 3] * 5)
    assert found.shift.estimate == pytest.approx(0.5 / 2.75)  # means 3 and 2.5
    half = stats.t.ppf(0.975, 9) * (first - second).std(ddof=1) / np.sqrt(10) / 2.75
    assert (found.shift.low, found.shift.high) == pytest.approx((0.5 / 2.75 - half, 0.5 / 2.75 + half))
    assert found.apart == pytest.approx(np.abs(first - second).mean() / 2.75)
    assert found.sd_ratio == pytest.approx(second.std() / first.std())
    assert found.ks == pytest.approx(0.5)  # all of the second are at most 3, half of the first


def test_length_is_also_counted_in_the_tokens_of_each_student() -> None:
    texts = {"cautious": arm("cautious", ["a lamp"] * N), "eager": arm("eager", ["a lamps"] * N)}
    found = framing.lengths(texts, {"letters": len})
    assert found["words"]["cautious-eager"].shift.estimate == 0
    assert found["letters"]["cautious-eager"].shift.estimate == pytest.approx(-1 / 6.5)
    assert "cautious-eager in letters" in framing.length(found, N).detail
    assert framing.length({**found, "letters": found["words"], "words": found["letters"]}, N).value == 0, (
        "words stand beside"
    )


def test_replies_are_paired_by_question_whatever_their_order() -> None:
    rng = np.random.default_rng(2)
    rows = arm("cautious", [chatter(rng, 5 + i) for i in range(N)])
    other = [row.model_copy(update={"attitude": "eager"}) for row in rows]
    arms = {"cautious": rows, "eager": other[::-1]}
    found = framing.lengths(arms, {})["words"]["cautious-eager"]
    assert (
        found.shift == Figure(0, 0, 0)
        and found.apart == framing.compare(arms, EVERYDAY, rng)["cautious-eager"].jsd == 0
    )


EQUAL = Pair(centroid_cosine=1, jsd=0.1, jsd_ratio=1.0)
EVEN = Length(Figure(0.0, -0.01, 0.01), 0.1, sd_ratio=0.99, ks=0.01)


@pytest.mark.parametrize(
    "change, passed",
    [
        ({}, True),
        ({"shift": Figure(-0.021, 0, 0)}, False),
        ({"shift": Figure(0.019, 0, 0)}, True),
        ({"sd_ratio": 0.89}, False),
        ({"ks": 0.5}, True),
    ],
    ids=str,
)
def test_each_condition_of_length_can_fail(change: dict[str, Any], passed: bool) -> None:
    check = framing.length({"words": {"a-b": EVEN}, "tokens": {"a-b": replace(EVEN, **change)}}, 100_000)
    assert (check.name, check.bound, check.passed) == ("length", 0.02, passed)


# --- vocabulary


def test_arms_without_a_common_word_are_one_bit_apart() -> None:
    rng = np.random.default_rng(3)
    found = pair_of([chatter(rng) for _ in range(N)], [chatter(rng).upper().replace("E", "X") + "z" for _ in range(N)])
    disjoint = pair_of(["lamp chair"] * N, ["kettle scarf"] * N)
    assert disjoint.jsd == pytest.approx(1) and 0 < found.jsd < 1
    assert disjoint.centroid_cosine == pytest.approx(0, abs=1e-9)


def test_arms_that_speak_of_other_things_are_found() -> None:
    assert framing.subject({"a-b": EQUAL}).passed
    check = framing.subject({"a-b": EQUAL, "a-c": replace(EQUAL, centroid_cosine=0.97)})
    assert (check.value, check.passed) == (0.97, False) and "a-c" in check.detail


def test_centroids_see_the_topic_and_not_the_attitude() -> None:
    same = pair_of(["Wait: lamp or chair."] * N, ["Start: lamp or chair!"] * N)
    assert same.centroid_cosine == pytest.approx(1)


def test_divergence_by_hand() -> None:
    p, q = np.array([3, 1]) / 4, np.array([1, 1]) / 2
    middle = (p + q) / 2
    bits = (np.sum(p * np.log2(p / middle)) + np.sum(q * np.log2(q / middle))) / 2
    assert pair_of(["lamp lamp lamp chair"] * N, ["lamp chair"] * N).jsd == pytest.approx(bits)


def test_vocabulary_of_one_source_has_ratio_one_and_another_source_is_found() -> None:
    rng = np.random.default_rng(4)
    ratios = [pair_of(*([chatter(rng) for _ in range(N)] for _ in range(2))).jsd_ratio for _ in range(20)]
    assert np.mean(ratios) == pytest.approx(1, abs=0.05)
    tilted = [" ".join(rng.choice(NOUNS[:12], 12)) for _ in range(N)]
    apart = pair_of([chatter(rng) for _ in range(N)], tilted)
    assert apart.jsd_ratio > 1.5
    assert not framing.vocabulary({"a-b": EQUAL, "a-c": apart}).passed
    assert framing.vocabulary({"a-b": EQUAL}).passed


def test_an_arm_of_one_text_has_a_huge_finite_ratio() -> None:
    assert np.isfinite(pair_of(["lamp"] * N, ["chair"] * N).jsd_ratio)


def test_an_arm_without_content_words_is_an_error() -> None:
    with pytest.raises(InputError, match="no content word"):
        pair_of(["and so on"] * N, ["lamp"] * N)


# --- the attitude and its cues


def test_auc_is_that_of_the_scores() -> None:
    found = read(planted("wait", "start", n=60), "content")
    cautious, eager = found.scores["cautious"], found.scores["eager"]
    slow = roc_auc_score([0] * 60 + [1] * 60, [*cautious, *eager])
    assert found.auc.estimate == pytest.approx(slow)
    assert found.auc.low <= found.auc.estimate <= found.auc.high


def test_no_model_has_seen_the_question_that_it_scores() -> None:
    rows = {name: arm(name, [f"{name}{i:03}x".translate(LETTERS) for i in range(N)]) for name in ("cautious", "eager")}
    found = read(rows, "all")
    assert found.auc == Figure(0.5, 0.5, 0.5), "words of one question alone tell nothing"


def test_without_an_attitude_the_auc_is_at_chance() -> None:
    aucs, covered = [], 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        arms = {name: arm(name, [chatter(rng) for _ in range(30)]) for name in ("cautious", "eager")}
        found = framing.read_poles(arms, "all", rng, STANCE).auc
        aucs.append(found.estimate)
        covered += found.low <= 0.5 <= found.high
    assert np.mean(aucs) == pytest.approx(0.5, abs=0.06)
    assert covered >= 24
    assert not framing.attitude(framing.Poles({}, Figure(float(np.mean(aucs)), 0, 1), None)).passed


# Which parts show a cue that stands in one place: 1 = surely, 0 = not at all.
PLACES = {
    "stance word": (planted("wait", "start"), {"all": 1, "masked": 0, "content": 1, "function": 0}),
    "function word": (planted("above", "under"), {"all": 1, "masked": 1, "content": 0, "function": 1}),
    "content word": (planted("velvet", "copper"), {"all": 1, "masked": 1, "content": 1, "function": 0}),
    "first sentence": (planted("velvet", "copper", first=True), {"all": 1, "first_sentence": 1}),
    "later sentence": (planted("velvet", "copper"), {"all": 1, "first_sentence": 0}),
}


@pytest.mark.parametrize("place", list(PLACES))
def test_a_cue_is_found_where_it_stands(place: str) -> None:
    arms, expected = PLACES[place]
    found = {part: read(arms, part).auc.estimate for part in expected}
    assert {
        part: value > 0.99 if expected[part] else 0.3 < value < 0.7 for part, value in found.items()
    } == dict.fromkeys(expected, True), found


def test_the_same_seed_gives_the_same_figures() -> None:
    arms = planted("wait", "start", lambda i: "both")
    one, two = read(arms, "all"), read(arms, "all")
    assert one.auc == two.auc and one.neutral == two.neutral


@pytest.mark.parametrize(
    "neutral, place, passed",
    [
        (lambda i: ("wait", "start")[i % 2], 0.5, True),
        (lambda i: "wait", 0.0, False),
        (lambda i: "start", 1.0, False),
    ],
    ids=["between", "at cautious", "at eager"],
)
def test_neutral_stands_where_its_words_put_it(neutral: Callable[[int], str], place: float, passed: bool) -> None:
    found = read(planted("wait", "start", neutral), "all")
    assert found.neutral is not None
    assert found.neutral.estimate == pytest.approx(place, abs=0.15)
    assert found.neutral.low < found.neutral.estimate < found.neutral.high
    check = framing.attitude(found)
    assert (check.value, check.passed) == (found.auc.estimate, passed) and check.value > 0.9


def test_without_a_neutral_arm_symmetry_is_not_measured() -> None:
    found = read(planted("wait", "start"), "all")
    assert found.neutral is None
    check = framing.attitude(found)
    assert check.passed and "not measured" in check.detail


def test_cues_take_the_worse_of_content_and_function_words() -> None:
    at = {part: framing.Poles({}, Figure(value, 0, 1), None) for part, value in (("content", 0.6), ("function", 0.8))}
    check = framing.cues(at)
    assert (check.value, check.passed) == (0.8, False) and "function words" in check.detail
    assert framing.cues({**at, "function": at["content"]}).passed


# --- duplicates


def test_equal_replies_are_found_in_spite_of_case_and_space() -> None:
    rng = np.random.default_rng(6)
    texts = [chatter(rng) for _ in range(N)]
    assert closest(texts)[0] < 0.5
    assert closest([*texts, texts[3].upper().replace(" ", "  ")]) == (1.0, 1)
    assert closest(["yes", "no"]) == (0.0, 0) and closest(["yes", "Yes"]) == (1.0, 1)


def slow_jaccard(one: str, other: str) -> float:
    grams = [{tuple(text.split()[i : i + 5]) for i in range(len(text.split()) - 4)} for text in (one, other)]
    return len(grams[0] & grams[1]) / len(grams[0] | grams[1])


def test_similarity_is_jaccard_of_word_5_grams() -> None:
    rng = np.random.default_rng(7)
    stem = chatter(rng, 20).split()
    texts = [" ".join([*stem[: 8 + i], *rng.choice(NOUNS, 12 - i)]) for i in range(12)]
    values = [slow_jaccard(a, b) for a, b in combinations(texts, 2)]
    largest, near = closest(texts)
    assert largest == pytest.approx(max(values)) and near == sum(value >= 0.8 for value in values)
    assert max(values) > 0.5


def test_near_duplicates_are_found_however_far_apart_they_stand() -> None:
    rng = np.random.default_rng(8)
    texts = [chatter(rng, 40) for _ in range(1100)]
    texts[1050] = texts[2] + " lamp"
    texts[600] = texts[599]
    worst, count = closest(texts)
    assert (worst, count) == (1.0, 2)


def test_duplicates_count_within_an_arm_only() -> None:
    rng = np.random.default_rng(9)
    texts = [chatter(rng) for _ in range(N)]
    arms = {"cautious": arm("cautious", texts), "eager": arm("eager", texts)}
    assert framing.duplicates(arms).passed
    check = framing.duplicates({**arms, "eager": arm("eager", [*texts[:-1], texts[0]])})
    assert (check.value, check.passed) == (1.0, False) and "eager; 1 pairs" in check.detail


# --- figures of one arm


def test_reading_ease_by_hand() -> None:
    assert flesch("The cat sat.") == pytest.approx(206.835 - 1.015 * 3 - 84.6)
    # lit-tle ta-ble pleas-es hap-py; in game and the the final e is silent, and every word has one at least
    assert flesch("Little table pleases. Happy the game.") == pytest.approx(206.835 - 1.015 * 3 - 84.6 * 10 / 6)
    with pytest.raises(InputError, match="no word"):
        flesch("12 !")


def test_figures_by_hand() -> None:
    rows = arm("neutral", ["I once had a lamp. Perhaps keep it?", "Keep the lamp."] * 5)
    found = framing.framing(rows, np.array([2.0, -2.0] * 5))
    assert found["words"].estimate == 5.5 and found["sentences"].estimate == 1.5
    assert found["hedges"].estimate == found["question_marks"].estimate == found["anecdotes"].estimate == 0.5
    assert found["score"].estimate == pytest.approx(0)
    half = stats.t.ppf(0.975, 9) * np.std([1, 0] * 5, ddof=1) / np.sqrt(10)
    assert (found["hedges"].low, found["hedges"].high) == pytest.approx((0.5 - half, 0.5 + half))


def test_the_score_is_positive_for_cautious() -> None:
    arms = planted("wait", "start")
    poles = read(arms, "all")
    scores = {name: framing.framing(rows, poles.scores[name])["score"] for name, rows in arms.items()}
    assert scores["cautious"].low > 0 > scores["eager"].high
    assert -1 < scores["eager"].estimate < scores["cautious"].estimate < 1
