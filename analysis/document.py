"""REPORT.md and report.html from bound numbers. A number in the text that no artifact stands for ends the build."""

import base64
import re
from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt

from analysis.numbers import Book, UnboundNumber, anchor
from analysis.results import Study

FOLDER = Path(__file__).parent
TEMPLATE = "REPORT.md.jinja"
BOUND = re.compile(r"\[[^\]\n]*\]\(#s-[0-9a-f]{8}\)")
TARGET = re.compile(r"\]\([^)\n]*\)")
CSS = """
body{font:16px/1.55 Georgia,serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
h1,h2,h3,th,figcaption{font-family:system-ui,sans-serif;line-height:1.25}
table{border-collapse:collapse;margin:1rem 0;display:block;overflow-x:auto}
td,th{border-bottom:1px solid #ddd;padding:.3rem .7rem;text-align:left;font-size:.92rem;white-space:nowrap}
img{max-width:100%}a{color:inherit;text-decoration-color:#bbb;text-underline-offset:2px}
code{font-size:.82rem;overflow-wrap:anywhere}@media print{body{margin:0}a{text-decoration:none}}
"""


class Names:
    """Identifiers that may hold digits, since they name things: models, cells, digests. Collected as they are used."""

    def __init__(self) -> None:
        self.used: set[str] = set()

    def __call__(self, text: str) -> str:
        """Render an identifier as code."""
        self.used.add(f"`{text}`")
        return f"`{text}`"


def render(study: Study, book: Book, figures: Mapping[str, str]) -> str:
    """REPORT.md. `figures`: name → path relative to the report.

    Raises: UnboundNumber, quoting the line, if the text holds a number that is not in the book.
    """
    names = Names()
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
    text = environment.get_template(TEMPLATE).render(
        study=study, book=book, figures=figures, name=names, n=lambda key: link(book, key), v=book.value
    )
    check_bound(text, names.used)
    return text + _appendix(book)


def link(book: Book, key: str) -> str:
    """A number as a link to the row of its sources."""
    number = book[key]
    return f"[{number.text()}](#{anchor(number)})"


def check_bound(text: str, names: set[str]) -> None:
    """Raise UnboundNumber at the first digit outside bound numbers, link targets and names."""
    for line in text.splitlines():
        bare = BOUND.sub("", line)
        for name in sorted(names, key=len, reverse=True):
            bare = bare.replace(name, "")
        bare = TARGET.sub("]", bare)
        if found := re.search(r"\S*\d\S*", bare):
            raise UnboundNumber("number in the report that no artifact stands for", where=line.strip(), value=found[0])


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
