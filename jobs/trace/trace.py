"""The work of the job; what it reads and writes is declared in jobs.trace."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from transformers import PreTrainedModel

from analysis.activations.direction import null_directions
from analysis.activations.steering import rank_of_closing, share_of_gap, topic_means, topics_that_would_do
from analysis.stats.intervals import LEVEL, t_interval
from common.errors import ExitCode, InputError
from common.lm.adapter_space import Written, written
from common.lm.budget import Budget
from common.lm.directions import Direction, read_direction, refuse_untested
from common.lm.fingerprint import fingerprint, touched
from common.lm.layers import blocks_of, decoder
from common.lm.load import attach, attach_beside, load, wearing
from common.lm.margins import TEXTS, Readout, one_order_each, prompts_in_both_orders, text_divergence
from common.lm.mediation import Compared, ablated, necessary, patched, put_in, sufficient, sufficient_whole
from common.lm.sources import MODEL
from common.pipeline.step import Step
from common.schemas import Interval
from common.stance.items import ITEMS, NEUTRAL, paragraphs, read_items
from common.steering_schemas import Mediated, Share, Trace, WrittenAlong
from common.vocabulary import POLES

Floats = NDArray[np.float64]
PATCHED = 6  # blocks, evenly spaced, the last one and the chosen one among them
POLE, OTHER = "default", "neutral"  # names of the two adapters


class Asked(NamedTuple):
    """The two runs on all questions, and on one order of each item."""

    both: Compared
    one: Compared
    topics: list[str]  # of the questions


def main(step: Step) -> ExitCode:
    """Trace one fine-tune beside neutral. Raises: InputError if an adapter changes the weights of the base."""
    (source,) = step.sources("interpret")
    settings = step.spec.steer
    refuse_untested(step, source)
    direction = read_direction(step, source)
    lm = load(step.fact(MODEL), precision=getattr(torch, direction.dtype))
    tuned = both_adapters(step, cast(PreTrainedModel, lm.model))
    items = read_items(step.data(ITEMS), settings.items_per_topic)
    questions = prompts_in_both_orders(lm, items)
    last = len(blocks_of(tuned)) - 1
    places = sorted({*np.linspace(0, last, PATCHED).round().astype(int).tolist(), direction.layer})
    needed = budget(tuned, Readout(lm, questions, whole=True), settings.nulls)
    step.log.event("budget", **needed.told(len(POLES) * settings.draws * settings.traced))
    asked = Asked(
        compared(tuned, Readout(lm, questions, whole=True), [direction.layer]),
        compared(tuned, Readout(lm, one_order_each(questions), whole=True), places),
        [each.group for each in questions],
    )
    rng = step.rng("trace", str(source))
    nulls = null_directions(direction.covariance, direction.ridge, settings.nulls, rng)
    texts = paragraphs(step.data(NEUTRAL).read_text())[:TEXTS]
    apart = text_divergence(lm, texts, settings.text_tokens, tuned, partial(wearing, tuned, OTHER))
    told = traced(step, asked, direction, np.vstack([direction.unit, nulls]), places, apart)
    step.write_model("trace.json", told)
    step.summary(gap=told.gap.estimate, sufficient=told.sufficient.share.estimate, items_needed=told.items_needed)
    return ExitCode.OK


def both_adapters(step: Step, model: PreTrainedModel) -> PeftModel:
    """The base with the adapter of the run on, that of its neutral run beside it."""
    before = fingerprint(model)
    pole, neutral = step.sources("finetune")
    tuned = attach(model, step.read_folder("finetune", pole, "adapter/", step.workdir / "adapter"))
    attach_beside(tuned, step.read_folder("finetune", neutral, "adapter/", step.workdir / "neutral"), OTHER)
    if (changed := touched(before, decoder(tuned))) is not None:
        what = "an adapter changes weights of its base, beside which it then cannot be traced"
        raise InputError(what, where=str(step.cell), value=changed, allowed="adapters that leave the base as it is")
    return tuned


def compared(tuned: PeftModel, readout: Readout, layers: Sequence[int]) -> Compared:
    """Neutral, then the pole."""
    return Compared(tuned, readout, partial(wearing, tuned, OTHER), partial(wearing, tuned, POLE), layers)


def budget(tuned: PeftModel, readout: Readout, nulls: int) -> Budget:
    """What a trace will take, in whole passes over all questions."""
    above = 0.5 * (2 + nulls)  # the direction, nulls and nothing, put in or taken out half way up
    passes = {
        "reading": 6.0,
        "sufficient, necessary": 2 * above,
        "ablation": 2 * 0.5 * (1 + nulls),  # on one order of each item; so are the next
        "whole": 0.5 * above,
        "patching": 0.5 * 0.5 * 5 * (PATCHED + 1),
    }
    return Budget.measured(lambda: readout.under(tuned, {}), passes)


def traced(step: Step, asked: Asked, direction: Direction, units: Floats, places: Sequence[int], apart: float) -> Trace:
    """Every part of trace.json."""
    both, layer, topics = asked.both, direction.layer, asked.topics
    gap = topic_means(both.gap, topics)
    needed = topics_that_would_do(gap)
    parts: dict[str, Callable[[], Mediated]] = {
        "sufficient": lambda: mediated(sufficient(both, layer, units), both),
        "necessary": lambda: mediated(necessary(both, layer, units), both),
        "ablation": lambda: mediated(ablated(asked.one, units), asked.one),
        "whole": lambda: whole(asked.one, layer, units),
    }
    found = {}
    for done, (name, part) in enumerate(parts.items(), start=1):
        found[name] = part()
        step.progress(done, len(parts) + 1)
    _, neutral = step.sources("finetune")
    return Trace(
        layer=layer,
        neutral=str(neutral),
        items=len(topics) // 2,
        questions=len(topics),
        gap=Interval.of(t_interval(gap, LEVEL)),
        items_needed=None if needed is None else needed * step.spec.steer.items_per_topic,
        off_target_kl=apart,
        **found,
        weights=in_weights(written(cast(PeftModel, both.model), POLE, OTHER, units)),
        patching=patching(asked.one, places),
    )


def mediated(parts: Floats, of: Compared) -> Mediated:
    """The share that the direction (row 0) closes, and its rank among the null directions (other rows)."""
    topics = [each.group for each in of.readout.prompts]
    closed = topic_means(parts, topics)
    return Mediated(
        share=Share.of(share_of_gap(parts[0], of.gap, topics, LEVEL)),
        by_topic=by_topic(parts[0], topics),
        gap_by_topic=by_topic(of.gap, topics),
        nulls=tuple(closed[1:].mean(axis=-1).tolist()),
        p=rank_of_closing(closed, topic_means(of.gap, topics)),
    )


def whole(of: Compared, layer: int, units: Floats) -> Mediated:
    """The whole mean difference beside null directions of its own length, each put in as it is."""
    length = float(np.linalg.norm(of.mean_difference(layer)))
    nulls = put_in(of, layer, length * units[1:])
    return mediated(np.vstack([sufficient_whole(of, layer), nulls]), of)


def by_topic(values: Floats, topics: Sequence[str]) -> dict[str, float]:
    """The mean of each topic."""
    return dict(zip(sorted(set(topics)), topic_means(values, topics).tolist(), strict=True))


def in_weights(found: Written) -> WrittenAlong:
    """What is written along the direction (first unit), beside null directions (the others)."""
    share = found.share
    blocks = np.divide(found.along[:, 0], found.whole, out=np.zeros_like(found.whole), where=found.whole > 0)
    return WrittenAlong(
        share=float(share[0]),
        nulls=tuple(share[1:].tolist()),
        p=(1 + int((share[1:] >= share[0]).sum())) / len(share),
        by_block=tuple(blocks.tolist()),
    )


def patching(of: Compared, places: Sequence[int]) -> dict[str, dict[str, Share]]:
    """Share of the gap that the pole's residuals carry into neutral, by block and part of the text."""
    topics = [each.group for each in of.readout.prompts]
    spans = {**of.readout.spans(), "everything": of.readout.own.bool()}
    return {
        str(layer): {
            name: Share.of(share_of_gap(row, of.gap, topics, LEVEL))
            for name, row in zip(spans, patched(of, layer, list(spans.values())), strict=True)
        }
        for layer in places
    }
