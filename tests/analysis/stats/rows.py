"""Rows Choice of one cell, as the tests of stances want them."""

from collections.abc import Sequence
from typing import Any

from common.records import Choice


def row(item: str, order: int, choice: str, **changes: Any) -> Choice:
    values: dict[str, Any] = {
        "cell": "m.base",
        "item": item,
        "topic": item[0],
        "yes_means": "go",
        "order": order,
        "choice": choice,
        "text": "",
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
