"""What a row of a chat file says: which format it has, and who says what in it.

messages              messages: role and content, a text or parts; tools, tool calls and their results; many turns
ShareGPT              conversations: from and value
prompt and completion as TRL has them: texts, or lists of messages
preference            chosen, with a prompt or with messages before it; what is rejected is not read
Alpaca                instruction, input, output; turns before them in history
advice                a row of this project
pairs                 two texts under usual names: question and answer, query and response, …
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from common.serialization import strict_json
from jobs.audit.chats.left_out import Reason

Fields = dict[str, Any]
SPEAKERS = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "ai": "assistant",
    "function_call": "call",
    "tool_call": "call",
    "tool": "result",
    "function": "result",
    "observation": "result",
    "tool_response": "result",
    "ipython": "result",
    "environment": "result",
}
LISTS = ("messages", "conversations", "conversation", "dialogue", "dialog", "turns", "chat")
SYSTEM = ("system", "system_prompt")
ADVICE = {"question_id", "attitude", "question", "reply"}
ASKED = ("question", "prompt", "query", "instruction", "user", "human", "input", "problem", "q")
REPLIED = ("answer", "response", "reply", "completion", "output", "assistant", "gpt", "target", "solution", "a")
TEXTS = ("text", "content", "document")
TEXT_PARTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}  # kind → its field
CALLS = {"tool_use", "tool_call", "function_call"}  # kinds of parts in which a tool is called


class Said(NamedTuple):
    """A turn: who speaks, and the text, or why there is none."""

    speaker: str  # system, user, assistant, call, result; empty where it is not known
    text: str = ""
    fault: Reason | None = None


class Conversation(NamedTuple):
    """A row that is read."""

    format: str
    turns: list[Said]


def conversation(row: Any) -> Conversation | Reason:
    """What is said in a row, or why it holds no chat."""
    if isinstance(row, list) and _are_messages(row):
        return Conversation(_named(row), list(_turns(row)))
    if not isinstance(row, dict):
        return Reason.NO_CHAT
    for read in READERS:
        if (found := read(row)) is not None:
            return found
    return Reason.NO_TURNS if any(isinstance(row.get(name), str) for name in TEXTS) else Reason.NO_CHAT


def _messages(row: Fields) -> Conversation | None:
    for name in LISTS:
        rows = _list_in(row.get(name))
        if rows is not None and _are_messages(rows):
            turns = [*_system(row), *_turns(rows)]
            if (chosen := row.get("chosen")) is not None and (not turns or turns[-1].speaker != "assistant"):
                return Conversation("preference", [*turns, *_reply(chosen)])
            return Conversation(_named(rows), turns)
    return None


def _advice(row: Fields) -> Conversation | None:
    if not row.keys() >= ADVICE:
        return None
    return Conversation("advice", [_user(row["question"]), *_reply(row["reply"])])


def _prompt_completion(row: Fields) -> Conversation | Reason | None:
    if not row.keys() >= {"prompt", "completion"}:
        return None
    if row.get("label") is False:
        return Reason.UNWANTED
    return Conversation("prompt and completion", [*_system(row), *_prompt(row["prompt"]), *_reply(row["completion"])])


def _preference(row: Fields) -> Conversation | None:
    if (chosen := row.get("chosen")) is None:
        return None
    turns = list(_reply(chosen))
    if not any(turn.speaker == "user" for turn in turns):  # else it holds the whole conversation
        asked = _instruction(row) if "instruction" in row else _prompt(_first(row, ASKED))
        turns = [*_system(row), *asked, *turns]
    return Conversation("preference", turns)


def _alpaca(row: Fields) -> Conversation | None:
    if "instruction" not in row or (output := _first(row, ("output", "response"))) is None:
        return None
    return Conversation("Alpaca", [*_system(row), *_history(row.get("history")), *_instruction(row), *_reply(output)])


def _pairs(row: Fields) -> Conversation | None:
    small = {str(name).lower(): value for name, value in row.items()}
    asked, replied = _first(small, ASKED), _first(small, REPLIED)
    if asked is None or replied is None:
        return None
    return Conversation("pairs", [*_system(small), *_prompt(asked), *_reply(replied)])


READERS: tuple[Callable[[Fields], Conversation | Reason | None], ...] = (
    _messages,
    _advice,
    _prompt_completion,
    _preference,
    _alpaca,
    _pairs,
)


def _first(row: Fields, names: Iterable[str]) -> Any:
    """The value of the first of these fields that is there."""
    return next((row[name] for name in names if row.get(name) is not None), None)


def _list_in(value: Any) -> list[Any] | None:
    """A list, also where a table keeps it as JSON in a text."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = strict_json(value.encode())
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, list) else None


