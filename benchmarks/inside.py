"""Speed of the instruments that look inside a model, side by side with TransformerLens.

    python -m benchmarks.inside [--spec workflows/specs/demo.json] [--pairs 12] [--vectors 8] [--blocks 2]

Both read the same texts at the same positions of the same weights. Capture: mean residuals of replies after every
block. Steering: the margin between two replies with a vector added after one block, from the prompt's last token on.
They take turns (A B A B …) in one process, each on a copy of the weights of its own. A correctness gate comes first:
in fp32 every residual and every margin must agree to 1e-4 of 1 + its size; then both are timed in fp32 and as the jobs
run here (bf16 where the processor multiplies it).

The peer gets its own idiom and no more: `run_with_cache` with a filter of names, `run_with_hooks` once for each vector,
all rows in one batch, padded on the right, where causal attention needs no mask. Its `start_at_layer` runs the lower
blocks all the same, so nothing would be gained by it.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.record import bootstrap_ratio, record
from benchmarks.training import replies
from common.cli import parsed
from common.lm.activations import Passage, capture
from common.lm.chat import LanguageModel
from common.lm.load import load
from common.lm.margins import ByLength, PromptWithReplies, one_order_each, prompts_in_both_orders
from common.lm.passages import reply_passages
from common.lm.runtime import dtype
from common.pipeline.command import read_spec
from common.provenance import ROOT
from common.spec import ModelSpec, RunSpec
from common.stance.items import ITEMS, read_items

Floats = NDArray[np.float64]
AGREE = 1e-4
ROWS = 8  # of a batch in capture, on both sides
COEFFICIENT = 0.3  # of the typical length of a residual


class Task(NamedTuple):
    """What both sides do."""

    passages: list[Passage]
    prompts: list[PromptWithReplies]
    layer: int
    vectors: Floats  # (n_vectors, d_model)


class Ours:
    """As the jobs do it."""

    def __init__(self, spec: ModelSpec, precision: torch.dtype) -> None:
        """Load a copy of the weights."""
        self.lm = load(spec, precision=precision)
        self.layers = range(self.lm.model.config.num_hidden_layers)

    def read(self, task: Task) -> Floats:
        """Mean residuals of the replies, (n_passages, n_layers, d_model)."""
        return capture(self.lm.model, task.passages, self.layers, ROWS)[:, 0].astype(np.float64)

    def steer(self, task: Task) -> Floats:
        """Margins (n_vectors, n_prompts)."""
        return ByLength(self.lm, task.prompts).steered(task.layer, task.vectors)


class Peer:
    """As a user of TransformerLens does it."""

    def __init__(self, spec: ModelSpec, precision: torch.dtype) -> None:
        """Load a copy of the weights and wrap it."""
        from transformer_lens.model_bridge import TransformerBridge

        lm = load(spec, precision=precision)
        self.bridge: Any = TransformerBridge.boot_transformers(
            str(lm.folder), hf_model=lm.model, tokenizer=lm.tokenizer, dtype=precision
        )
        self.layers = range(lm.model.config.num_hidden_layers)

    @torch.inference_mode()
    def read(self, task: Task) -> Floats:
        """Mean residuals of the replies, (n_passages, n_layers, d_model)."""
        order = sorted(range(len(task.passages)), key=lambda index: len(task.passages[index].ids))
        found: dict[int, Floats] = {}
        names = [f"blocks.{layer}.hook_resid_post" for layer in self.layers]
        for start in range(0, len(order), ROWS):
            rows = order[start : start + ROWS]
            ids = right_padded([task.passages[index].ids for index in rows])
            _, cache = self.bridge.run_with_cache(ids, names_filter=names.__contains__)
            for place, index in enumerate(rows):
                span = list(task.passages[index].spans[0])
                means = [cache[name][place, span].double().mean(dim=0) for name in names]
                found[index] = torch.stack(means).cpu().numpy()
        return np.stack([found[index] for index in range(len(order))])

    @torch.inference_mode()
    def steer(self, task: Task) -> Floats:
        """Margins (n_vectors, n_prompts)."""
        rows = [(each.prompt, option) for each in task.prompts for option in each.replies]
        ids = right_padded([[*prompt, *option] for prompt, option in rows])
        touched = torch.zeros(*ids.shape, 1, dtype=torch.bool)
        for place, (prompt, option) in enumerate(rows):
            touched[place, len(prompt) - 1 : len(prompt) + len(option)] = True
        found = []
        for vector in task.vectors:
            added = torch.where(touched, torch.tensor(vector), torch.zeros(1, dtype=torch.float64))

            def add(residual: Tensor, hook: object, added: Tensor = added) -> Tensor:
                return residual + added.to(residual.dtype)

            hooks = [(f"blocks.{task.layer}.hook_resid_post", add)]
            logits = self.bridge.run_with_hooks(ids, fwd_hooks=hooks)
            sums = [
                float(logits[place, len(p) - 1 : len(p) + len(o) - 1].float().log_softmax(-1)
                      .gather(-1, torch.tensor(o)[:, None]).double().sum())
                for place, (p, o) in enumerate(rows)
            ]  # fmt: skip
            found.append(np.array(sums[::2]) - np.array(sums[1::2]))
        return np.array(found)


def right_padded(rows: Sequence[Sequence[int]]) -> Tensor:
    """Ids (rows, length)."""
    ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.tensor(list(row))
    return ids


def task_of(spec: RunSpec, lm: LanguageModel, pairs: int, vectors: int) -> Task:
    """Replies of both poles, one item a topic in one order, and random directions two thirds up."""
    piles = replies(spec, pairs)
    passages = reply_passages(lm, [*piles["cautious"], *piles["eager"]])
    items = read_items(ROOT / ITEMS, 1)
    layer = 2 * lm.model.config.num_hidden_layers // 3
    length = float(np.linalg.norm(capture(lm.model, passages[:8], [layer], 8)[:, 0, 0], axis=1).mean())
    drawn = np.random.default_rng(0).standard_normal((vectors, lm.model.config.hidden_size))
    units = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return Task(passages, one_order_each(prompts_in_both_orders(lm, items)), layer, COEFFICIENT * length * units)


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spec", default="workflows/specs/demo.json")
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--vectors", type=int, default=8)
    parser.add_argument("--blocks", type=int, default=2)
    args = parsed(parser)
    spec = read_spec(args.spec)
    results: dict[str, Any] = {}
    for precision in dict.fromkeys((torch.float32, dtype())):
        ours, peer = Ours(spec.models[0], precision), Peer(spec.models[0], precision)
        task = task_of(spec, ours.lm, args.pairs, args.vectors)
        name = str(precision).removeprefix("torch.")
        for what in ("read", "steer"):
            sides = [partial(getattr(side, what), task) for side in (ours, peer)]
            results |= compare(f"{what}, {name}", sides, args.blocks, precision == torch.float32)
    results |= {
        "replies read": len(task.passages),
        "prompts x vectors steered": f"{len(task.prompts)} x {len(task.vectors)}",
        "blocks": args.blocks,
        "threads": torch.get_num_threads(),
    }
    record("inside", "python -m benchmarks.inside", results)


def compare(name: str, sides: Sequence[Callable[[], Floats]], blocks: int, gate: bool) -> dict[str, float]:
    """Let the sides take turns; the first turn is the warm-up and the gate, and is not counted."""
    mine, theirs = (side() for side in sides)
    apart = float((np.abs(mine - theirs) / (1 + np.abs(theirs))).max())
    if gate and apart > AGREE:
        raise SystemExit(f"{name}: the two differ by {apart:.2g} of 1 + size: not the same measurement")
    pairs = [tuple(_seconds(side) for side in sides) for _ in range(blocks)]
    ratio, low, high = bootstrap_ratio([(theirs, mine) for mine, theirs in pairs])
    return {
        f"{name}: ours, s": statistics.median(mine for mine, _ in pairs),
        f"{name}: TransformerLens, s": statistics.median(theirs for _, theirs in pairs),
        f"{name}: times as fast": ratio,
        f"{name}: times as fast, 95 % low": low,
        f"{name}: times as fast, 95 % high": high,
        f"{name}: largest difference, of 1 + size": apart,
    }


def _seconds(side: Callable[[], Floats]) -> float:
    clock = time.perf_counter()
    side()
    return time.perf_counter() - clock


if __name__ == "__main__":
    main()
