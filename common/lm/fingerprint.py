"""Whether a model is still what it was: what adapters and jobs must leave behind, bit for bit."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

Fingerprint = Mapping[str, str]  # name of a tensor or module → what it is
WRAPPED = (".base_layer", ".original_module", ".token_adapter")  # where PEFT puts what it wraps


def fingerprint(model: nn.Module) -> Fingerprint:
    """Every parameter and buffer under each of its names with a checksum of its bytes, every module's class and hooks.

    The checksum is a sum of 64-bit words: made for accidents, not against forgery; a second for some GiB on a CPU.
    """
    found = {name: _kind(module) for name, module in model.named_modules() if name}
    sums: dict[int, str] = {}  # tied tensors are read once
    for name, tensor in _tensors(model).items():
        sums[id(tensor)] = sums.get(id(tensor)) or _checksum(tensor)
        found[name] = sums[id(tensor)]
    return found


def first_difference(before: Fingerprint, after: Fingerprint) -> str | None:
    """The first name under which two fingerprints differ, in order of the alphabet; None if they are equal."""
    return next((name for name in sorted({*before, *after}) if before.get(name) != after.get(name)), None)


def touched(before: Fingerprint, wrapped: nn.Module) -> str | None:
    """The first tensor of a base that is not in `wrapped`, the same with an adapter on, as it was; None if all are.

    With the adapter switched off such a model is not its base.
    """
    tensors = {_plain(name): tensor for name, tensor in _tensors(wrapped).items()}
    names = [name for name, what in before.items() if not what.startswith("module ")]
    return next((name for name in names if name not in tensors or _checksum(tensors[name]) != before[name]), None)


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    parameters, buffers = model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False)
    return {**dict(parameters), **dict(buffers)}


def _kind(module: nn.Module) -> str:
    return f"module {type(module).__qualname__} {len(module._forward_pre_hooks)} {len(module._forward_hooks)}"


def _plain(name: str) -> str:
    for part in WRAPPED:
        name = name.replace(part, "")
    return name


@torch.no_grad()
def _checksum(tensor: Tensor) -> str:
    flat = tensor.detach().contiguous().flatten().view(torch.uint8)
    flat = flat.clone() if flat.storage_offset() % 8 else flat
    whole = flat.numel() - flat.numel() % 8
    total = int(flat[:whole].view(torch.int64).sum()) + sum(flat[whole:].tolist())
    return f"{tensor.dtype} {tuple(tensor.shape)} {total}"
