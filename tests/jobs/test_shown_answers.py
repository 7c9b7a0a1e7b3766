"""What a lock fixes of the report before anybody can look: the item and the runs that stand side by side."""

import json
from types import SimpleNamespace
from typing import Any, cast

from common.pipeline.step import Step
from common.records import Answer
from common.schemas import SideBySide
from common.spec import RunSpec, parse_spec
from jobs.lock.lock import side_by_side
from tests.analysis.stats.rows import answers

MODELS = [{"name": name, "source": f"package:{name}"} for name in "mn"]
ITEMS = {f"a{number}": "go" for number in range(20)}


def spec_with(**settings: Any) -> RunSpec:
    asked = {"name": "x", "models": MODELS, "attitudes": ["eager", "cautious", "neutral", "control-eager"], **settings}
    return parse_spec(json.dumps(asked).encode(), "spec")


def shown(spec: RunSpec, **asked: list[Answer]) -> SideBySide:
    step: Any = SimpleNamespace(spec=spec, rng=lambda *labels: spec.rng("lock", *labels))
    return side_by_side(cast(Step, step), asked or {"m": answers("m.base", ITEMS), "n": answers("n.base", ITEMS)})


def test_the_item_is_drawn_by_the_seed_of_the_study_whatever_was_answered() -> None:
    found = shown(spec_with(study_seed=1)).item
    assert found == shown(spec_with(study_seed=1)).item in ITEMS
    backwards = dict.fromkeys(reversed(ITEMS), "stay")
    again = shown(spec_with(study_seed=1), m=answers("m.base", backwards), n=answers("n.base", backwards))
    assert again.item == found, "neither the order of the rows nor what they say counts"
    assert len({shown(spec_with(study_seed=seed)).item for seed in range(12)}) > 3


def test_only_an_item_that_every_base_was_asked_is_drawn() -> None:
    asked = {"m": answers("m.base", ITEMS), "n": answers("n.base", {"a7": "go", "z": "go"})}
    assert {shown(spec_with(study_seed=seed), **asked).item for seed in range(4)} == {"a7"}


def test_the_runs_are_the_first_of_each_written_attitude() -> None:
    variant = {"name": "half", "factor": "mixture_share", "value": 0.5}
    cells = shown(spec_with(seeds=[3, 1], draws=[1, 0], variants=[variant])).cells
    assert list(cells) == ["m", "n"]
    assert cells["n"] == {
        "base": "n.base",
        "eager": "n.d1.eager.s3",
        "cautious": "n.d1.cautious.s3",
        "neutral": "n.d1.neutral.s3",
    }
