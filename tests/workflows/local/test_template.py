"""What the runner understands of Argo, what it refuses, and what an expression means."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.errors import SpecError
from common.provenance import ROOT
from workflows.local import template
from workflows.local.template import Phase, fill, holds, items, read_template, retry_of, seconds

STUDY = ROOT / "workflows" / "study.yaml"
WHOLE: dict[str, Any] = yaml.safe_load(STUDY.read_text())
RETRY = {
    "limit": "2",
    "retryPolicy": "Always",
    "expression": 'lastRetry.status == "Error" || asInt(lastRetry.exitCode) in [75, 137, 143]',
    "backoff": {"duration": "2s", "factor": "2", "cap": "3s"},
}


def spec_of(whole: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = whole["spec"]
    return found


def leaf(whole: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = whole["spec"]["templates"][2]
    return found


def dag(whole: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = whole["spec"]["templates"][0]["dag"]
    return found


def source(whole: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = whole["spec"]["templates"][0]["inputs"]["parameters"][0]
    return found


PLACES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "WorkflowTemplate": lambda whole: whole,
    "spec": spec_of,
    "template": leaf,
    "container": lambda whole: leaf(whole)["container"],
    "inputs": lambda whole: leaf(whole)["inputs"],
    "outputs": lambda whole: leaf(whole)["outputs"],
    "output parameter": lambda whole: leaf(whole)["outputs"]["parameters"][0],
    "valueFrom": lambda whole: leaf(whole)["outputs"]["parameters"][0]["valueFrom"],
    "input parameter": source,
    "input valueFrom": lambda whole: source(whole)["valueFrom"],
    "configMapKeyRef": lambda whole: source(whole)["valueFrom"]["configMapKeyRef"],
    "retryStrategy": lambda whole: leaf(whole)["retryStrategy"],
    "backoff": lambda whole: leaf(whole)["retryStrategy"]["backoff"],
    "dag": dag,
    "task": lambda whole: dag(whole)["tasks"][1],
    "arguments": lambda whole: dag(whole)["tasks"][1]["arguments"],
    "parameter": lambda whole: dag(whole)["tasks"][1]["arguments"]["parameters"][0],
}


@pytest.mark.parametrize("place", list(PLACES))
def test_an_unknown_field_raises_wherever_it_stands(tmp_path: Path, place: str) -> None:
    whole = copy.deepcopy(WHOLE)
    PLACES[place](whole)["memoize"] = {}
    path = tmp_path / "flow.yaml"
    path.write_text(yaml.safe_dump(whole))
    with pytest.raises(SpecError, match=r"not implemented here.*memoize"):
        read_template(path)


def test_the_places_are_all_places() -> None:
    assert set(PLACES) == set(template.UNDERSTOOD) and len(PLACES) == 17


def test_every_field_that_is_left_out_has_a_reason() -> None:
    reasons = [reason for fields in template.ON_A_CLUSTER_ONLY.values() for reason in fields.values()]
    assert len(reasons) > 15 and all(len(reason) > 10 for reason in reasons)


@pytest.mark.parametrize(
    "change",
    [
        lambda whole: dag(whole).update(failFast=True),
        lambda whole: leaf(whole)["retryStrategy"].update(expression="true"),
        lambda whole: leaf(whole).update(timeout=600),
        lambda whole: dag(whole)["tasks"][1].update(depends="plan &&"),
        lambda whole: dag(whole)["tasks"][1].update(depends="plan.Daemoned"),
        lambda whole: leaf(whole)["retryStrategy"].pop("retryPolicy"),
        lambda whole: leaf(whole)["retryStrategy"].pop("limit"),
        lambda whole: dag(whole).update(failFast=None),
        lambda whole: source(whole)["valueFrom"]["configMapKeyRef"].update(name="another"),
    ],
)
def test_settings_that_mean_something_else_here_raise(tmp_path: Path, change: Callable[..., Any]) -> None:
    whole = copy.deepcopy(WHOLE)
    change(whole)
    path = tmp_path / "flow.yaml"
    path.write_text(yaml.safe_dump(whole))
    with pytest.raises(SpecError):
        read_template(path)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda whole: spec_of(whole).update(entrypoint="studdy"), r"no such name.*entrypoint: studdy"),
        (lambda whole: dag(whole)["tasks"][1].update(template="make"), r"no such name.*generate\.template: make"),
        (lambda whole: dag(whole)["tasks"][1].update(depends="plam"), r"no such name.*generate\.depends: plam"),
        (lambda whole: dag(whole)["tasks"][1].update(depends="audit"), r"wait for each other.*generate"),
        (lambda whole: dag(whole)["tasks"][1].update(template="study"), r"wait for each other.*study -> study"),
    ],
)
def test_names_that_lead_nowhere_or_back_are_found_before_anything_runs(
    tmp_path: Path, change: Callable[..., Any], message: str
) -> None:
    whole = copy.deepcopy(WHOLE)
    change(whole)
    path = tmp_path / "flow.yaml"
    path.write_text(yaml.safe_dump(whole))
    with pytest.raises(SpecError, match=message):
        read_template(path)


PHASES = {"a": Phase.SUCCEEDED, "b": Phase.FAILED, "c": Phase.OMITTED, "d-e": Phase.SKIPPED}


@pytest.mark.parametrize(
    "expression, value",
    [
        ("a", True),
        ("b", False),
        ("c", False),
        ("d-e", True),
        ("d-e.Succeeded", False),
        ("a && b", False),
        ("a || b", True),
        ("b.Failed && !c.Succeeded", True),
        ("(b || c.Omitted) && a", True),
        ("b.Succeeded || b.Failed || b.Errored", True),
    ],
)
def test_depends(expression: str, value: bool) -> None:
    assert holds(expression, PHASES) is value


@pytest.mark.parametrize("expression", ["a b", "a +", "a &&", "(a", "a.succeeded", "__import__('os')"])
def test_depends_that_is_none(expression: str) -> None:
    with pytest.raises((SpecError, KeyError)):
        holds(expression, PHASES)


def test_durations_need_a_unit() -> None:
    assert (seconds("90s"), seconds("10m"), seconds("2h")) == (90, 600, 7200)
    with pytest.raises(SpecError):
        seconds("600")


def test_waits_grow_to_the_cap() -> None:
    retry = retry_of({"name": "x", "retryStrategy": RETRY})
    assert retry.limit == 2 and retry.codes == {75, 137, 143}
    assert [retry.wait(attempt) for attempt in (1, 2, 3)] == [2, 3, 3]


def test_items_are_text_as_argo_passes_them() -> None:
    task = {"withParam": "{{x}}"}
    assert items(task, {"x": '["a", {"id": 1}]'}) == ["a", '{"id": 1}']
    assert items({}, {}) is None
    for text in ("{}", "[1", ""):
        with pytest.raises(SpecError, match="not a JSON list"):
            items({"name": "t", **task}, {"x": text})
    with pytest.raises(SpecError, match="unknown variable"):
        fill("{{y}}", {"x": ""})
