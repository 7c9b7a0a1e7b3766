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
    Mediated,
    Share,
    SteeringControl,
    SteeringLevel,
    SteeringSummary,
    SteeringTest,
    Tested,
    Trace,
    WrittenAlong,
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


def layers(separations: Sequence[float], chosen: int, accuracy: float = 0.9) -> LayerCurve:
    """Only every other layer was tried; a push does a tenth of what the layer separates."""
    shuffled = {"shuffled_accuracy": 0.5, "shuffled_accuracy_95": 0.7}
    probe = Probe(auc=0.93, shuffled=0.5, shuffled_95=0.66)
    return LayerCurve(
        chosen=chosen,
        layers=tuple(
            Layer(
                layer=number,
                causal=None if number % 2 != chosen % 2 else separation / 10,
                separation=separation,
                accuracy=accuracy,
                user_accuracy=0.5,
                **shuffled,
            )
            for number, separation in enumerate(separations)
        ),
        questions_fit=8,
        questions_choose=8,
        questions_judge=8,
        topics={"fit": ("kettles",), "choose": ("lanes",), "judge": ("mugs",)},
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
        "reply_cosine": 0.3,
        "apart": (1.0, 2.0, -1.0),
    }
    return RunReadout(**facts | changes)


def checkpoint(step: int, shift: float, nulls: Sequence[float]) -> Checkpoint:
    """At replies it moved half as far as at prompts, along all directions."""
    half = tuple(null / 2 for null in nulls)
    return Checkpoint(optimizer_step=step, shift=shift, nulls=tuple(nulls), reply_shift=shift / 2, reply_nulls=half)


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


def test_of(effect: float, p: float = 0.3) -> SteeringTest:
    odd = Interval(estimate=effect, low=effect - 0.1, high=effect + 0.1)
    return SteeringTest(questions=8, odd=odd, even=0.0, against=against(p=p), off_target_kl=0.1)


TESTS: tuple[Tested, ...] = ("prompt", "options", "ablation", "trait", "answers")


def share(estimate: float | None, gap: float) -> Share:
    bounds = (None, None) if estimate is None else (estimate - 0.1, estimate + 0.1)
    return Share(
        estimate=estimate, low=bounds[0], high=bounds[1], gap=Interval(estimate=gap, low=gap - 1, high=gap + 1)
    )


def trace(closed: float | None, gap: Sequence[float], p: float = 0.05) -> Trace:
    """Every instrument closes this share of the gap in every topic; None: the gap is not shown, and nothing closed."""
    mean = sum(gap) / len(gap)
    by_topic = {f"t{number}": value for number, value in enumerate(gap)}
    made = Mediated(
        share=share(closed, mean),
        by_topic={topic: value * (closed or 0.0) for topic, value in by_topic.items()},
        gap_by_topic=by_topic,
        nulls=(0.0,) * 20,
        p=p,
    )
    return Trace(
        layer=1,
        neutral="m.d0.neutral.s0",
        items=48,
        questions=96,
        gap=Interval(estimate=mean, low=mean - 0.1, high=mean + 0.1),
        items_needed=None if closed is None else 6,
        off_target_kl=0.1,
        sufficient=made,
        necessary=made,
        ablation=made,
        whole=made,
        weights=WrittenAlong(share=0.2, nulls=(0.1,) * 20, p=0.05, by_block=(0.0, 0.2)),
        patching={layer: {"reply": share(closed, mean), "everything": share(closed, mean)} for layer in ("0", "3")},
    )


def steering(levels: Sequence[SteeringLevel] = (), **changes: Any) -> SteeringSummary:
    """Measured if there are levels."""
    facts: dict[str, Any] = {"layer": 1, "control": control(), "measured": bool(levels)}
    if levels:
        facts |= {
            "levels": tuple(levels),
            "questions": 8,
            "topics": 4,
            "tests": {name: test_of(-0.2) for name in TESTS},
        }
    return SteeringSummary(**facts | changes)
