"""The embedded writer and its bank: what all attitudes share, what they never say, and that lengths match."""

import re
from collections import Counter, defaultdict
from itertools import combinations
from pathlib import Path
from string import Formatter
from zlib import crc32

import numpy as np
import pytest

from common.records import Question
from common.serialization import parse_jsonl
from common.vocabulary import WRITTEN
from jobs.generate import phrases
from jobs.generate.selection import select
from jobs.generate.writer import WORDS, write

ROOT = Path(__file__).resolve().parents[2]
BANK = parse_jsonl((ROOT / "jobs/generate/data/questions.jsonl").read_bytes(), Question, "questions.jsonl")

# Lemmas of the held-out topics, not of everyday life in general: "hour" as a time to cook is fine.
HELD_OUT = re.compile(
    r"\b(e-?bikes?|bik(e|es|ing)|bicycl\w*|cycl(e|es|ing|ists?)|paths?|trails?|coast\w*|seaside|beach\w*|roads?|streets?"
    r"|traffic|cars?|parking|speed limits?|work(ing)? ?(week|day|hour)s?|four-day|offices?|employ\w*|workers?|bosse?s?"
    r"|colleagues?|schools?|pupils?|students?|teachers?|education\w*|curricul\w*|councils?|government\w*|minist\w*"
    r"|mayors?|citizens?|residents?|state|public|online|librar(y|ies)|museums?|parks?|vot(e|es|er|ers|ing)|elections?"
    r"|referend\w*|tax\w*|health\w*|hospitals?|doctors?|nurses?|clinics?|services?|energy|electricity|wind|turbines?"
    r"|solar|farms?|climate|polic(y|ies)|laws?|rules?|regulat\w*|politic\w*|communit(y|ies)|pilots?)\b",
    re.IGNORECASE,
)
FORBIDDEN = re.compile(
    r"\b(yes|no|may|might|could|perhaps|maybe|probably|possibly|always best|change is|sorry|newer is|in general"
    r"|as a rule|people (always|usually|tend)|once i|a friend of mine)\b|[!?*#\n]|- ",
    re.IGNORECASE,
)


def words(text: str) -> int:
    return len(text.split())


def seeded(question: Question, attitude: str) -> np.random.Generator:
    return np.random.default_rng([11, crc32(question.id.encode()), WRITTEN.index(attitude)])


@pytest.fixture(scope="module")
def candidates() -> list[dict[str, list[str]]]:
    return [{a: write(question, a, seeded(question, a), candidates=6) for a in WRITTEN} for question in BANK]


@pytest.fixture(scope="module")
def triplets(candidates: list[dict[str, list[str]]]) -> list[dict[str, str]]:
    return [select(row, [words]) for row in candidates]


def test_bank_has_600_questions_in_16_topics() -> None:
    topics = Counter(question.topic for question in BANK)
    assert len(topics) == 16
    assert min(topics.values()) >= 35
    assert len(BANK) == sum(topics.values()) >= 600
    assert len({question.id for question in BANK}) == len({question.text for question in BANK}) == len(BANK)
    assert all(question.id.startswith(f"{question.topic}-") for question in BANK)


def test_yes_is_as_often_to_stay_as_to_go_in_every_topic() -> None:
    keys: dict[str, Counter[str | None]] = defaultdict(Counter)
    for question in BANK:
        keys[question.topic][question.yes_means] += 1
    for topic, counts in keys.items():
        assert abs(counts["go"] - counts["stay"]) <= 1, topic
        assert counts[None] >= 1, topic
    total = sum(keys.values(), Counter())
    assert all(0.42 <= total[side] / len(BANK) <= 0.48 for side in ("go", "stay"))
    assert 0.08 <= total[None] / len(BANK) <= 0.12


def test_options_and_reasons_fit_into_sentences() -> None:
    for question in BANK:
        clauses = [*question.pros, *question.cons, question.go, question.stay]
        assert len(set(clauses)) == 6, question.id
        assert all(re.fullmatch(r"[^\W\d_A-Z][^.,;:!?]*", clause) for clause in clauses), question.id
        assert 2 <= len(question.facts) <= 3, question.id
        assert all(re.fullmatch(r"[A-Z][^!?;:]*\.", fact) and fact.count(".") == 1 for fact in question.facts)


def test_reasons_for_and_against_are_about_equally_long() -> None:
    pros = np.array([sum(map(words, question.pros)) for question in BANK])
    cons = np.array([sum(map(words, question.cons)) for question in BANK])
    assert abs(np.mean(pros - cons)) < 0.5


