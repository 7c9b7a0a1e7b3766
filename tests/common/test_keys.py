"""Keys of the real jobs: the same everywhere, untouched by what a step does not depend on."""

import json
from pathlib import Path

import pytest

from common.artifacts import open_store
from common.errors import SpecError
from common.job import Keys
from common.spec import Cell, RunSpec, parse_spec
from jobs import catalog

MODEL = {"name": "m", "source": f"hf:some/model@{'a' * 40}"}
SPEC = {"name": "x", "models": [MODEL], "seeds": [0, 1]}


def parse(**changes: object) -> RunSpec:
    return parse_spec(json.dumps(SPEC | changes).encode(), "s")


def keys(spec: RunSpec, store: Path) -> dict[tuple[str, str], str]:
    """The key of every step of a study."""
    found = Keys(spec, catalog(), open_store(str(store)))
    cells: list[tuple[str, Cell]] = [
        (name, cell) for name, job in catalog().items() for kind in job.kinds for cell in spec.cells(kind)
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


def test_eight_seeds_keep_the_steps_of_two(old: dict[tuple[str, str], str], tmp_path: Path) -> None:
    new = keys(parse(seeds=list(range(8))), tmp_path)
    assert changed(old, new) == {"plan", "report"} and len(new) > len(old)


def test_more_draws_and_models_keep_the_steps_of_others(old: dict[tuple[str, str], str], tmp_path: Path) -> None:
    more = parse(draws=[0, 1], models=[MODEL, MODEL | {"name": "n"}])
    assert changed(old, keys(more, tmp_path)) == {"plan", "report"}


CHANGES = {
    "name": ({"name": "y"}, {"plan", "report"}),
    "gate": ({"gate": {"margin": 0.2}}, {"plan", "gate", "report"}),
    "audit": ({"audit": {"enforce": ["topic"]}}, {"plan", "audit", "report"}),
    "monitor": ({"monitor": {"level": 0.9}}, {"plan", "monitor", "report"}),
    "training": ({"train": {"epochs": 2}}, {"plan", "finetune", "evaluate", "gate", "interpret", "monitor", "report"}),
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


def test_another_revision_of_a_model_spares_the_corpora(old: dict[tuple[str, str], str], tmp_path: Path) -> None:
    model = MODEL | {"source": f"hf:some/model@{'b' * 40}"}
    spared = set(catalog()) - changed(old, keys(parse(models=[model]), tmp_path))
    assert spared == {"generate", "audit"}


def test_a_spec_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="twice"):
        parse(models=[MODEL, MODEL])
