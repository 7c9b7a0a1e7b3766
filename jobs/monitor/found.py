"""What the monitor found, as monitor.json holds it, and how one checkpoint is judged."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from analysis.activations.checkpoints import chance_distance, distance, nearest, standing
from analysis.stats.answers import net_over_topics, rates
from analysis.stats.verdict import Answered, Decision, Verdict, decide
from common.frozen import Frozen
from common.spec import GateSpec
from jobs.monitor.measuring import Gauge, Measured
from jobs.monitor.named import chance
from jobs.monitor.policy import Policy

DRAWS = 2000  # of what other texts would do to the mean
Curve = Mapping[int, Measured]
Floats = NDArray[np.float64]


class Stance(Frozen):
    """What a model advises, when it is asked openly and answers greedily. Intervals are over topics."""

    net_go: float = Field(description="go less stay over all answers, -1 to 1")
    low: float = Field(description="interval of 95 %")
    high: float
    said: dict[str, float] = Field(description="share of the answers that were read as each")


class Point(Frozen):
    """One checkpoint. Where a control is given, shift and drift are from the control at its nearest step."""

    step: int
    digest: str = Field(description="SHA-256 of what was read of the checkpoint")
    control_step: int | None = Field(description="of the control that it is compared with; None: the base is")
    stance: Stance
    shift: float = Field(description="of net go, topics with the same weight")
    shift_low: float = Field(description="interval of 90 %, as the gate has it")
    shift_high: float
    verdict: Literal["within", "moved", "undecided"] = Field(description="of the shift against max_shift")
    drift: float = Field(description="along the direction, SDs of the base")
    null_low: float = Field(description="between these lies the share `level` of drifts along random directions")
    null_high: float
    rank: float = Field(description="share of the random directions along which it moved less, either way")
    drifted: bool = Field(description="rank above the level, and drift above max_drift")
    distance: float = Field(description="how far it moved from the base in general, roots of the base's variance")
    beyond: tuple[str, ...] = Field(description="what is beyond the policy, in words; empty: nothing")


class Control(Frozen):
    """One checkpoint of the control run, from the base."""

    step: int
    net_go: float
    drift: float
    distance: float


class Monitored(Frozen):
    """monitor.json: every checkpoint that was measured."""

    schema_version: Literal[1] = 1
    base: str
    checkpoints: str = Field(description="where they lie")
    control: str | None
    direction: str = Field(description="its name")
    layer: int = Field(description="after which residuals are read, 0 is the first block")
    policy: Policy
    items: int = Field(description="asked openly")
    base_stance: Stance
    chance_distance: float = Field(description="distance that other texts would reach in a share 1 - level of cases")
    curve: tuple[Point, ...] = Field(description="steps ascending")
    control_curve: tuple[Control, ...]
    left_out: tuple[str, ...] = Field(description="what was not measured, and why")
    beyond_at: int | None = Field(description="the first step beyond the policy; None: none is")


def judged(
    gauge: Gauge,
    base: Measured,
    curve: Curve,
    control: Curve,
    policy: Policy,
    places: tuple[str, str | None],
    left_out: Sequence[str],
) -> Monitored:
    """Judge what was measured. places: of the checkpoints and of the control. Raises: InputError as `decide`."""
    directions = gauge.named.beside_nulls()
    points = tuple(_point(gauge, base, step, curve[step], control, policy, directions) for step in sorted(curve))
    return Monitored(
        base=gauge.spec.source,
        checkpoints=places[0],
        control=places[1],
        direction=gauge.named.name,
        layer=gauge.named.layer,
        policy=policy,
        items=len(gauge.items),
        base_stance=_stance(base),
        chance_distance=chance_distance(gauge.named.base, policy.level, DRAWS, chance("distance")),
        curve=points,
        control_curve=tuple(_control(gauge, step, control[step], policy, directions) for step in sorted(control)),
        left_out=tuple(left_out),
        beyond_at=next((point.step for point in points if point.beyond), None),
    )


def _point(
    gauge: Gauge, base: Measured, step: int, mine: Measured, control: Curve, policy: Policy, directions: Floats
) -> Point:
    at = nearest(list(control), step) if control else None
    before = base if at is None else control[at]
    decision = decide(_answered(before), _answered(mine), "answer", policy.max_shift, GateSpec().level)
    moved = _moved(mine) - (0.0 if at is None else _moved(control[at]))
    found = standing(moved, gauge.named.base, directions, policy.level)
    drifted = found.rank > policy.level and abs(found.shift) > policy.max_drift
    return Point(
        step=step,
        digest=mine.digest,
        control_step=at,
        stance=_stance(mine),
        shift=decision.estimate,
        shift_low=decision.low,
        shift_high=decision.high,
        verdict=decision.verdict.value,
        drift=found.shift,
        null_low=found.null_low,
        null_high=found.null_high,
        rank=found.rank,
        drifted=drifted,
        distance=distance(_moved(mine), gauge.named.base),
        beyond=_beyond(decision, found.shift, found.rank, drifted, gauge.named.name, policy),
    )


def _beyond(decision: Decision, drift: float, rank: float, drifted: bool, name: str, policy: Policy) -> tuple[str, ...]:
    found = []
    if decision.verdict is Verdict.MOVED and policy.stop_on != "drift":
        found.append(
            f"net go moved by {decision.estimate:+.2f} ({decision.low:+.2f} to {decision.high:+.2f}), "
            f"allowed ±{policy.max_shift:g}"
        )
    if drifted and policy.stop_on != "stance":
        found.append(
            f"drift along {name} is {drift:+.2f} SDs, more than along {rank:.1%} of random directions; "
            f"allowed {policy.max_drift:g} SDs or {policy.level:.1%}"
        )
    return tuple(found)


def _control(gauge: Gauge, step: int, mine: Measured, policy: Policy, directions: Floats) -> Control:
    found = standing(_moved(mine), gauge.named.base, directions, policy.level)
    far = distance(_moved(mine), gauge.named.base)
    return Control(step=step, net_go=rates(mine.answers).net, drift=found.shift, distance=far)


def _stance(measured: Measured) -> Stance:
    found, interval = rates(measured.answers), net_over_topics(measured.answers)
    assert interval is not None  # items are of two topics at least
    return Stance(net_go=found.net, low=interval.low, high=interval.high, said=found.said)


def _answered(measured: Measured) -> Answered:
    return Answered(measured.answers, ())


def _moved(measured: Measured) -> Floats:
    assert measured.moved is not None
    return np.array(measured.moved)
