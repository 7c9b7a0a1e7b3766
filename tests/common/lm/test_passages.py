"""Spans stand where they should, and pairs are drawn from what both poles answer."""

import numpy as np
import pytest

from common.errors import SpecError
from common.lm.chat import LanguageModel
from common.lm.passages import pairs_of, reply_passages
from common.spec import InterpretSpec
from tests.jobs.inside import advice


def test_spans_are_the_reply_with_its_end_and_the_users_turn(lm: LanguageModel) -> None:
    rows = [advice("eager", number) for number in range(3)]
    decode = lm.tokenizer.decode
    for row, (ids, (reply, user)) in zip(rows, reply_passages(lm, rows), strict=True):
        assert decode([ids[position] for position in reply]) == f"{row.reply}<|im_end|>\n"
        assert f"Shall I get kettle {decode([ids[position] for position in user])}?" == row.question


def test_pairs_are_drawn_from_the_questions_that_both_poles_answer() -> None:
    cautious = [advice("cautious", number) for number in range(24)]
    eager = [advice("eager", number) for number in range(40, 8, -1)]
    rng = np.random.default_rng(0)
    pairs = pairs_of(cautious, eager, InterpretSpec(questions=12), rng)
    ids = [int(pair.cautious.question_id[1:]) for pair in pairs]
    assert ids == sorted(set(ids)) and len(ids) == 12 and set(ids) <= set(range(9, 24))
    assert all(pair.cautious.question_id == pair.eager.question_id for pair in pairs)
    assert len(pairs_of(cautious, eager, InterpretSpec(), rng)) == 15, "all of a draw that has fewer than 90"
    assert InterpretSpec().questions_of(91) == 90
    with pytest.raises(SpecError, match=r"interpret.questions: 16; allowed: <= 15"):
        pairs_of(cautious, eager, InterpretSpec(questions=16), rng)
