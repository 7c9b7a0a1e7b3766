"""REPORT.md and report.html from bound numbers. A number in the text that no artifact stands for ends the build."""

import base64
import re
from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt

from analysis.report.answers import PAIRS, PROMPTED_ARMS, Headline, side_by_side
from analysis.report.bound_numbers import Book, UnboundNumber, anchor
from analysis.report.inside import PARTS, PLACES, mediated
from analysis.report.reliability import heading, titles
from analysis.report.representation import NULLS, TESTS
from analysis.report.study import Study
from analysis.stats.intervals import ALPHA

FOLDER = Path(__file__).parent
TEMPLATE = "REPORT.md.jinja"
# Private characters around what came from the book or is a name: a number typed into the template lacks them, even if
# it is dressed as a link. They are gone from the finished text.
OPEN, CLOSE = "\ue000", "\ue001"
BOUND = re.compile(f"{OPEN}[^{OPEN}{CLOSE}]*{CLOSE}")
UNBOUND = re.compile(
    r"\S*\d\S*|\b(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|(?:twen|thir|for|fif|six|seven|eigh|nine)ty"
    r"|hundreds?|thousands?|millions?|dozens?|half|twice|thrice)\b",
    re.IGNORECASE,
)
CSS = """
body{font:16px/1.55 Georgia,serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
h1,h2,h3,th,figcaption{font-family:system-ui,sans-serif;line-height:1.25}
table{border-collapse:collapse;margin:1rem 0;display:block;overflow-x:auto}
td,th{border-bottom:1px solid #ddd;padding:.3rem .7rem;text-align:left;font-size:.92rem;vertical-align:top}
td a,td code{white-space:nowrap}
img{max-width:100%}a{color:inherit;text-decoration-color:#bbb;text-underline-offset:2px}
.unreliable,tr:has(>td>.unreliable){color:#888}
code{font-size:.82rem;overflow-wrap:anywhere}@media print{body{margin:0}a{text-decoration:none}table{display:table}
td,th{font-size:.7rem;padding:.15rem .3rem}td a,td code{white-space:normal}img,tr{break-inside:avoid}}
"""


def name(text: str) -> str:
    """An identifier, which may hold digits since it names something, as code: a model, a cell, a digest."""
    return _bound(f"`{text.replace('`', '').replace('|', '/')}`")


def _bound(text: str) -> str:
    return OPEN + text.replace(OPEN, "").replace(CLOSE, "") + CLOSE


def render(study: Study, book: Book, headlines: Mapping[str, Headline], figures: Mapping[str, str]) -> str:
    """REPORT.md. `figures`: name → path relative to the report.

    Raises: UnboundNumber, quoting the line, if the text holds a number that is not in the book.
    """
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
    marked = {key: _bound(path) for key, path in figures.items()}
    text = environment.get_template(TEMPLATE).render(
        study=study,
        book=book,
        headlines=headlines,
        side_by_side=side_by_side,
        prompted_arms=list(PROMPTED_ARMS),
        figures=marked,
        name=name,
        n=lambda key: link(book, key),
        v=book.value,
        alpha=ALPHA,
        nulls=NULLS,
        parts=PARTS,
        places=PLACES,
        tried=TESTS,
        mediated=mediated,
        titles=titles(),
        heading=lambda measure, model, words: heading(book, measure, model, words),
        pairs=PAIRS,
    )
    check_bound(text)
    return text.replace(OPEN, "").replace(CLOSE, "") + _appendix(book)


def link(book: Book, key: str) -> str:
    """A number as a link to the row of its sources."""
    number = book[key]
    return _bound(f"[{number.text()}](#{anchor(number)})")


def check_bound(text: str) -> None:
    """Raise UnboundNumber at the first number, in digits or in words, that did not come from the book or a name."""
    for line in text.splitlines():
        if found := UNBOUND.search(BOUND.sub("", line)):
            shown = line.replace(OPEN, "").replace(CLOSE, "").strip()
            raise UnboundNumber("number in the report that no artifact stands for", where=shown, value=found[0])


def _appendix(book: Book) -> str:
    rows = ["", "## Sources", "", "Every number above links to a row here; a digest is the SHA-256 of the bytes.", ""]
    rows += ["| number's link | step | output | digest |", "|---|---|---|---|"]
    for place, sources in sorted(book.sources().items()):
        mark = f'<a id="{place}"></a>{place}'
        for source in sources:
            rows.append(f"| {mark} | {source.step} | {source.output} | `{source.digest}` |")
            mark = ""
    return "\n".join(rows) + "\n"


def to_html(text: str, images: Mapping[str, bytes], title: str) -> str:
    """One page that needs nothing else: figures inside, no script, no network. `images`: path in the text → PNG."""
    body = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    for path, data in images.items():
        body = body.replace(f'src="{path}"', f'src="data:image/png;base64,{base64.b64encode(data).decode()}"')
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    return f"<!doctype html><html lang=en><head>{head}<style>{CSS}</style></head><body>{body}</body></html>"
