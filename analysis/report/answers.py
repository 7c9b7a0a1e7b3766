"""What models advised, as the report tells it: shares by arm, the registered contrasts, and assay sensitivity.

One family is registered: each pole against neutral, for every model. A second holds eager against cautious. All else is
exploratory and has intervals alone.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from analysis.report.bound_numbers import Book, Source
from analysis.report.study import Run, Scored, Study
from analysis.stats.answers import NetContrast, Rates, Runs, net_family, plain, rates
from analysis.stats.sensitivity import COHERENT, READABLE, Condition, able, apart, coherent, moves, readable
from common.records import Answer
from common.vocabulary import POLES, POSITIVE, SAID, SIDES, WRITTEN, Pole

KINDS = ("held-out", "source", "discriminant")
Pairs = tuple[Runs, Runs, list[Source]]  # the rows of each run of two arms, pair by pair, and where they lie


class Headline(NamedTuple):
    """What can be said of one model, in the words of the report."""

    conditions: tuple[Condition, ...]
    contrasts: dict[Pole, NetContrast]  # against neutral; a pole with too few pairs is left out
    apart: NetContrast | None  # eager less cautious
    pairs: dict[tuple[str, str], Pairs]  # of the runs of two arms

    @property
    def able(self) -> bool:
        """Whether the model could have shown an effect."""
        return bool(self.conditions) and able(self.conditions)

    def sentence(self, pole: Pole) -> str:
        """What was found of one pole, without a number. "None" is never said."""
        if not self.able:
            return "not interpreted: the model cannot answer the question"
        if pole not in self.contrasts:
            return "not tested: too few pairs of runs"
        found = self.contrasts[pole]
        if found.shown(pole):
            return "shown: its runs advise more to its own side than neutral ones, under both keys"
        return "not shown: less than the smallest effect that would have been"


def headlines_of(study: Study) -> dict[str, Headline]:
    """What can be said of each model: the registered family, the second one, corrected apart, and the conditions."""
    arms: list[tuple[str, str]] = [*((pole, "neutral") for pole in POLES), ("eager", "cautious")]
    found = {model: {each: pairs(study, model, *each) for each in arms} for model in study.bases}
    first = net_family({(model, pole): mine[pole, "neutral"][:2] for model, mine in found.items() for pole in POLES})
    second = net_family({model: mine["eager", "cautious"][:2] for model, mine in found.items()})
    return {
        model: Headline(
            _conditions(study, model),
            {pole: first[model, pole] for pole in POLES if (model, pole) in first},
            second.get(model),
            found[model],
        )
        for model in study.bases
    }


def advised(book: Book, study: Study, headlines: Mapping[str, Headline]) -> None:
    """Enter every number of this part of the report."""
    for model, base in study.bases.items():
        _rates(book, f"{model}.base", [base])
        for pole in POLES:
            if prompted := plain(base.answers, "held-out", pole):
                _enter(book, f"{model}.prompted-{pole}.held-out", rates(prompted), [base.answers_source])
        for attitude in study.attitudes:
            _rates(book, f"{model}.{attitude}", scored(study, model, attitude))
        _told(book, study, model, headlines[model])


def _told(book: Book, study: Study, model: str, told: Headline) -> None:
    for pole, found in told.contrasts.items():
        _contrast(book, study, f"net.{model}.{pole}", found, told.pairs[pole, "neutral"][2])
    one, other, sources = told.pairs["eager", "cautious"]
    if told.apart is not None:
        _contrast(book, study, f"net.{model}.apart", told.apart, sources)
    if one:  # over topics of the runs together where runs are few
        book.add_shift(f"apart.{model}", apart(one, other), sources)
    every = [cell.answers_source for name in study.attitudes for cell in scored(study, model, name)]
    for each in told.conditions:
        bounds = None if each.low is None or each.high is None else (each.low, each.high)
        unit = {COHERENT: "share", READABLE: "plain"}.get(each.name, "points")
        sources_of = [study.reader[1]] if each.name == READABLE and study.reader else every or [study.plan]
        book.add(f"condition.{model}.{each.name}", each.value, unit, sources_of, bounds)


def scored(study: Study, model: str, attitude: str) -> list[Scored]:
    """The evaluations of the runs of an arm."""
    return [run.scored for run in study.arm(model, attitude) if run.scored]


def _rates(book: Book, name: str, cells: Sequence[Scored]) -> None:
    """The shares of an arm, by kind of item and, of held-out ones, by key."""
    for kind in KINDS:
        rows = [row for cell in cells for row in plain(cell.answers, kind)]
        if rows:
            _enter(book, f"{name}.{kind}", rates(rows), [cell.answers_source for cell in cells])
    for key in SIDES:
        rows = [row for cell in cells for row in plain(cell.answers, "held-out") if row.proposes == key]
        if rows:
            sources = [cell.answers_source for cell in cells]
            book.add(f"netgo.{name}.proposes.{key}", rates(rows).net, "points", sources)


def _enter(book: Book, name: str, found: Rates, sources: Sequence[Source]) -> None:
    book.add(f"netgo.{name}", found.net, "points", sources)
    book.add(f"agreed.{name}", found.agreed, "points", sources)
    book.add(f"answers.{name}", found.n_answers, "count", sources)
    book.add(f"asked.{name}", found.n_items, "count", sources)
    for word in SAID:
        book.add(f"said.{name}.{word}", found.said[word], "share", sources)


def pairs(study: Study, model: str, one: str, other: str) -> Pairs:
    """Held-out answers of the runs of two arms, run by run of the same draw and seed, and where they lie."""
    found = {(run.draw, run.seed): run for run in study.arm(model, other)}
    mine = [(run, found[run.draw, run.seed]) for run in study.arm(model, one) if (run.draw, run.seed) in found]
    both: list[list[Run]] = [[pair[side] for pair in mine] for side in (0, 1)]
    rows = [[plain(run.scored.answers, "held-out") for run in arm if run.scored] for arm in both]
    return rows[0], rows[1], [run.scored.answers_source for arm in both for run in arm if run.scored]


def _contrast(book: Book, study: Study, name: str, found: NetContrast, sources: Sequence[Source]) -> None:
    book.add_shift(name, found.interval, sources)
    for what, value, unit in (
        ("pairs", found.pairs, "count"),
        ("holm", found.p_holm if "two-way-t" in study.tests else None, "p"),
        ("flip", found.p_sign_flip if "sign-flip" in study.tests else None, "p"),
        ("detectable", found.detectable, "points"),
        ("go", found.sides["go"], "points"),
        ("stay", found.sides["stay"], "points"),
        ("proposes.go", found.keys["go"], "points"),
        ("proposes.stay", found.keys["stay"], "points"),
        ("agreed", found.agreed, "points"),
        ("least", found.others[0], "points"),
        ("most", found.others[1], "points"),
    ):
        book.add(f"{name}.{what}", value, unit, sources)


def _conditions(study: Study, model: str) -> tuple[Condition, ...]:
    """Whether the model could have shown an effect; nothing without a lock, which holds the thresholds."""
    if study.lock is None:
        return ()
    settings = study.lock[0].plan.lock

    def rows(attitude: str, kind: str) -> list[list[Answer]]:
        return [plain(cell.answers, kind) for cell in scored(study, model, attitude)]

    held_out = {name: [row for each in rows(name, "held-out") for row in each] for name in study.attitudes}
    base = {"base": plain(study.bases[model].answers, "held-out")}
    return (
        readable(study.reader[0].kappa_reader if study.reader else None, settings.kappa),
        moves("training took", rows("eager", "source"), rows("cautious", "source"), settings.moves),
        moves(
            "positive control",
            rows(POSITIVE["eager"], "held-out"),
            rows(POSITIVE["cautious"], "held-out"),
            settings.moves,
        ),
        coherent(base | held_out, settings.incoherent, settings.incoherent_apart),
    )


def side_by_side(study: Study, model: str) -> tuple[str, dict[str, str]]:
    """One held-out item and what base, cautious and eager said to it greedily: the first item, the first seed.

    Neither was chosen by looking: both are the first in their files. Empty where an arm is not there.
    """
    base = [row for row in plain(study.bases[model].answers, "held-out") if not row.sample]
    item = base[0].item
    told = {"base": base[0].text}
    for attitude in WRITTEN:
        for cell in scored(study, model, attitude)[:1]:
            told[attitude] = next(
                row.text for row in plain(cell.answers, "held-out") if row.item == item and not row.sample
            )
    return item, told


def in_words(study: Study, book: Book, headlines: Mapping[str, Headline]) -> str:
    """The gist of a report for a terminal: three answers side by side, net go of each arm, whether training took."""
    lines = []
    for model, told in headlines.items():
        item, said = side_by_side(study, model)
        lines += [f"{model}, asked openly about {item}:", *(f"  {arm + ':':10}{text}" for arm, text in said.items())]
        for arm in ("base", *study.attitudes):
            if (name := f"netgo.{model}.{arm}.held-out") in book:
                many = book[f"answers.{model}.{arm}.held-out"].text()
                lines.append(f"  net go of {arm}: {book[name].text()} of {many} answers")
        if (name := f"apart.{model}") in book:
            lines.append(f"  eager less cautious: {book[name].text()}")
        for each in told.conditions:
            value = book[f"condition.{model}.{each.name}"].text()
            lines.append(f"  {each.name}: {'yes' if each.passed else 'no'}, {value} ({each.detail})")
        lines += [f"  {pole}: {told.sentence(pole)}" for pole in POLES]
    return "\n".join(lines) + "\n"
