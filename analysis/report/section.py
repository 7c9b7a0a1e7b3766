"""What a report is made of: sections of figures, sentences and tables, each a typed object.

Sections are made from a study and its book, in `analysis.report.sections`. How they look is decided elsewhere:
`analysis.report.markdown` writes them for a terminal, `analysis.report.page` for a browser.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from analysis.report.prose import Prose, Said, prose

Kind = Literal["registered", "exploratory", ""]


class Paragraph(NamedTuple):
    """Prose."""

    text: Prose


class Bullets(NamedTuple):
    """Prose, a point each."""

    points: tuple[Prose, ...]


class Heading(NamedTuple):
    """Begins a part of a section, such as what is said of one model."""

    text: Prose
    level: int = 3  # 1 is the title's


class Table(NamedTuple):
    """A short table. Rows of a grey one are of measures that are not to be relied on."""

    head: tuple[Prose, ...]
    rows: tuple[tuple[Prose, ...], ...]
    grey: frozenset[int] = frozenset()  # numbers of the rows that are grey


class Quote(NamedTuple):
    """What somebody wrote: a model that answers, or a reply of a pile."""

    who: str
    text: str


class Quotes(NamedTuple):
    """Answers to one question, side by side."""

    asked: Prose
    quotes: tuple[Quote, ...]


class Figure(NamedTuple):
    """A chart in Vega-Lite with what it shows in words."""

    name: str  # of its file
    spec: dict[str, Any]  # width is what is drawn without scripts; a browser fills the page
    alt: str  # for people who do not see it
    caption: Prose


class Viewer(NamedTuple):
    """Where a browser shows every greedy answer."""

    intro: Prose


@dataclass(frozen=True)
class Fold:
    """Parts that a browser shows when asked to; on a terminal their title stands for them."""

    title: Prose
    parts: "tuple[Part, ...]"


def row(*cells: Said) -> tuple[Prose, ...]:
    """A row of a table."""
    return tuple(prose(cell) for cell in cells)


def table(head: Sequence[Said], rows: Sequence[tuple[Prose, ...]], grey: frozenset[int] = frozenset()) -> list["Part"]:
    """A table, or nothing where it would be empty."""
    return [Table(row(*head), tuple(rows), grey)] if rows else []


def say(*said: Said) -> Paragraph:
    """A paragraph of these pieces."""
    return Paragraph(prose(*said))


Part = Paragraph | Bullets | Heading | Table | Quotes | Figure | Viewer | Fold


class Section(NamedTuple):
    """A part of the report with its opening sentence."""

    key: str  # its anchor
    title: str
    kind: Kind
    opening: Prose
    parts: tuple[Part, ...]


class Report(NamedTuple):
    """All of it, the first screen first."""

    title: Prose
    front: tuple[Part, ...]
    sections: tuple[Section, ...]
