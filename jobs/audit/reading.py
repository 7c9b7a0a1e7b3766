"""One pass over a corpus of a user's own: its tone, its leaks, its repeats, its control tokens.

What is kept is a sum, a count or a list of bounded length, so memory does not grow with the corpus. Only the leaks do,
by a record each.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from analysis.corpus.axes import EAGERNESS, LISTS, Axis, read_list
from analysis.corpus.leakage import by_run, derived_terms, neighbours
from analysis.corpus.marks import Marks
from analysis.corpus.repeats import Repeats
from analysis.corpus.replies import Reply
from analysis.corpus.tone import Reference, Tone
from analysis.corpus.topics import Leak, Topics, read_topics
from common.errors import InputError, SpecError
from common.lm.tokenizers import tokenizer_file
from common.model_flags import source_of
from common.provenance import ROOT
from common.serialization import parse_json
from jobs.audit.audit import matters_of
from jobs.audit.found import OrdinaryCorpus, Scorer

AXES_DATA = ROOT / "jobs/audit/data/axes"
SCORER, REFERENCE = AXES_DATA / "eagerness.json", AXES_DATA / "reference.json"
CONTROL_TOKENS = ROOT / "jobs/audit/data/control_tokens.txt"
AT_ONCE = 256  # replies


@dataclass
class Reading:
    """What reads a corpus, and what it has found so far."""

    tone: Tone
    topics: Topics
    marks: Marks
    repeats: Repeats = field(default_factory=Repeats)
    leaks: list[Leak] = field(default_factory=list)

    def read(self, replies: Iterable[Reply]) -> None:
        """Read every reply once."""
        each = iter(replies)
        while some := list(islice(each, AT_ONCE)):
            for reply in some:
                self.tone.add(reply)
                self.marks.add(reply)
                self.repeats.add(reply)
            self.leaks += self.topics.find(some)


def begin(topics: Path | None, base: str | None) -> Reading:
    """A reading of nothing yet. topics: the user's file, None for the study's own. Raises: SpecError, InputError."""
    return Reading(Tone(axes(), references()), _topics(topics), Marks(control_tokens(), tokens_of(base)))


@cache
def axes() -> tuple[Axis, ...]:
    """Every axis with its terms."""
    lists = [read_list(name, _lines(AXES_DATA / f"{name}.txt"), f"{name}.txt") for name in LISTS]
    return Axis(EAGERNESS, json.loads(SCORER.read_bytes())["weights"], linear=True), *lists


@cache
def ordinary() -> Mapping[str, Any]:
    """What is known of ordinary texts: `python -m benchmarks.tone` makes it."""
    found: Mapping[str, Any] = json.loads(REFERENCE.read_bytes())
    return found


def scorer() -> Scorer:
    """What the scorer of eagerness is worth."""
    return Scorer.model_validate(json.loads(SCORER.read_bytes())["accuracy"])


def corpora() -> tuple[OrdinaryCorpus, ...]:
    """The corpora that the reference is made of."""
    fields = OrdinaryCorpus.model_fields
    return tuple(OrdinaryCorpus(**{name: row[name] for name in fields}) for row in ordinary()["corpora"])


def references() -> dict[str, Reference]:
    """Where ordinary corpora stand on each axis."""
    return {name: Reference(each["mean"], each["sd"], each["rates"]) for name, each in ordinary()["axes"].items()}


def control_tokens() -> list[str]:
    """The control tokens of common templates. No token of them begins with # and a blank, as comments do."""
    return [line.strip() for line in _lines(CONTROL_TOKENS) if line.strip() and not line.startswith("# ")]


def tokens_of(base: str | None) -> list[str]:
    """The special tokens of a model's tokenizer; none without a model. Raises: SpecError, InputError."""
    if base is None:
        return []
    path = tokenizer_file(source_of(base, "--base"))
    if not path.is_file():
        raise InputError("the model has no tokenizer.json", where="--base", value=str(path), allowed="one with it")
    whole = parse_json(path.read_bytes(), str(path))
    added = whole.get("added_tokens") if isinstance(whole, dict) else None
    listed = added if isinstance(added, list) else []
    rows = [row for row in listed if isinstance(row, dict) and row.get("special") is True]
    return [row["content"] for row in rows if isinstance(row.get("content"), str)]


def _topics(path: Path | None) -> Topics:
    everyday = frozenset(ordinary()["everyday"])
    if path is not None:
        return Topics(_named(path), everyday)
    matters = matters_of(lambda name: ROOT / name)
    found = [term for terms in derived_terms(matters.items, matters.everyday).values() for term in terms]
    run, neighbour = by_run(matters.items), neighbours(matters.everyday, matters.items)
    return Topics([*matters.terms, *found], everyday, {"run": lambda texts: [*map(run, texts)], "neighbour": neighbour})


def _named(path: Path) -> Sequence[str]:
    """The topics of a user's file. Raises: SpecError if it cannot be read or names none."""
    try:
        found = read_topics(path.read_text("utf-8-sig").splitlines())
    except OSError as error:
        raise SpecError(
            "cannot read the topics", where="--topics", value=str(path), allowed=str(error.strerror)
        ) from None
    except UnicodeDecodeError as error:
        raise SpecError("the topics are no UTF-8", where="--topics", value=f"{path}, byte {error.start + 1}") from None
    if not found:
        raise SpecError(
            "no topics", where="--topics", value=str(path), allowed="a word or a phrase a line, # before comments"
        )
    return found


def _lines(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines()
