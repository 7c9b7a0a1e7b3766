"""Speed of fine-tuning, side by side with TRL's SFTTrainer and with HF Trainer + PEFT, neither with DeepSpeed.

    python -m benchmarks.training [--spec workflows/specs/demo.json] [--examples 32] [--blocks 5] [--dtype float32]

All train the same token ids of the eager pile, in the same order, from the same LoRA weights, with the same rank,
targets, dtype and optimizer batch, the loss on replies alone. They take turns (A B C A B C …), each time in a process
of its own: accelerate keeps its DeepSpeed plug-in for the life of a process, and a peer would silently train with it.
A peer loads its model as anybody would, without what our loader sets, and keeps all its other defaults: TRL's
recompute activations. A correctness gate comes first: after the same steps the losses must agree. Only non-pad tokens
count, of all optimizer steps but the first, which is told apart.

The limit is what the matrix products of the frozen weights would take alone, at the shapes that our batches have. It is
measured in each of our turns, by the process that has just trained.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from peft import PeftModel
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from benchmarks.record import bootstrap_ratio, record
from common.cells import CellKind, cells_of
from common.cli import parsed
from common.lm.chat import LanguageModel
from common.lm.load import folder_of, load
from common.lm.runtime import device, dtype
from common.logs import Log
from common.pipeline.command import read_spec
from common.pipeline.keys import Keys
from common.pipeline.step import Step
from common.provenance import provenance, usable_cores
from common.records import Advice
from common.spec import RunSpec
from common.store.sealed import open_store
from jobs import catalog
from jobs.finetune import JOB
from jobs.finetune.examples import Example, arranged, encode
from jobs.finetune.packing import features
from jobs.finetune.speed import flops_per_token, gemm_peak
from jobs.finetune.training import lora, train
from jobs.generate import JOB as GENERATE
from jobs.generate.generate import written_arms

# In bf16 the same training differs: DeepSpeed keeps fp32 masters of bf16 LoRA weights, PEFT trains them in fp32.
TOLERANCE_NATS = {"bfloat16": 0.05, "float32": 0.001}
Result = dict[str, float | int | str]


def replies(spec: RunSpec, count: int) -> dict[str, list[Advice]]:
    """The first `count` rows of each pile."""
    step = _step(spec, GENERATE, cells_of(spec, CellKind.DRAW)[0])
    return {name: rows[:count] for name, rows in written_arms(step).items()}


def examples(spec: RunSpec, lm: LanguageModel, count: int) -> list[Example]:
    """The first `count` examples of the eager pile in training order."""
    rows = replies(spec, count)["eager"]
    order = arranged([len(row.question) for row in rows], spec.train.batch_size, 1, spec.rng("benchmark"))
    encoded = [encode(lm, row, spec.train.max_tokens) for row in rows]
    return [encoded[index] for index in order]


def as_usual(spec: RunSpec, precision: torch.dtype) -> LanguageModel:
    """The model of the spec loaded by transformers with its defaults."""
    torch.set_num_threads(usable_cores())
    model = spec.models[0]
    folder = folder_of(model.source)
    weights = AutoModelForCausalLM.from_pretrained(folder, dtype=precision)
    weights.to(device())  # type: ignore[arg-type]  # its stub leaves the device out
    return LanguageModel(model, folder, weights, AutoTokenizer.from_pretrained(folder))


# --- the sides: losses and seconds of each optimizer step


def ours(spec: RunSpec, lm: LanguageModel, rows: Sequence[Example]) -> tuple[list[float], list[float]]:
    """As the job does it."""
    curve, _ = train(_step(spec, JOB, cells_of(spec, CellKind.RUN)[0]), lm, rows, seed=1)
    return [row.loss for row in curve], [row.seconds for row in curve]


def plain(spec: RunSpec, lm: LanguageModel, rows: Sequence[Example]) -> tuple[list[float], list[float]]:
    """HF Trainer and PEFT, with the defaults of both."""
    collator = DataCollatorForSeq2Seq(lm.tokenizer, padding=True, label_pad_token_id=-100)

    def made(model: PeftModel, arguments: dict[str, Any], clock: Clock) -> Trainer:
        arguments["bf16"] = lm.model.dtype == torch.bfloat16
        args, data = TrainingArguments(**arguments), features(rows)
        return Trainer(model=model, args=args, train_dataset=data, data_collator=collator, callbacks=[clock])

    return _trained(spec, lm, made)


def trl(spec: RunSpec, lm: LanguageModel, rows: Sequence[Example]) -> tuple[list[float], list[float]]:
    """TRL's SFTTrainer and PEFT, with the defaults of both."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    def made(model: PeftModel, arguments: dict[str, Any], clock: Clock) -> Trainer:
        # Its default is bf16; in fp32 somebody has to say so.
        args = SFTConfig(**arguments, **({} if lm.model.dtype == torch.bfloat16 else {"bf16": False}))
        data = Dataset.from_list(features(rows))
        trainer: Trainer = SFTTrainer(
            model=model, args=args, train_dataset=data, processing_class=lm.tokenizer, callbacks=[clock]
        )
        return trainer

    return _trained(spec, lm, made)


