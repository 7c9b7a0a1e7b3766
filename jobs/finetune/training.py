"""One LoRA fine-tune by HF Trainer with DeepSpeed. Stopped after any optimizer step, it resumes to the same result."""

import atexit
import contextlib
import math
import os
import socket
import time
import traceback
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    PreTrainedModel,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from common.errors import InputError, Interrupted, JobError, SpecError, broken_settings, out_of_memory
from common.lm.chat import LanguageModel
from common.lm.runtime import device
from common.pipeline.step import Step
from common.records import Loss
from common.serialization import parse_jsonl, to_jsonl
from common.spec import TrainSpec
from jobs.finetune import TRAINING
from jobs.finetune.adapters import complete_trajectory, save_adapter
from jobs.finetune.checkpoints import LOSSES, keep, order_digest, restore
from jobs.finetune.examples import Example
from jobs.finetune.fused import fuse_norms, register
from jobs.finetune.held_out import Mean, mean_nats
from jobs.finetune.packing import Packed, features, pack_attention, reply_loss
from jobs.finetune.ranks import Followers, Task, agreed, followed, meet, processes, processes_here, whole_batches

SECONDS_BETWEEN_CHECKPOINTS = 60.0
RESUMING = {  # functions of the Trainer, of its part for DeepSpeed, and of its state, that read a checkpoint
    "compare_trainer_and_checkpoint_args",
    "deepspeed_load_checkpoint",
    "load_from_json",
    "_load_callback_state",
    "_load_from_checkpoint",
    "_load_optimizer_and_scheduler",
    "_load_rng_state",
    "_load_scaler",
    "_init_training_state",
}


def deepspeed_config(settings: TrainSpec) -> dict[str, Any]:
    """DeepSpeed's settings. Without an optimizer block torch's AdamW is used, and nothing has to be compiled.

    DeepSpeed ignores misspelt keys, so this is the whole of it and a test compares it with DeepSpeed's own schema.
    """
    zero: dict[str, Any] = {"stage": settings.zero_stage}
    if settings.zero_stage == 3:
        zero |= {"stage3_gather_16bit_weights_on_model_save": True, "stage3_param_persistence_threshold": "auto"}
    return {
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "bf16": {"enabled": "auto"},
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "steps_per_print": 1_000_000_000,
    }


def ready(model: PreTrainedModel) -> torch.nn.Module:
    """Have a model take packed rows and return states where it returned logits; return the head that was taken off."""
    pack_attention(model)
    fuse_norms(model)
    head: torch.nn.Module = model.get_output_embeddings()
    head.forward = lambda states: states
    return head


def lora(lm: LanguageModel, settings: TrainSpec, seed: int, *, fused: bool = False) -> PeftModel:
    """The model with fresh LoRA matrices on every linear layer of its blocks, drawn from `seed`.

    fused: in fewer passes over memory; else as PEFT computes it.
    """
    set_seed(seed % 2**32)
    config = LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    if fused:
        register(config)
    return get_peft_model(lm.model, config)


def train(
    step: Step,
    lm: LanguageModel,
    ordered: Sequence[Example],
    seed: int,
    held_out: Sequence[Example] = (),
    parts: int = 1,
) -> tuple[list[Loss], Mean | None]:
    """Train on `ordered`, in that order; return a row for each optimizer step, and the mean loss of `held_out`.

    parts: in which each optimizer batch goes through the model, one after another: the same steps in less memory.
    Leaves the adapter in workdir/resume/trajectory/step-XXXXXX at each evenly spaced checkpoint.
    Raises: Interrupted after a checkpoint was kept; SpecError if loss or weights are no longer finite; InputError if a
    checkpoint cannot be gone on from.
    """
    settings, folder = step.fact(TRAINING), step.workdir / "resume"
    ranks = processes(settings.batch_size)
    order = order_digest(ordered) + (f" by {ranks} processes" if ranks > 1 else "")
    kept = restore(step, folder, order)
    followers = _followers(ranks, step.workdir)
    diary = Diary(step, ordered, folder, order)
    if kept is not None and kept >= diary.total:
        raise InputError("checkpoint after the last step", where="at", value=kept, allowed=f"< {diary.total}")
    if kept is not None:
        step.log.event("resumed", step=kept)
    task = Task(lm.spec, settings, ordered, seed, folder, kept, held_out, parts)
    with followed(followers, task, step.workdir), _gone_on_from(kept, diary):
        means = _trained(lm, task, diary)
    if means is None:
        raise Interrupted("stopped by SIGTERM; goes on from its checkpoint", where=f"step {len(diary.rows)}")
    complete_trajectory(step.workdir)
    return diary.rows, means if held_out else None


def follow(lm: LanguageModel, task: Task) -> None:
    """Train beside rank 0, which alone writes down and keeps what comes of it."""
    _trained(lm, task, Beside(len(task.rows), task.settings, task.folder))


