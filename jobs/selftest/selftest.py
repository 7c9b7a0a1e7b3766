"""The work of the job; what it reads and writes is declared in jobs.selftest."""

from collections.abc import Iterator
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from analysis.activations.direction import FIT, null_directions, sides_by_topic
from analysis.stats.intervals import ALPHA
from common.errors import ExitCode, JobError
from common.lm.activations import capture
from common.lm.chat import LanguageModel
from common.lm.directions import Direction, read_direction
from common.lm.layers import blocks_of, changed, decoder
from common.lm.load import load
from common.lm.margins import TEXT_TOKENS, TEXTS, NeutralText, Readout, prompts_in_both_orders
from common.lm.passages import pairs_of, prompt_passages, reply_passages
from common.lm.planted import planted
from common.lm.sources import MODEL
from common.pipeline.step import Step
from common.records import Advice, Item, by_attitude
from common.stance.items import ITEMS, NEUTRAL, paragraphs, read_items
from common.steering_schemas import SelfTest, SelfTestCheck
from jobs.selftest.truth import planted_truth

Floats = NDArray[np.float64]
TOPICS = 4  # held-out items on which margins are taken, one a topic
NATS = 1e-3  # by which two ways to the same margin may differ, relative to 1 + its size
CHECKS = 17
SHARE = 1e-2  # by which a whole gap may be missed
PLANTED = 0.5  # of the typical length of a residual
SHUFFLES = 400
FLIPS = 199
CHANCE = 0.999  # coverage of the count of false alarms that counts as nominal


def main(step: Step) -> ExitCode:
    """Run every check, seal them all."""
    direction = read_direction(step, step.cell)
    lm = load(step.fact(MODEL), precision=torch.float32)
    checks: list[SelfTestCheck] = []
    for check in chain(
        margins_checks(lm, direction, items(step)), null_rate(step, lm, direction), truth(step, lm, direction)
    ):
        checks.append(check)
        step.progress(len(checks), CHECKS)
    step.write_model("selftest.json", SelfTest(layer=direction.layer, checks=tuple(checks)))
    failed = [check.name for check in checks if not check.passed]
    step.summary(checks=len(checks), failed=failed)
    return ExitCode.BLOCKED if failed else ExitCode.OK


def items(step: Step) -> list[Item]:
    """One item of each of a few topics."""
    return read_items(step.data(ITEMS), 1)[:TOPICS]


def at_most(name: str, value: float, bound: float) -> SelfTestCheck:
    """A check that a size does not exceed its bound."""
    return SelfTestCheck(name=name, value=value, bound=bound, passed=bool(value <= bound))


def margins_checks(lm: LanguageModel, direction: Direction, held_out: list[Item]) -> Iterator[SelfTestCheck]:
    """All checks that need margins."""
    model, layer = lm.model, direction.layer
    unit = torch.tensor(direction.unit, dtype=torch.float32, device=model.device)
    readout = Readout(lm, prompts_in_both_orders(lm, held_out), whole=True)
    base = readout.under(model, {})

    def apart(one: Floats, other: Floats) -> float:
        return float((np.abs(one - other) / (1 + np.abs(other))).max())

    nothing = readout.under(model, {layer: lambda residual: residual + torch.zeros_like(unit)})
    yield at_most("zero-coefficient", float(np.abs(nothing - base).max()), 0.0)

    length = float(np.linalg.norm(direction.base, axis=1).mean())
    coefficient = PLANTED * length
    vector = coefficient * direction.unit
    reply = Readout(lm, readout.prompts)
    whole_passes = reply.under(model, {layer: lambda residual: residual + coefficient * unit})
    yield at_most("shared-blocks", apart(reply.steered(layer, vector[None])[0], whole_passes), NATS)

    def out_and_in(residual: Tensor) -> Tensor:
        part = (residual @ unit)[..., None] * unit
        return (residual - part) + part

    yield at_most("ablate-add", apart(readout.under(model, {layer: out_and_in}), base), NATS)

    passages = prompt_passages(lm, held_out)
    before = capture(model, passages, [layer], 16)[:, 0, 0].astype(np.float64)
    last = len(blocks_of(model)) - 1
    of_base = readout.residuals(model, [last])[last]
    with planted(model, layer, coefficient * unit):
        moved = (capture(model, passages, [layer], 16)[:, 0, 0] - before) @ direction.unit
        yield at_most("planted-read", float(np.abs(moved / coefficient - 1).max()), SHARE)
        goal = readout.under(model, {})
        taken = readout.under(model, {layer: lambda residual: residual - coefficient * unit})
        theirs = readout.residuals(model, [last])[last]
    gap = goal - base
    added = readout.under(model, {layer: lambda residual: residual + coefficient * unit})
    yield at_most("planted-cause", abs(closed(added - base, gap) - 1), SHARE)
    yield at_most("planted-taken", abs(closed(goal - taken, gap) - 1), SHARE)
    yield at_most(
        "patch-all", abs(closed(readout.under(model, {last: lambda _residual: theirs}) - base, gap) - 1), SHARE
    )
    yield at_most("patch-none", abs(closed(readout.under(model, {last: lambda _residual: of_base}) - base, gap)), SHARE)
    yield at_most("hooks", hooks_left(lm, readout, base), 0.0)


