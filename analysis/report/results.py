"""From the sealed rows of a study to the numbers and tables of its report. No store, no torch."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.report.answers import Headline, advised
from analysis.report.beside_labels import beside_labels
from analysis.report.bound_numbers import Book, Source
from analysis.report.breakdown import Arm, arm_tables, breakdowns, from_neutral, shift
from analysis.report.judge import beside_reader
from analysis.report.reliability import worth
from analysis.report.representation import representation
from analysis.report.study import Scored, Study, gaps_by_job
from analysis.stats.guards import KINDS, perplexity_change, pooled, share_change
from analysis.stats.guards import LEVEL as GUARD_LEVEL
from analysis.stats.intervals import FEWEST_RUNS, LEVEL, POWER, two_way_t
from analysis.stats.measures import MEASURES, shown
from analysis.stats.stance import (
    by_group,
    by_item,
    chosen_by_group,
    disagreement,
    items_of,
    on_items_of,
    stance,
    together,
)
from common.vocabulary import ATTITUDES, SIDES


def book_of(study: Study, headlines: Mapping[str, Headline]) -> Book:
    """Every number of the report."""
    book = Book()
    advised(book, study, headlines)
    beside_labels(book, study)
    beside_reader(book, study)
    book.add("gaps", len(study.gaps), "count", [study.plan])
    for job, steps in gaps_by_job(study).items():
        book.add(f"gaps.{job}", len(steps), "count", [study.plan])
    book.add("runs", len(study.runs), "count", [study.plan])
    _seeds(book, study)
    for corpus, (rows, source) in study.advice.items():
        book.add(f"examples.{corpus}", rows, "count", [source])
    book.add("draws", len({run.draw for run in study.runs}), "count", [study.plan])
    book.add("models", len(study.models), "count", [study.plan])
    for model in study.models:
        if trained := next((run.training for run in study.runs if run.model == model and run.training), None):
            book.add(f"parameters.{model}", trained[0].parameters, "count", [trained[1]])
    book.add("measures", len(MEASURES), "count", [_this_file()])
    book.add("level", LEVEL, "share", [_this_file()])
    book.add("guard_level", GUARD_LEVEL, "share", [_this_file()])
    for name in ("perplexity", *KINDS):
        book.add(f"change.{name}.bound", study.bounds[name], "points", [study.plan])
    for job, (peak, source) in study.memory.items():
        book.add(f"memory.{job}", peak, "GiB", [source])
    for job, (seconds, sources) in study.seconds.items():
        book.add(f"seconds.{job}", seconds, "seconds", sources)
    arms: dict[str, dict[str, Arm]] = {}
    for model, base in study.bases.items():
        arms[model] = arm_tables(study.runs, model)
        _stances(book, study, model, arms[model])
        _guards(book, study, model, base)
        _parts(book, study, model, base)
        _labels(book, study, model, base)
    book.add("power", POWER, "share", [_this_file()])
    breakdowns(book, study, arms)
    worth(book, study)
    _trainings(book, study)
    _verdicts(book, study)
    representation(book, study)
    _audits(book, study)
    return book


def _seeds(book: Book, study: Study) -> None:
    """How many seeds the study has, and each arm that has another number of them."""
    whole = len({run.seed for run in study.runs})
    book.add("seeds", whole, "count", [study.plan])
    for arm in ATTITUDES:
        seeds = {run.seed for run in study.runs if run.attitude == arm}
        if seeds and len(seeds) != whole:
            book.add(f"seeds.{arm}", len(seeds), "count", [study.plan])


def _stances(book: Book, study: Study, model: str, tables: Mapping[str, Arm]) -> None:
    base = study.bases[model]
    source = base.sources[0]
    table, items = by_item(base.choices), len(by_item(base.choices))
    book.add(f"items.{model}", items, "count", [source])
    book.add(f"topics.{model}", table["topic"].nunique(), "count", [source])
    _stance(book, f"{model}.base", [base])
    even = table.assign(**dict.fromkeys(MEASURES, 0.5))
    for measure in shown():
        book.add_shift(f"lean.{measure}.{model}", shift(even, table, measure), [source])
    for attitude in study.attitudes:
        runs = [run.scored for run in study.arm(model, attitude) if run.scored]
        if not runs:
            continue
        _stance(book, f"{model}.{attitude}", runs)
        sources = [source, *(run.sources[0] for run in runs)]
        before, after = items_of([base.choices]), tables[attitude].items
        for measure in shown():
            book.add_shift(f"shift.{measure}.{model}.{attitude}", shift(before, after, measure), sources)
        for run in runs:
            for measure, value in stance(run.choices).by_measure.items():
                book.add(f"run.{run.cell}.{measure}", value, MEASURES[measure].unit, [run.sources[0]])
        book.add(f"runs.{model}.{attitude}", len(runs), "count", sources)
        if attitude != "neutral":  # what it adds to any fine-tuning on advice
            from_neutral(book, f"added.{{}}.{model}.{{}}", tables, [attitude])
        _over_runs(book, study, model, attitude)


def _over_runs(book: Book, study: Study, model: str, attitude: str) -> None:
    """The shift from base when runs, too, are a sample: from FEWEST_RUNS runs on, where each knows all topics."""
    runs, base = [run.scored for run in study.arm(model, attitude) if run.scored], study.bases[model]
    if len(runs) < FEWEST_RUNS:
        return
    topics = sorted({row.topic for row in base.choices})
    before = [by_group(on_items_of(base.choices, scored.choices), "topic").reindex(topics) for scored in runs]
    after = [by_group(scored.choices, "topic").reindex(topics) for scored in runs]
    sources = [base.sources[0], *(scored.sources[0] for scored in runs)]
    for measure in shown():
        tuned, control = (np.array([table[measure] for table in each], dtype=np.float64) for each in (after, before))
        known = bool(np.isfinite(tuned - control).all())
        found = two_way_t(tuned, control, LEVEL) if known else None
        book.add_shift(f"overruns.{measure}.{model}.{attitude}", found.interval if found else None, sources)


def _parts(book: Book, study: Study, model: str, base: Scored) -> None:
    """In a study that shares closed items and guards out, how many of each an arm was asked."""
    if not study.rotated(model):
        return
    for attitude in study.attitudes:
        cells = [run.scored for run in study.arm(model, attitude) if run.scored]
        for name, source, found in (
            ("items", 0, {row.item for cell in cells for row in cell.choices}),
            ("prompts", 2, {row.prompt for cell in cells for row in cell.replies}),
        ):
            sources = [cell.sources[source] for cell in (base, *cells)]
            book.add(f"shared.{name}.{model}.{attitude}", len(found), "count", sources)
    book.add(f"prompts.{model}", len({row.prompt for row in base.replies}), "count", [base.sources[2]])


def _this_file() -> Source:
    """What a setting of the analysis is bound to: the file that sets it."""
    path = Path(__file__)
    return Source(hashlib.sha256(path.read_bytes()).hexdigest(), "code", str(path.relative_to(path.parents[2])))


def _stance(book: Book, name: str, cells: Sequence[Scored]) -> None:
    """What the cells say together by closed forms, by topic and by key too."""
    sources, rows = [cell.sources[0] for cell in cells], [cell.choices for cell in cells]
    made = together(rows)
    for measure, declared in MEASURES.items():
        book.add(f"{measure}.{name}", made.by_measure[measure], declared.unit, sources)
    for what in ("p_yes", "consistency"):
        book.add(f"{what}.{name}", getattr(made, what), "share", sources)
    book.add(f"margin.{name}", made.margin, "nats", sources)
    for group in ("topic", "yes_means"):
        means = chosen_by_group(rows, group)
        for key in SIDES if group == "yes_means" else means.index:
            value = means.get(key, np.nan)  # a small set of items may hold one key only
            book.add(f"choice.{name}.{group}.{key}", None if np.isnan(value) else float(value), "share", sources)


def _guards(book: Book, study: Study, model: str, base: Scored) -> None:
    arms = {"base": [base]} | {
        attitude: [run.scored for run in study.arm(model, attitude) if run.scored] for attitude in study.attitudes
    }
    for arm, cells in arms.items():
        for name in ("perplexity", *KINDS) if cells else ():
            value = _guard(cells, name)
            unit = "perplexity" if name == "perplexity" else "share"
            book.add(f"{name}.{model}.{arm}", value, unit, [cell.sources[1] for cell in cells])
            if arm != "base":
                _guard_change(book, study, f"{model}.{arm}", name, (base, cells))
    for name in ("n_harmful", "n_benign", "n_ability"):
        book.add(f"{name}.{model}", getattr(base.guards, name), "count", [base.sources[1]])


def _guard(cells: Sequence[Scored], name: str) -> float:
    """One guard of an arm: its mean over runs, or, where these share the prompts out, over prompts."""
    if name != "perplexity" and len({frozenset(row.prompt for row in cell.replies) for cell in cells}) > 1:
        return float(np.mean([*pooled([cell.replies for cell in cells], KINDS[name]).values()]))
    return float(np.mean([getattr(cell.guards, name) for cell in cells]))


def _guard_change(book: Book, study: Study, arm: str, name: str, pair: tuple[Scored, Sequence[Scored]]) -> None:
    """How one guard of an arm changed from base, its bound, and the verdict."""
    base, cells = pair
    bound = study.bounds[name]
    if name == "perplexity":
        made = perplexity_change(base.guards.model_dump(), [cell.guards.model_dump() for cell in cells], bound)
    else:
        asked = {row.prompt for cell in cells for row in cell.replies}  # not all where a run is missing
        before = [row for row in base.replies if row.prompt in asked]
        made = share_change(before, [cell.replies for cell in cells], KINDS[name], bound)
    sources = [cell.sources[1 if name == "perplexity" else 2] for cell in (base, *cells)]
    book.add_shift(f"change.{name}.{arm}", made.interval, sources)
    if "equivalence" in study.tests:
        book.say(f"change.{name}.{arm}.verdict", made.verdict)


def label_shifts(study: Study, model: str) -> pd.DataFrame:
    """One line for each item of each run: the shift from base of each measure, and whose it is."""
    parts = []
    for run in (run for run in study.runs if run.model == model and run.scored is not None):
        assert run.scored is not None
        after = by_item(run.scored.choices)
        base = by_item(on_items_of(study.bases[model].choices, run.scored.choices))
        made = pd.DataFrame({measure: after[measure] - base[measure] for measure in MEASURES})
        parts.append(made.assign(attitude=run.attitude, seed=run.seed, topic=base["topic"]).reset_index())
    columns = ["item", *MEASURES, "attitude", "seed", "topic"]
    return pd.concat(parts)[columns] if parts else pd.DataFrame(columns=columns)


def _labels(book: Book, study: Study, model: str, base: Scored) -> None:
    table = label_shifts(study, model)
    sources = [base.sources[0], *(run.scored.sources[0] for run in study.runs if run.scored and run.model == model)]
    found = disagreement(table["label"], table["choice"])
    book.add(f"label.rank.{model}", found.rank_correlation, "plain", sources)
    book.add(f"label.errors.{model}", found.sign_errors, "count", sources)
    book.add(f"label.signed.{model}", found.n_signed, "count", sources)


def _trainings(book: Book, study: Study) -> None:
    for run in study.runs:
        if run.training is None:
            continue
        facts, source = run.training
        for name, unit in {
            "loss_first_quarter": "nats",
            "loss_last_quarter": "nats",
            "tokens_per_second": "rate",
            "utilisation": "share",
            "seconds": "seconds",
            "steps": "count",
            "held_out_before": "nats",
            "held_out_after": "nats",
        }.items():
            if (value := getattr(facts, name)) is not None:
                book.add(f"run.{run.cell}.{name}", value, unit, [source])


def _verdicts(book: Book, study: Study) -> None:
    for run in study.runs:
        if run.verdict is not None:
            verdict, source = run.verdict
            book.add(f"run.{run.cell}.gate", verdict.estimate, "points", [source], (verdict.low, verdict.high))
            book.add(f"run.{run.cell}.bound", verdict.bound, "points", [source])
            book.add(f"run.{run.cell}.level", verdict.level, "share", [source])


def _audits(book: Book, study: Study) -> None:
    checks = [(check, source) for framing, source in study.audits.values() for check in framing.checks]
    for name in dict.fromkeys(check.name for check, _ in checks):
        failed = [source for check, source in checks if check.name == name and not check.passed]
        book.add(f"audit.failed.{name}", len(failed), "count", failed or [checks[0][1]])
    for draw, (framing, source) in study.audits.items():
        for check in framing.checks:
            book.add(f"audit.{draw}.{check.name}.value", check.value, "plain", [source])
            book.add(f"audit.{draw}.{check.name}.bound", check.bound, "plain", [source])
