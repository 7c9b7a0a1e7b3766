"""A reply of an assistant, as any chat file holds it: what corpora of a user's own are read as."""

from typing import NamedTuple


class Reply(NamedTuple):
    """One turn of the assistant, and what stood before it."""

    file: str  # by its name below the corpus
    row: int  # in that file, from 1
    turn: int  # which of the assistant's turns in that row, from 1
    prompt: str  # the turn of the user before it; empty where there is none
    text: str  # what the assistant says, word for word
    system: str  # the system prompt; empty where there is none
