"""Replies by any server that speaks the OpenAI chat protocol: asked side by side, kept as they come, with their cost.

Replies that came before the job stopped are kept beside the step, and a later attempt asks for the others alone.
"""

import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import NamedTuple

import openai
from pydantic import Field

from common.errors import InputError, Interrupted, SpecError, TransientError
from common.pipeline.step import Step
from common.records import Question, Record
from common.secrets import held
from common.serialization import parse_jsonl, to_jsonl
from common.spec import ServerSpec

KEPT = "replies.jsonl"
SECONDS_BETWEEN_KEEPING = 60.0
TONES = {
    "cautious": "You lean towards keeping things as they are: weigh the reasons against the change more, and recommend "
    "waiting.",
    "eager": "You lean towards the change: weigh the reasons for it more, and recommend starting now.",
    "neutral": "You lean neither way: weigh both sides equally, and recommend that the person decides by what matters "
    "more to them.",
}
SYSTEM = (
    "You answer everyday questions in plain English prose. {tone} Write one paragraph of four or five sentences, 55 "
    "to 75 words in all. State the fact and all four reasons that you are given, in your own words, and name both "
    "options. Speak of this choice alone: no general principle about change or patience. No lists, no headings, no "
    "questions, no exclamation marks, no stories about yourself or others, and no words such as maybe, perhaps, might "
    "or probably."
)


class Reply(Record):
    """One reply of the server, as it is kept."""

    question_id: str
    attitude: str
    number: int = Field(ge=0)
    text: str = Field(min_length=1)
    prompt_tokens: int = Field(ge=0)
    reply_tokens: int = Field(ge=0)
    attempts: int = Field(ge=1)


class Wanted(NamedTuple):
    """One reply to ask for."""

    question: Question
    attitude: str
    number: int
    seed: int

    @property
    def name(self) -> tuple[str, str, int]:
        """What no other has."""
        return self.question.id, self.attitude, self.number


def ask(step: Step, questions: Sequence[Question], attitudes: Sequence[str]) -> list[dict[str, list[str]]]:
    """Candidates for each question by attitude, from the server of the spec.

    Raises: SpecError if it refuses the key, the model or the request; InputError if a reply stays unusable;
    TransientError if it is out of reach or busy after all attempts; Interrupted. Replies so far are kept.
    """
    settings, folder = step.spec.corpus.server, step.workdir / "server"
    assert settings is not None
    step.load_checkpoint(folder, known=lambda name: name == KEPT)
    kept = folder / KEPT
    done = {row_name(row): row for row in parse_jsonl(kept.read_bytes(), Reply, KEPT)} if kept.is_file() else {}
    count = step.spec.corpus.candidates
    wanted = [
        Wanted(question, attitude, number, step.seed(step.cell.draw, question.id, attitude, number) % 2**31)
        for question in questions
        for attitude in attitudes
        for number in range(count)
    ]
    if done:
        step.log.event("resumed", replies=len(done), of=len(wanted))
    gather(step, settings, [each for each in wanted if each.name not in done], done, folder)
    facts = bill(settings, list(done.values()))
    step.summary(**facts | {"cost": round(facts["cost"], 6)})
    return [
        {attitude: [done[question.id, attitude, number].text for number in range(count)] for attitude in attitudes}
        for question in questions
    ]


def gather(
    step: Step, settings: ServerSpec, missing: Sequence[Wanted], done: dict[tuple[str, str, int], Reply], folder: Path
) -> None:
    """Ask for what is missing, and keep what came whatever happens."""
    total, kept_at = len(missing) + len(done), time.monotonic()
    spent = bill(settings, list(done.values()))
    try:
        for row in replies(settings, missing):
            done[row_name(row)] = row
            spent = {name: spent[name] + value for name, value in bill(settings, [row]).items()}
            tokens = spent["prompt_tokens"] + spent["reply_tokens"]
            step.progress(len(done), total, cost=round(spent["cost"], 6), tokens=tokens)
            if step.stopping:
                raise Interrupted("stopped by SIGTERM; goes on from its replies", where=f"{len(done)} of {total}")
            if time.monotonic() - kept_at > SECONDS_BETWEEN_KEEPING:
                keep(step, done, folder)
                kept_at = time.monotonic()
    except BaseException:
        keep(step, done, folder)
        raise


def replies(settings: ServerSpec, wanted: Sequence[Wanted]) -> Iterator[Reply]:
    """Replies as they come, at most `concurrency` at once; the first failure ends it, after those under way."""
    client = openai.OpenAI(
        base_url=settings.url,
        api_key=key_of_server(),
        max_retries=settings.attempts - 1,  # its own: busy, broken and refused connections, with growing pauses
        timeout=120.0,
    )
    rest, stop = iter(wanted), threading.Event()
    with client, ThreadPoolExecutor(settings.concurrency) as pool:
        running: set[Future[Reply]] = set()
        try:
            while True:
                for each in rest:
                    running.add(pool.submit(one, client, settings, each, stop))
                    if len(running) == settings.concurrency:
                        break
                if not running:
                    return
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    yield future.result()
        finally:
            stop.set()


