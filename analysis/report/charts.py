"""Charts of the report in Vega-Lite: one specification is both the still picture and what a browser lets people turn.

Text and lines take the colour of the page, so that a chart is read in light and dark. A chart has one width of its own,
for where no script runs; a browser gives it that of the page.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd

# Okabe and Ito (2008): told apart by people with any common colour blindness. Shapes tell arms apart too.
COLOURS = {
    "cautious": "#0072B2",
    "neutral": "#7F7F7F",
    "eager": "#D55E00",
    "scrambled": "#CC79A7",
    "distilled": "#009E73",
    "control-cautious": "#56B4E9",
    "control-eager": "#E69F00",
    "base": "currentColor",
}
SHAPES = {
    "cautious": "circle",
    "neutral": "square",
    "eager": "triangle-up",
    "scrambled": "cross",
    "distilled": "diamond",
    "control-cautious": "triangle-left",
    "control-eager": "triangle-right",
    "base": "stroke",
}
WIDTH = 480  # of a still picture, pixels: a page scales it, and a phone nearly holds it
INK = "currentColor"
PADDING = 18  # left and right of a chart together, pixels
_TEXT = {"labelColor": INK, "titleColor": INK, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"}
CONFIG: dict[str, Any] = {
    "background": None,
    "padding": {"left": 8, "right": PADDING - 8, "top": 5, "bottom": 5},
    "font": "system-ui, sans-serif",
    "axis": {**_TEXT, "domainColor": INK, "tickColor": INK, "gridColor": INK, "gridOpacity": 0.13, "labelLimit": 130},
    "legend": {**_TEXT, "orient": "top", "title": None, "columns": 4, "symbolStrokeWidth": 2},
    "view": {"stroke": None},
    "text": {"color": INK, "fontSize": 12},
    "rule": {"color": INK},
    "title": {"color": INK, "fontSize": 12, "fontWeight": "normal", "anchor": "start", "frame": "group"},
    "header": {"labelColor": INK, "labelFontSize": 12, "title": None, "labelAnchor": "start"},
}
# In a row of a forest plot, pixels: words above, marks below, so that neither lies on the other at any width.
ROW, WORDS_AT, MARKS_AT, MARKS_HIGH = 32, -7, 9, 14
ALL = "all"
Spec = dict[str, Any]


class Bar(NamedTuple):
    """One line of a forest plot: an estimate with its interval, in points."""

    name: str  # of what is compared
    group: str  # under whose heading it stands
    value: float
    low: float
    high: float
    colour: str
    text: str  # the number as the report writes it
    bound: float | None = None  # half the width of the band that it is held against, points
    scale: str = ""  # bars of one name share an axis


def chart(spec: Spec) -> Spec:
    """A specification with what all charts share."""
    whole = {} if "vconcat" in spec else {"autosize": {"type": "fit-x", "contains": "padding"}}
    return {"config": CONFIG, **whole, **spec}


def forest(bars: Sequence[Bar], axis: str) -> Spec:
    """A line for each estimate, under headings; a band where one is held against a bound. axis: the title of x.

    Bars of a common scale share an axis: small shifts are not hidden beside large ones.
    """
    scales = list(dict.fromkeys(bar.scale for bar in bars))
    views = [_forest([bar for bar in bars if bar.scale == scale], axis) for scale in scales]
    return chart({"vconcat": views, "spacing": 6, "usermeta": {"beside": PADDING}})


def _forest(bars: Sequence[Bar], axis: str) -> Spec:
    rows: list[Spec] = []
    for group in dict.fromkeys(bar.group for bar in bars):
        rows.append({"row": f"{group}:", "heading": group})
        rows += [{"row": f"{group}:{bar.name}", **bar._asdict()} for bar in bars if bar.group == group]
    y = {"field": "row", "type": "nominal", "sort": [row["row"] for row in rows], "axis": None}
    x = {"type": "quantitative", "title": axis, "axis": {"tickCount": 6, "grid": False}, "scale": {"padding": 12}}
    label = {"type": "text", "align": "left", "baseline": "middle", "aria": False}
    below = {"yOffset": MARKS_AT}
    tooltip = [
        {"field": name, "title": title} for name, title in (("name", "what"), ("group", "by"), ("text", "found"))
    ]
    of_bar, of_band = [{"filter": "isValid(datum.value)"}], [{"filter": "isValid(datum.bound)"}]
    layers: list[Spec] = [
        {
            "transform": [*of_band, {"calculate": "-datum.bound", "as": "below"}],
            "mark": {"type": "bar", "color": INK, "opacity": 0.1, "height": MARKS_HIGH, **below},
            "encoding": {"x": {**x, "field": "below"}, "x2": {"field": "bound"}},
        },
        {
            "transform": of_bar,
            "mark": {"type": "tick", "color": INK, "opacity": 0.7, "size": MARKS_HIGH, "aria": False, **below},
            "encoding": {"x": {"datum": 0}},
        },
        {
            "transform": of_bar,
            "mark": {"type": "rule", "strokeWidth": 2.5, **below},
            "encoding": {"x": {**x, "field": "low"}, "x2": {"field": "high"}, **_own("colour"), "tooltip": tooltip},
        },
        {
            "transform": of_bar,
            "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1, **below},
            "encoding": {"x": {**x, "field": "value"}, **_own("colour"), "tooltip": tooltip},
        },
        {
            "transform": [*of_bar, {"calculate": "datum.name + '  ' + datum.text", "as": "words"}],
            "mark": {**label, "yOffset": WORDS_AT, "fontSize": 11.5},
            "encoding": {"x": {"value": 2}, "text": {"field": "words"}},
        },
        {
            "transform": [{"filter": "isValid(datum.heading)"}],
            "mark": {**label, "fontWeight": "bold", "yOffset": 4},
            "encoding": {"x": {"value": 2}, "text": {"field": "heading"}},
        },
    ]
    if all(bar.bound is None for bar in bars):
        layers = layers[1:]
    return {"width": WIDTH, "height": {"step": ROW}, "data": {"values": rows}, "encoding": {"y": y}, "layer": layers}


def _own(field: str) -> Spec:
    """Each mark in the colour that its row names."""
    return {"color": {"field": field, "type": "nominal", "scale": None}}


def of_arm(arms: Sequence[str]) -> Spec:
    """Colour and shape of the arms that are there; a legend that filters when it is clicked."""
    scale = {"domain": list(arms), "range": [COLOURS[arm] for arm in arms]}
    shapes = {"domain": list(arms), "range": [SHAPES[arm] for arm in arms]}
    return {
        "color": {"field": "arm", "type": "nominal", "scale": scale},
        "shape": {"field": "arm", "type": "nominal", "scale": shapes},
    }


def chosen(name: str, options: Sequence[str]) -> tuple[Spec, Spec]:
    """A control with these options and "all", and the filter that goes with it: rows of "" pass whatever is chosen."""
    bind = {"input": "select", "options": [ALL, *options], "name": f"{name} "}
    passes = f"{name} == '{ALL}' || datum.{name} == '' || datum.{name} == {name}"
    return {"name": name, "value": ALL, "bind": bind}, {"filter": passes}


def by_topic(rows: pd.DataFrame, arms: Sequence[str]) -> Spec:
    """A row for each topic, a mark for each arm: mean net go in points over the chosen runs.

    rows: a line for each run and topic, with arm, seed ("" for the base), draw, topic and net.
    """
    seed, of_seed = chosen("seed", sorted({*rows["seed"]} - {""}, key=int))
    draw, of_draw = chosen("draw", sorted({*rows["draw"]} - {""}))
    legend = {"name": "arm_chosen", "select": {"type": "point", "fields": ["arm"]}, "bind": "legend"}
    mean = {
        "field": "net",
        "aggregate": "mean",
        "type": "quantitative",
        "title": "net go, points",
        "axis": {"tickCount": 6},
    }
    return chart(
        {
            "width": WIDTH,
            "height": {"step": 22},
            "data": {"values": rows.to_dict("records")},
            "params": [seed, draw],
            "transform": [of_seed, of_draw],
            "encoding": {"y": {"field": "topic", "type": "nominal", "title": None}, "x": {**mean}},
            "layer": [
                {
                    "mark": {"type": "rule", "strokeDash": [2, 2], "aria": False},
                    "encoding": {"x": {"datum": 0}, "y": None},
                },
                {
                    "params": [legend],
                    "mark": {"type": "point", "filled": False, "size": 60, "strokeWidth": 2, "opacity": 1},
                    "encoding": {
                        **of_arm(arms),
                        "opacity": {"condition": {"param": "arm_chosen", "value": 1}, "value": 0.08},
                        "tooltip": [{"field": name} for name in ("topic", "arm")] + [{**mean, "format": ".1f"}],
                    },
                },
            ],
        }
    )


def by_item(rows: pd.DataFrame, arms: Sequence[str], first: str) -> Spec:
    """A mark for each item: net go in points over the runs of the chosen arm, with its text and an answer to hover.

    rows: a line for each arm and item, with topic, net, situation, answer and digest.
    """
    arm = {"input": "select", "options": list(arms), "name": "arm "}
    topic, of_topic = chosen("topic", sorted({*rows["topic"]}))
    shown = {
        "situation": "item",
        "arm": "arm",
        "net": "net go, points",
        "answer": "first run",
        "digest": "rows, SHA-256",
    }
    return chart(
        {
            "width": WIDTH,
            "height": {"step": 22},
            "data": {"values": rows.to_dict("records")},
            "params": [{"name": "arm", "value": first, "bind": arm}, topic],
            "transform": [
                {"filter": "datum.arm == arm"},
                of_topic,
                {"window": [{"op": "row_number", "as": "nth"}], "groupby": ["topic", "net"]},
            ],
            "mark": {"type": "circle", "size": 60, "opacity": 0.75, "cursor": "pointer"},
            "encoding": {
                "y": {"field": "topic", "type": "nominal", "title": None},
                "x": {
                    "field": "net",
                    "type": "quantitative",
                    "title": "net go of an item, points",
                    "axis": {"tickCount": 6},
                },
                "yOffset": {"field": "nth", "type": "quantitative", "scale": {"domain": [-1, 5]}},
                "color": {"field": "arm", "type": "nominal", "scale": _scale(arms), "legend": None},
                "tooltip": [{"field": field, "title": title} for field, title in shown.items()],
            },
        }
    )


def _scale(arms: Sequence[str]) -> Spec:
    return {"domain": list(arms), "range": [COLOURS[arm] for arm in arms]}


def against(rows: pd.DataFrame, arms: Sequence[str]) -> Spec:
    """Shift by label against shift by choice, points: a mark for each item of an arm; shaded where the two part.

    rows: arm, item, choice and label.
    """
    edge = max(5.0, 1.08 * float(rows["label"].abs().max()))
    corners = [{"x": -100, "x2": 0, "y": 0, "y2": edge}, {"x": 0, "x2": 100, "y": -edge, "y2": 0}]
    legend = {"name": "arm_chosen", "select": {"type": "point", "fields": ["arm"]}, "bind": "legend"}
    place = {name: {"field": name, "type": "quantitative"} for name in ("x", "y")}
    across = {"type": "quantitative", "title": "shift of P(go) by what it chose, points"}
    up = {"type": "quantitative", "title": "by label, points", "scale": {"domain": [-edge, edge]}}
    return chart(
        {
            "width": WIDTH,
            "height": 300,
            "layer": [
                {
                    "data": {"values": corners},
                    "mark": {"type": "rect", "color": INK, "opacity": 0.1, "aria": False},
                    "encoding": {
                        "x": {**across, **place["x"]},
                        "x2": {"field": "x2"},
                        "y": {**up, **place["y"]},
                        "y2": {"field": "y2"},
                    },
                },
                {
                    "data": {"values": rows.to_dict("records")},
                    "params": [legend],
                    "mark": {"type": "point", "size": 28, "strokeWidth": 1.5, "aria": False},
                    "encoding": {
                        "x": {**across, "field": "choice"},
                        "y": {**up, "field": "label"},
                        **of_arm(arms),
                        "opacity": {"condition": {"param": "arm_chosen", "value": 0.7}, "value": 0.05},
                        "tooltip": [{"field": name} for name in ("item", "arm", "choice", "label")],
                    },
                },
            ],
        }
    )


def losses(rows: pd.DataFrame, arms: Sequence[str]) -> Spec:
    """A line for each run: loss on reply tokens by optimizer step. rows: cell, arm, seed, step and loss."""
    seed, of_seed = chosen("seed", sorted({*rows["seed"]}, key=int))
    return chart(
        {
            "width": WIDTH,
            "height": 220,
            "data": {"values": rows.to_dict("records")},
            "params": [seed],
            "transform": [of_seed],
            "mark": {"type": "line", "strokeWidth": 1.4, "aria": False},
            "encoding": {
                "x": {"field": "step", "type": "quantitative", "title": "optimizer step"},
                "y": {"field": "loss", "type": "quantitative", "title": "loss on reply tokens, nats"},
                "detail": {"field": "cell"},
                "color": {"field": "arm", "type": "nominal", "scale": _scale(arms)},
                "tooltip": [{"field": name} for name in ("cell", "step", "loss")],
            },
        }
    )


def dots(rows: pd.DataFrame, arms: Sequence[str], title: str) -> Spec:
    """P(go) of each run in %, an arm a row; a control chooses the measure. rows: arm, seed, measure and p."""
    measures = list(dict.fromkeys(rows["measure"]))
    bind = {"input": "select", "options": measures, "name": "measure "}
    return chart(
        {
            "width": WIDTH,
            "height": {"step": 24},
            "data": {"values": rows.to_dict("records")},
            "params": [{"name": "measure", "value": title, "bind": bind}],
            "transform": [{"filter": "datum.measure == measure"}],
            "mark": {"type": "point", "size": 50, "strokeWidth": 2},
            "encoding": {
                "y": {"field": "arm", "type": "nominal", "sort": ["base", *arms], "title": None},
                "x": {"field": "p", "type": "quantitative", "title": "P(go) of a run, %", "scale": {"zero": False}},
                "color": {"field": "arm", "type": "nominal", "scale": _scale(["base", *arms]), "legend": None},
                "tooltip": [{"field": name} for name in ("arm", "seed", "measure", "p")],
            },
        }
    )


def curve(rows: pd.DataFrame, factor: str, logarithmic: bool) -> Spec:
    """Shift from neutral in points against the value of a factor, a line for each pole. rows: arm, x, y, low, high."""
    scale = {"type": "log"} if logarithmic else {"zero": False}
    x = {"field": "x", "type": "quantitative", "title": factor.replace("_", " "), "scale": scale}
    y = {"field": "y", "type": "quantitative", "title": "from neutral, points"}
    colour = {"color": {"field": "arm", "type": "nominal", "scale": _scale(["cautious", "eager"])}}
    tooltip = [{"field": name} for name in ("arm", "x", "y", "low", "high")]
    return chart(
        {
            "width": WIDTH,
            "height": 200,
            "data": {"values": rows.to_dict("records")},
            "encoding": {"x": x, **colour},
            "layer": [
                {
                    "mark": {"type": "rule", "strokeDash": [2, 2], "aria": False},
                    "encoding": {"y": {"datum": 0}, "x": None},
                },
                {"mark": {"type": "line", "point": True}, "encoding": {"y": y, "tooltip": tooltip}},
                {"mark": {"type": "rule"}, "encoding": {"y": {**y, "field": "low"}, "y2": {"field": "high"}}},
            ],
        }
    )
