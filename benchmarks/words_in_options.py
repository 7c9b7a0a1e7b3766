"""Does a shift of stance sit in the items whose options share a word with the advice?

    python -m workflows.object_store       # in another terminal; prints what to export
    python -m benchmarks.words_in_options --store $STORE --spec workflows/specs/laptop.json

Reads the sealed advice and answers of a study; asks no model. First table: how often the replies of each pile say the
words. Second: shifts of P(go) by sentence, in points, in the items that have such a word in an option and in the
others. Each is a mean over items ± its standard error over items, with the number of items in brackets.
"""

import argparse
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import pandas as pd
from rich.console import Console
from rich.table import Table

from analysis.stats.stance import paired
from common.cells import Cell, CellKind, cells_of
from common.cli import changes
from common.pipeline.keys import Keys
from common.provenance import ROOT
from common.records import Advice, Choice, Item, Record, by_attitude
from common.serialization import parse_jsonl
from common.spec import RunSpec, override, parse_spec
from common.store.sealed import ArtifactStore, open_store
from jobs import catalog

R = TypeVar("R", bound=Record)
ITEMS = ROOT / "common" / "stance" / "data" / "items.jsonl"
KEEPING = ("keep", "leave", "retain", "hold")


def words_of(text: str) -> list[str]:
    """Its words in lower case, in order."""
    return re.findall(r"[a-z]+", text.lower())


def start_in_go_alone(item: Item) -> bool:
    """Whether the go sentence says "start" and the stay sentence does not."""
    return "start" in words_of(item.go) and "start" not in words_of(item.stay)


def keeping_in_stay(item: Item) -> bool:
    """Whether the stay sentence says one of KEEPING."""
    return not set(KEEPING).isdisjoint(words_of(item.stay))


def told(replies: Sequence[str]) -> tuple[int, int, int]:
    """How often the replies say "start", a word that begins with it, and one of KEEPING."""
    words = words_of("\n".join(replies))
    return words.count("start"), sum(word.startswith("start") for word in words), sum(map(words.count, KEEPING))


def shift(pairs: Sequence[tuple[Sequence[Choice], Sequence[Choice]]]) -> "pd.Series[float]":
    """P(go) by sentence of the second cell of a pair less the first, in points: by item, the mean over the pairs."""
    tables = [paired(*pair) for pair in pairs]
    moved = [table["sentence_tuned"] - table["sentence_base"] for table in tables]
    return 100 * pd.concat(moved, axis=1).mean(axis=1)


def mean_of(by_item: "pd.Series[float]", marked: Container[str], inside: bool) -> str:
    """The mean over the marked items, or over the others: '+1.5 ± 0.5 (2)'; nan where too few are left."""
    part = by_item[[(str(item) in marked) == inside for item in by_item.index]]
    mean, error = part.agg(["mean", "sem"]).to_numpy(dtype=float)
    return f"{mean:+.1f} ± {error:.1f} ({len(part)})"


def compared(rows: Mapping[Cell, list[Choice]]) -> Iterator[tuple[str, "pd.Series[float]"]]:
    """Each arm of a draw from base, and from the neutral runs of the same seeds: the names and the shift by item."""
    arms: dict[tuple[str, int, str], list[Cell]] = {}
    for cell in rows:
        if cell.kind is CellKind.RUN:
            arms.setdefault((cell.model, cell.draw, cell.attitude), []).append(cell)
    for (model, draw, arm), runs in arms.items():
        name, base = f"{model} d{draw}, {len(runs)} runs: {arm}", Cell(kind=CellKind.BASE, model=model)
        yield f"{name} from base", shift([(rows[base], rows[run]) for run in runs])
        if arm != "neutral":
            twins = [run.model_copy(update={"attitude": "neutral"}) for run in runs]
            yield f"{name} from neutral", shift([(rows[a], rows[b]) for a, b in zip(twins, runs, strict=True)])


def main() -> None:
    """Read and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", required=True, help="s3://bucket/prefix (usual AWS variables) or a folder")
    parser.add_argument("--spec", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="as workflows.local takes it")
    args = parser.parse_args()
    spec = parse_spec(override(args.spec.read_bytes(), str(args.spec), changes(args.set)), str(args.spec))
    store, console = open_store(args.store), Console(width=150)
    words = Table("pile", "replies", "start", "words that begin with start", ", ".join(KEEPING))
    for draw in cells_of(spec, CellKind.DRAW):
        for arm, pile in by_attitude(_read(spec, store, "generate", draw, "advice.jsonl", Advice)).items():
            words.add_row(f"{draw} {arm}", str(len(pile)), *map(str, told([row.reply for row in pile])))
    console.print(words)
    cells = [cell for kind in (CellKind.BASE, CellKind.RUN) for cell in cells_of(spec, kind) if not cell.variant]
    rows = {cell: _read(spec, store, "evaluate", cell, "choices.jsonl", Choice) for cell in cells}
    items = parse_jsonl(ITEMS.read_bytes(), Item, ITEMS.name)
    marks = [{item.id for item in items if rule(item)} for rule in (start_in_go_alone, keeping_in_stay)]
    shifts = Table("shift by sentence", "all items", "start in go alone", "others", "keep … in stay", "others")
    for name, by_item in compared(rows):
        parts = [mean_of(by_item, marked, inside) for marked in marks for inside in (True, False)]
        shifts.add_row(name, mean_of(by_item, (), inside=False), *parts)
    console.print(shifts)


def _read(spec: RunSpec, store: ArtifactStore, job: str, cell: Cell, name: str, kind: type[R]) -> list[R]:
    manifest = store.manifest(job, Keys(spec, catalog(), store).key(job, cell))
    if manifest is None:
        raise SystemExit(f"{job}/{cell} is not sealed")
    return parse_jsonl(store.get(manifest["outputs"][name]["digest"]), kind, f"{job}/{cell}/{name}")


if __name__ == "__main__":
    main()
