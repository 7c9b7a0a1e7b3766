"""A device without numbers: what is made for it must be on it, and whatever is read back from it is 0.

Torch's `meta` device refuses to mix with the CPU as CUDA does. So code that forgets to move a tensor fails here too, on
a machine without CUDA. Nothing can be learnt from values: they do not exist.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

FAKE = torch.device("meta")
READS: set[Any] = {
    Tensor.cpu,
    Tensor.tolist,
    Tensor.item,
    Tensor.numpy,
    Tensor.__bool__,
    Tensor.__float__,
    Tensor.__int__,
}


class ReadAsZeros(TorchFunctionMode):
    """Reads of a tensor on the fake device are those of zeros on the CPU; a flag that is read is true."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in READS and isinstance(args[0], Tensor) and args[0].is_meta:
            filled = torch.ones if args[0].dtype == torch.bool else torch.zeros
            args = (filled(args[0].shape, dtype=args[0].dtype), *args[1:])
        return func(*args, **(kwargs or {}))


@contextmanager
def reading_zeros() -> Iterator[None]:
    """Inside, what is read back from the fake device is 0, and flags are true."""
    with ReadAsZeros():
        yield
