"""report.html: one file that needs nothing else. Without scripts it is whole, with still pictures."""

import base64
import functools
import gzip
import html
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import vl_convert
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt

from analysis.report.bound_numbers import Book, Shown
from analysis.report.markdown import flow
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
    Table,
    Viewer,
)
from analysis.report.study import Study

FOLDER = Path(__file__).parent / "page"
FILES = ("page.css", "page.html.jinja", "page.js", "plain.html.jinja")
VEGA_LITE = "6.4"  # of those that vl-convert carries: stills and the library in the page are of one version
# Light and dark in a picture of its own, where no page gives it a colour.
OWN_INK = "<style>:root{color:#1d1f23}@media(prefers-color-scheme:dark){:root{color:#e6e7ea}}</style>"
OPEN, CLOSE = "\ue000", "\ue001"
HELD = re.compile(f"{OPEN}(\\d+){CLOSE}")
SHOWN_SOURCES = 2  # of a number, to hover


def to_page(report: Report, study: Study, book: Book, stills: Mapping[str, str]) -> str:
    """The page. stills: name of a figure → SVG."""
    charts = {figure.name: figure.spec for figure in figures_in(report)}
    return _rendered(
        "page.html.jinja",
        report,
        stills,
        script=(FOLDER / "page.js").read_text("utf-8"),
        data=packed(json.dumps({"charts": charts, **provenance(book), **answers(study)}, sort_keys=True).encode()),
        library=library(),
    )


def to_plain_page(report: Report, footer: str, stills: Mapping[str, str]) -> str:
    """A page without scripts, of a report that has no study and no book behind it. stills: name of a figure → SVG."""
    return _rendered("plain.html.jinja", report, stills, footer=html.escape(footer))


@functools.cache
def library() -> str:
    """Vega-Lite with all that it needs (BSD-3-Clause), packed."""
    made: str = vl_convert.javascript_bundle(vl_version=VEGA_LITE)  # type: ignore[call-arg]  # its stub asks for more
    return packed(made.encode())


def stills_of(report: Report) -> dict[str, str]:
    """Every chart as SVG, by name."""
    return {figure.name: still(figure) for figure in figures_in(report)}


def still(figure: Figure) -> str:
    """One chart as SVG; its inner names are its own, since a page holds several."""
    drawn: str = vl_convert.vegalite_to_svg(figure.spec, vl_version=VEGA_LITE)
    return re.sub(r'(id="|url\(#)((?:clip|gradient)[^")]*)', rf"\1{figure.name}-\2", drawn)


def standing_alone(svg: str) -> bytes:
    """A chart as a file: in the ink of whoever shows it."""
    head, tag, rest = svg.partition(">")
    return (head + tag + OWN_INK + rest).encode()


def figures_in(report: Report) -> list[Figure]:
    """Every chart of a report, those in folds too."""

    def of(parts: tuple[Part, ...]) -> list[Figure]:
        inner = [figure for part in parts if isinstance(part, Fold) for figure in of(part.parts)]
        return [part for part in parts if isinstance(part, Figure)] + inner

    return of(report.front) + [figure for section in report.sections for figure in of(section.parts)]


def packed(data: bytes) -> str:
    """Bytes as a page holds them: the same bytes each time."""
    return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode()


def provenance(book: Book) -> dict[str, Any]:
    """What a click on a number asks for."""
    found = book.provenance()
    return {"numbers": found["numbers"], "sources": [[*source] for source in book.every_source()]}


def answers(study: Study) -> dict[str, Any]:
    """Every greedy answer, with the cells and the items that they are of."""
    scored = [(base, (model, "base", "", "")) for model, base in study.bases.items()]
    scored += [
        (run.scored, (run.model, run.attitude, str(run.seed), f"d{run.draw}")) for run in study.runs if run.scored
    ]
    rows = [(at, row) for at, (cell, _) in enumerate(scored) for row in cell.answers if not row.sample]
    items = {row.item: row.topic for _, row in rows}
    places = {item: place for place, item in enumerate(items)}
    return {
        "cells": [[cell.cell, *whose, cell.answers_source.digest] for cell, whose in scored],
        "items": [[item, topic, study.situations.get(item, item)] for item, topic in items.items()],
        "answers": [
            [at, places[row.item], f"{row.prompted} by {row.prompted_by}" if row.prompted else "", row.said, row.text]
            for at, row in rows
        ],
    }


