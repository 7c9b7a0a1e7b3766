"""What LoRA training costs beside its matrix products, made less: the same numbers in fewer passes over memory.

Gradients are written out by hand, for the frozen base needs none of its own. A test holds each against PEFT,
transformers and torch.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from peft import LoraConfig
from peft.tuners import lora
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

LOGITS_AT_ONCE = {"cpu": 2**22, "cuda": 2**27}  # 16 MB in fp32 that stay in the cache; 512 MB


class _Adapted(Function):
    """x W' + b + scaling · (x A') B', where W and b are frozen."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scaling: float
    ) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        low = (rows @ a.T).mul_(scaling)
        made = rows @ weight.T if bias is None else torch.addmm(bias, rows, weight.T)
        made.addmm_(low, b.T)
        ctx.save_for_backward(x, weight, a, b, low)
        ctx.scaling = scaling
        return made.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, a, b, low = ctx.saved_tensors
        rows, above = x.reshape(-1, x.shape[-1]), gradient.reshape(-1, gradient.shape[-1])
        of_low = (above @ b).mul_(ctx.scaling)
        of_x = (above @ weight).addmm_(of_low, a).view_as(x) if ctx.needs_input_grad[0] else None
        return of_x, None, None, of_low.T @ rows, above.T @ low, None


adapted = cast(Callable[..., Tensor], _Adapted.apply)


class Linear(lora.Linear):
    """PEFT's LoRA on a linear layer, with the plain case in one piece."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """As PEFT's."""
        name: str = self.active_adapters[0] if len(self.active_adapters) == 1 else ""
        plain = not (args or kwargs or self.disable_adapters or self.merged or self.lora_variant)
        if not plain or name not in self.lora_A or not isinstance(self.lora_dropout[name], nn.Identity):
            return super().forward(x, *args, **kwargs)
        base, a, b = self.base_layer, self.lora_A[name].weight, self.lora_B[name].weight
        return adapted(x, base.weight, base.bias, a, b, self.scaling[name])


def register(config: LoraConfig) -> None:
    """Have PEFT put `Linear` on linear layers; what is saved is the same."""
    config._register_custom_module({nn.Linear: Linear})


class _Nats(Function):
    """The sum of cross-entropies, with its gradient on the way: logits are never in memory all at once."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        of_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        for part in _parts(len(hidden), len(weight), hidden.device.type):
            logits = nn.functional.linear(hidden[part], weight, bias)
            shares, wanted = logits.log_softmax(-1, dtype=torch.float32), targets[part, None]
            total -= shares.gather(1, wanted).sum()
            if of_hidden is not None:
                of_logits = shares.exp_().scatter_add_(1, wanted, shares.new_full(wanted.shape, -1.0))
                torch.mm(of_logits.to(weight.dtype), weight, out=of_hidden[part])
        ctx.save_for_backward(of_hidden)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (of_hidden,) = ctx.saved_tensors
        return of_hidden * gradient, None, None, None


summed_nats = cast(Callable[..., Tensor], _Nats.apply)


def _parts(rows: int, vocabulary: int, device: str) -> list[slice]:
    at_once = max(1, LOGITS_AT_ONCE[device] // vocabulary)
    return [slice(start, start + at_once) for start in range(0, rows, at_once)]


def nats(hidden: Tensor, head: nn.Module, targets: Tensor) -> Tensor:
    """The sum over rows of the cross-entropy, nats, in fp32: hidden (rows, d_model), targets (rows,).

    head: frozen; its own `forward` is not asked.
    """
    import deepspeed

    held = [parameter for parameter in head.parameters() if hasattr(parameter, "ds_id")]  # in parts, under ZeRO-3
    with deepspeed.zero.GatheredParameters(held, enabled=bool(held)):
        return summed_nats(hidden, head.weight, getattr(head, "bias", None), targets)


class _Normed(Function):
    """weight · x / root mean square of x, with a frozen weight; inside in fp32, as transformers does it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        wide = x.float()
        length = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
        scale = length.square_().div_(x.shape[-1]).add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, weight, scale)
        even: Tensor = (wide * scale).to(x.dtype)
        return even.mul_(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, scale = ctx.saved_tensors
        even = x.float() * scale
        along = (gradient * weight).float()
        share = torch.linalg.vecdot(along, even).div_(x.shape[-1])[..., None]
        return along.addcmul_(even, share, value=-1).mul_(scale).to(x.dtype), None, None


normed = cast(Callable[..., Tensor], _Normed.apply)


NORMS = {"LlamaRMSNorm", "Qwen2RMSNorm", "MistralRMSNorm", "Qwen3RMSNorm"}  # transformers' classes of this very formula


def fuse_norms(model: nn.Module) -> None:
    """Let the norms that are known compute in fewer passes."""
    for module in model.modules():
        if type(module).__name__ in NORMS:
            module.forward = partial(_normed, module)


def _normed(module: Any, hidden_states: Tensor) -> Tensor:
    return normed(hidden_states, module.weight, module.variance_epsilon)
