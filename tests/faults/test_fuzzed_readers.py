"""Bytes from outside, whatever they are, end in what was read or in an error of this project with exit code 2 or 3."""

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.faults.altered import altered
from tests.faults.readers import MOST_MEMORY, READERS, Reader, address_space, folder, unlike

EXAMPLES = 2000
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


def files(reader: Reader) -> st.SearchStrategy[bytes]:
    """Right files with changes, and now and then bytes or a JSON value of any kind."""
    changed = st.builds(altered, st.sampled_from(reader.seeds()), st.just(reader.shape), st.integers(0, 2**32))
    return st.integers(0, 9).flatmap(
        lambda kind: (
            st.binary(max_size=40)
            if not kind
            else VALUES.map(lambda v: json.dumps(v).encode())
            if kind == 1
            else changed
        )
    )


@contextmanager
def memory_limited() -> Iterator[None]:
    """Inside, what is asked for beyond what there is and MOST_MEMORY more is a MemoryError."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (address_space() + MOST_MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("name", READERS)
def test_whatever_the_bytes_they_are_read_or_refused(name: str) -> None:
    reader = READERS[name]
    with folder() as made:
        read = reader.opened(Path(made))
        for data in reader.seeds():
            unlike(read, data)  # what is imported at the first call counts neither as time nor as memory

        @settings(
            max_examples=EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(files(reader))
        def each(data: bytes) -> None:
            fault, _ = unlike(read, data)
            assert not fault, fault

        with memory_limited():
            each()
