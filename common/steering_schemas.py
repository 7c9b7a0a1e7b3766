"""The JSON outputs of the jobs that test and steer the inside of a model: as `common.schemas`."""

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


class SteeredAnswers(Document):
    """What the directions of one kind do to the likelier of Yes and No."""

    odd: float = Field(description="half of P(go) at +v less that at -v, mean over directions")
    p: float | None = Field(None, description="rank of the direction of caution among these nulls")


class SteeringChoices(Document):
    """Yes-or-no answers at one off-target KL, by kind of direction."""

    off_target_kl: float = Field(description="in the middle of the grid, nats a token of neutral text")
    base: float = Field(description="P(go) of the base")
    caution: SteeredAnswers = Field(description="along the direction itself")
    norm: SteeredAnswers = Field(description="isotropic nulls of equal length")
    covariance: SteeredAnswers = Field(description="nulls with the covariance of residuals")
    shuffled: SteeredAnswers = Field(description="nulls from shuffled poles")
    unrelated: SteeredAnswers = Field(description="nulls from unrelated topics")

    @property
    def ranks(self) -> list[float]:
        """Of the direction of caution among each kind of null."""
        kinds = (self.norm, self.covariance, self.shuffled, self.unrelated)
        return [each.p for each in kinds if each.p is not None]


class SteeringSummary(Document):
    """steering.json: whether pushing along the direction causes anything. Effects lean towards the change."""

    layer: int = Field(description="after which the vector is added")
    control: SteeringControl = Field(description="the steering control")
    measured: bool = Field(description="whether the control steered; if not, nothing below is there")
    levels: tuple[SteeringLevel, ...] = Field((), description="off-target KL ascending")
    questions: int | None = Field(None, description="on which margins were taken, orders apart")
    topics: int | None = Field(None, description="of those questions")
    choices: SteeringChoices | None = Field(None, description="by the answer that is generated")
