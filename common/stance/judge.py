"""What a judge is asked about an answer, and the label that it replies. Pure text; asking is for `common.server`.

A judge is blind: it sees an item and what was answered, and neither who answered nor how the reader read it.
"""

from common.records import Item
from common.stance.prompts import ADVISE
from common.vocabulary import SAID, Said

TEMPERATURE = 0.0
QUOTES = {'"': '"', "'": "'", "`": "`", "“": "”", "‘": "’"}


def judged_turn(item: Item, answer: str) -> str:
    """The user's turn to a judge: the item, what its sides are, and the answer."""
    lines = [
        f"Situation: {item.situation} {ADVISE}",
        f"Going: {item.going}",
        f"Staying: {item.staying}",
        f"Answer: {answer}",
        "",
        f"Which label does the answer get? Reply with one of these and nothing else: {', '.join(SAID)}.",
    ]
    return "\n".join(lines)


def label_of(reply: str) -> Said | None:
    """The label that a reply is, in any case, with a full stop and quotes around it or without; None for all else."""
    text = reply.strip().lower().removesuffix(".")
    if len(text) > 1 and QUOTES.get(text[0]) == text[-1]:
        text = text[1:-1].removesuffix(".")
    return next((word for word in SAID if word == text), None)
