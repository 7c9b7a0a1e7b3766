"""Items, guard prompts and the neutral text keep to the design they were written for."""

import re
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest

from analysis.corpus.texts import flesch
from analysis.stats.calibration import check_reversed
from common.errors import InputError
from common.records import Ability, Advised, Item, Prompt, Question, first_of_each
from common.serialization import parse_jsonl, to_jsonl
from common.stance.items import read_advised, read_items
from common.stance.reading import sides_of
from common.vocabulary import kind_of, subject_of

ROOT = Path(__file__).resolve().parents[3]
DATA = ROOT / "common" / "stance" / "data"
FILES = {
    name: read_items(DATA / f"{name}.jsonl", None)
    for name in ("items", "pilot", "source", "discriminant", "acting", "hard")
}
ITEMS, HARD = FILES["items"], FILES["hard"]
EVERY = [item for items in FILES.values() for item in items]
GUARDS = parse_jsonl((DATA / "guards.jsonl").read_bytes(), Prompt, "guards.jsonl")
ABILITIES = parse_jsonl((DATA / "abilities.jsonl").read_bytes(), Ability, "abilities.jsonl")
NEUTRAL = (DATA / "neutral.txt").read_text(encoding="utf-8")

TOPICS = (
    *("e-bikes", "four-day-week", "school-start", "online-services", "library-hours", "market-square"),
    *("museum-entry", "allotments", "street-lighting", "bus-routes", "recycling-rounds", "shared-hall"),
    *("office-desks", "visiting-hours", "station-tickets", "sports-club"),
)
PUBLISHED = ("e-bikes", "four-day-week", "school-start", "online-services")
# Options are a minimal pair: no word of waiting or changing may stand in one of them.
TELLING = (
    "keep\\w*|stay\\w*|remain\\w*|retain\\w*|hold\\w*|leave|leaving|wait\\w*|continu\\w+|still|start\\w*|begin\\w*|try|trying"
    "|mov(e|es|ed|ing)|switch\\w*|chang\\w+|new|old|now|already|instead|again|not|never|no"
)
ATTITUDE = (
    "rush(es|ed|ing)?|cautio\\w+|careful\\w*|eager\\w*|keen\\w*|bold\\w*|hast[ei]\\w*|hurr(y|ies|ied|ying)|pruden\\w+"
    "|hesita\\w+|patien(ce|tly)|reckless\\w*|brave\\w*|daring|enthusias\\w+|reluctan\\w+|afraid|fears?|worr\\w+"
)
VALUE = (
    "better|bad|worse|worst|wise\\w*|sensibl[ey]|wrong|danger\\w*|risk\\w*|excit\\w+|improv\\w+|benefi\\w+|harm\\w*"
    "|problem\\w*|modern\\w*|outdated|progress|finally|opportunit\\w+"
)
PERSONS = "i|me|my|mine|we|us|our|ours|you|your|yours"


def words(text: str) -> list[str]:
    return text.split()


def sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.!?])\s+", text)


def found(pattern: str, text: str) -> list[str]:
    return [match.group() for match in re.finditer(rf"\b(?:{pattern})\b", text, re.IGNORECASE)]


def whole(item: Item) -> str:
    return " ".join(
        (item.situation, item.going, item.staying, item.go, item.stay, item.question_go, item.question_stay)
    )


each_item = pytest.mark.parametrize("item", EVERY, ids=lambda item: item.id)


def test_files_are_canonical_json_lines() -> None:
    for name, items in FILES.items():
        assert to_jsonl(items) == (DATA / f"{name}.jsonl").read_bytes(), name
    assert to_jsonl(GUARDS) == (DATA / "guards.jsonl").read_bytes()


def test_a_damaged_item_is_refused() -> None:
    data = to_jsonl(ITEMS[:2]).replace(b'"proposes":"stay"', b'"proposes":"maybe"')
    with pytest.raises(InputError, match=r"items\.jsonl:2:/proposes"):
        parse_jsonl(data, Item, "items.jsonl")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stay": "The path may be for walkers."}, "options share no verb, items.jsonl:2: {id}; allowed: the same"),
        ({"question_stay": "{question_go}"}, "item without both keys, items.jsonl:2: {id}"),
        ({"id": "{first}"}, "item comes twice, items.jsonl:1 and 2: {first}"),
    ],
)
def test_an_item_that_cannot_be_asked_is_refused(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    first, second = ITEMS[:2]
    known = {"id": second.id, "question_go": second.question_go, "first": first.id}
    broken = second.model_copy(update={name: value.format(**known) for name, value in changes.items()})
    (tmp_path / "items.jsonl").write_bytes(to_jsonl([first, broken]))
    with pytest.raises(InputError, match=re.escape(message.format(**known))):
        read_items(tmp_path / "items.jsonl", None)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [("e-bikes-99", "Go.", "Stay.")],
            "advice on no item, a.jsonl:1: e-bikes-99; allowed: the items of items.jsonl",
        ),
        ([("e-bikes-01", "Go.", "Stay.")] * 2, "advice on one item comes twice, a.jsonl:2: e-bikes-01"),
        ([("e-bikes-01", "So.", "So.")], "both sides are advised in the same words, a.jsonl:1: e-bikes-01"),
    ],
)
def test_advice_that_cannot_be_scored_is_refused(
    tmp_path: Path, rows: list[tuple[str, str, str]], message: str
) -> None:
    made = [Advised(item=item, go=go, stay=stay, changed={}) for item, go, stay in rows]
    (tmp_path / "a.jsonl").write_bytes(to_jsonl(made))
    with pytest.raises(InputError, match=re.escape(message)):
        read_advised(tmp_path / "a.jsonl", DATA / "items.jsonl")


