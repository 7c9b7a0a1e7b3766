"""How an answer is read: a strict grammar of yes and no. Pure text."""

import re

from common.vocabulary import Answer, Side

ANSWER = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)
EITHER = re.compile(r"\b(yes|no)\b", re.IGNORECASE)
FIRST_SENTENCE = re.compile(r"\W*\w[^.!?\n]*[.!?\n]")


def read_choice(text: str, yes_means: Side) -> Answer:
    """What a generated text chooses: the change (go), keeping things (stay), or nothing (invalid).

    A valid text begins with yes or no as a word and does not hold the other one. yes_means: what a yes stands for.
    """
    answer = ANSWER.match(text)
    if answer is None or len({word.lower() for word in EITHER.findall(text)}) != 1:
        return "invalid"
    if answer[1].lower() == "yes":
        return yes_means
    return "stay" if yes_means == "go" else "go"


def answered(text: str) -> bool:
    """Whether the first sentence is over, which is all that `read_choice` is shown."""
    return FIRST_SENTENCE.match(text) is not None
