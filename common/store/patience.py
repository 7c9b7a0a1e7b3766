"""How long a store is waited for: what is asked again, after what pause, and when it is enough."""

import random
from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import IncompleteReadError, ResponseStreamingError
from urllib3.exceptions import HTTPError

from common.errors import TransientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

T = TypeVar("T")

SECONDS = 600.0  # that one call may take with all its tries: a socket's own limit begins anew with every byte
FIRST_PAUSE = 0.2  # seconds; every pause is twice the last one, less up to half by chance
CONFLICT = 409  # another write of the same name is under way
DAMAGED = ("BadDigest", "IncompleteBody", "RequestTimeout", "XAmzContentSHA256Mismatch")  # not what was sent arrived
BROKEN_OFF = (IncompleteReadError, ResponseStreamingError, HTTPError)  # of an answer that had begun: not asked again
_CHANCE = random.SystemRandom()  # no seed: it decides nothing but when


def ask_again(client: "S3Client") -> int:
    """Have a client ask again where by itself it would not, as often as after 429 or 503; return how often."""
    tries = int(client.meta.config.retries["total_max_attempts"])  # type: ignore[attr-defined]
    hook: Any = partial(_pause_if_busy, tries)
    client.meta.events.register("needs-retry.s3", hook, unique_id="undertone-ask-again")
    return tries


def pause(attempt: int) -> float:
    """Seconds to wait after the attempt of this number, from 1."""
    return FIRST_PAUSE * 2.0 ** (attempt - 1) * _CHANCE.uniform(0.5, 1)


def within(call: Callable[[], T], where: str, what: str) -> T:
    """What a call gives, if it does so in time. where, what: for the error.

    It runs in a thread of its own, which is left behind if it takes too long: nothing else ends a trickle.
    Raises: TransientError.
    """
    given: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            given.append(call())
        except BaseException as error:
            raised.append(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join(SECONDS)
    if raised:
        raise raised[0]
    if not given:
        raise TransientError("the store is too slow", where=f"{where}, {what}", value=f"no answer in {SECONDS:g} s")
    return given[0]


def unread(action: str, code: str) -> bool:
    """Whether an error says 404 and not of what: S3 does, so it was cut on the way, or is none of a store."""
    return (action, code) == ("GetObject", "404")


def _pause_if_busy(tries: int, response: Any, attempts: int, operation: Any, **_: Any) -> float | None:
    """Seconds until the next try, None for none. response: status and parsed answer; None where there was none."""
    if response is None or attempts >= tries:
        return None
    code = response[1].get("Error", {}).get("Code")
    again = response[0].status_code == CONFLICT or code in DAMAGED or unread(operation.name, code)
    return pause(attempts) if again else None
