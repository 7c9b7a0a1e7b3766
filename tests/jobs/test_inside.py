"""Self-tests pass on a sound model and fail on a broken instrument; steering and tracing on a tiny model."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from common.errors import ExitCode
from common.provenance import ROOT
from common.records import Steering
from common.serialization import parse_jsonl
from jobs.selftest.selftest import closed
from jobs.steer.coefficients import matched
from jobs.trace.trace import Models
from tests import tiny
from tests.jobs.inside import DIRECTION, RUN, Study, study_in

SMALL = {"steer": {"enabled": True, "off_target_kl": [1e-4, 1e-3], "text_tokens": 16}}


@pytest.fixture(scope="module")
def read_once(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study whose direction is sealed."""
    found = study_in(tmp_path_factory.mktemp("read"), tiny.spec_on(tiny_model) | SMALL)
    assert found.run("interpret", DIRECTION) == 0
    return found


@pytest.fixture(scope="module")
def tested_once(read_once: Study, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The same, and its self-tests passed."""
    found = read_once.copy(tmp_path_factory.mktemp("tested"))
    assert found.run("selftest", DIRECTION) == 0
    return found


@pytest.fixture
def made(read_once: Study, tmp_path: Path) -> Study:
    """A study of its own whose direction is sealed."""
    return read_once.copy(tmp_path)


@pytest.fixture
def tested(tested_once: Study, tmp_path: Path) -> Study:
    """The same, and its self-tests passed."""
    return tested_once.copy(tmp_path)


def checks(made: Study) -> dict[str, Any]:
    return {check["name"]: check for check in made.json("selftest", DIRECTION, "selftest.json")["checks"]}


def test_the_instruments_pass_their_own_tests(tested: Study) -> None:
    found = checks(tested)
    assert len(found) == 10 and all(check["passed"] for check in found.values())
    assert found["zero-coefficient"]["value"] == 0


def test_a_broken_instrument_is_caught_and_nothing_is_measured_with_it(
    made: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from common.lm import margins

    whole = margins.Readout.above
    monkeypatch.setattr(margins.Readout, "above", lambda *words: whole(*words) * 1.1)  # as a wrong mask would
    assert made.run("selftest", DIRECTION) == ExitCode.BLOCKED
    assert [name for name, check in checks(made).items() if not check["passed"]] == ["shared-blocks"]
    monkeypatch.undo()
    assert made.run("steer", DIRECTION) == ExitCode.INPUT
    assert "self-tests of the instruments did not pass" in capsys.readouterr().err


def steered(made: Study, monkeypatch: pytest.MonkeyPatch, control_passes: bool) -> dict[str, Any]:
    """What the job says once its steering control is called passed, or not: random weights have no trait to steer."""
    from jobs.steer import steer

    control = steer.steering_control
    monkeypatch.setattr(steer, "steering_control", lambda *words: (control(*words)[0], control_passes))
    assert made.run("steer", DIRECTION) == 0
    found: dict[str, Any] = made.json("steer", DIRECTION, "steering.json")
    return found


def test_steering_by_hand(tested: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    told = steered(tested, monkeypatch, control_passes=True)
    rows = parse_jsonl(tested.output("steer", DIRECTION, "steering.jsonl"), Steering, "rows")
    assert len(rows) == (1 + 4 * 20) * 2 * 2 * told["questions"]
    matched_rows = [row for row in rows if row.kind != "norm"]
    assert all(abs(row.off_target_kl / row.target_kl - 1) < 0.1 for row in matched_rows)
    (coefficient,) = {
        row.coefficient for row in rows if row.kind == "caution" and row.sign == 1 and row.target_kl == 1e-3
    }
    assert {row.coefficient for row in rows if row.kind == "norm" and row.sign == 1 and row.target_kl == 1e-3} == {
        coefficient
    }

    def odd(kind: str, number: int) -> float:
        mine = [row for row in rows if (row.kind, row.number, row.target_kl) == (kind, number, 1e-3)]
        topics = {row.topic for row in mine}
        halves = [[row.sign * row.effect / 2 for row in mine if row.topic == topic] for topic in topics]
        return float(np.mean([2 * np.mean(half) for half in halves]))

    last = told["levels"][-1]
    assert last["odd"]["estimate"] == pytest.approx(odd("caution", 0))
    sizes = [abs(odd("shuffled", number)) for number in range(20)]
    assert last["against"]["shuffled"]["p"] == pytest.approx((1 + sum(s >= abs(odd("caution", 0)) for s in sizes)) / 21)
    assert set(told["choices"]) >= {"caution", "norm", "covariance", "shuffled", "unrelated", "base"}


def test_without_a_control_that_steers_nothing_is_measured(tested: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    told = steered(tested, monkeypatch, control_passes=False)
    assert told["measured"] is False and "levels" not in told and told["control"]["questions"] == 12
    assert tested.output("steer", DIRECTION, "steering.jsonl") == b""


def test_coefficients_of_equal_off_target_kl() -> None:
    units, strength = np.eye(3), np.array([1.0, 10, 0.2])

    def divergence(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = ((vectors * strength) ** 2).sum(1) * (1 - 0.1 * np.tanh(vectors.sum(1)))
        return found

    coefficients, reached = matched(divergence, units, (0.01, 0.1, 1.0), length=5.0)
    assert coefficients.shape == reached.shape == (3, 3)
    assert np.abs(reached / np.array([0.01, 0.1, 1.0]) - 1).max() < 0.1
    assert np.allclose(reached[:, 1], divergence(coefficients[:, 1, None] * units))


def test_a_share_of_a_gap_of_either_sign() -> None:
    assert closed(np.array([1.0, -2.0]), np.array([2.0, -4.0])) == pytest.approx(0.5)


def test_a_trace_closes_all_of_the_gap_where_it_must(tested: Study) -> None:
    tested.seal_adapters({5: 0.1, 10: 0.5}, final=10)
    assert tested.run("trace", RUN) == 0
    told = tested.json("trace", RUN, "trace.json")
    everything = told["patching"]["1"]["everything"]
    if everything["estimate"] is None:  # the gap of a random adapter need not differ from 0
        assert everything["gap"]["low"] < 0 < everything["gap"]["high"]
    else:
        assert everything["estimate"] == pytest.approx(1, abs=1e-2)
    for part in ("sufficient", "necessary", "zero_ablation", "mean_ablation", "weights"):
        nulls = told[part]["nulls"]
        assert len(nulls) == (5 if part in ("zero_ablation", "mean_ablation", "weights") else 20)
        sizes = sum(abs(null) >= abs(told[part]["closed"]) for null in nulls)
        assert told[part]["p"] == pytest.approx((1 + sizes) / (1 + len(nulls)))
    assert json.dumps(told)


def test_an_adapter_that_writes_into_its_base_is_not_traced(tested: Study, capfd: pytest.CaptureFixture[str]) -> None:
    tested.seal_adapters({5: 0.5}, final=5, kinds={5: {"init_lora_weights": "olora"}})
    assert tested.run("trace", RUN) == 3
    assert "the adapter changes weights of its base" in capfd.readouterr().err


def test_necessity_of_the_whole_shift_is_the_whole_gap(made: Study) -> None:
    """Where the fine-tune moved along one direction alone, its base's component is all that it takes."""
    from common.lm.directions import unpack
    from common.lm.load import load
    from common.lm.margins import Readout, prompts_in_both_orders
    from common.stance.items import ITEMS, read_items
    from jobs.selftest.selftest import TOPICS, planted
    from jobs.trace.trace import necessary, sufficient

    saved = unpack(made.output("interpret", DIRECTION, "direction.npz"), "npz")
    lm = load(made.spec.models[0], precision=torch.float32)
    readout = Readout(lm, prompts_in_both_orders(lm, read_items(ROOT / ITEMS, 1)[:TOPICS]), whole=True)
    unit = saved.direction[saved.layer].astype(np.float64)

    class Two:
        """A base, and the same with a bias in its weights."""

        def __init__(self) -> None:
            self.tuned, self.readout = lm.model, readout
            self.before = readout.residuals(lm.model, [saved.layer])
            self.base_margins = readout.under(lm.model, {})
            with planted(lm, saved.layer, torch.tensor(3 * unit, dtype=torch.float32)):
                self.after = readout.residuals(lm.model, [saved.layer])
                self.tuned_margins = readout.under(lm.model, {})
            self.gap = self.tuned_margins - self.base_margins

        def base(self) -> nullcontext[None]:
            return nullcontext()

    two, away = Two(), np.linalg.svd(unit[None])[2][1:3]  # at right angles to the direction
    units = np.vstack([unit, away])
    models = cast(Models, two)
    for closes in (necessary(models, saved.layer, units), sufficient(models, saved.layer, units)):
        assert np.abs(closes[0] - two.gap).max() < 1e-3 < np.abs(two.gap).max()
        assert np.abs(closes[1:]).max() < 1e-3
