"""What a section is made from."""

from collections.abc import Mapping
from dataclasses import dataclass

from analysis.report.answers import Headline
from analysis.report.bound_numbers import Book, Shown
from analysis.report.charts import Bar
from analysis.report.prose import Named, Prose, prose
from analysis.report.study import Study

GAP = "gap"  # where a step is not sealed
BASE = "base"


@dataclass(frozen=True)
class Numbers:
    """What some sentences or a row tell: a field for each number, and none has a default.

    Their text is made from these fields alone. So a number that is left out is an error of types where they are filled
    in, and a text can be tested without a study.
    """

    def each(self) -> list[Shown]:
        """The numbers, in the order of the fields and of what stands in one field."""
        # `type` and not `isinstance`: a Shown is a tuple too
        fields = (value if type(value) is tuple else (value,) for value in vars(self).values())
        return [value for field in fields for value in field if isinstance(value, Shown)]


@dataclass(frozen=True)
class OfArm(Numbers):
    """A number of one arm, in a list of arms."""

    arm: str
    number: Shown

    def told(self) -> Prose:
        """The arm and its number."""
        return prose(self.arm, " ", self.number)


@dataclass(frozen=True)
class LabelNumbers(Numbers):
    """How far the greedy answers are labelled, in a study that is read by labels."""

    missing: Shown  # answers without labels of both passes
    answers: Shown
    kappa: Shown  # of both passes
    kappa_reader: Shown  # of the reader with both, where they agree


@dataclass(frozen=True)
class Facts:
    """A study with its numbers and what can be said of each model."""

    study: Study
    book: Book
    headlines: Mapping[str, Headline]

    def __contains__(self, key: str) -> bool:
        return key in self.book

    def n(self, key: str) -> Shown:
        """A number for the text. Raises: UnboundNumber if nobody entered it."""
        return self.book.shown(key)

    def v(self, key: str) -> float | None:
        """The bare number, to decide what to write."""
        return self.book.value(key)

    def or_else(self, key: str, words: str) -> Shown | str:
        """A number, or these words where nobody entered it."""
        return self.n(key) if key in self.book else words

    def known(self, key: str) -> bool:
        """Whether a number was entered, and has a value and an interval."""
        return key in self.book and self.book[key].low is not None

    def arms(self) -> list[str]:
        """The base and every attitude of which a run was evaluated."""
        return [BASE, *self.study.attitudes]

    def labels(self) -> LabelNumbers:
        """How far the answers are labelled. Raises: UnboundNumber where the study is not read by labels."""
        return LabelNumbers(
            missing=self.n("labels.missing"),
            answers=self.n("labels.answers"),
            kappa=self.n("labels.kappa"),
            kappa_reader=self.n("labels.kappa.reader"),
        )

    def bar(self, key: str, name: str, group: str, colour: str, text: str = "") -> Bar:
        """A number that is `known`, for a forest plot. text: said instead of the number."""
        number = self.book[key]
        assert number.value is not None and number.low is not None and number.high is not None
        value, low, high = (100 * each for each in (number.value, number.low, number.high))
        return Bar(name, group, value, low, high, colour, text or number.text())

    @property
    def trial(self) -> bool:
        """Whether the study registers nothing: no lock, or one on files that differ from their commit, or may."""
        if self.study.lock is None:
            return True
        locked = self.study.lock[0]
        return not locked.commit or locked.commit.endswith("+") or not locked.plan.lock.clean


def model_name(name: str) -> Prose:
    """A model in a sentence."""
    return prose("**", Named(name), "**")
