"""The adapters of a run: saved in PEFT's own layout at each mark, and nothing saved that could not be used."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from peft import PeftModel
from safetensors.torch import load_file
from torch import Tensor

from common.errors import JobError, SpecError
from jobs.finetune.ranks import leads

ADAPTER = "adapter_model.safetensors"
CONFIG = "adapter_config.json"


def save_adapter(model: PeftModel, folder: Path) -> None:
    """Save the adapter in PEFT's own layout: all ranks call this, and rank 0 writes.

    Raises: JobError if a matrix is empty or nothing was learnt, the classic failure of saving under ZeRO-3;
    SpecError if training diverged.
    """
    import deepspeed

    partitioned = [p for name, p in model.named_parameters() if "lora_" in name and hasattr(p, "ds_id")]
    with deepspeed.zero.GatheredParameters(partitioned, enabled=bool(partitioned)):
        model.save_pretrained(str(folder), is_main_process=leads())
    if not leads():
        return
    saved = load_file(folder / ADAPTER)
    _sort_modules(folder / CONFIG)
    (folder / "README.md").unlink(missing_ok=True)  # PEFT's model card names folders of this machine
    learnt = any(tensor.any() for name, tensor in saved.items() if "lora_B" in name)
    if not learnt or any(tensor.numel() == 0 for tensor in saved.values()):
        raise JobError("the saved adapter is empty or all zero", where=folder.name, value=len(saved))
    if found := non_finite(saved):
        raise SpecError("training diverged", where=folder.name, value=found, allowed="finite values")


def _sort_modules(path: Path) -> None:
    """Put the names of the adapted modules in order: PEFT writes them as the hashes of this process fall."""
    config = json.loads(path.read_bytes())
    path.write_text(json.dumps(config | {"target_modules": sorted(config["target_modules"])}, indent=2, sort_keys=True))


def non_finite(adapter: Mapping[str, Tensor]) -> str:
    """The first tensor with a NaN or an infinity and how many it has, empty if there is none."""
    counts = {name: int((~adapter[name].isfinite()).sum()) for name in sorted(adapter)}
    return next((f"{count} of {adapter[name].numel()} values of {name}" for name, count in counts.items() if count), "")


def complete_trajectory(folder: Path) -> None:
    """Give adapters that came back from a checkpoint the configuration that all adapters of a run share."""
    steps = trajectory(folder)
    for step in steps[:-1]:
        if not (step / CONFIG).exists():
            shutil.copyfile(steps[-1] / CONFIG, step / CONFIG)


def trajectory(folder: Path) -> list[Path]:
    """The adapter folders of a finished training, in the order of their steps."""
    return sorted((folder / "resume" / "trajectory").iterdir())


def final_adapter(folder: Path) -> Path:
    """A copy of the last adapter of the trajectory."""
    return Path(shutil.copytree(trajectory(folder)[-1], folder / "adapter"))
