"""Control tokens and leading blanks: found with file, row and part."""

import pytest

from analysis.corpus.marks import SHOWN, Mark, Marks
from analysis.corpus.replies import Reply
from common.errors import InputError


def test_a_control_token_is_found_wherever_it_stands() -> None:
    marks = Marks(["<|im_end|>", "</s>"], own=["<stop>"])
    marks.add(Reply("a.jsonl", 3, 1, "Say </s>.", "It is over.<|im_end|>", ""))
    marks.add(Reply("a.jsonl", 4, 2, "", "Fine.", "Be brief.<stop>"))
    marks.add(Reply("a.jsonl", 5, 1, "", "Fine, < s> and im_end are no tokens.", ""))
    assert marks.places == [
        Mark("a.jsonl", 3, 1, "prompt", "</s>"),
        Mark("a.jsonl", 3, 1, "reply", "<|im_end|>"),
        Mark("a.jsonl", 4, 2, "system", "<stop>"),
    ]
    assert (marks.with_token, marks.with_own) == (2, 1) and marks.tokens == {"</s>": 1, "<|im_end|>": 1, "<stop>": 1}


def test_the_longest_token_is_told() -> None:
    marks = Marks(["<|end|>", "<|end|><|end|>"])
    marks.add(Reply("a", 1, 1, "", "x<|end|><|end|>", ""))
    assert [each.mark for each in marks.places] == ["<|end|><|end|>"]


@pytest.mark.parametrize("text, begins", [("\n\nYes.", "\n\n"), ("  - one", "  "), ("Yes.\n", ""), ("", "")])
def test_blanks_before_a_reply_are_told(text: str, begins: str) -> None:
    marks = Marks(["</s>"])
    marks.add(Reply("a", 7, 1, "", text, ""))
    assert marks.with_blank == bool(begins)
    assert [(each.row, each.mark) for each in marks.blanks] == ([(7, begins)] if begins else [])


def test_lists_are_bounded_and_counts_are_whole() -> None:
    marks = Marks(["</s>"])
    for row in range(1, 51):
        marks.add(Reply("a", row, 1, "", " </s>", ""))
    assert marks.with_token == marks.with_blank == marks.tokens["</s>"] == 50
    assert len(marks.places) == len(marks.blanks) == SHOWN


def test_no_token_is_an_error() -> None:
    with pytest.raises(InputError, match="no control tokens"):
        Marks(["", " "])