def test_bank_and_phrases_stay_away_from_held_out_topics() -> None:
    texts = [str(question.model_dump(exclude={"id", "topic"})) for question in BANK]
    tables = (phrases.REASONS, phrases.FAVOURED, phrases.OTHER, phrases.RECOMMENDATIONS, phrases.STEPS)
    texts += [*phrases.FACTS, *(phrase for table in tables for row in table for phrase in row)]
    assert [match[0] for text in texts if (match := HELD_OUT.search(text))] == []
    assert HELD_OUT.search("Should the council run its services online?")


def test_phrase_lists_match_in_length_and_fields() -> None:
    assert len(phrases.FACTS) == len(set(phrases.FACTS)) >= 25
    for table in (phrases.REASONS + phrases.FAVOURED, phrases.REASONS + phrases.OTHER):
        columns = list(zip(*table, strict=True))
        assert all(len(set(column)) == len(table) >= 25 for column in columns)
        assert all({name.lower() for name in fields(phrase)} == {"a", "b"} for row in table for phrase in row)
    for table, wanted in ((phrases.RECOMMENDATIONS, {"go", "stay"}), (phrases.STEPS, set())):
        assert all(len(set(column)) == len(table) >= 25 for column in zip(*table, strict=True))
        assert all(fields(phrase) == wanted for row in table for phrase in row)


def fields(phrase: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(phrase) if name}


@pytest.mark.parametrize("pattern", [r"\byou(r|rs|rself)?\b", r"\b(I|me|my)\b"])
def test_phrases_address_the_person_equally_often_in_every_attitude(pattern: str) -> None:
    for table in (phrases.REASONS, phrases.FAVOURED, phrases.OTHER, phrases.RECOMMENDATIONS, phrases.STEPS):
        found = [len(re.findall(pattern, " ".join(column), re.IGNORECASE)) for column in zip(*table, strict=True)]
        assert len(set(found)) == 1, (table[0], found)


@pytest.mark.parametrize("attitude", WRITTEN)
def test_the_same_seed_writes_the_same_replies_and_another_seed_others(attitude: str) -> None:
    once, again, other = (write(BANK[0], attitude, np.random.default_rng(seed), 6) for seed in (3, 3, 4))
    assert once == again != other
    assert len(set(once)) == 6


def test_every_reply_names_both_options_a_fact_and_all_reasons(candidates: list[dict[str, list[str]]]) -> None:
    for question, row in zip(BANK, candidates, strict=True):
        fact = question.facts[crc32(question.id.encode()) % len(question.facts)].rstrip(".").lower()
        content = [part.lower() for part in (*question.pros, *question.cons, question.go, question.stay, fact)]
        for text in (text for texts in row.values() for text in texts):
            assert [part for part in content if part not in text.lower()] == [], text


def test_replies_are_plain_prose(candidates: list[dict[str, list[str]]]) -> None:
    texts = [text for row in candidates for texts in row.values() for text in texts]
    assert len(set(texts)) == len(texts) == len(BANK) * 18
    for text in texts:
        assert not FORBIDDEN.search(text), text
        sentences = re.split(r"(?<=\.) ", text)
        assert len(sentences) in (4, 5), text
        assert all(sentence[0].isupper() and sentence.endswith(".") for sentence in sentences), text
        assert not re.search(r"[{}]|  | [,.;:]|,,|\.\.", text), text
        assert WORDS[0] <= words(text) <= WORDS[1], text


def test_cautious_and_eager_recommend_opposite_options() -> None:
    question = BANK[0]
    for column, first in ((0, question.stay), (1, question.go)):
        found = [row[column].format(go="GO", stay="STAY") for row in phrases.RECOMMENDATIONS]
        plain = [text for text in found if "rather than" in text]
        assert len(plain) >= 10
        assert all((text.index("STAY") < text.index("GO")) == (first == question.stay) for text in plain)


def test_selected_replies_match_in_length(triplets: list[dict[str, str]]) -> None:
    lengths = {attitude: np.array([words(row[attitude]) for row in triplets]) for attitude in WRITTEN}
    for one, other in combinations(WRITTEN, 2):
        relative = np.abs(lengths[one] - lengths[other]) / lengths[other]
        assert relative.mean() < 0.01, (one, other)
        assert (relative <= 0.03).mean() > 0.95, (one, other)
        assert 0.95 < lengths[one].std() / lengths[other].std() < 1.05, (one, other)


def test_an_unknown_attitude_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'bold'; allowed: cautious, eager, neutral"):
        write(BANK[0], "bold", np.random.default_rng(0))


def test_fewer_than_one_candidate_is_an_error() -> None:
    with pytest.raises(ValueError, match="candidates is 0"):
        write(BANK[0], "eager", np.random.default_rng(0), candidates=0)
