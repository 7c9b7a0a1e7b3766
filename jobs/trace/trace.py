"""The work of the job; what it reads and writes is declared in jobs.trace."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel

from analysis.activations.direction import null_directions
from analysis.activations.steering import interval_json, share_json, share_of_gap, topic_means
from analysis.stats.intervals import LEVEL, t_interval
from common.errors import ExitCode, InputError
from common.lm.directions import Direction, read_direction, refuse_untested
from common.lm.fingerprint import fingerprint, touched
from common.lm.layers import blocks_of, decoder
from common.lm.load import attach, load
from common.lm.margins import Readout, one_order_each, prompts_in_both_orders
from common.lm.sources import MODEL
from common.pipeline.step import Step
from common.stance.items import ITEMS, read_items

Floats = NDArray[np.float64]
ABLATED = 5  # null directions that are ablated after every block: each costs whole passes of both models
PATCHED = 8  # blocks, evenly spaced, the last one among them


class Models:
    """The base and the tuned model, one set of weights; what both make of the questions."""

    def __init__(self, tuned: PeftModel, readout: Readout, layers: Sequence[int]) -> None:
        """Read both once, at all the layers that are needed."""
        self.tuned, self.readout = tuned, readout
        with self.base():
            self.before = readout.residuals(tuned, layers)
            self.base_margins = readout.under(tuned, {})
        self.after = readout.residuals(tuned, layers)
        self.tuned_margins = readout.under(tuned, {})
        self.gap = self.tuned_margins - self.base_margins

    @contextmanager
    def base(self) -> Iterator[None]:
        """Inside, the adapter is off."""
        with self.tuned.disable_adapter():
            yield


def main(step: Step) -> ExitCode:
    """Trace one fine-tune. Raises: InputError if its adapter changes the weights of the base."""
    (source,) = step.sources("interpret")
    refuse_untested(step, source)
    direction = read_direction(step, source)
    lm = load(step.fact(MODEL), precision=getattr(torch, direction.dtype))
    before = fingerprint(lm.model)
    adapter = step.read_folder("finetune", step.cell, "adapter/", step.workdir / "adapter")
    tuned = attach(cast(PreTrainedModel, lm.model), adapter)
    if (changed := touched(before, decoder(tuned))) is not None:
        what = "the adapter changes weights of its base, which is then no base to trace it from"
        raise InputError(what, where=str(step.cell), value=changed, allowed="an adapter that leaves the base as it is")
    items = read_items(step.data(ITEMS), step.spec.steer.items_per_topic)
    readout = Readout(lm, one_order_each(prompts_in_both_orders(lm, items)), whole=True)
    last = len(blocks_of(tuned)) - 1
    places = sorted({*np.linspace(0, last, PATCHED).round().astype(int).tolist(), direction.layer})
    models = Models(tuned, readout, places)
    nulls = null_directions(
        direction.covariance, direction.ridge, step.spec.steer.nulls, step.rng("trace", str(source))
    )
    units = np.vstack([direction.unit, nulls])
    told = traced(step, models, direction, units, places)
    step.write_json("trace.json", told)
    step.summary(gap=told["gap"]["estimate"], sufficient=told["sufficient"]["share"]["estimate"])
    return ExitCode.OK


def traced(step: Step, models: Models, direction: Direction, units: Floats, places: Sequence[int]) -> dict[str, Any]:
    """Every part of trace.json."""
    topics = [each.group for each in models.readout.prompts]
    told: dict[str, Any] = {
        "layer": direction.layer,
        "questions": len(topics),
        "gap": interval_json(t_interval(topic_means(models.gap, topics), LEVEL)),
    }
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "sufficient": lambda: shares(sufficient(models, direction.layer, units), models.gap, topics),
        "necessary": lambda: shares(necessary(models, direction.layer, units), models.gap, topics),
        "zero_ablation": lambda: shares(ablated(models, units[: 1 + ABLATED], None), models.gap, topics),
        "mean_ablation": lambda: shares(ablated(models, units[: 1 + ABLATED], direction.base), models.gap, topics),
        "weights": lambda: shares(projected_out(models, units[: 1 + ABLATED]), models.gap, topics),
        "patching": lambda: patching(models, places, topics),
    }
    for done, (name, part) in enumerate(parts.items(), start=1):
        told[name] = part()
        step.progress(done, len(parts))
    return told


def shares(parts: Floats, gap: Floats, topics: Sequence[str]) -> dict[str, Any]:
    """The share that the direction (row 0) closes, and the rank of its size among the null directions (other rows)."""
    sizes = np.abs(topic_means(parts, topics).mean(axis=-1))
    found = share_of_gap(parts[0], gap, topics, LEVEL)
    return {
        "share": share_json(found),
        "closed": float(topic_means(parts[0], topics).mean()),
        "nulls": topic_means(parts[1:], topics).mean(axis=-1).tolist(),
        "p": (1 + int((sizes[1:] >= sizes[0]).sum())) / len(sizes),
    }


def sufficient(models: Models, layer: int, units: Floats) -> Floats:
    """What the base gains, (n_units, n_questions), by a constant vector as long as the mean shift along each unit."""
    readout, before, after = models.readout, models.before[layer], models.after[layer]
    real = readout.own.bool()
    shift = (after - before)[real].double().mean(dim=0).cpu().numpy()
    vectors = (units @ shift)[:, None] * units
    residuals = [before + torch.tensor(vector, dtype=before.dtype, device=before.device) for vector in vectors]
    with models.base():
        found = readout.above(models.tuned, layer, [before, *residuals])
    return np.asarray(found[1:] - found[0])


def necessary(models: Models, layer: int, units: Floats) -> Floats:
    """What the tuned model loses when its component along each unit is that of the base: (n_units, n_questions)."""
    readout, before, after = models.readout, models.before[layer], models.after[layer]
    residuals = [after]
    for unit in units:
        along = torch.tensor(unit, dtype=torch.float32, device=after.device)
        moved = (after - before).float() @ along
        residuals.append((after.float() - moved[..., None] * along).to(after.dtype))
    found = readout.above(models.tuned, layer, residuals)
    return np.asarray(found[0] - found[1:])


def ablated(models: Models, units: Floats, base: NDArray[np.float32] | None) -> Floats:
    """How much of the gap is gone when the component along each unit is taken out of both models after every block.

    base: residuals whose mean component is put in its place; None puts nothing there.
    """
    blocks = range(len(blocks_of(models.tuned)))
    found = []
    for unit in units:
        along = torch.tensor(unit, dtype=torch.float32, device=models.readout.ids.device)
        kept = 0.0 if base is None else float((base @ unit).mean())

        def without(residual: Tensor, along: Tensor = along, kept: float = kept) -> Tensor:
            part = residual.float() @ along - kept
            return (residual.float() - part[..., None] * along).to(residual.dtype)

        changes = dict.fromkeys(blocks, without)
        with models.base():
            before = models.readout.under(models.tuned, changes)
        found.append(models.gap - (models.readout.under(models.tuned, changes) - before))
    return np.array(found)


def projected_out(models: Models, units: Floats) -> Floats:
    """What the tuned model loses when no LoRA B writes along each unit: (n_units, n_questions)."""
    written = [
        module.weight
        for name, module in models.tuned.named_modules()
        if "lora_B." in name and any(part in name for part in (".o_proj.", ".down_proj.", ".c_proj.", ".dense"))
    ]
    if not written:
        raise InputError("no adapted module writes to the residual stream", where="adapter", value="lora_B")
    before = [weight.detach().clone() for weight in written]
    found = []
    try:
        for unit in units:
            along = torch.tensor(unit, dtype=torch.float32, device=models.readout.ids.device)
            for weight, old in zip(written, before, strict=True):
                weight.data = (old.float() - torch.outer(along, along @ old.float())).to(old.dtype)
            found.append(models.tuned_margins - models.readout.under(models.tuned, {}))
    finally:
        for weight, old in zip(written, before, strict=True):
            weight.data = old
    return np.array(found)


def patching(models: Models, places: Sequence[int], topics: Sequence[str]) -> dict[str, Any]:
    """Share of the gap that the tuned residuals carry into the base, by block and part of the text."""
    readout = models.readout
    spans = readout.spans()
    spans["everything"] = readout.own.bool()
    found: dict[str, dict[str, Any]] = {}
    for layer in places:
        before, after = models.before[layer], models.after[layer]
        residuals = [torch.where(span[..., None], after, before) for span in spans.values()]
        with models.base():
            margins = readout.above(models.tuned, layer, residuals)
        found[str(layer)] = {
            name: share_json(share_of_gap(row - models.base_margins, models.gap, topics, LEVEL))
            for name, row in zip(spans, margins, strict=True)
        }
    return found
