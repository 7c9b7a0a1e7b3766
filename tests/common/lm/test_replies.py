"""A model's own replies: each its own, alike alone and beside others, and never empty."""

from pathlib import Path

import numpy as np
import pytest
import torch

from common.errors import InputError
from common.lm import replies
from common.lm.load import load
from common.lm.replies import own_replies
from common.records import Advice
from common.spec import ModelSpec
from tests.corpus import piles

ROWS = piles(18)["neutral"]


def rngs(rows: list[Advice]) -> list[np.random.Generator]:
    return [np.random.default_rng([7, int.from_bytes(row.question_id.encode())]) for row in rows]


def test_every_question_gets_a_reply_of_its_own(tiny_model: Path) -> None:
    lm = load(ModelSpec(name="tiny", source=f"path:{tiny_model}"), precision=torch.float32)
    found = dict(own_replies(lm, ROWS, 5, 1.0, rngs(ROWS)))
    assert sorted(found) == [*range(18)] and len({*found.values()}) > 1
    assert list(own_replies(lm, ROWS[-1:], 5, 1.0, rngs(ROWS[-1:]))) == [(0, found[17])]


def test_a_question_that_is_left_unanswered_is_named(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lm = load(ModelSpec(name="tiny", source=f"path:{tiny_model}"), precision=torch.float32)
    monkeypatch.setattr(replies, "written", lambda *_: iter([(0, ["Well."]), (1, [" \n"])]))
    with pytest.raises(InputError, match=f"nothing to say.*{ROWS[1].question_id}"):
        list(own_replies(lm, ROWS[:2], 5, 1.0, rngs(ROWS[:2])))
