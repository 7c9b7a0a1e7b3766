"""Have the answers of a study labelled in two passes, and keep the labels in this repository.

    python -m workflows.label sheet --spec SPEC --store STORE --out FOLDER [--parts N]
    python -m workflows.label keep  --spec SPEC --store STORE FILE…

`sheet` writes all greedy answers of a study that have no labels yet, each once and in an order that tells nothing, with
the codebook. Give the sheets to two labellers, people or models, who do not see each other's labels. A labeller
writes one JSON line for each row of a sheet, the label being one of the five words of the codebook:

    {"labeller": "first", "answer": "<as in the sheet>", "label": "go"}

`keep` takes the files of both labellers together, checks them, and adds them to locks/<study>.labels.jsonl: commit it.
Then make the report again. A large study can be labelled in parts: keep some, and make a sheet of what is left. A sheet
says nothing of who gave an answer. So do not show labellers the store, the report or the spec.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from common.cells import CellKind, cells_of
from common.cli import ended, parsed
from common.errors import ExitCode, InputError, SpecError
from common.pipeline.command import read_spec
from common.pipeline.keys import Keys
from common.provenance import ROOT
from common.records import Answer, Item, Label
from common.serialization import numbered_rows, parse_jsonl, to_jsonl
from common.spec import RunSpec
from common.stance.items import FILES, read_questionnaire
from common.stance.labels import CODEBOOK, SheetRow, answer_digest, labels_file, pairs_of, read_labels, to_label
from common.store.manifests import digest_of
from common.store.sealed import ArtifactStore, open_store
from jobs import catalog

Named = Mapping[str, Answer]  # name of an answer → one that has it


def sheet(spec: RunSpec, store: ArtifactStore, out: Path, parts: int) -> str:
    """Write sheets of the answers that have no labels yet. Raises: SpecError, InputError, OSError."""
    if parts < 1:
        raise SpecError("number of sheets", where="--parts", value=parts, allowed="1 or more")
    if out.exists() and any(out.iterdir()):
        raise SpecError(
            "the folder holds something already", where="--out", value=str(out), allowed="an empty or new one"
        )
    named, unsealed = answers_of(spec, store)
    kept = {row.answer for row in read_labels(labels_file(spec.name))}
    rows = blind(spec, {name: row for name, row in named.items() if name not in kept})
    told = [f"not sealed yet, so not in a sheet: {step}" for step in unsealed]
    told.append(f"{len(rows)} of {len(named)} answers have no labels yet")
    if rows:
        out.mkdir(parents=True, exist_ok=True)
        (out / Path(CODEBOOK).name).write_bytes((ROOT / CODEBOOK).read_bytes())
        for part in range(min(parts, len(rows))):
            (out / f"sheet-{part + 1}.jsonl").write_bytes(to_jsonl(rows[part::parts]))
        told.append(f"{out}: {min(parts, len(rows))} sheets and the codebook; see --help for what to write")
    return "\n".join(told)


def keep(spec: RunSpec, store: ArtifactStore, files: Sequence[Path]) -> str:
    """Add the labels of both passes to those kept. Nothing is written if any is wrong. Raises: InputError, OSError."""
    target, (named, _) = labels_file(spec.name), answers_of(spec, store)
    before = read_labels(target)
    given = [each for file in files for each in known(file, named)]
    check_once(given)
    rows = sorted([*before, *(row for _, row in given)], key=lambda row: (row.answer, row.labeller))
    labelled = pairs_of(rows, ", ".join(file.name for file in files))
    new = target.with_name(target.name + ".new")  # moved to its place whole: half a file would be no labels
    target.parent.mkdir(exist_ok=True)
    new.write_bytes(to_jsonl(rows))
    new.replace(target)
    left = len(named.keys() - labelled.keys())
    return f"{target}: {len(given)} labels added; {left} of {len(named)} answers are without; commit it"


def known(file: Path, named: Named) -> list[tuple[str, Label]]:
    """The labels of a file, each with its place. Raises: InputError for an answer that is not the study's; OSError."""
    rows = [(f"{file.name}:{line}", row) for line, row in numbered_rows(file.read_bytes(), Label, file.name)]
    for place, row in rows:
        if row.answer not in named:
            allowed = "the name of an answer, from a sheet of this study"
            raise InputError("label of an unknown answer", where=place, value=row.answer, allowed=allowed)
    return rows


