"""Speed of answers in words, side by side with `generate` of transformers in batches of 32.

    python -m benchmarks.answer [--spec workflows/specs/demo.json] [--items 64] [--tokens 96] [--blocks 5]

Both answer the same items openly, once greedily and once by a sample at the same temperature, from the same token ids
and weights, with the same ends. They take turns (A B A B …) in one process, each on a copy of the weights of its own.
The peer has its prompts sorted by length and padded on the left; greedy answers and samples are batches of their own,
since a call is one or the other. A correctness gate comes first: in fp32 every greedy text must be the same. In bf16
rows round otherwise in other company, and it is said how many differ. Times are of prompts to texts, loading left out.
"""

import argparse
import resource
import statistics
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
import torch

from benchmarks.record import in_turn, record, times_as_fast
from benchmarks.training import as_usual
from common.cli import parsed
from common.lm.chat import LanguageModel
from common.lm.load import load
from common.lm.runtime import device, dtype
from common.lm.writing import asks, stop_tokens, written
from common.pipeline.command import read_spec
from common.provenance import ROOT
from common.spec import RunSpec
from common.stance.items import ITEMS, read_items
from common.stance.prompts import open_turn
from jobs.evaluate.answers import WIDER
from jobs.finetune.speed import gemm_peak

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
        longest = max(map(len, rows))
        ids = torch.tensor([[stops[0]] * (longest - len(row)) + row for row in rows], device=lm.model.device)
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=lm.model.device)
        out = cast(Any, lm.model).generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=task.most,
            eos_token_id=stops,
            pad_token_id=stops[0],
            repetition_penalty=1.0,
            **how,
        )
        texts += lm.tokenizer.batch_decode(out[:, longest:], skip_special_tokens=True)
    return texts


def task_of(spec: RunSpec, lm: LanguageModel, items: int, most: int) -> Task:
    """The first items, topic by topic in turn."""
    every = read_items(ROOT / ITEMS, -(-items // 16))[:items]
    prompts = sorted((lm.chat(open_turn(item)) for item in every), key=len)
    return Task(prompts, most, spec.evaluate.temperature, WIDER * spec.evaluate.batch_rows)


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spec", default="workflows/specs/demo.json")
    parser.add_argument("--items", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--blocks", type=int, default=5)
    args = parsed(parser)
    spec = read_spec(args.spec)
    results: dict[str, Any] = {}
    for precision in dict.fromkeys((torch.float32, dtype())):
        results |= measured(spec, precision, args)
    results |= {
        "items, two answers to each": args.items,
        "most tokens an answer": args.tokens,
        "blocks": args.blocks,
        "threads": torch.get_num_threads(),
        "largest memory of the process, both models in it, GiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        / 2**20,
    }
    record("answer", "python -m benchmarks.answer", results)


def measured(spec: RunSpec, precision: torch.dtype, args: argparse.Namespace) -> dict[str, Any]:
    """One type of numbers: the gate, then blocks."""
    lm, peer = load(spec.models[0], precision=precision), as_usual(spec, precision)
    task, name = task_of(spec, lm, args.items, args.tokens), str(precision).removeprefix("torch.")
    sides = [partial(ours, lm, task), partial(theirs, peer, task)]
    (mine, other), first, blocks = in_turn(sides, args.blocks)
    same = sum(one == two for one, two in zip(mine.greedy, other.greedy, strict=True))
    if precision == torch.float32 and same < len(task.prompts):
        raise SystemExit(f"{len(task.prompts) - same} greedy texts of {len(task.prompts)} differ: not the same answers")
    tokens = [_tokens(lm, texts) for texts in (mine, other)]
    answers = 2 * len(task.prompts)
    seconds = [statistics.median(each[side].wall for each in blocks) for side in (0, 1)]
    peak, weights = gemm_peak(precision, device()), sum(part.numel() for part in lm.model.parameters())
    return {
        f"{name}: answers a second, ours": answers / seconds[0],
        f"{name}: answers a second, {PEER}": answers / seconds[1],
        **{f"{name}: {what}": value for what, value in times_as_fast(blocks).items()},
        f"{name}: tokens written a second, ours": tokens[0] / seconds[0],
        f"{name}: tokens written a second, {PEER}": tokens[1] / seconds[1],
        f"{name}: first turn, ours and {PEER}, s": ", ".join(f"{each.wall:.1f}" for each in first),
        f"{name}: greedy texts that are the same, of {len(task.prompts)}": same,
        f"{name}: GEMM peak, GFLOP/s": peak / 1e9,
        f"{name}: of the GEMM peak, ours, prompts left out": 2 * weights * tokens[0] / seconds[0] / peak,
    }


def _tokens(lm: LanguageModel, texts: Texts) -> int:
    rows: Sequence[list[int]] = lm.tokenizer([*texts.greedy, *texts.samples], add_special_tokens=False)["input_ids"]
    return sum(map(len, rows))


if __name__ == "__main__":
    main()
