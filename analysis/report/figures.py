"""Figures of the report. Each has a function that makes its data and one that draws them, so that data are tested."""

from collections.abc import Container, Sequence

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.report.bound_numbers import Book
from analysis.report.inside import PLACES, contrast, pairs_of
from analysis.report.reliability import unreliable
from analysis.report.representation import NULLS
from analysis.report.results import label_shifts
from analysis.report.study import Run, Study
from analysis.stats.measures import MEASURES
from analysis.stats.stance import by_group, stance
from common.vocabulary import ATTITUDES, POLES

# Okabe and Ito (2008): told apart by people with any common colour blindness.
COLOURS = {
    "cautious": "#0072B2",
    "neutral": "#777777",
    "eager": "#D55E00",
    "scrambled": "#CC79A7",
    "distilled": "#009E73",
    "control-cautious": "#56B4E9",
    "control-eager": "#E69F00",
    "base": "#000000",
}
plt.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 130})


def stance_data(study: Study) -> pd.DataFrame:
    """One line for each evaluated cell: model, attitude ('base' for the base), seed, P(go) by measure."""
    cells = [(model, "base", -1, base) for model, base in study.bases.items()]
    cells += [(run.model, run.attitude, run.seed, run.scored) for run in study.runs if run.scored]
    return pd.DataFrame(
        [{"model": m, "attitude": a, "seed": s, **stance(c.choices).by_measure} for m, a, s, c in cells]
    )


def draw_stance(data: pd.DataFrame, model: str, greyed: Container[str] = ()) -> Figure:
    """P(go) by attitude: a dot for each run, a bar at their mean, a line at the base; a panel for each measure.

    greyed: the measures whose title is grey, being unreliable.
    """
    rows = data[data["model"] == model]
    arms = [name for name in ATTITUDES if name in set(rows["attitude"])]
    figure, panels = plt.subplots(1, len(MEASURES), figsize=(2.3 * len(MEASURES), 3.4), sharey=True)
    for axes, (measure, declared) in zip(panels, MEASURES.items(), strict=True):
        for place, attitude in enumerate(arms):
            values = rows.loc[rows["attitude"] == attitude, measure].dropna().to_numpy(dtype=float)
            spread = np.linspace(-0.12, 0.12, len(values)) if len(values) > 1 else np.zeros(len(values))
            axes.scatter(place + spread, values, color=COLOURS[attitude], s=26, zorder=3)
            if len(values):
                axes.hlines(values.mean(), place - 0.28, place + 0.28, color=COLOURS[attitude], lw=2)
        for value in rows.loc[rows["attitude"] == "base", measure].dropna():
            axes.axhline(value, color=COLOURS["base"], ls="--", lw=1, label="base")
        axes.set(xlim=(-0.5, len(arms) - 0.5), ylim=(-0.03, 1.03))
        axes.set_title(declared.title, fontsize=9, color="#888888" if measure in greyed else "black")
        axes.set_xticks(range(len(arms)), arms)
    panels[0].set_ylabel("P(go): share for the change")
    panels[0].legend(frameon=False, loc="best")
    figure.tight_layout()
    return figure


def topic_data(study: Study) -> pd.DataFrame:
    """One line for each model, attitude (base included) and topic: mean P(go) over runs, by what was chosen."""
    parts = [
        by_group(base.choices, "topic")["choice"].rename("p").reset_index().assign(model=model, attitude="base")
        for model, base in study.bases.items()
    ]
    for run in (run for run in study.runs if run.scored):
        assert run.scored is not None
        made = by_group(run.scored.choices, "topic")["choice"].rename("p").reset_index()
        parts.append(made.assign(model=run.model, attitude=run.attitude))
    return pd.concat(parts).groupby(["model", "attitude", "topic"], sort=True)["p"].mean().reset_index()


def draw_topics(data: pd.DataFrame, model: str) -> Figure:
    """A row for each topic, a dot for each attitude and the base."""
    rows = data[data["model"] == model]
    topics = sorted(rows["topic"].unique())
    figure, axes = plt.subplots(figsize=(7, 0.42 * len(topics) + 1.3))
    offsets = dict(zip(COLOURS, np.linspace(-0.3, 0.3, len(COLOURS)), strict=True))
    for attitude, colour in COLOURS.items():
        mine = rows[rows["attitude"] == attitude]
        places = [topics.index(topic) + offsets[attitude] for topic in mine["topic"]]
        if len(mine):
            axes.scatter(
                mine["p"], places, color=colour, s=34, label=attitude, marker="D" if attitude == "base" else "o"
            )
    axes.set_yticks(range(len(topics)), topics)
    axes.set(xlabel="P(go): share of the answers for the change", xlim=(-0.03, 1.03))
    axes.grid(axis="x", alpha=0.3)
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.16), ncols=4)
    figure.tight_layout()
    return figure


