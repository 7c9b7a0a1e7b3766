"""No stale reuse: a job's version stands for its code, and code that changed is declared one way or the other."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.provenance import ROOT
from jobs import VERSIONS, catalog
from tests import pins


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return pins.outputs()


def test_every_job_is_pinned_and_its_code_is_what_was_pinned() -> None:
    held = pins.pins()["jobs"]
    assert held.keys() == catalog().keys() and len(held) == 17
    assert pins.stale() == {}, "\n".join(pins.stale().values())


@pytest.mark.long
def test_outputs_on_the_tiny_model_are_the_recorded_ones(made: dict[str, str]) -> None:
    if made[""] != pins.pins()["arithmetic"]:
        pytest.skip("this machine rounds otherwise than the one that recorded the outputs")
    assert pins.changed_outputs(made) == [], "raise the versions of these jobs: python -m tests.pins raise JOB…"


@pytest.fixture
def edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the code in which the gate's arithmetic was changed, with pins of its own."""
    import shutil

    for part in pins.PACKAGES:
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("data", "__pycache__"))
    versions = tmp_path / "jobs" / "versions.json"
    monkeypatch.setattr(pins, "ROOT", tmp_path)
    monkeypatch.setattr(pins, "VERSIONS", versions)
    pins._module.cache_clear()
    assert pins.stale() == {}
    code = tmp_path / "analysis" / "stats" / "verdict.py"
    code.write_text(code.read_text() + "\n\nADDED = 1\n")
    pins._module.cache_clear()
    yield versions
    pins._module.cache_clear()


RECORDED = {job: pin["outputs"] for job, pin in pins.pins()["jobs"].items()} | {"": pins.pins()["arithmetic"]}


def test_changed_code_is_found_in_every_job_that_imports_it_and_says_what_to_type(edited: Path) -> None:
    stale = pins.stale()
    assert "gate" in stale and "generate" not in stale
    assert "`python -m tests.pins raise gate`" in stale["gate"] and "`python -m tests.pins equal gate`" in stale["gate"]


def test_a_comment_or_a_docstring_changes_nothing(edited: Path) -> None:
    code = edited.parent.parent / "analysis" / "stats" / "verdict.py"
    code.write_text(
        '"""Other words."""\n# and a comment\n' + code.read_text().split('"""', 2)[2].removesuffix("\n\nADDED = 1\n")
    )
    pins._module.cache_clear()
    assert pins.stale() == {}


def test_raised(edited: Path) -> None:
    before = json.loads(edited.read_text())["jobs"]["gate"]
    assert pins.declare("raise", ["gate"], {**RECORDED, "gate": "0" * 64}) == f"gate: version {before['version'] + 1}"
    after = json.loads(edited.read_text())["jobs"]["gate"]
    assert after["version"] == before["version"] + 1 and after["code"] != before["code"]
    assert after["outputs"] == "0" * 64 and after["equal"] == [] and "gate" not in pins.stale()


def test_equal_names_both_digests_and_keeps_the_version(edited: Path) -> None:
    before = json.loads(edited.read_text())["jobs"]["gate"]
    pins.declare("equal", ["gate"], RECORDED)
    after = json.loads(edited.read_text())["jobs"]["gate"]
    assert after["version"] == before["version"] and after["outputs"] == before["outputs"]
    assert after["equal"] == [*before["equal"], {"from": before["code"], "to": after["code"]}]
    assert before["code"] != after["code"] and "gate" not in pins.stale()


@pytest.mark.parametrize("job, said", [("gate", "outputs of gate changed"), ("", "rounds otherwise")])
def test_equal_is_refused_where_outputs_differ_or_cannot_be_compared(edited: Path, job: str, said: str) -> None:
    before = edited.read_bytes()
    with pytest.raises(SystemExit, match=f"^error: .*{said}"):
        pins.declare("equal", ["gate"], {**RECORDED, job: "0" * 64})
    assert edited.read_bytes() == before and "gate" in pins.stale()


def test_outputs_recorded_on_another_machine_are_recorded_anew_with_a_raise(edited: Path) -> None:
    code = edited.parent.parent / "analysis" / "stats" / "intervals.py"
    code.write_text(code.read_text() + "\n\nADDED = 1\n")
    pins._module.cache_clear()
    others = sorted(job for job in pins.stale() if job != "gate")
    assert "report" in others
    elsewhere = dict.fromkeys(RECORDED, "1" * 64)
    with pytest.raises(SystemExit, match=f"code changed too: {others[0]}"):
        pins.declare("raise", ["gate"], elsewhere)
    pins.declare("raise", ["gate", *others], elsewhere)
    assert {pin["outputs"] for pin in json.loads(edited.read_text())["jobs"].values()} == {"1" * 64}


def test_a_version_is_part_of_the_declaration() -> None:
    held = json.loads(VERSIONS.read_text())["jobs"]
    assert {name: job.version for name, job in catalog().items()} == {
        name: pin["version"] for name, pin in held.items()
    }