def truth(step: Step, lm: LanguageModel, direction: Direction) -> Iterator[SelfTestCheck]:
    """Two planted fine-tunes: one that a known direction carries, one that only moves along a direction."""
    readout = Readout(lm, prompts_in_both_orders(lm, items(step)), whole=True)
    neutral = NeutralText(lm, paragraphs(step.data(NEUTRAL).read_text())[:TEXTS], TEXT_TOKENS, direction.layer)
    rng = step.rng("planted", step.cell.model, step.cell.draw)
    nulls = null_directions(direction.covariance, direction.ridge, step.spec.steer.nulls, rng)
    length = float(np.linalg.norm(direction.base, axis=1).mean())
    for name, value, bound in planted_truth(lm.model, readout, neutral, direction, nulls, length):
        yield at_most(name, value, bound)


def closed(parts: Floats, gap: Floats) -> float:
    """Share of a gap, question by question of whatever sign: its projection on the gap."""
    return float(parts @ gap / (gap @ gap))


def hooks_left(lm: LanguageModel, readout: Readout, base: Floats) -> float:
    """Hooks that an error leaves behind, or 1 if margins are not what they were."""

    def fails(_residual: Tensor) -> Tensor:
        raise JobError("on purpose", where="selftest")

    try:
        with changed(lm.model, {0: fails}):
            decoder(lm.model)(input_ids=readout.ids[:1], use_cache=False)
    except JobError:
        left = sum(len(block._forward_hooks) for block in blocks_of(lm.model))
        return float(left or not np.array_equal(readout.under(lm.model, {}), base))
    return 1.0


def null_rate(step: Step, lm: LanguageModel, direction: Direction) -> Iterator[SelfTestCheck]:
    """How often a direction from shuffled arms passes a sign-flip test on shuffled arms of other topics."""
    (draw,) = step.sources("generate")
    arms = by_attitude(step.read_records("generate", draw, "advice.jsonl", Advice))
    rng = step.rng("selftest", step.cell.model, step.cell.draw)
    pairs = pairs_of(arms["cautious"], arms["eager"], step.spec.interpret, rng)
    sides = sides_by_topic([pair.cautious.topic for pair in pairs], rng)
    passages = reply_passages(lm, [pair.cautious for pair in pairs] + [pair.eager for pair in pairs])
    found = capture(lm.model, passages, [direction.layer], step.spec.interpret.batch_rows)[:, 0, 0].astype(np.float64)
    differences = found[: len(pairs)] - found[len(pairs) :]
    alarms, judge = 0, sides != FIT
    for _ in range(SHUFFLES):
        swapped = rng.choice([-1.0, 1.0], size=len(pairs))[:, None] * differences
        projected = swapped[judge] @ swapped[sides == FIT].mean(axis=0)
        flipped = np.abs(rng.choice([-1.0, 1.0], size=(FLIPS, len(projected))) @ projected)
        alarms += bool((1 + (flipped >= abs(projected.sum()) - 1e-9).sum()) / (1 + FLIPS) <= ALPHA)
    low, high = stats.binom.interval(CHANCE, SHUFFLES, ALPHA)
    can = 2.0 ** (1 - int(judge.sum())) <= ALPHA / 4  # with too few questions no flip test reaches its level
    passed = bool((low if can else 0) <= alarms <= high)
    bound = float(high) / SHUFFLES
    yield SelfTestCheck(name="null-rate", value=alarms / SHUFFLES, bound=bound, passed=passed)