def _rendered(template: str, report: Report, stills: Mapping[str, str], **more: Any) -> str:
    """A template with all that every page has. more: what this one has besides."""
    writer = _Writer(stills)
    environment = Environment(loader=FileSystemLoader(FOLDER), undefined=StrictUndefined, autoescape=False)
    sections = [
        {
            "key": section.key,
            "title": html.escape(section.title),
            "kind": section.kind,
            "opening": writer.inline(section.opening),
            "body": writer.parts(section.parts),
        }
        for section in report.sections
    ]
    return environment.get_template(template).render(
        title=html.escape(report.title.plain()),
        heading=writer.inline(report.title),
        front=writer.parts(report.front),
        sections=sections,
        css=(FOLDER / "page.css").read_text("utf-8"),
        **more,
    )


class _Writer:
    """Parts as HTML. What came from the book, and what others wrote, is held back while Markdown is read."""

    def __init__(self, stills: Mapping[str, str]) -> None:
        self._markdown = MarkdownIt("commonmark", {"html": False})
        self._stills = stills
        self._held: list[str] = []

    def inline(self, text: Prose) -> str:
        """Prose within a line."""
        return self._released(self._markdown.renderInline(flow(text, self._hold)))

    def parts(self, parts: tuple[Part, ...]) -> str:
        """Parts, one after another."""
        return "\n".join(self.part(part) for part in parts)

    def part(self, part: Part) -> str:
        """One part."""
        match part:
            case Paragraph(text):
                made = f"<p>{self.inline(text)}</p>"
            case Heading(text, level):
                made = f"<h{level}>{self.inline(text)}</h{level}>"
            case Bullets(points):
                made = f"<ul>{''.join(f'<li>{self.inline(point)}</li>' for point in points)}</ul>"
            case Table():
                made = self._table(part)
            case Quotes():
                made = self._quotes(part)
            case Figure(name, _, alt, caption):
                label = f'role="img" tabindex="0" aria-label="{_quoted(alt)}"'
                inner = f'<div class="still" {label}>{self._stills[name]}</div>'
                told = f"<figcaption>{self.inline(caption)}</figcaption>"
                made = f'<figure class="chart" data-name="{name}">{inner}{told}</figure>'
            case Viewer(intro):
                off = "<noscript><p>To filter them needs scripts; the answers stand in rows/ too.</p></noscript>"
                made = f'<div class="viewer"><h3>{self.inline(intro)}</h3>{off}</div>'
            case Fold(title, parts):
                made = f"<details><summary>{self.inline(title)}</summary>{self.parts(parts)}</details>"
        return made

    def _table(self, table: Table) -> str:
        head = "".join(f'<th scope="col">{self.inline(cell)}</th>' for cell in table.head)
        rows = [
            f"<tr{' class=grey' if at in table.grey else ''}>{''.join(self._cell(each) for each in cells)}</tr>"
            for at, cells in enumerate(table.rows)
        ]
        return _scrolled(f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>")

    def _cell(self, text: Prose) -> str:
        return f"<td>{self.inline(text)}</td>"

    def _quotes(self, quotes: Quotes) -> str:
        said = "".join(
            f'<blockquote class="arm-{each.who}"><span class="who">{each.who}</span>{html.escape(each.text)}'
            "</blockquote>"
            for each in quotes.quotes
        )
        return f'<p>{self.inline(quotes.asked)}</p><div class="quotes">{said}</div>'

    def _hold(self, piece: Piece) -> str:
        if isinstance(piece, str):
            return piece
        self._held.append(_written(piece))
        return f"{OPEN}{len(self._held) - 1}{CLOSE}"

    def _released(self, text: str) -> str:
        return HELD.sub(lambda found: self._held[int(found[1])], text)


def _written(piece: Shown | Named | Any) -> str:
    text = html.escape(words(piece))
    if isinstance(piece, Named):
        return f"<code>{text}</code>"
    if not isinstance(piece, Shown):
        return text
    text = text.replace(" %", "\u00a0%")  # narrow cells tore the sign off
    sources = piece.number.sources
    told = "; ".join(f"{each.step}, {each.output}, {each.digest}" for each in sources[:SHOWN_SOURCES])
    if (others := len(sources) - SHOWN_SOURCES) > 0:
        told += f"; and {others} more, in provenance.json"
    value = "" if piece.number.value is None else f"{piece.number.value:.9g}"
    title = _quoted(f"{piece.key}: {told}")
    return f'<data value="{value}" data-key="{_quoted(piece.key)}" title="{title}">{text}</data>'


def _quoted(text: str) -> str:
    return html.escape(text, quote=True)


def _scrolled(table: str) -> str:
    return f'<div class="scroll" tabindex="0" role="group" aria-label="table">{table}</div>'
