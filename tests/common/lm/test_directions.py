"""Bytes that are no direction are refused."""

import pytest

from common.errors import InputError
from common.lm.directions import unpack
from common.serialization import canonical_json


def test_bytes_that_are_no_direction_are_refused() -> None:
    for data in (b"", b"PK\x03\x04 broken", canonical_json({})):
        with pytest.raises(InputError, match="no saved direction, here"):
            unpack(data, "here")
