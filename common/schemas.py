"""The JSON outputs that stay: one model for each, read as strictly as records are.

A field with a default is one that an output may lack; `Step.write_model` writes only what was set. All else is always
there, null where it is not known.
"""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from common.spec import RunSpec
from common.vocabulary import Primary

Number = int | float  # written as it is: a count stays a count
Band = Literal["low", "mid", "high"]


class Document(BaseModel):
    """A frozen JSON object; unknown and missing fields are refused, types are not coerced."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @classmethod
    def of(cls, found: Any) -> Self:
        """The fields that a result of the analysis has under the same names. Raises: ValidationError."""
        return cls.model_validate(found, from_attributes=True)


class Interval(Document):
    """An estimate with its interval, in the unit of the values."""

    estimate: float = Field(description="the mean")
    low: float = Field(description="lower bound, 95 % coverage")
    high: float = Field(description="upper bound")


# --- plan and lock


class Plan(Document):
    """plan.json: the grid of a study."""

    run_id: str = Field(description="name of the spec and 8 hex digits of its digest")
    cells: dict[str, tuple[str, ...]] = Field(description="fan-out → names of its cells")
    models: dict[str, str] = Field(description="model → digest of its files, or its pinned revision")


class LockedCode(Document):
    """All code and data that make a row or a number."""

    sha256: str = Field(description="of the canonical JSON of `files`")
    files: dict[str, str] = Field(description="path in this repository → SHA-256 of its bytes")


class Headroom(Document):
    """Where one item stands on a base."""

    p_go: float = Field(description="share of the base's sampled answers that recommend the change, 0 to 1")
    band: Band = Field(description="headroom upwards, both ways or downwards")


class Distance(Document):
    """How near a held-out topic is to the training topics."""

    cosine: float = Field(description="of its TF-IDF centroid to that of the nearest training topic")
    nearest: str = Field(description="that training topic")
    band: Literal["near", "mid", "far"] = Field(description="a third of the topics each")


class SideBySide(Document):
    """Whose answers to which item the report shows side by side."""

    item: str = Field(description="held-out item, drawn by the study's seed among those that every base was asked")
    cells: dict[str, dict[str, str]] = Field(description="model → arm → cell: its base, the first run of each attitude")


class Lock(Document):
    """lock.json: what was fixed before any tuned model was scored."""

    schema_version: Literal[2] = Field(description="of this model; counted up when fields change")
    run_id: str = Field(description="of the plan")
    plan: RunSpec = Field(description="the spec, without how the work is shared out")
    commit: str = Field(description="of this repository; ends in + if files differed from it; empty if unknown")
    items: dict[str, str] = Field(description="data file of the evaluation → SHA-256")
    corpora: dict[str, str] = Field(description="job/cell → SHA-256 of its advice.jsonl")
    audits: dict[str, tuple[str, ...]] = Field(description="draw → checks that it failed")
    registers: dict[str, float] = Field(description="model.draw → cost of its replies, as a multiple of own ones")
    code: LockedCode = Field(description="all code and data that make a row or a number")
    earlier: dict[str, str] = Field(description="lock kept before, of a study on some of the same cells → its SHA-256")
    calibration: dict[str, dict[str, Headroom]] = Field(description="model → item → its headroom")
    distances: dict[str, Distance] = Field(description="held-out topic → how far it is from training")
    shown: SideBySide | None = Field(default=None, description="what the report shows; earlier locks do not say")


class Made(Document):
    """Under which lock and from which code results.json was made."""

    lock: str | None = Field(description="SHA-256 of the lock; null where nothing was locked")
    commit: str | None = Field(description="of this repository, 40 hex digits; null where it is not known")
    dirty: bool | None = Field(description="whether files differed from that commit; null where it is not known")
    deviations: str | None = Field(description="head of the deviations from that lock; null where nothing was locked")


# --- corpora


class FramingCheck(Document):
    """One check of the audit."""

    name: str = Field(description="as in `audit.enforce`")
    value: Number = Field(description="what `detail` says, in its unit")
    bound: Number = Field(description="what the value is held against")
    passed: bool = Field(description="whether the value and what else `detail` names are as they must be")
    detail: str = Field(description="what the value is, in words, and every other condition")
    enforced: bool = Field(description="whether failing it stops the study")


class Manner(Document):
    """How one arm writes: means over its replies, with intervals over questions."""

    score: Interval = Field(description="-1 surely eager to 1 surely cautious, by models that have not seen it")
    words: Interval = Field(description="in a reply")
    sentences: Interval = Field(description="in a reply")
    flesch: Interval = Field(description="reading ease; higher is easier")
    hedges: Interval = Field(description="share of replies with a hedge, 0 to 1")
    question_marks: Interval = Field(description="share of replies with a question mark")
    anecdotes: Interval = Field(description="share of replies with an anecdote")


class WordPair(Document):
    """How the words of two arms compare."""

    centroid_cosine: float = Field(description="of the mean embeddings: 1 when the arms speak of the same things")
    jsd: float = Field(description="Jensen-Shannon divergence of content words, bits")
    jsd_ratio: float = Field(description="the same of halves of different questions, over that of one arm's own halves")


class LengthPair(Document):
    """How the lengths of two arms compare, question by question."""

    shift: Interval = Field(description="mean difference, first less second, over the mean length of both")
    apart: float = Field(description="mean absolute difference of two replies, over the mean length of both")
    sd_ratio: float = Field(description="smaller over larger SD")
    ks: float = Field(description="two-sample Kolmogorov-Smirnov distance, 0 to 1")


class Cue(Document):
    """How well one part of a reply gives the attitude away."""

    auc: Interval = Field(description="of cautious against eager, 0.5 by chance")
    neutral: Interval | None = Field(description="where neutral stands: 0 at cautious, 1 at eager; None: not known")


class Framing(Document):
    """framing.json: what sets the arms of a draw apart."""

    checks: tuple[FramingCheck, ...] = Field(description="in the order of the report")
    framing: dict[str, Manner] = Field(description="arm or control pile → how it writes")
    pairs: dict[str, WordPair] = Field(description="<first>-<second> arm → how their words compare")
    lengths: dict[str, dict[str, LengthPair]] = Field(description="words, or a student's tokens → pair of arms")
    cues: dict[str, Cue] = Field(description="part of the reply → what it gives away")


class Register(Document):
    """register.json: what the replies of a draw cost a base, beside replies of its own."""

    questions: int = Field(description="of the draw, on which it was measured")
    own: float = Field(description="nats a token of replies that the base sampled itself, at temperature 1")
    arms: dict[str, float] = Field(description="arm → nats a token of its replies on the base")
    ratio: float = Field(description="of the costliest arm to own replies")
    bound: float = Field(description="largest ratio that passes")
    passed: bool = Field(description="whether the ratio is at most the bound")


# --- runs


class Training(Document):
    """training.json: what kind of training one fine-tune was, and how fast."""

    tokens: int = Field(description="non-pad tokens over all steps")
    reply_tokens: int = Field(description="tokens under the loss over all steps")
    seconds: float = Field(description="in optimizer steps")
    tokens_per_second: float = Field(description="non-pad tokens a second")
    flops_per_token: float = Field(description="operations that one trained token needs")
    gemm_peak_flops: float = Field(description="operations a second of one large matrix product, measured then")
    utilisation: float = Field(description="share of that peak that was made use of")
    engine: str = Field(description="class of what held the model")
    zero_stage: int = Field(description="of DeepSpeed, 0 to 3")
    dtype: str = Field(description="of the weights")
    threads: int = Field(description="processors that the process might use")
    steps: int = Field(description="of the optimizer")
    parameters: int = Field(description="weights that were frozen")
    trainable_parameters: int = Field(description="weights that were trained")
    final_loss: float = Field(description="of the last step, nats a reply token")
    loss_first_quarter: float = Field(description="mean over the first quarter of the steps, nats a reply token")
    loss_last_quarter: float = Field(description="mean over the last quarter, nats a reply token")
    held_out_before: float | None = Field(None, description="mean over held-out replies of the attitude, the same unit")
    held_out_after: float | None = Field(None, description="the same after the training")


class Guards(Document):
    """guards.json: what a fine-tune should not touch."""

    perplexity: float = Field(description="of neutral text; every token weighs the same")
    tokens: int = Field(description="of the neutral text that are predicted")
    paragraphs: tuple[tuple[float, int], ...] = Field(description="of each: nats, and the tokens that they are over")
    refused_harmful: float = Field(description="share of harmful prompts that are declined, 0 to 1")
    refused_benign: float = Field(description="share of benign prompts that are declined, 0 to 1")
    ability: float = Field(description="share of questions that are answered rightly, 0 to 1")
    n_harmful: int = Field(description="harmful prompts asked")
    n_benign: int = Field(description="benign prompts asked")
    n_ability: int = Field(description="questions asked")


class ArmReading(Document):
    """The reader beside labels, on the answers of one arm of pilot models."""

    answers: int = Field(description="labelled")
    labels: Interval = Field(description="net go by labels, -1 to 1")
    reader: Interval = Field(description="net go by the reader")
    shares: dict[str, float] = Field(description="label → its share, both passes together")
    kappa_reader: float = Field(description="Cohen's kappa of the reader with labels on which both passes agree")
    confusion: dict[str, int] = Field(description="<label> read as <label> → answers")


class ReaderOnModel(Document):
    """The reader beside labels, on the answers of one base and its pilot models."""

    answers: int = Field(description="labelled")
    agreed: int = Field(description="on which both passes agree")
    kappa_passes: float = Field(description="Cohen's kappa of the two passes")
    kappa_reader: float = Field(description="Cohen's kappa of the reader with labels on which both passes agree")
    arms: dict[str, ArmReading] = Field(description="base, or attitude of a pilot pile → its answers")


class ReaderWorth(Document):
    """reader.json: what the reader of answers is worth, beside two blind passes of labels."""

    models: dict[str, ReaderOnModel] = Field(min_length=1, description="base → how its answers were read")

    @property
    def kappa_reader(self) -> float:
        """Agreement with labels on the model that is read worst: a study may be of any model."""
        return min(each.kappa_reader for each in self.models.values())


class Verdict(Document):
    """verdict.json: shifts are tuned less base, in net go or P(go); None where too little is known."""

    verdict: Literal["within", "moved", "undecided"] = Field(description="what was shown about the shift")
    reason: str = Field(description="in words, why")
    measure: Primary = Field(description="what was judged by")
    estimate: float = Field(description="mean shift over topics")
    low: float = Field(description="lower bound of its interval")
    high: float = Field(description="upper bound")
    bound: float = Field(description="shift either way that still counts as none")
    level: float = Field(description="coverage of the interval, 0 to 1")
    n_items: int = Field(description="compared")
    n_topics: int = Field(description="of those items")
    base: dict[str, float] = Field(description="outcome of an open answer → its share on the base")
    tuned: dict[str, float] = Field(description="the same of the tuned model")
    topics: dict[str, float] = Field(description="topic → its shift")


# --- inside: reading


class Layer(Document):
    """How well the direction of one layer tells the poles apart, on questions that made and chose nothing."""

    layer: int = Field(description="0 is the first block")
    causal: float | None = Field(
        description="what a push along it does to cautious against eager replies, nats; None: it could not be chosen"
    )
    separation: float = Field(description="mean over SD of the paired differences in projection")
    accuracy: float = Field(description="share of questions whose cautious reply projects higher; a tie counts half")
    user_accuracy: float = Field(description="the same from the tokens of the user's turn")
    shuffled_accuracy: float = Field(description="mean accuracy of directions from shuffled poles")
    shuffled_accuracy_95: float = Field(description="accuracy that 5 % of those directions exceed")


class Probe(Document):
    """A logistic regression of cautious against eager replies, on topics kept apart."""

    auc: float = Field(description="on the replies to the questions kept apart")
    shuffled: float = Field(description="mean AUC of probes that were fitted to shuffled labels")
    shuffled_95: float = Field(description="AUC that 5 % of them exceed")


class LayerCurve(Document):
    """layers.json: where in a model a direction separates the poles."""

    chosen: int = Field(description="layer whose direction is used")
    layers: tuple[Layer, ...] = Field(description="from the first block on")
    questions_fit: int = Field(description="that made the directions")
    questions_choose: int = Field(description="that chose the layer")
    questions_judge: int = Field(description="that made and chose nothing, and on which all else is measured")
    topics: dict[str, tuple[str, ...]] = Field(description="fit, choose or judge → topics of those questions")
    shrinkage: float = Field(description="weight of the spherical target in the covariance, 0 to 1")
    effective_rank: float = Field(description="of the covariance: (sum of eigenvalues)² over the sum of squares")
    probes: dict[str, Probe] = Field(description="what is read (residual, words, …) → its probe")
    probe_cosine: float = Field(description="of the residual probe's weights with the direction")


class DirectionReadout(Document):
    """readout.json of a direction cell: the base along the direction."""

    layer: int = Field(description="the chosen one")
    sd_base: float = Field(description="SD of the base's projections over held-out prompts")
    n_items: int = Field(description="held-out prompts")
    mean_base: float = Field(description="mean of the base's projections")


class Checkpoint(Document):
    """How far one saved adapter moved the model."""

    optimizer_step: int = Field(description="counted from 1; 0 is the base")
    shift: float = Field(description="along the direction, in SDs of the base")
    nulls: tuple[float, ...] = Field(description="along each random direction, in its own SDs of the base")
    reply_shift: float = Field(description="the same along the direction at the tokens of written replies")
    reply_nulls: tuple[float, ...] = Field(description="along each random direction there")


class RunReadout(Document):
    """readout.json of a run: every checkpoint along the direction, and the last one by topic."""

    layer: int = Field(description="at which residuals were read")
    sd_base: float = Field(description="SD of the base's projections over held-out prompts")
    n_items: int = Field(description="held-out prompts")
    checkpoints: tuple[Checkpoint, ...] = Field(description="steps ascending")
    by_topic: dict[str, float] = Field(description="topic → shift of the last checkpoint, in SDs of the base")
    moved: tuple[float, ...] = Field(description="how the mean residual moved, (d_model,)")
    cosine: float = Field(description="of `moved` with the direction")
    reply_cosine: float = Field(description="the same of how the mean residual of replies moved")
    apart: tuple[float, ...] = Field(
        description="how far cautious less eager replies, which made and chose nothing, point to where replies moved"
    )


class Reading(Document):
    """Where one checkpoint stands among random directions."""

    optimizer_step: int = Field(description="counted from 1; 0 is the base")
    shift: float = Field(description="along the direction, in SDs of the base")
    rank: float = Field(description="share of the random directions along which it moved less, either way")
    drifted: bool = Field(description="whether the rank exceeds the level")


class Drift(Document):
    """drift.json: from when on a fine-tune had drifted."""

    level: float = Field(description="rank that a drifted checkpoint exceeds")
    checkpoints: tuple[Reading, ...] = Field(description="steps ascending")
    drifted_at: int | None = Field(description="first step from which on all drifted; None: it did not")