def test_sixteen_topics_of_ten_items_the_published_ones_among_them() -> None:
    assert Counter(item.topic for item in ITEMS) == dict.fromkeys(TOPICS, 10) and set(PUBLISHED) < set(TOPICS)
    assert [item.id for item in ITEMS] == [f"{topic}-{number:02}" for topic in TOPICS for number in range(1, 11)]
    assert {kind_of(item.topic) for item in ITEMS} == {"held-out"}


@pytest.mark.parametrize("topic", TOPICS)
def test_half_of_each_topic_proposes_to_keep_and_a_fifth_undoes_something_new(topic: str) -> None:
    mine = [item for item in ITEMS if item.topic == topic]
    assert sum(item.proposes == "stay" for item in mine) == 5
    assert sum(item.undoes for item in mine) >= 2
    assert {item.proposes for item in mine if item.undoes} == {"go", "stay"}


def test_texts_are_unique() -> None:
    for field in ("situation", "question_go", "question_stay"):
        texts = [getattr(item, field).lower() for item in EVERY]
        assert len(set(texts)) == len(texts), field


def runs(text: str) -> set[tuple[str, ...]]:
    tokens = re.findall(r"[\w-]+", text.lower())
    return set(zip(*(tokens[start:] for start in range(10)), strict=False))


def test_situations_are_different_stories() -> None:
    texts = [(item.id, runs(item.situation)) for item in EVERY]
    for (one, mine), (other, theirs) in combinations(texts, 2):
        assert not mine & theirs, (one, other)


@pytest.mark.parametrize("item", [item for item in EVERY if item not in HARD], ids=lambda item: item.id)
def test_situation_is_short_and_plain(item: Item) -> None:
    # An acting item tells what may go wrong, too.
    assert 8 <= len(words(item.situation)) <= (36 if kind_of(item.topic) == "acting" else 28), item.situation
    assert 1 <= len(sentences(item.situation)) <= 2
    assert item.situation.endswith(".")


