"""Specs are refused with the field, the value and what was allowed; cells name themselves and are found again."""

import json
from typing import Any

import pytest

from common.cells import (
    CellKind,
    cell_named,
    cells_named,
    cells_of,
    judged_cells,
    packs,
    steered_directions,
    traced_runs,
)
from common.errors import SpecError
from common.spec import RunSpec, override, parse_spec
from jobs.plan.plan import packed

GOOD = {"name": "x", "models": [{"name": "m", "source": "package:p"}]}


def parse(**changes: object) -> RunSpec:
    return parse_spec(json.dumps(GOOD | changes).encode(), "s.json")


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "misspelt": ({"sedes": [1]}, "unknown field, s.json:sedes; allowed: did you mean 'seeds'"),
    "misspelt below": ({"train": {"epoch": 1}}, "s.json:train.epoch; allowed: did you mean 'epochs'"),
    "misspelt in a list": ({"models": [{"name": "m", "sorce": "path:x"}]}, "did you mean 'source'"),
    "text for a number": ({"seeds": ["1e3"]}, "seeds.0: 1e3"),
    "number for text": ({"name": 3}, "s.json:name: 3"),
    "below the range": ({"train": {"learning_rate": -1}}, "learning_rate: -1; allowed: .*greater than 0"),
    "twice": ({"seeds": [1, 1]}, "seeds holds a value twice"),
    "one pole": ({"attitudes": ["eager", "neutral"]}, "both poles"),
    "unpinned": ({"models": [{"name": "m", "source": "hf:a/b@main"}]}, "models.0.source: hf:a/b@main"),
    "path without jsonl": ({"corpus": {"path": "x"}}, "path goes with writer 'jsonl'"),
    "uneven deal": ({"dealt": True, "seeds": [1, 2, 3], "draws": [0, 1]}, "3 seeds cannot be dealt evenly to 2 draws"),
    "hard in a pilot": (
        {"evaluate": {"pilot": True, "hard": True}},
        "s.json:evaluate: .*; allowed: hard items are on held",
    ),
    "fewer runs of a pole": ({"arm_seeds": {"eager": [0]}}, r"arm_seeds names eager; allowed are controls .*: \[\]"),
    "fewer runs of no arm": ({"arm_seeds": {"scrambled": [0]}}, "arm_seeds names scrambled"),
    "a seed of no run": (
        {"attitudes": ["cautious", "eager", "scrambled"], "arm_seeds": {"scrambled": [0, 7]}},
        r"arm_seeds of scrambled are \[0, 7\]; allowed is some of \[0, 1\], each once",
    ),
    "an arm without runs": (
        {"attitudes": ["cautious", "eager", "scrambled"], "arm_seeds": {"scrambled": []}},
        r"arm_seeds of scrambled are \[\]",
    ),
    "controls that are no pairs": (
        {
            "attitudes": ["cautious", "eager", "control-cautious", "control-eager"],
            "arm_seeds": {"control-eager": [1]},
        },
        "arm_seeds differ between the two positive controls",
    ),
    "not a number": ({"train": {"learning_rate": float("nan")}}, "NaN is not JSON"),
}


@pytest.mark.parametrize("name", list(BAD))
def test_refused(name: str) -> None:
    changes, message = BAD[name]
    with pytest.raises(SpecError, match=message) as caught:
        parse(**changes)
    assert "\n" not in str(caught.value)


def test_not_an_object_and_not_json() -> None:
    for data in (b"[]", b"{", b""):
        with pytest.raises(SpecError):
            parse_spec(data, "s.json")


def test_cells_are_found_by_their_names() -> None:
    spec = parse(seeds=[0, 3], draws=[0, 1])
    cells = [cell for kind in CellKind for cell in cells_of(spec, kind)]
    assert len(cells) == 1 + 2 + 1 + 2 + 12
    assert all(cell_named(spec, str(cell)) == cell for cell in cells)
    with pytest.raises(SpecError, match=r"did you mean 'm\.d0\.eager\.s3'"):
        cell_named(spec, "m.d0.eagr.s3")


def test_dealt_seeds_take_turns_on_the_draws() -> None:
    steer = {"enabled": True}
    arms = ["cautious", "eager", "neutral"]
    dealt: dict[str, Any] = {"seeds": [4, 5, 6, 7], "draws": [0, 1], "dealt": True}
    spec = parse(**dealt, attitudes=arms, steer=steer)
    runs = [str(cell) for cell in cells_of(spec, CellKind.RUN) if cell.attitude == "eager"]
    assert runs == ["m.d0.eager.s4", "m.d1.eager.s5", "m.d0.eager.s6", "m.d1.eager.s7"]
    traced = ["m.d0.cautious.s4", "m.d0.eager.s4", "m.d1.cautious.s5", "m.d1.eager.s5"]
    assert [str(cell) for cell in traced_runs(spec)] == traced
    fewer = parse(**dealt, attitudes=arms, steer=steer | {"draws": 1})
    assert [str(cell) for cell in traced_runs(fewer)] == traced[:2]
    assert [str(cell) for cell in steered_directions(fewer)] == ["m.d0"]
    assert traced_runs(parse(**dealt, attitudes=arms[:2], steer=steer)) == (), "there is no neutral run beside them"


