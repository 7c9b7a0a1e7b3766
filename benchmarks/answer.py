"""Speed of answers in words, side by side with `generate` of transformers in batches of 32.

    python -m benchmarks.answer [--spec workflows/specs/demo.json] [--items 64] [--tokens 96] [--blocks 5]

Both answer the same items openly, once greedily and once by a sample at the same temperature, from the same token ids
and weights, with the same ends. They take turns (A B A B …) in one process, each on a copy of the weights of its own.
The peer has its prompts sorted by length and padded on the left; greedy answers and samples are batches of their own,
since a call is one or the other. A correctness gate comes first: in fp32 every greedy text must be the same. In bf16
rows round otherwise in other company, and it is said how many differ. Times are of prompts to texts, loading left out.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
import torch

from benchmarks.beside import arguments, in_turn, measure, peak, some_items
from benchmarks.training import as_usual
from common.lm.answers import WIDER
from common.lm.chat import LanguageModel
from common.lm.generation import padded
from common.lm.load import load
from common.lm.writing import asks, stop_tokens, written
from common.spec import RunSpec
from common.stance.prompts import open_turn

BATCH = 32  # of the peer
PEER = "generate"


class Task(NamedTuple):
    """What both sides do."""

    prompts: list[list[int]]  # by length
    most: int
    temperature: float
    places: int  # of ours


class Texts(NamedTuple):
    """Greedy answers and samples, in the order of the prompts."""

    greedy: list[str]
    samples: list[str]


def ours(lm: LanguageModel, task: Task) -> Texts:
    """As the job does it."""
    chances = [(None, np.random.default_rng(number)) for number in range(len(task.prompts))]
    found = dict(written(lm, asks(task.prompts, chances), task.most, task.places, task.temperature))
    both = [found[place] for place in range(len(task.prompts))]
    return Texts([greedy for greedy, _ in both], [sample for _, sample in both])


def theirs(lm: LanguageModel, task: Task) -> Texts:
    """As a user of transformers does it."""
    torch.manual_seed(0)
    drawn = {"do_sample": True, "temperature": task.temperature, "top_k": 0, "top_p": 1.0}
    return Texts(_generated(lm, task, {"do_sample": False}), _generated(lm, task, drawn))


@torch.inference_mode()
def _generated(lm: LanguageModel, task: Task, how: dict[str, Any]) -> list[str]:
    stops, texts = sorted(stop_tokens(lm)), []
    for start in range(0, len(task.prompts), BATCH):
        rows = task.prompts[start : start + BATCH]
        ids, mask = padded(lm, rows)
        out = cast(Any, lm.model).generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=task.most,
            eos_token_id=stops,
            pad_token_id=stops[0],
            repetition_penalty=1.0,
            **how,
        )
        texts += lm.tokenizer.batch_decode(out[:, ids.shape[1] :], skip_special_tokens=True)
    return texts


def task_of(spec: RunSpec, lm: LanguageModel, items: int, most: int) -> Task:
    """The first items, topic by topic in turn."""
    prompts = sorted((lm.chat(open_turn(item)) for item in some_items(items)), key=len)
    return Task(prompts, most, spec.evaluate.temperature, WIDER * spec.evaluate.batch_rows)


def main() -> None:
    """Measure and record."""
    parser = arguments(__doc__, items=64)
    parser.add_argument("--tokens", type=int, default=96)
    measure("answer", parser, measured, {"items": "items, two answers to each", "tokens": "most tokens an answer"})


def measured(spec: RunSpec, precision: torch.dtype, args: argparse.Namespace) -> dict[str, Any]:
    """One type of numbers: the gate, then blocks."""
    lm, peer = load(spec.models[0], precision=precision), as_usual(spec, precision)
    task = task_of(spec, lm, args.items, args.tokens)
    turns = in_turn([partial(ours, lm, task), partial(theirs, peer, task)], args.blocks)
    mine, other = turns.found
    same = sum(one == two for one, two in zip(mine.greedy, other.greedy, strict=True))
    if precision == torch.float32 and same < len(task.prompts):
        raise SystemExit(f"{len(task.prompts) - same} greedy texts of {len(task.prompts)} differ: not the same answers")
    tokens = [_tokens(lm, texts) for texts in (mine, other)]
    weights = sum(part.numel() for part in lm.model.parameters())
    return {
        **turns.told("answers a second", PEER, [2 * len(task.prompts)] * 2),
        **turns.rates("tokens written a second", PEER, tokens),
        f"greedy texts that are the same, of {len(task.prompts)}": same,
        "of the GEMM peak, ours, prompts left out": 2 * weights * tokens[0] / turns.seconds(0) / peak(precision),
    }


def _tokens(lm: LanguageModel, texts: Texts) -> int:
    rows: Sequence[list[int]] = lm.tokenizer([*texts.greedy, *texts.samples], add_special_tokens=False)["input_ids"]
    return sum(map(len, rows))


if __name__ == "__main__":
    main()
