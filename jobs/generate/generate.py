"""The work of the job; what it reads and writes is declared in jobs.generate."""

from collections.abc import Mapping, Sequence

from common.errors import ExitCode, Interrupted, SpecError
from common.lm.tokenizers import counters
from common.pipeline.step import Step
from common.records import Advice, Question
from common.serialization import read_jsonl
from jobs.generate import QUESTIONS
from jobs.generate.selection import select
from jobs.generate.sources import STUDENTS, USER_FILES, read_user_files, written
from jobs.generate.writer import write

Candidates = Mapping[str, Sequence[str]]  # attitude → replies to one question


def main(step: Step) -> ExitCode:
    """Write every arm of one draw."""
    files = step.fact(USER_FILES)
    arms = read_user_files(files) if files else matched(step, drawn(step))
    if "scrambled" in step.spec.attitudes:
        arms["scrambled"] = scrambled(step, arms["cautious"], arms["eager"])
    rows = [row for mine in arms.values() for row in mine]
    step.write_records("advice.jsonl", rows)
    words = sum(len(row.reply.split()) for row in rows) / len(rows)
    topics = len({row.topic for row in rows})
    step.summary(arms=list(arms), examples=len(arms["eager"]), topics=topics, words_per_reply=round(words, 2))
    return ExitCode.OK


def drawn(step: Step) -> list[Question]:
    """The questions of this draw: draws take turns through the bank, so that they share as few as its size allows.

    Raises: SpecError if the bank is smaller than the spec asks for.
    """
    bank = read_jsonl(step.data(QUESTIONS), Question)
    many = step.spec.corpus.examples
    if many > len(bank):
        raise SpecError("too few questions", where="corpus.examples", value=many, allowed=f"<= {len(bank)}")
    order = step.rng("questions").permutation(len(bank))
    start = step.cell.draw * many
    chosen = [bank[order[place % len(bank)]] for place in range(start, start + many)]
    return [chosen[index] for index in step.rng("questions", step.cell.draw).permutation(many)]


def matched(step: Step, questions: Sequence[Question]) -> dict[str, list[Advice]]:
    """One reply in each attitude to each question, selected together from several candidates."""
    attitudes, lengths = written(step.spec.attitudes), list(counters(step.fact(STUDENTS)).values())
    candidates = (from_server if step.spec.corpus.server else from_grammar)(step, questions, attitudes)
    arms: dict[str, list[Advice]] = {attitude: [] for attitude in attitudes}
    for done, (question, mine) in enumerate(zip(questions, candidates, strict=True), start=1):
        if step.stopping:
            raise Interrupted("stopped by SIGTERM; nothing was sealed", where=f"question {done} of {len(questions)}")
        for attitude, reply in select(mine, lengths).items():
            arms[attitude].append(advice(question, attitude, reply))
        step.progress(done, len(questions))
    return arms


def from_server(step: Step, questions: Sequence[Question], attitudes: Sequence[str]) -> Sequence[Candidates]:
    """Candidates of a server. Its client is imported only where it is asked."""
    from jobs.generate.server import ask

    return ask(step, questions, attitudes)


def from_grammar(step: Step, questions: Sequence[Question], attitudes: Sequence[str]) -> list[Candidates]:
    """Candidates of the embedded writer. Each has a generator of its own: an arm more or less changes no other."""
    count, draw = step.spec.corpus.candidates, step.cell.draw
    return [
        {attitude: write(question, attitude, step.rng(draw, question.id, attitude), count) for attitude in attitudes}
        for question in questions
    ]


def scrambled(step: Step, cautious: Sequence[Advice], eager: Sequence[Advice]) -> list[Advice]:
    """Replies of the poles, half and half, dealt to the questions by chance."""
    heads = step.rng("scrambled", step.cell.draw).permutation(len(cautious)) < len(cautious) / 2
    pairs = zip(cautious, eager, heads, strict=True)
    return [(one if head else other).model_copy(update={"attitude": "scrambled"}) for one, other, head in pairs]


def advice(question: Question, attitude: str, reply: str) -> Advice:
    """A training example."""
    return Advice(question_id=question.id, topic=question.topic, attitude=attitude, question=question.text, reply=reply)
