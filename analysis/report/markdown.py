"""REPORT.md: the report for people on a terminal. What is folded stands in report.html; figures lie beside it."""

from collections.abc import Callable

from analysis.report.prose import Named, Piece, Prose, words
from analysis.report.section import (
    Bullets,
    Figure,
    Fold,
    Heading,
    Paragraph,
    Part,
    Quotes,
    Report,
    Section,
    Table,
    Viewer,
)

Written = Callable[[Piece], str]  # how a number or a name is written within Markdown
MARKS = {"registered": "*Registered.* ", "exploratory": "*Exploratory.* ", "": ""}


def plainly(piece: Piece) -> str:
    """A number as it is, a name as code; what others wrote cannot form a table or a tag."""
    text = words(piece)
    if isinstance(piece, str):
        return text
    if isinstance(piece, Named):
        return f"`{text.replace('`', '').replace('|', '/')}`"
    return text.replace("|", "/").replace("<", "‹").replace("\n", " ")


def to_markdown(report: Report) -> str:
    """All of it."""
    lines = [f"# {flow(report.title, plainly)}", ""]
    for part in report.front:
        lines += [*part_lines(part), ""]
    for section in report.sections:
        lines += section_lines(section)
    return "\n".join(_squeezed(lines)) + "\n"


def section_lines(section: Section) -> list[str]:
    """A section with its heading."""
    lines = [f"## {section.title}", "", MARKS[section.kind] + flow(section.opening, plainly), ""]
    for part in section.parts:
        lines += [*part_lines(part), ""]
    return lines


def part_lines(part: Part) -> list[str]:
    """One part, without what a terminal cannot show."""
    lines: list[str] = []
    match part:
        case Paragraph(text):
            lines = [flow(text, plainly)]
        case Heading(text, level):
            lines = [f"{'#' * level} {flow(text, plainly)}"]
        case Bullets(points):
            lines = [f"- {flow(point, plainly)}" for point in points]
        case Table():
            lines = table_lines(part, plainly)
        case Quotes(asked, quotes):
            said = [f"- **{quote.who}**: {plainly_quoted(quote.text)}" for quote in quotes]
            lines = [flow(asked, plainly), "", *said]
        case Figure(name, _, _, caption):
            lines = [f"![{caption.plain()}](figures/{name}.svg)"]
        case Fold(title, _):
            lines = [f"*{flow(title, plainly)}: in report.html.*"]
        case Viewer():
            pass
    return lines


def flow(text: Prose, written: Written) -> str:
    """Prose as Markdown."""
    return "".join(written(piece) for piece in text.pieces)


def table_lines(table: Table, written: Written) -> list[str]:
    """A table as Markdown."""
    head = [flow(cell, written) for cell in table.head]
    body = [[flow(cell, written) for cell in row] for row in table.rows]
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *body)]


def plainly_quoted(text: str) -> str:
    """What somebody wrote, on one line and as code, so that no mark in it counts."""
    return f"`{' '.join(text.split()).replace('`', '')}`"


def _squeezed(lines: list[str]) -> list[str]:
    """Without empty lines that follow one another."""
    text = [line.rstrip() for part in lines for line in part.split("\n")]
    return [line for at, line in enumerate(text) if line or (at and text[at - 1])]
