"""The client of a server that speaks the OpenAI chat protocol: asks side by side, yields replies as they come."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import NamedTuple

import openai
from openai.types.chat import ChatCompletion
from pydantic import Field

from common.addresses import on_this_machine
from common.errors import InputError, Interrupted, SpecError, TransientError
from common.records import Record
from common.secrets import redacted, told
from common.server_spec import ServerSpec

SECONDS = 120.0  # for one reply
BEGINNING = 80  # characters of a reply that is told when it was of no use


class Wanted(NamedTuple):
    """One reply to ask for."""

    name: str  # what no other has; not sent
    system: str
    user: str
    seed: int


class How(NamedTuple):
    """How replies are asked for, and which are taken."""

    temperature: float
    usable: Callable[[str], str | None]  # a reply → what is kept of it; nothing: it is asked for again
    needed: str = ""  # what a usable reply is: without one after all attempts, this is the error; empty: it is no error


class Reply(Record):
    """One reply of the server, as it is kept, and what it took."""

    name: str = Field(min_length=1)
    text: str | None = Field(description="what is kept of it; None: no attempt brought a usable one")
    unusable: str | None = Field(None, description="how the last reply that was of no use began")
    prompt_tokens: int = Field(ge=0)
    reply_tokens: int = Field(ge=0)
    attempts: int = Field(ge=1)


def replies(server: ServerSpec, wanted: Sequence[Wanted], how: How) -> Iterator[Reply]:
    """Replies as they come, at most `concurrency` at once; the first failure ends it, after those under way.

    Raises: SpecError if the server refuses the key, the model or the request; InputError if a needed reply stays
    unusable, or one holds the key or half of it; TransientError if the server stays out of reach or busy.
    """
    client = openai.OpenAI(
        base_url=server.url,
        api_key=_key(server),
        # On this machine without a proxy, whatever the environment says.
        http_client=openai.DefaultHttpxClient(trust_env=False) if on_this_machine(server.url) else None,
        max_retries=server.attempts - 1,  # its own: busy, broken and refused connections, with growing pauses
        timeout=SECONDS,
    )
    rest, stop = iter(wanted), threading.Event()
    with client, ThreadPoolExecutor(server.concurrency) as pool:
        running: set[Future[Reply]] = set()
        try:
            while True:
                for each in rest:
                    running.add(pool.submit(_one, client, server, each, how, stop))
                    if len(running) == server.concurrency:
                        break
                if not running:
                    return
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    yield future.result()
        finally:
            stop.set()


def bill(server: ServerSpec, rows: Sequence[Reply]) -> dict[str, float]:
    """What the replies took: requests, tokens, and money at the prices of the spec."""
    into, out = sum(row.prompt_tokens for row in rows), sum(row.reply_tokens for row in rows)
    cost = (into * server.price_in + out * server.price_out) / 1e6
    requests = sum(row.attempts for row in rows)
    return {"requests": requests, "prompt_tokens": into, "reply_tokens": out, "cost": cost}


def _key(server: ServerSpec) -> str:
    """The key that opens the server. Raises: SpecError, which does not show it, if no header can carry it."""
    key = os.environ.get(server.key_name) or "none"
    if not (key.isascii() and key.isprintable()) or key != key.strip():
        allowed = "ASCII without line ends and outer spaces, as in `printf %s KEY`"
        raise SpecError("the key cannot be sent", where=server.key_name, allowed=allowed)
    return key


def _one(client: openai.OpenAI, server: ServerSpec, wanted: Wanted, how: How, stop: threading.Event) -> Reply:
    """One reply, asked for until it is usable. Raises as `replies`; Interrupted if nobody waits for it any more."""
    spent, unusable, text = [0, 0], None, None
    for attempt in range(1, server.attempts + 1):
        if stop.is_set():
            raise Interrupted("stopped", where=wanted.name)
        said, tokens = _said(client, server, wanted, how.temperature, wanted.seed + attempt)
        spent = [before + more for before, more in zip(spent, tokens, strict=True)]
        if secret := told(said):
            where, allowed = f"{server.model}: {wanted.name}", "a server that keeps it"
            raise InputError(f"the reply holds the value of {secret}, or half of it", where=where, allowed=allowed)
        if text := how.usable(said):
            break
        unusable = redacted(" ".join(said.split())[:BEGINNING])
    if how.needed and not text:
        where = f"{server.model}: {wanted.name}"
        raise InputError("no usable reply", where=where, value=f"{server.attempts} attempts", allowed=how.needed)
    return Reply(
        name=wanted.name,
        text=text or None,
        unusable=unusable,
        prompt_tokens=spent[0],
        reply_tokens=spent[1],
        attempts=attempt,
    )


def _said(
    client: openai.OpenAI, server: ServerSpec, wanted: Wanted, temperature: float, seed: int
) -> tuple[str, tuple[int, int]]:
    """What the server says to one request, and the tokens of prompt and reply. An answer without a text is empty."""
    with _errors(server):
        answer = client.chat.completions.create(
            model=server.model,
            messages=[{"role": "system", "content": wanted.system}, {"role": "user", "content": wanted.user}],
            temperature=temperature,
            max_tokens=server.max_tokens,
            seed=seed,
        )
        if not isinstance(answer, ChatCompletion):  # what is no JSON the client hands over as text
            raise _NoCompletion
        return _taken(answer)


def _taken(answer: ChatCompletion) -> tuple[str, tuple[int, int]]:
    """What an answer says, and its tokens. The client does not look at its fields. Raises: _NoCompletion."""
    try:
        usage, choices = answer.usage, answer.choices
        said = choices[0].message.content or "" if choices else ""
        tokens = (usage.prompt_tokens, usage.completion_tokens) if usage else (0, 0)
    except (LookupError, TypeError, AttributeError):
        raise _NoCompletion from None
    if not (isinstance(said, str) and all(type(each) is int and each >= 0 for each in tokens)):
        raise _NoCompletion
    return said, tokens


class _NoCompletion(Exception):
    """What came is no answer of a chat server."""


class _errors:  # noqa: N801 - a context manager, used like a function
    """The client's errors in the terms of the contract."""

    def __init__(self, server: ServerSpec) -> None:
        self._where, self._key_name = f"{server.section} {server.url}, model {server.model}", server.key_name

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            allowed = f"a key in {self._key_name}"
            raise SpecError("the server refuses the key", where=self._where, value=error.message, allowed=allowed)
        if isinstance(error, openai.RateLimitError | openai.InternalServerError | openai.APIConnectionError):
            raise TransientError("the server is busy or out of reach", where=self._where, value=error.message)
        if isinstance(error, openai.APIStatusError):
            raise SpecError("the server refuses the request", where=self._where, value=error.message)
        no_json = ValueError | RecursionError  # ValueError: bytes, syntax, or a number of too many digits
        if isinstance(error, openai.APIResponseValidationError | no_json | _NoCompletion):
            allowed = "a server of the OpenAI chat protocol, at its base URL with /v1"
            raise SpecError("the answer is no chat completion", where=self._where, allowed=allowed) from None
