"""Charts show their data: what they are made of is worked out by hand here, and every specification can be drawn."""

import dataclasses
import json

import pandas as pd
import pytest
import vl_convert

from analysis.report import charts
from analysis.report.bound_numbers import Book
from analysis.report.chart_data import curve_rows, item_rows, label_rows, loss_rows, stance_rows, topic_rows
from analysis.report.page import VEGA_LITE
from analysis.report.study import Scored, Study
from analysis.stats.measures import MEASURES
from common.records import Loss
from common.vocabulary import ATTITUDES
from tests.analysis.report.test_inside_section import GO, SOURCE, made_study  # noqa: F401
from tests.analysis.stats.rows import answers

SAID = {"base": ("go", "stay"), "cautious": ("stay", "stay"), "neutral": ("both sides", "go"), "eager": ("go", "go")}


@pytest.fixture(name="asked")
def with_answers(study: Study) -> Study:
    """The same study, asked openly: two items of a topic, and one answer to each in every cell."""

    def answered(scored: Scored | None, arm: str) -> Scored:
        assert scored is not None
        rows = answers(scored.cell, dict(zip(("x1", "x2"), SAID[arm], strict=True)))
        return dataclasses.replace(scored, answers=[row.model_copy(update={"topic": "t"}) for row in rows])

    return dataclasses.replace(
        study,
        bases={name: answered(base, "base") for name, base in study.bases.items()},
        runs=[dataclasses.replace(run, scored=answered(run.scored, run.attitude)) for run in study.runs],
        situations={"x1": "Somebody decides."},
    )


def test_topics_hold_net_go_of_every_cell(asked: Study) -> None:
    rows = topic_rows(asked, "m")
    assert len(rows) == 7 and set(rows["topic"]) == {"t"}
    assert rows.set_index("arm")["net"].groupby(level=0).first().to_dict() == {
        **{"base": 0.0, "cautious": -100.0, "neutral": 50.0, "eager": 100.0}
    }
    assert set(rows.loc[rows["arm"] == "base", "seed"]) == {""} and set(rows["seed"]) == {"", "0", "1"}


def test_items_hold_their_text_an_answer_and_its_digest(asked: Study) -> None:
    rows = item_rows(asked, "m")
    found = {(row["arm"], row["item"]): row for row in rows.to_dict("records")}
    assert len(found) == 4 * 2
    assert [found["neutral", item]["net"] for item in ("x1", "x2")] == [0, 100]
    said = [found["eager", item]["situation"] for item in ("x1", "x2")]
    assert said == ["Somebody decides.", "x2"], "an item without a text has its name"
    assert set(rows["digest"]) == {SOURCE.digest} and rows["answer"].notna().all()


def test_labels_that_say_the_opposite_lie_in_the_shade(study: Study) -> None:
    rows = label_rows(study, "m")
    (eager,) = [row for row in rows.to_dict("records") if (row["arm"], row["item"]) == ("eager", "i1")]
    assert len(rows) == 3 * 4 and eager["choice"] == 100 and eager["label"] < 0
    boxes = charts.against(rows, ["cautious", "neutral", "eager"])["layer"][0]["data"]["values"]
    across = [box for box in boxes if box["x"] <= eager["choice"] <= box["x2"]]
    inside = [box for box in across if box["y"] <= eager["label"] <= box["y2"]]
    assert len(inside) == 1 and len(boxes) == 2


def test_every_run_and_the_base_have_a_stance(study: Study) -> None:
    rows = stance_rows(study, "m")
    by_choice = rows[rows["measure"] == MEASURES["choice"].title]
    assert list(by_choice["p"]) == [100 * sum(GO[arm]) / 4 for arm in by_choice["arm"]] and len(by_choice) == 7


def test_a_loss_curve_keeps_its_ends_and_no_more_steps_than_are_seen(study: Study) -> None:
    assert list(loss_rows(study).groupby("cell")["step"].count()) == [3] * 6
    many = [
        Loss(optimizer_step=s, loss=3.0 / s, learning_rate=0.1, reply_tokens=1, tokens=1, seconds=1.0)
        for s in range(1, 1001)
    ]
    rows = loss_rows(dataclasses.replace(study, runs=[dataclasses.replace(study.runs[0], losses=(many, SOURCE))]))
    assert len(rows) == 60 and rows["step"].iloc[0] == 1 and rows["step"].iloc[-1] == 1000


def test_a_curve_has_the_plain_setting_among_its_values(study: Study) -> None:
    book = Book()
    book.add_shift("added.sentence.m.eager", None, [SOURCE])
    book.add("curve.sentence.m.eager.half", 0.05, "points", [SOURCE], (0.01, 0.09))
    book.add("added.sentence.m.cautious", -0.2, "points", [SOURCE], (-0.3, -0.1))
    made = dataclasses.replace(study, variants={"half": ("epochs", 2.0, [])}, plain={"epochs": 4.0})
    rows = curve_rows(book, made, "m", "epochs").to_dict("records")
    assert rows == [
        {"arm": "cautious", "x": 4.0, "y": -20.0, "low": -30.0, "high": -10.0},
        {"arm": "eager", "x": 2.0, "y": 5.0, "low": 1.0, "high": 9.0},
    ]


def test_every_chart_can_be_drawn_and_holds_no_colour_of_a_page(asked: Study) -> None:
    arms = ["base", "cautious", "neutral", "eager"]
    bar = charts.Bar("eager less neutral", "net go", 1.0, -2.0, 3.0, "#D55E00", "+1.0 points", 2.5)
    curve = pd.DataFrame([{"arm": "eager", "x": x, "y": 1.0, "low": 0.0, "high": 2.0} for x in (0.1, 1.0)])
    specs = [
        charts.forest([bar, bar._replace(scale="other", bound=None)], "points"),
        charts.by_topic(topic_rows(asked, "m"), arms),
        charts.by_item(item_rows(asked, "m"), arms, "eager"),
        charts.against(label_rows(asked, "m"), arms[1:]),
        charts.losses(loss_rows(asked), arms[1:]),
        charts.dots(stance_rows(asked, "m"), arms[1:], MEASURES["choice"].title),
        charts.curve(curve, "learning_rate", logarithmic=True),
    ]
    for spec in specs:
        drawn = vl_convert.vegalite_to_svg(json.loads(json.dumps(spec)), vl_version=VEGA_LITE)
        assert "currentColor" in drawn and "http" not in drawn.replace("http://www.w3.org/", "")
        assert "NaN" not in drawn and "undefined" not in drawn


def test_a_forest_has_an_axis_for_each_scale_and_a_band_where_there_is_a_bound() -> None:
    bar = charts.Bar("eager", "net go", 1.0, -2.0, 3.0, "#D55E00", "+1.0 points", 2.5)
    views = charts.forest([bar, bar._replace(scale="small", bound=None)], "points")["vconcat"]
    assert [len(view["layer"]) for view in views] == [6, 5]
    assert views[0]["data"]["values"][1]["bound"] == 2.5


def test_colours_and_shapes_cover_every_arm_and_differ() -> None:
    for table in (charts.COLOURS, charts.SHAPES):
        assert set(table) == {"base", *ATTITUDES} and len(set(table.values())) == len(table)
