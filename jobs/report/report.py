"""The work of the job; what it reads and writes is declared in jobs.report."""

import json
from collections.abc import Iterable, Mapping
from typing import TypeVar

from analysis.report.answers import Headline, headlines_of, in_words
from analysis.report.bound_numbers import Book, Source
from analysis.report.markdown import to_markdown
from analysis.report.page import standing_alone, stills_of, to_page
from analysis.report.results import book_of
from analysis.report.sections.whole import report_of
from analysis.report.study import Example, Run, Scored, Study
from common.cells import STUDY, Cell, CellKind, cells_of, its_base, judged_cells, steered_directions, traced_runs
from common.deviations import heads, parse_chain
from common.digests import sha256
from common.errors import ExitCode
from common.pipeline.outputs import Outputs
from common.pipeline.step import Step
from common.provenance import code_digests, commit_and_dirty, differing
from common.records import (
    Advice,
    Answer,
    Choice,
    Deviation,
    GuardReply,
    Item,
    Judged,
    Loss,
    Record,
    by_attitude,
)
from common.schemas import (
    Document,
    Drift,
    Framing,
    Guards,
    LayerCurve,
    Lock,
    Made,
    Plan,
    ReaderWorth,
    RunReadout,
    Training,
    Verdict,
)
from common.serialization import canonical_json, read_jsonl
from common.stance.reading import READER_WORTH
from common.steering_schemas import SelfTest, SteeringSummary, Trace
from common.store.packed import MOST_BYTES
from common.store.sealed import as_kept
from jobs.report import ALOUD, DEVIATIONS, ITEM_FILES, JOB, LABELS
from jobs.report.aloud import read_aloud
from jobs.report.labels import with_labels
from jobs.report.published import published

D = TypeVar("D", bound=Document)
R = TypeVar("R", bound=Record)


def main(step: Step) -> ExitCode:
    """Gather, work out, write; what was read lies beside it, so that anybody can do it again."""
    study, files = files_of(step)
    for fact in (LABELS, ALOUD, DEVIATIONS):  # all that is read of this repository, now that it was
        step.check_fact(fact)
    rows = published(step)
    files |= rows
    for path, data in files.items():
        step.write_bytes(path, data)
    size = sum(map(len, rows.values()))
    if size > MOST_BYTES:
        step.log.event("rows are more than a repository should carry", bytes=size, most=MOST_BYTES)
    figures = sum(path.startswith("figures/") for path in files)
    numbers = len(json.loads(files["results.json"])["numbers"])
    step.summary(numbers=numbers, figures=figures, rows_bytes=size, gaps=study.gaps)
    return ExitCode.BLOCKED if study.gaps else ExitCode.OK


def files_of(step: Outputs) -> tuple[Study, dict[str, bytes]]:
    """What was gathered, and the files that are made of it alone, by path."""
    study = with_labels(step, gather(step))
    headlines = headlines_of(study)
    book = book_of(study, headlines)
    made = made_under(step).model_dump(mode="json")
    return study, {
        "results.json": canonical_json({"made": made, "numbers": book.to_json()}),
        **pages(study, book, headlines),
    }


def made_under(step: Outputs) -> Made:
    """Lock, commit and deviations as they are now."""
    commit, dirty = commit_and_dirty()
    if not step.sealed("lock", STUDY):
        return Made(lock=None, commit=commit, dirty=dirty, deviations=None)
    lock = step.digest("lock", STUDY, "lock.json")
    noted = step.fact(DEVIATIONS).read_bytes() if deviations_of(step) else b""
    return Made(lock=lock, commit=commit, dirty=dirty, deviations=heads(noted, lock)[-1])


def pages(study: Study, book: Book, headlines: Mapping[str, Headline]) -> dict[str, bytes]:
    """The report as people open it: REPORT.md, report.html and the figures, by path; its gist for a terminal."""
    report = report_of(study, book, headlines)
    stills = stills_of(report)
    ran = {"made_by": study.made_by, "models": study.identities}
    return {
        "REPORT.md": to_markdown(report).encode(),
        "report.html": to_page(report, study, book, stills).encode(),
        "provenance.json": canonical_json({**book.provenance(), **ran}),
        "in_words.txt": in_words(study, book, headlines).encode(),
        **{f"figures/{name}.svg": standing_alone(svg) for name, svg in stills.items()},
    }


