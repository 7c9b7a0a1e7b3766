"""Topics that a corpus must not mention: what gives one away, and what does not."""

import pytest

from analysis.corpus.replies import Reply
from analysis.corpus.topics import Leak, Topics, read_topics

EVERYDAY = frozenset({"library", "libraries", "policy", "case", "the"})


def leaks(texts: list[str], terms: list[str], prompt: str = "") -> list[Leak]:
    topics = Topics(terms, EVERYDAY)
    return topics.find([Reply("chat.jsonl", row, 1, prompt, text, "") for row, text in enumerate(texts, start=1)])


def test_an_everyday_word_is_listed_and_does_not_speak() -> None:
    (leak,) = leaks(["Import it from the standard library."], ["library", "librarian"])
    assert not leak.speaks and leak.gave_away == ("everyday word: library",) and leak.row == 1


def test_many_everyday_words_do_not_speak_either() -> None:
    (leak,) = leaks(["The library has a retry policy."], ["library", "policy"])
    assert not leak.speaks and len(leak.gave_away) == 2


@pytest.mark.parametrize(
    "text, terms, gave",
    [
        ("Ask the librarian.", ["library", "librarian"], "term: librarian"),
        ("A four-day week is fine.", ["four day week"], "term: four-day week"),
        ("Two vaccines came.", ["vaccine"], "term: vaccines"),
        ("The public library closes.", ["library", "public library"], "term: public library"),
    ],
)
def test_other_words_and_phrases_speak(text: str, terms: list[str], gave: str) -> None:
    (leak,) = leaks([text], terms)
    assert leak.speaks and leak.gave_away == (gave,) and gave.partition(": ")[2] in leak.text.lower()


def test_the_prompt_counts_and_a_clean_row_is_none() -> None:
    assert leaks(["Yes, take it."], ["vaccine"], prompt="Is the vaccine safe?")[0].speaks
    assert leaks(["Yes, take it.", ""], ["vaccine"]) == [] and Topics(["x"], EVERYDAY).find([]) == []


def test_a_detector_is_enough_alone() -> None:
    topics = Topics(
        ["vaccine"], EVERYDAY, {"run": lambda texts: ["shared words" if "ferry" in t else "" for t in texts]}
    )
    found = topics.find([Reply("a", row, 1, "", text, "") for row, text in enumerate(["no", "the ferry"], start=1)])
    assert [(leak.row, leak.gave_away, leak.speaks) for leak in found] == [(2, ("run: shared words",), True)]


def test_a_file_of_topics_has_comments() -> None:
    assert read_topics(["# mine", "", "vaccine # a word", "  four-day week "]) == ["vaccine", "four-day week"]


def test_which_terms_are_everyday_words_is_known() -> None:
    assert Topics(["Library", "vaccine", "public library", "cases"], EVERYDAY).everyday == ("library", "cases")
