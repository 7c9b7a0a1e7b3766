"""Whole JSON outputs for tests that care about a field or two; the rest is plausible and stays as it is."""

from collections.abc import Sequence
from typing import Any

from common.schemas import (
    Checkpoint,
    Framing,
    FramingCheck,
    Guards,
    Interval,
    Layer,
    LayerCurve,
    Lock,
    LockedCode,
    Probe,
    Reading,
    RunReadout,
    Training,
    Verdict,
)
from common.spec import RunSpec
from common.steering_schemas import (
    Against,
    SteeredAnswers,
    SteeringChoices,
    SteeringControl,
    SteeringLevel,
    SteeringSummary,
)

SPEC = RunSpec.model_validate_json('{"name": "x", "models": [{"name": "m", "source": "path:m"}]}')


def guards(**changes: Any) -> Guards:
    facts: dict[str, Any] = {
        "perplexity": 20.5,
        "tokens": 1000,
        "paragraphs": ((1500.0, 500), (1520.0, 500)),
        "refused_harmful": 0.5,
        "refused_benign": 0.0,
        "ability": 1.0,
        "n_harmful": 16,
        "n_benign": 16,
        "n_ability": 16,
    }
    return Guards(**facts | changes)


def lock(**changes: Any) -> Lock:
    facts: dict[str, Any] = {
        "schema_version": 2,
        "run_id": "x-00000000",
        "plan": SPEC,
        "commit": "c0ffee",
        "items": {},
        "corpora": {},
        "audits": {},
        "registers": {},
        "code": LockedCode(sha256="0" * 64, files={}),
        "earlier": {},
        "calibration": {},
        "distances": {},
    }
    return Lock(**facts | changes)


def framing(checks: Sequence[FramingCheck]) -> Framing:
    return Framing(checks=tuple(checks), framing={}, pairs={}, lengths={}, cues={})


def training(**changes: Any) -> Training:
    facts: dict[str, Any] = {
        "tokens_per_second": 400.0,
        "tokens": 4000,
        "reply_tokens": 2000,
        "seconds": 10.0,
        "utilisation": 0.1,
        "gemm_peak_flops": 1e11,
        "flops_per_token": 1e9,
        "dtype": "float32",
        "engine": "DeepSpeedEngine",
        "steps": 8,
        "zero_stage": 1,
        "trainable_parameters": 1000,
        "parameters": 100000,
        "final_loss": 1.0,
        "loss_first_quarter": 2.0,
        "loss_last_quarter": 1.0,
        "threads": 1,
    }
    return Training(**facts | changes)


def verdict(**changes: Any) -> Verdict:
    facts: dict[str, Any] = {
        "verdict": "moved",
        "reason": "in words",
        "measure": "answer",
        "estimate": -0.3,
        "low": -0.4,
        "high": -0.2,
        "bound": 0.1,
        "level": 0.9,
        "n_items": 8,
        "n_topics": 4,
        "base": {"go": 0.5},
        "tuned": {"go": 0.2},
        "topics": {},
    }
    return Verdict(**facts | changes)


def layers(separations: Sequence[float], chosen: int, pruned_from: int, accuracy: float = 0.9) -> LayerCurve:
    shuffled = {"shuffled_accuracy": 0.5, "shuffled_accuracy_95": 0.7}
    probe = Probe(auc=0.93, shuffled=0.5, shuffled_95=0.66)
    return LayerCurve(
        chosen=chosen,
        pruned_from=pruned_from,
        layers=tuple(
            Layer(layer=number, separation=separation, accuracy=accuracy, user_accuracy=0.5, **shuffled)
            for number, separation in enumerate(separations)
        ),
        questions_fit=8,
        questions_apart=8,
        topics_fit=("kettles",),
        topics_apart=("lanes",),
        shrinkage=0.1,
        effective_rank=5.0,
        probes=dict.fromkeys(("residual", "words", "embeddings", "length"), probe),
        probe_cosine=0.5,
    )


def readout(checkpoints: Sequence[Checkpoint], **changes: Any) -> RunReadout:
    facts: dict[str, Any] = {
        "layer": 1,
        "sd_base": 2.0,
        "n_items": 8,
        "checkpoints": tuple(checkpoints),
        "by_topic": {},
        "moved": (1.0, 0.0),
        "cosine": 0.25,
    }
    return RunReadout(**facts | changes)


def reading(step: int, shift: float, drifted: bool) -> Reading:
    return Reading(optimizer_step=step, shift=shift, rank=0.97, drifted=drifted)


def against(**changes: Any) -> Against:
    facts: dict[str, Any] = {"nulls": 20, "p": 0.05, "null_95": 0.1, "threshold": 0.1, "detectable": 0.2}
    return Against(**facts | changes)


def control(**changes: Any) -> SteeringControl:
    facts: dict[str, Any] = {
        "trait": "pleased - displeased",
        "off_target_kl": 0.3,
        "questions": 12,
        "passed": True,
        "odd": Interval(estimate=2.0, low=1.0, high=3.0),
        "even": 0.0,
        "against": against(),
    }
    return SteeringControl(**facts | changes)


def level(size: float, **changes: Any) -> SteeringLevel:
    facts: dict[str, Any] = {
        "off_target_kl": size,
        "coefficient": (1.0, 1.0),
        "reached": {},
        "odd": Interval(estimate=-0.3, low=-0.5, high=-0.1),
        "even": 0.0,
        "against": {},
    }
    return SteeringLevel(**facts | changes)


def answers() -> SteeringChoices:
    null = SteeredAnswers(odd=0.0, p=0.3)
    return SteeringChoices(
        off_target_kl=0.1,
        base=0.5,
        caution=SteeredAnswers(odd=-0.04),
        norm=null,
        covariance=null,
        shuffled=SteeredAnswers(odd=0.0, p=0.05),
        unrelated=null,
    )


def steering(levels: Sequence[SteeringLevel] = (), **changes: Any) -> SteeringSummary:
    """Measured if there are levels."""
    facts: dict[str, Any] = {"layer": 1, "control": control(), "measured": bool(levels)}
    if levels:
        facts |= {"levels": tuple(levels), "questions": 8, "topics": 4, "choices": answers()}
    return SteeringSummary(**facts | changes)
