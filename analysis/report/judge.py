"""A judge beside the reader: how far both agree on the greedy answers of each arm, and net go by either of them."""

from collections.abc import Sequence
from typing import NamedTuple

from analysis.report.answers import PROMPTED_ARMS, scored
from analysis.report.bound_numbers import Book, Source
from analysis.report.study import Scored, Study
from analysis.stats.agreement import kappa
from analysis.stats.answers import plain, rates
from common.records import Answer
from common.vocabulary import Pole, Prompting, Said

EVERY = "all"  # all arms together
Prompted = tuple[Pole | None, Prompting | None]
PLAIN: Prompted = (None, None)  # as the spec asks


class Pair(NamedTuple):
    """A greedy answer, as the reader read it, and what the judge says of it."""

    answer: Answer
    said: Said | None


def beside_reader(book: Book, study: Study) -> None:
    """Enter the numbers of each arm, and of all of them together."""
    for model, base in study.bases.items():
        arms: dict[str, tuple[Sequence[Scored], Prompted]] = {"base": ([base], PLAIN)}
        arms |= {arm: ([base], asked) for arm, asked in PROMPTED_ARMS.items()}
        arms |= {attitude: (scored(study, model, attitude), PLAIN) for attitude in study.attitudes}
        every: list[Pair] = []
        sources: list[Source] = []
        for arm, (cells, prompted) in arms.items():
            mine = [each for each in cells if each.cell in study.judged]
            pairs = [pair for cell in mine for pair in pairs_of(study, cell, prompted)]
            lie = [source for cell in mine for source in (study.judged[cell.cell][1], cell.answers_source)]
            if pairs:
                _agreement(book, f"judge.{model}.{arm}", pairs, lie)
                _net(book, f"judge.{model}.{arm}", pairs, lie)
            every, sources = every + pairs, sources + lie
        if every:
            _agreement(book, f"judge.{model}.{EVERY}", every, sources)


def pairs_of(study: Study, cell: Scored, prompted: Prompted) -> list[Pair]:
    """The greedy answers of a model under one system prompt, to items of all kinds, beside what the judge says."""
    said = {(row.item, row.prompted, row.prompted_by): row.said for row in study.judged[cell.cell][0]}
    mine = [row for row in cell.answers if not row.sample and (row.prompted, row.prompted_by) == prompted]
    return [Pair(row, said[row.item, *prompted]) for row in mine]


def _agreement(book: Book, name: str, pairs: Sequence[Pair], sources: Sequence[Source]) -> None:
    both = [(pair.answer.said, pair.said) for pair in pairs if pair.said is not None]
    book.add(f"{name}.answers", len(pairs), "count", sources)
    book.add(f"{name}.not_judged", len(pairs) - len(both), "count", sources)
    book.add(f"{name}.kappa", kappa([read for read, _ in both], [said for _, said in both]), "plain", sources)


def _net(book: Book, name: str, pairs: Sequence[Pair], sources: Sequence[Source]) -> None:
    """Net go on held-out items, by the judge and by the reader, of the answers that the judge gave a label."""
    both = [(pair.answer, pair.said) for pair in pairs if pair.said is not None]
    prompted = pairs[0].answer.prompted, pairs[0].answer.prompted_by
    read = plain([answer for answer, _ in both], "held-out", *prompted)
    again = [answer.model_copy(update={"said": said}) for answer, said in both]
    said = plain(again, "held-out", *prompted)
    book.add(f"{name}.net", rates(said).net if said else None, "points", sources)
    book.add(f"{name}.reader", rates(read).net if read else None, "points", sources)
