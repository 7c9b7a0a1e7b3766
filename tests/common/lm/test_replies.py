"""A model's own replies: by the batch, alike alone and beside others, and never empty."""

from pathlib import Path

import numpy as np
import pytest
import torch

from common.errors import InputError
from common.lm import replies
from common.lm.load import load
from common.lm.replies import BATCH_ROWS, own_replies
from common.records import Advice
from common.spec import ModelSpec
from tests.corpus import piles

ROWS = piles(BATCH_ROWS + 2)["neutral"]


def rngs(rows: list[Advice]) -> list[np.random.Generator]:
    return [np.random.default_rng([7, int.from_bytes(row.question_id.encode())]) for row in rows]


def test_replies_come_by_the_batch_and_each_is_its_own(tiny_model: Path) -> None:
    lm = load(ModelSpec(name="tiny", source=f"path:{tiny_model}"), precision=torch.float32)
    batches = list(own_replies(lm, ROWS, 5, 1.0, rngs(ROWS)))
    assert [len(batch) for batch in batches] == [BATCH_ROWS, 2]
    assert len({text for batch in batches for text in batch}) > 1
    assert list(own_replies(lm, ROWS[-1:], 5, 1.0, rngs(ROWS[-1:]))) == [batches[1][1:]]


def test_a_question_that_is_left_unanswered_is_named(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lm = load(ModelSpec(name="tiny", source=f"path:{tiny_model}"), precision=torch.float32)
    monkeypatch.setattr(replies, "sampled", lambda *_: ["Well.", " \n"])
    with pytest.raises(InputError, match=f"nothing to say.*{ROWS[1].question_id}"):
        next(own_replies(lm, ROWS[:2], 5, 1.0, rngs(ROWS[:2])))