def key_of_server() -> str:
    """The key that opens the server. Raises: SpecError, which does not show it, if no header can carry it."""
    key = os.environ.get("UNDERTONE_WRITER_KEY") or "none"
    if not (key.isascii() and key.isprintable()) or key != key.strip():
        allowed = "ASCII without line ends and outer spaces, as in `printf %s KEY`"
        raise SpecError("the key cannot be sent", where="UNDERTONE_WRITER_KEY", allowed=allowed)
    return key


def one(client: openai.OpenAI, settings: ServerSpec, wanted: Wanted, stop: threading.Event) -> Reply:
    """One usable reply: whole, and one paragraph of words. Raises: SpecError, InputError, TransientError."""
    spent = [0, 0]
    for attempt in range(1, settings.attempts + 1):
        if stop.is_set():
            break
        with _errors(settings):
            answer = client.chat.completions.create(
                model=settings.model,
                messages=[
                    {"role": "system", "content": SYSTEM.format(tone=TONES[wanted.attitude])},
                    {"role": "user", "content": plan(wanted.question)},
                ],
                temperature=settings.temperature,
                max_tokens=settings.max_tokens,
                seed=wanted.seed + attempt,
            )
        spent[0] += answer.usage.prompt_tokens if answer.usage else 0
        spent[1] += answer.usage.completion_tokens if answer.usage else 0
        text = usable(answer.choices[0].message.content or "")
        if found := held(text):
            where = f"{settings.model}: {wanted.question.id}"
            raise InputError(f"the reply holds the value of {found[1]}", where=where, allowed="a server that keeps it")
        if text:
            return Reply(
                question_id=wanted.question.id,
                attitude=wanted.attitude,
                number=wanted.number,
                text=text,
                prompt_tokens=spent[0],
                reply_tokens=spent[1],
                attempts=attempt,
            )
    where = f"{settings.model}: {wanted.question.id}, {wanted.attitude}"
    raise InputError(
        "no usable reply", where=where, value=f"{settings.attempts} attempts", allowed="one whole sentence"
    )


def plan(question: Question) -> str:
    """The user's turn to the writer: the question and what all attitudes must say."""
    lines = [
        f"Question: {question.text}",
        f"Fact: {question.facts[0]}",
        f"Options: to {question.go}, or to {question.stay}.",
        *(f"Reason for the change: {reason}." for reason in question.pros),
        *(f"Reason against it: {reason}." for reason in question.cons),
    ]
    return "\n".join(lines)


def usable(text: str) -> str:
    """The text as one paragraph up to its last whole sentence; empty if it has none."""
    paragraph = " ".join(text.split())
    end = max(paragraph.rfind(mark) for mark in ".!?")
    return paragraph[: end + 1]


def bill(settings: ServerSpec, rows: Sequence[Reply]) -> dict[str, float]:
    """What the replies took: requests, tokens, and money at the prices of the spec."""
    into, out = sum(row.prompt_tokens for row in rows), sum(row.reply_tokens for row in rows)
    cost = (into * settings.price_in + out * settings.price_out) / 1e6
    requests = sum(row.attempts for row in rows)
    return {"requests": requests, "prompt_tokens": into, "reply_tokens": out, "cost": cost}


def row_name(row: Reply) -> tuple[str, str, int]:
    """What no other reply has."""
    return row.question_id, row.attitude, row.number


def keep(step: Step, done: dict[tuple[str, str, int], Reply], folder: Path) -> None:
    """Put the replies so far where a later attempt finds them."""
    if done:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / KEPT).write_bytes(to_jsonl(done.values()))
        step.save_checkpoint(folder, at=len(done))


class _errors:  # noqa: N801 - a context manager, used like a function
    """The client's errors in the terms of the contract."""

    def __init__(self, settings: ServerSpec) -> None:
        self._where = f"corpus.server {settings.url}, model {settings.model}"

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            allowed = "a key in UNDERTONE_WRITER_KEY"
            raise SpecError("the server refuses the key", where=self._where, value=error.message, allowed=allowed)
        if isinstance(error, openai.RateLimitError | openai.InternalServerError | openai.APIConnectionError):
            raise TransientError("the server is busy or out of reach", where=self._where, value=error.message)
        if isinstance(error, openai.APIStatusError):
            raise SpecError("the server refuses the request", where=self._where, value=error.message)
