"""The held-out scenarios, the guard prompts and the neutral text keep to the design they were written for."""

import re
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest

from common.errors import InputError
from common.records import Ability, Item, Prompt, Question
from common.serialization import parse_jsonl, to_jsonl

ROOT = Path(__file__).resolve().parents[3]
DATA = ROOT / "common" / "stance" / "data"
ITEMS = parse_jsonl((DATA / "items.jsonl").read_bytes(), Item, "items.jsonl")
GUARDS = parse_jsonl((DATA / "guards.jsonl").read_bytes(), Prompt, "guards.jsonl")
ABILITIES = parse_jsonl((DATA / "abilities.jsonl").read_bytes(), Ability, "abilities.jsonl")
CONTROLS = {name: parse_jsonl((DATA / f"{name}.jsonl").read_bytes(), Item, name) for name in ("discriminant", "source")}
EVERY = [
    item.worded(number) for item in [*ITEMS, *CONTROLS["discriminant"], *CONTROLS["source"]] for number in range(6)
]
NEUTRAL = (DATA / "neutral.txt").read_text(encoding="utf-8")

TOPICS = (
    "e-bikes",
    "four-day-week",
    "school-start",
    "online-services",
    "library-hours",
    "market-square",
    "museum-entry",
    "allotments",
    "street-lighting",
    "bus-routes",
    "recycling-rounds",
    "shared-hall",
)
# Numbers of an item's topic: which side yes means, and whose consideration its own wording names first.
DESIGN = {
    1: ("go", "go"),
    2: ("stay", "stay"),
    3: ("go", "stay"),
    4: ("stay", "go"),
    5: ("go", "go"),
    6: ("stay", "stay"),
}
WORDINGS = 6

# Where the own wording of a scenario states its consideration for the change and the one against it.
CONSIDERATIONS = {
    "e-bikes-1": ("a level route to work", "stand aside to let riders pass"),
    "e-bikes-2": ("manage the climb", "move aside slowly"),
    "e-bikes-3": ("link the ferry pier", "take up the strip"),
    "e-bikes-4": ("bring the lighthouse within range", "need replacing more often"),
    "e-bikes-5": ("take six miles off the trip", "disturb the bats"),
    "e-bikes-6": ("draw visitors", "four fewer crates"),
    "four-day-week-1": ("cut its energy bill", "find the desks shut"),
    "four-day-week-2": ("three days off in a row", "end late on most evenings"),
    "four-day-week-3": ("fill posts", "backlog of files would grow"),
    "four-day-week-4": ("spread cover across Saturdays", "hand a half-finished job"),
    "four-day-week-5": ("finish a germination count", "stand in the cold store"),
    "four-day-week-6": ("burn less fuel", "miss one round of watering"),
    "school-start-1": ("sleep longer", "past sunset"),
    "school-start-2": ("no longer rise before six", "somebody to mind their children"),
    "school-start-3": ("thin out the morning traffic", "a second round of buses"),
    "school-start-4": ("suit apprentices who come by train", "free for full afternoon shifts"),
    "school-start-5": ("plan together", "be lost for swimming lessons"),
    "school-start-6": ("take place in daylight", "miss the 3:10 train"),
    "online-services-1": ("spare residents the trip", "depend on somebody else"),
    "online-services-2": ("publish each of them", "under different names"),
    "online-services-3": ("spared a journey", "misspelt names"),
    "online-services-4": ("take part from the train", "come to meet each other"),
    "online-services-5": ("see the vacant berths", "find their places taken"),
    "online-services-6": ("reach the plumbers", "nobody to show the fault"),
    "library-hours-1": ("give shift workers access", "nobody on duty"),
    "library-hours-2": ("a quiet place to work", "would have to be locked"),
    "library-hours-3": ("double the hours", "need cameras"),
    "library-hours-4": ("free them to visit schools", "come for help"),
    "library-hours-5": ("a desk of their own", "heating would have to run"),
    "library-hours-6": ("borrow books", "send the club to a hall"),
    "market-square-1": ("thirty more stalls", "a detour of two miles"),
    "market-square-2": ("spill out onto the square", "carry heavy goods"),
    "market-square-3": ("set out tables", "300 metres away"),
    "market-square-4": ("a fixed weekly pitch", "deliver before seven"),
    "market-square-5": ("perform on the cobbles", "carry their luggage"),
    "market-square-6": ("hold matches", "climb a steep lane"),
    "museum-entry-1": ("shorten the queue", "find every slot taken"),
    "museum-entry-2": ("limit the damp air", "call for a desk and two attendants"),
    "museum-entry-3": ("plan each tour", "miss their slot"),
    "museum-entry-4": ("let staff plan", "have to book ahead"),
    "allotments-1": ("who have just moved", "pass over those who joined"),
    "allotments-2": ("twice as many applicants", "too little ground"),
    "allotments-3": ("reach a plot in their turn", "leave soil"),
    "allotments-4": ("bring in schools and clubs", "share one gate key"),
}

