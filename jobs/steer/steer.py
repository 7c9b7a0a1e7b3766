"""The work of the job; what it reads and writes is declared in jobs.steer."""

from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from analysis.activations.direction import null_directions
from analysis.activations.steering import steering_effect
from analysis.stats.intervals import ALPHA
from common.errors import ExitCode
from common.lm.activations import capture
from common.lm.budget import Budget
from common.lm.chat import LanguageModel
from common.lm.directions import Direction, read_direction, refuse_untested
from common.lm.likelihood import reply_tokens
from common.lm.load import load
from common.lm.margins import TEXTS, ByLength, NeutralText, PromptWithReplies, one_order_each, prompts_in_both_orders
from common.lm.passages import reply_passages
from common.lm.sources import MODEL
from common.lm.steering import Doses, doses, effects
from common.pipeline.step import Step
from common.records import Advice, ControlPair, Item, Steering
from common.schemas import Interval
from common.serialization import read_jsonl
from common.stance.items import ITEMS, NEUTRAL, paragraphs, read_items
from common.steering_schemas import (
    Against,
    SteeringControl,
    SteeringLevel,
    SteeringSummary,
    SteeringTest,
    Tested,
)
from jobs.steer import CONTROL
from jobs.steer.causes import Tests

Floats = NDArray[np.float64]
ORDERS: tuple[Literal[0, 1], Literal[0, 1]] = (0, 1)
CONTROL_KIND = "covariance"  # the nulls that the steering control must beat


class Grid(NamedTuple):
    """Doses and effects of the directions of one kind."""

    doses: Doses
    effects: Floats  # (n_directions, 2, n_levels, n_questions): change of the margin, nats


def main(step: Step) -> ExitCode:
    """Control first, then the grid."""
    refuse_untested(step, step.cell)
    settings = step.spec.steer
    direction = read_direction(step, step.cell)
    lm = load(step.fact(MODEL), precision=getattr(torch, direction.dtype))
    neutral = NeutralText(lm, neutral_texts(step)[:TEXTS], settings.text_tokens, direction.layer)
    directions = {"caution": direction.unit[None], **null_units(step, direction)}
    control, passed = steering_control(step, lm, direction, neutral, directions[CONTROL_KIND])
    found = SteeringSummary(layer=direction.layer, control=control, measured=False)
    rows: list[Steering] = []
    if passed:
        prompts = one_order_each(prompts_in_both_orders(lm, held_out(step)))
        readout, targets = ByLength(lm, prompts), settings.off_target_kl
        tests = Tests(step, lm, direction, prompts, neutral)
        needed = budget(tests, readout, sum(map(len, directions.values())), len(targets))
        step.log.event("budget", **needed.told(settings.draws))
        grids: dict[str, Grid] = {}
        for done, (kind, units) in enumerate(directions.items(), start=1):
            given = doses(neutral, units, targets, length_of(direction))
            grids[kind] = Grid(given, effects(partial(readout.steered, direction.layer), units, given))
            step.progress(done, len(directions) + len(tests.all))
        rows = rows_of(step, grids, prompts)
        units = np.concatenate([directions["caution"], directions[CONTROL_KIND]])
        largest = [grids[kind].doses.level(-1) for kind in ("caution", CONTROL_KIND)]
        given = Doses(*(np.concatenate(parts) for parts in zip(*largest, strict=True)))
        made: dict[Tested, SteeringTest] = {}
        for name, test in tests.all.items():
            made[name] = test(units, given)
            step.progress(len(grids) + len(made), len(directions) + len(tests.all))
        found = summary(step, control, direction.layer, grids, prompts, made)
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
        "isotropic": isotropic / np.linalg.norm(isotropic, axis=1, keepdims=True),
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
    given = doses(neutral, units, targets, length_of(direction))
    pushed = effects(partial(readout.steered, direction.layer), units, given)[:, :, 0]
    names = [each.group for each in readout.prompts]
    found = steering_effect(pushed[0], {CONTROL_KIND: pushed[1:]}, names)
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


def length_of(direction: Direction) -> float:
    """Of a typical residual at the chosen layer."""
    return float(np.linalg.norm(direction.base.astype(np.float64), axis=1).mean())


def budget(tests: Tests, readout: ByLength, directions: int, levels: int) -> Budget:
    """What the grid and the tests will take, in passes over the questions as the grid makes them, one vector each."""
    return Budget.measured(
        lambda: readout.steered(tests.direction.layer, np.zeros((1, len(tests.direction.unit)))),
        {"grid": directions * 2.0 * levels, **tests.passes()},
    )


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


def rows_of(step: Step, grids: dict[str, Grid], prompts: Sequence[PromptWithReplies]) -> list[Steering]:
    """One row for each vector and question."""
    rows = []
    for kind, grid in grids.items():
        for at in np.ndindex(*grid.doses.coefficients.shape):
            number, sign, level = at
            for question, each in enumerate(prompts):
                rows.append(
                    Steering(
                        kind=kind,
                        number=number,
                        sign=1 if sign == 0 else -1,
                        target_kl=step.spec.steer.off_target_kl[level],
                        coefficient=float(grid.doses.coefficients[at]),
                        off_target_kl=float(grid.doses.off_target_kl[at]),
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
    tests: dict[Tested, SteeringTest],
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
        tests=tests,
    )


def level_of(target: float, level: int, grids: dict[str, Grid], topics: Sequence[str]) -> SteeringLevel:
    """The direction of caution beside each kind of null at one off-target KL."""
    nulls = {kind: grid.effects[:, :, level] for kind, grid in grids.items() if kind != "caution"}
    found = steering_effect(grids["caution"].effects[0, :, level], nulls, topics)
    along, back = grids["caution"].doses.coefficients[0, :, level].tolist()
    return SteeringLevel(
        off_target_kl=target,
        coefficient=(along, back),
        reached={kind: grid.doses.off_target_kl[:, :, level].mean().item() for kind, grid in grids.items()},
        odd=Interval.of(found.odd),
        even=found.even,
        against={kind: Against.of(each) for kind, each in found.against.items()},
    )