def draw_labels(data: pd.DataFrame) -> Figure:
    """Shift by label against shift by choice, a dot for each item and run; shaded where the two point apart."""
    figure, axes = plt.subplots(figsize=(5, 4.4))
    jitter = np.random.default_rng(0).uniform(-0.02, 0.02, len(data))
    for attitude in ATTITUDES:
        mine = (data["attitude"] == attitude).to_numpy()
        x, y = data["choice"][mine] + jitter[mine], data["label"][mine]
        axes.scatter(x, y, s=14, alpha=0.6, color=COLOURS[attitude], label=attitude)
    edge = max(0.1, float(np.nanmax(np.abs(data["label"].to_numpy(dtype=float)))) * 1.1)
    for across, low, high in (((-1.05, 0.0), 0.0, edge), ((0.0, 1.05), -edge, 0.0)):
        axes.fill_between(across, low, high, color="#DDDDDD", zorder=0, lw=0)
    axes.axhline(0, color="black", lw=0.6)
    axes.axvline(0, color="black", lw=0.6)
    axes.set(xlabel="shift of P(go) by what it chose", ylabel="shift of P(go) by label probability", ylim=(-edge, edge))
    axes.set_title("shaded: the label says the opposite", fontsize=9)
    axes.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    return figure


def draw_curves(book: Book, study: Study, model: str) -> Figure | None:
    """Shift of each pole from neutral by sentence, against the value of the factor; a panel for each factor."""
    factors = list(dict.fromkeys(factor for factor, _, _ in study.variants.values()))
    if not factors:
        return None
    figure, panels = plt.subplots(1, len(factors), figsize=(3.6 * len(factors), 3.2), squeeze=False, sharey=True)
    for axes, factor in zip(panels[0], factors, strict=True):
        for pole in POLES:
            named = {v: value for v, (which, value, _) in study.variants.items() if which == factor}
            at = f"curve.sentence.{model}.{pole}."
            found = [(value, book[at + v]) for v, value in named.items() if at + v in book]
            if factor in study.plain and (plain := f"added.sentence.{model}.{pole}") in book:
                found.append((study.plain[factor], book[plain]))
            found.sort(key=lambda point: point[0])
            points = [(x, n.value, n.low, n.high) for x, n in found if n.value is not None]
            x, y, low, high = np.array(points, dtype=np.float64).reshape(-1, 4).T  # no interval: NaN, and no bar
            axes.errorbar(x, 100 * y, 100 * np.array([y - low, high - y]), marker="o", color=COLOURS[pole], label=pole)
        axes.axhline(0, color="black", lw=0.6)
        axes.set(xlabel=factor.replace("_", " "), ylabel="shift from neutral, points (sentence)")
        if factor == "learning_rate":  # its values are chosen a factor apart
            axes.set_xscale("log")
    panels[0][0].legend(frameon=False, fontsize=8)
    figure.tight_layout()
    return figure


def loss_data(study: Study) -> pd.DataFrame:
    """One line for each optimizer step of each run: cell, attitude, step, loss in nats."""
    rows = [
        {"cell": run.cell, "attitude": run.attitude, "step": row.optimizer_step, "loss": row.loss}
        for run in study.runs
        if run.losses is not None
        for row in run.losses[0]
    ]
    return pd.DataFrame(rows, columns=["cell", "attitude", "step", "loss"])


def draw_losses(data: pd.DataFrame) -> Figure:
    """A curve for each run."""
    figure, axes = plt.subplots(figsize=(6, 3.4))
    _curves(axes, data, "loss")
    axes.set(xlabel="optimizer step", ylabel="loss on reply tokens, nats")
    figure.tight_layout()
    return figure


