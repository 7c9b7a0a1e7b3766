"""Keys of the real jobs: the same everywhere, untouched by what a step does not depend on."""

import json
from pathlib import Path
from typing import Any

import pytest

from common.cells import Cell, cells_of
from common.errors import SpecError
from common.pipeline.keys import Keys
from common.spec import RunSpec, parse_spec
from common.store.sealed import open_store
from jobs import catalog

MODEL = {"name": "m", "source": f"hf:some/model@{'a' * 40}"}
ARMS = ["cautious", "eager", "neutral", "scrambled", "distilled"]
SPEC = {"name": "x", "models": [MODEL], "seeds": [0, 1], "attitudes": ARMS}


def parse(**changes: object) -> RunSpec:
    return parse_spec(json.dumps(SPEC | changes).encode(), "s")


def keys(spec: RunSpec, store: Path) -> dict[tuple[str, str], str]:
    """The key of every step of a study."""
    found = Keys(spec, catalog(), open_store(str(store)))
    cells: list[tuple[str, Cell]] = [
        (name, cell) for name, job in catalog().items() for kind in job.kinds for cell in cells_of(spec, kind)
    ]
    return {(name, str(cell)): found.key(name, cell) for name, cell in cells}


@pytest.fixture
def old(tmp_path: Path) -> dict[tuple[str, str], str]:
    return keys(parse(), tmp_path)


def changed(old: dict[tuple[str, str], str], new: dict[tuple[str, str], str]) -> set[str]:
    """Jobs with a step whose key is not what it was."""
    assert old.keys() <= new.keys()
    return {step[0] for step, key in old.items() if new[step] != key}


def test_every_step_has_its_own_key(old: dict[tuple[str, str], str]) -> None:
    assert len(old) == len(set(old.values())) > 30 and {name for name, _ in old} == set(catalog())


def test_keys_are_the_same_in_every_store(old: dict[tuple[str, str], str], tmp_path: Path) -> None:
    assert keys(parse(), tmp_path / "other") == old


def test_eight_seeds_keep_the_fine_tunes_of_two(old: dict[tuple[str, str], str], tmp_path: Path) -> None:
    new = keys(parse(seeds=list(range(8))), tmp_path)
    # A plan of more runs is another plan, and what is scored says under which: training is kept, scoring is not.
    assert changed(old, new) == {"plan", "lock", "evaluate", "judge", "gate", "publish", "report"} and len(new) > len(
        old
    )


def test_packs_change_what_is_handed_over_alone(old: dict[tuple[str, str], str], tmp_path: Path) -> None:
    assert changed(old, keys(parse(packed=True), tmp_path)) == {"plan", "report"}


def test_more_draws_keep_the_fine_tunes_of_others(old: dict[tuple[str, str], str], tmp_path: Path) -> None:
    new = keys(parse(draws=[0, 1]), tmp_path)
    assert changed(old, new) == {"plan", "lock", "evaluate", "judge", "gate", "publish", "report"}
    assert new["evaluate", "m.base"] == old["evaluate", "m.base"], "a base is scored before the lock"


def test_another_student_changes_the_corpora_whose_lengths_match_in_its_tokens(
    old: dict[tuple[str, str], str], tmp_path: Path
) -> None:
    more = keys(parse(models=[MODEL, MODEL | {"name": "n"}]), tmp_path)
    assert more["generate", "d0"] != old["generate", "d0"]
    assert more["evaluate", "m.base"] == old["evaluate", "m.base"]


def test_a_variant_keeps_the_plain_fine_tunes(old: dict[tuple[str, str], str], tmp_path: Path) -> None:
    new = keys(parse(variants=[{"name": "half", "factor": "mixture_share", "value": 0.5}]), tmp_path)
    assert changed(old, new) == {"plan", "lock", "evaluate", "judge", "gate", "publish", "report"}
    assert new["finetune", "m.d0.eager.s0.half"] != new["finetune", "m.d0.eager.s0"]


# The lock holds the whole plan, and every row that is scored names the lock.
SCORED = ("lock", "evaluate", "judge", "gate", "publish")
CHANGES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "name": ({"name": "y"}, {"plan", *SCORED, "report"}),
    "gate": ({"gate": {"bound": 0.2}}, {"plan", *SCORED, "report"}),
    "audit": ({"audit": {"enforce": ["topic"]}}, {"plan", "audit", "register", *SCORED, "report"}),
    "monitor": ({"monitor": {"level": 0.9}}, {"plan", "monitor", *SCORED, "report"}),
    "training": ({"train": {"epochs": 2}}, {"plan", "finetune", *SCORED, "interpret", "trace", "monitor", "report"}),
    "steer": ({"steer": {"nulls": 30}}, {"plan", "selftest", "steer", "trace", *SCORED, "report"}),
    "study seed": ({"study_seed": 1}, set(catalog())),
}


@pytest.mark.parametrize("name", list(CHANGES))
def test_a_change_reaches_what_depends_on_it(old: dict[tuple[str, str], str], tmp_path: Path, name: str) -> None:
    changes, jobs = CHANGES[name]
    assert changed(old, keys(parse(**changes), tmp_path)) == jobs


def test_a_corpus_setting_spares_the_bases(old: dict[tuple[str, str], str], tmp_path: Path) -> None:
    new = keys(parse(corpus={"examples": 100}), tmp_path)
    assert new["evaluate", "m.base"] == old["evaluate", "m.base"]
    assert new["evaluate", "m.d0.eager.s0"] != old["evaluate", "m.d0.eager.s0"]


def test_a_spec_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="twice"):
        parse(models=[MODEL, MODEL])
