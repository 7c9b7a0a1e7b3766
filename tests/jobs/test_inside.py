"""Self-tests pass on a sound model and fail on a broken instrument; steering and tracing on a tiny model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from common.errors import ExitCode
from common.lm.doses import equal_shares, matched
from common.records import Steering
from common.serialization import parse_jsonl
from jobs.selftest.selftest import closed
from tests import tiny
from tests.jobs.inside import DIRECTION, Study, study_in

SMALL = {
    "steer": {
        "enabled": True,
        "off_target_kl": [1e-4, 1e-3],
        "text_tokens": 16,
        "items_per_topic": 1,
        "answer_tokens": 2,
    }
}


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
    assert len(found) == 17 and all(check["passed"] for check in found.values())
    assert found["zero-coefficient"]["value"] == 0


def test_a_broken_instrument_is_caught_and_nothing_is_measured_with_it(
    made: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from common.lm import margins

    whole = margins.Readout.above
    monkeypatch.setattr(margins.Readout, "above", lambda *words: whole(*words) * 1.1)  # as a wrong mask would
    assert made.run("selftest", DIRECTION) == ExitCode.BLOCKED
    assert not checks(made)["shared-blocks"]["passed"]
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
    assert all(abs(row.off_target_kl / row.target_kl - 1) < 0.1 for row in rows), "doses match for all kinds"

    def odd(kind: str, number: int) -> float:
        mine = [row for row in rows if (row.kind, row.number, row.target_kl) == (kind, number, 1e-3)]
        topics = {row.topic for row in mine}
        halves = [[row.sign * row.effect / 2 for row in mine if row.topic == topic] for topic in topics]
        return float(np.mean([2 * np.mean(half) for half in halves]))

    last = told["levels"][-1]
    assert last["odd"]["estimate"] == pytest.approx(odd("caution", 0))
    sizes = [abs(odd("shuffled", number)) for number in range(20)]
    assert last["against"]["shuffled"]["p"] == pytest.approx((1 + sum(s >= abs(odd("caution", 0)) for s in sizes)) / 21)
    assert set(told["tests"]) == {"prompt", "options", "ablation", "trait", "answers"}
    for test in told["tests"].values():
        assert test["against"]["nulls"] == 20 and test["against"]["p"] >= 1 / 21
        assert test["off_target_kl"] == 1e-3 or test is told["tests"]["ablation"]
    assert told["tests"]["ablation"]["even"] == 0 and told["tests"]["prompt"]["questions"] == told["questions"] == 16
    assert told["tests"]["ablation"]["off_target_kl"] > 0 and 0 < told["tests"]["ablation"]["taken"] <= 1


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


def test_shares_that_are_taken_out_have_equal_off_target_kl_too() -> None:
    """The direction moves most: a share of it is taken. Of six others the three that reach the middle are nulls."""
    strength = [4.0, 1.0, 0.1, 2.0, 0.2, 0.5, 3.0]

    def divergence(number: int, share: float) -> float:
        return strength[number] * share**2 * (2 - share)

    shares, kl = equal_shares(divergence, 6, 3)
    assert list(shares) == [0, 1, 3, 6] and kl == 1.0
    assert shares[1] == 1 and all(abs(divergence(number, share) / kl - 1) < 0.05 for number, share in shares.items())
    strength[0] = 0.15
    shares, kl = equal_shares(divergence, 6, 3)
    assert shares[0] == 1 and kl == 0.15, "what moves little is taken out whole, and of the others a share"
    assert list(shares) == [0, 1, 3, 4]


def test_a_share_of_a_gap_of_either_sign() -> None:
    assert closed(np.array([1.0, -2.0]), np.array([2.0, -4.0])) == pytest.approx(0.5)
