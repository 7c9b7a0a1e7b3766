"""The work of the job; what it reads and writes is declared in jobs.steer."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from analysis.activations.direction import null_directions
from analysis.activations.steering import compare_with_nulls, steering_effect
from analysis.stats.intervals import ALPHA
from common.errors import ExitCode
from common.lm.activations import capture
from common.lm.chat import LanguageModel
from common.lm.directions import Direction, read_direction, refuse_untested
from common.lm.generation import extend, repeated
from common.lm.layers import changed
from common.lm.likelihood import reply_tokens
from common.lm.load import load
from common.lm.margins import ByLength, NeutralText, PromptWithReplies, one_order_each, prompts_in_both_orders
from common.lm.passages import reply_passages
from common.lm.sources import MODEL
from common.pipeline.step import Step
from common.records import Advice, ControlPair, Item, Steering
from common.schemas import Interval
from common.serialization import read_jsonl
from common.stance.items import ITEMS, NEUTRAL, paragraphs, read_items
from common.stance.prompts import NO, YES, closed_turns
from common.steering_schemas import (
    Against,
    SteeredAnswers,
    SteeringChoices,
    SteeringControl,
    SteeringLevel,
    SteeringSummary,
)
from common.vocabulary import SIDES
from jobs.steer import CONTROL
from jobs.steer.coefficients import matched

Floats = NDArray[np.float64]
SIGNS = np.array([1.0, -1.0])
ORDERS: tuple[Literal[0, 1], Literal[0, 1]] = (0, 1)
CONTROL_KIND = "covariance"  # the nulls that the steering control must beat
CHOICE_ROWS = 192  # prompts x vectors that are answered at once
TEXTS = 4  # neutral paragraphs on which off-target KL is measured


class Grid(NamedTuple):
    """Coefficients and effects of the directions of one kind."""

    coefficients: Floats  # (n_directions, 2 signs, n_levels)
    off_target_kl: Floats  # the same shape: measured there, nats a token
    effects: Floats  # (n_directions, 2, n_levels, n_questions): change of the margin, nats


def main(step: Step) -> ExitCode:
    """Control first, then the grid."""
    refuse_untested(step, step.cell)
    settings = step.spec.steer
    direction = read_direction(step, step.cell)
    lm = load(step.fact(MODEL), precision=getattr(torch, direction.dtype))
    neutral = NeutralText(lm, neutral_texts(step)[:TEXTS], settings.text_tokens, direction.layer)
    nulls = null_units(step, direction)
    control, passed = steering_control(step, lm, direction, neutral, nulls[CONTROL_KIND])
    found = SteeringSummary(layer=direction.layer, control=control, measured=False)
    rows: list[Steering] = []
    if passed:
        prompts = one_order_each(prompts_in_both_orders(lm, held_out(step)))
        directions = {"caution": direction.unit[None], **nulls}
        grids = measure(step, ByLength(lm, prompts), neutral, direction, directions)
        rows = rows_of(step, grids, prompts)
        answers = choices(step, lm, direction.layer, directions, grids)
        found = summary(step, control, direction.layer, grids, prompts, answers)
    else:
        told = control.model_dump(mode="json")
        step.log.event("stopped", reason="the steering control does not steer, so nothing is measured", control=told)
    step.write_records("steering.jsonl", rows)
    step.write_model("steering.json", found)
    last = found.levels[-1].odd.estimate if passed else None
    step.summary(layer=direction.layer, control=passed, effect=last, vectors=len(rows))
    return ExitCode.OK


def neutral_texts(step: Step) -> list[str]:
    """Texts on which nothing should change."""
    return paragraphs(step.data(NEUTRAL).read_text())


def held_out(step: Step) -> list[Item]:
    """The first items of each topic."""
    return read_items(step.data(ITEMS), step.spec.steer.items_per_topic)


def null_units(step: Step, direction: Direction) -> dict[str, Floats]:
    """Unit vectors (n, d_model) of each kind of null."""
    many = step.spec.steer.nulls
    rng = step.rng("steer", step.cell.model, step.cell.draw)
    isotropic = rng.standard_normal((many, len(direction.unit)))
    return {
        "norm": isotropic / np.linalg.norm(isotropic, axis=1, keepdims=True),
        "covariance": null_directions(direction.covariance, direction.ridge, many, rng),
        "shuffled": direction.shuffled[:many].astype(np.float64),
        "unrelated": direction.unrelated[:many].astype(np.float64),
    }


def steering_control(
    step: Step, lm: LanguageModel, direction: Direction, neutral: NeutralText, nulls: Floats
) -> tuple[SteeringControl, bool]:
    """Steer along pleased minus displeased, at the largest off-target KL, on topics that did not make the direction."""
    pairs = read_jsonl(step.data(CONTROL), ControlPair)
    topics = sorted({pair.topic for pair in pairs})
    apart = [pair for pair in pairs if pair.topic in topics[1::2]]
    trait = trait_of(lm, direction.layer, [pair for pair in pairs if pair.topic in topics[::2]])
    readout = ByLength(lm, [control_asked(lm, pair) for pair in apart])
    units = np.concatenate([trait[None] / np.linalg.norm(trait), nulls])
    targets = step.spec.steer.off_target_kl[-1:]
    grid = sweep(readout, neutral, direction, units, targets)
    names = [each.group for each in readout.prompts]
    found = steering_effect(grid.effects[0, :, 0], {CONTROL_KIND: grid.effects[1:, :, 0]}, names)
    against = found.against[CONTROL_KIND]
    passed = found.odd.estimate > 0 and against.p <= ALPHA
    control = SteeringControl(
        trait="pleased - displeased",
        off_target_kl=targets[0],
        questions=len(apart),
        passed=passed,
        odd=Interval.of(found.odd),
        even=found.even,
        against=Against.of(against),
    )
    return control, passed


def trait_of(lm: LanguageModel, layer: int, pairs: Sequence[ControlPair]) -> Floats:
    """Mean residual of the pleased replies less that of the displeased ones, (d_model,)."""
    rows = [
        Advice(question_id=pair.id, topic=pair.topic, attitude=trait, question=pair.question, reply=reply)
        for pair in pairs
        for trait, reply in (("pleased", pair.pleased), ("displeased", pair.displeased))
    ]
    found = capture(lm.model, reply_passages(lm, rows), [layer], 16)[:, 0, 0]
    residuals = found.reshape(len(pairs), 2, -1).astype(np.float64)
    return np.asarray((residuals[:, 0] - residuals[:, 1]).mean(axis=0))


def control_asked(lm: LanguageModel, pair: ControlPair) -> PromptWithReplies:
    """A question of the control; the margin is that of the pleased reply."""
    options = (reply_tokens(lm, pair.question, pair.pleased), reply_tokens(lm, pair.question, pair.displeased))
    return PromptWithReplies(pair.id, pair.topic, lm.chat(pair.question), options)


def measure(
    step: Step, readout: ByLength, neutral: NeutralText, direction: Direction, directions: dict[str, Floats]
) -> dict[str, Grid]:
    """Every direction, sign and off-target KL. Isotropic ones get the very coefficients of the direction of caution."""
    targets = step.spec.steer.off_target_kl
    grids: dict[str, Grid] = {}
    for done, (kind, units) in enumerate(directions.items(), start=1):
        given = np.repeat(grids["caution"].coefficients, len(units), axis=0) if kind == "norm" else None
        grids[kind] = sweep(readout, neutral, direction, units, targets, given)
        step.progress(done, len(directions))
    return grids


def sweep(
    readout: ByLength,
    neutral: NeutralText,
    direction: Direction,
    units: Floats,
    targets: Sequence[float],
    coefficients: Floats | None = None,
) -> Grid:
    """Coefficients and effects of unit vectors (n, d_model).

    Of equal off-target KL, unless coefficients (n, 2, n_levels) are given.
    """
    signed = (units[:, None] * SIGNS[:, None]).reshape(-1, units.shape[1])
    shape = (len(units), 2, len(targets))
    if coefficients is None:
        length = float(np.linalg.norm(direction.base.astype(np.float64), axis=1).mean())
        flat, reached = matched(neutral.divergence, signed, targets, length)
    else:
        flat = coefficients.reshape(-1, len(targets))
        reached = np.stack([neutral.divergence(column[:, None] * signed) for column in flat.T], axis=1)
    vectors = (flat[..., None] * signed[:, None]).reshape(-1, units.shape[1])
    margins = readout.steered(direction.layer, np.concatenate([np.zeros((1, units.shape[1])), vectors]))
    effects = (margins[1:] - margins[0]).reshape(*shape, -1)
    return Grid(flat.reshape(shape), reached.reshape(shape), effects)


def rows_of(step: Step, grids: dict[str, Grid], prompts: Sequence[PromptWithReplies]) -> list[Steering]:
    """One row for each vector and question."""
    rows = []
    for kind, grid in grids.items():
        for at in np.ndindex(*grid.coefficients.shape):
            number, sign, level = at
            for question, each in enumerate(prompts):
                rows.append(
                    Steering(
                        kind=kind,
                        number=number,
                        sign=1 if sign == 0 else -1,
                        target_kl=step.spec.steer.off_target_kl[level],
                        coefficient=float(grid.coefficients[at]),
                        off_target_kl=float(grid.off_target_kl[at]),
                        item=each.name,
                        topic=each.group,
                        order=ORDERS[question % 2],
                        effect=float(grid.effects[(*at, question)]),
                    )
                )
    return rows


def summary(
    step: Step,
    control: SteeringControl,
    layer: int,
    grids: dict[str, Grid],
    prompts: Sequence[PromptWithReplies],
    told: SteeringChoices,
) -> SteeringSummary:
    """The direction of caution beside each kind of null, level by level. Positive effects lean towards change."""
    topics = [each.group for each in prompts]
    levels = enumerate(step.spec.steer.off_target_kl)
    return SteeringSummary(
        layer=layer,
        control=control,
        measured=True,
        levels=tuple(level_of(target, level, grids, topics) for level, target in levels),
        questions=len(prompts),
        topics=len(set(topics)),
        choices=told,
    )


def level_of(target: float, level: int, grids: dict[str, Grid], topics: Sequence[str]) -> SteeringLevel:
    """The direction of caution beside each kind of null at one off-target KL."""
    nulls = {kind: grid.effects[:, :, level] for kind, grid in grids.items() if kind != "caution"}
    found = steering_effect(grids["caution"].effects[0, :, level], nulls, topics)
    along, back = grids["caution"].coefficients[0, :, level].tolist()
    return SteeringLevel(
        off_target_kl=target,
        coefficient=(along, back),
        reached={kind: grid.off_target_kl[:, :, level].mean().item() for kind, grid in grids.items()},
        odd=Interval.of(found.odd),
        even=found.even,
        against={kind: Against.of(each) for kind, each in found.against.items()},
    )


def choices(
    step: Step, lm: LanguageModel, layer: int, directions: dict[str, Floats], grids: dict[str, Grid]
) -> SteeringChoices:
    """What is answered, and how often validly, under each direction at the off-target KL in the middle of the grid."""
    level = len(step.spec.steer.off_target_kl) // 2
    answers = answerer(lm, layer, held_out(step))
    base = answers(np.zeros((1, lm.model.config.hidden_size)))[0]
    both: dict[str, Floats] = {}
    for kind, units in directions.items():
        vectors = (grids[kind].coefficients[..., level] * SIGNS)[..., None] * units[:, None]
        both[kind] = answers(vectors.reshape(-1, units.shape[1])).reshape(len(units), 2, -1)
    return SteeringChoices(
        off_target_kl=step.spec.steer.off_target_kl[level],
        base=float(base.mean()),
        **answers_told(both),
    )


def answerer(lm: LanguageModel, layer: int, items: Sequence[Item]) -> Callable[[Floats], Floats]:
    """What asks every item by yes or no, under both keys and in both orders, under each of some vectors.

    The answers are 1 for the change and 0 against it, by the likelier of Yes and No: (n_vectors, n_prompts).
    """
    questions = [(key, closed_turns(item, order).yes_no[key]) for item in items for order in ORDERS for key in SIDES]
    prompts = [lm.chat(words) for _, words in questions]
    yes, no = (torch.tensor([reply_tokens(lm, words, word)[0] for _, words in questions]) for word in (YES, NO))
    go = np.array([key == "go" for key, _ in questions])
    with torch.inference_mode():
        before = extend(lm, [prompt[:-1] for prompt in prompts])

    def some(vectors: Floats) -> Floats:
        added = torch.tensor(vectors, dtype=lm.model.dtype, device=lm.model.device)
        rows = added.repeat(len(prompts), 1)[:, None]  # prompt by prompt, as `repeated` has them
        tokens = [prompt[-1:] for prompt in prompts for _ in added]
        with torch.inference_mode(), changed(lm.model, {layer: partial(torch.add, rows)}):
            logits = extend(lm, tokens, repeated(before, len(added))).logits[:, -1].float().cpu()
        logits = logits.view(len(prompts), len(added), -1)
        said = logits.gather(2, torch.stack([yes, no], dim=1)[:, None].expand(-1, len(added), -1))
        return np.asarray((said[..., 0] > said[..., 1]).numpy() == go[:, None], dtype=np.float64).T

    many = max(1, CHOICE_ROWS // len(prompts))
    return lambda vectors: np.concatenate([some(vectors[at : at + many]) for at in range(0, len(vectors), many)])


def answers_told(both: dict[str, Floats]) -> dict[str, SteeredAnswers]:
    """The answers under each kind of direction, (n_directions, 2 signs, n_prompts), and where caution ranks."""
    sizes = {kind: ((values[:, 0] - values[:, 1]).mean(axis=-1) / 2).tolist() for kind, values in both.items()}
    return {
        kind: SteeredAnswers(
            odd=float(np.mean(mine)),
            **({} if kind == "caution" else {"p": compare_with_nulls(sizes["caution"][0], mine, 0.0, 1).p}),
        )
        for kind, mine in sizes.items()
    }
