"""Closed forms and guards shared out among runs: an arm is asked all, a run its part, by the plan alone."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from common.cells import Cell, CellKind, Part, cell_named, cells_of, part_of
from common.errors import SpecError
from common.pipeline.keys import Keys
from common.provenance import ROOT
from common.records import Ability
from common.spec import EvaluateSpec, RunSpec, parse_spec
from common.stance.items import FILES, Questionnaire, read_questionnaire, taken
from common.store.sealed import open_store
from common.vocabulary import kind_of
from jobs import catalog

ARMS = ["cautious", "eager", "neutral", "scrambled"]
GOOD: dict[str, Any] = {
    "name": "x",
    "models": [{"name": "m", "source": f"hf:some/model@{'a' * 40}"}, {"name": "n", "source": f"hf:a/b@{'b' * 40}"}],
    "attitudes": ARMS,
    "seeds": list(range(8)),
    "draws": list(range(8)),
    "dealt": True,
}


def parse(rotate: int, **changes: object) -> RunSpec:
    return parse_spec(json.dumps(GOOD | {"evaluate": {"rotate": rotate}} | changes).encode(), "s.json")


def arm(spec: RunSpec, attitude: str, model: str = "m") -> list[Cell]:
    runs = cells_of(spec, CellKind.RUN)
    return [run for run in runs if (run.attitude, run.model, run.variant) == (attitude, model, "")]


def asked(**changes: Any) -> Questionnaire:
    return read_questionnaire([ROOT / path for path in FILES], EvaluateSpec(**changes))


@pytest.mark.parametrize(("parts", "changes"), [(8, {}), (5, {}), (8, {"hard": True}), (5, {"items_per_topic": 5})])
def test_parts_are_disjoint_and_together_all(parts: int, changes: dict[str, Any]) -> None:
    whole = asked(**changes)
    mine = [taken(whole, Part(number, parts)) for number in range(parts)]
    assert sorted(item.id for each in mine for item in each.items) == sorted(item.id for item in whole.every)
    assert sorted(each.id for part in mine for each in part.prompts) == sorted(each.id for each in whole.prompts)
    assert taken(whole, Part(0, 1)) == (whole.every, whole.prompts)


def test_parts_are_alike() -> None:
    whole = asked()
    mine = [taken(whole, Part(number, 8)) for number in range(8)]

    def spread(*counts: Counter[str]) -> int:
        return max(
            max(each[key] for each in counts) - min(each[key] for each in counts) for key in set().union(*counts)
        )

    topics = [Counter(item.topic for item in each.items) for each in mine]
    assert spread(*topics) == 1 and all(topics[0][topic] for topic in {item.topic for item in whole.items})
    held_out = [[item for item in each.items if kind_of(item.topic) == "held-out"] for each in mine]
    assert max(map(len, held_out)) - min(map(len, held_out)) <= 2
    assert spread(*(Counter(str(item.proposes) for item in each) for each in held_out)) <= 2, (
        "no run has one side alone"
    )
    assert spread(*(Counter(str(item.id in whole.advised) for item in each) for each in held_out)) <= 2
    kinds = [Counter("ability" if isinstance(p, Ability) else str(p.kind) for p in each.prompts) for each in mine]
    assert spread(*kinds) <= 1 and len(kinds[0]) == 3


def test_runs_of_an_arm_take_turns_and_matched_runs_take_the_same() -> None:
    spec = parse(8)
    for attitude in ARMS:
        assert [part_of(spec, run) for run in arm(spec, attitude)] == [Part(number, 8) for number in range(8)]
    assert [part_of(spec, run) for run in arm(spec, "eager", "n")] == [Part(number, 8) for number in range(8)]
    assert [part_of(parse(3), run).number for run in arm(parse(3), "eager")] == [0, 1, 2, 0, 1, 2, 0, 1]
    assert part_of(spec, cell_named(spec, "m.base")) == Part(0, 1), "a base is asked all"
    crossed = parse(4, seeds=[0, 1], draws=[0, 1], dealt=False)
    assert [part_of(crossed, run).number for run in arm(crossed, "eager")] == [0, 1, 2, 3]


def test_an_arm_with_fewer_runs_makes_fewer_parts() -> None:
    half = {"name": "half", "factor": "pile_share", "value": 0.5, "seeds": [3, 5]}
    spec = parse(8, arm_seeds={"scrambled": [0, 2, 4, 6]}, variants=[half])
    assert [part_of(spec, run) for run in arm(spec, "scrambled")] == [Part(number, 4) for number in range(4)]
    tried = [
        run for run in cells_of(spec, CellKind.RUN) if run.variant and run.model == "m" and run.attitude == "eager"
    ]
    assert [part_of(spec, run) for run in tried] == [Part(0, 2), Part(1, 2)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": [0, 1]}, "evaluate.rotate is 8, and an arm of 2 runs would not answer all; at most 2"),
        ({"evaluate": {"rotate": 8, "guards_per_kind": 4}}, "so a run may have no guards; at most 4, guards_per_kind"),
        ({"evaluate": {"rotate": 0}}, "evaluate.rotate: 0"),
    ],
)
def test_a_plan_in_which_something_is_never_asked_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse(8, **{"draws": [0], **changes})


def test_a_part_without_a_held_out_item_or_guard_is_refused() -> None:
    few = asked(items_per_topic=1)
    with pytest.raises(SpecError, match=r"a run is asked no held-out item, evaluate\.rotate: 17; allowed: fewer parts"):
        taken(few._replace(controls=[]), Part(16, 17))
    with pytest.raises(SpecError, match=r"a run is asked no guards of kind harmful"):
        taken(asked(guards_per_kind=2), Part(2, 3))


def test_without_rotation_no_key_changes_and_with_it_a_part_is_named(tmp_path: Path) -> None:
    plain, spec = parse(1), parse(8)
    assert "rotate" not in plain.settings()["evaluate"] and spec.settings()["evaluate"]["rotate"] == 8
    for of, named in ((plain, None), (spec, {"number": "2", "of": "8"})):
        keys = Keys(of, catalog(), open_store(str(tmp_path)))
        for job in ("evaluate", "gate"):
            assert keys.named_by(job, arm(of, "eager")[2])["facts"].get("part") == named
        assert "part" not in keys.named_by("evaluate", cell_named(of, "m.base"))["facts"]
