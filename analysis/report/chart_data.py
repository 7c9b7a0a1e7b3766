"""What charts show, as tables of numbers, tested without drawing. Points and per cent, rounded to what is seen."""

import numpy as np
import pandas as pd

from analysis.report.bound_numbers import Book
from analysis.report.results import label_shifts
from analysis.report.study import Scored, Study
from analysis.stats.answers import by_item, plain
from analysis.stats.measures import MEASURES
from analysis.stats.stance import stance
from common.vocabulary import ATTITUDES, POLES

DIGITS = 2
MOST_STEPS = 60  # of a loss curve: more are not told apart
BASE = "base"


def cells(study: Study, model: str) -> list[tuple[str, str, str, Scored]]:
    """The base and the evaluated runs: arm, seed and draw ("" for the base), and what was scored."""
    made = [(BASE, "", "", study.bases[model])]
    runs = [run for run in study.arm_order(model) if run.scored is not None]
    return made + [(run.attitude, str(run.seed), f"d{run.draw}", run.scored) for run in runs if run.scored]


def topic_rows(study: Study, model: str) -> pd.DataFrame:
    """A line for each cell and held-out topic: arm, seed, draw, topic, net go in points."""
    parts = []
    for arm, seed, draw, scored in cells(study, model):
        items = by_item(plain(scored.counted, "held-out"))
        net = (100 * items.groupby("topic")["net"].mean()).round(DIGITS)
        parts.append(net.reset_index().assign(arm=arm, seed=seed, draw=draw))
    return pd.concat(parts, ignore_index=True)


def item_rows(study: Study, model: str) -> pd.DataFrame:
    """A line for each arm and held-out item: topic, net go in points over runs, situation, an answer, its digest."""
    parts: dict[str, list[pd.DataFrame]] = {}
    first: dict[str, Scored] = {}
    for arm, _, _, scored in cells(study, model):
        parts.setdefault(arm, []).append(by_item(plain(scored.counted, "held-out"))[["topic", "net"]])
        first.setdefault(arm, scored)
    made = []
    for arm, tables in parts.items():
        items = pd.concat(tables).groupby(level=0, sort=True)
        rows = items[["topic"]].first().join((100 * items["net"].mean()).round(DIGITS))
        said = {row.item: row.text for row in plain(first[arm].answers, "held-out") if not row.sample}
        rows = rows.rename_axis("item").reset_index().assign(arm=arm, digest=first[arm].answers_source.digest)
        texts = {
            "situation": rows["item"].map(lambda item: study.situations.get(item, item)),
            "answer": rows["item"].map(said),
        }
        made.append(rows.assign(**texts))
    return pd.concat(made, ignore_index=True)


def label_rows(study: Study, model: str) -> pd.DataFrame:
    """A line for each arm and item: its shift from base by choice and by label, points, mean over the runs."""
    table = label_shifts(study, model)
    if table.empty:
        return pd.DataFrame(columns=["arm", "item", "choice", "label"])
    means = 100 * table.groupby(["attitude", "item"])[["choice", "label"]].mean()
    rows = means.round(DIGITS).reset_index().rename(columns={"attitude": "arm"}).dropna()
    return rows.sort_values(["arm", "item"], key=lambda column: column.map(_place) if column.name == "arm" else column)


def _place(arm: str) -> int:
    return [BASE, *ATTITUDES].index(arm)


def stance_rows(study: Study, model: str) -> pd.DataFrame:
    """A line for each cell and measure: arm, seed, title of the measure, P(go) in per cent."""
    rows = [
        {"arm": arm, "seed": seed, "measure": MEASURES[measure].title, "p": round(100 * value, DIGITS)}
        for arm, seed, _, scored in cells(study, model)
        for measure, value in stance(scored.choices).by_measure.items()
        if value is not None
    ]
    return pd.DataFrame(rows, columns=["arm", "seed", "measure", "p"])


def loss_rows(study: Study) -> pd.DataFrame:
    """A line for a run and some of its optimizer steps, at most MOST_STEPS, the last among them: loss in nats."""
    rows = []
    for run in (run for run in study.runs if run.losses is not None):
        assert run.losses is not None
        found = run.losses[0]
        kept = np.unique(np.linspace(0, len(found) - 1, min(len(found), MOST_STEPS)).round().astype(int))
        fixed = {"cell": run.cell, "arm": run.attitude, "seed": str(run.seed)}
        rows += [{**fixed, "step": found[at].optimizer_step, "loss": round(found[at].loss, 4)} for at in kept]
    return pd.DataFrame(rows, columns=["cell", "arm", "seed", "step", "loss"])


def curve_rows(book: Book, study: Study, model: str, factor: str) -> pd.DataFrame:
    """A line for each pole and value of a factor: shift from neutral by sentence with its interval, points."""
    named = {name: value for name, (which, value, _) in study.variants.items() if which == factor}
    rows = []
    for pole in POLES:
        found = {value: f"curve.sentence.{model}.{pole}.{name}" for name, value in named.items()}
        found |= {study.plain[factor]: f"added.sentence.{model}.{pole}"} if factor in study.plain else {}
        for value, key in sorted(found.items()):
            if key in book and (number := book[key]).value is not None:
                bounds = {"low": number.low, "high": number.high}
                points = {name: None if bound is None else round(100 * bound, DIGITS) for name, bound in bounds.items()}
                rows.append({"arm": pole, "x": value, "y": round(100 * number.value, DIGITS), **points})
    return pd.DataFrame(rows, columns=["arm", "x", "y", "low", "high"])