def test_a_control_can_have_fewer_runs() -> None:
    arms = ["cautious", "eager", "scrambled"]
    dealt: dict[str, Any] = {"seeds": [4, 5, 6, 7], "draws": [0, 1], "dealt": True, "attitudes": arms}
    half = {"name": "half", "factor": "pile_share", "value": 0.5, "seeds": [5, 6]}
    spec = parse(**dealt, variants=[half], arm_seeds={"scrambled": [4, 6]})
    runs = cells_of(spec, CellKind.RUN)
    assert [str(run) for run in runs if run.attitude == "scrambled"] == [
        *("m.d0.scrambled.s4", "m.d0.scrambled.s6", "m.d0.scrambled.s6.half"),
    ]
    assert sum(run.attitude == "eager" for run in runs) == 4 + 2
    assert [run.attitude for run in packs(spec)["m.d1.all.s5"]] == ["cautious", "eager"]
    assert parse_spec(spec.model_dump_json().encode(), "s") == spec
    assert parse(**dealt, arm_seeds={}).settings() == parse(**dealt).settings()
    assert "arm_seeds" not in parse(**dealt).settings(), "no key of a spec without it is another"
    own = parse(**{**dealt, "attitudes": [*arms[:2], "distilled"]}, arm_seeds={"distilled": [4, 6]})
    assert [str(pile) for pile in cells_of(own, CellKind.DISTILLED)] == ["m.d0.distilled"], "no pile that no run reads"


def test_a_judge_reads_bases_and_plain_runs_where_the_spec_names_one() -> None:
    slow = {"name": "slow", "factor": "learning_rate", "value": 1e-5}
    changes = {"seeds": [0], "attitudes": ["cautious", "eager"], "variants": [slow]}
    assert judged_cells(parse(**changes)) == ()
    spec = parse(**changes, judge={"url": "http://localhost:1/v1", "model": "m"})
    assert [str(cell) for cell in judged_cells(spec)] == ["m.base", "m.d0.cautious.s0", "m.d0.eager.s0"]
    handed = packed(spec)
    assert handed["runs"] == ("m.d0.all.s0", "m.d0.all.s0.slow") and handed["judged_runs"] == ("m.d0.all.s0",)
    assert packed(parse(**changes))["judged_runs"] == ()


def test_a_pack_is_every_arm_of_a_seed_and_changes_nothing_that_is_asked() -> None:
    arms = {
        "attitudes": ["cautious", "eager"],
        "variants": [{"name": "slow", "factor": "learning_rate", "value": 1e-5}],
    }
    spec = parse(seeds=[0, 1], **arms)
    assert list(packs(spec)) == ["m.d0.all.s0", "m.d0.all.s1", "m.d0.all.s0.slow", "m.d0.all.s1.slow"]
    assert [str(cell) for cell in cells_named(spec, "m.d0.all.s1.slow")] == [
        "m.d0.cautious.s1.slow",
        "m.d0.eager.s1.slow",
    ]
    assert cells_named(spec, "m.base") == cells_of(spec, CellKind.BASE)
    packed = parse(seeds=[0, 1], packed=True, **arms)
    assert packed.run_id == spec.run_id and packed.settings() == spec.settings()
    with pytest.raises(SpecError, match=r"did you mean 'm\.d0\.all\.s1'"):
        cells_named(spec, "m.d0.al.s1")


def test_chance_depends_on_labels_and_study_seed_alone() -> None:
    one, two = parse(), parse(seeds=[0, 1, 2], name="other")
    assert one.seed("train", "a") == two.seed("train", "a") != one.seed("train", "b")
    assert one.seed("train", "a") != parse(study_seed=1).seed("train", "a")
    assert one.rng("a").integers(1 << 30) == two.rng("a").integers(1 << 30)


def test_overrides_replace_dotted_fields() -> None:
    spec = parse_spec(override(json.dumps(GOOD).encode(), "s", {"train.epochs": 4, "seeds": [5]}), "s")
    assert spec.train.epochs == 4 and spec.seeds == (5,)


def test_hard_items_change_the_key_only_where_they_are_asked() -> None:
    unasked = parse(evaluate={"hard": False})
    assert "hard" not in unasked.settings()["evaluate"] and unasked.run_id == parse().run_id
    assert parse(evaluate={"hard": True}).settings()["evaluate"]["hard"] is True


def test_equal_specs_are_one_run() -> None:
    assert parse().run_id == parse(seeds=[0, 1]).run_id != parse(seeds=[0]).run_id
