"""Speed of fine-tuning, side by side with HF Trainer + PEFT without DeepSpeed.

    python -m benchmarks.training [--spec workflows/specs/demo.json] [--examples 48] [--blocks 5]

Both train the same examples of the eager pile, in the same order, with the same rank, targets, dtype and batch. They
take turns (A B A B …), each time in a process of its own: accelerate keeps its DeepSpeed plug-in for the life of a
process, and the peer would silently train with it. The peer loads its model as anybody would, without what our loader
sets. A correctness gate comes first: after the same steps from the same weights, the two losses must agree. Only
non-pad tokens count.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForSeq2Seq, Trainer, TrainingArguments

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
from common.provenance import usable_cores
from common.records import Advice
from common.spec import RunSpec
from common.store.sealed import open_store
from jobs import catalog
from jobs.finetune import JOB
from jobs.finetune.examples import Example, arranged, encode
from jobs.finetune.speed import flops_per_token, gemm_peak
from jobs.finetune.training import lora, train
from jobs.generate import JOB as GENERATE
from jobs.generate.generate import written_arms

TOLERANCE_NATS = 0.05  # bf16 master weights differ: DeepSpeed keeps fp32 masters, PEFT trains in fp32


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


def ours(spec: RunSpec, lm: LanguageModel, rows: Sequence[Example]) -> tuple[list[float], float]:
    """Train as the job does; return losses and the seconds of all steps."""
    curve = train(_step(spec, JOB, cells_of(spec, CellKind.RUN)[0]), lm, rows, seed=1)
    return [row.loss for row in curve], sum(row.seconds for row in curve)


def plain(spec: RunSpec, lm: LanguageModel, rows: Sequence[Example]) -> tuple[list[float], float]:
    """Train with HF Trainer and PEFT alone; return losses and seconds inside `train`."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=lora(lm, spec.train, 1),
            args=TrainingArguments(
                output_dir=folder,
                num_train_epochs=1,
                per_device_train_batch_size=spec.train.batch_size,
                train_sampling_strategy="sequential",
                learning_rate=spec.train.learning_rate,
                lr_scheduler_type="cosine",
                warmup_steps=spec.train.warmup_ratio,
                max_grad_norm=1.0,
                bf16=dtype() == torch.bfloat16,
                use_cpu=device().type == "cpu",
                logging_steps=1,
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
                dataloader_pin_memory=False,
            ),
            train_dataset=[{"input_ids": row.input_ids, "labels": row.labels} for row in rows],
            data_collator=DataCollatorForSeq2Seq(lm.tokenizer, padding=True, label_pad_token_id=-100),
        )
        clock = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - clock
    return [row["loss"] for row in trainer.state.log_history if "loss" in row], seconds


PEER = "HF Trainer + PEFT"
SIDES = {"ours": ours, PEER: plain}


def main() -> None:
    """Measure and record; or, with --side, run one block and print its losses and seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spec", default="workflows/specs/demo.json")
    parser.add_argument("--examples", type=int, default=48)
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--side", choices=list(SIDES), help=argparse.SUPPRESS)
    args = parsed(parser)
    spec = read_spec(args.spec)
    lm = as_usual(spec, dtype()) if args.side == PEER else load(spec.models[0])
    rows = examples(spec, lm, args.examples)
    if args.side:
        losses, seconds = SIDES[args.side](spec, lm, rows)
        print(json.dumps({"losses": losses, "seconds": seconds}))
        return
    record("training", "python -m benchmarks.training", compare(spec, lm, rows, args.blocks))


def compare(spec: RunSpec, lm: LanguageModel, rows: Sequence[Example], blocks: int) -> dict[str, float | int | str]:
    """Let the sides take turns; the first turn of each is the warm-up and the gate, and is not counted."""
    tokens = sum(len(row.input_ids) for row in rows)
    turns = [{side: _block(side) for side in SIDES} for _ in range(blocks + 1)]
    first = [turn["losses"] for turn in turns[0].values()]
    apart = max(abs(a - b) for a, b in zip(*first, strict=True))
    if apart > TOLERANCE_NATS:
        raise SystemExit(f"losses differ by {apart:.3f} nats: not the same training")
    pairs = [tuple(tokens / turn[side]["seconds"] for side in SIDES) for turn in turns[1:]]
    ratio, low, high = bootstrap_ratio(pairs)
    mine, peer = (statistics.median(pair[index] for pair in pairs) for index in (0, 1))
    peak, flops = gemm_peak(dtype(), device()), flops_per_token(lora(lm, spec.train, 1))
    return {
        "non-pad tokens a second, ours, median": mine,
        f"non-pad tokens a second, {PEER}, median": peer,
        f"ratio ours / {PEER}, median": ratio,
        "ratio, 95 % low": low,
        "ratio, 95 % high": high,
        "GEMM peak, GFLOP/s": peak / 1e9,
        "model-FLOP utilisation of the GEMM peak": flops * mine / peak,
        "largest difference of a loss, nats": apart,
        "tokens a block": tokens,
        "blocks": blocks,
        "dtype": str(dtype()).removeprefix("torch."),
        "threads": torch.get_num_threads(),
    }


def _block(side: str) -> dict[str, Any]:
    """One turn of one side in a fresh process, with the arguments of this one."""
    words = [sys.executable, "-m", "benchmarks.training", *sys.argv[1:], "--side", side]
    made = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    return dict(json.loads(made.stdout.splitlines()[-1]))


def _step(spec: RunSpec, job: object, cell: object) -> Step:
    store = open_store(tempfile.mkdtemp(prefix="undertone-benchmark-"))
    return Step(job, cell, spec, store, Keys(spec, catalog(), store), Log("benchmark", str(cell)))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