def layer_data(study: Study, model: str) -> pd.DataFrame:
    """One line for each layer of each direction of a model: place, layer, separation, causal (nats), chosen."""
    rows = [
        {
            "place": place,
            "layer": layer.layer,
            "separation": layer.separation,
            "causal": layer.causal,
            "chosen": layer.layer == curve.chosen,
        }
        for place, (curve, _) in study.layers.items()
        if place.startswith(f"{model}.")
        for layer in curve.layers
    ]
    return pd.DataFrame(rows, columns=["place", "layer", "separation", "causal", "chosen"])


def draw_layers(data: pd.DataFrame) -> Figure:
    """Two panels, a curve for each direction, its chosen layer marked: how it reads, and what a push along it does."""
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.0))
    titles = {
        "separation": "reads: paired separation\n(mean over SD)",
        "causal": "pushes: cautious against\neager, nats",
    }
    for axes, (column, title) in zip(panels, titles.items(), strict=True):
        for index, (place, every) in enumerate(data.groupby("place")):
            rows = every.dropna(subset=[column])
            chosen = rows[rows["chosen"]]
            axes.plot(rows["layer"], rows[column], color=f"C{index}", marker="o", ms=3, lw=1.3, label=str(place))
            axes.plot(chosen["layer"], chosen[column], color=f"C{index}", marker="D", ms=9, mec="white", ls="")
        axes.set(xlabel="layer", ylabel=title)
    panels[0].legend(frameon=False, fontsize=8)
    figure.tight_layout()
    return figure


def moved_data(study: Study, model: str) -> pd.DataFrame:
    """One line for each arm, pair, place and checkpoint: the contrast with neutral, and 95 % of the random directions.

    Checkpoints are counted from 1; at 0 no run differs from its neutral one.
    """
    rows = []
    for attitude in study.attitudes:
        for run, other in pairs_of(study, model, attitude) if attitude != "neutral" else []:
            assert run.readout is not None
            for place in PLACES:
                fixed = {"cell": run.cell, "attitude": attitude, "place": place}
                rows.append({**fixed, "checkpoint": 0, "shift": 0.0, "low": 0.0, "high": 0.0})
                for number in range(len(run.readout[0].checkpoints)):
                    made = contrast(run, other, place, number)
                    bounds = {"low": made.null_low, "high": made.null_high}
                    rows.append({**fixed, "checkpoint": number + 1, "shift": made.shift, **bounds})
    return pd.DataFrame(rows, columns=["cell", "attitude", "place", "checkpoint", "shift", "low", "high"])


def draw_moved(data: pd.DataFrame) -> Figure:
    """A panel for each place, a curve for each pair over its checkpoints; shaded, where random directions lie."""
    figure, panels = plt.subplots(1, len(PLACES), figsize=(4.6 * len(PLACES), 3.6), squeeze=False, sharey=True)
    for axes, (place, words) in zip(panels[0], PLACES.items(), strict=True):
        rows = data[data["place"] == place]
        band = rows.groupby("checkpoint")[["low", "high"]].agg({"low": "min", "high": "max"}).reset_index()
        label = "random directions, central 95 %"
        axes.fill_between(band["checkpoint"], band["low"], band["high"], color="#DDDDDD", label=label)
        _curves(axes, rows.rename(columns={"checkpoint": "step"}), "shift", marker="o")
        axes.axhline(0, color="black", lw=0.6)
        axes.set(xlabel="checkpoint", title=words)
        axes.title.set_fontsize(9)
    panels[0][0].set_ylabel("moved against neutral\n(base SDs; up is cautious)")
    figure.tight_layout()
    return figure


def steering_data(study: Study, model: str) -> pd.DataFrame:
    """One line for each direction and off-target KL: effect in nats with its interval, what 5 % of nulls exceed."""
    rows = [
        {
            "place": place,
            "off_target_kl": each.off_target_kl,
            "effect": each.odd.estimate,
            "low": each.odd.low,
            "high": each.odd.high,
        }
        | {kind: against.null_95 for kind, against in each.against.items()}
        for place, (told, _) in study.steering.items()
        if place.startswith(f"{model}.")
        for each in told.levels
    ]
    return pd.DataFrame(rows)


