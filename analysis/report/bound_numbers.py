"""Numbers that know where they come from: the only way for a number to get into the report."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from analysis.stats.intervals import Interval
from common.errors import JobError


class UnboundNumber(JobError):
    """A number in the report that is bound to no artifact; exit 1, since only a fault in the report makes one."""


class Source(NamedTuple):
    """One output of one sealed step."""

    digest: str  # SHA-256 of its bytes, 64 hex digits
    step: str  # job/cell
    output: str  # name of the output


class Number(NamedTuple):
    """A value with its unit and everything it was worked out from."""

    value: float | None  # None: not known, printed as a dash
    unit: str
    sources: tuple[Source, ...]
    low: float | None = None
    high: float | None = None

    def text(self) -> str:
        """The value as people read it, with its interval if it has one."""
        if self.value is None:
            return "not known"
        written = _written(self.value, self.unit)
        if self.low is not None and self.high is not None:
            low, high = (_written(bound, self.unit, bare=True) for bound in (self.low, self.high))
            written += f" ({low} to {high})"
        return written


def _written(value: float, unit: str, bare: bool = False) -> str:
    text, name = {
        "share": (f"{100 * value:.0f}", " %"),
        "points": (f"{100 * value:+.1f}", " points"),
        "count": (f"{value:.0f}", ""),
        "nats": (f"{value:.2f}", " nats"),
        "SD": (f"{value:+.2f}", " SD"),
        "rate": (f"{value:.0f}", " tokens/s"),
        "GiB": (f"{value:.1f}", " GiB"),
        "seconds": (f"{value:.0f}", " s"),
        "perplexity": (f"{value:.1f}", ""),
        "p": (f"{value:.2g}", ""),
        "plain": (f"{value:.2f}", ""),
        "setting": (f"{value:g}", ""),
    }[unit]
    return text if bare else text + name


class Shown(NamedTuple):
    """A number that stands in the text, under its name in the book."""

    key: str
    number: Number


class Book:
    """Every number of a report by name; nothing else may print one."""

    def __init__(self) -> None:
        self._numbers: dict[str, Number] = {}
        self._words: dict[str, str] = {}

    def add(
        self,
        name: str,
        value: float | None,
        unit: str,
        sources: Sequence[Source],
        bounds: tuple[float, float] | None = None,
    ) -> None:
        """Enter a number. Raises: UnboundNumber if it has no source; JobError if the name is taken."""
        if not sources:
            raise UnboundNumber("number without a source", where=name, value=value)
        if name in self._numbers:
            raise JobError("number entered twice", where=name)
        low, high = bounds or (None, None)
        self._numbers[name] = Number(
            None if value is None else float(value), unit, tuple(dict.fromkeys(sources)), low, high
        )

    def add_shift(self, name: str, made: Interval | None, sources: Sequence[Source]) -> None:
        """Enter a shift of P(go) with its interval; not known for None."""
        estimate, bounds = (None, None) if made is None else (made.estimate, (made.low, made.high))
        self.add(name, estimate, "points", sources, bounds)

    def say(self, name: str, word: str) -> None:
        """Enter a verdict, which follows from numbers that stand beside it."""
        self._words[name] = word

    def word(self, name: str, otherwise: str) -> str:
        """A verdict; `otherwise` if there is none."""
        return self._words.get(name, otherwise)

    def __contains__(self, name: str) -> bool:
        return name in self._numbers

    def __getitem__(self, name: str) -> Number:
        if name not in self._numbers:
            raise UnboundNumber("the report asks for a number that nobody entered", value=name)
        return self._numbers[name]

    def shown(self, name: str) -> Shown:
        """A number for the text. Raises: UnboundNumber if nobody entered it."""
        return Shown(name, self[name])

    def value(self, name: str) -> float | None:
        """The bare value, to decide what to write; None if it is not known."""
        return self[name].value

    def every_source(self) -> list[Source]:
        """Each source once, in order."""
        return sorted({source for number in self._numbers.values() for source in number.sources})

    def provenance(self) -> dict[str, Any]:
        """Each source once, and the sources of each number by their places in that list: what provenance.json holds."""
        every = self.every_source()
        places = {source: place for place, source in enumerate(every)}
        return {
            "sources": [source._asdict() for source in every],
            "numbers": {name: [places[each] for each in number.sources] for name, number in self._numbers.items()},
        }

    def to_json(self) -> Mapping[str, object]:
        """Every number by name, as they stand in results.json."""
        return {
            name: {
                "value": number.value,
                "unit": number.unit,
                **({"low": number.low, "high": number.high} if number.low is not None else {}),
                "source": [source._asdict() for source in number.sources],
            }
            for name, number in self._numbers.items()
        }
