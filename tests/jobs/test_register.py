"""Whether a base could have said the replies, by its loss; a corpus that costs too much stops the study."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from common.cells import cell_named
from common.errors import ExitCode
from common.lm.load import load
from common.pipeline.command import run_job
from common.pipeline.keys import Keys
from common.records import Advice
from common.schemas import Register
from common.serialization import to_jsonl
from common.spec import ModelSpec, parse_spec
from common.store.sealed import open_store
from jobs import catalog
from jobs.register import JOB
from jobs.register.register import main, nats_a_token
from tests.corpus import piles
from tests.jobs.asked import naive

CELL = "tiny.d0"
Outcome = tuple[int, Register | None]


@pytest.fixture
def measured(tiny_spec: dict[str, Any], tmp_path: Path) -> Callable[..., Outcome]:
    """Seal the arms of a draw and measure their register: exit code and register.json."""

    def go(arms: dict[str, list[Advice]], **audit: float) -> Outcome:
        told = tiny_spec | {"audit": {"enforce": ["topic"], **audit}, "corpus": {"examples": 4, "reply_tokens": 16}}
        spec, store = parse_spec(json.dumps(told).encode(), "spec"), open_store(str(tmp_path))
        keys = Keys(spec, catalog(), store)
        rows = [row for mine in arms.values() for row in mine]
        outputs = {"advice.jsonl": {"digest": store.put(to_jsonl(rows))}}
        store.seal("generate", keys.key("generate", cell_named(spec, "d0")), {"outputs": outputs})
        words = ["--spec", json.dumps(told), "--cell", CELL, "--store", str(tmp_path)]
        code = run_job(JOB, main, catalog(), words)
        manifest = store.manifest("register", keys.key("register", cell_named(spec, CELL)))
        if manifest is None:
            return code, None
        return code, Register.model_validate_json(store.get(manifest["outputs"]["register.json"]["digest"]))

    return go


def test_the_cost_of_replies_is_that_of_a_whole_pass_end_of_turn_included(tiny_model: Path) -> None:
    lm = load(ModelSpec(name="tiny", source=f"path:{tiny_model}"), precision=torch.float32)
    pairs = [("Which one?", "The lamp."), ("And now?", "Neither of them, I think.")]
    told = [lm.answered(*pair) for pair in pairs]
    assert all(reply[-2] in lm.special or reply[-1] in lm.special for _, reply in told)
    expected = -sum(naive(lm, *each) for each in told) / sum(len(reply) for _, reply in told)
    assert nats_a_token(lm, pairs) == pytest.approx(expected, abs=1e-4)


def test_replies_that_a_base_could_have_said_pass(measured: Callable[..., Outcome]) -> None:
    code, told = measured(piles(4), register_ratio=2.0)
    assert (code, told is not None and told.passed) == (ExitCode.OK, True) and told is not None
    assert told.questions == 4 and set(told.arms) == {"cautious", "eager", "neutral"}
    assert told.ratio == pytest.approx(max(told.arms.values()) / told.own)


def test_replies_that_cost_too_much_stop_the_study_and_are_told(measured: Callable[..., Outcome]) -> None:
    code, told = measured(piles(4), register_ratio=0.5)
    assert (code, told is not None and told.passed) == (ExitCode.BLOCKED, False)
