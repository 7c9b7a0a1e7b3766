"""Figures on the inside of models show their data."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib import pyplot as plt

from analysis.report import figures as plots
from analysis.report.bound_numbers import Source
from analysis.report.representation import NULLS
from analysis.report.study import Run, Scored, Study
from common.records import Choice, Loss, Steering
from common.schemas import Checkpoint
from tests.analysis.report import documents

SOURCE = Source("ab" * 32, "job/cell", "output")
GO = {"base": (1, 0, 0, 0), "cautious": (0, 0, 0, 0), "neutral": (1, 0, 0, 1), "eager": (1, 1, 0, 1)}  # by item
LABEL = {"base": -1.0, "cautious": -0.5, "neutral": -1.0, "eager": -1.5}  # log-probability of the label for the change


@pytest.fixture(autouse=True)
def close() -> Iterator[None]:
    yield
    plt.close("all")


def scored(cell: str, attitude: str) -> Scored:
    rows = [
        Choice(
            cell=cell,
            item=f"i{number}",
            topic=f"t{number // 2}",
            yes_means="go" if number % 2 else "stay",
            order=order,
            choice="go" if go else "stay",
            yes_no=1.0,
            sentence_go=-5.0 + go,
            sentence_stay=-5.0,
            tokens_go=5,
            tokens_stay=5,
            label_go=LABEL[attitude],
            label_stay=-1.0,
        )
        for number, go in enumerate(GO[attitude])
        for order in (0, 1)
    ]
    return Scored(cell, rows, documents.guards(), [], [], (SOURCE, SOURCE, SOURCE, SOURCE), [], SOURCE)


def made_run(attitude: str, seed: int) -> Run:
    cell = f"m.d0.{attitude}.s{seed}"
    losses = [
        Loss(optimizer_step=s, loss=3.0 / s, learning_rate=0.1, reply_tokens=1, tokens=1, seconds=1.0)
        for s in (1, 2, 3)
    ]
    sign = {"cautious": 1.0, "eager": -1.0, "neutral": 0.0}[attitude]
    points = [
        Checkpoint(optimizer_step=s, shift=sign * s, nulls=tuple(np.linspace(-s, s, 201).tolist())) for s in (2, 4)
    ]
    return Run(
        cell,
        "m",
        0,
        attitude,
        seed,
        scored(cell, attitude),
        (losses, SOURCE),
        readout=(documents.readout(points), SOURCE),
    )


@pytest.fixture(name="study")
def made_study() -> Study:
    return Study(
        name="s",
        plan=SOURCE,
        bounds={},
        models={"m": "path:m"},
        bases={"m": scored("m.base", "base")},
        runs=[made_run(attitude, seed) for seed in (0, 1) for attitude in ("cautious", "neutral", "eager")],
        audits={},
        layers={"m.d0": (documents.layers([0.0, 1.0, 2.0, 3.0, 4.0], chosen=2, pruned_from=4), SOURCE)},
        advice={},
        memory={},
        seconds={},
        made_by={},
        identities={},
    )


def x_of(line: Any) -> list[float]:
    return list(line.get_xdata())


def y_of(line: Any) -> list[float]:
    return list(line.get_ydata())


def test_steering_by_question_is_its_odd_part_at_the_largest_off_target_kl(study: Study) -> None:
    nulls = [0.1 * number for number in range(-20, 21)]
    asked: dict[str, Any] = {"item": "x", "topic": "t", "order": 0, "coefficient": 1.0, "off_target_kl": 0.1}
    rows = [
        Steering(**asked | {"item": item}, kind=kind, number=at, sign=sign, target_kl=target, effect=sign * one + 0.5)
        for item, size in (("e-bikes-1", 2.0), ("market-1", -1.0))
        for target in (0.1, 0.3)
        for kind, sizes in (("caution", [size * target]), ("norm", nulls))
        for at, one in enumerate(sizes)
        for sign in (1, -1)
    ]
    data = plots.steered_item_data(replace(study, steered={"m.d0": rows, "m.d1": []}), "m")
    assert list(data["item"]) == ["market-1", "e-bikes-1"] and set(data["place"]) == {"m.d0"}
    assert list(data["effect"]) == pytest.approx([-0.3, 0.6])
    assert list(data["low"]) == pytest.approx([-1.9, -1.9]) and list(data["high"]) == pytest.approx([1.9, 1.9])
    (axes,) = plots.draw_steered_items(data).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["market-1", "e-bikes-1"]


def test_steering_has_a_panel_for_each_direction_and_leaves_out_what_was_not_measured(study: Study) -> None:
    against = {kind: documents.against(null_95=0.1 * number) for number, kind in enumerate(NULLS, start=1)}
    levels = [documents.level(size, against=against) for size in (0.03, 0.3)]
    found = {"m.d0": (documents.steering(levels), SOURCE), "m.d1": (documents.steering(), SOURCE)}
    study = replace(study, steering=found)
    data = plots.steering_data(study, "m")
    assert list(data["place"]) == ["m.d0", "m.d0"] and list(data["off_target_kl"]) == [0.03, 0.3]
    (axes,) = plots.draw_steering(data).axes
    dashed = [y_of(line)[0] for line in axes.lines if line.get_linestyle() == "--"]
    assert sorted(dashed) == pytest.approx([-0.4, -0.3, -0.2, -0.1, 0.1, 0.2, 0.3, 0.4])
    (solid,) = [c for c in axes.containers if c.get_label() == "towards caution"]
    assert list(y_of(solid[0])) == [-0.3, -0.3]


def test_patching_has_a_curve_for_each_part_whose_share_is_defined(study: Study) -> None:
    share, none = {"estimate": 0.4}, {"estimate": None}
    patching = {"5": {"reply": share, "prompt": none}, "1": {"reply": {"estimate": 0.2}, "prompt": none}}
    run = replace(study.runs[0], trace=({"patching": patching}, SOURCE))
    data = plots.patching_data([run, study.runs[1]])
    assert set(data["part"]) == {"reply"} and set(data["cell"]) == {run.cell}
    (axes,) = plots.draw_patching(data).axes
    (curve,) = [line for line in axes.lines if line.get_label() == "reply"]
    assert list(x_of(curve)) == [1, 5] and list(y_of(curve)) == pytest.approx([20, 40])


def test_projections_begin_at_the_base_and_show_the_null_band(study: Study) -> None:
    data = plots.projection_data(study.runs)
    last = data[(data["step"] == 4) & (data["attitude"] == "cautious")].iloc[0]
    assert (last["shift"], last["low"], last["high"]) == (4.0, pytest.approx(-3.8), pytest.approx(3.8))
    figure = plots.draw_projections(data)
    band = figure.axes[0].collections[0].get_paths()[0].get_extents()
    assert (band.ymin, band.ymax) == pytest.approx((-3.8, 3.8))
    curves = [line for line in figure.axes[0].lines if len(x_of(line)) == 3]
    assert len(curves) == 6
    assert {tuple(y_of(line)) for line in curves} == {(0, 2, 4), (0, -2, -4), (0, 0, 0)}


def test_layers_mark_the_chosen_one_and_shade_the_pruned(study: Study) -> None:
    data = plots.layer_data(study, "m")
    assert list(data.loc[data["chosen"], "layer"]) == [2]
    assert list(data.loc[data["pruned"], "layer"]) == [4]
    axes = plots.draw_layers(data).axes[0]
    curve, chosen = axes.lines
    assert list(y_of(curve)) == [0, 1, 2, 3, 4]
    assert (list(x_of(chosen)), list(y_of(chosen))) == ([2], [2])
    shade = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    assert (shade.x0, shade.x1) == pytest.approx((3.5, 4.5))


def test_only_what_is_sealed_is_drawn(study: Study) -> None:
    assert set(plots.figures_of(study)) == {"layers-m", "projections-m"}
    assert plots.figures_of(Study(**{**vars(study), "runs": [], "layers": {}})) == {}
