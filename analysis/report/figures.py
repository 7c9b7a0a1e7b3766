"""Figures on the inside of models. For each, a function makes its data and one draws them, so that data are tested."""

from collections.abc import Sequence

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.report.charts import COLOURS
from analysis.report.representation import NULLS
from analysis.report.study import Run, Study
from common.schemas import Checkpoint

BASE = Checkpoint(optimizer_step=0, shift=0.0, nulls=(0.0,))  # where every run begins
plt.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 130})


def layer_data(study: Study, model: str) -> pd.DataFrame:
    """One line for each layer of each direction of a model: place, layer, separation, chosen, pruned."""
    rows = [
        {
            "place": place,
            "layer": layer.layer,
            "separation": layer.separation,
            "chosen": layer.layer == curve.chosen,
            "pruned": layer.layer >= curve.pruned_from,
        }
        for place, (curve, _) in study.layers.items()
        if place.startswith(f"{model}.")
        for layer in curve.layers
    ]
    return pd.DataFrame(rows, columns=["place", "layer", "separation", "chosen", "pruned"])


def draw_layers(data: pd.DataFrame) -> Figure:
    """A curve for each direction, its chosen layer marked; layers that are never chosen in grey."""
    figure, axes = plt.subplots(figsize=(6, 3.0))
    for index, (place, rows) in enumerate(data.groupby("place")):
        colour, chosen = f"C{index}", rows[rows["chosen"]]
        axes.plot(rows["layer"], rows["separation"], color=colour, marker="o", ms=3, lw=1.3, label=str(place))
        axes.plot(chosen["layer"], chosen["separation"], color=colour, marker="D", ms=9, mec="white", ls="")
    pruned = data.loc[data["pruned"], "layer"]
    if len(pruned):
        axes.axvspan(pruned.min() - 0.5, pruned.max() + 0.5, color="#DDDDDD", lw=0, zorder=0)
    axes.set(xlabel="layer", ylabel="paired separation\n(mean over SD)")
    axes.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    return figure


def projection_data(runs: Sequence[Run]) -> pd.DataFrame:
    """One line for each checkpoint of each run: shift in base SDs, and the central 95 % of the random directions."""
    rows = []
    for run in (run for run in runs if run.readout is not None):
        assert run.readout is not None
        for point in (BASE, *run.readout[0].checkpoints):
            low, high = np.quantile(point.nulls, [0.025, 0.975])
            fixed = {"cell": run.cell, "attitude": run.attitude, "step": point.optimizer_step, "shift": point.shift}
            rows.append({**fixed, "low": float(low), "high": float(high)})
    return pd.DataFrame(rows, columns=["cell", "attitude", "step", "shift", "low", "high"])


def draw_projections(data: pd.DataFrame) -> Figure:
    """A curve for each run over its checkpoints; shaded, where random directions lie."""
    figure, axes = plt.subplots(figsize=(6, 3.6))
    band = data.groupby("step")[["low", "high"]].agg({"low": "min", "high": "max"}).reset_index()
    axes.fill_between(band["step"], band["low"], band["high"], color="#DDDDDD", label="random directions, central 95 %")
    _curves(axes, data, "shift", marker="o")
    axes.axhline(0, color="black", lw=0.6)
    axes.set(xlabel="optimizer step", ylabel="shift along the direction\n(base SDs; up is cautious)")
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


def steered_item_data(study: Study, model: str) -> pd.DataFrame:
    """One line for each question and direction, at the largest off-target KL: half of the effect of +v less that of -v.

    Columns place, item, effect (nats), and low and high, between which 95 % of the null directions of every kind lie.
    """
    tables = []
    for place, rows in study.steered.items():
        if not rows or not place.startswith(f"{model}."):
            continue
        made = pd.DataFrame([row.model_dump() for row in rows])
        made = made[made["target_kl"] == made["target_kl"].max()]
        made["odd"] = made["sign"] * made["effect"]
        odd = made.groupby(["item", "kind", "number"])["odd"].mean().reset_index()
        mine = odd[odd["kind"] == "caution"].set_index("item")["odd"]
        nulls = odd[odd["kind"] != "caution"].groupby("item")["odd"].quantile([0.025, 0.975]).unstack()
        tables.append(
            pd.DataFrame({"effect": mine, "low": nulls[0.025], "high": nulls[0.975]})
            .sort_values("effect")
            .reset_index()
            .assign(place=place)
        )
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def draw_steered_items(data: pd.DataFrame) -> Figure:
    """A panel for each direction: its effect on each question, beside what the null directions do to it."""
    places = list(dict.fromkeys(data["place"]))
    figure, panels = plt.subplots(1, len(places), figsize=(4.2 * len(places) + 1, 3.6), squeeze=False, sharex=True)
    for axes, place in zip(panels[0], places, strict=True):
        rows = data[data["place"] == place]
        height = np.arange(len(rows))
        axes.barh(height, rows["high"] - rows["low"], left=rows["low"], color="#cccccc", label="95 % of the nulls")
        axes.plot(rows["effect"], height, "o", color="black", ms=5, label="towards caution")
        axes.axvline(0, color="black", lw=0.6)
        axes.set_yticks(height, rows["item"], fontsize=8)
        axes.set(xlabel="change of the margin, nats", title=place)
    panels[0][-1].legend(frameon=False, fontsize=7)
    figure.tight_layout()
    return figure


def patching_data(runs: Sequence[Run]) -> pd.DataFrame:
    """One line for each fine-tune, block and part of the text whose share of the gap is defined."""
    rows = [
        {"cell": run.cell, "layer": int(layer), "part": part, "share": share["estimate"]}
        for run in runs
        if run.trace is not None
        for layer, parts in run.trace[0]["patching"].items()
        for part, share in parts.items()
        if share["estimate"] is not None
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


def figures_of(study: Study) -> dict[str, Figure]:
    """Every figure that the sealed rows allow, by file name without ending."""
    made: dict[str, Figure] = {}
    for model in study.bases:
        layers = layer_data(study, model)
        if len(layers):
            made[f"layers-{model}"] = draw_layers(layers)
        read = [run for run in study.runs if run.model == model and run.readout is not None]
        if read:
            made[f"projections-{model}"] = draw_projections(projection_data(read))
        if len(steering := steering_data(study, model)):
            made[f"steering-{model}"] = draw_steering(steering)
        if len(items := steered_item_data(study, model)):
            made[f"steered-items-{model}"] = draw_steered_items(items)
        if len(patching := patching_data(study.arm_order(model))):
            made[f"patching-{model}"] = draw_patching(patching)
    return made
