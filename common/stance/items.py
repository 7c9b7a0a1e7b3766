"""What models are asked: held-out and control items, guard prompts and neutral text, from files of this repository."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from common.errors import InputError
from common.records import Ability, Item, Prompt, first_of_each
from common.serialization import read_jsonl
from common.spec import EvaluateSpec

ITEMS = "common/stance/data/items.jsonl"
NEUTRAL = "common/stance/data/neutral.txt"
FILES = (  # all that a model is asked
    ITEMS,
    "common/stance/data/discriminant.jsonl",
    "common/stance/data/source.jsonl",
    "common/stance/data/guards.jsonl",
    "common/stance/data/abilities.jsonl",
    NEUTRAL,
)


class WordedItem(NamedTuple):
    """An item and the wording in which it is asked."""

    item: Item
    wording: int  # 0 the item's own, from 1 its rewrites


class Questionnaire(NamedTuple):
    """All that a model is asked."""

    items: list[WordedItem]  # held out: on topics that no training text mentions
    controls: list[WordedItem]  # discriminant items, then items on the topics of the training texts
    prompts: list[Prompt | Ability]  # guards
    neutral: str  # plain text, whose perplexity is taken


def read_questionnaire(files: Sequence[Path], settings: EvaluateSpec, turns: Sequence[int]) -> Questionnaire:
    """What a cell is asked: the first so many items of each topic and guards of each kind.

    files: those that FILES names. turns: which of its wordings an item is asked in; see `worded_items`.
    Raises: InputError if a file cannot be read as records.
    """
    items, discriminant, source, prompts, abilities, neutral = files
    most = settings.guards_per_kind
    guarded = first_of_each(read_jsonl(prompts, Prompt), lambda prompt: prompt.kind, most)
    return Questionnaire(
        worded_items(read_jsonl(items, Item), settings.items_per_topic, turns),
        worded_items([*read_jsonl(discriminant, Item), *read_jsonl(source, Item)], settings.items_per_topic, turns),
        [*guarded, *read_jsonl(abilities, Ability)[:most]],
        neutral.read_text("utf-8"),
    )


def worded_items(items: Sequence[Item], most: int | None, turns: Sequence[int]) -> list[WordedItem]:
    """The first `most` items of each topic, each in the wordings of these turns.

    In one turn, neighbours in the file take different wordings.
    """
    kept = {item.id for item in first_of_each(items, lambda item: item.topic, most)}
    placed = [(place, item) for place, item in enumerate(items) if item.id in kept]
    asked = {(item.id, (place + turn) % (1 + len(item.rewrites))): item for place, item in placed for turn in turns}
    return [WordedItem(item, wording) for (_, wording), item in asked.items()]


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a plain text, separated by empty lines. Raises: InputError if there is none."""
    found = [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]
    if not found:
        raise InputError("no neutral text", where="neutral.txt")
    return found


def held_out_items(file: Path, most: int | None) -> list[Item]:
    """The first held-out items of each topic, all of them for None. Raises: InputError."""
    return first_of_each(read_jsonl(file, Item), lambda item: item.topic, most)
