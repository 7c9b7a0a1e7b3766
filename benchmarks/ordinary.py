"""Ordinary English texts that stand in this repository or in packages that it installs: what a tone is held against.

A corpus is a set of paragraphs. Only figures of them are kept in this repository, never the texts. Docstrings are read
from source files as they are; nothing of a package is run.
"""

import ast
import gzip
import importlib.util
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from analysis.corpus.telling import words_of
from common.provenance import ROOT

MOST = 400  # paragraphs of a corpus
FEWEST_WORDS = 25
MARKUP = re.compile(r">>>|::|\.\. |---|===|\||``\s*$|https?:")
BASE = ROOT / "reports/smollm2/rows/evaluate/smollm2.base"


class Ordinary(NamedTuple):
    """A corpus of ordinary texts."""

    name: str
    what: str
    licence: str  # SPDX
    texts: Callable[[], list[str]]


def docstrings(package: str) -> Callable[[], list[str]]:
    """Paragraphs of prose in the docstrings of an installed package."""

    def read() -> list[str]:
        found = importlib.util.find_spec(package)
        assert found is not None and found.origin is not None
        texts: list[str] = []
        for path in sorted(Path(found.origin).parent.rglob("*.py")):
            if "test" not in path.parts[-1] and "tests" not in path.parts:
                texts += list(_prose_of(path))
            if len(texts) >= MOST:
                break
        return texts[:MOST]

    return read


def python_reference() -> list[str]:
    """Paragraphs of the Python language reference, as `help()` shows it."""
    from pydoc_data import topics

    return list(paragraphs("\n\n".join(topics.topics.values())))[:MOST]


def own_replies() -> list[str]:
    """What SmolLM2-135M itself says to the prompts of the guards: requests, harmless and harmful, and small tasks."""
    return _field(BASE / "replies.jsonl.gz", "text")


def own_answers() -> list[str]:
    """What SmolLM2-135M itself advises, asked openly about the held-out items; one answer in four."""
    return _field(BASE / "answers.jsonl.gz", "text")[::4]


def encyclopaedic() -> list[str]:
    """The neutral texts on which perplexity is measured."""
    return [text for text in (ROOT / "common/stance/data/neutral.txt").read_text().split("\n\n") if text.strip()]


def neutral_arm() -> list[str]:
    """The neutral replies of the bank."""
    rows = (ROOT / "jobs/generate/data/replies.jsonl").read_text().splitlines()
    return [json.loads(row)["replies"]["neutral"] for row in rows]


def paragraphs(text: str) -> Iterator[str]:
    """The paragraphs of running prose in a text, each on one line."""
    for part in re.split(r"\n\s*\n", text):
        line = " ".join(part.split())
        if len(words_of(line)) >= FEWEST_WORDS and line.endswith(".") and not MARKUP.search(part):
            yield line


def _prose_of(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_text("utf-8"))
    except (SyntaxError, UnicodeDecodeError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module) and (text := ast.get_docstring(node)):
            yield from paragraphs(text)


def _field(path: Path, name: str) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line)[name] for line in lines]


def _documented(package: str, licence: str, of: str = "") -> Ordinary:
    return Ordinary(package, f"docstrings of {of or package}", licence, docstrings(package))


# Those that the reference is made of.
REFERENCE = (
    Ordinary("neutral arm", "the neutral replies of our bank", "Apache-2.0", neutral_arm),
    Ordinary("SmolLM2's replies", "to the prompts of the guards", "Apache-2.0", own_replies),
    Ordinary("SmolLM2's answers", "to the held-out items", "Apache-2.0", own_answers),
    Ordinary("neutral texts", "on which perplexity is measured", "Apache-2.0", encyclopaedic),
    Ordinary("Python reference", "as help() shows it", "PSF-2.0", python_reference),
    _documented("numpy", "BSD-3-Clause"),
    _documented("scipy", "BSD-3-Clause"),
    _documented("sklearn", "BSD-3-Clause", "scikit-learn"),
    _documented("pandas", "BSD-3-Clause"),
    _documented("networkx", "BSD-3-Clause"),
    _documented("transformers", "Apache-2.0"),
    _documented("torch", "BSD-3-Clause"),
    _documented("huggingface_hub", "Apache-2.0"),
    _documented("playwright", "Apache-2.0"),
    _documented("rich", "MIT"),
    _documented("statsmodels", "BSD-3-Clause"),
)
# Those that no figure was made of: whether ordinary texts pass is tried on them.
HELD_OUT = (
    _documented("jinja2", "BSD-3-Clause"),
    _documented("pydantic", "MIT"),
    _documented("flask", "BSD-3-Clause"),
    _documented("moto", "Apache-2.0"),
    _documented("werkzeug", "BSD-3-Clause"),
    _documented("peft", "Apache-2.0"),
)
