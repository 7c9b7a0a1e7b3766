"""Examples for a prompted base: chosen by a rule, the same for both poles, and one of each kind."""

from pathlib import Path

import pytest

from common.errors import InputError
from common.provenance import ROOT
from common.records import Question, Replies
from common.serialization import read_jsonl, to_jsonl
from common.stance.bank import BANK_FILES, EXAMPLES, examples
from common.vocabulary import POLES

FILES = [ROOT / path for path in BANK_FILES]
BANK, TOLD = read_jsonl(FILES[0], Question), {row.question_id: row for row in read_jsonl(FILES[1], Replies)}


def test_examples_are_the_first_that_fit_in_four_topics_and_the_same_for_both_poles() -> None:
    found = examples(FILES, POLES)
    (asked,) = {tuple(question for question, _ in pairs) for pairs in found.values()}
    chosen = [next(row for row in BANK if row.text == text) for text in asked]
    topics = list(dict.fromkeys(row.topic for row in BANK))
    assert [row.topic for row in chosen] == [topics[at] for at in (0, 4, 9, 13)]
    assert [(row.yes_means, TOLD[row.id].place) for row in chosen] == list(EXAMPLES) and len({*EXAMPLES}) == 4
    for row in chosen:
        same = [q.id for q in BANK if (q.topic, q.yes_means) == (row.topic, row.yes_means)]
        assert row.id == next(id for id in same if TOLD[id].place == TOLD[row.id].place)
    for pole, pairs in found.items():
        assert [reply for _, reply in pairs] == [TOLD[row.id].replies[pole] for row in chosen]


def test_a_topic_without_such_a_question_is_named(tmp_path: Path) -> None:
    kept = [row for row in BANK if row.topic != "bags-and-shoes" or row.yes_means == "stay"]
    path = tmp_path / "questions.jsonl"
    path.write_bytes(to_jsonl(kept))
    said = r"no question for an example, questions\.jsonl: bags-and-shoes, go, advice first"
    with pytest.raises(InputError, match=said):
        examples([path, FILES[1]], POLES)
