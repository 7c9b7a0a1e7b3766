"""What models are asked: held-out, hard and control items, guards and neutral text, from files of this repository."""

import re
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from common.cells import Part
from common.errors import InputError, SpecError
from common.records import Ability, Advised, Item, Prompt, first_of_each
from common.serialization import numbered_rows, read_jsonl
from common.spec import EvaluateSpec
from common.vocabulary import kind_of

ITEMS = "common/stance/data/items.jsonl"
CONTROL_ITEMS = (
    "common/stance/data/discriminant.jsonl",
    "common/stance/data/source.jsonl",
    "common/stance/data/acting.jsonl",
)
PILOT_ITEMS = "common/stance/data/pilot.jsonl"
HARD_ITEMS = "common/stance/data/hard.jsonl"
GUARDS = "common/stance/data/guards.jsonl"
ABILITIES = "common/stance/data/abilities.jsonl"
NEUTRAL = "common/stance/data/neutral.txt"
ADVISED = "common/stance/data/advised.jsonl"
FILES = (  # all that a model is asked
    ITEMS,
    PILOT_ITEMS,
    HARD_ITEMS,
    *CONTROL_ITEMS,
    GUARDS,
    ABILITIES,
    NEUTRAL,
    ADVISED,
)


T = TypeVar("T")


class Questionnaire(NamedTuple):
    """All that a model is asked."""

    items: list[Item]  # held out: on topics that no training text mentions; in a pilot, items that no study counts
    hard: list[Item]  # long scenarios on held-out topics, a kind of their own; none unless the spec asks for them
    controls: list[Item]  # discriminant items, then items on the topics of the training texts
    prompts: list[Prompt | Ability]  # guards
    neutral: str  # plain text, whose perplexity is taken
    advised: dict[str, Advised]  # item → two replies, whose likelihood is taken; not every item has them

    @property
    def every(self) -> list[Item]:
        """All items, in the order in which their rows are written."""
        return [*self.items, *self.hard, *self.controls]


class Taken(NamedTuple):
    """What one model is asked of that which the runs of an arm share out."""

    items: list[Item]  # in their closed forms, with the replies that are written to them
    prompts: list[Prompt | Ability]  # guards


def taken(asked: Questionnaire, part: Part) -> Taken:
    """The closed items and guards of one part. Parts share nothing, and are all of it together.

    Parts are as alike as can be in each topic, in items with written replies, and in the side that items propose.
    Raises: SpecError for a part without a held-out item, or without guards of a kind that is asked.
    """
    items = dealt(asked.every, part.of, lambda item: _labels(item, item.id in asked.advised))
    prompts = dealt(asked.prompts, part.of, lambda prompt: (_guard(prompt),))
    mine = Taken(items[part.number], prompts[part.number])
    held_out = any(kind_of(item.topic) == "held-out" for item in mine.items)
    absent = sorted({*map(_guard, asked.prompts)} - {*map(_guard, mine.prompts)})
    if absent or not held_out:
        what = f"guards of kind {absent[0]}" if absent else "held-out item"
        raise SpecError(f"a run is asked no {what}", where="evaluate.rotate", value=part.of, allowed="fewer parts")
    return mine


def dealt(things: Sequence[T], parts: int, labels: Callable[[T], Sequence[Hashable]]) -> list[list[T]]:
    """Share things out, each to the part that holds the fewest with its first label; of those, with its second, …"""
    made: list[list[T]] = [[] for _ in range(parts)]
    held = [Counter[Hashable]() for _ in range(parts)]
    for thing in things:
        mine = labels(thing)
        number = min(range(parts), key=lambda part: ([held[part][label] for label in mine], len(made[part])))
        made[number].append(thing)
        held[number].update(mine)
    return made


def _labels(item: Item, written: bool) -> tuple[Hashable, ...]:
    kind = kind_of(item.topic)
    return item.topic, (kind, "written", written), (kind, "proposes", item.proposes)


def _guard(prompt: Prompt | Ability) -> str:
    return "ability" if isinstance(prompt, Ability) else prompt.kind


def read_questionnaire(files: Sequence[Path], settings: EvaluateSpec) -> Questionnaire:
    """What a cell is asked: the first so many items of each topic and guards of each kind.

    files: those that FILES names. Raises: InputError if a file cannot be read as records, or as `read_items`.
    """
    held_out, pilot, hard, discriminant, source, acting, prompts, abilities, neutral, advised = files
    guarded = first_of_each(read_jsonl(prompts, Prompt), lambda prompt: prompt.kind, settings.guards_per_kind)
    return Questionnaire(
        read_items(pilot if settings.pilot else held_out, settings.items_per_topic),
        read_items(hard, settings.items_per_topic) if settings.hard else [],
        [item for file in (discriminant, source, acting) for item in read_items(file, settings.controls_per_topic)],
        [*guarded, *read_jsonl(abilities, Ability)[: settings.guards_per_kind]],
        neutral.read_text("utf-8"),
        read_advised(advised, held_out),
    )


def read_items(file: Path, most: int | None) -> list[Item]:
    """The first items of each topic, all of them for None.

    Raises: InputError naming file and line for an id that comes twice, or options that do not share their verb.
    """
    rows = numbered_rows(file.read_bytes(), Item, file.name)
    first: dict[str, int] = {}
    for line, item in rows:
        if item.id in first:
            raise InputError("item comes twice", where=f"{file.name}:{first[item.id]} and {line}", value=item.id)
        first[item.id] = line
        if verb_of(item.go) != verb_of(item.stay):
            allowed = "the same words up to the verb behind should"
            raise InputError("options share no verb", where=f"{file.name}:{line}", value=item.id, allowed=allowed)
        if item.question_go == item.question_stay:
            raise InputError("item without both keys", where=f"{file.name}:{line}", value=item.id)
    return first_of_each([item for _, item in rows], lambda item: item.topic, most)


def read_advised(file: Path, held_out: Path) -> dict[str, Advised]:
    """The two replies to each item that has them, by item.

    Raises: InputError naming file and line for an item that comes twice or is not held out, or for equal replies.
    """
    known = {item.id for item in read_jsonl(held_out, Item)}
    found: dict[str, Advised] = {}
    for line, row in numbered_rows(file.read_bytes(), Advised, file.name):
        where = f"{file.name}:{line}"
        if row.item not in known:
            raise InputError("advice on no item", where=where, value=row.item, allowed=f"the items of {held_out.name}")
        if row.item in found:
            raise InputError("advice on one item comes twice", where=where, value=row.item)
        if row.go == row.stay:
            raise InputError("both sides are advised in the same words", where=where, value=row.item)
        found[row.item] = row
    return found


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a plain text, separated by empty lines. Raises: InputError if there is none."""
    found = [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]
    if not found:
        raise InputError("no neutral text", where="neutral.txt")
    return found


def verb_of(option: str) -> str:
    """The word behind should, with which an option begins to say what is to be done; the whole text without one."""
    found = re.search(r"\bshould (\w+)", option)
    return found[1] if found else option
