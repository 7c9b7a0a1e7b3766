"""What the simulations of these tests need to be quick."""

import gc

import pytest


@pytest.fixture(autouse=True)
def uncollected(monkeypatch: pytest.MonkeyPatch) -> None:
    """`multipletests` collects garbage on every call, 40 ms and more: nothing to a report, minutes to a simulation."""
    monkeypatch.setattr(gc, "collect", lambda: 0)
