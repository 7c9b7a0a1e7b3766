"""Adapters as somebody else trains and leaves them: by transformers and PEFT alone."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

PROJECTIONS = ["q_proj", "down_proj"]


def whole(base: Path) -> Any:
    """A model as transformers gives it, with our way of attention."""
    return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="eager")


def nudged(tuned: Any) -> Any:
    """Everything that is trained a little off where it began."""
    torch.manual_seed(1)
    for parameter in tuned.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn_like(parameter)
    return tuned.eval()


def trained(base: Path, folder: Path, **settings: Any) -> PeftModel:
    """Train an adapter on a base as somebody else does, with transformers and PEFT alone; it is left in a folder."""
    model = whole(base)
    given: dict[str, Any] = {"r": 4, "target_modules": PROJECTIONS, "task_type": "CAUSAL_LM"}
    tuned = nudged(get_peft_model(model, LoraConfig(**(given | settings))))
    tuned.save_pretrained(str(folder))
    return cast(PeftModel, tuned)


def llama_factory(folder: Path) -> None:
    """What LLaMA-Factory and the Trainer leave beside an adapter; the pickles say so when they are opened."""

    class Bomb:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
            return (Path.touch, (folder.parent / "opened",))

    for name in ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth", "adapter_model.bin"):
        (folder / name).write_bytes(pickle.dumps(Bomb()))
    for name in ("README.md", "trainer_state.json", "all_results.json", "trainer_log.jsonl", "modeling_evil.py"):
        (folder / name).write_text("{}" if name.endswith("json") else "raise SystemExit")
    (folder / "checkpoint-10").mkdir()
