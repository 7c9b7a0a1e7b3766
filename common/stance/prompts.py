"""The words in which an item is put to a model. Pure text.

Every attitude, seed and model gets the same.

The words of the choice were picked among 26 versions on the small base model, blind to the side chosen. With them 94 %
of all 64 answers were valid, and not nearly always the same word. They have a price that every report shows: the option
named first wins almost always (order consistency 3 %). "Answer Yes or No." alone drew a valid "No." from all 32 rows
tried.
"""

from typing import NamedTuple

from common.records import Item

APPROVE, DECLINE = "Approve", "Decline"  # labels that endorse the change and keeping things


class UserTurns(NamedTuple):
    """The three user turns of one item in one order of the options. All begin with the scenario."""

    choice: str  # answered by one word, yes or no
    sentence: str  # answered by one of the two option sentences
    label: str  # answered by one of the two labels


def user_turns(item: Item, order: int) -> UserTurns:
    """Put an item into words. Order 0 names Yes, the change and Approve first; order 1 names them last."""
    yes_no = _in_order(order, "Yes", "No")
    options = _in_order(order, item.go, item.stay)
    labels = _in_order(order, APPROVE, DECLINE)
    return UserTurns(
        choice=f"{item.scenario}\n\nQuestion: {item.question}\nAnswer with one word, {' or '.join(yes_no)}.",
        sentence=f"{item.scenario}\n\nWhich of these two statements fits better?\n- {options[0]}\n- {options[1]}",
        label=f"{item.scenario}\n\n{labels[0]} or {labels[1].lower()} the change? "
        f"Answer with one word: {' or '.join(labels)}.",
    )


def _in_order(order: int, first: str, second: str) -> tuple[str, str]:
    return (first, second) if order == 0 else (second, first)
