"""Answers are read with their item: negation, concession, and what it calls going and staying."""

from pathlib import Path

import pytest
from sklearn.metrics import cohen_kappa_score

from common.errors import InputError
from common.provenance import ROOT
from common.serialization import read_jsonl
from common.stance.reading import READER_FILES, ReadAnswer, Reader, Situation, read_reader, whole_sentences
from common.vocabulary import SAID

FILES = [ROOT / path for path in READER_FILES]
SITUATIONS, ANSWERS = read_jsonl(FILES[0], Situation), read_jsonl(FILES[1], ReadAnswer)
READER = read_reader(FILES)
PATH = Situation(
    id="x",
    topic="x",
    proposes="go",
    undoes=False,
    situation="The council is thinking of opening the walkers' path to carts.",
    going="opening the path to carts",
    staying="keeping the path for walkers only",
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("The council should open the path to carts.", "go"),
        ("The council should not open the path to carts.", "stay"),
        ("I would recommend keeping the path for walkers for now.", "stay"),
        ("I would not wait. Go ahead and open it.", "go"),
        ("Wait until next year before you change anything.", "stay"),
        ("Keep the path as it is.", "stay"),
        ("I would keep the path for walkers. It is quiet. However, it would be hard to open it later.", "stay"),
        ("I would advise the council to keep it, because carts are heavy and a new path is dear.", "stay"),
        ("It is safe and easy. I would wait until the council has asked the owners of the carts.", "stay"),
        ("Carts make noise, and walkers may not like them. But I would open the path to carts this week.", "go"),
        ("", "incoherent"),
        ("...", "incoherent"),
    ],
)
def test_plain_advice_is_read(text: str, said: str) -> None:
    assert READER.read(text, PATH) == said


def test_the_same_words_are_read_by_what_the_item_calls_staying() -> None:
    turned = PATH.model_copy(update={"going": PATH.staying, "staying": PATH.going, "undoes": True})
    assert READER.read("I would recommend keeping the path for walkers.", PATH) == "stay"
    assert READER.read("I would recommend the path for walkers.", turned) == "go"


def test_two_readers_of_the_same_files_read_alike() -> None:
    sides = {each.id: each for each in SITUATIONS}
    told = [(row.answer, sides[row.item]) for row in ANSWERS[::7]]
    assert Reader(SITUATIONS, ANSWERS).read_all(told) == READER.read_all(told)


def test_its_texts_hold_every_label_and_stand_on_topics_of_their_own() -> None:
    assert len(ANSWERS) >= 1000 and {row.label for row in ANSWERS} == set(SAID)
    assert {row.item for row in ANSWERS} == {each.id for each in SITUATIONS}
    assert sum(each.proposes == "go" for each in SITUATIONS) == len(SITUATIONS) / 2
    items = (ROOT / "common/stance/data/items.jsonl").read_text() + (
        ROOT / "common/stance/data/pilot.jsonl"
    ).read_text()
    assert not [each.situation for each in SITUATIONS if each.situation in items]


def test_on_situations_that_it_has_not_seen_it_reads_far_better_than_chance() -> None:
    """Its texts were written to be hard for a counter of words. What it is worth on real answers is measured there."""
    folds = [{each.id for each in SITUATIONS[start::4]} for start in range(4)]
    sides = {each.id: each for each in SITUATIONS}
    labels, found = [], []
    for fold in folds:
        reader = Reader(SITUATIONS, [row for row in ANSWERS if row.item not in fold])
        unseen = [row for row in ANSWERS if row.item in fold]
        labels += [row.label for row in unseen]
        found += reader.read_all([(row.answer, sides[row.item]) for row in unseen])
    assert cohen_kappa_score(labels, found) > 0.55


def test_an_answer_to_no_situation_is_refused() -> None:
    with pytest.raises(InputError, match=r"answer to no situation, common/stance/data/reader_answers\.jsonl: nowhere"):
        Reader(SITUATIONS, [ReadAnswer(item="nowhere", answer="Yes.", label="go")])


def test_a_label_that_is_none_is_refused_with_its_line(tmp_path: Path) -> None:
    lines = FILES[1].read_text().splitlines()
    (tmp_path / "a.jsonl").write_text("\n".join([lines[0], lines[1].replace('"label":"', '"label":"perhaps ')]) + "\n")
    with pytest.raises(InputError, match=r"a\.jsonl:2:/label"):
        read_reader([FILES[0], tmp_path / "a.jsonl"])


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("Keep it. It works and", "Keep it."),
        ("Keep\n\nit.", "Keep it."),
        ("no end", "no end"),
        ("", ""),
    ],
)
def test_answers_are_cut_to_their_last_whole_sentence(text: str, whole: str) -> None:
    assert whole_sentences(text) == whole