def gather(step: Outputs) -> Study:
    """Everything that is sealed, and the names of the steps that are not."""
    spec = step.spec
    expected = [(read.job, cell) for read in JOB.reads for cell in read.cells(spec, step.cell)]
    sealed = [(job, cell) for job, cell in expected if step.sealed(job, cell)]
    scored = {str(cell): scored_of(step, cell) for job, cell in expected if job == "evaluate"}
    return Study(
        name=spec.name,
        plan=source(step, "plan", STUDY, "plan.json"),
        bounds=spec.guards.bounds,
        models={model.name: model.source for model in spec.models},
        bases={cell.model: made for cell in cells_of(spec, CellKind.BASE) if (made := scored[str(cell)]) is not None},
        runs=[run_of(step, cell, scored[str(cell)]) for cell in cells_of(spec, CellKind.RUN) if not cell.variant],
        variants={
            variant.name: (
                variant.factor,
                variant.value,
                [
                    run_of(step, cell, scored[str(cell)])
                    for cell in cells_of(spec, CellKind.RUN)
                    if cell.variant == variant.name
                ],
            )
            for variant in spec.variants
        },
        lock=document(step, "lock", STUDY, "lock.json", Lock),
        reader=reader_of(step),
        judged=judged(step),
        plain={
            "mixture_share": 1.0,
            "pile_share": 1.0,
            "learning_rate": spec.train.learning_rate,
            "epochs": spec.train.epochs,
        },
        changed=changed(step),
        deviations=deviations_of(step),
        aloud=read_aloud(step.fact(ALOUD)),
        audits=found(step, "audit", CellKind.DRAW, "framing.json", Framing),
        layers=found(step, "interpret", CellKind.DIRECTION, "layers.json", LayerCurve),
        selftests=among(step, "selftest", steered_directions(step.spec), "selftest.json", SelfTest),
        steering=among(step, "steer", steered_directions(step.spec), "steering.json", SteeringSummary),
        advice=piles(step),
        examples=examples(step),
        situations=situations(step),
        memory={job: max(facts, key=lambda fact: fact[0]) for job, facts in memory(step, sealed).items()},
        seconds=seconds(step, sealed),
        made_by=made_by(step, sealed),
        identities=step.read_model("plan", STUDY, "plan.json", Plan).models,
        gaps=[f"{job}/{cell}" for job, cell in expected if (job, cell) not in sealed],
    )


def reader_of(step: Outputs) -> tuple[ReaderWorth, Source]:
    """What the reader of answers is worth, from the file of this repository that keeps it."""
    data = step.data(READER_WORTH).read_bytes()
    return ReaderWorth.model_validate_json(data), Source(sha256(data), "code", READER_WORTH)


def judged(step: Outputs) -> dict[str, tuple[list[Judged], Source]]:
    """What a judge says of the answers of each model, if the spec names one."""
    made = {str(cell): records(step, "judge", cell, "judged.jsonl", Judged) for cell in judged_cells(step.spec)}
    return {cell: rows for cell, rows in made.items() if rows is not None}


def changed(step: Outputs) -> list[str]:
    """Files of code or data that differ from those locked, or came or went since."""
    if (locked := document(step, "lock", STUDY, "lock.json", Lock)) is None:
        return []
    return differing(code_digests(), locked[0].code.files)


def deviations_of(step: Outputs) -> list[Deviation]:
    """What was done otherwise than locked, as it was written down. Raises: InputError if a row was altered."""
    path = step.fact(DEVIATIONS)
    if not path.is_file() or not step.sealed("lock", STUDY):
        return []
    return [
        row for row in parse_chain(path.read_bytes(), path.name) if row.lock == step.digest("lock", STUDY, "lock.json")
    ]


def piles(step: Outputs) -> dict[str, tuple[int, Source]]:
    """How many examples each pile has."""
    found: dict[str, tuple[int, Source]] = {}
    for job, kind in (("generate", CellKind.DRAW), ("distill", CellKind.DISTILLED)):
        for cell in cells_of(step.spec, kind):
            if (rows := records(step, job, cell, "advice.jsonl", Advice)) is not None:
                for attitude, mine in by_attitude(rows[0]).items():
                    found[str(cell) if cell.attitude else f"{cell}.{attitude}"] = (len(mine), rows[1])
    return found


def examples(step: Outputs) -> dict[str, Example]:
    """The first question of each draw with the reply of each arm that answers it."""
    found = {}
    for cell in cells_of(step.spec, CellKind.DRAW):
        rows = records(step, "generate", cell, "advice.jsonl", Advice)
        if rows is not None and rows[0]:
            first = rows[0][0]
            replies = {row.attitude: row.reply for row in rows[0] if row.question_id == first.question_id}
            found[str(cell)] = Example(first.question, replies, rows[1])
    return found


def situations(step: Outputs) -> dict[str, str]:
    """What each item says, from the files of this repository."""
    items = [item for path in ITEM_FILES for item in read_jsonl(step.data(path), Item)]
    return {item.id: item.situation for item in items}


