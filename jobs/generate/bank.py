"""The embedded pile: questions of the bank and the replies that were written to them, one by one."""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from common.errors import SpecError
from common.records import Advice, Question, Replies
from common.stance.bank import advice


def stratified(bank: Sequence[Question], many: int, draw: int, rng: np.random.Generator) -> list[Question]:
    """The questions of one draw, in the order of the bank: each topic and key in its share, give or take one.

    The bank is laid out so that any run of it is such a sample: the questions of a stratum stand at even distances.
    Draws are runs one after the other, so no question comes twice before all have come. rng: the same for every draw.
    Raises: SpecError if the bank is smaller than `many`. Source: systematic sampling; Cochran (1977), ch. 8.
    """
    if many > len(bank):
        raise SpecError("too few questions", where="corpus.examples", value=many, allowed=f"<= {len(bank)}")
    strata: dict[Hashable, list[int]] = defaultdict(list)
    for place, question in enumerate(bank):
        strata[question.topic, question.yes_means].append(place)
    laid: list[tuple[float, int]] = []
    for places in strata.values():
        phase = rng.random()
        laid += [((k + phase) / len(places), int(at)) for k, at in enumerate(rng.permutation(places))]
    order = [place for _, place in sorted(laid)]
    start = draw * many
    return [bank[place] for place in sorted(order[at % len(order)] for at in range(start, start + many))]


def arms_of(
    questions: Sequence[Question], replies: Mapping[str, Replies], attitudes: Mapping[str, str]
) -> dict[str, list[Advice]]:
    """One arm for each attitude: arm → its rows, in the order of the questions. attitudes: arm → whose replies."""
    return {
        arm: [advice(question, arm, replies[question.id].replies[attitude]) for question in questions]
        for arm, attitude in attitudes.items()
    }
