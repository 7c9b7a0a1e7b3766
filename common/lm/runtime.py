"""Settings of a process that runs models: device, type of numbers, attention, memory and threads."""

import contextlib
import ctypes
import logging
import os

import torch
import transformers

from common.provenance import cpu_has_bf16, usable_cores


def device() -> torch.device:
    """The accelerator if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def dtype() -> torch.dtype:
    """bf16 on accelerators and where the CPU multiplies it in hardware, else fp32."""
    return torch.bfloat16 if device().type == "cuda" or cpu_has_bf16() else torch.float32


def attention() -> str:
    """How attention is computed. On a CPU plainly: torch's fused kernel is made for long texts.

    In bf16, 8 rows of 123 tokens took it 27 ms a layer in training, and the plain products 5 ms.
    """
    return "eager" if device().type == "cpu" else "sdpa"


def keep_memory() -> None:
    """Have the C library keep freed memory for the next allocation, where it is glibc.

    It gives back each large piece at once and takes another, page by page: a fifth of the time of training on a CPU.
    Source: mallopt(3).
    """
    mmap_max, trim_threshold = -4, -1
    with contextlib.suppress(AttributeError, OSError):
        library = ctypes.CDLL(None)
        library.mallopt(mmap_max, 0)
        library.mallopt(trim_threshold, 2**31 - 1)


def return_memory() -> None:
    """Give freed memory back after all, where the C library is glibc. Source: malloc_trim(3)."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def prepare() -> None:
    """Settings of a process that runs models. Libraries' own bars and notes are off: a job speaks through its log."""
    keep_memory()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    torch.set_num_threads(usable_cores())
