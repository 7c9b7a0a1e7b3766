"""Speed of scoring the closed forms, side by side with lm-evaluation-harness.

    python -m benchmarks.score [--spec workflows/specs/demo.json] [--items 16] [--blocks 5]

Both find the log-likelihoods of the same replies to the same prompts, given as token ids: every item in both orders,
asked by Yes or No under both keys, by sentences and by labels, so 8 prompts with two replies each. They take turns
(A B A B …) in one process, each on a copy of the weights of its own. The peer is its model `hf` with batches of 16; it
sorts by length, and shares a pass among replies of one token. A correctness gate comes first: in fp32 all numbers must
agree to 1e-3 nats. Texts to token ids is left out of both.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from benchmarks.beside import arguments, in_turn, measure, some_items
from benchmarks.training import as_usual
from common.lm.chat import LanguageModel
from common.lm.closed import Encoded, batches, choices, encode
from common.lm.load import load
from common.records import Choice
from common.spec import RunSpec

BATCH = 16  # of the peer
AGREE = 1e-3  # nats, in fp32
PEER = "lm-evaluation-harness"


def ours(lm: LanguageModel, grouped: Sequence[Sequence[Encoded]]) -> list[float]:
    """As the job does it; the numbers of an item's rows, as `numbers` has them."""
    rows = [row for batch in grouped for row in choices(lm, batch, "benchmark")]
    return [value for row in rows for value in numbers(row)]


def numbers(row: Choice) -> tuple[float, ...]:
    """What is found of an item under one key in one order, nats: the margin of Yes, both sentences, both labels."""
    return row.yes_no, row.sentence_go, row.sentence_stay, row.label_go, row.label_stay


def peer_of(lm: LanguageModel) -> Any:
    """The peer's model on the weights of ours."""
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=lm.model, tokenizer=lm.tokenizer, batch_size=BATCH)


def theirs(peer: Any, grouped: Sequence[Sequence[Encoded]]) -> list[float]:
    """As a task of the peer does it, from token ids on."""
    turns = [each for batch in grouped for encoded in batch for each in encoded.turns]
    asked = [
        (("", ""), prompt, reply)
        for each in turns
        for prompt, pair in zip(each.prompts, each.pairs, strict=True)
        for reply in pair
    ]
    told = [value for value, _greedy in peer._loglikelihood_tokens(asked, disable_tqdm=True)]
    found = []
    for start in range(0, len(told), 8):
        yes, no, other_yes, other_no, *rest = told[start : start + 8]
        found += [yes - no, *rest, other_yes - other_no, *rest]
    return found


def main() -> None:
    """Measure and record."""
    measure("score", arguments(__doc__, items=16), measured, {"items": "items, 16 replies to each"})


def measured(spec: RunSpec, precision: torch.dtype, args: argparse.Namespace) -> dict[str, Any]:
    """One type of numbers: the gate, then blocks."""
    lm, peer = load(spec.models[0], precision=precision), peer_of(as_usual(spec, precision))
    items = some_items(args.items)
    grouped = batches([encode(lm, item) for item in items], spec.evaluate.batch_rows)
    turns = in_turn([partial(ours, lm, grouped), partial(theirs, peer, grouped)], args.blocks)
    apart = max(abs(one - two) for one, two in zip(*turns.found, strict=True))
    if precision == torch.float32 and apart > AGREE:
        raise SystemExit(f"log-likelihoods differ by {apart:.2g} nats: not the same numbers")
    return {
        **turns.told("replies scored a second", PEER, [16 * len(items)] * 2),
        "largest difference, nats": apart,
    }


if __name__ == "__main__":
    main()