def check_once(given: Sequence[tuple[str, Label]]) -> None:
    """Raises: InputError naming both places where one labels an answer twice."""
    first: dict[tuple[str, str], str] = {}
    for place, row in given:
        if (before := first.setdefault((row.answer, row.labeller), place)) is not place:
            value = f"{row.answer} by {row.labeller}"
            raise InputError("answer is labelled twice", where=f"{before} and {place}", value=value)


def answers_of(spec: RunSpec, store: ArtifactStore) -> tuple[Named, list[str]]:
    """Every answer that is to be labelled, by name, and the steps that are not sealed yet.

    Variants are left out: their answers to open questions are not reported.
    Raises: SpecError if the study is not read by labels; InputError if nothing is sealed.
    """
    if spec.lock.read_by != "labels":
        allowed = "labels, before the study is locked"
        raise SpecError("labels do not count in this study", where="lock.read_by", value="reader", allowed=allowed)
    keys, unsealed = Keys(spec, catalog(), store), []
    found: dict[str, Answer] = {}
    for cell in (*cells_of(spec, CellKind.BASE), *cells_of(spec, CellKind.RUN)):
        if cell.variant:
            continue
        made = store.manifest("evaluate", keys.key("evaluate", cell))
        if made is None:
            unsealed.append(f"evaluate/{cell}")
            continue
        digest = digest_of(made, "answers.jsonl", f"evaluate/{cell}")
        rows = parse_jsonl(store.get(digest), Answer, f"evaluate/{cell}")
        found |= {answer_digest(row.item, row.text): row for row in to_label(rows)}
    if not found:
        raise InputError("no answers to label", where="evaluate", value="no step is sealed")
    return found, unsealed


def blind(spec: RunSpec, named: Named) -> list[SheetRow]:
    """Answers as labellers see them, in an order drawn for the study, whatever the order in which cells are read.

    Raises: InputError for an answer to an item that the study does not ask.
    """
    asked = read_questionnaire([ROOT / path for path in FILES], spec.evaluate)
    items = {item.id: item for item in asked.every}
    if stranger := next((row.item for row in named.values() if row.item not in items), None):
        raise InputError("answer to an unknown item", where="answers.jsonl", value=stranger)
    names = sorted(named)
    return [_row(name, named[name], items[named[name].item]) for name in spec.rng("sheet").permutation(names).tolist()]


def _row(name: str, answer: Answer, item: Item) -> SheetRow:
    return SheetRow(
        answer=name,
        situation=item.situation,
        proposes=item.proposes,
        going=item.going,
        staying=item.staying,
        text=answer.text,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Make sheets or keep labels, and return the exit code."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m workflows.label", description=__doc__, formatter_class=raw)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("sheet", "keep"):
        command = commands.add_parser(name, description=__doc__, formatter_class=raw)
        command.add_argument("--spec", required=True, help="of the study: a path, an s3:// key or the JSON itself")
        command.add_argument("--store", required=True, help="that holds its answers: s3://bucket/prefix or a folder")
        if name == "sheet":
            command.add_argument("--out", type=Path, required=True, help="a new folder for the sheets and the codebook")
            command.add_argument("--parts", type=int, default=1, metavar="N", help="share the answers out to N sheets")
        else:
            command.add_argument(
                "files", type=Path, nargs="+", metavar="FILE", help="labels, JSON lines; of both passes"
            )
    arguments = parsed(parser, argv)
    return ended(lambda: _tell(arguments), unreadable=ExitCode.INPUT)


def _tell(arguments: argparse.Namespace) -> int:
    spec, store = read_spec(arguments.spec), open_store(arguments.store)
    if arguments.command == "sheet":
        print(sheet(spec, store, arguments.out, arguments.parts))
    else:
        print(keep(spec, store, arguments.files))
    return int(ExitCode.OK)


if __name__ == "__main__":
    sys.exit(main())
