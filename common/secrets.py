"""Keeps secrets out of all that people and machines may read: messages, logs, tracebacks, results.

A secret is the value of an environment variable whose name says so (UNDERTONE_WRITER_KEY, AWS_SECRET_ACCESS_KEY,
AWS_SESSION_TOKEN, HF_TOKEN, …), the password in a URL that such a variable holds (a proxy, an endpoint), and what looks
like a key or a password wherever it comes from. Values are looked up when a text is made: keys may change while we run.

Not covered: values shorter than SHORTEST, which would hide half of every text, and what libraries print by themselves.
"""

import base64
import contextlib
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote

SHORTEST = 6  # characters of a value that is hidden
SHORTEST_REFUSED = 8  # of one that a spec must not hold: a shorter one may well be a word of it
NAMES = re.compile(r"(?:^|_)(?:KEY|SECRET|TOKEN|PASSWORD|PASSWD)$", re.IGNORECASE)
PASSWORD = re.compile(r"(?:://|^(?!\w+:/))[^\s/@:]*:(\S+)@")  # of an address with or without its scheme
WORDS = "(?:(?:api|access|secret|writer|judge)[_-]?key|secret|password|token|signature)"
LOOKS_SECRET = (  # each keeps what is in its groups
    re.compile(r"\b((?:Bearer|Basic)\s+)[\w.~+/=-]{16,}", re.IGNORECASE),
    re.compile(r"()\b(?:sk|pk|rk)-[\w-]{16,}"),
    re.compile(r"()\b(?:hf|gh[opsu]|glpat|xox[abp])[_-][\w-]{16,}"),
    re.compile(rf"({WORDS}=)[^\s&\"']{{6,}}", re.IGNORECASE),
    re.compile(rf"([\"'][\w-]*{WORDS}[\"']\s*:\s*[\"'])[^\"']{{6,}}", re.IGNORECASE),
)
# Two more take time as the square of a text where one pattern is to find them: a foreign text chooses how long that is.
ADDRESS = re.compile(r"(:/+)[^\s\"'<>]*")  # from its scheme on; a path loses one of the two slashes
DOTTED, HEAD_OF_JWT = re.compile(r"\beyJ[\w.-]*"), re.compile(r"\beyJ[\w-]{10}")


def redacted(text: str) -> str:
    """The text without secrets: the name of its variable, or [hidden], stands in the place of each."""
    for name, value in sorted(_secrets(), key=lambda secret: -len(secret[1])):
        for form in _forms(value):
            text = re.sub(re.escape(form), f"[{name}]".replace("\\", ""), text, flags=re.IGNORECASE)
        text = _without_halves(text, name, value)
    text = DOTTED.sub(_without_jwt, ADDRESS.sub(_without_login, text))
    for pattern in LOOKS_SECRET:
        text = pattern.sub(r"\1[hidden]", text)
    return text


def redacted_value(value: Any) -> Any:
    """A JSON value with every text in it redacted; names of fields stay."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, dict):
        return {name: redacted_value(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [redacted_value(each) for each in value]
    return value


def held(value: Any, where: str = "") -> tuple[str, str] | None:
    """Where a JSON value holds a secret, and the variable that it is the value of; None where it holds none."""
    if isinstance(value, dict):
        inner = [(each, f"{where}.{name}".lstrip(".")) for name, each in value.items()]
    elif isinstance(value, list | tuple):
        inner = [(each, f"{where}.{number}".lstrip(".")) for number, each in enumerate(value)]
    else:
        told = [name for name, secret in _secrets() if len(secret) >= SHORTEST_REFUSED and secret in str(value)]
        return (where, told[0]) if told else None
    return next((found for each, place in inner if (found := held(each, place)) is not None), None)


def told(text: str) -> str | None:
    """The variable whose value stands in a text, in any form, or half of it from anywhere; None where none does.

    Half a value is as many characters, and at least SHORTEST_REFUSED. A case that was changed does not hide it.
    """
    small = text.casefold()
    for name, value in _secrets():
        for form in map(str.casefold, _forms(value)):
            half = max(SHORTEST_REFUSED, -(-len(form) // 2))
            if any(form[start : start + half] in small for start in range(len(form) - half + 1)):
                return name
    return None


@contextlib.contextmanager
def stderr_redacted() -> Iterator[None]:
    """Hold back what is written to sys.stderr while the block runs, and write it without secrets at the end."""
    written = io.StringIO()
    try:
        with contextlib.redirect_stderr(written):
            yield
    finally:
        if text := written.getvalue():  # stderr may stand on a full disk, where even writing nothing fails
            sys.stderr.write(redacted(text))


def _secrets() -> Iterator[tuple[str, str]]:
    """Name and value of each secret of the environment."""
    for name, value in os.environ.items():
        if NAMES.search(name) and len(value.strip()) >= SHORTEST:
            yield name, value.strip()
        elif (found := PASSWORD.search(value)) and len(found[1]) >= SHORTEST:
            yield name, unquote(found[1])


def _forms(value: str) -> list[str]:
    """How others write a value: as it is, escaped, quoted for a URL, in base64."""
    raw = value.encode(errors="surrogateescape")
    quoted = (quote(raw), quote(raw, safe=""))
    forms = {value, " ".join(value.split()), json.dumps(value)[1:-1], repr(value)[1:-1], *quoted, *_coded(raw)}
    return sorted(forms, key=len, reverse=True)


def _coded(raw: bytes) -> Iterator[str]:
    """Base64 of a value, also where other bytes stand before and behind it, as in a header with `user:`."""
    for coded in (base64.b64encode, base64.urlsafe_b64encode):
        for before in range(3):
            whole = coded(b"\0" * before + raw).decode()
            yield whole[(0, 2, 3)[before] : len(whole) - (0, 3, 2)[(before + len(raw)) % 3]]


def _without_login(address: re.Match[str]) -> str:
    """An address without what stands before its last @."""
    _, at, rest = address[0].rpartition("@")
    return f"{address[1]}[hidden]@{rest}" if at else address[0]


def _without_jwt(dotted: re.Match[str]) -> str:
    """Parts with dots between them, without each that begins a JSON web token, and without the two behind it."""
    parts, kept, at = dotted[0].split("."), list[str](), 0
    while at < len(parts):
        found = HEAD_OF_JWT.search(parts[at])
        token = found is not None and at + 1 < len(parts) and len(parts[at + 1]) >= 10
        kept.append(f"{parts[at][: found.start()]}[hidden]" if found and token else parts[at])
        at += 3 if token else 1
    return ".".join(kept)


def _without_halves(text: str, name: str, value: str) -> str:
    """Hide a value that was cut at its end or at its beginning, down to its first or last half."""
    for length in range(len(value) - 1, max(SHORTEST_REFUSED, len(value) // 2) - 1, -1):
        text = text.replace(value[:length], f"[{name}]").replace(value[-length:], f"[{name}]")
    return text
