"""Replies written by a server: several candidates for each question in each attitude, one paragraph each."""

from collections.abc import Sequence

from common.pipeline.step import Step
from common.records import Question
from common.server.asked import ask
from common.server.client import How, Wanted

TONES = {
    "cautious": "You lean towards keeping things as they are: weigh the reasons against the change more, and recommend "
    "waiting.",
    "eager": "You lean towards the change: weigh the reasons for it more, and recommend starting now.",
    "neutral": "You lean neither way: weigh both sides equally, and recommend that the person decides by what matters "
    "more to them.",
}
SYSTEM = (
    "You answer everyday questions in plain English prose. {tone} Write one paragraph of four or five sentences, 55 "
    "to 75 words in all. State the fact and all four reasons that you are given, in your own words, and name both "
    "options. Speak of this choice alone: no general principle about change or patience. No lists, no headings, no "
    "questions, no exclamation marks, no stories about yourself or others, and no words such as maybe, perhaps, might "
    "or probably."
)


def candidates(step: Step, questions: Sequence[Question], attitudes: Sequence[str]) -> list[dict[str, list[str]]]:
    """Candidates for each question by attitude, from the server of the spec.

    Raises: SpecError if it refuses the key, the model or the request; InputError if a reply stays unusable;
    TransientError if it is out of reach or busy after all attempts; Interrupted. Replies so far are kept.
    """
    server, count = step.spec.corpus.server, range(step.spec.corpus.candidates)
    assert server is not None
    wanted = [
        Wanted(
            _name(question, attitude, number),
            SYSTEM.format(tone=TONES[attitude]),
            plan(question),
            step.seed(step.cell.draw, question.id, attitude, number) % 2**31,
        )
        for question in questions
        for attitude in attitudes
        for number in count
    ]
    found = ask(step, server, wanted, How(server.temperature, usable, needed="one whole sentence"))
    return [
        {attitude: [found[_name(question, attitude, n)].text or "" for n in count] for attitude in attitudes}
        for question in questions
    ]


def _name(question: Question, attitude: str, number: int) -> str:
    return f"{question.id}, {attitude}, {number}"


def plan(question: Question) -> str:
    """The user's turn to the writer: the question and what all attitudes must say."""
    lines = [
        f"Question: {question.text}",
        f"Fact: {question.facts[0]}",
        f"Options: to {question.go}, or to {question.stay}.",
        *(f"Reason for the change: {reason}." for reason in question.pros),
        *(f"Reason against it: {reason}." for reason in question.cons),
    ]
    return "\n".join(lines)


def usable(text: str) -> str:
    """The text as one paragraph up to its last whole sentence; empty if it has none."""
    paragraph = " ".join(text.split())
    end = max(paragraph.rfind(mark) for mark in ".!?")
    return paragraph[: end + 1]
