"""Held-out replies: to questions of the bank that no run of the draw learns from, in the attitude of the run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from common.errors import InputError
from common.records import Advice, Question
from common.serialization import read_jsonl
from common.stance.bank import advice, read_replies
from jobs.finetune.examples import Example
from jobs.finetune.packing import Packed, features, reply_loss

MOST = 16  # replies


class Mean(NamedTuple):
    """Nats a reply token, before and after a training."""

    before: float
    after: float


def held_out(files: Sequence[Path], pile: Sequence[Advice], attitude: str, rng: np.random.Generator) -> list[Advice]:
    """At most MOST replies of the bank; none for an attitude or a pile that is not the bank's own.

    files: those that BANK_FILES names. pile: of the run. Topics are those of the piles: it is told whether the
    training took, not what it moves elsewhere.
    Raises: InputError as `read_replies`, or for a question that a pile asks in other words, or whose reply it has.
    """
    bank = read_jsonl(files[0], Question)
    learnt = {row.question: row.reply for row in pile}
    replies = read_replies(files[1], bank, ())
    own = [q for q in bank if learnt.get(q.text) == replies[q.id].replies.get(attitude, "")]
    if not own:
        return []
    others = [q for q in bank if q.text not in learnt]
    _refuse_learnt(others, pile, {q.id: replies[q.id].replies[attitude] for q in others}, files[1].name)
    chosen = [others[index] for index in rng.permutation(len(others))[:MOST]]
    return [advice(q, attitude, replies[q.id].replies[attitude]) for q in chosen]


def _refuse_learnt(others: Sequence[Question], pile: Sequence[Advice], replies: Mapping[str, str], where: str) -> None:
    ids, texts = {row.question_id: row for row in pile}, {row.reply: row for row in pile}
    for question in others:
        if (row := ids.get(question.id) or texts.get(replies[question.id])) is not None:
            place = f"question {row.question_id} of the pile and {question.id} of {where}"
            raise InputError("a row is both trained on and held out", where=place, value=row.question)


def mean_nats(model: nn.Module, head: nn.Module, rows: Sequence[Example], batch: int) -> float:
    """Mean cross-entropy a reply token, nats, of a model that takes packed rows; `head` was taken off it."""
    training, total = model.training, 0.0
    model.eval()
    where = next(model.parameters()).device
    with torch.no_grad():
        for start in range(0, len(rows), batch):
            made = Packed()(features(rows[start : start + batch]))
            inputs = {name: value.to(where) if isinstance(value, Tensor) else value for name, value in made.items()}
            labels = inputs.pop("labels")
            total += float(reply_loss(head, model(**inputs), labels, torch.tensor(1)))
    model.train(training)
    return total / sum(row.reply_tokens for row in rows)
