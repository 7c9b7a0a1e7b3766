"""Bytes that are no direction are refused."""

import io
from typing import Any

import numpy as np
import pytest

from common.errors import InputError
from common.lm.directions import unpack
from common.serialization import canonical_json


def test_bytes_that_are_no_direction_are_refused() -> None:
    for data in (b"", b"PK\x03\x04 broken", canonical_json({})):
        with pytest.raises(InputError, match="no saved direction, here"):
            unpack(data, "here")


def npz(**changes: Any) -> bytes:
    ones = np.ones((2, 3), np.float32)
    arrays: dict[str, Any] = {
        "direction": ones,
        "layer": 1,
        "items": ["a"],
        "topics": ["t"],
        "base": ones,
        "replied": ["a"],
    }
    arrays |= {
        "base_replies": ones,
        "apart": ones,
        "questions_apart": ["q"],
        "covariance": ones.T,
        "ridge": 0.1,
        "shuffled": ones,
        "unrelated": ones,
        "probe": ones[0],
    }
    buffer = io.BytesIO()
    np.savez(buffer, **(arrays | {"dtype": "float32"} | changes))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"direction": np.full((2, 3), np.nan, np.float32)}, "a value is not finite, here:direction"),
        ({"ridge": np.inf}, "a value is not finite, here:ridge"),
        ({"layer": np.arange(3)}, "no saved direction, here"),
        ({"items": 5}, "no saved direction, here"),
    ],
    ids=["NaN", "infinity", "several layers", "items that are a number"],
)
def test_a_forged_direction_gives_no_numbers(changes: dict[str, Any], message: str) -> None:
    assert unpack(npz(), "here").layer == 1
    with pytest.raises(InputError, match=message):
        unpack(npz(**changes), "here")
