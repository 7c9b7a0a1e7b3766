"""The part of a workflow that was asked for."""

import pytest

from common.errors import SpecError
from workflows.local.selection import cut, selected


def test_selection() -> None:
    stages = ["plan", "generate", "finetune"]
    assert selected(stages, None, None) == set(stages)
    assert selected(stages, "plan,finetune", None) == {"plan", "finetune"}
    assert selected(stages, None, "generate") == {"generate", "finetune"}
    with pytest.raises(SpecError, match="--only: trian"):
        selected(stages, "trian", None)


def test_a_dag_is_cut_after_a_task() -> None:
    after = {"a": "", "b": "a", "c": "a", "d": "b && c"}
    tasks = [{"name": name, "depends": depends} for name, depends in after.items()]
    whole = {"name": "study", "dag": {"tasks": tasks}}
    assert [task["name"] for task in cut(whole, "c")["dag"]["tasks"]] == ["a", "c"]
    assert cut(whole, "d") == whole
    with pytest.raises(SpecError, match="no such task, --until: e; allowed: a, b, c, d"):
        cut(whole, "e")