def draw_steering(data: pd.DataFrame) -> Figure:
    """A panel for each direction: its effect by off-target KL; lines between which 95 % of the null directions lie."""
    places = list(dict.fromkeys(data["place"]))
    figure, panels = plt.subplots(1, len(places), figsize=(4.2 * len(places) + 1, 3.4), squeeze=False, sharey=True)
    for axes, place in zip(panels[0], places, strict=True):
        rows = data[data["place"] == place]
        spread = np.array([rows["effect"] - rows["low"], rows["high"] - rows["effect"]])
        axes.errorbar(rows["off_target_kl"], rows["effect"], spread, marker="o", color="black", label="towards caution")
        for (kind, words), colour in zip(NULLS.items(), ("#777777", "#56B4E9", "#009E73", "#CC79A7"), strict=True):
            for sign in (1, -1):
                label = words if sign == 1 else None
                axes.plot(rows["off_target_kl"], sign * rows[kind], color=colour, ls="--", lw=1.2, label=label)
        axes.axhline(0, color="black", lw=0.6)
        axes.set(xscale="log", xlabel="off-target KL, nats a token of neutral text", title=place)
        axes.set_xticks(rows["off_target_kl"], [f"{value:g}" for value in rows["off_target_kl"]])
        axes.minorticks_off()
    panels[0][0].set_ylabel("change of the margin for the change, nats")
    panels[0][-1].legend(frameon=False, fontsize=7, title="95 % of the nulls lie within", title_fontsize=7)
    figure.tight_layout()
    return figure


def patching_data(runs: Sequence[Run]) -> pd.DataFrame:
    """One line for each fine-tune, block and part of the text whose share of the gap is defined."""
    rows = [
        {"cell": run.cell, "layer": int(layer), "part": part, "share": share.estimate}
        for run in runs
        if run.trace is not None
        for layer, parts in run.trace[0].patching.items()
        for part, share in parts.items()
        if share.estimate is not None
    ]
    return pd.DataFrame(rows, columns=["cell", "layer", "part", "share"])


def draw_patching(data: pd.DataFrame) -> Figure:
    """A panel for each fine-tune, a curve for each part of the text."""
    cells = list(dict.fromkeys(data["cell"]))
    figure, panels = plt.subplots(1, len(cells), figsize=(3.6 * len(cells) + 1, 3.2), squeeze=False, sharey=True)
    for axes, cell in zip(panels[0], cells, strict=True):
        for part, rows in data[data["cell"] == cell].groupby("part", sort=False):
            ordered = rows.sort_values("layer")
            axes.plot(ordered["layer"], 100 * ordered["share"], marker="o", ms=4, lw=1.3, label=str(part))
        for level in (0, 100):
            axes.axhline(level, color="black", lw=0.6)
        axes.set(xlabel="patched after block", title=cell)
    panels[0][0].set_ylabel("share of the shift, %")
    panels[0][0].legend(frameon=False, fontsize=8)
    figure.tight_layout()
    return figure


def _curves(axes: Axes, data: pd.DataFrame, column: str, marker: str = "") -> None:
    seen: set[str] = set()
    for (attitude, _cell), rows in data.groupby(["attitude", "cell"]):
        name = str(attitude)
        label = None if name in seen else name
        seen.add(name)
        axes.plot(rows["step"], rows[column], color=COLOURS[name], lw=1.3, marker=marker, ms=4, label=label)
    axes.legend(frameon=False, fontsize=8)


def figures_of(study: Study, book: Book) -> dict[str, Figure]:
    """Every figure that the sealed rows allow, by file name without ending."""
    made: dict[str, Figure] = {}
    stances, topics = stance_data(study), topic_data(study) if study.bases else pd.DataFrame()
    for model in study.bases:
        if any(run.scored for run in study.arm_order(model)):
            made[f"stance-{model}"] = draw_stance(
                stances, model, [name for name in MEASURES if unreliable(book, name, model)]
            )
        made[f"topics-{model}"] = draw_topics(topics, model)
        if (curves := draw_curves(book, study, model)) is not None:
            made[f"curves-{model}"] = curves
        shifts = label_shifts(study, model)
        if len(shifts):
            made[f"labels-{model}"] = draw_labels(shifts)
        layers = layer_data(study, model)
        if len(layers):
            made[f"layers-{model}"] = draw_layers(layers)
        if len(moved := moved_data(study, model)):
            made[f"moved-{model}"] = draw_moved(moved)
        if len(steering := steering_data(study, model)):
            made[f"steering-{model}"] = draw_steering(steering)
        if len(patching := patching_data(study.arm_order(model))):
            made[f"patching-{model}"] = draw_patching(patching)
    losses = loss_data(study)
    if len(losses):
        made["losses"] = draw_losses(losses)
    return made
