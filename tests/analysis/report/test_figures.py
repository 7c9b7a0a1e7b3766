"""Figures show their data: every run is a mark, the base is a line, shading lies where labels and choices part."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from analysis.report import figures as plots
from analysis.report.bound_numbers import Book, Source
from analysis.report.representation import NULLS
from analysis.report.results import label_shifts
from analysis.report.study import Run, Scored, Study
from analysis.stats.measures import MEASURES
from common.records import Choice, Loss
from common.vocabulary import ATTITUDES
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


@pytest.fixture
def study() -> Study:
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


def marks(figure: Figure, panel: int = 0) -> np.ndarray:
    """Every point of the scatters of one panel, (n, 2)."""
    dots = [c for c in figure.axes[panel].collections if isinstance(c, PathCollection)]
    return np.concatenate([np.asarray(c.get_offsets()) for c in dots])


def test_stance_shows_every_run_and_the_base(study: Study) -> None:
    data = plots.stance_data(study)
    assert len(data) == 7
    assert data.set_index("attitude").loc["base", "choice"] == 0.25
    assert list(data.loc[data["attitude"] == "eager", "choice"]) == [0.75, 0.75]
    figure = plots.draw_stance(data, "m")
    for panel, measure in enumerate(MEASURES):
        drawn = marks(figure, panel)
        tuned = data.loc[data["attitude"] != "base", measure].dropna()
        assert sorted(drawn[:, 1]) == pytest.approx(sorted(tuned))
        base = data.loc[data["attitude"] == "base", measure].item()
        lines = [line for line in figure.axes[panel].lines if line.get_linestyle() == "--"]
        assert [np.asarray(line.get_ydata())[0] for line in lines] == ([] if base is None else [pytest.approx(base)])
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["cautious", "neutral", "eager"]


def test_an_unreliable_measure_has_a_grey_title(study: Study) -> None:
    figure = plots.draw_stance(plots.stance_data(study), "m", greyed=["label"])
    grey = [panel.title.get_color() == "#888888" for panel in figure.axes]
    assert grey == [measure == "label" for measure in MEASURES]


def test_topics(study: Study) -> None:
    data = plots.topic_data(study)
    table = data.pivot_table(index="attitude", columns="topic", values="p")
    assert list(table.loc["eager"]) == [1.0, 0.5]
    assert list(table.loc["base"]) == [0.5, 0.0]
    drawn = marks(plots.draw_topics(data, "m"))
    assert len(drawn) == 8
    assert sorted(drawn[:, 0]) == sorted(data["p"])


def test_labels_that_say_the_opposite_lie_in_the_shade(study: Study) -> None:
    data = label_shifts(study, "m")
    assert len(data) == 6 * 4
    eager = data[(data["attitude"] == "eager") & (data["item"] == "i1")]
    assert list(eager["choice"]) == [1.0, 1.0]
    assert (eager["label"] < 0).all()
    figure = plots.draw_labels(data)
    drawn = marks(figure)
    assert sorted(drawn[:, 1]) == pytest.approx(sorted(data["label"]))
    shades = [c for c in figure.axes[0].collections if not isinstance(c, PathCollection)]
    boxes = [shade.get_paths()[0].get_extents() for shade in shades]
    assert len(boxes) == 2
    for shift, label in zip(eager["choice"], eager["label"], strict=True):
        assert sum(box.contains(shift, label) for box in boxes) == 1


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


def test_losses_have_a_curve_for_each_run(study: Study) -> None:
    data = plots.loss_data(study)
    assert len(data) == 18
    lines = plots.draw_losses(data).axes[0].lines
    assert len(lines) == 6
    for line in lines:
        assert list(x_of(line)) == [1, 2, 3]
        assert list(y_of(line)) == [3.0, 1.5, 1.0]


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
    everything = {"stance-m", "topics-m", "labels-m", "layers-m", "moved-m", "losses"}
    assert set(plots.figures_of(study, Book())) == everything
    bare = Study(**{**vars(study), "runs": [], "layers": {}})
    assert set(plots.figures_of(bare, Book())) == {"topics-m"}
    assert plots.figures_of(Study(**{**vars(study), "bases": {}, "runs": []}), Book()) == {}


def test_colours_and_names_cover_every_arm() -> None:
    assert set(plots.COLOURS) == {"base", *ATTITUDES}
    assert len(set(plots.COLOURS.values())) == len(plots.COLOURS)