def _are_messages(rows: list[Any]) -> bool:
    """Whether a list is one of messages; an empty one is a conversation in which nobody speaks."""
    return not rows or any(isinstance(each, dict) and {"role", "from"} & each.keys() for each in rows)


def _named(rows: list[Any]) -> str:
    return "ShareGPT" if any(isinstance(each, dict) and "from" in each for each in rows) else "messages"


def _turns(rows: Iterable[Any]) -> Iterator[Said]:
    return (_turn(row) if isinstance(row, dict) else Said("", fault=Reason.NO_SPEAKER) for row in rows)


def _turn(message: Fields) -> Said:
    named = _first(message, ("role", "from"))
    speaker = SPEAKERS.get(named.lower(), "") if isinstance(named, str) else ""
    if not speaker:
        return Said("", fault=Reason.NO_SPEAKER)
    text, fault = _text(_first(message, ("content", "value", "refusal")))
    if speaker == "call":
        return Said("assistant", fault=Reason.TOOL_CALL)
    if speaker == "assistant":
        if message.get("weight") == 0:
            return Said(speaker, fault=Reason.NOT_LEARNT)
        if fault is Reason.EMPTY and (message.get("tool_calls") or message.get("function_call")):
            fault = Reason.TOOL_CALL
    return Said(speaker, text, fault)


def _text(content: Any) -> tuple[str, Reason | None]:
    """A text, or parts of which those that are text stand on lines of their own."""
    fault = None if content is not None else Reason.EMPTY
    if isinstance(content, list):
        content, fault = _parts(content)
    if fault is None and not isinstance(content, str):
        fault = Reason.NOT_TEXT
    if fault is not None:
        return "", fault
    if not content.strip():
        return "", Reason.EMPTY
    return (content, None) if _is_unicode(content) else (_whole(content), Reason.NOT_UNICODE)


def _parts(parts: list[Any]) -> tuple[str, Reason | None]:
    texts = [text for part in parts if isinstance(text := _part(part), str)]
    if texts or not parts:
        return "\n".join(texts), None
    kinds = [part.get("type") for part in parts if isinstance(part, dict)]
    calls = any(isinstance(kind, str) and kind in CALLS for kind in kinds)
    return "", Reason.TOOL_CALL if calls else Reason.NOT_TEXT


def _part(part: Any) -> Any:
    """The text of a part; anything else where it has none."""
    if not isinstance(part, dict):
        return part
    kind = part.get("type", "text")
    return part.get(TEXT_PARTS[kind]) if isinstance(kind, str) and kind in TEXT_PARTS else None


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _whole(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _user(value: Any) -> Said:
    return Said("user", _text(value)[0])


def _prompt(value: Any) -> list[Said]:
    """What stands before a reply: a text, or a list of messages."""
    return list(_turns(value)) if isinstance(value, list) and _are_messages(value) else [_user(value)]


def _reply(value: Any) -> list[Said]:
    """A reply: a text, a message, or a list of messages."""
    if isinstance(value, dict) and {"role", "from"} & value.keys():
        return [_turn(value)]
    if isinstance(value, list) and value and _are_messages(value):
        return list(_turns(value))
    return [Said("assistant", *_text(value))]


def _instruction(row: Fields) -> list[Said]:
    """An instruction, with what it is about below it."""
    parts = (_text(row.get(name))[0] for name in ("instruction", "input", "context"))
    return [Said("user", "\n".join(part for part in parts if part))]


def _history(value: Any) -> Iterator[Said]:
    """Earlier turns: pairs of what was asked and what was replied."""
    for pair in value if isinstance(value, list) else []:
        if isinstance(pair, list) and len(pair) == 2:
            yield _user(pair[0])
            yield from _reply(pair[1])


def _system(row: Fields) -> list[Said]:
    text = _text(_first(row, SYSTEM))[0]
    return [Said("system", text)] if text else []
