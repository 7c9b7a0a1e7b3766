"""What the direction cell hands to the runs, as one npz."""

import io
import zipfile
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from common.errors import InputError


class Direction(NamedTuple):
    """The arrays of direction.npz. Residuals are those of the untouched model."""

    direction: NDArray[np.float32]  # (n_layers, d_model), unit vectors that point to caution
    layer: int  # the chosen one
    items: tuple[str, ...]  # held-out prompts
    topics: tuple[str, ...]  # of the items
    base: NDArray[np.float32]  # (n_items, d_model) at the chosen layer, last token of each held-out prompt
    covariance: NDArray[np.float32]  # (d_model, k): random directions have covariance C C' + ridge I
    ridge: float
    dtype: str  # in which the base was read; runs are read in the same


def pack(saved: Direction) -> bytes:
    """The bytes of an npz; equal directions give equal bytes."""
    file = io.BytesIO()
    np.savez(file, **{name: np.asarray(value) for name, value in saved._asdict().items()})
    return file.getvalue()


def unpack(data: bytes, where: str) -> Direction:
    """The direction in an npz. Raises: InputError if the bytes are none."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return Direction(
                arrays["direction"],
                int(arrays["layer"]),
                tuple(map(str, arrays["items"])),
                tuple(map(str, arrays["topics"])),
                arrays["base"],
                arrays["covariance"],
                float(arrays["ridge"]),
                str(arrays["dtype"]),
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError("no saved direction", where=where, value=str(error)) from error