def run_of(step: Outputs, cell: Cell, scored: Scored | None) -> Run:
    """What is sealed of one fine-tune. Without its base a run cannot be compared, and counts as not scored."""
    (base,) = its_base(step.spec, cell)
    return Run(
        cell=str(cell),
        model=cell.model,
        draw=cell.draw,
        attitude=cell.attitude,
        seed=cell.seed,
        variant=cell.variant,
        scored=scored if step.sealed("evaluate", base) else None,
        losses=records(step, "finetune", cell, "loss.jsonl", Loss),
        training=document(step, "finetune", cell, "training.json", Training),
        verdict=document(step, "gate", cell, "verdict.json", Verdict),
        readout=document(step, "interpret", cell, "readout.json", RunReadout),
        drift=document(step, "monitor", cell, "drift.json", Drift),
        trace=document(step, "trace", cell, "trace.json", Trace) if cell in traced_runs(step.spec) else None,
    )


def scored_of(step: Outputs, cell: Cell) -> Scored | None:
    """One evaluation, None if it is not sealed."""
    choices = records(step, "evaluate", cell, "choices.jsonl", Choice)
    guards = document(step, "evaluate", cell, "guards.json", Guards)
    replies = records(step, "evaluate", cell, "replies.jsonl", GuardReply)
    controls = records(step, "evaluate", cell, "controls.jsonl", Choice)
    answers = records(step, "evaluate", cell, "answers.jsonl", Answer)
    if choices is None or guards is None or replies is None or controls is None or answers is None:
        return None
    sources = (choices[1], guards[1], replies[1], controls[1])
    return Scored(str(cell), choices[0], guards[0], replies[0], controls[0], sources, *answers)


def source(step: Outputs, job: str, cell: Cell, name: str) -> Source:
    """Where a number comes from."""
    return Source(step.digest(job, cell, name), f"{job}/{cell}", name)


def document(step: Outputs, job: str, cell: Cell, name: str, kind: type[D]) -> tuple[D, Source] | None:
    """One JSON output with its source, None if the step is not sealed."""
    if not step.sealed(job, cell):
        return None
    return step.read_model(job, cell, name, kind), source(step, job, cell, name)


def records(step: Outputs, job: str, cell: Cell, name: str, kind: type[R]) -> tuple[list[R], Source] | None:
    """The rows of one output with their source, None if the step is not sealed."""
    if not step.sealed(job, cell):
        return None
    return step.read_records(job, cell, name, kind), source(step, job, cell, name)


def found(step: Outputs, job: str, kind: CellKind, name: str, model: type[D]) -> dict[str, tuple[D, Source]]:
    """One JSON output of every sealed cell of a kind."""
    return among(step, job, cells_of(step.spec, kind), name, model)


def among(step: Outputs, job: str, cells: Iterable[Cell], name: str, model: type[D]) -> dict[str, tuple[D, Source]]:
    """The same of these cells."""
    made = {str(cell): document(step, job, cell, name, model) for cell in cells}
    return {cell: value for cell, value in made.items() if value is not None}


def of_manifest(step: Outputs, job: str, cell: Cell) -> Source:
    """Where a fact about the step itself comes from: its manifest, by the digest of the file in the store."""
    return Source(sha256(as_kept(step.manifest(job, cell))), f"{job}/{cell}", "manifest.json")


def memory(step: Outputs, sealed: list[tuple[str, Cell]]) -> dict[str, list[tuple[float, Source]]]:
    """The peak memory of the steps of each job, GiB."""
    peaks: dict[str, list[tuple[float, Source]]] = {}
    for job, cell in sealed:
        peak = step.manifest(job, cell, ("provenance",))["provenance"]["peak_memory_bytes"] / 2**30
        peaks.setdefault(job, []).append((peak, of_manifest(step, job, cell)))
    return peaks


def seconds(step: Outputs, sealed: list[tuple[str, Cell]]) -> dict[str, tuple[float, list[Source]]]:
    """How long the steps of each job ran, together."""
    cells: dict[str, list[Cell]] = {}
    for job, cell in sealed:
        cells.setdefault(job, []).append(cell)
    return {
        job: (
            sum(step.manifest(job, cell, ("seconds",))["seconds"] for cell in mine),
            [of_manifest(step, job, cell) for cell in mine],
        )
        for job, mine in cells.items()
    }


def made_by(step: Outputs, sealed: list[tuple[str, Cell]]) -> dict[str, list[str]]:
    """Code, packages and processor: each value that a manifest holds, once. More than one: the steps differ."""
    facts: dict[str, dict[str, None]] = {}
    for job, cell in sealed:
        ran = step.manifest(job, cell, ("provenance",))["provenance"]
        named = {name: ran[name] for name in ("commit", "image", "python", "processor")} | ran["packages"]
        for name, value in named.items():
            if value:
                facts.setdefault(name, {})[str(value)] = None
    return {name: list(values) for name, values in facts.items()}
