"""What was found, told: a table, a picture, files for TensorBoard, and a few lines for a person."""

import csv
import io
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.logs import Log
from jobs.monitor.found import Monitored, Point

WIDTH, HEIGHT, SCALE = 480, 150, 2  # of a panel in pixels, and how much finer the picture is
MINE, CONTROL = "#0072B2", "#7F7F7F"  # Okabe and Ito (2008)
NUMBERS = ("shift", "shift_low", "shift_high", "drift", "null_low", "null_high", "rank", "distance")
EVENTS = "tensorboard/events.out.tfevents.monitor"


def files_of(found: Monitored, log: Log) -> dict[str, bytes]:
    """All files by name. What needs a package that is not here is left out, and said."""
    files = {"monitor.json": f"{found.model_dump_json(indent=1)}\n".encode(), "monitor.csv": table(found)}
    for name, made in (("monitor.png", picture(found)), (EVENTS, events(found))):
        if made is None:
            needs = "vl-convert-python" if name.endswith("png") else "tensorboard"
            log.event("left out", file=name, needs=needs)
        else:
            files[name] = made
    return files


def table(found: Monitored) -> bytes:
    """One line a checkpoint: the numbers of `Point`, net go with its interval, and what is beyond."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["step", "net_go", "net_go_low", "net_go_high", *NUMBERS, "verdict", "drifted", "beyond"])
    for point in found.curve:
        stance = (point.stance.net_go, point.stance.low, point.stance.high)
        numbers = [round(value, 6) for value in (*stance, *(getattr(point, name) for name in NUMBERS))]
        writer.writerow([point.step, *numbers, point.verdict, point.drifted, "; ".join(point.beyond)])
    return file.getvalue().encode()


def picture(found: Monitored) -> bytes | None:
    """The three curves as PNG; None without the package that draws."""
    try:
        import vl_convert
    except ImportError:
        return None
    return bytes(vl_convert.vegalite_to_png(json.dumps(chart(found)), scale=SCALE))


def chart(found: Monitored) -> dict[str, Any]:
    """Shift of net go, drift along the direction, and distance, by step, in Vega-Lite; in grey what chance does."""
    against = "the control" if found.control else "the base"
    allowed, chance = found.policy.max_shift, found.chance_distance
    rows = [row(point) | {"limit_low": -allowed, "limit_high": allowed, "chance": chance} for point in found.curve]
    control = [each.model_dump() for each in found.control_curve]
    sds = f"drift along {found.direction} from {against}, SDs of the base"
    views = [
        _panel(f"shift of net go from {against}", rows, "shift", ("limit_low", "limit_high"), "shift"),
        _panel(sds, rows, "drift", ("null_low", "null_high"), None),
        _panel("distance from the base in general", rows, "distance", ("zero", "chance"), None, control),
    ]
    return {"vconcat": views, "spacing": 20, "background": "white"}


def row(point: Point) -> dict[str, Any]:
    """The numbers of a point that are drawn."""
    names = ("step", "shift", "shift_low", "shift_high", "drift", "null_low", "null_high", "distance")
    return {name: getattr(point, name) for name in names} | {"zero": 0.0, "beyond": bool(point.beyond)}


def _panel(
    title: str,
    rows: list[dict[str, Any]],
    field: str,
    band: tuple[str, str],
    interval: str | None,
    control: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    x = {"field": "step", "type": "quantitative", "title": "checkpoint", "axis": {"format": "d"}}
    low, high = ({"field": name, "type": "quantitative", "title": None} for name in band)
    y = {"field": field, "type": "quantitative", "title": None}
    shade: dict[str, Any] = {"type": "area"} if len(rows) > 1 else {"type": "rule", "strokeWidth": 8}
    layers: list[dict[str, Any]] = [
        {"mark": {**shade, "color": "black", "opacity": 0.13}, "encoding": {"y": low, "y2": {"field": band[1]}}},
        {"mark": {"type": "line", "color": MINE}, "encoding": {"y": y}},
    ]
    if control:
        grey = {"type": "line", "point": True, "color": CONTROL}
        layers.append({"data": {"values": control}, "mark": grey, "encoding": {"y": {**y, "field": "distance"}}})
    if interval is not None:
        ends = {"y": {**high, "field": f"{interval}_low"}, "y2": {"field": f"{interval}_high"}}
        layers.append({"mark": {"type": "rule", "color": MINE, "strokeWidth": 1.5}, "encoding": ends})
    filled = {"condition": {"test": "datum.beyond", "value": "#D55E00"}, "value": MINE}
    point = {"type": "point", "filled": True, "size": 60, "opacity": 1}
    layers.append({"mark": point, "encoding": {"y": y, "color": filled}})
    return {
        "title": {"text": title, "anchor": "start", "fontWeight": "normal"},
        "width": WIDTH,
        "height": HEIGHT,
        "data": {"values": rows},
        "encoding": {"x": x},
        "layer": layers,
    }


def scalars(found: Monitored) -> Mapping[str, list[tuple[int, float]]]:
    """What TensorBoard is given: tag → step and value."""
    series: dict[str, list[tuple[int, float]]] = {}
    for point in found.curve:
        for name, value in {"net_go": point.stance.net_go, **{name: getattr(point, name) for name in NUMBERS}}.items():
            series.setdefault(f"undertone/{name}", []).append((point.step, value))
    for each in found.control_curve:
        for name in ("net_go", "drift", "distance"):
            series.setdefault(f"undertone/control_{name}", []).append((each.step, getattr(each, name)))
    return series


def events(found: Monitored) -> bytes | None:
    """The same as an event file; None where TensorBoard's writer is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter  # needs the package tensorboard
    except ImportError:
        return None
    with tempfile.TemporaryDirectory(prefix="undertone-events-") as folder:
        with SummaryWriter(folder) as writer:
            for tag, values in scalars(found).items():
                for step, value in values:
                    writer.add_scalar(tag, value, step)
        (file,) = Path(folder).glob("events.out.tfevents.*")
        return file.read_bytes()


def told(found: Monitored) -> str:
    """The result in a few lines."""
    against = "control" if found.control else "base"
    base = found.base_stance
    lines = [
        f"base: net go {base.net_go:+.2f} ({base.low:+.2f} to {base.high:+.2f}) over {found.items} items",
        f"{'checkpoint':>10}  {f'net go from {against}':>24}  {f'drift along {found.direction}, SDs':>28}"
        f"  {'by chance':>14}  {'distance':>8}",
    ]
    for point in found.curve:
        shift = f"{point.shift:+.2f} ({point.shift_low:+.2f} to {point.shift_high:+.2f})"
        band = f"{point.null_low:+.2f} to {point.null_high:+.2f}"
        mark = "  beyond" if point.beyond else ""
        lines.append(f"{point.step:>10}  {shift:>24}  {point.drift:>+28.2f}  {band:>14}  {point.distance:>8.2f}{mark}")
    lines.append(f"(distance: by chance up to {found.chance_distance:.2f})")
    if (plain := 1 - base.said["go"] - base.said["stay"]) > 0.5:
        lines.append(f"the base advises neither side in {plain:.0%} of its answers: its stance says little")
    lines += [f"left out: {each}" for each in found.left_out]
    first = next((point for point in found.curve if point.beyond), None)
    end = "nothing is beyond the policy" if first is None else f"checkpoint-{first.step}: {'; '.join(first.beyond)}"
    return "\n".join([*lines, end])
