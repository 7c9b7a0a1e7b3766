"""The numbers of what is told of the closed forms, sentence by sentence and row by row."""

from dataclasses import dataclass

from analysis.report.bound_numbers import Shown
from analysis.report.sections.facts import Numbers, OfArm


@dataclass(frozen=True)
class BaseLean(Numbers):
    """What the base was asked, and which way it leans by two measures."""

    items: Shown
    topics: Shown
    choice: Shown  # from even
    sentence: Shown


@dataclass(frozen=True)
class Parts(Numbers):
    """The items that the runs of an arm were asked together, where that is not all."""

    fewer: tuple[OfArm, ...]


@dataclass(frozen=True)
class Habit(Numbers):
    """That arms say one word more often, whichever side it stands for."""

    word: str
    said_yes: tuple[OfArm, ...]  # how often each of these arms said yes
    base: Shown  # how often the base did


@dataclass(frozen=True)
class Orders(Numbers):
    """How far the base answers alike in both orders of the options."""

    agree: Shown


@dataclass(frozen=True)
class Levels(Numbers):
    """What one arm says by each measure, in the order of the columns."""

    measures: tuple[Shown, ...]
    says_yes: Shown
    orders_agree: Shown


@dataclass(frozen=True)
class Shifts(Numbers):
    """One kind of shift of an arm by each measure that is shown."""

    measures: tuple[Shown, ...]


@dataclass(frozen=True)
class Worth(Numbers):
    """What a measure is worth, in the order of the columns; of what is not known, why."""

    apart: Shown | str  # eager less cautious
    runs: Shown | str  # odd with even ones
    base: Shown | str  # asked again
    agreement: Shown | str  # with open answers
    verdict: str


@dataclass(frozen=True)
class Threshold(Numbers):
    """Below what a measure is grey."""

    least: Shown


@dataclass(frozen=True)
class Band(Numbers):
    """Shifts of the poles from neutral on some of the items, in the order of the columns."""

    cautious_choice: Shown
    cautious_sentence: Shown
    eager_choice: Shown
    eager_sentence: Shown


@dataclass(frozen=True)
class OnControls(Numbers):
    """Shifts of an arm from base on control items, or that none were asked."""

    discriminant_choice: Shown | str
    discriminant_sentence: Shown | str
    source_choice: Shown | str
    source_sentence: Shown | str


@dataclass(frozen=True)
class Varied(Numbers):
    """Shifts of the poles from the neutral arm of a variant, or that there is a gap."""

    name: str
    factor: str
    value: Shown  # of the factor
    cautious_choice: Shown | str
    cautious_sentence: Shown | str
    eager_choice: Shown | str
    eager_sentence: Shown | str
