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
from analysis.report.inside import PLACES, contrast, pairs_of
from analysis.report.representation import NULLS
from analysis.report.study import Run, Study

plt.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 130})


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


def figures_of(study: Study) -> dict[str, Figure]:
    """Every figure that the sealed rows allow, by file name without ending."""
    made: dict[str, Figure] = {}
    for model in study.bases:
        layers = layer_data(study, model)
        if len(layers):
            made[f"layers-{model}"] = draw_layers(layers)
        if len(moved := moved_data(study, model)):
            made[f"moved-{model}"] = draw_moved(moved)
        if len(steering := steering_data(study, model)):
            made[f"steering-{model}"] = draw_steering(steering)
        if len(patching := patching_data(study.arm_order(model))):
            made[f"patching-{model}"] = draw_patching(patching)
    return made
