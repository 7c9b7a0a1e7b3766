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
from common.records import Choice, Loss
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
    points = [documents.checkpoint(s, sign * s, np.linspace(-s, s, 201).tolist()) for s in (2, 4)]
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
        layers={"m.d0": (documents.layers([0.0, 1.0, 2.0, 3.0, 4.0], chosen=2), SOURCE)},
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
    told = documents.trace(0.4, [1.0, 1.2])
    none = documents.share(None, 0.0)
    patching = {"5": {"reply": documents.share(0.4, 1.0), "prompt": none}, "1": {"reply": documents.share(0.2, 1.0)}}
    run = replace(study.runs[0], trace=(told.model_copy(update={"patching": patching}), SOURCE))
    data = plots.patching_data([run, study.runs[1]])
    assert set(data["part"]) == {"reply"} and set(data["cell"]) == {run.cell}
    (axes,) = plots.draw_patching(data).axes
    (curve,) = [line for line in axes.lines if line.get_label() == "reply"]
    assert list(x_of(curve)) == [1, 5] and list(y_of(curve)) == pytest.approx([20, 40])


def test_movement_is_against_neutral_and_begins_at_nothing(study: Study) -> None:
    """Every arm shares its random directions with neutral here: what all do alike is no contrast."""
    data = plots.moved_data(study, "m")
    assert set(data["attitude"]) == {"cautious", "eager"} and set(data["place"]) == {"prompt", "reply"}
    last = data[(data["checkpoint"] == 2) & (data["attitude"] == "cautious") & (data["place"] == "prompt")].iloc[0]
    assert (last["shift"], last["low"], last["high"]) == (4.0, 0.0, 0.0)
    figure = plots.draw_moved(data)
    curves = [[tuple(y_of(line)) for line in axes.lines if len(x_of(line)) == 3] for axes in figure.axes]
    assert [len(panel) for panel in curves] == [4, 4]
    assert set(curves[0]) == {(0, 2, 4), (0, -2, -4)} and set(curves[1]) == {(0, 1, 2), (0, -1, -2)}


def test_layers_show_how_they_read_and_what_they_do_and_mark_the_chosen_one(study: Study) -> None:
    data = plots.layer_data(study, "m")
    assert list(data.loc[data["chosen"], "layer"]) == [2]
    reads, pushes = plots.draw_layers(data).axes
    assert list(y_of(reads.lines[0])) == [0, 1, 2, 3, 4]
    assert list(x_of(pushes.lines[0])) == [0, 2, 4], "only what was tried"
    assert list(y_of(pushes.lines[0])) == pytest.approx([0, 0.2, 0.4])
    assert [(list(x_of(axes.lines[1])), len(axes.lines)) for axes in (reads, pushes)] == [([2], 2), ([2], 2)]


def test_only_what_is_sealed_is_drawn(study: Study) -> None:
    assert set(plots.figures_of(study)) == {"layers-m", "moved-m"}
    assert plots.figures_of(Study(**{**vars(study), "runs": [], "layers": {}})) == {}
