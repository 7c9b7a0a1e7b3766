"""Which addresses are of this machine."""

import pytest

from common.addresses import on_this_machine


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8333",
        "http://127.8.0.1/v1",
        "https://localhost",
        "http://store.localhost:1",
        "http://[::1]:9/x",
    ],
)
def test_the_loopback_is_this_machine(url: str) -> None:
    assert on_this_machine(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1",
        "https://s3.example.org",
        "http://127.0.0.1.example.org",
        "http://localhost.org",
        "x",
        "",
        "http://[::",
    ],
)
def test_others_are_not(url: str) -> None:
    assert not on_this_machine(url)
