"""What hard items must stay out of: the lock's bands of headroom, and the jobs that take held-out items themselves."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from common.errors import InputError
from common.pipeline.step import Step
from common.provenance import ROOT
from common.records import Item
from common.serialization import read_jsonl, to_jsonl
from common.spec import RunSpec, parse_spec
from common.stance.items import HARD_ITEMS, ITEMS
from jobs import catalog
from jobs.lock.lock import answers_of_bases, check_sides, headrooms_of_bases
from tests.analysis.stats.rows import answers

ASKED = {"name": "x", "models": [{"name": "m", "source": "package:p"}]}


def spec_with(**evaluate: Any) -> RunSpec:
    return parse_spec(json.dumps(ASKED | {"evaluate": evaluate}).encode(), "spec")


def test_bands_of_headroom_hold_no_hard_item() -> None:
    rows = [
        *answers("m.base", {"a0": "go", "a1": "stay"}),
        *answers("m.base", {"hard-a-1": "go"}, topic="hard-a"),
    ]
    step: Any = SimpleNamespace(spec=spec_with(hard=True), read_records=lambda *_: rows)
    assert set(headrooms_of_bases(step.spec, answers_of_bases(step))["m"]) == {"a0", "a1"}


def test_a_lock_refuses_hard_items_of_one_side_where_they_are_asked(tmp_path: Path) -> None:
    hard = read_jsonl(ROOT / HARD_ITEMS, Item)
    (tmp_path / "hard.jsonl").write_bytes(to_jsonl([hard[1].model_copy(update={"proposes": "go"}), *hard[2:]]))
    files = {ITEMS: ROOT / ITEMS, HARD_ITEMS: tmp_path / "hard.jsonl"}
    plain, hard_too = (SimpleNamespace(spec=spec, data=files.get) for spec in (spec_with(), spec_with(hard=True)))
    check_sides(cast(Step, plain))
    with pytest.raises(InputError, match="one side more often, topic all: 36 propose the change, 35 propose to keep"):
        check_sides(cast(Step, hard_too))


def test_only_what_asks_or_fixes_or_searches_or_shows_them_reads_hard_items() -> None:
    readers = {name for name, job in catalog().items() if HARD_ITEMS in job.data}
    assert readers == {"evaluate", "judge", "lock", "audit", "report"}