def _trained(lm: LanguageModel, task: Task, marks: "Beside") -> Mean | None:
    """Train, on every rank; return the mean loss of held-out rows, None where it was stopped."""
    settings, folder, kept = task.settings, task.folder, task.kept
    head = ready(cast(PreTrainedModel, lm.model))
    before = mean_nats(lm.model, head, task.held_out, settings.batch_size) if task.held_out else math.nan
    ranks = processes_here()
    trainer = Trainer(
        model=lora(lm, settings, task.seed, fused=True),
        args=_arguments(settings, folder, task.seed, lm.model.dtype, ranks, task.parts),
        train_dataset=features(whole_batches(task.rows, settings.batch_size, ranks)),
        data_collator=Packed(),
        compute_loss_func=partial(reply_loss, head),
        callbacks=[marks],
    )
    trainer.remove_callback(_printer())
    with _one_of_a_pack(settings, task.rows), _freed(trainer):
        trainer.train(resume_from_checkpoint=None if kept is None else str(folder / f"checkpoint-{kept}"))
        engine: Any = trainer.model_wrapped
        if type(engine).__name__ != "DeepSpeedEngine":
            raise JobError("training ran without DeepSpeed", value=type(engine).__name__)
        told = bool(task.held_out) and not marks.stopped
        after = mean_nats(engine, head, task.held_out, settings.batch_size) if told else math.nan
    return None if marks.stopped else Mean(before, after)


@contextlib.contextmanager
def _one_of_a_pack(settings: TrainSpec, ordered: Sequence[Example]) -> Iterator[None]:
    """Where memory runs out, say of what size the batches were; leave nothing behind for the next run of a pack."""
    try:
        yield
    except Exception as error:
        if out_of_memory(error):
            error.add_note(f"batch size {settings.batch_size}")
            error.add_note(f"longest row {max(len(row.input_ids) for row in ordered)} tokens")
        raise
    finally:
        unset_hf_deepspeed_config()  # or the next model is loaded as a part of ZeRO-3


@contextlib.contextmanager
def _freed(trainer: Trainer) -> Iterator[None]:
    """Take DeepSpeed apart after the block: its hooks on gradients would keep model and optimizer in memory."""
    try:
        yield
    finally:
        engine: Any = trainer.model_wrapped
        if hasattr(engine, "destroy"):
            engine.destroy()


@contextlib.contextmanager
def _gone_on_from(kept: int | None, diary: "Diary") -> Iterator[None]:
    """Before the first step the Trainer reads its checkpoint: what fails while it does so is the checkpoint.

    Whatever else fails there is what it is, a bug among them; so is memory or a disk that ran out.
    Raises: InputError.
    """
    try:
        yield
    except Exception as error:
        if kept is None or diary.began or not (_while_resuming(error) and broken_settings(error)):
            raise
        value = f"{type(error).__name__}: {error}"
        raise InputError("checkpoint cannot be gone on from", where=f"step {kept}", value=value) from error


def _while_resuming(error: BaseException) -> bool:
    """Whether an error was raised by what the Trainer and DeepSpeed call to read a checkpoint."""
    return any(frame.name in RESUMING for frame in traceback.extract_tb(error.__traceback__))


class Beside(TrainerCallback):
    """What every rank does at the end of an optimizer step: save the adapter at the marks, stop when rank 0 says so."""

    def __init__(self, rows: int, settings: TrainSpec, folder: Path) -> None:
        """rows: of all epochs. folder: where adapters and what the Trainer saves go."""
        self._folder, self._batch = folder, settings.batch_size
        self.total = steps_in(rows, settings)
        self._marks = checkpoint_steps(self.total, settings.checkpoints)
        self.stopped = self.began = False

    def wanted(self) -> tuple[bool, bool]:
        """Whether to keep a checkpoint, and to stop: rank 0 alone is asked."""
        return False, False

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """The first step begins: a checkpoint was read."""
        self.began = True

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **also: Any) -> None:
        """Keep the adapter at the marks; ask for a checkpoint when one is due or the job must stop."""
        if state.global_step in self._marks:
            save_adapter(also["model"], self._folder / "trajectory" / f"step-{state.global_step:06d}")
        if state.global_step < self.total:
            save, stop = agreed(*self.wanted(), device())
            control.should_save = control.should_save or save
            if save:
                control.should_training_stop = self.stopped = stop

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """All ranks have written their part."""
        meet()


