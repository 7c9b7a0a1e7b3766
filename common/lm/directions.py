"""What a direction cell hands on, as one npz: how it is written, read and refused."""

import io
import math
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from common.cells import Cell
from common.errors import BROKEN_FILE, InputError
from common.pipeline.step import Step
from common.steering_schemas import SelfTest

OF_NUMPY = (tokenize.TokenError, SystemError)  # of the head of an array, and of text that is no Unicode


class Direction(NamedTuple):
    """The arrays of direction.npz. Residuals are those of the base model."""

    direction: Float[NDArray[np.float32], "n_layers d_model"]  # unit vectors that point to caution
    layer: int  # the chosen one
    items: tuple[str, ...]  # held-out prompts
    topics: tuple[str, ...]  # of the items
    base: Float[NDArray[np.float32], "n_items d_model"]  # at the chosen layer, last token of each held-out prompt
    replied: tuple[str, ...]  # those of the items for which two replies were written
    base_replies: Float[NDArray[np.float32], "n_replied d_model"]  # mean over the tokens of both replies
    apart: Float[NDArray[np.float32], "n_apart d_model"]  # cautious less eager replies that made and chose nothing
    questions_apart: tuple[str, ...]  # to which those are replies
    covariance: Float[NDArray[np.float32], "d_model n_factors"]  # C: random directions have covariance C C' + ridge I
    ridge: float
    shuffled: Float[NDArray[np.float32], "n_shuffled d_model"]  # unit vectors at the chosen layer, of swapped poles
    unrelated: Float[NDArray[np.float32], "n_unrelated d_model"]  # unit vectors, one everyday topic less another
    probe: Float[NDArray[np.float32], " d_model"]  # unit weights of the probe of cautious against eager replies
    dtype: str  # in which the base was read; runs are read in the same

    @property
    def unit(self) -> Float[NDArray[np.float64], " d_model"]:
        """The unit vector of the chosen layer."""
        return np.asarray(self.direction[self.layer], dtype=np.float64)


def pack(direction: Direction) -> bytes:
    """The bytes of an npz; equal directions give equal bytes."""
    file = io.BytesIO()
    arrays: dict[str, Any] = {name: np.asarray(value) for name, value in direction._asdict().items()}
    np.savez(file, **arrays)
    return file.getvalue()


def read_direction(step: Step, cell: Cell) -> Direction:
    """What `interpret` sealed for a direction cell. Raises: InputError if nothing is sealed, or it is no direction."""
    return unpack(step.read_bytes("interpret", cell, "direction.npz"), f"interpret/{cell}/direction.npz")


def refuse_untested(step: Step, cell: Cell) -> None:
    """Raise InputError unless the instruments passed their self-tests on this direction cell."""
    tested = step.read_model("selftest", cell, "selftest.json", SelfTest)
    failed = [check.name for check in tested.checks if not check.passed]
    if failed:
        raise InputError("self-tests of the instruments did not pass", where=f"selftest/{cell}", value=failed)


def unpack(data: bytes, where: str) -> Direction:
    """The direction in an npz. Raises: InputError if the bytes are none, or say that they hold more than they are."""
    try:
        _check_sizes(data, where)
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
            _check_finite(arrays, where)
            found = Direction(
                arrays["direction"],
                int(arrays["layer"]),
                tuple(map(str, arrays["items"])),
                tuple(map(str, arrays["topics"])),
                arrays["base"],
                tuple(map(str, arrays["replied"])),
                arrays["base_replies"],
                arrays["apart"],
                tuple(map(str, arrays["questions_apart"])),
                arrays["covariance"],
                float(arrays["ridge"]),
                arrays["shuffled"],
                arrays["unrelated"],
                arrays["probe"],
                str(arrays["dtype"]),
            )
            _check_shapes(found, where)
            return found
    except (*BROKEN_FILE, *OF_NUMPY, TypeError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError("no saved direction", where=where, value=str(error)) from error


def _check_shapes(found: Direction, where: str) -> None:
    """The chosen layer is one of those that are there, and all vectors are of one width."""
    rows = (found.direction, found.base, found.base_replies, found.apart, found.shuffled, found.unrelated)
    widths = {each.shape[-1] if each.ndim == 2 else 0 for each in (*rows, found.covariance.T, found.probe[None])}
    if len(widths) > 1 or not 0 <= found.layer < len(found.direction):
        value = f"layer {found.layer} of {len(found.direction)}, vectors of {sorted(widths)} numbers"
        raise InputError("no saved direction", where=where, value=value)


def _check_sizes(data: bytes, where: str) -> None:
    """Before an array is made: `pack` stores them as they are, so that an archive never unpacks to more than it is."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if (size := sum(each.file_size for each in archive.infolist())) > len(data):
            allowed = f"at most its own {len(data)} bytes"
            raise InputError("the archive unpacks to too much", where=where, value=f"{size} bytes", allowed=allowed)
        for each in archive.infolist():
            with archive.open(each) as file:
                read = np.lib.format.read_array_header_1_0
                if np.lib.format.read_magic(file) == (2, 0):
                    read = np.lib.format.read_array_header_2_0
                shape, _, kind = read(file)
            if math.prod(shape) * kind.itemsize > each.file_size:
                place, allowed = f"{where}:{each.filename}", f"what {each.file_size} bytes hold"
                raise InputError("an array that is larger than its file", where=place, value=shape, allowed=allowed)


def _check_finite(arrays: Mapping[str, NDArray[Any]], where: str) -> None:
    """Raises: InputError naming an array that holds NaN or infinity."""
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError("a value is not finite", where=f"{where}:{name}", allowed="finite values")
