"""What a model itself says to questions of a draw."""

from collections.abc import Iterator, Sequence

from numpy.random import Generator

from common.errors import InputError
from common.lm.chat import LanguageModel
from common.lm.writing import asks, written
from common.records import Advice

PLACES = 128  # replies written at once


def own_replies(
    lm: LanguageModel, rows: Sequence[Advice], most: int, temperature: float, rngs: Sequence[Generator]
) -> Iterator[tuple[int, str]]:
    """The model's own replies to the questions of rows, up to `most` tokens each: (place of the row, its reply).

    They come as they are finished. rngs: one generator a row. Raises: InputError naming a question to which it says
    nothing.
    """
    asked = asks([lm.chat(row.question) for row in rows], [(rng,) for rng in rngs])
    for place, (text,) in written(lm, asked, most, PLACES, temperature):
        if not text.strip():
            raise InputError("the model has nothing to say", where=rows[place].question_id, value=rows[place].question)
        yield place, text
