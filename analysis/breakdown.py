"""Where an effect sits: by the room that items left, by distance of topics, on the control items, by dose.

Effects are shifts from the neutral arm over the runs of a pole, as everywhere; intervals are over topics.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from analysis.calibration import BANDS, DISTANCES
from analysis.contrasts import POLES
from analysis.numbers import Book, Source
from analysis.stance import MEASURES, alike, by_item
from analysis.stats import Interval, topic_shift_interval
from common.records import Choice

if TYPE_CHECKING:
    from analysis.results import Run, Study

LEVEL = 0.95
CONTROLS = {"discriminant": "disc-", "source": "src-"}  # kind of control item → how its topics begin
SHOWN = ("choice", "sentence")


def breakdowns(book: Book, study: "Study") -> None:
    """Add every number of this part of the report."""
    for model in study.bases:
        if study.lock is not None:
            _rooms(book, study, model)
            _distances(book, study, model)
        _controls(book, study, model)
        _curves(book, study, model)


def _rooms(book: Book, study: "Study", model: str) -> None:
    assert study.lock is not None
    locked, source = study.lock
    bands = {item: room["band"] for item, room in locked["calibration"].get(model, {}).items()}
    for band in BANDS:
        book.add(f"room.{model}.{band}", sum(value == band for value in bands.values()), "count", [source])
        items = {item for item, value in bands.items() if value == band}
        _by_pole(book, f"room.{{}}.{model}.{{}}.{band}", _arms(study.runs, model), items)


def _distances(book: Book, study: "Study", model: str) -> None:
    assert study.lock is not None
    locked, source = study.lock
    for topic, found in locked["distances"].items():
        book.add(f"distance.{topic}", found["cosine"], "plain", [source])
    for band in DISTANCES:
        topics = {topic for topic, found in locked["distances"].items() if found["band"] == band}
        _by_pole(book, f"distance.{{}}.{model}.{{}}.{band}", _arms(study.runs, model), topics)


def _by_pole(book: Book, name: str, arms: "Mapping[str, Sequence[Run]]", only: set[str] | None = None) -> None:
    """The shift of each pole from neutral, on the items or topics of these names, all of them for None."""
    for pole in POLES:
        mine, neutral = arms.get(pole), arms.get("neutral")
        if not mine or not neutral:
            continue
        sources = [run.scored.sources[0] for run in (*mine, *neutral) if run.scored]
        after, before = (items_of([run.scored.choices for run in arm if run.scored]) for arm in (mine, neutral))
        if only is not None:
            kept = before.index.isin(only) | before["topic"].isin(only)
            before, after = before[kept], after[kept]
        for measure in SHOWN:
            made = shift(before, after, measure)
            _add(book, name.format(measure, pole), made, sources)


def _controls(book: Book, study: "Study", model: str) -> None:
    """How far control items shift from base: discriminant ones should not, those on training topics should."""
    base = study.bases[model]
    for kind, prefix in CONTROLS.items():
        for attitude in study.attitudes:
            runs = [run.scored for run in study.arm(model, attitude) if run.scored]
            rows = [[row for row in run.controls if row.topic.startswith(prefix)] for run in runs]
            if not rows or not all(rows):
                continue
            before, after = items_of([alike(base.controls, mine) for mine in rows]), items_of(rows)
            before = before.loc[after.index]
            sources = [base.sources[3], *(run.sources[3] for run in runs)]
            for measure in SHOWN:
                _add(book, f"control.{kind}.{measure}.{model}.{attitude}", shift(before, after, measure), sources)


def _curves(book: Book, study: "Study", model: str) -> None:
    """The shift of each pole from neutral in each variant."""
    for variant, (_factor, value, runs) in study.variants.items():
        book.add(f"variant.{variant}", value, "setting", [study.plan])
        _by_pole(book, f"curve.{{}}.{model}.{{}}.{variant}", _arms(runs, model))


def _arms(runs: "Sequence[Run]", model: str) -> "dict[str, list[Run]]":
    """The scored runs of a model, by attitude."""
    made: dict[str, list[Run]] = {}
    for run in runs:
        if run.model == model and run.scored:
            made.setdefault(run.attitude, []).append(run)
    return made


def items_of(cells: Sequence[Sequence[Choice]]) -> pd.DataFrame:
    """Mean over cells of each item's measures, with its topic; nan only where no cell has a valid answer."""
    items = pd.concat([by_item(rows)[["topic", *MEASURES]] for rows in cells]).groupby(level=0, sort=True)
    return items[["topic"]].first().join(items[[*MEASURES]].mean())


def shift(before: pd.DataFrame, after: pd.DataFrame, measure: str) -> Interval | None:
    """The shift with its interval; None where fewer than two topics have an item with a value on both sides.

    before, after: one line an item, with its topic and the measure.
    """
    known = before[measure].notna() & after[measure].notna()
    if before.loc[known, "topic"].nunique() < 2:
        return None
    return topic_shift_interval(before[measure], after[measure], list(before["topic"]), LEVEL).interval


def _add(book: Book, name: str, made: Interval | None, sources: Sequence[Source]) -> None:
    estimate, bounds = (None, None) if made is None else (made.estimate, (made.low, made.high))
    book.add(name, estimate, "points", sources, bounds)
