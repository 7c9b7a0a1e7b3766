"""Models that write: many replies at once, greedy ones and samples.

A prompt is read once for all its replies, and what many prompts begin with once for all of these. A finished reply
gives its place to the next. A pass that writes reads all weights for one token of each reply, so many together cost
little more than few.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from numpy.random import Generator
from torch import Tensor

from common.lm.chat import LanguageModel
from common.lm.generation import State, extend, repeated, shared
from common.lm.places import Head, Places, reading_places

READ = 16  # prompts read by one pass
JOIN = 8  # new prompts are read when one place in so many is free: they are read together
Logits = Float[Tensor, "row vocabulary"]


class Ask(NamedTuple):
    """A prompt and the replies that are wanted to it."""

    head: tuple[int, ...]  # token ids that other prompts may begin with too; may be empty
    rest: list[int]  # those that follow
    chance: Sequence[Generator | None]  # one for each reply: what it is drawn with; None for the greedy one


@dataclass
class Line:
    """One reply while it is written."""

    ask: int
    number: int  # of the replies to its prompt
    chance: Generator | None
    ids: list[int] = field(default_factory=list)


def asks(prompts: Sequence[list[int]], chances: Sequence[Sequence[Generator | None]]) -> list[Ask]:
    """Prompts that begin alike, with the replies that are wanted to each."""
    head = shared(prompts) if prompts else 0
    return [Ask(tuple(prompt[:head]), prompt[head:], chance) for prompt, chance in zip(prompts, chances, strict=True)]


@torch.inference_mode()
def written(
    lm: LanguageModel, asked: Sequence[Ask], most: int, places: int, temperature: float = 1.0
) -> Iterator[tuple[int, list[str]]]:
    """The replies to all of these, up to `most` tokens each or an end of turn: (place in `asked`, its replies).

    They come as they are finished. The greedy reply takes the likeliest token, the first of those that are as likely.
    A sample is drawn at the temperature: one number of its own generator for each token. So nothing depends on what is
    written beside it, but for rounding. This is not generate(), which takes what a call leaves open, such as a
    repetition penalty, from a file beside the weights. places: replies written at once, at least those to one prompt.
    Raises: InputError for a type of model that cannot write so.
    """
    writing = _Writing(lm, asked, most, max(places, *(len(each.chance) for each in asked), 1), temperature)
    while writing.waiting or writing.lines:
        yield from writing.joined()
        yield from writing.stepped()


class _Writing:
    """Replies under way. Every line has the place of its number in `lines`."""

    def __init__(self, lm: LanguageModel, asked: Sequence[Ask], most: int, places: int, temperature: float) -> None:
        self.lm, self.asked, self.most, self.places, self.temperature = lm, asked, most, places, temperature
        self.waiting = deque(range(len(asked)))
        self.lines: list[Line] = []
        self.texts: dict[int, dict[int, str]] = {}
        self.stops = stop_tokens(lm)
        self.heads: dict[tuple[int, ...], State] = {}
        self.cache: Places | None = None

    def joined(self) -> Iterator[tuple[int, list[str]]]:
        """Read waiting prompts while enough places are free, and write the first token of their replies."""
        free = self.places - len(self.lines)
        if self.lines and free * JOIN < self.places:
            return
        taken: list[int] = []
        while self.waiting and (many := len(self.asked[self.waiting[0]].chance)) <= free:
            free -= many
            taken.append(self.waiting.popleft())
        for _, alike in groupby(taken, key=lambda number: self.asked[number].head):
            numbers = list(alike)
            for start in range(0, len(numbers), READ):
                yield from self._read(numbers[start : start + READ])

    def _read(self, numbers: Sequence[int]) -> Iterator[tuple[int, list[str]]]:
        some = [self.asked[number] for number in numbers]
        head = self._head(some[0].head)
        read = extend(self.lm, [each.rest for each in some], None if head is None else repeated(head, len(some)))
        if self.cache is None:
            self.cache = Places(read.cache, self.places)
        before: Head = (None if head is None else head.cache, len(some[0].head))
        new: list[Line] = []
        for row, (number, each) in enumerate(zip(numbers, some, strict=True)):
            self.cache.put(read.cache, row, len(each.rest), before, len(each.chance))
            new += [Line(number, place, chance) for place, chance in enumerate(each.chance)]
        rows = torch.tensor([numbers.index(line.ask) for line in new], device=read.logits.device)
        self.lines += new
        yield from self._told(new, read.logits[:, -1][rows], first=len(self.lines) - len(new))

    def _head(self, ids: tuple[int, ...]) -> State | None:
        if ids and ids not in self.heads:
            self.heads[ids] = extend(self.lm, [list(ids)])
        return self.heads.get(ids)

    def stepped(self) -> Iterator[tuple[int, list[str]]]:
        """Write one token of every line."""
        if not self.lines or self.cache is None:
            return
        device = self.lm.model.device
        ids = torch.tensor([line.ids[-1:] for line in self.lines], device=device)
        with reading_places(self.lm.model):
            out: Any = self.lm.model(
                input_ids=ids,
                position_ids=self.cache.begin(device),
                past_key_values=self.cache,
                use_cache=True,
                logits_to_keep=1,
                places=self.cache,
            )
        yield from self._told(self.lines, out.logits[:, -1], first=0)

    def _told(self, lines: Sequence[Line], logits: Logits, first: int) -> Iterator[tuple[int, list[str]]]:
        """Give each line its next token; those that are finished leave. first: the place of the first line."""
        ended = []
        for place, (line, token) in enumerate(zip(lines, self._picked(lines, logits), strict=True), start=first):
            if token not in self.stops:
                line.ids.append(token)
            if token in self.stops or len(line.ids) == self.most:
                ended.append((place, line))
        for place, _ in reversed(ended):  # from the last on, so that the one that moves in is not finished itself
            self._leave(place)
        for _, line in ended:
            found = self.texts.setdefault(line.ask, {})
            found[line.number] = str(self.lm.tokenizer.decode(line.ids, skip_special_tokens=True))
            if len(found) == len(self.asked[line.ask].chance):
                yield line.ask, [text for _, text in sorted(self.texts.pop(line.ask).items())]

    def _leave(self, place: int) -> None:
        assert self.cache is not None
        self.cache.drop(place)
        self.lines[place] = self.lines[-1]
        del self.lines[-1]

    def _picked(self, lines: Sequence[Line], logits: Logits) -> list[int]:
        tokens = likeliest(logits)
        drawn = [(place, line.chance) for place, line in enumerate(lines) if line.chance is not None]
        if drawn:
            rows = logits[torch.tensor([place for place, _ in drawn], device=logits.device)]
            numbers = [chance.random() for _, chance in drawn]
            for (place, _), token in zip(drawn, sample(rows, self.temperature, numbers), strict=True):
                tokens[place] = token
        return tokens


def likeliest(logits: Logits) -> list[int]:
    """The likeliest token of each row, the first of those that are as likely."""
    if logits.device.type == "cpu":  # of 128 rows of 49,152, torch takes 39 ms here and NumPy 1
        return [int(token) for token in logits.float().numpy().argmax(-1)]
    return [int(token) for token in logits.argmax(-1).tolist()]


def sample(logits: Logits, temperature: float, numbers: Sequence[float]) -> list[int]:
    """Draw a token of each row at a temperature, by a number from 0 up to 1: the inverse of the distribution."""
    below = (logits.float() / temperature).softmax(-1).cumsum(-1)
    whole = below[:, -1:]
    wanted = torch.tensor(numbers, dtype=below.dtype, device=below.device)[:, None] * whole
    wanted = wanted.minimum(whole.nextafter(torch.zeros_like(whole)))  # rounding can reach the whole
    return [int(token) for token in torch.searchsorted(below, wanted, right=True)[:, 0].tolist()]


def stop_tokens(lm: LanguageModel) -> set[int]:
    """Token ids that end a turn, by the tokenizer and by the model's generation settings."""
    told = lm.model.generation_config.eos_token_id
    listed = told if isinstance(told, list) else [told]
    return {token for token in [lm.tokenizer.eos_token_id, *listed] if token is not None}