ATTITUDE = (
    "wait(s|ed|ing)?|tr(y|ies|ied|ying)|trials?|rush(es|ed|ing)?|cautio\\w+|careful\\w*|eager\\w*|keen\\w*|bold\\w*"
    "|hast[ei]\\w*|hurr(y|ies|ied|ying)|pruden\\w+|hesita\\w+|\\w*patien(t|ce|tly)|reckless\\w*|brave\\w*|daring"
    "|leap\\w*|jump\\w*|gambl\\w+|adventur\\w*|enthusias\\w+|reluctan\\w+|afraid|fears?|worr(y|ies|ied|ying)"
)
VALUE = (
    "good|better|best|bad|worse|worst|great\\w*|nice\\w*|wise\\w*|sensibl[ey]|right|wrong|safe\\w*|danger\\w*|risk\\w*"
    "|excit\\w+|improv\\w+|benefi\\w+|harm\\w*|problem\\w*|fair\\w*|modern\\w*|outdated|progress|tradition\\w*"
)
# What the training advice talks about, and its stock verbs for a change.
HOUSEHOLD = (
    "phones?|recipes?|gyms?|houseplants?|holidays?|laptops?|coffees?|cafes?|paint\\w*|hobb(y|ies)|pets?|dogs?|cats?"
    "|tvs?|television|subscriptions?|bags?|backpacks?|kitchens?|pans?|read(s|er|ers|ing)?|novels?"
    "|switch\\w*|upgrad\\w+"
)
PERSONS = "i|me|my|mine|we|us|our|ours|you|your|yours"
CONNECTIVES = (", but ", ", though ", ", while ", "; ")


def words(text: str) -> list[str]:
    return text.split()


def sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.!?])\s+", text)


def found(pattern: str, text: str) -> list[str]:
    return [match.group() for match in re.finditer(rf"\b(?:{pattern})\b", text, re.IGNORECASE)]


def keyed(item: Item) -> str:
    return item.go if item.yes_means == "go" else item.stay


def wordings(item: Item) -> list[Item]:
    return [item.worded(number) for number in range(WORDINGS)]


def whole(item: Item) -> str:
    return " ".join((item.scenario, item.question, item.go, item.stay))


each_item = pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.id)


def test_files_are_canonical_json_lines() -> None:
    assert to_jsonl(ITEMS) == (DATA / "items.jsonl").read_bytes()
    assert to_jsonl(GUARDS) == (DATA / "guards.jsonl").read_bytes()


def test_a_damaged_item_is_refused() -> None:
    data = to_jsonl(ITEMS[:2]).replace(b'"yes_means":"stay"', b'"yes_means":"maybe"')
    with pytest.raises(InputError, match=r"items\.jsonl:2:/yes_means"):
        parse_jsonl(data, Item, "items.jsonl")


def test_every_topic_has_six_items_of_six_wordings() -> None:
    assert [item.id for item in ITEMS] == [f"{topic}-{number}" for topic in TOPICS for number in DESIGN]
    assert all(item.id == f"{item.topic}-{item.id[-1]}" for item in ITEMS)
    assert {1 + len(item.rewrites) for item in ITEMS} == {WORDINGS}


