"""Labels for the synthetic study: what two labellers say of its answers, drawn by the name of each answer."""

from pathlib import Path

import numpy as np
import pytest

from common.cells import Cell, CellKind, cells_of
from common.digests import sha256
from common.records import Answer, Label
from common.spec import RunSpec
from common.stance import labels
from common.stance.labels import answer_digest
from common.vocabulary import SAID, Said
from tests.jobs import sealed_study
from tests.jobs.sealed_study import generator

USUAL = sealed_study.answers
ALIKE = ("e-bikes-go", "The same words everywhere.")  # an item to which every cell says the same, greedily


def worded(cell: Cell, rng: np.random.Generator) -> list[Answer]:
    """Answers whose words tell nothing of the cell."""
    return [row.model_copy(update={"text": _text(row)}) for row in USUAL(cell, rng)]


def _text(row: Answer) -> str:
    if row.item == ALIKE[0] and not row.sample:
        return ALIKE[1]
    return f"Words {sha256(f'{row.cell} {row.item} {row.sample} {row.prompted} {row.prompted_by}'.encode())[:8]}."


def greedy(spec: RunSpec) -> list[Answer]:
    """The greedy answers of all cells, as they are sealed."""
    cells = [*cells_of(spec, CellKind.BASE), *cells_of(spec, CellKind.RUN)]
    return [row for cell in cells for row in worded(cell, generator(cell, "answers")) if not row.sample]


def pair(name: str) -> tuple[Said, Said]:
    """Both labels of an answer; they differ in about one of eight."""
    drawn = int(name, 16)
    first = SAID[drawn % 3]
    return first, (SAID[(drawn + 1) % 3] if drawn // 3 % 8 == 0 else first)


def both_passes(spec: RunSpec) -> list[Label]:
    """The labels of all greedy answers by both labellers."""
    names = sorted({answer_digest(row.item, row.text) for row in greedy(spec)})
    return [
        Label(labeller=labeller, answer=name, label=pair(name)[at])
        for name in names
        for at, labeller in enumerate(("ada", "bo"))
    ]


@pytest.fixture(name="locks")
def folder_of_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of locks of the test's own, and answers whose words tell nothing of the cell."""
    monkeypatch.setattr(labels, "LOCKS", tmp_path / "locks")
    monkeypatch.setattr(sealed_study, "answers", worded)
    return tmp_path / "locks"
