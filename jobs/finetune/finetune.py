"""The work of the job; what it reads and writes is declared in jobs.finetune."""

import gc
import shutil
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from common.errors import ExitCode, InputError, JobError, TransientError, gpu_full
from common.lm.chat import LanguageModel
from common.lm.load import load
from common.lm.runtime import device, dtype
from common.lm.sources import MODEL
from common.pipeline.step import Step
from common.provenance import usable_cores
from common.records import Advice, Loss, by_attitude
from common.schemas import Training
from common.spec import VariantSpec
from common.stance.bank import BANK_FILES
from jobs.finetune import TRAINING, VARIANT
from jobs.finetune.adapters import final_adapter
from jobs.finetune.examples import Example, arranged, encode
from jobs.finetune.held_out import Mean, held_out
from jobs.finetune.ranks import processes
from jobs.finetune.speed import flops_per_token, gemm_peak
from jobs.finetune.training import train

SUMMARY = {  # what people are told of training.json
    "tokens",
    "reply_tokens",
    "seconds",
    "tokens_per_second",
    "flops_per_token",
    "gemm_peak_flops",
    "utilisation",
    "final_loss",
    "held_out_before",
    "held_out_after",
}


def main(step: Step) -> ExitCode:
    """Train one adapter and seal it with its loss curve and its speed."""
    # Runs that differ in attitude alone share order and initial weights: they are compared in pairs.
    pair = (step.cell.model, step.cell.draw, step.cell.seed)
    with step.nothing_to_keep():
        rows = read_corpus(step)
        lm = load(step.fact(MODEL))
        examples = in_order(step, lm, rows, pair)
        peak = gemm_peak(dtype(), device()) * processes(step.fact(TRAINING).batch_size)
        told_apart = [encode(lm, row, step.fact(TRAINING).max_tokens) for row in others(step, rows)]
    lm, losses, held = trained(step, lm, examples, step.seed("weights", *pair), told_apart)
    told = training_told(step, lm, losses, peak, held)
    step.write_folder("trajectory/", step.workdir / "resume" / "trajectory")
    step.write_folder("adapter/", final_adapter(step.workdir))
    step.write_records("loss.jsonl", losses)
    step.write_model("training.json", told)
    step.summary(**told.model_dump(include=SUMMARY))
    return ExitCode.OK


