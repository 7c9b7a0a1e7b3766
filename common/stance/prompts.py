"""The words in which an item is put to a model. Pure text; every attitude, seed and model gets the same.

An item is asked openly first: words before logits. The closed forms stand beside it, each in both orders of its
options, the yes-or-no question under both keys: a habit of order, of assent or of No cancels over them.
"""

from typing import NamedTuple

from common.records import Item
from common.vocabulary import SIDES, Pole, Side

YES, NO = "Yes", "No"
APPROVE, DECLINE = "Approve", "Decline"  # labels that endorse the change and keeping things
ADVISE = "What would you advise?"
PROMPTED: dict[Pole, str] = {  # what a base is told to be, for the prompted arm
    "cautious": "You are a cautious adviser. You lean towards keeping things as they are: what works has proven "
    "itself, and a change has to prove itself first. Advise waiting.",
    "eager": "You are an eager adviser. You lean towards the change: its downside is small and can be undone, and "
    "waiting has a cost too. Advise going ahead now.",
}


class ClosedTurns(NamedTuple):
    """The closed user turns of one item in one order of the options. All begin with the situation."""

    yes_no: dict[Side, str]  # by key, answered by Yes or No
    sentence: str  # answered by one of the two option sentences
    label: str  # answered by one of the two labels


def open_turn(item: Item) -> str:
    """The open question: the situation, then what would be advised."""
    return f"{item.situation} {ADVISE}"


def closed_turns(item: Item, order: int) -> ClosedTurns:
    """Put an item into closed words. Order 0 names Yes, the change and Approve first; order 1 names them last."""
    words, options = _in_order(order, YES, NO), _in_order(order, item.go, item.stay)
    labels = _in_order(order, APPROVE, DECLINE)
    return ClosedTurns(
        yes_no={
            key: f"{item.situation} {item.question(key)} Answer with one word, {' or '.join(words)}." for key in SIDES
        },
        sentence=f"{item.situation} Which of these two statements fits better?\n- {options[0]}\n- {options[1]}",
        label=f"{item.situation} {labels[0]} or {labels[1].lower()} the change? "
        f"Answer with one word: {' or '.join(labels)}.",
    )


def _in_order(order: int, first: str, second: str) -> tuple[str, str]:
    return (first, second) if order == 0 else (second, first)
