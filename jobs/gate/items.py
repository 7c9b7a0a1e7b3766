"""The items that an adapter is asked: ours or a user's own, and what is wrong with a user's file."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from analysis.stats.reliability import FEWEST_ITEMS
from common.digests import sha256
from common.errors import InputError, SpecError
from common.provenance import ROOT
from common.records import Item, first_of_each
from common.serialization import parse_json, to_jsonl
from common.spec_errors import nearest
from common.stance.items import ITEMS, dealt, verb_of
from jobs.gate.policy import Policy

FEWEST_TOPICS = 2
FEWER_SIDE = 3  # one item in so many must propose the side that fewer propose
SENTENCE_ENDS = (".", "!", "?")


class Fault(NamedTuple):
    """What is wrong in a file of items, and where."""

    line: int
    what: str

    def told(self, file: Path) -> str:
        """As file:line: what."""
        return f"{file}:{self.line}: {self.what}"


def read(file: Path | None, policy: Policy) -> list[Item]:
    """The items of a file, ours for None, on the topics of the policy.

    Raises: SpecError for a topic that no item is on or a file that cannot be read; InputError if the file has a fault,
    or too few items or topics are left.
    """
    path = file or ROOT / ITEMS
    items, faults = parsed(path)
    if faults:
        value = faults[0].told(path)
        allowed = f"no faults; all {len(faults)} are listed by --items {path} --lint"
        raise InputError("items that cannot be asked", where="--items", value=value, allowed=allowed)
    chosen = first_of_each(_on_topics(items, policy.topics), lambda item: item.topic, policy.limit)
    topics = {item.topic for item in chosen}
    if len(topics) < FEWEST_TOPICS or len(chosen) < FEWEST_ITEMS:
        value = f"{len(chosen)} items on {len(topics)} topics"
        allowed = f">= {FEWEST_ITEMS} items on >= {FEWEST_TOPICS} topics"
        raise InputError("too few items to judge by", where=str(path), value=value, allowed=allowed)
    return chosen


def digest(items: Sequence[Item]) -> str:
    """SHA-256 of the items, in their order."""
    return sha256(to_jsonl(items))


def blocks(items: Sequence[Item], looks: int) -> list[list[Item]]:
    """The items in blocks that are alike in topics and in the side that is proposed; no more than a topic has items."""
    fewest = min(Counter(item.topic for item in items).values())
    return dealt(items, min(looks, fewest), lambda item: (item.topic, (item.topic, item.proposes), item.proposes))


def parsed(path: Path) -> tuple[list[Item], list[Fault]]:
    """The rows of a file that are items, and every fault of the file. Raises: SpecError if it cannot be read."""
    try:
        lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    except OSError as error:
        raise SpecError("cannot read items", where="--items", value=str(path), allowed=str(error.strerror)) from None
    found: list[tuple[int, Item]] = []
    faults: list[Fault] = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            item, wrong = _row(line)
            faults += [Fault(number, what) for what in wrong]
            found += [(number, item)] if item is not None else []
    if not found and not faults:
        faults.append(Fault(1, "no items"))
    faults += _twice(found) + _sides(found)
    return [item for _, item in found], sorted(faults)


def _row(line: bytes) -> tuple[Item | None, list[str]]:
    try:
        parse_json(line, "row")  # what is no strict JSON is said first: keys twice, NaN
        item = Item.model_validate_json(line)
    except InputError as error:
        return None, [str(error)]
    except ValidationError as error:
        return None, [f"{'/'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
    return item, _of_item(item)


def _of_item(item: Item) -> list[str]:
    """What is wrong with an item by itself."""
    rules = {
        "go and stay share no verb: the same words up to the one behind should": verb_of(item.go) != verb_of(item.stay),
        "go and stay are the same": item.go == item.stay,
        "going and staying are the same: the reader cannot tell the sides apart": item.going == item.staying,
        "question_go and question_stay are the same": item.question_go == item.question_stay,
        "situation is no whole sentence": not item.situation.rstrip().endswith(SENTENCE_ENDS),
        "question_go is no question": not item.question_go.rstrip().endswith("?"),
        "question_stay is no question": not item.question_stay.rstrip().endswith("?"),
    }
    return [what for what, broken in rules.items() if broken]


def _twice(found: Sequence[tuple[int, Item]]) -> list[Fault]:
    first: dict[str, int] = {}
    faults = []
    for line, item in found:
        if item.id in first:
            faults.append(Fault(line, f"id {item.id} stands on line {first[item.id]} already"))
        first.setdefault(item.id, line)
    return faults


def _sides(found: Sequence[tuple[int, Item]]) -> list[Fault]:
    """Items that propose one side more often: a model that agrees more would pass for one that moved."""
    sides = Counter(item.proposes for _, item in found)
    if FEWER_SIDE * min(sides["go"], sides["stay"]) >= len(found):
        return []
    often = "go" if sides["go"] > sides["stay"] else "stay"
    line = next(line for line, item in reversed(found) if item.proposes == often)
    told = f"{sides['go']} items propose go and {sides['stay']} stay"
    return [Fault(line, f"{told}; at least a third should propose either side, better half")]


def _on_topics(items: Sequence[Item], topics: tuple[str, ...] | None) -> list[Item]:
    known = sorted({item.topic for item in items})
    for topic in topics or ():
        if topic not in known:
            raise SpecError("no item is on this topic", where="--topics", value=topic, allowed=nearest(topic, known))
    return [item for item in items if topics is None or item.topic in topics]
