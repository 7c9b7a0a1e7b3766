"""The JSON outputs of the jobs that test and steer the inside of a model: as `common.schemas`."""

from typing import Literal

from pydantic import Field

from common.schemas import Document, Interval


class SelfTestCheck(Document):
    """One self-test of an instrument."""

    name: str = Field(description="as jobs.selftest lists them")
    value: float = Field(description="what was measured")
    bound: float = Field(description="what it may be at most")
    passed: bool = Field(description="whether the value is at most the bound")


class SelfTest(Document):
    """selftest.json: whether the instruments can be trusted on a direction cell."""

    layer: int = Field(description="the chosen one")
    checks: tuple[SelfTestCheck, ...] = Field(description="in the order of jobs.selftest")


class Against(Document):
    """An effect beside those of one kind of null direction at equal off-target KL."""

    nulls: int = Field(description="directions of the kind")
    p: float = Field(description="share of directions, this one among them, with an effect of at least this size")
    null_95: float = Field(description="size that 5 % of the nulls exceed, nats")
    threshold: float | None = Field(description="size above which p is small enough, nats; None: too few nulls")
    detectable: float | None = Field(description="smallest true effect that would probably have shown, nats")


class SteeringControl(Document):
    """A trait that is known to steer, by the same code at the same block."""

    trait: str = Field(description="which replies less which")
    off_target_kl: float = Field(description="divergence that was aimed at, nats a token of neutral text")
    questions: int = Field(description="on which margins were taken")
    passed: bool = Field(description="whether it steers more than the nulls do")
    odd: Interval = Field(description="half of the effect of +v less that of -v, nats, over topics")
    even: float = Field(description="half of their sum, nats: what any push does")
    against: Against = Field(description="beside nulls with the covariance of residuals")


class SteeringLevel(Document):
    """The direction of caution at one off-target KL."""

    off_target_kl: float = Field(description="divergence that was aimed at, nats a token of neutral text")
    coefficient: tuple[float, float] = Field(description="length of what was added, along the direction and against it")
    reached: dict[str, float] = Field(description="kind of direction → divergence measured, mean, nats a token")
    odd: Interval = Field(description="half of the effect of +v less that of -v, nats, over topics")
    even: float = Field(description="half of their sum, nats: what any push does")
    against: dict[str, Against] = Field(description="kind of null → how the odd part compares")


class SteeringTest(Document):
    """What the direction does in another way, or to something else, beside nulls with the covariance of residuals."""

    questions: int = Field(description="on which it was measured")
    odd: Interval = Field(description="half of the effect along the direction less that against it, over topics")
    even: float = Field(description="half of their sum: what any push does")
    against: Against = Field(description="how the odd part compares; in the unit of `odd`")
    off_target_kl: float = Field(description="that of the direction and of every null, nats a token of neutral text")
    taken: float | None = Field(None, description="share of its component that was taken out; null: it was added")


Tested = Literal["prompt", "options", "ablation", "trait", "answers"]


class SteeringSummary(Document):
    """steering.json: whether pushing along the direction causes anything. Effects lean towards the change."""

    layer: int = Field(description="after which the vector is added")
    control: SteeringControl = Field(description="the steering control")
    measured: bool = Field(description="whether the control steered; if not, nothing below is there")
    levels: tuple[SteeringLevel, ...] = Field((), description="off-target KL ascending")
    questions: int | None = Field(None, description="on which margins were taken, orders apart")
    topics: int | None = Field(None, description="of those questions")
    tests: dict[Tested, SteeringTest] = Field({}, description="at the largest off-target KL, as jobs.steer lists them")


# --- what of a fine-tune's shift goes through the direction


class Share(Document):
    """A share of a gap, with its interval; null where the gap itself is not shown to differ from 0."""

    estimate: float | None = Field(description="1 is the whole gap")
    low: float | None = Field(description="lower bound, 95 % coverage")
    high: float | None = Field(description="upper bound")
    gap: Interval = Field(description="margin of the pole less that of neutral, nats, over topics")


class Mediated(Document):
    """What of the gap one instrument closes along the direction, beside random directions."""

    share: Share = Field(description="over topics")
    by_topic: dict[str, float] = Field(description="topic → what is closed, nats")
    gap_by_topic: dict[str, float] = Field(description="topic → the gap there, on the same questions, nats")
    nulls: tuple[float, ...] = Field(description="what each random direction of the same covariance closes, nats")
    p: float = Field(description="share of directions, this one among them, that come as near to the gap by topic")


class WrittenAlong(Document):
    """What of the difference of two adapters is written along the direction, by their matrices."""

    share: float = Field(description="of the squared norm of all that they write to the residual stream, 0 to 1")
    nulls: tuple[float, ...] = Field(description="the same along each random direction of the same covariance")
    p: float = Field(description="share of directions, this one among them, with as large a share")
    by_block: tuple[float, ...] = Field(description="by block, from the first on; 0 where nothing is written")


class Trace(Document):
    """trace.json: what of the shift from a neutral run goes through the direction, and where it sits."""

    layer: int = Field(description="the chosen one")
    neutral: str = Field(description="cell of the neutral run of the same seed and draw")
    items: int = Field(description="held-out items")
    questions: int = Field(description="of those, in both orders")
    gap: Interval = Field(description="margin of the pole less that of neutral, for the change, nats, over topics")
    items_needed: int | None = Field(description="items that would probably show a gap of this size; null: too many")
    off_target_kl: float = Field(description="of the pole from neutral, nats a token of neutral text")
    sufficient: Mediated = Field(description="put into neutral, as a constant vector at the chosen layer")
    necessary: Mediated = Field(description="taken from the pole, token by token, at the chosen layer")
    ablation: Mediated = Field(description="taken out of both at every block")
    whole: Mediated = Field(
        description="put into neutral: the whole mean shift of other topics, whatever its direction"
    )
    weights: WrittenAlong = Field(description="by the matrices of both adapters")
    patching: dict[str, dict[str, Share]] = Field(description="block → part of the text → share of the gap carried")
