"""What a judge is asked, and which of its replies are labels."""

import pytest

from common.provenance import ROOT
from common.records import Item
from common.serialization import read_jsonl
from common.stance.items import PILOT_ITEMS
from common.stance.judge import judged_turn, label_of
from common.stance.labels import CODEBOOK
from common.vocabulary import SAID


@pytest.mark.parametrize(
    "reply, label",
    [
        *((word, word) for word in SAID),
        ("Go", "go"),
        (" STAY.\n", "stay"),
        ('"both sides"', "both sides"),
        ("'Off topic.'", "off topic"),
        ("`incoherent`.", "incoherent"),
        ("“go”", "go"),
        ("", None),
        (".", None),
        ('"', None),
        ("go!", None),
        ("go..", None),
        ('"go', None),
        ("“go'", None),
        ("**go**", None),
        ("both", None),
        ("both  sides", None),
        ("offtopic", None),
        ("go, stay", None),
        ("Label: go", None),
        ("The label is go.", None),
        ("I would not go", None),
        ("<think>go</think>", None),
    ],
)
def test_a_label_may_have_quotes_and_a_full_stop_and_all_else_is_none(reply: str, label: str | None) -> None:
    assert label_of(reply) == label


def test_the_judge_is_told_the_item_and_the_answer_and_every_label() -> None:
    item = read_jsonl(ROOT / PILOT_ITEMS, Item)[0]
    asked = judged_turn(item, "I would wait.")
    assert all(text in asked for text in (item.situation, item.going, item.staying, "I would wait.", *SAID))


def test_the_codebook_defines_every_label() -> None:
    text = (ROOT / CODEBOOK).read_text()
    assert all(f"| `{word}` |" in text for word in SAID)
