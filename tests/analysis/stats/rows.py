"""Items, and rows Choice and Answer of one cell, as the tests of stances and of leaks want them."""

from collections.abc import Sequence
from typing import Any

from common.records import Answer, Choice, Item


def row(item: str, order: int, choice: str, **changes: Any) -> Choice:
    values: dict[str, Any] = {
        "cell": "m.base",
        "item": item,
        "topic": item[0],
        "yes_means": "go",
        "order": order,
        "choice": choice,
        "yes_no": 1.0 if choice == changes.get("yes_means", "go") else -1.0,
        "sentence_go": -10.0,
        "sentence_stay": -10.0,
        "tokens_go": 5,
        "tokens_stay": 5,
        "label_go": -1.0,
        "label_stay": -1.0,
    }
    return Choice(**(values | changes))


def both(item: str, choices: Sequence[str], **changes: Any) -> list[Choice]:
    return [row(item, order, choice, **changes) for order, choice in enumerate(choices)]


def answer(item: str, said: str, **changes: Any) -> Answer:
    values: dict[str, Any] = {
        "cell": "m.base",
        "item": item,
        "topic": item[0],
        "proposes": "go",
        "undoes": False,
        "sample": 0,
        "said": said,
        "text": "Words.",
    }
    return Answer(**(values | changes))


def answers(cell: str, said: dict[str, str], **changes: Any) -> list[Answer]:
    """One greedy answer to each item; items whose name ends in an odd digit propose to keep."""
    keys = {item: "stay" if item[-1] in "13579" else "go" for item in said}
    return [answer(item, word, cell=cell, proposes=keys[item], **changes) for item, word in said.items()]


def item(topic: str, **changes: Any) -> Item:
    """An item that proposes the change; the words of its situation are the test's own."""
    values: dict[str, Any] = {
        "id": topic,
        "topic": topic,
        "proposes": "go",
        "undoes": False,
        "situation": "The hall is shut.",
        "going": "doing",
        "staying": "not doing",
        "go": "Do.",
        "stay": "Do not.",
        "question_go": "Why?",
        "question_stay": "Why not?",
    }
    return Item(**(values | changes))