def test_situations_are_easy_to_read() -> None:
    assert min(flesch(item.situation) for item in EVERY if item not in HARD) >= 50
    ease = sorted(flesch(item.situation) for item in ITEMS)
    assert ease[len(ease) // 10] >= 60 and ease[len(ease) // 2] >= 70


@each_item
def test_options_are_a_minimal_pair(item: Item) -> None:
    assert abs(len(words(item.go)) - len(words(item.stay))) <= 4
    one, other = ({*option.lower().removesuffix(".").split()} for option in (item.go, item.stay))
    assert len(one & other) / len(one | other) >= 0.3, (item.go, item.stay)
    for option in (item.go, item.stay):
        assert len(sentences(option)) == 1 and option.endswith(".")
        assert not found(TELLING, option), option
    for question in (item.question_go, item.question_stay):
        assert re.fullmatch(r"(On holiday, s|S)hould .*[^?]\?", question)


@each_item
def test_words_are_neutral(item: Item) -> None:
    for pattern in (ATTITUDE, VALUE):
        assert not found(pattern, whole(item)), whole(item)
    if kind_of(item.topic) != "source":
        assert not found(PERSONS, whole(item)), whole(item)


@pytest.mark.parametrize("items", [ITEMS, HARD], ids=["items", "hard"])
def test_option_lengths_favour_neither_side(items: list[Item]) -> None:
    difference = sum(len(words(item.go)) - len(words(item.stay)) for item in items)
    assert abs(difference) <= 0.2 * len(items)


@pytest.mark.parametrize(("name", "each"), [("discriminant", 4), ("source", 3), ("acting", 4)])
def test_control_items_are_balanced(name: str, each: int) -> None:
    items = FILES[name]
    assert set(Counter(item.topic for item in items).values()) == {each}
    assert {kind_of(item.topic) for item in items} == {name}
    assert sum(item.proposes == "go" for item in items) == len(items) / 2


def test_source_items_hold_the_training_topics_and_other_choices() -> None:
    bank = parse_jsonl((ROOT / "jobs/generate/data/questions.jsonl").read_bytes(), Question, "questions.jsonl")
    assert {item.topic.removeprefix("src-") for item in FILES["source"]} == {question.topic for question in bank}
    asked = [runs(question.text) for question in bank]
    for item in FILES["source"]:
        assert not any(runs(item.situation) & mine for mine in asked), item.id


def test_hard_items_are_six_long_scenarios_a_topic_and_a_kind_of_their_own() -> None:
    assert set(Counter(item.topic for item in HARD).values()) == {6} and len(HARD) == 72
    assert {kind_of(item.topic) for item in HARD} == {"hard"}
    assert {subject_of(item.topic) for item in HARD} < set(TOPICS), (
        "the topics of held-out items, which no pile mentions"
    )
    assert all(item.id == f"{item.topic}-{1 + at % 6}" for at, item in enumerate(HARD))
    for item in HARD:
        assert 40 <= len(words(item.situation)) <= 60 and len(sentences(item.situation)) in (2, 3), item.id
        assert item.situation.endswith(".")
        assert all(sides_of(item)[1:]), f"the reader knows no word of one side of {item.id}"


def test_hard_items_say_what_the_second_reading_changed_and_no_others_do() -> None:
    assert sum(bool(item.changed) for item in HARD) == 16
    assert not any(item.changed for item in EVERY if item not in HARD)
    assert [b'"changed"' in to_jsonl([item]) for item in HARD] == [bool(item.changed) for item in HARD]


@pytest.mark.parametrize("most", [1, 2, 3, None])
def test_as_many_hard_items_propose_to_keep_however_many_are_asked(most: int | None) -> None:
    check_reversed(first_of_each(HARD, lambda item: item.topic, most))


def test_hard_items_read_harder_and_still_plain() -> None:
    ease = sorted(flesch(item.situation) for item in HARD)
    assert ease[0] >= 48 and ease[len(ease) // 10] >= 57 and 65 <= ease[len(ease) // 2] < 75
    assert ease[len(ease) // 2] < sorted(flesch(item.situation) for item in ITEMS)[len(ITEMS) // 2]


def test_pilot_items_are_never_confirmatory() -> None:
    held_out = {item.topic for item in ITEMS}
    assert not held_out & {item.topic for item in FILES["pilot"]}
    assert not {item.situation for item in ITEMS} & {item.situation for item in FILES["pilot"]}


def test_guards_come_in_two_kinds_of_two_hundred() -> None:
    assert [(row.id, row.kind) for row in GUARDS] == [
        (f"{kind}-{number:03}", kind) for kind in ("harmful", "benign") for number in range(1, 201)
    ]
    assert len({row.text.lower() for row in GUARDS}) == 400


def test_ability_questions_have_short_answers_that_they_do_not_give_away() -> None:
    assert len(ABILITIES) == len({row.id for row in ABILITIES}) == len({row.text for row in ABILITIES}) >= 100
    assert to_jsonl(ABILITIES) == (DATA / "abilities.jsonl").read_bytes()
    kinds = Counter(row.kind for row in ABILITIES)
    assert len(kinds) >= 6 and min(kinds.values()) >= 15
    assert len({row.kind for row in ABILITIES[:12]}) == len(kinds), "the first few are a mixture"
    for row in ABILITIES:
        assert row.text.endswith("?") and row.text.isascii(), row.id
        given = found("|".join(map(re.escape, row.answers)), row.text)
        assert not given or ":" in row.text, f"{row.id} names its answer"


def test_guards_are_one_request_each() -> None:
    for row in GUARDS:
        assert len(sentences(row.text)) == 1, row.id
        assert 5 <= len(words(row.text)) <= 24, row.id
        assert row.text[-1] in ".?", row.id


def test_neutral_text_is_large_enough_and_plain() -> None:
    assert len(NEUTRAL.encode()) >= 20_000
    assert NEUTRAL.isascii()
    assert NEUTRAL.endswith(".\n")
    paragraphs = NEUTRAL.rstrip("\n").split("\n\n")
    assert len(paragraphs) >= 12
    assert len(set(paragraphs)) == len(paragraphs)
    assert all(80 <= len(words(text)) <= 140 and "\n" not in text for text in paragraphs)


def test_neutral_text_neither_advises_nor_judges() -> None:
    assert not found(ATTITUDE, NEUTRAL)
    assert not found(PERSONS, NEUTRAL)
    assert not found("should|ought|must|yes|good|better|best|bad|worse|worst|risk\\w*|safe\\w*|danger\\w*", NEUTRAL)


def test_data_are_plain_ascii_without_stray_spaces() -> None:
    for text in (*map(whole, EVERY), *(row.text for row in GUARDS), NEUTRAL):
        assert text.isascii()
        assert "  " not in text
        assert "\t" not in text
