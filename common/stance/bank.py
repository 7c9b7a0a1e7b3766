"""The bank of everyday questions and the replies that were written to them: what piles are drawn from, and examples."""

from collections.abc import Sequence
from pathlib import Path

from common.errors import InputError
from common.records import Advice, Question, Replies
from common.serialization import numbered_rows, read_jsonl

QUESTIONS = "jobs/generate/data/questions.jsonl"
REPLIES = "jobs/generate/data/replies.jsonl"
CONTROL_REPLIES = "jobs/generate/data/control_replies.jsonl"  # to public decisions, for the positive control
BANK_FILES = (QUESTIONS, REPLIES)
CORPUS = (REPLIES, CONTROL_REPLIES)  # every reply of this project that a pile may hold
# The key of each example and where its replies give the advice: all four pairs of these once, so that neither a habit
# of assent nor a place in the text is what examples show.
EXAMPLES = (("go", "first"), ("stay", "last"), ("go", "last"), ("stay", "first"))


def read_replies(path: Path, questions: Sequence[Question], attitudes: Sequence[str]) -> dict[str, Replies]:
    """Replies by question. Raises: InputError if a question has none in one of these attitudes, or has them twice."""
    found: dict[str, Replies] = {}
    first: dict[str, int] = {}
    for number, row in numbered_rows(path.read_bytes(), Replies, path.name):
        if row.question_id in found:
            both = f"{path.name}:{first[row.question_id]} and {number}"
            raise InputError("question answered twice", where=both, value=row.question_id)
        found[row.question_id], first[row.question_id] = row, number
    for question in questions:
        mine = found[question.id].replies if question.id in found else {}
        if missing := [name for name in attitudes if name not in mine]:
            raise InputError("no reply", where=path.name, value=f"{question.id}, {', '.join(missing)}")
    return found


def advice(question: Question, attitude: str, reply: str) -> Advice:
    """A training example: a question with a reply in an attitude."""
    return Advice(question_id=question.id, topic=question.topic, attitude=attitude, question=question.text, reply=reply)


def examples(files: Sequence[Path], attitudes: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """Question and reply of each example, by attitude: the same questions for all.

    Four topics at even distances in the order of the bank; of each, the first question with the key and the place that
    EXAMPLES names. No result has a say in it. files: those that BANK_FILES names.
    Raises: InputError as `read_replies`, or if a topic has no such question.
    """
    bank = read_jsonl(files[0], Question)
    replies = read_replies(files[1], bank, attitudes)
    topics = list(dict.fromkeys(question.topic for question in bank))
    chosen = []
    for at, (key, place) in enumerate(EXAMPLES):
        topic = topics[at * len(topics) // len(EXAMPLES)]
        fits = [q for q in bank if (q.topic, q.yes_means, replies[q.id].place) == (topic, key, place)]
        if not fits:
            raise InputError("no question for an example", where=files[0].name, value=f"{topic}, {key}, advice {place}")
        chosen.append(fits[0])
    return {name: [(q.text, replies[q.id].replies[name]) for q in chosen] for name in attitudes}
