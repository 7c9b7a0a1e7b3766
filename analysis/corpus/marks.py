"""Marks in a text that a chat template takes for its own: control tokens, and blanks where a reply begins.

A control token written out in a text ends a turn in its middle, or begins one that nobody took. A reply that begins
with a newline or a blank may fuse with the end of the prompt, so that the prompt's tokens are no longer how it begins.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable
from typing import NamedTuple

from analysis.corpus.replies import Reply
from common.errors import InputError

SHOWN = 10  # places that are listed of each kind


class Mark(NamedTuple):
    """A place with a mark in it."""

    file: str
    row: int
    turn: int
    part: str  # system, prompt or reply
    mark: str  # the token, or the blanks at the beginning


class Marks:
    """Replies of a corpus, one after another. tokens: as common templates write them; own: those of the user's base."""

    def __init__(self, tokens: Iterable[str], own: Collection[str] = ()) -> None:
        self.own = {token for token in own if token.strip()}
        known = self.own | {token for token in tokens if token.strip()}
        longest = sorted(known, key=lambda token: (-len(token), token))
        if not longest:
            raise InputError("no control tokens", where="marks", allowed="at least one")
        self._pattern = re.compile("|".join(map(re.escape, longest)))
        self.tokens: Counter[str] = Counter()  # token → texts that hold it
        self.with_token, self.with_own, self.with_blank = 0, 0, 0  # replies, their prompts looked at too
        self.places: list[Mark] = []
        self.blanks: list[Mark] = []

    def add(self, reply: Reply) -> None:
        """Look at one reply, its prompt and its system prompt."""
        held: set[str] = set()
        for part, text in (("system", reply.system), ("prompt", reply.prompt), ("reply", reply.text)):
            for token in dict.fromkeys(self._pattern.findall(text)):
                held.add(token)
                self.tokens[token] += 1
                _put(self.places, Mark(reply.file, reply.row, reply.turn, part, token))
        self.with_token += bool(held)
        self.with_own += bool(held & self.own)
        if blank := reply.text[: len(reply.text) - len(reply.text.lstrip())]:
            self.with_blank += 1
            _put(self.blanks, Mark(reply.file, reply.row, reply.turn, "reply", blank[:20]))


def _put(places: list[Mark], mark: Mark) -> None:
    if len(places) < SHOWN:
        places.append(mark)
