"""Charts on the inside of models in Vega-Lite: panels below one another, so that a phone holds them."""

from collections.abc import Sequence

import pandas as pd

from analysis.report.charts import INK, PADDING, WIDTH, Spec, chart, of_arm
from analysis.report.inside import PLACES
from analysis.report.representation import NULLS

# Okabe and Ito (2008), as the arms; where there are more series than colours they begin again, with other shapes.
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
MARKS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross")
DASHES = ([2, 2], [6, 2], [8, 2, 2, 2], [4, 4])  # of the kinds of null directions
LABELS = 44  # pixels that the labels of y take
MOST_TICKS = 12  # that a phone holds
BESIDE = PADDING + LABELS + 8  # pixels of a page that no plot gets: the padding, labels of y, and the last label of x
LINE = {"type": "line", "strokeWidth": 1.5, "aria": False}
POINT = {"type": "point", "filled": True, "size": 35, "opacity": 1}


def layers(rows: pd.DataFrame) -> Spec:
    """How each layer reads, and what a push along its direction does; the chosen layer of each direction is large.

    rows: place, layer, separation, causal (nats; not known where it was not tried) and chosen.
    """
    titles = {
        "separation": "reads: paired separation (mean over SD)",
        "causal": "pushes: cautious against eager replies, nats",
    }
    places = list(dict.fromkeys(rows["place"]))
    views = []
    for column, title in titles.items():
        known = rows[["place", "layer", column, "chosen"]].dropna()
        tooltip = [{"field": name} for name in ("place", "layer", column)]
        encoding = {**_whole("layer", "layer", rows["layer"]), **_up(column), **_series("place", places)}
        large = {**POINT, "size": 170}
        marks: list[Spec] = [
            {"mark": LINE},
            {"mark": POINT, "encoding": {"tooltip": tooltip}},
            {"transform": [{"filter": "datum.chosen"}], "mark": large, "encoding": {"tooltip": tooltip}},
        ]
        views.append(_panel(title, known, marks, encoding))
    return _panels(views)


def moved(rows: pd.DataFrame, bands: pd.DataFrame, arms: Sequence[str]) -> Spec:
    """A panel for each place, a line for each pair over its checkpoints; shaded, where random directions lie.

    rows: cell, arm, place, checkpoint and shift (SDs of the base). bands: place, checkpoint, low and high.
    """
    legend = {"name": "arm_chosen", "select": {"type": "point", "fields": ["arm"]}, "bind": "legend"}
    faint = {"opacity": {"condition": {"param": "arm_chosen", "value": 1}, "value": 0.1}}
    tooltip = [{"field": name} for name in ("cell", "checkpoint", "shift")]
    views: list[Spec] = []
    for place, words in PLACES.items():
        band = {
            "data": {"values": bands[bands["place"] == place].to_dict("records")},
            "mark": {"type": "area", "color": INK, "opacity": 0.13, "aria": False},
            "encoding": {**_up("low"), "y2": {"field": "high"}},
        }
        lines = {"mark": LINE, "encoding": {**_up("shift"), **_colour(arms), "detail": {"field": "cell"}, **faint}}
        points: Spec = {"mark": POINT, "encoding": {**_up("shift"), **of_arm(arms), **faint, "tooltip": tooltip}}
        if not views:
            points["params"] = [legend]
        mine = rows[rows["place"] == place].drop(columns=["low", "high"])
        marks = [band, _level(0), lines, points]
        across = _whole("checkpoint", "checkpoint", rows["checkpoint"])
        views.append(_panel(f"{words}, SDs of the base", mine, marks, across))
    return _panels(views, of_one_height=True)