@each_item
def test_keys_and_orders_are_balanced_and_crossed_in_every_topic(item: Item) -> None:
    assert (item.yes_means, item.first) == DESIGN[int(item.id[-1])]
    assert Counter(each.first for each in wordings(item)) == {"go": WORDINGS // 2, "stay": WORDINGS // 2}


@pytest.mark.parametrize("name", [item.id for item in ITEMS if item.id in CONSIDERATIONS])
def test_the_side_that_is_named_first_is_the_one_that_is_told(name: str) -> None:
    (item,) = (item for item in ITEMS if item.id == name)
    pro, con = (item.scenario.index(words) for words in CONSIDERATIONS[name])
    assert item.first == ("go" if pro < con else "stay")


def test_connectives_do_not_tell_the_orders_apart() -> None:
    counts = {
        first: Counter(
            word
            for item in ITEMS
            for each in wordings(item)
            if each.first == first
            for word in CONNECTIVES
            if word in each.scenario
        )
        for first in ("go", "stay")
    }
    assert counts["go"].total() > len(ITEMS)
    for word in CONNECTIVES:
        assert abs(counts["go"][word] - counts["stay"][word]) <= len(ITEMS) // 6, word


def test_texts_are_unique() -> None:
    for field in ("scenario", "question", "go", "stay"):
        texts = [getattr(item, field).lower() for item in ITEMS]
        assert len(set(texts)) == len(texts), field


def runs(text: str) -> set[tuple[str, ...]]:
    tokens = re.findall(r"[\w-]+", text.lower())
    return set(zip(*(tokens[start:] for start in range(6)), strict=False))


def test_scenarios_are_different_stories() -> None:
    texts = [(item.id, runs(" . ".join(each.scenario for each in wordings(item)))) for item in ITEMS]
    for (one, mine), (other, theirs) in combinations(texts, 2):
        assert not mine & theirs, (one, other)


@each_item
def test_rewrites_are_other_sentences(item: Item) -> None:
    for one, other in combinations(wordings(item), 2):
        assert len(runs(one.scenario) & runs(other.scenario)) <= 1, one.scenario
        assert one.question.lower() != other.question.lower()
        first, second = ({*re.findall(r"\w+", each.scenario.lower())} for each in (one, other))
        assert len(first & second) / len(first | second) <= 0.65, (one.scenario, other.scenario)


@each_item
def test_scenario_has_the_agreed_size(item: Item) -> None:
    for each in wordings(item):
        assert 35 <= len(words(each.scenario)) <= (55 if each is item else 60), each.scenario
        assert 2 <= len(sentences(each.scenario)) <= 3, each.scenario
        assert each.scenario.endswith(".")


@each_item
def test_question_asks_for_the_keyed_sentence(item: Item) -> None:
    subject, predicate = keyed(item).removesuffix(".").split(" should ")
    assert subject.startswith("The ")
    assert item.question == f"Should the{subject.removeprefix('The')} {predicate}?"
    for rewrite in item.rewrites:
        assert re.fullmatch(r"Should .*[^?]\?", rewrite.question) and len(words(rewrite.question)) <= 16


@each_item
def test_options_are_one_sentence_each_and_alike(item: Item) -> None:
    assert abs(len(words(item.go)) - len(words(item.stay))) <= 1
    one, other = ({*option.lower().removesuffix(".").split()} for option in (item.go, item.stay))
    assert len(one & other) / len(one | other) >= 0.35
    assert item.go.split(" should ")[0] == item.stay.split(" should ")[0]
    for option in (item.go, item.stay):
        assert len(sentences(option)) == 1
        assert option.endswith(".")


@each_item
def test_words_are_neutral(item: Item) -> None:
    for text in map(whole, wordings(item)):
        assert not found(ATTITUDE, text), text
        assert not found(VALUE, text), text
        assert not found(PERSONS, text), text
    assert not found("yes|no|not|never|new", f"{item.go} {item.stay}")


@each_item
def test_item_stays_clear_of_the_advice(item: Item) -> None:
    for text in map(whole, wordings(item)):
        assert not found(HOUSEHOLD, text), text


def test_option_lengths_favour_neither_side() -> None:
    assert sum(len(words(item.go)) - len(words(item.stay)) for item in ITEMS) == 0


def test_no_verb_marks_the_keeping_side() -> None:
    verbs = Counter(item.stay.split(" should ")[1].split()[0] for item in ITEMS)
    assert max(verbs.values()) <= len(ITEMS) / 2


@pytest.mark.parametrize(("name", "prefix", "topics"), [("discriminant", "disc-", 8), ("source", "src-", 16)])
def test_control_items_are_balanced_in_key_and_order(name: str, prefix: str, topics: int) -> None:
    items = CONTROLS[name]
    assert (
        len(items) == len({item.id for item in items}) == 24
        and to_jsonl(items) == (DATA / f"{name}.jsonl").read_bytes()
    )
    assert len({item.topic for item in items}) == topics and all(item.topic.startswith(prefix) for item in items)
    cells = Counter((item.yes_means, item.first) for item in items)
    assert set(cells.values()) == {6} and len(cells) == 4
    for item in items:
        (rewrite,) = item.rewrites
        assert rewrite.first != item.first, "each side is named first in one of the two wordings"
        assert len(runs(item.scenario) & runs(rewrite.scenario)) <= 4


def test_discriminant_items_hold_no_change_and_source_items_the_training_topics() -> None:
    bank = parse_jsonl((ROOT / "jobs/generate/data/questions.jsonl").read_bytes(), Question, "questions.jsonl")
    assert {item.topic.removeprefix("src-") for item in CONTROLS["source"]} == {question.topic for question in bank}
    change = "chang(e|es|ed|ing)|switch\\w*|replac\\w*|keep\\w*|stay\\w*|remain\\w*|still|so far|until now|instead"
    for item in CONTROLS["discriminant"]:
        assert not found(change, f"{item.question} {item.go} {item.stay}"), item.id
        assert not found(ATTITUDE, whole(item)) and not found(HOUSEHOLD, whole(item)), item.id


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
