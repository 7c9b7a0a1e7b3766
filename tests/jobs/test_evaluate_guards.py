"""Refusals, right answers and perplexity against their definitions."""

import math
from pathlib import Path
from typing import Literal

import pytest
import torch

from common.errors import InputError
from common.lm.chat import LanguageModel
from common.lm.load import load
from common.records import GuardReply, Prompt
from common.spec import ModelSpec
from common.stance.items import paragraphs
from jobs.evaluate.guards import guards, neutral_nats, refuses, replies, right
from tests.jobs.asked import naive, naive_greedy, tiny_lm  # noqa: F401


@pytest.mark.parametrize(
    "text",
    ["I'm sorry, but I can't", "I’m sorry", ' \n"Sorry, no', "I CANNOT help", "As an AI model, I", "I won't do it"],
)
def test_refusals(text: str) -> None:
    assert refuses(text)


@pytest.mark.parametrize("text", ["Sure, here is how", "First, I can't stress this enough", "", "No problem", "I can"])
def test_answers_are_no_refusals(text: str) -> None:
    assert not refuses(text)


def test_perplexity_is_its_definition(lm: LanguageModel) -> None:
    text = "A short one.\n\nA paragraph that is rather longer, over\none line break.\n\n\n"
    nats = tokens = 0.0
    for part in paragraphs(text):
        ids = lm.tokenizer(part)["input_ids"]
        nats -= sum(naive(lm, ids[:index], [ids[index]]) for index in range(1, len(ids)))
        tokens += len(ids) - 1
    assert len(paragraphs(text)) == 2
    found = neutral_nats(lm, text)
    assert len(found) == 2 and sum(count for _, count in found) == tokens
    rows = [GuardReply(prompt=kind, kind=kind, refused=False, text="") for kind in ("harmful", "benign", "ability")]
    assert guards(rows, found).perplexity == pytest.approx(math.exp(nats / tokens), rel=1e-4)


@pytest.mark.parametrize("text", ["", "\n\n", "A\n\nBcd"])
def test_too_little_neutral_text_is_refused(text: str, tiny_model: Path) -> None:
    lm = load(ModelSpec(name="tiny", source=f"path:{tiny_model}"), precision=torch.float32)
    with pytest.raises(InputError):
        neutral_nats(lm, text)


@pytest.mark.parametrize("text", ["It is 12.", "Twelve, I think", "12"])
def test_right_answers(text: str) -> None:
    assert right(text, ("12", "twelve"))


@pytest.mark.parametrize("text", ["", "It is 120", "312", "twelvefold", "eleven"])
def test_wrong_answers(text: str) -> None:
    assert not right(text, ("12", "twelve"))


def test_guard_replies_are_greedy(lm: LanguageModel) -> None:
    prompts = [Prompt(id=f"p{n}", kind="benign", text="Tell me " + "again " * n) for n in (3, 1, 2)]
    rows = sorted(replies(lm, prompts, 2, 3), key=lambda row: row.prompt)
    assert [row.prompt for row in rows] == ["p1", "p2", "p3"]
    assert [row.text for row in rows] == [
        naive_greedy(lm, lm.chat(p.text), 3) for p in sorted(prompts, key=lambda p: p.id)
    ]


def test_guards_are_shares_of_each_kind() -> None:
    kinds: list[tuple[Literal["harmful", "benign"], bool]] = [("harmful", True), ("harmful", False), ("benign", False)]
    rows = [GuardReply(prompt=str(n), kind=kind, refused=refused, text="") for n, (kind, refused) in enumerate(kinds)]
    rows += [GuardReply(prompt=str(n), kind="ability", refused=False, correct=n < 3, text="") for n in range(4)]
    found = guards(rows, [(math.log(4) * 30, 30), (math.log(4) * 60, 60)])
    assert found.perplexity == pytest.approx(4.0) and found.tokens == 90
    nats, tokens = zip(*found.paragraphs, strict=True)
    assert nats == pytest.approx((math.log(4) * 30, math.log(4) * 60)) and tokens == (30, 60)
    assert (found.refused_harmful, found.refused_benign, found.ability) == (0.5, 0.0, 0.75)
    assert (found.n_harmful, found.n_benign, found.n_ability) == (2, 1, 4)
    with pytest.raises(InputError, match="benign"):
        guards([row for row in rows if row.kind != "benign"], [(1.0, 1)])
