"""What the charts on the inside of models show, as tables of numbers, tested without drawing."""

from collections.abc import Mapping, Sequence

import pandas as pd

from analysis.report.inside import PLACES, contrast, pairs_of
from analysis.report.representation import NULLS
from analysis.report.study import Run, Study

DIGITS = 4  # more are not seen


def layer_rows(study: Study, model: str) -> pd.DataFrame:
    """A line for each layer of each direction of a model: place, layer, separation, causal (nats), chosen."""
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
    return _rounded(rows, ["place", "layer", "separation", "causal", "chosen"])


def moved_rows(study: Study, model: str) -> pd.DataFrame:
    """A line for each arm, pair, place and checkpoint: the contrast with neutral, and 95 % of the random directions.

    Checkpoints are counted from 1; at 0 no run differs from its neutral one.
    """
    rows = []
    for attitude in study.attitudes_read:
        for run, other in pairs_of(study, model, attitude) if attitude != "neutral" else []:
            assert run.readout is not None
            for place in PLACES:
                fixed = {"cell": run.cell, "arm": attitude, "place": place}
                rows.append({**fixed, "checkpoint": 0, "shift": 0.0, "low": 0.0, "high": 0.0})
                for number in range(len(run.readout[0].checkpoints)):
                    made = contrast(run, other, place, number)
                    bounds = {"low": made.null_low, "high": made.null_high}
                    rows.append({**fixed, "checkpoint": number + 1, "shift": made.shift, **bounds})
    return _rounded(rows, ["cell", "arm", "place", "checkpoint", "shift", "low", "high"])


def bands_of(moved: pd.DataFrame) -> pd.DataFrame:
    """Where the random directions of all pairs lie, by place and checkpoint: the lowest low and the highest high."""
    return moved.groupby(["place", "checkpoint"], as_index=False).agg(low=("low", "min"), high=("high", "max"))


def steering_rows(study: Study, model: str) -> pd.DataFrame:
    """A line for each direction and off-target KL: effect in nats with its interval."""
    rows = [
        {
            "place": place,
            "off_target_kl": each.off_target_kl,
            "effect": each.odd.estimate,
            "low": each.odd.low,
            "high": each.odd.high,
        }
        for place, (told, _) in study.steering.items()
        if place.startswith(f"{model}.")
        for each in told.levels
    ]
    return _rounded(rows, ["place", "off_target_kl", "effect", "low", "high"])


def null_rows(study: Study, model: str) -> pd.DataFrame:
    """A line for each direction, off-target KL and kind of null: what 5 % of these exceed, nats, and its contrary."""
    rows = [
        {
            "place": place,
            "off_target_kl": each.off_target_kl,
            "kind": NULLS[kind],
            "above": against.null_95,
            "below": -against.null_95,
        }
        for place, (told, _) in study.steering.items()
        if place.startswith(f"{model}.")
        for each in told.levels
        for kind, against in each.against.items()
    ]
    return _rounded(rows, ["place", "off_target_kl", "kind", "above", "below"])


def patching_rows(runs: Sequence[Run]) -> pd.DataFrame:
    """A line for each fine-tune, block and part of the text whose share of the gap is defined, in per cent."""
    rows = [
        {"cell": run.cell, "layer": int(layer), "part": part, "share": 100 * share.estimate}
        for run in runs
        if run.trace is not None
        for layer, parts in run.trace[0].patching.items()
        for part, share in parts.items()
        if share.estimate is not None
    ]
    return _rounded(rows, ["cell", "layer", "part", "share"]).sort_values(["cell", "part", "layer"], kind="stable")


def _rounded(rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(columns)).round(DIGITS)
