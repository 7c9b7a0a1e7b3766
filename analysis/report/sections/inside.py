"""Inside the models: what was read, what moved, what caused anything.

The sentences stand in a template, REPORT.md.jinja: `n` asks the book, `name` names, `figures` holds what was drawn.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from analysis.report.inside import PARTS, PLACES, mediated
from analysis.report.prose import Named, Piece, Prose, prose
from analysis.report.representation import NULLS, TESTS
from analysis.report.section import Heading, Part, Picture, Raw, Section
from analysis.report.sections.facts import Facts
from analysis.stats.intervals import ALPHA

FOLDER = Path(__file__).parents[1]
TEMPLATE = "REPORT.md.jinja"
# Private characters around what came from the book or is a name: what a template types lacks them.
NUMBER, NAME, CLOSE = "\ue000", "\ue001", "\ue002"
MARKED = re.compile(f"([{NUMBER}{NAME}])([^{CLOSE}]*){CLOSE}")
IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)]*)\)\s*(?:\*([^*]*)\*)?")


def inside(facts: Facts, pictures: Mapping[str, bytes]) -> Section:
    """The section. pictures: name → PNG, of the figures that were drawn for it."""
    parts: list[Part] = []
    for model in facts.study.bases:
        parts += [Heading(prose(Named(model))), *told(facts, model, pictures)]
    opening = prose(
        "Activations tell apart what can be read in the base, what moved in the fine-tunes, and what causes anything "
        "when it is pushed."
    )
    return Section("inside", "Inside: read, moved, caused", "exploratory", opening, tuple(parts))


def told(facts: Facts, model: str, pictures: Mapping[str, bytes]) -> list[Part]:
    """The text of one model, and its pictures where the text shows them."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
    names = [name for name in pictures if name.endswith(f"-{model}")]
    text = environment.get_template(TEMPLATE).render(
        study=facts.study,
        book=facts.book,
        model=model,
        figures={name: _marked(NAME, name) for name in names},
        name=lambda of: _marked(NAME, of),
        n=lambda key: _marked(NUMBER, key),
        v=facts.v,
        alpha=ALPHA,
        nulls=NULLS,
        parts=PARTS,
        places=PLACES,
        tried=TESTS,
        mediated=mediated,
    )
    return _parts(facts, text, pictures)


def _marked(mark: str, text: str) -> str:
    return mark + text + CLOSE


def _parts(facts: Facts, text: str, pictures: Mapping[str, bytes]) -> list[Part]:
    """Prose and pictures, in the order of the text."""
    made: list[Part] = []
    at = 0
    for found in IMAGE.finditer(text):
        made.append(Raw(_prose(facts, text[at : found.start()])))
        name = MARKED.sub(r"\2", found[2])
        made.append(Picture(name, pictures[name], found[1], _prose(facts, found[3] or found[1])))
        at = found.end()
    return [*made, Raw(_prose(facts, text[at:]))]


def _prose(facts: Facts, text: str) -> Prose:
    """Marked text as pieces. Raises: UnboundNumber if it holds a number of its own."""
    pieces: list[Piece] = []
    at = 0
    for found in MARKED.finditer(text):
        pieces += [text[at : found.start()], facts.n(found[2]) if found[1] == NUMBER else Named(found[2])]
        at = found.end()
    return prose(*pieces, text[at:])
