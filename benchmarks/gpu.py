"""Speed and memory of fine-tuning on one GPU at the shapes of the models of our studies, with random weights.

    python -m benchmarks.gpu [--batches 8,64] [--minutes 6] [--tiny]

Nothing is downloaded: the models are built from workflows/cost/configs.json, each in a process of its own, and trained
by the job's own code on random tokens, 113 a row, 66 of them a reply, as the mean row of our piles. The first
steps are left out. Utilisation is told beside the peak of a large matrix product, measured by the same process. What
does not fit into the minutes is left out, and said. --tiny: a model of two small layers, to try this on a CPU.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from typing import Any, cast

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerBase

from benchmarks.record import record
from benchmarks.training import ours
from common.cli import parsed
from common.lm.chat import LanguageModel
from common.lm.runtime import device, dtype, prepare
from common.pipeline.command import read_spec
from common.provenance import ROOT
from common.spec import ModelSpec, RunSpec
from jobs.finetune.examples import IGNORED, Example
from jobs.finetune.ranks import ASKED
from jobs.finetune.speed import flops_per_token
from workflows.cost.shapes import listed

NOWHERE = f"hf:benchmark/random@{'0' * 40}"  # the source of a model that has no files
TINY: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 512,
}
ROW, REPLY = 113, 66  # tokens of a row, and of its reply
STEPS, WARM_UP = 14, 4
SIDE = {"cuda": 8192, "cpu": 512}  # of the square matrices whose product is the peak


def random_model(config: dict[str, Any]) -> LanguageModel:
    """A model of this configuration on the device, with random weights and without a tokenizer."""
    prepare()
    fields = dict(config)
    made = AutoConfig.for_model(fields.pop("model_type"), **fields)
    torch.manual_seed(0)
    with torch.device(device()):
        model = AutoModelForCausalLM.from_config(made, dtype=dtype())
    spec = ModelSpec(name="random", source=NOWHERE)
    return LanguageModel(spec, ROOT, model.eval(), cast(PreTrainedTokenizerBase, None))


def rows(vocabulary: int, many: int) -> list[Example]:
    """Rows of random tokens."""
    ids = np.random.default_rng(0).integers(3, vocabulary, size=(many, ROW)).tolist()
    return [Example(row, [IGNORED] * (ROW - REPLY) + row[-REPLY:]) for row in ids]


def peak(seconds: float = 1.0) -> float:
    """Operations a second of the product of two large square matrices."""
    where = device()
    side = SIDE[where.type]
    a, b = (torch.randn(side, side, dtype=dtype(), device=where) for _ in range(2))
    best, until = 0.0, time.perf_counter() + seconds
    with torch.inference_mode():
        while time.perf_counter() < until:
            clock = time.perf_counter()
            for _ in range(4):
                a @ b
            if where.type == "cuda":
                torch.cuda.synchronize()
            best = max(best, 4 * 2 * side**3 / (time.perf_counter() - clock))
    return best


def turn(spec: RunSpec, config: dict[str, Any], batch: int) -> dict[str, float]:
    """Train one model in this process."""
    train = spec.train.model_copy(update={"batch_size": batch, "epochs": 1, "checkpoints": 1})
    models = (ModelSpec(name="random", source=NOWHERE),)
    lm, most = random_model(config), peak()
    _, seconds = ours(
        spec.model_copy(update={"train": train, "models": models}), lm, rows(config["vocab_size"], STEPS * batch)
    )
    speed = batch * ROW * (STEPS - WARM_UP) / sum(seconds[WARM_UP:])
    return {
        "tokens a second": speed,
        "model-FLOP utilisation": speed * flops_per_token(lm.model) / most,
        "peak of a large product, TFLOP/s": most / 1e12,
        "memory, GiB": memory() / 2**30,
        "first step, seconds": seconds[0],
    }


def memory() -> int:
    """Most bytes held, of the GPU or else of this process."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(configs: dict[str, dict[str, Any]], batches: list[int], minutes: float) -> dict[str, float | str]:
    """Every model and batch in a process of its own, until the minutes are over."""
    until, found = time.monotonic() + 60 * minutes, dict[str, float | str]()
    for name in configs:
        for batch in batches:
            label, left = f"{name}, batches of {batch}", until - time.monotonic()
            words = [sys.executable, "-m", "benchmarks.gpu", *sys.argv[1:], "--one", name, "--batches", str(batch)]
            try:
                made = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False, timeout=max(left, 0.1))
            except subprocess.TimeoutExpired:
                found[label] = "no time left"
                continue
            if made.returncode:
                found[label] = f"ended with exit code {made.returncode}"
                continue
            figures = json.loads(made.stdout.splitlines()[-1])
            found |= {f"{label}: {figure}": value for figure, value in figures.items()}
    return found


def main() -> None:
    """Measure and record; with --one, measure one model in this process and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", default="8,64")
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parsed(parser)
    os.environ[ASKED] = "1"
    configs = {"tiny": TINY} if args.tiny else listed()
    batches = [int(batch) for batch in args.batches.split(",")]
    if args.one:
        spec = read_spec(str(ROOT / "workflows/specs/demo.json"))
        print(json.dumps(turn(spec, configs[args.one], batches[0])))
        return
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    record(
        "gpu-tiny" if args.tiny else "gpu",
        "python -m benchmarks.gpu",
        {"device": name} | measure(configs, batches, args.minutes),
    )


if __name__ == "__main__":
    main()
