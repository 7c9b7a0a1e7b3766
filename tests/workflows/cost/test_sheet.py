"""The cost sheet: beside two finished runs, under changes of a spec, and over a limit."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from common.errors import SpecError
from common.pipeline.keys import Keys
from common.spec import RunSpec, parse_spec
from common.store.sealed import open_store
from jobs import catalog
from workflows.cost.cuts import changed, over
from workflows.cost.devices import devices
from workflows.cost.sheet import Sheet, notes, sheet, table
from workflows.local.forecast import steps_of

FINISHED = json.loads(Path(__file__).with_name("finished.json").read_bytes())
NEAR = 0.25
HOUR = 3600.0


def read(value: dict[str, Any]) -> RunSpec:
    return parse_spec(json.dumps(value).encode(), "spec")


def demo(**changes: Any) -> RunSpec:
    return read(FINISHED["runs"]["demo"]["spec"] | changes)


def hours(found: Sheet, job: str) -> float:
    return next(line.hours["cpu-2"] for line in found.lines if line.job == job)


@pytest.mark.parametrize("run", FINISHED["runs"])
def test_the_sheet_is_near_what_finished_runs_took(run: str) -> None:
    """All that was run, and each of the two jobs that take longest."""
    spec, took = read(FINISHED["runs"][run]["spec"]), FINISHED["runs"][run]["seconds"]
    found, at_once = sheet(spec, catalog()), FINISHED["steps_at_once"]
    for job, figures in took.items():
        assert len(steps_of(spec, catalog())[job]) == figures["steps"], job
    told = {job: hours(found, job) * HOUR * at_once for job in took}
    real = {job: figures["seconds"] for job, figures in took.items()}
    assert sum(told.values()) == pytest.approx(sum(real.values()), rel=NEAR)
    for job in ("finetune", "evaluate"):
        assert told[job] == pytest.approx(real[job], rel=NEAR), job


def test_twice_the_epochs_train_on_twice_the_tokens() -> None:
    once, twice = (sheet(demo(train={"epochs": many}), catalog()) for many in (1, 2))
    lines = [next(line for line in found.lines if line.job == "finetune") for found in (once, twice)]
    assert lines[1].trained == 2 * lines[0].trained > 0
    assert lines[1].read == lines[0].read > 0 == lines[0].written


def test_samples_and_items_are_paid_for_where_they_are_asked() -> None:
    plain = demo()
    fewer = changed(plain, {"evaluate.samples": 0})
    assert hours(sheet(fewer, catalog()), "evaluate") < hours(sheet(plain, catalog()), "evaluate")
    assert hours(sheet(fewer, catalog()), "finetune") == hours(sheet(plain, catalog()), "finetune")
    steered = changed(plain, {"steer.enabled": True})
    jobs = {line.job: line.flops for line in sheet(steered, catalog()).lines}
    assert min(jobs[job] for job in ("selftest", "steer", "trace")) > 0
    assert not {"selftest", "steer", "trace"} & {line.job for line in sheet(plain, catalog()).lines}


def test_what_is_sealed_is_not_left_to_do() -> None:
    found = sheet(demo(), catalog())
    left = {line.job: line.steps for line in found.lines} | {"finetune": 3}
    assert found.hours_left("cpu-2", left) == pytest.approx(found.hours("cpu-2") - hours(found, "finetune") / 2)


def test_a_model_that_nobody_knows_is_said_to_be_left_out() -> None:
    unknown = {"name": "x", "source": f"hf:nobody/nothing@{'0' * 40}"}
    found = sheet(demo(models=[unknown]), catalog())
    assert hours(found, "finetune") == 0
    assert any(line.startswith("x: not counted") for line in notes(found))


def test_people_read_what_is_assumed_and_what_it_costs() -> None:
    found = sheet(demo(), catalog())
    console = Console(width=80, file=io.StringIO())
    console.print(table(found, {"finetune": 6}))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "…" not in text, "it fits a terminal of 80 columns"
    assert f"{found.euros('h100'):.2f}" in text and f"{found.hours('cpu-2'):.2f}" in text
    (line,) = [line for line in notes(found) if line.startswith("h100")]
    assert "assumed: read" in line and "peak" not in line
    for device in devices().values():
        assert all(figure.source for _, figure in device if hasattr(figure, "source"))


def test_without_a_limit_nothing_is_said_and_within_it_one_line() -> None:
    found = sheet(demo(), catalog())
    assert list(over(demo(), catalog(), found)) == []
    (line,) = over(demo(limit={"device": "cpu-2", "hours": 5.0}), catalog(), found)
    assert line.startswith("within the limit: 0.2 h") and "allowed 5 h" in line


def large(**limit: Any) -> RunSpec:
    """Eight runs of every arm but one, all items, two samples."""
    attitudes = ["cautious", "eager", "neutral", "scrambled", "control-cautious", "control-eager"]
    asked = {"evaluate": {"samples": 2}, "attitudes": attitudes, "seeds": list(range(8))}
    return demo(**asked, limit={"device": "cpu-2", **limit})


def test_over_a_limit_samples_go_first_then_closed_forms_scrambled_and_items_and_no_more_than_is_needed() -> None:
    spec = large(hours=5.0)
    whole = sheet(spec, catalog()).hours("cpu-2")
    lines = list(over(large(hours=whole * 0.99), catalog(), sheet(spec, catalog())))
    assert "over the limit" in lines[0] and lines[1].startswith("  --set evaluate.samples=0:") and len(lines) == 2
    lines = list(over(large(hours=whole * 0.4), catalog(), sheet(spec, catalog())))
    cuts = [line.split(":")[0] for line in lines[1:]]
    assert [cut.split("=")[0].strip() for cut in cuts] == [
        "--set evaluate.samples",
        "--set evaluate.rotate",
        "--set 'attitudes",
        "--set evaluate.items_per_topic",
    ]
    assert "scrambled" not in cuts[2] and "control-eager" in cuts[2]
    few = int(cuts[3].rpartition("=")[2])
    cut = {
        "evaluate.samples": 0,
        "evaluate.rotate": 8,
        "attitudes": [name for name in spec.attitudes if name != "scrambled"],
    }
    within = sheet(changed(spec, cut | {"evaluate.items_per_topic": few}), catalog())
    above = sheet(changed(spec, cut | {"evaluate.items_per_topic": few + 1}), catalog())
    assert within.hours("cpu-2") <= whole * 0.4 < above.hours("cpu-2"), "the most items that fit"


def test_where_no_cut_is_enough_it_is_said_and_runs_stay() -> None:
    lines = list(over(large(euros=0.01), catalog(), sheet(large(euros=0.01), catalog())))
    assert "still over" in lines[-1] and "allowed 0.01 euros" in lines[0]
    assert not any("seeds" in line for line in lines)


def test_a_limit_on_an_unknown_device_is_refused() -> None:
    spec = demo(limit={"device": "abacus", "hours": 1.0})
    with pytest.raises(SpecError, match=r"limit\.device: abacus; allowed: cpu-2, h100"):
        list(over(spec, catalog(), sheet(spec, catalog())))
    with pytest.raises(SpecError, match="a limit names hours, euros or both"):
        demo(limit={"device": "cpu-2"})


def test_a_limit_changes_no_key_and_no_name_of_a_run(tmp_path: Path) -> None:
    plain, limited = demo(), demo(limit={"device": "cpu-2", "hours": 1.0})
    store = open_store(str(tmp_path))
    keys = [
        {(job, str(cell)): made.key(job, cell) for job, cells in steps_of(spec, catalog()).items() for cell in cells}
        for spec in (plain, limited)
        for made in [Keys(spec, catalog(), store)]
    ]
    assert keys[0] == keys[1] and plain.run_id == limited.run_id
    assert "limit" not in plain.model_dump(mode="json")