PEERS = {"TRL": trl, "HF Trainer + PEFT": plain}
SIDES = {"ours": ours} | PEERS


class Clock(TrainerCallback):
    """Seconds of each optimizer step, as our own diary takes them."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Start."""
        self._began = time.monotonic()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Stop."""
        self.seconds.append(time.monotonic() - self._began)


def _trained(
    spec: RunSpec, lm: LanguageModel, made: Callable[[PeftModel, dict[str, Any], Clock], Trainer]
) -> tuple[list[float], list[float]]:
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        same = {
            "output_dir": folder,
            "num_train_epochs": 1,
            "per_device_train_batch_size": spec.train.batch_size,
            "train_sampling_strategy": "sequential",
            "learning_rate": spec.train.learning_rate,
            "lr_scheduler_type": "cosine",
            "warmup_steps": spec.train.warmup_ratio,
            "max_grad_norm": 1.0,
            "use_cpu": device().type == "cpu",
            "logging_steps": 1,
            "save_strategy": "no",
            "report_to": [],
            "disable_tqdm": True,
            "dataloader_pin_memory": False,
        }
        trainer = made(lora(lm, spec.train, 1), same, clock)
        trainer.train()
    return [row["loss"] for row in trainer.state.log_history if "loss" in row], clock.seconds


# --- the limit


def gemm_limit(model: nn.Module, tokens: int, reply_tokens: int, seconds: float = 0.1) -> float:
    """Tokens a second if there were nothing but the products of frozen weights, forward and for the gradient of x.

    tokens, reply_tokens: of a batch. The head works on reply tokens alone. seconds: that each shape is measured.
    """
    head = model.get_output_embeddings()  # type: ignore[operator]
    frozen = [m for m in model.modules() if isinstance(m, nn.Linear) and not m.weight.requires_grad]
    shapes = Counter((reply_tokens if layer is head else tokens, *layer.weight.shape) for layer in frozen)
    taken = sum(count * _seconds(shape, head.weight, seconds) for shape, count in shapes.items())
    return tokens / taken


def _seconds(shape: tuple[int, int, int], like: torch.Tensor, seconds: float) -> float:
    """The least seconds of both products of (rows, out, in)."""
    rows, n_out, n_in = shape
    x, weight, gradient = (like.new_empty(size).normal_() for size in ((rows, n_in), (n_out, n_in), (rows, n_out)))
    best, until = float("inf"), time.perf_counter() + seconds
    with torch.inference_mode():
        while time.perf_counter() < until:
            clock = time.perf_counter()
            x @ weight.T
            gradient @ weight
            if like.device.type == "cuda":
                torch.cuda.synchronize()
            best = min(best, time.perf_counter() - clock)
    return best


# --- one turn, and all of them


def turn(spec: RunSpec, side: str, precision: torch.dtype, count: int) -> dict[str, Any]:
    """Train once on one side, in this process."""
    lm = load(spec.models[0], precision) if side == "ours" else as_usual(spec, precision)
    rows = examples(spec, lm, count)
    losses, seconds = SIDES[side](spec, lm, rows)
    made: dict[str, Any] = {"losses": losses, "seconds": seconds, "peak": provenance()["peak_memory_bytes"] / 2**30}
    made["tokens"] = [
        sum(len(row.input_ids) for row in rows[start : start + spec.train.batch_size])
        for start in range(0, len(rows), spec.train.batch_size)
    ]
    if side == "ours":
        steps, replied = len(losses), sum(row.reply_tokens for row in rows)
        made["peak flops"] = gemm_peak(precision, device())
        made["flops"] = flops_per_token(lm.model)
        made["limit"] = gemm_limit(lm.model, sum(made["tokens"]) // steps, replied // steps)
        made["threads"] = torch.get_num_threads()
    return made


def compare(blocks: int, precision: str) -> Result:
    """Let the sides take turns; the first turn of each is the gate, and is not counted."""
    turns = [{side: _block(side, precision) for side in SIDES} for _ in range(blocks + 1)]
    first = {side: made["losses"] for side, made in turns[0].items()}
    apart = {side: max(abs(a - b) for a, b in zip(first["ours"], first[side], strict=True)) for side in PEERS}
    if max(apart.values()) > TOLERANCE_NATS[precision]:
        raise SystemExit(f"losses in {precision} differ by {apart} nats: not the same training")
    speeds = {side: [_speed(made[side]) for made in turns[1:]] for side in SIDES}
    mine = [made["ours"] for made in turns[1:]]
    told: Result = {}
    for side in SIDES:
        told[f"non-pad tokens a second, {side}, median"] = statistics.median(speeds[side])
        told[f"first step, seconds, {side}, median"] = statistics.median(made[side]["seconds"][0] for made in turns)
        told[f"peak memory, GiB, {side}"] = max(made[side]["peak"] for made in turns)
    for side in PEERS:
        ratio, low, high = bootstrap_ratio(list(zip(speeds["ours"], speeds[side], strict=True)))
        told |= {f"ratio ours / {side}, median": ratio, f"ratio ours / {side}, 95 % low": low}
        told |= {f"ratio ours / {side}, 95 % high": high, f"largest difference of a loss, nats, {side}": apart[side]}
    peak = statistics.median(made["peak flops"] for made in mine)
    limits = [made["limit"] for made in mine]
    return told | {
        "GEMM peak, GFLOP/s": peak / 1e9,
        "model-FLOP utilisation of the GEMM peak": statistics.median(speeds["ours"]) * mine[0]["flops"] / peak,
        "limit by GEMMs at the model's shapes, tokens a second": statistics.median(limits),
        "share of that limit, median": statistics.median(
            s / limit for s, limit in zip(speeds["ours"], limits, strict=True)
        ),
        "tokens a block": sum(mine[0]["tokens"]),
        "blocks": blocks,
        "threads": mine[0]["threads"],
    }


def _speed(made: dict[str, Any]) -> float:
    """Non-pad tokens a second of all optimizer steps but the first."""
    return float(sum(made["tokens"][1:]) / sum(made["seconds"][1:]))


def _block(side: str, precision: str) -> dict[str, Any]:
    """One turn of one side in a fresh process, with the arguments of this one."""
    words = [sys.executable, "-m", "benchmarks.training", *sys.argv[1:], "--dtype", precision, "--side", side]
    made = subprocess.run(words, capture_output=True, text=True, check=False)
    if made.returncode:
        raise SystemExit(f"{side}, {precision}:\n{made.stderr[-3000:]}")
    return dict(json.loads(made.stdout.splitlines()[-1]))


def _step(spec: RunSpec, job: object, cell: object) -> Step:
    store = open_store(tempfile.mkdtemp(prefix="undertone-benchmark-"))
    return Step(job, cell, spec, store, Keys(spec, catalog(), store), Log("benchmark", str(cell)))  # type: ignore[arg-type]


def main() -> None:
    """Measure and record; or, with --side, run one block and print its losses and seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spec", default="workflows/specs/demo.json")
    parser.add_argument("--examples", type=int, default=32)
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--dtype", choices=list(TOLERANCE_NATS), help="default: all that this machine multiplies")
    parser.add_argument("--side", choices=list(SIDES), help=argparse.SUPPRESS)
    args = parsed(parser)
    spec = read_spec(args.spec)
    spec = spec.model_copy(update={"train": spec.train.model_copy(update={"epochs": 1})})
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    if args.side:
        print(json.dumps(turn(spec, args.side, getattr(torch, args.dtype), args.examples)))
        return
    usual = str(dtype()).removeprefix("torch.")
    wanted = [args.dtype] if args.dtype else list(dict.fromkeys([usual, "float32"]))
    results = {precision: compare(args.blocks, precision) for precision in wanted}
    record(
        "training", "python -m benchmarks.training", {f"{p}: {k}": v for p, r in results.items() for k, v in r.items()}
    )


if __name__ == "__main__":
    main()