def steering(rows: pd.DataFrame, nulls: pd.DataFrame) -> Spec:
    """A panel for each direction: its effect by off-target KL; lines between which 95 % of the null directions lie.

    rows: place, off_target_kl, effect, low and high (nats). nulls: place, off_target_kl, kind, above and below.
    """
    kinds = [words for words in NULLS.values() if words in set(nulls["kind"])]
    of_kind = {
        "color": {"field": "kind", "type": "nominal", "scale": {"domain": kinds, "range": list(SERIES[1:])}},
        "strokeDash": {"field": "kind", "type": "nominal", "scale": {"domain": kinds, "range": list(DASHES)}},
    }
    tooltip = [{"field": name} for name in ("off_target_kl", "effect", "low", "high")]
    views = []
    for place in dict.fromkeys(rows["place"]):
        tried = sorted({*rows.loc[rows["place"] == place, "off_target_kl"]})
        x = {"type": "quantitative", "scale": {"type": "log", "padding": 14}, "axis": {"values": tried, "format": "~g"}}
        across = {"x": {**x, "field": "off_target_kl", "title": "off-target KL, nats a token of neutral text"}}
        values = nulls[nulls["place"] == place].to_dict("records")
        rarely: list[Spec] = [
            {"data": {"values": values}, "mark": {**LINE, "clip": False}, "encoding": {**_up(side), **of_kind}}
            for side in ("above", "below")
        ]
        spread = {"mark": {"type": "rule", "strokeWidth": 2}, "encoding": {**_up("low"), "y2": {"field": "high"}}}
        found = {"mark": {**POINT, "size": 70, "color": INK}, "encoding": {**_up("effect"), "tooltip": tooltip}}
        title = [str(place), "change of the margin for the change, nats"]
        views.append(_panel(title, rows[rows["place"] == place], [_level(0), *rarely, spread, found], across))
    return _panels(views, of_one_height=True)


def patching(rows: pd.DataFrame) -> Spec:
    """A panel for each fine-tune, a line for each part of the text. rows: cell, layer, part and share (per cent)."""
    parts = list(dict.fromkeys(rows["part"]))
    tooltip = [{"field": name} for name in ("part", "layer", "share")]
    encoding = _whole("layer", "patched after block", rows["layer"])
    series = {**_up("share"), **_series("part", parts)}
    marks = [
        _level(0),
        _level(100),
        {"mark": LINE, "encoding": series},
        {"mark": POINT, "encoding": {**series, "tooltip": tooltip}},
    ]
    cells = dict.fromkeys(rows["cell"])
    words = "share of the shift, %"
    views = [_panel([str(cell), words], rows[rows["cell"] == cell], marks, encoding) for cell in cells]
    return _panels(views, of_one_height=True)


def _panels(views: Sequence[Spec], of_one_height: bool = False) -> Spec:
    """Panels below one another. of_one_height: they share the scale of y, so that their heights compare."""
    shared = {"resolve": {"scale": {"y": "shared"}}} if of_one_height else {}
    return chart({"vconcat": list(views), "spacing": 20, "usermeta": {"beside": BESIDE}, **shared})


def _panel(title: str | list[str], rows: pd.DataFrame, marks: Sequence[Spec], encoding: Spec) -> Spec:
    """One panel. title: a line, or several; above, since one beside the axis takes room that a phone has not."""
    return {
        "title": {"text": title, "dx": -LABELS},
        "width": WIDTH + PADDING - BESIDE,
        "height": 150,
        "data": {"values": rows.to_dict("records")},
        "encoding": encoding,
        "layer": list(marks),
    }


def _up(field: str) -> Spec:
    axis = {"minExtent": LABELS, "maxExtent": LABELS, "tickCount": 5}
    return {"y": {"field": field, "type": "quantitative", "title": None, "axis": axis}}


def _whole(field: str, title: str, every: pd.Series) -> Spec:
    """Whole numbers from left to right, all panels from the least to the most of them."""
    least, most = int(every.min()), int(every.max())
    ticks = list(range(least, most + 1, (most - least) // MOST_TICKS + 1))
    scale, axis = {"domain": [least, most], "nice": False}, {"values": ticks, "format": "d"}
    return {"x": {"field": field, "type": "quantitative", "title": title, "scale": scale, "axis": axis}}


def _level(at: float) -> Spec:
    """A dotted line across."""
    return {
        "mark": {"type": "rule", "strokeDash": [2, 3], "opacity": 0.6, "aria": False},
        "encoding": {"y": {"datum": at}, "x": None},
    }


def _colour(arms: Sequence[str]) -> Spec:
    return {"color": of_arm(arms)["color"]}


def _series(field: str, names: Sequence[str]) -> Spec:
    """Colour and shape of series that are no arms."""
    return {
        "color": {"field": field, "type": "nominal", "scale": {"domain": list(names), "range": list(SERIES)}},
        "shape": {"field": field, "type": "nominal", "scale": {"domain": list(names), "range": list(MARKS)}},
    }
