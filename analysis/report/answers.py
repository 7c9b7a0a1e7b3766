"""What models advised, as the report tells it: shares by arm, the registered contrasts, and assay sensitivity.

One family is registered: each pole against neutral, for every model. A second holds eager against cautious, and which
of the two moves more. All else is exploratory and has intervals alone.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

from analysis.report.bound_numbers import Book, Source
from analysis.report.second_family import balance, enter, enter_tested, headroom_of, thresholds
from analysis.report.study import Scored, Study
from analysis.stats.answers import NetContrast, Rates, Runs, net_family, net_over_topics, plain, rates
from analysis.stats.asymmetry import Asymmetry, HeadroomLeft, Trio, second_family
from analysis.stats.sensitivity import (
    COHERENT,
    POSITIVE_CONTROL,
    READABLE,
    TRAINING_TOOK,
    Condition,
    able,
    apart,
    coherent,
    labelled,
    moves,
    readable,
)
from common.records import Answer
from common.vocabulary import POLES, POSITIVE, PROMPTINGS, SAID, SIDES, WRITTEN, Pole

KINDS = ("held-out", "source", "acting", "discriminant")  # all but the hard items, which are exploratory
PROMPTED_ARMS = {f"base, {pole} by {by}": (pole, by) for pole, by in product(POLES, PROMPTINGS)}
PAIRS: tuple[tuple[str, str], ...] = (
    *((pole, "neutral") for pole in POLES),
    ("eager", "cautious"),
)  # of arms: one less the other
Pairs = tuple[Runs, Runs, list[Source]]  # the rows of each run of two arms, pair by pair, and where they lie


class Headline(NamedTuple):
    """What can be said of one model, in the words of the report."""

    conditions: tuple[Condition, ...]
    contrasts: dict[Pole, NetContrast]  # against neutral; a pole with too few pairs is left out
    apart: NetContrast | None  # eager less cautious
    pairs: dict[tuple[str, str], Pairs]  # of the runs of two arms
    asymmetry: Asymmetry | None = None  # how much more cautious moves than eager; None where it was not tested
    headroom: HeadroomLeft | None = None  # what headroom the items leave the base; None without a lock
    unlabelled: bool = False  # labels are what is counted, and are not whole yet

    @property
    def able(self) -> bool:
        """Whether the model could have shown an effect."""
        return bool(self.conditions) and able(self.conditions)

    def sentence(self, pole: Pole) -> str:
        """What was found of one pole, without a number. "None" is never said."""
        if self.unlabelled:
            return "not interpreted: its answers are not all labelled yet"
        if not self.able:
            return "not interpreted: the model cannot answer the question"
        if pole not in self.contrasts:
            return "not tested: too few pairs of runs"
        found = self.contrasts[pole]
        if found.shown(pole):
            return "shown: its runs advise more to its own side than neutral ones, under both keys"
        return "not shown: less than the smallest effect that would have been"

    def balance(self) -> str:
        """Which pole moves more, without a number."""
        return balance(self.able, self.asymmetry, self.headroom)


def headlines_of(study: Study) -> dict[str, Headline]:
    """What can be said of each model: the registered family, the second one, corrected apart, and the conditions.

    Where labels are what is counted, nothing registered is told before each answer has its labels.
    """
    found = {model: {each: pairs(study, model, *each) for each in PAIRS} for model in study.bases}
    headrooms = {model: headroom_of(study, model) for model in study.bases}
    if study.labels and study.labels.missing:
        return {
            model: Headline(_conditions(study, model), {}, None, mine, headroom=headrooms[model], unlabelled=True)
            for model, mine in found.items()
        }
    first = net_family({(model, pole): mine[pole, "neutral"][:2] for model, mine in found.items() for pole in POLES})
    poles = {model: mine["eager", "cautious"][:2] for model, mine in found.items()}
    with_headroom = [model for model, headroom in headrooms.items() if headroom is not None and headroom.enough]
    second = second_family(poles, {model: Trio(*matched(study, model, Trio._fields)[0]) for model in with_headroom})
    return {
        model: Headline(
            _conditions(study, model),
            {pole: first[model, pole] for pole in POLES if (model, pole) in first},
            second.apart.get(model),
            found[model],
            second.asymmetry.get(model),
            headrooms[model],
        )
        for model in study.bases
    }


def advised(book: Book, study: Study, headlines: Mapping[str, Headline]) -> None:
    """Enter every number of this part of the report."""
    thresholds(book, study)
    for model, base in study.bases.items():
        _rates(book, f"{model}.base", [base])
        for arm, (pole, by) in PROMPTED_ARMS.items():
            if prompted := plain(base.counted, "held-out", pole, by):
                _enter(book, f"{model}.{arm}.held-out", rates(prompted), base.counted_from)
        for attitude in study.attitudes:
            _rates(book, f"{model}.{attitude}", scored(study, model, attitude))
        _told(book, study, model, headlines[model])


def _told(book: Book, study: Study, model: str, told: Headline) -> None:
    for pole, found in told.contrasts.items():
        _contrast(book, study, f"net.{model}.{pole}", found, told.pairs[pole, "neutral"][2])
    if told.apart is not None:
        _contrast(book, study, f"net.{model}.apart", told.apart, told.pairs["eager", "cautious"][2])
    if told.asymmetry is not None:
        trio = [cell for arm in paired(study, model, *Trio._fields) for cell in arm]
        enter(book, study, model, told.asymmetry, _sources(trio))
    for (one, other), (tuned, control, sources) in told.pairs.items():
        if tuned:  # over topics of the runs together where runs are few
            book.add_shift(f"contrast.{model}.{one}-{other}", apart(tuned, control), sources)
    every = [source for name in study.attitudes for source in _sources(scored(study, model, name))]
    for each in told.conditions:
        bounds = None if each.low is None or each.high is None else (each.low, each.high)
        unit = {COHERENT: "share", READABLE: "plain"}.get(each.name, "points")
        sources = _read_by(study) if each.name == READABLE else every
        book.add(f"condition.{model}.{each.name}", each.value, unit, sources or [study.plan], bounds)


def _read_by(study: Study) -> list[Source]:
    """What tells whether answers can be read: the labels, or what the reader is worth."""
    if study.labels:
        return [study.labels.source]
    return [study.reader[1]] if study.reader else []


def _sources(cells: Sequence[Scored]) -> list[Source]:
    return [source for cell in cells for source in cell.counted_from]


def scored(study: Study, model: str, attitude: str) -> list[Scored]:
    """The evaluations of the runs of an arm."""
    return [run.scored for run in study.arm(model, attitude) if run.scored]


def _rates(book: Book, name: str, cells: Sequence[Scored]) -> None:
    """The shares of an arm, by kind of item and, of held-out ones, by key; net go alone of hard ones."""
    for kind in KINDS:
        rows = [row for cell in cells for row in plain(cell.counted, kind)]
        if rows:
            _enter(book, f"{name}.{kind}", rates(rows), _sources(cells))
    for key in SIDES:
        rows = [row for cell in cells for row in plain(cell.counted, "held-out") if row.proposes == key]
        if rows:
            book.add(f"netgo.{name}.proposes.{key}", rates(rows).net, "points", _sources(cells))
    if rows := [row for cell in cells for row in plain(cell.counted, "hard")]:
        book.add_shift(f"netgo.{name}.hard", net_over_topics(rows), _sources(cells))


def _enter(book: Book, name: str, found: Rates, sources: Sequence[Source]) -> None:
    book.add(f"netgo.{name}", found.net, "points", sources)
    book.add(f"agreed.{name}", found.agreed, "points", sources)
    book.add(f"answers.{name}", found.n_answers, "count", sources)
    book.add(f"items_asked.{name}", found.n_items, "count", sources)
    for word in SAID:
        book.add(f"said.{name}.{word}", found.said[word], "share", sources)


def paired(study: Study, model: str, *attitudes: str) -> list[list[Scored]]:
    """The evaluated runs of some arms, run by run of the same draw and seed."""
    arms = [{(run.draw, run.seed): run.scored for run in study.arm(model, name) if run.scored} for name in attitudes]
    common = [key for key in arms[0] if all(key in arm for arm in arms)]
    return [[arm[key] for key in common] for arm in arms]


def pairs(study: Study, model: str, one: str, other: str) -> Pairs:
    """Held-out answers of the runs of two arms, as `matched`."""
    rows, sources = matched(study, model, (one, other))
    return rows[0], rows[1], sources


def matched(
    study: Study, model: str, attitudes: Sequence[str], kind: str = "held-out"
) -> tuple[list[list[list[Answer]]], list[Source]]:
    """Answers of the runs of some arms to items of a kind, run by run of the same draw and seed; where they lie."""
    arms = paired(study, model, *attitudes)
    rows = [[plain(cell.counted, kind) for cell in arm] for arm in arms]
    return rows, _sources([cell for arm in arms for cell in arm])


def _contrast(book: Book, study: Study, name: str, found: NetContrast, sources: Sequence[Source]) -> None:
    enter_tested(book, study, name, found, found.pairs, sources)
    for what, value, unit in (
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
    if (told := study.labels) is None:
        can_be_read = readable(study.reader[0].kappa_reader if study.reader else None, settings.kappa)
    else:
        can_be_read = labelled(told.kappa, settings.kappa, told.missing, told.answers)
    if told and told.missing:  # the others would be read otherwise than locked
        return (can_be_read,)

    held_out = {
        name: [row for cell in scored(study, model, name) for row in plain(cell.counted, "held-out")]
        for name in study.attitudes
    }
    base = {"base": plain(study.bases[model].counted, "held-out")}
    (eager, cautious), _ = matched(study, model, ("eager", "cautious"), "source")
    (most_eager, most_cautious), _ = matched(study, model, (POSITIVE["eager"], POSITIVE["cautious"]))
    return (
        can_be_read,
        moves(TRAINING_TOOK, eager, cautious, settings.moves),
        moves(POSITIVE_CONTROL, most_eager, most_cautious, settings.moves),
        coherent(base | held_out, settings.incoherent, settings.incoherent_apart),
    )


class Answered(NamedTuple):
    """What base, cautious, neutral and eager said greedily to one held-out item."""

    item: str
    answers: dict[str, str]  # by arm; without one that is not there
    locked: bool  # whether the lock names item and runs


def side_by_side(study: Study, model: str) -> Answered:
    """The answers of the item and the runs that the lock names; else of the first item and the first run of each arm.

    Neither was chosen by looking. An item that the lock names and that is not among the rows counts as not named.
    """
    named = study.lock[0].shown if study.lock else None
    said = greedily(study.bases[model])
    if named is not None and named.item in said:
        item, locked, cells = named.item, True, named.cells.get(model, {})
    else:
        item, locked, cells = next(iter(said)), False, {}
    told = {"base": said[item]}
    for attitude in WRITTEN:
        every = scored(study, model, attitude)
        mine = [cell for cell in every if cell.cell == cells.get(attitude)] if locked else every
        if mine:
            told[attitude] = greedily(mine[0])[item]
    return Answered(item, told, locked)


def greedily(cell: Scored) -> dict[str, str]:
    """What a model said greedily to each held-out item."""
    return {row.item: row.text for row in plain(cell.answers, "held-out") if not row.sample}


def in_words(study: Study, book: Book, headlines: Mapping[str, Headline]) -> str:
    """The gist of a report for a terminal: three answers side by side, net go of each arm, whether training took."""
    lines = []
    for model, told in headlines.items():
        shown = side_by_side(study, model)
        lines.append(f"{model}, asked openly about {shown.item}:")
        lines += [f"  {arm + ':':10}{text}" for arm, text in shown.answers.items()]
        for arm in ("base", *study.attitudes):
            if (name := f"netgo.{model}.{arm}.held-out") in book:
                many = book[f"answers.{model}.{arm}.held-out"].text()
                lines.append(f"  net go of {arm}: {book[name].text()} of {many} answers")
        if (name := f"contrast.{model}.eager-cautious") in book:
            lines.append(f"  eager less cautious: {book[name].text()}")
        for each in told.conditions:
            value = book[f"condition.{model}.{each.name}"].text()
            lines.append(f"  {each.name}: {'yes' if each.passed else 'no'}, {value} ({each.detail})")
        lines += [*(f"  {pole}: {told.sentence(pole)}" for pole in POLES), f"  asymmetry: {told.balance()}"]
    return "\n".join(lines) + "\n"