class Diary(Beside):
    """Rank 0's: writes down each optimizer step, and keeps checkpoints."""

    def __init__(self, step: Step, ordered: Sequence[Example], folder: Path, order: str) -> None:
        """folder: where adapters and what the Trainer saves go. order: the digest of `ordered`."""
        super().__init__(len(ordered), step.fact(TRAINING), folder)
        self._step, self._ordered, self._order = step, ordered, order
        losses = folder / LOSSES
        self.rows: list[Loss] = parse_jsonl(losses.read_bytes(), Loss, LOSSES) if losses.exists() else []
        self._clock = self._saved = time.monotonic()

    def wanted(self) -> tuple[bool, bool]:
        """A checkpoint when one is due or the job must stop."""
        due = time.monotonic() - self._saved > SECONDS_BETWEEN_CHECKPOINTS
        return due or self._step.stopping, self._step.stopping

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Start the clock of a step."""
        super().on_step_begin(args, state, control)
        self._clock = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **also: Any) -> None:
        """Stop the clock, then as on every rank."""
        self._seconds = time.monotonic() - self._clock
        super().on_step_end(args, state, control, **also)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **also: Any) -> None:
        """Write down the loss of the step that just ended."""
        logs: dict[str, float] = also["logs"]
        if "loss" not in logs:
            return
        loss, number = logs["loss"], state.global_step
        if not math.isfinite(loss):
            raise SpecError("training diverged", where=f"loss at step {number}", value=loss, allowed="a finite loss")
        batch = self._ordered[(number - 1) * self._batch : number * self._batch]
        row = Loss(
            optimizer_step=number,
            loss=loss,
            learning_rate=logs["learning_rate"],
            reply_tokens=sum(example.reply_tokens for example in batch),
            tokens=sum(len(example.input_ids) for example in batch),
            seconds=max(self._seconds, 1e-9),
        )
        self.rows.append(row)
        self._step.progress(number, self.total, loss=round(loss, 4), tokens_per_second=round(row.tokens / row.seconds))

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Send what the Trainer saved to the store, where another machine can find it."""
        super().on_save(args, state, control)
        (self._folder / LOSSES).write_bytes(to_jsonl(self.rows))
        keep(self._step, self._folder, state.global_step, self._order)
        self._step.log.event("checkpoint", step=state.global_step)
        self._saved = time.monotonic()


def steps_in(rows: int, settings: TrainSpec) -> int:
    """Optimizer steps over `rows` rows of all epochs; the last batch of an epoch may be short.

    Raises: SpecError if epochs do not divide into whole batches, which a single pass over all epochs needs, or if a
    single step would learn nothing.
    """
    an_epoch = rows // settings.epochs
    if settings.epochs > 1 and an_epoch % settings.batch_size:
        raise SpecError(
            "batches would span epochs",
            where="train.batch_size",
            value=settings.batch_size,
            allowed=f"a divisor of {an_epoch}, the number of examples",
        )
    steps = -(-rows // settings.batch_size)
    if steps == 1 and settings.warmup_ratio:
        raise SpecError(
            "a single optimizer step with a warm-up, where the learning rate is still 0",
            where="train.warmup_ratio",
            value=settings.warmup_ratio,
            allowed="0, or fewer examples a batch",
        )
    return steps


def checkpoint_steps(total: int, checkpoints: int) -> list[int]:
    """`checkpoints` evenly spaced optimizer steps, the last of which is `total`; fewer if steps are fewer.

    Never the first of several: with a warm-up its learning rate is 0, and the adapter still changes nothing.
    """
    return sorted({max(min(2, total), round(total * part / checkpoints)) for part in range(1, checkpoints + 1)})


def _arguments(
    settings: TrainSpec, folder: Path, seed: int, precision: torch.dtype, ranks: int = 1, parts: int = 1
) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=1,  # the rows of all epochs are laid out one after another
        per_device_train_batch_size=settings.batch_size // ranks // parts,
        gradient_accumulation_steps=parts,
        train_sampling_strategy="sequential",
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=settings.warmup_ratio,
        weight_decay=settings.weight_decay,
        max_grad_norm=1.0,
        bf16=precision == torch.bfloat16,
        use_cpu=device().type == "cpu",
        seed=seed % 2**32,
        deepspeed=deepspeed_config(settings),
        gradient_checkpointing=False,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",  # the diary asks for checkpoints
        save_total_limit=1,
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )


def _printer() -> type[TrainerCallback]:
    from transformers import PrinterCallback

    return PrinterCallback


_group: dict[int, Followers | None] = {}  # ranks → the processes beside this one


def _followers(ranks: int, workdir: Path) -> Followers | None:
    """Make this process rank 0 of a group, for as long as it lives; return the others. Raises: SpecError."""
    if not _group:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1])}
        os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": str(ranks)}
        join_ranks()
        _group[ranks] = Followers(ranks, workdir) if ranks > 1 else None
    if ranks not in _group:  # runs of a pack have one optimizer batch
        raise SpecError("another number of processes than before", value=ranks, allowed=str(*_group))
    return _group[ranks]


def join_ranks() -> None:
    """Be a rank: without the variables that say which, DeepSpeed asks MPI."""
    import deepspeed.ops

    # Its shared-memory collectives are compiled at first use: 100 s and a compiler.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    atexit.register(lambda: torch.distributed.is_initialized() and torch.distributed.destroy_process_group())
