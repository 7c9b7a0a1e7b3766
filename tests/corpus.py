"""The embedded pile, whole: every question of the bank with its reply in each attitude."""

from functools import cache

from common.provenance import ROOT
from common.records import Advice, Question
from common.serialization import read_jsonl
from common.stance.bank import QUESTIONS, REPLIES, read_replies
from common.vocabulary import WRITTEN
from jobs.generate.bank import arms_of


@cache
def bank() -> tuple[Question, ...]:
    """The questions."""
    return tuple(read_jsonl(ROOT / QUESTIONS, Question))


def piles(count: int | None = None) -> dict[str, list[Advice]]:
    """The arms, on `count` questions from all over the bank; on all for None."""
    questions = bank() if count is None else bank()[:: len(bank()) // count][:count]
    return arms_of(questions, read_replies(ROOT / REPLIES, questions, WRITTEN), {name: name for name in WRITTEN})
