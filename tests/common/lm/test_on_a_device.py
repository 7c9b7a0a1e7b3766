"""All that runs a model works where the model is on another device than the CPU: it writes, scores, looks inside."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
import torch

from common.lm.activations import capture
from common.lm.adapter_space import written
from common.lm.chat import LanguageModel
from common.lm.generation import extend
from common.lm.likelihood import log_likelihoods, reply_nats, text_nats
from common.lm.margins import ByLength, NeutralText, Readout, prompts_in_both_orders, text_divergence
from common.lm.mediation import Compared, ablated, necessary, patched, put_in, sufficient, sufficient_whole
from common.lm.passages import prompt_passages
from common.lm.planted import planted, topic_slopes
from common.lm.steering import doses, effects
from common.lm.trees import tree_log_likelihoods
from common.lm.writing import asks
from common.lm.writing import written as written_replies
from common.provenance import ROOT
from common.records import Item
from common.stance.items import ITEMS, read_items
from common.stance.prompts import open_turn
from tests.fake_device import FAKE, reading_zeros

UNITS = np.eye(32)[:3]
TEXTS = ["A plain sentence about nothing much at all."]


@pytest.fixture
def items() -> list[Item]:
    return read_items(ROOT / ITEMS, 1)[:3]


@pytest.fixture
def away(lm: LanguageModel) -> LanguageModel:
    """The tiny model on the fake device."""
    lm.model.to(FAKE)  # type: ignore[arg-type]  # its stub leaves the device out
    return lm


def whole(lm: LanguageModel, items: list[Item]) -> Readout:
    return Readout(lm, prompts_in_both_orders(lm, items), whole=True)


def compared(lm: LanguageModel, items: list[Item]) -> Compared:
    after = partial(planted, lm.model, 0, torch.zeros(32, device=lm.model.device))
    return Compared(lm.model, whole(lm, items), nullcontext, after, [0])


def neutral(lm: LanguageModel) -> NeutralText:
    return NeutralText(lm, TEXTS, 8, 0)


def pushed(lm: LanguageModel, items: list[Item]) -> object:
    readout = ByLength(lm, prompts_in_both_orders(lm, items))
    return effects(partial(readout.steered, 0), UNITS, doses(neutral(lm), UNITS, [0.1], 1.0))


def weighted(lm: LanguageModel, items: list[Item]) -> object:
    readout = whole(lm, items)
    return readout.steered(0, UNITS, weights=readout.spans()["prompt"].float())


def in_matrices(lm: LanguageModel, _items: list[Item]) -> object:
    from peft import LoraConfig, get_peft_model

    tuned = get_peft_model(lm.model, LoraConfig(r=2, target_modules=["down_proj"], task_type="CAUSAL_LM"))
    tuned.add_adapter("neutral", tuned.peft_config["default"])
    return written(tuned.to(lm.model.device), "default", "neutral", UNITS)


def said(lm: LanguageModel, items: list[Item]) -> object:
    """Greedy answers and samples, with a beginning that all prompts share."""
    chances = [(None, np.random.default_rng(0))] * len(items)
    return list(written_replies(lm, asks([lm.chat(open_turn(item)) for item in items], chances), 3, 4, 0.5))


def trees(lm: LanguageModel, items: list[Item]) -> object:
    prompts = prompts_in_both_orders(lm, items)
    return tree_log_likelihoods(lm, [[(each.prompt, each.replies)] for each in prompts])


@torch.inference_mode()
def replied(lm: LanguageModel, items: list[Item]) -> object:
    prompts = prompts_in_both_orders(lm, items)
    state = extend(lm, [each.prompt for each in prompts])
    return log_likelihoods(lm, state, [each.replies for each in prompts])


INSTRUMENTS: dict[str, Callable[[LanguageModel, list[Item]], object]] = {
    "capture": lambda lm, items: capture(lm.model, prompt_passages(lm, items), [0, 1], 2),
    "pushed": pushed,
    "weighted": weighted,
    "sufficient": lambda lm, items: sufficient(compared(lm, items), 0, UNITS),
    "sufficient_whole": lambda lm, items: sufficient_whole(compared(lm, items), 0),
    "put_in": lambda lm, items: put_in(compared(lm, items), 0, UNITS),
    "necessary": lambda lm, items: necessary(compared(lm, items), 0, UNITS),
    "ablated": lambda lm, items: ablated(compared(lm, items), UNITS),
    "patched": lambda lm, items: patched(compared(lm, items), 0, list(whole(lm, items).spans().values())),
    "slopes": lambda lm, items: topic_slopes(whole(lm, items), 0),
    "text": lambda lm, _items: text_divergence(lm, TEXTS, 8, lm.model, nullcontext),
    "matrices": in_matrices,
    "written": said,
    "trees": trees,
    "replied": replied,
    "reply nats": lambda lm, items: reply_nats(lm, open_turn(items[0]), items[0].go),
    "text nats": lambda lm, _items: text_nats(lm, TEXTS),
}


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_an_instrument_keeps_to_the_device_of_the_model(away: LanguageModel, items: list[Item], name: str) -> None:
    with reading_zeros():
        INSTRUMENTS[name](away, items)


def test_the_fake_device_finds_a_tensor_that_was_left_on_the_cpu(away: LanguageModel, items: list[Item]) -> None:
    readout = whole(away, items)
    left = torch.arange(readout.own.shape[1])
    with pytest.raises(RuntimeError, match=r"device|meta"):
        _ = readout.own.cumsum(dim=1) < left
