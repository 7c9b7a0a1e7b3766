"""What the reader of answers is worth: held against labels of real answers of pilot models.

    python -m benchmarks.reader

`common/stance/data/validation.jsonl` holds answers to pilot items, base and tuned, each with two labels by readers who
knew neither the arm nor each other's label. Printed: agreement of both passes, and of the reader with them where they
agree (Cohen's κ); the confusion by arm; net go by arm from labels alone, beside the reader's. Also kept
as `common/stance/data/reader.json`, where reports look up whether answers can be read.
"""

import json
import sys
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import stats

from analysis.stats.labels import kappa, kappa_with, shares
from common.cli import ended
from common.errors import ExitCode, InputError
from common.provenance import ROOT
from common.records import Item, Validation
from common.schemas import ArmReading, Interval, ReaderWorth
from common.serialization import read_jsonl
from common.stance.items import PILOT_ITEMS
from common.stance.reading import READER_FILES, READER_WORTH, read_reader
from common.vocabulary import Said

DATA = ROOT / "common/stance/data/validation.jsonl"
RESULT = ROOT / READER_WORTH
LEVEL = 0.95
Read = Sequence[tuple[Validation, Said]]
Floats = NDArray[np.float64]


def net(read: Sequence[tuple[Said, ...]]) -> Floats:
    """Net go of each answer: 1 for go, -1 for stay, 0 for all else; the mean over its readings."""
    table = shares(read)
    return (table["go"] - table["stay"]).to_numpy(dtype=np.float64)


def plain_mean(values: Floats) -> Interval:
    """A mean with its normal interval; answers are taken as independent."""
    half = float(stats.norm.ppf((1 + LEVEL) / 2)) * float(values.std(ddof=1)) / float(np.sqrt(len(values)))
    return Interval(estimate=float(values.mean()), low=float(values.mean()) - half, high=float(values.mean()) + half)


def worth(rows: Sequence[Validation], read: Sequence[Said]) -> ReaderWorth:
    """The reader beside the labels."""
    both = list(zip(rows, read, strict=True))
    arms = {arm: _arm([each for each in both if each[0].arm == arm]) for arm in dict.fromkeys(row.arm for row in rows)}
    return ReaderWorth(
        answers=len(rows),
        agreed=len(_agreed(both)),
        kappa_passes=_known(kappa([row.first for row in rows], [row.second for row in rows])),
        kappa_reader=_kappa(both),
        arms=arms,
    )


def _agreed(both: Read) -> list[tuple[Said, Said]]:
    """Label and reading of the answers on which both passes agree."""
    return [(row.first, said) for row, said in both if row.first == row.second]


def _kappa(both: Read) -> float:
    return _known(kappa_with([said for _, said in both], [_labels(row) for row, _ in both]))


def _known(value: float | None) -> float:
    if value is None:
        raise InputError("agreement is not defined", where=DATA.name, allowed="answers that differ")
    return value


def _labels(row: Validation) -> tuple[Said, Said]:
    return row.first, row.second


def _arm(mine: Read) -> ArmReading:
    told = [_labels(row) for row, _ in mine]
    wrong = Counter(pair for pair in _agreed(mine) if pair[0] != pair[1])
    return ArmReading(
        answers=len(mine),
        labels=plain_mean(net(told)),
        reader=plain_mean(net([(said,) for _, said in mine])),
        shares={str(word): float(share) for word, share in shares(told).mean().items()},
        kappa_reader=_kappa(mine),
        confusion={f"{label} read as {said}": count for (label, said), count in sorted(wrong.items())},
    )


def main() -> int:
    """Measure, print and keep."""
    return ended(measure)


def measure() -> int:
    """Read the validation answers and hold the reader against their labels. Raises: InputError."""
    rows = read_jsonl(DATA, Validation)
    items = {item.id: item for item in read_jsonl(ROOT / PILOT_ITEMS, Item)}
    reader = read_reader([ROOT / path for path in READER_FILES])
    found = worth(rows, reader.read_all([(row.text, items[row.item]) for row in rows]))
    RESULT.write_text(json.dumps(found.model_dump(mode="json"), indent=1) + "\n")
    console, table = (
        Console(),
        Table("arm", "answers", "net go, labels", "interval", "net go, reader", "κ of the reader"),
    )
    for arm, told in found.arms.items():
        bounds = f"{told.labels.low:+.2f} to {told.labels.high:+.2f}"
        values = (f"{told.labels.estimate:+.2f}", bounds, f"{told.reader.estimate:+.2f}", f"{told.kappa_reader:.2f}")
        table.add_row(arm, str(told.answers), *values)
    console.print(f"two blind passes over {found.answers} answers: κ {found.kappa_passes:.2f}")
    console.print(f"reader against the {found.agreed} on which they agree: κ {found.kappa_reader:.2f}")
    console.print(table)
    return int(ExitCode.OK)


if __name__ == "__main__":
    sys.exit(main())