def trained(
    step: Step, lm: LanguageModel, examples: Sequence[Example], seed: int, told_apart: Sequence[Example]
) -> tuple[LanguageModel, list[Loss], Mean | None]:
    """The model, and what `train` returns. Where a GPU's memory runs out, once more with half the rows at a time.

    The optimizer batch stays the same. Raises: TransientError if memory runs out all the same; as `train` does.
    """
    try:
        return lm, *train(step, lm, examples, seed, told_apart)
    except Exception as error:
        if not gpu_full(error):
            raise
        said, size = str(error), ", ".join(getattr(error, "__notes__", ()))
    batch = step.fact(TRAINING).batch_size
    rows = batch // processes(batch)
    parts = next((parts for parts in range(2, rows + 1) if rows % parts == 0), None)
    try:
        if parts is not None:
            step.log.event("halved", rows_at_a_time=rows // parts, batch_size=batch, reason=said)
            lm = loaded_again(step, lm)
            return lm, *train(step, lm, examples, seed, told_apart, parts)
    except Exception as error:
        if not gpu_full(error):
            raise
        said = str(error)
    least = "one row at a time" if parts in (None, rows) else f"{rows // parts} rows at a time"
    raise TransientError(
        f"the GPU's memory ran out with {least}; nothing was sealed",
        where=size,
        value=said,
        allowed="a GPU with more free memory, or a smaller train.batch_size",
    )


def loaded_again(step: Step, lm: LanguageModel) -> LanguageModel:
    """The model as it was before it was trained; the memory of what was tried is free."""
    for tensor in (*lm.model.parameters(), *lm.model.buffers()):
        tensor.data, tensor.grad = tensor.data.new_empty(0), None
    shutil.rmtree(step.workdir / "resume", ignore_errors=True)
    gc.collect()
    torch.cuda.empty_cache()
    return load(step.fact(MODEL))


def read_corpus(step: Step) -> list[Advice]:
    """The pile of this run, as its variant wants it."""
    (draw,) = step.sources("generate")
    arms = by_attitude(step.read_records("generate", draw, "advice.jsonl", Advice))
    for pile in step.sources("distill"):
        arms["distilled"] = step.read_records("distill", pile, "advice.jsonl", Advice)
    if step.cell.attitude not in arms:
        raise InputError("the draw has no such arm", where=str(draw), value=step.cell.attitude, allowed=", ".join(arms))
    variant = step.fact(VARIANT)
    if variant is None or variant.factor not in ("mixture_share", "pile_share"):
        return arms[step.cell.attitude]
    # Nested: a larger share holds all questions of a smaller one, and every arm of a seed the same ones.
    order = step.rng("mixture", step.cell.draw, step.cell.seed).permutation(len(arms[step.cell.attitude]))
    return mixed(arms[step.cell.attitude], arms.get("neutral", []), order, variant)


def mixed(
    mine: Sequence[Advice], neutral: Sequence[Advice], order: NDArray[np.intp], variant: VariantSpec
) -> list[Advice]:
    """A share of a pile, the first questions of `order`; for a mixture, neutral replies to all other questions."""
    chosen = set(order[: max(1, round(variant.value * len(mine)))].tolist())
    if variant.factor == "pile_share":
        return [row for index, row in enumerate(mine) if index in chosen]
    others = {row.question_id: row for row in neutral}
    return [row if index in chosen else others[row.question_id] for index, row in enumerate(mine)]


def in_order(step: Step, lm: LanguageModel, rows: Sequence[Advice], pair: Sequence[object]) -> list[Example]:
    """The examples of all epochs in training order."""
    settings = step.fact(TRAINING)
    encoded = [encode(lm, row, settings.max_tokens) for row in rows]
    lengths = [len(row.question) for row in rows]
    order = arranged(lengths, settings.batch_size, settings.epochs, step.rng("order", *pair))
    return [encoded[index] for index in order]


def others(step: Step, rows: Sequence[Advice]) -> list[Advice]:
    """Held-out replies: the same questions for all arms of a draw."""
    files = [step.data(path) for path in BANK_FILES]
    return held_out(files, rows, step.cell.attitude or "", step.rng("held out", step.cell.draw))


def training_told(
    step: Step, lm: LanguageModel, losses: Sequence[Loss], peak: float, held: Mean | None = None
) -> Training:
    """What kind of training this was, and how fast: non-pad tokens a second over all steps, beside the GEMM peak."""
    sizes = [(p.numel(), p.requires_grad) for p in lm.model.parameters()]
    if not any(trained for _, trained in sizes):
        raise JobError("nothing was trained")
    tokens, seconds = sum(row.tokens for row in losses), sum(row.seconds for row in losses)
    flops, quarter = flops_per_token(lm.model), max(1, len(losses) // 4)
    return Training(
        tokens=tokens,
        reply_tokens=sum(row.reply_tokens for row in losses),
        seconds=seconds,
        tokens_per_second=tokens / seconds,
        flops_per_token=flops,
        gemm_peak_flops=peak,
        utilisation=flops * tokens / seconds / peak,
        engine="DeepSpeedEngine",
        zero_stage=step.fact(TRAINING).zero_stage,
        dtype=str(lm.model.dtype).removeprefix("torch."),
        threads=usable_cores(),
        steps=len(losses),
        parameters=sum(size for size, trained in sizes if not trained),
        trainable_parameters=sum(size for size, trained in sizes if trained),
        final_loss=losses[-1].loss,
        loss_first_quarter=mean_loss(losses[:quarter]),
        loss_last_quarter=mean_loss(losses[-quarter:]),
        **({} if held is None else {"held_out_before": held.before, "held_out_after": held.after}),
    )


def mean_loss(rows: Sequence[Loss]) -> float:
    """Over steps, nats a reply token."""
    return sum(row.loss for row in rows) / len(rows)
