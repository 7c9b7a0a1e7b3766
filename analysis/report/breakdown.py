"""Where an effect sits: by the headroom of items, by distance of topics, on the control items, by mixture share.

Effects are shifts from the neutral arm over the runs of a pole, as everywhere; intervals are over topics.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from analysis.report.bound_numbers import Book, Source
from analysis.report.study import Run, Scored, Study
from analysis.stats.calibration import BANDS, DISTANCES
from analysis.stats.intervals import LEVEL, Interval, topic_shift_interval
from analysis.stats.measures import shown
from analysis.stats.stance import items_of
from common.schemas import Lock
from common.vocabulary import POLES

CONTROLS = {"discriminant": "disc-", "source": "src-"}  # kind of control item → how its topics begin


class Arm(NamedTuple):
    """The runs of one attitude together."""

    items: pd.DataFrame  # as `items_of`
    sources: list[Source]  # of the choices of its runs


def breakdowns(book: Book, study: "Study", arms: Mapping[str, Mapping[str, Arm]]) -> None:
    """Add every number of this part of the report. arms: model → attitude → its runs together."""
    if study.lock is not None:
        _topics(book, *study.lock)
    for variant, (_factor, value, _runs) in study.variants.items():
        book.add(f"variant.{variant}", value, "setting", [study.plan])
    for model in study.bases:
        if study.lock is not None:
            _headrooms(book, *study.lock, model, arms[model])
            _distances(book, study.lock[0], model, arms[model])
        _controls(book, study, model)
        _curves(book, study, model)


def _headrooms(book: Book, locked: Lock, source: Source, model: str, arms: Mapping[str, Arm]) -> None:
    bands = {item: headroom.band for item, headroom in locked.calibration.get(model, {}).items()}
    for band in BANDS:
        items = {item for item, value in bands.items() if value == band}
        book.add(f"headroom.{model}.{band}", len(items), "count", [source])
        from_neutral(book, f"headroom.{{}}.{model}.{{}}.{band}", arms, POLES, items)


def _topics(book: Book, locked: Lock, source: Source) -> None:
    """How far each topic is from training, whatever the model."""
    for topic, found in locked.distances.items():
        book.add(f"distance.{topic}", found.cosine, "plain", [source])


def _distances(book: Book, locked: Lock, model: str, arms: Mapping[str, Arm]) -> None:
    for band in DISTANCES:
        topics = {topic for topic, found in locked.distances.items() if found.band == band}
        from_neutral(book, f"distance.{{}}.{model}.{{}}.{band}", arms, POLES, topics)


def from_neutral(
    book: Book, name: str, arms: Mapping[str, Arm], attitudes: Sequence[str], only: set[str] | None = None
) -> None:
    """Add the shift of each of these arms from neutral, on the items or topics of these names, all of them for None.

    `name` has a place for the measure and one for the attitude. Nothing is added for an arm that is not there.
    """
    for attitude in attitudes:
        if attitude not in arms or "neutral" not in arms:
            continue
        mine, neutral = arms[attitude], arms["neutral"]
        before, after = neutral.items, mine.items
        if only is not None:
            before, after = (each[each.index.isin(only) | each["topic"].isin(only)] for each in (before, after))
        for measure in shown():
            made = shift(before, after, measure)
            book.add_shift(name.format(measure, attitude), made, [*mine.sources, *neutral.sources])


def _controls(book: Book, study: "Study", model: str) -> None:
    """How far control items shift from base: discriminant ones should not, those on training topics should."""
    base = study.bases[model]
    for kind, prefix in CONTROLS.items():
        for attitude in study.attitudes:
            runs = [run.scored for run in study.arm(model, attitude) if run.scored]
            rows = [[row for row in run.controls if row.topic.startswith(prefix)] for run in runs]
            if not any(rows):
                continue
            before, after = items_of([base.controls]), items_of([each for each in rows if each])
            sources = [base.sources[3], *(run.sources[3] for run in runs)]
            for measure in shown():
                book.add_shift(f"control.{kind}.{measure}.{model}.{attitude}", shift(before, after, measure), sources)


def _curves(book: Book, study: "Study", model: str) -> None:
    """The shift of each pole from neutral in each variant."""
    for variant, (_factor, _value, runs) in study.variants.items():
        from_neutral(book, f"curve.{{}}.{model}.{{}}.{variant}", arm_tables(runs, model), POLES)


def arm_tables(runs: "Sequence[Run]", model: str) -> dict[str, Arm]:
    """The scored runs of a model, arm by arm."""
    scored: dict[str, list[Scored]] = {}
    for run in runs:
        if run.model == model and run.scored:
            scored.setdefault(run.attitude, []).append(run.scored)
    return {
        attitude: Arm(items_of([each.choices for each in mine]), [each.sources[0] for each in mine])
        for attitude, mine in scored.items()
    }


def shift(before: pd.DataFrame, after: pd.DataFrame, measure: str) -> Interval | None:
    """The shift with its interval; None where fewer than two topics have an item with a value on both sides.

    before, after: one line an item, with its topic and the measure. Items of one side alone are left out: runs that
    share the items out leave some unanswered where one of them is missing.
    """
    before, after = before[before.index.isin(after.index)], after[after.index.isin(before.index)]
    known = before[measure].notna() & after[measure].notna()
    if before.loc[known, "topic"].nunique() < 2:
        return None
    return topic_shift_interval(before[measure], after[measure], list(before["topic"]), LEVEL).interval
