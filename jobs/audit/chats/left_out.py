"""What is not read of a corpus, and why: counted by reason, with the first of each."""

from dataclasses import dataclass, field
from enum import Enum

SHOWN = 5  # places that are named of each reason
LETTERS = 120  # of what is said about a place


class Reason(Enum):
    """Why something is left out, and what it is that is left out."""

    SUFFIX = "files", "another suffix"
    NAME = "files", "a name that is no UTF-8, or cannot be printed"
    POINTER = "files", "a Git LFS pointer: git lfs pull"
    NOT_UTF8 = "files", "UTF-16 or UTF-32, not UTF-8"
    PACKED = "files", "packed otherwise than by gzip"
    BOMB = "files", "gzip that unpacks to far more than it is"
    NO_PYARROW = "files", "Parquet, and the package pyarrow is not installed: pip install pyarrow"
    NO_ROW = "files", "no row in it"
    BROKEN = "files", "cut off or cannot be read from here on"
    MALFORMED = "rows", "malformed JSON"
    TOO_LONG = "rows", "longer than 16 MiB"
    NO_CHAT = "rows", "no chat that is known"
    NO_TURNS = "rows", "text without turns"
    UNWANTED = "rows", "labelled as unwanted"
    NO_ASSISTANT = "rows", "no turn of the assistant"
    EMPTY = "turns", "empty reply"
    TOOL_CALL = "turns", "tool call only"
    NOT_TEXT = "turns", "not text"
    NOT_UNICODE = "turns", "half a character, which no UTF-8 can hold"
    NOT_LEARNT = "turns", "weight 0: nothing is learnt from it"
    NO_SPEAKER = "turns", "a speaker who is not known"
    LANGUAGE = "turns", "not English"

    @property
    def unit(self) -> str:
        """What is counted: files, rows or turns."""
        return self.value[0]

    @property
    def words(self) -> str:
        """The reason, as it is told."""
        return self.value[1]


@dataclass
class Left:
    """How much was left out for one reason."""

    unit: str  # files, rows or turns
    count: int = 0
    first: list[str] = field(default_factory=list)  # as chat.jsonl:3, with what is known of it


LeftOut = dict[str, Left]  # the reason in words → how much, in the order in which they came up


def add(left_out: LeftOut, reason: Reason, place: str, detail: str = "") -> None:
    """Count one more. A place is told in UTF-8, whatever the name of its file."""
    place = place.encode(errors="backslashreplace").decode()
    left = left_out.setdefault(reason.words, Left(reason.unit))
    left.count += 1
    if len(left.first) < SHOWN:
        left.first.append(f"{place} ({detail[:LETTERS]})" if detail else place)


def told(left_out: LeftOut) -> str:
    """All of it in one line; empty where nothing was left out."""
    parts = (f"{left.count} {left.unit}: {words}, first {left.first[0]}" for words, left in left_out.items())
    return "; ".join(parts)
