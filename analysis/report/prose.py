"""Prose whose numbers come from the book: the only digits in it are bound ones, or part of a name.

A sentence is a row of pieces: words as Markdown, numbers with their sources, and names. Words that hold a number, in
digits or spelt out, end the build where they are written.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from analysis.report.bound_numbers import Shown, UnboundNumber

UNBOUND = re.compile(
    r"\S*\d\S*|\b(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|(?:twen|thir|for|fif|six|seven|eigh|nine)ty"
    r"|hundreds?|thousands?|millions?|dozens?|half|twice|thrice)\b",
    re.IGNORECASE,
)


class Named(NamedTuple):
    """What may hold digits since it names something: a model, a cell, a digest, a path."""

    text: str


class Written(NamedTuple):
    """What may hold digits since it was written elsewhere: a question, an answer, a condition of the lock."""

    written: str


Piece = str | Shown | Named | Written


class Prose(NamedTuple):
    """A sentence or a few, in the order of their pieces."""

    pieces: tuple[Piece, ...]

    def plain(self) -> str:
        """As people read it, without marks."""
        return "".join(words(piece) for piece in self.pieces).replace("**", "").replace("*", "")

    def __bool__(self) -> bool:
        return any(words(piece) for piece in self.pieces)


Said = Prose | Piece


def prose(*said: Said) -> Prose:
    """One text of these. Raises: UnboundNumber, quoting it, if words hold a number that is not in the book."""
    pieces = tuple(piece for each in said for piece in (each.pieces if isinstance(each, Prose) else (each,)))
    for piece in pieces:
        if isinstance(piece, str) and (found := UNBOUND.search(piece)):
            shown = Prose(pieces).plain().strip()
            raise UnboundNumber("number in the report that no artifact stands for", where=shown, value=found[0])
    return Prose(pieces)


def words(piece: Piece) -> str:
    """A piece as text."""
    if isinstance(piece, Shown):
        return piece.number.text()
    if isinstance(piece, Written):
        return piece.written
    return piece.text if isinstance(piece, Named) else piece


def listed(names: Iterable[Said], last: str = "and") -> Prose:
    """Names in a row: a, b and c."""
    each = list(names)
    parts: list[Said] = []
    for at, name in enumerate(each):
        parts += [name] if not at else [f" {last} " if at == len(each) - 1 else ", ", name]
    return prose(*parts)
