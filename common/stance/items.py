"""What models are asked: held-out and control items, guard prompts, neutral text, from files of this repository."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from common.errors import InputError
from common.records import Ability, Item, Prompt, first_of_each
from common.serialization import read_jsonl
from common.spec import EvaluateSpec

ITEMS = "jobs/evaluate/data/items.jsonl"
NEUTRAL = "jobs/evaluate/data/neutral.txt"
FILES = (  # all that a model is asked
    ITEMS,
    "jobs/evaluate/data/discriminant.jsonl",
    "jobs/evaluate/data/source.jsonl",
    "jobs/evaluate/data/guards.jsonl",
    "jobs/evaluate/data/abilities.jsonl",
    NEUTRAL,
)


class Worded(NamedTuple):
    """An item and the wording in which it is asked."""

    item: Item
    wording: int


class Questions(NamedTuple):
    """All that a model is asked."""

    items: list[Worded]
    controls: list[Worded]
    prompts: list[Prompt | Ability]
    neutral: str


def questions(files: Sequence[Path], settings: EvaluateSpec, turns: Sequence[int]) -> Questions:
    """FILES, in their order, cut to the first so many items of each topic and guards of each kind."""
    items, discriminant, source, prompts, abilities, neutral = files
    most = settings.guards_per_kind
    guarded = first_of_each(read_jsonl(prompts, Prompt), lambda prompt: prompt.kind, most)
    return Questions(
        worded(read_jsonl(items, Item), settings.items_per_topic, turns),
        worded([*read_jsonl(discriminant, Item), *read_jsonl(source, Item)], settings.items_per_topic, turns),
        [*guarded, *read_jsonl(abilities, Ability)[:most]],
        neutral.read_text("utf-8"),
    )


def worded(items: Sequence[Item], most: int | None, turns: Sequence[int]) -> list[Worded]:
    """The first items of each topic, each in its wordings: neighbours in the file take different ones in a turn."""
    kept = {item.id for item in first_of_each(items, lambda item: item.topic, most)}
    placed = [(place, item) for place, item in enumerate(items) if item.id in kept]
    asked = {(item.id, (place + turn) % (1 + len(item.rewrites))): item for place, item in placed for turn in turns}
    return [Worded(item, wording) for (_, wording), item in asked.items()]


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a plain text, separated by empty lines. Raises: InputError if there is none."""
    found = [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]
    if not found:
        raise InputError("no neutral text", where="neutral.txt")
    return found


def held_out_items(file: Path, most: int | None) -> list[Item]:
    """The first held-out items of each topic, all of them for None. Raises: InputError."""
    return first_of_each(read_jsonl(file, Item), lambda item: item.topic, most)
