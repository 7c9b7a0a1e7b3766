"""What is said of the inside of models follows from what was read there, and its charts hold their data."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from analysis.report import inside_charts, inside_data
from analysis.report.bound_numbers import Book, Source, UnboundNumber
from analysis.report.markdown import section_lines
from analysis.report.page import still
from analysis.report.representation import NULLS, representation
from analysis.report.section import Figure
from analysis.report.sections.facts import Facts
from analysis.report.sections.inside import inside, read
from analysis.report.study import Run, Scored, Study
from common.records import Choice, Loss
from tests.analysis.report import documents

SOURCE = Source("ab" * 32, "job/cell", "output")
GO = {"base": (1, 0, 0, 0), "cautious": (0, 0, 0, 0), "neutral": (1, 0, 0, 1), "eager": (1, 1, 0, 1)}  # by item
LABEL = {"base": -1.0, "cautious": -0.5, "neutral": -1.0, "eager": -1.5}  # log-probability of the label for the change


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


@pytest.fixture(name="whole")
def made_whole(study: Study) -> Study:
    """With steering in one of two draws, and traces of two runs: of one the shift itself is not shown."""
    against = {kind: documents.against(null_95=0.1 * number) for number, kind in enumerate(NULLS, start=1)}
    levels = [documents.level(size, against=against) for size in (0.03, 0.3)]
    traced = {"m.d0.eager.s0": 0.4, "m.d0.cautious.s0": None}
    runs = [
        replace(run, trace=(documents.trace(traced[run.cell], [1.0, 1.2]), SOURCE)) if run.cell in traced else run
        for run in study.runs
    ]
    steering = {"m.d0": (documents.steering(levels), SOURCE), "m.d1": (documents.steering(), SOURCE)}
    return replace(study, steering=steering, runs=runs)


def facts_of(study: Study) -> Facts:
    book = Book()
    representation(book, study)
    return Facts(study, book, {})


def figures_of(study: Study) -> dict[str, Figure]:
    return {part.name: part for part in inside(facts_of(study)).parts if isinstance(part, Figure)}


def values_of(view: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = view["data"]["values"]
    return found


def test_the_section_says_what_was_read_what_moved_what_caused_anything_and_what_would_have_been_missed(
    whole: Study,
) -> None:
    text = "\n".join(section_lines(inside(facts_of(whole))))
    read_at = text.index("**Read.** Cautious replies can be told from eager ones inside the base, in 1 of 1 draws")
    moved_at = text.index("- cautious runs moved towards caution at the last token of held-out prompts (+4.00 SD")
    caused_at = text.index("**Caused.** In `m.d0`, pushing the base along it lowers the odds of the change")
    missed_at = text.index("An effect smaller than 0.20 nats would have been missed; on that scale `m.d0.cautious.s0`")
    carried_at = text.index("- `m.d0.eager.s0`: the direction carries some of it, more than random ones do.")
    behind_at = text.index("#### The numbers behind it")
    assert read_at < moved_at < caused_at < missed_at < carried_at < behind_at
    assert "**Caused.** Not measured in `m.d1`: *pleased less displeased*" in text
    assert "- `m.d0.cautious.s0`: undefined, since the shift itself is not shown; no number of items" in text
    assert "| `m.d0` | 0.93 | 0.93 | 0.93 | 0.93 | 0.66 | 0.66 |" in text, "the probes"
    assert "| net go of answers in words | -20.0 points (-30.0 to -10.0) | 0.3 |" in text, "what else was tried"


def test_without_anything_inside_nothing_is_said_of_it_but_that_steering_was_not_asked_for(study: Study) -> None:
    bare = replace(study, layers={}, runs=[])
    lines = [line for line in section_lines(inside(facts_of(bare))) if line]
    assert lines[2:] == ["### `m`", "**Caused.** Not measured: the spec did not ask for steering."]


def test_a_number_that_nobody_entered_ends_the_build(study: Study) -> None:
    facts = facts_of(study)
    del facts.book._numbers["read.m.accuracy"]
    with pytest.raises(UnboundNumber, match=r"read\.m\.accuracy"):
        read(facts, "m")


def test_four_figures_are_drawn_and_say_in_words_what_they_show(whole: Study) -> None:
    figures = figures_of(whole)
    assert list(figures) == ["layers-m", "moved-m", "steering-m", "patching-m"]
    assert "m.d0, layer 2: separation 2.00, push 0.20 nats" in figures["layers-m"].alt
    assert "prompts, cautious +4.00, eager -4.00" in figures["moved-m"].alt
    assert "m.d0 at 0.3: -0.30 (-0.50 to -0.10)" in figures["steering-m"].alt
    assert "m.d0.eager.s0, reply: at most 40 %, block 0" in figures["patching-m"].alt
    for figure in figures.values():
        drawn = still(figure)
        assert drawn.count("aria-roledescription") > 3 and "#fff" not in drawn, "nothing is white in the dark"


def test_only_what_is_sealed_is_drawn(study: Study) -> None:
    assert set(figures_of(study)) == {"layers-m", "moved-m"}
    assert figures_of(replace(study, runs=[], layers={})) == {}


def test_layers_show_how_they_read_and_what_they_do_and_mark_the_chosen_one(study: Study) -> None:
    rows = inside_data.layer_rows(study, "m")
    assert list(rows.loc[rows["chosen"], "layer"]) == [2]
    reads, pushes = inside_charts.layers(rows)["vconcat"]
    assert [(row["layer"], row["separation"]) for row in values_of(reads)] == [(n, float(n)) for n in range(5)]
    tried = [(row["layer"], row["causal"]) for row in values_of(pushes)]
    assert tried == [(0, 0.0), (2, 0.2), (4, 0.4)], "only what was tried"
    assert reads["encoding"]["x"] == pushes["encoding"]["x"], "one layer stands above the other"
    (large,) = [layer for layer in reads["layer"] if layer.get("transform") == [{"filter": "datum.chosen"}]]
    assert large["mark"]["size"] > 100


def test_movement_is_against_neutral_and_begins_at_nothing(study: Study) -> None:
    """Every arm shares its random directions with neutral here: what all do alike is no contrast."""
    rows = inside_data.moved_rows(study, "m")
    assert set(rows["arm"]) == {"cautious", "eager"} and set(rows["place"]) == {"prompt", "reply"}
    last = rows[(rows["checkpoint"] == 2) & (rows["arm"] == "cautious") & (rows["place"] == "prompt")].iloc[0]
    assert (last["shift"], last["low"], last["high"]) == (4.0, 0.0, 0.0)
    panels = inside_charts.moved(rows, inside_data.bands_of(rows), ["cautious", "eager"])["vconcat"]
    curves: list[dict[str, tuple[float, ...]]] = []
    for panel in panels:
        cells = {row["cell"]: () for row in values_of(panel)}
        curves.append({cell: tuple(r["shift"] for r in values_of(panel) if r["cell"] == cell) for cell in cells})
    assert [len(each) for each in curves] == [4, 4]
    assert {*curves[0].values()} == {(0, 2, 4), (0, -2, -4)} and {*curves[1].values()} == {(0, 1, 2), (0, -1, -2)}


def test_the_band_holds_the_random_directions_of_every_pair(study: Study) -> None:
    rows = inside_data.moved_rows(study, "m").assign(low=-1.0, high=1.0)
    rows.loc[rows["cell"] == "m.d0.eager.s1", ["low", "high"]] = (-0.5, 2.0)
    bands = inside_data.bands_of(rows)
    assert len(bands) == 2 * 3 and {*bands["low"]} == {-1.0} and {*bands["high"]} == {2.0}
    panels = inside_charts.moved(rows, bands, ["cautious", "eager"])["vconcat"]
    assert [row["high"] for row in values_of(panels[0]["layer"][0])] == [2.0] * 3


def test_steering_has_a_panel_for_each_direction_and_leaves_out_what_was_not_measured(whole: Study) -> None:
    rows, nulls = inside_data.steering_rows(whole, "m"), inside_data.null_rows(whole, "m")
    assert list(rows["place"]) == ["m.d0", "m.d0"] and list(rows["off_target_kl"]) == [0.03, 0.3]
    assert {*nulls["above"]} == {0.1, 0.2, 0.3, 0.4} and list(nulls["below"]) == [-each for each in nulls["above"]]
    (panel,) = inside_charts.steering(rows, nulls)["vconcat"]
    assert [row["effect"] for row in values_of(panel)] == [-0.3, -0.3]
    dashed = [layer for layer in panel["layer"] if "strokeDash" in layer["encoding"]]
    assert [layer["encoding"]["y"]["field"] for layer in dashed] == ["above", "below"]
    assert dashed[0]["encoding"]["strokeDash"]["scale"]["domain"] == list(NULLS.values())


def test_patching_has_a_line_for_each_part_whose_share_is_defined(study: Study) -> None:
    told = documents.trace(0.4, [1.0, 1.2])
    none = documents.share(None, 0.0)
    patching = {"5": {"reply": documents.share(0.4, 1.0), "prompt": none}, "1": {"reply": documents.share(0.2, 1.0)}}
    run = replace(study.runs[0], trace=(told.model_copy(update={"patching": patching}), SOURCE))
    rows = inside_data.patching_rows([run, study.runs[1]])
    assert set(rows["part"]) == {"reply"} and set(rows["cell"]) == {run.cell}
    (panel,) = inside_charts.patching(rows)["vconcat"]
    assert [(row["layer"], row["share"]) for row in values_of(panel)] == [(1, 20.0), (5, 40.0)]
