"""Labels of a study: which answers get them, how an answer is named, and the file that ships with this repository.

A labeller sees an answer beside its item and nothing of where it came from. Equal answers to one item share a name, so
they are labelled once. Rules that labels follow: `common/stance/data/codebook.md`.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pydantic import Field

from common.digests import sha256
from common.errors import InputError
from common.provenance import ROOT
from common.records import Answer, Label, Record
from common.serialization import canonical_json, read_jsonl
from common.vocabulary import Said, Side

CODEBOOK = "common/stance/data/codebook.md"  # what labellers get, and a judge as its whole system prompt
LOCKS = ROOT / "locks"
PASSES = 2
Pairs = Mapping[str, tuple[Said, Said]]  # name of an answer → its labels, in the order of the labellers' names


class SheetRow(Record):
    """An answer as a labeller sees it: with its item, and without cell, arm, sample and the reader's reading."""

    answer: str = Field(description="names item and text: the label refers to it")
    situation: str
    proposes: Side = Field(description="what the situation puts forward")
    going: str = Field(description="what is `go`")
    staying: str = Field(description="what is `stay`")
    text: str = Field(description="the answer")


def answer_digest(item: str, text: str) -> str:
    """The name of an answer to an item: 16 hex digits of the SHA-256 of both."""
    return sha256(canonical_json({"item": item, "text": text}))[:16]


def to_label(rows: Iterable[Answer]) -> list[Answer]:
    """The answers that get labels: the greedy ones, to items of all kinds and under every system prompt."""
    return [row for row in rows if not row.sample]


def labels_file(study: str) -> Path:
    """Where the labels of a study are kept in this repository: both passes, one row a labeller and answer."""
    return LOCKS / f"{study}.labels.jsonl"


def read_labels(path: Path) -> list[Label]:
    """The labels that are kept; none where there is no file yet. Raises: InputError as `pairs_of` or `read_jsonl`."""
    rows = read_jsonl(path, Label) if path.is_file() else []
    pairs_of(rows, path.name)
    return rows


def pairs_of(rows: Sequence[Label], where: str) -> Pairs:
    """Both labels of each answer.

    Raises: InputError for a labeller too many, an answer that one labels twice, and one that only one has labelled.
    """
    if len(names := sorted({row.labeller for row in rows})) > PASSES:
        allowed = f"the same {PASSES} labellers for all answers of a study"
        raise InputError("a third labeller", where=where, value=", ".join(names), allowed=allowed)
    found: dict[str, dict[str, Said]] = {}
    for row in rows:
        mine = found.setdefault(row.answer, {})
        if row.labeller in mine:
            raise InputError("answer is labelled twice", where=where, value=f"{row.answer} by {row.labeller}")
        mine[row.labeller] = row.label
    for answer, labels in found.items():
        if len(labels) < PASSES:
            value, allowed = f"{answer} is labelled by {next(iter(labels))} alone", f"{PASSES} labels of each answer"
            raise InputError("a label is missing", where=where, value=value, allowed=allowed)
    return {answer: (labels[names[0]], labels[names[1]]) for answer, labels in found.items()}
