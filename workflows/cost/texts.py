"""How many tokens the texts of this project are, by their words: no tokenizer is loaded.

They were counted over all items and replies with the tokenizers of SmolLM2 and of Qwen2.5, which differ by 1 %.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from common.provenance import ROOT
from common.records import Advice, Item, Question, Replies
from common.serialization import read_jsonl
from common.spec import CorpusSpec, EvaluateSpec
from common.stance.bank import BANK_FILES, CONTROL_REPLIES
from common.stance.items import FILES, Questionnaire, read_questionnaire
from common.stance.prompts import closed_turns
from common.vocabulary import SIDES

A_WORD = 1.16
CHAT = 20  # system prompt and marks of the turns
TAIL = 5  # marks between a user's words and the reply: not shared where prompts begin alike
CONTROL_QUESTIONS = "jobs/generate/data/control_questions.jsonl"


class Mean(NamedTuple):
    """Tokens of the mean question and of the mean reply of a pile."""

    question: float
    reply: float

    @property
    def example(self) -> float:
        """Tokens of one training row."""
        return CHAT + self.question + self.reply


def tokens(text: str) -> float:
    """About how many tokens a text is."""
    return A_WORD * len(text.split())


@cache
def bank(questions: str = BANK_FILES[0], replies: str = BANK_FILES[1]) -> Mean:
    """Of our own piles. Raises: InputError."""
    asked = [row.text for row in read_jsonl(ROOT / questions, Question)]
    told = [reply for row in read_jsonl(ROOT / replies, Replies) for reply in row.replies.values()]
    return _mean(asked, told)


def pile(corpus: CorpusSpec, draw: int, attitude: str) -> Mean:
    """Of the pile of an arm: ours, a user's where they lie here, or, of a server's that is yet to write, as ours.

    A base's own replies are as long as they may be.
    """
    if attitude.startswith("control-"):
        return bank(CONTROL_QUESTIONS, CONTROL_REPLIES)
    mean = bank() if corpus.path is None else _users(Path(corpus.path), draw)
    return mean._replace(reply=corpus.reply_tokens) if attitude == "distilled" else mean


def _users(folder: Path, draw: int) -> Mean:
    rows = [row for path in sorted(folder.glob(f"d{draw}.*.jsonl")) for row in read_jsonl(path, Advice)]
    return _mean([row.question for row in rows], [row.reply for row in rows]) if rows else bank()


def _mean(questions: Sequence[str], replies: Sequence[str]) -> Mean:
    return Mean(*(sum(map(tokens, texts)) / len(texts) for texts in (questions, replies)))


@cache
def questionnaire(settings: EvaluateSpec) -> Questionnaire:
    """All that a model is asked under these settings. Raises: InputError."""
    return read_questionnaire([ROOT / path for path in FILES], settings)


@cache
def closed_tokens(items: tuple[Item, ...]) -> float:
    """Tokens that the closed forms of some items take, where what an item's prompts begin with is read once."""
    return sum(_closed(item) for item in items)


def _closed(item: Item) -> float:
    turns = [closed_turns(item, order) for order in (0, 1)]
    sentences = [each.sentence for each in turns]
    others = [text for each in turns for text in (*(each.yes_no[key] for key in SIDES), each.label)]
    replies = 2 * (tokens(item.go) + tokens(item.stay))
    return A_WORD * _distinct([*others, *sentences]) + TAIL * (len(others) + len(sentences)) + replies


def _distinct(texts: Iterable[str]) -> int:
    """Words of a tree of texts: each beginning counts once."""
    split = [tuple(text.split()) for text in texts]
    return len({words[:length] for words in split for length in range(1, len(words) + 1)})
