"""How close training comes to what the processor can do."""

import time

import torch
from torch import nn

from common.lm.flops import FROZEN, TRAINED


def gemm_peak(dtype: torch.dtype, device: torch.device, seconds: float = 0.5) -> float:
    """Floating-point operations a second of one large matrix product, measured now: the ceiling of this process.

    Shapes are those of a batch of 1,024 tokens through a layer of 1,536 by 1,536.
    """
    a, b = (torch.randn(1024, 1536, dtype=dtype, device=device), torch.randn(1536, 1536, dtype=dtype, device=device))
    with torch.inference_mode():
        for _ in range(3):
            a @ b
        best, began = 0.0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            clock = time.perf_counter()
            for _ in range(4):
                a @ b
            if device.type == "cuda":
                torch.cuda.synchronize()
            best = max(best, 4 * 2 * 1024 * 1536 * 1536 / (time.perf_counter() - clock))
    return best


def flops_per_token(model: nn.Module) -> float:
    """Operations that one trained token needs, by common.lm.flops.

    The embedding is a look-up and counts only where it is tied to the output. Attention scores are left out:
    below 2 % at these lengths.
    """
    lookups = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    heads = {id(module.weight) for module in model.modules() if isinstance(module, nn.Linear)}
    total = 0.0
    for parameter in model.parameters():
        # ZeRO-3 leaves an empty shell behind and keeps the size in ds_numel.
        size = getattr(parameter, "ds_numel", parameter.numel())
        if id(parameter) not in lookups or id(parameter) in heads:
            total += size * (TRAINED if parameter.requires_grad else FROZEN)
    return total
