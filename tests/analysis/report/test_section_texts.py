"""Sentences and rows are made from their typed numbers alone: no study is needed to see what they say."""

import pytest

from analysis.report.bound_numbers import Number, Shown, Source
from analysis.report.section import Paragraph, Part
from analysis.report.sections import closed, inside, inside_numbers, readers, training, transfer
from analysis.report.sections.closed_numbers import BaseLean, Habit, Parts, Worth
from analysis.report.sections.facts import OfArm
from analysis.report.sections.readers import Judgement
from analysis.report.sections.training import HeldOutLoss, NetByKind, Took, Trained
from analysis.report.sections.transfer import Breadth, Near

SOURCE = Source("ab" * 32, "job/cell", "output")


def number(value: float | None, unit: str = "count", bounds: tuple[float, float] | None = None) -> Shown:
    low, high = bounds or (None, None)
    return Shown("a number", Number(value, unit, (SOURCE,), low, high))


def said(part: Part) -> str:
    assert isinstance(part, Paragraph)
    return part.text.plain()


def test_numbers_come_in_the_order_of_the_fields_and_of_what_stands_in_one() -> None:
    values = [number(value) for value in range(5)]
    push = inside_numbers.Push(values[0], values[1], values[2], ranks=(values[3], values[4]), detectable=values[0])
    assert push.each() == [*values, values[0]]


def test_training() -> None:
    took = Took(False, apart=number(0.1, "points"))
    assert training.judged("m", took).plain().startswith("Training is not shown to have taken in m: on the topics")
    row = training.kinds_row("eager", NetByKind(number(0.1, "points"), "not asked", "not asked", number(0, "points")))
    assert [cell.plain() for cell in row] == ["eager", "+10.0 points", "not asked", "not asked", "+0.0 points"]
    losses = [HeldOutLoss(cell, before=number(2, "nats"), after=number(1, "nats")) for cell in ("a.s1", "b.s2")]
    assert said(training.before_and_after(losses)).endswith(": a.s1 2.00 nats, 1.00 nats; b.s2 2.00 nats, 1.00 nats.")
    made = Trained(runs=number(5), seeds=number(3), fewer=(OfArm("scrambled", number(2)),))
    assert training.fine_tunes(["m"], made).plain() == "5 fine-tunes of m; seeds of each arm: 3, of scrambled 2."


def test_transfer() -> None:
    assert "net go in each of 16 topics that no pile" in transfer.each_topic("m", Breadth(topics=number(16))).plain()
    near = Near("e-bikes", "phones", cosine=number(0.25, "plain"))
    assert [cell.plain() for cell in transfer.distance(near)] == ["e-bikes", "phones", "0.25"]


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        (None, "says too little"),
        ((-0.1, 0.2), "is not shown to lean"),
        ((0.1, 0.2), "leans towards change"),
        ((-0.2, -0.1), "leans against change"),
    ],
)
def test_the_base_leans_where_its_interval_leaves_out_zero(bounds: tuple[float, float] | None, words: str) -> None:
    lean = number(0.0, "points", bounds)
    told = said(closed.leaning(BaseLean(items=number(8), topics=number(4), choice=lean, sentence=number(0, "points"))))
    assert told.startswith(f"The base was asked 8 items in 4 topics: by choice it {words}, +0.0 points")
    assert "; by sentence it says too little, " in told


def test_closed_forms() -> None:
    fewer = Parts((OfArm("eager", number(32)), OfArm("neutral", number(16))))
    assert "runs are missing: of eager 32 and neutral 16." in said(closed.in_parts(fewer))
    assert "were asked all of them" in said(closed.in_parts(Parts(())))
    habit = Habit("yes", (OfArm("eager", number(0.9, "share")),), base=number(0.5, "share"))
    assert "A habit of saying yes shows." in said(closed.assent(habit))
    assert "so many of their answers: eager 90 %; the base 50 %." in said(closed.assent(habit))
    worth = Worth(
        number(0.1, "points"), "runs share no item", number(0.5, "plain"), number(None, "plain"), "unreliable"
    )
    told = [cell.plain() for cell in closed.worth_row("by choice", worth)]
    assert told == ["by choice", "+10.0 points", "runs share no item", "0.50", "not known", "unreliable"]


def test_inside() -> None:
    read = inside.Read(told=number(0), draws=number(2), simpler=number(0), accuracy=number(0.5, "share"))
    assert "cannot be told, beyond chance, from eager ones inside the base, in 0 of 2 draws: 50 % of" in said(
        inside.can_be_told(read)
    )
    runs = tuple(inside.WholeRun(cell, gap=number(1, "nats")) for cell in ("a.s1", "b.s2"))
    pushed = said(inside.push_caused(inside.Pushed("m.d0", "nothing", missed=number(0.5, "nats"), runs=runs)))
    assert "; on that scale a.s1 as a whole lies 1.00 nats from neutral, b.s2 as a whole lies" in pushed
    for needed, words in ((None, "no number of items that could"), (400, "400 items would, of which 8 were asked.")):
        carried = inside.Carried("a.s1", "undefined", items=number(8), needed=number(needed))
        assert words in inside.goes_through(carried).plain()


def test_numbers_behind_the_inside() -> None:
    part = inside_numbers.Ranked(share=number(None, "share"), p=number(0.5, "p"))
    of_run = inside_numbers.OfRun("a.s1", gap=number(1, "nats"), parts=(part,), written=part)
    told = [cell.plain() for cell in inside_numbers.run_row(of_run)]
    assert told == ["a.s1", "1.00 nats", "undefined, p 0.5", "not known, p 0.5"]
    control = inside_numbers.Control(
        off_target_kl=number(0.3, "setting"), margin=number(2, "nats"), p=number(0.01, "p")
    )
    assert "moves by 2.00 nats, rank p 0.01: it steers" in said(inside_numbers.it_steers("m.d0", control))


def test_a_judge() -> None:
    every = Judgement(answers=number(8), not_judged=number(1), kappa=number(0.5, "plain"), net="", reader="")
    assert [cell.plain() for cell in readers.judged("all", every)] == ["all", "8", "1", "0.50", "", ""]
