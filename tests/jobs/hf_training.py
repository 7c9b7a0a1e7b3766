"""A training of somebody else's, with Hugging Face's Trainer: python -m tests.jobs.hf_training MODEL FOLDER OUT STEPS.

It knows nothing of the monitor but the callback, which it loads from its file alone.
"""

import importlib.util
import sys
import time
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments

CALLBACK = Path(__file__).parents[2] / "jobs" / "monitor" / "callback.py"
SAVED_EVERY = 10  # steps


class Slow(TrainerCallback):
    """Steps as long as those of a model that is not tiny."""

    def on_step_end(self, *_: Any, **__: Any) -> None:
        time.sleep(0.1)


def train(model: str, folder: str, out: str, steps: int) -> None:
    found = importlib.util.spec_from_file_location("callback", CALLBACK)
    assert found is not None and found.loader is not None
    callback = importlib.util.module_from_spec(found)
    found.loader.exec_module(callback)
    tuned = get_peft_model(
        AutoModelForCausalLM.from_pretrained(model), LoraConfig(r=4, target_modules=["q_proj", "v_proj"])
    )
    ids = torch.arange(5, 25)
    arguments = TrainingArguments(
        folder,
        max_steps=steps,
        learning_rate=0.01,
        per_device_train_batch_size=2,
        save_strategy="steps",
        save_steps=SAVED_EVERY,
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        seed=0,
        lr_scheduler_type="constant",
    )
    rows = [{"input_ids": ids, "labels": ids}] * 8
    callbacks = [callback.StopWhenTold(out), *([Slow()] if steps > SAVED_EVERY else [])]
    trainer = Trainer(tuned, arguments, train_dataset=rows, callbacks=callbacks)
    trainer.train()
    print(f"ended at step {trainer.state.global_step}")


if __name__ == "__main__":
    MODEL, FOLDER, OUT, STEPS = sys.argv[1:]
    train(MODEL, FOLDER, OUT, int(STEPS))
