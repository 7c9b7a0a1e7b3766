"""The work of the job; what it reads and writes is declared in jobs.interpret."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from analysis.activations.direction import (
    CHOOSE,
    FIT,
    JUDGE,
    Covariance,
    Curve,
    alternatives,
    candidates,
    covariance_of,
    directions_of,
    layer_curve,
    null_directions,
    shifts,
    sides_by_topic,
    spread,
)
from analysis.activations.probe import Probe, probes, words
from common.cells import CellKind
from common.errors import ExitCode, InputError
from common.lm.activations import capture
from common.lm.chat import LanguageModel
from common.lm.directions import Direction, pack, read_direction
from common.lm.load import kept, load
from common.lm.passages import Pair, pairs_of, prompt_passages
from common.lm.poles import LAYERS_TRIED, causal_effects, less_their_pole, read_poles, read_written
from common.lm.runtime import dtype
from common.lm.sources import MODEL
from common.pipeline.step import Step
from common.records import Advice, Item, Projection, by_attitude
from common.schemas import Checkpoint, DirectionReadout, Layer, LayerCurve, RunReadout
from common.schemas import Probe as ProbeTold
from common.spec import ALTERNATIVES
from common.stance.items import ADVISED, ITEMS, NEUTRAL, paragraphs, read_advised, read_items

Floats = NDArray[np.float64]
TRAJECTORY = "trajectory/"


def main(step: Step) -> ExitCode:
    """Make the direction of a draw, or read a run along it."""
    if step.cell.kind is CellKind.DIRECTION:
        make_direction(step)
    else:
        read_run(step)
    return ExitCode.OK


# --- a direction cell


def make_direction(step: Step) -> None:
    """Fit the direction on the base, choose its layer, and read the base along it."""
    settings, place = step.spec.interpret, (step.cell.model, step.cell.draw)
    cautious, eager = poles(step)
    pairs = pairs_of(cautious, eager, settings, step.rng("questions", *place))
    sides = sides_by_topic([pair.cautious.topic for pair in pairs], step.rng("topics", *place))
    lm = load(step.fact(MODEL))
    replies, users = read_poles(lm, pairs, settings.batch_rows, step.progress)
    causal = causal_effects(
        lm,
        [pair for pair, side in zip(pairs, sides, strict=True) if side == CHOOSE],
        directions_of(replies, sides == FIT),
        np.linalg.norm(replies, axis=-1).mean(axis=(0, 1)),
        candidates(replies.shape[2], settings.pruned, LAYERS_TRIED),
        paragraphs(step.data(NEUTRAL).read_text()),
        settings.off_target_kl,
    )
    curve = layer_curve(replies, users, sides, causal, step.rng("shuffles", *place))
    direction, covariance, weights, found = direction_at(step, lm, pairs, sides, replies, curve)
    step.write_bytes("direction.npz", pack(direction))
    cosine = float(weights @ direction.unit)
    step.write_model("layers.json", curve_of(curve, covariance, pairs, sides, found, cosine))
    step.write_records("projections.jsonl", projections(str(step.cell), 0, direction, direction.base))
    step.write_model("readout.json", base_readout(direction))
    step.summary(**curve.layers[curve.chosen]._asdict(), effective_rank=covariance.effective_rank)


def direction_at(
    step: Step, lm: LanguageModel, pairs: Sequence[Pair], sides: NDArray[np.int_], replies: NDArray[Any], curve: Curve
) -> tuple[Direction, Covariance, NDArray[Any], dict[str, Probe]]:
    """What is kept of the chosen layer, and what probes say there."""
    place, topics = (step.cell.model, step.cell.draw), [pair.cautious.topic for pair in pairs]
    chosen, judge = replies[:, :, curve.chosen], sides == JUDGE
    covariance = covariance_of(less_their_pole(chosen))
    found, weights = probes(features(lm, pairs, chosen), sides == FIT, judge, step.rng("probes", *place))
    others = alternatives(chosen, topics, ALTERNATIVES, step.rng("others", *place))
    items = held_out(step)
    replied = with_replies(step, items)
    base, base_replies = read_items_at(step, lm, curve.chosen, items)
    direction = Direction(
        direction=directions_of(replies, sides == FIT).astype(np.float32),
        layer=curve.chosen,
        items=tuple(item.id for item in items),
        topics=tuple(item.topic for item in items),
        base=base,
        replied=tuple(item.id for item in replied),
        base_replies=base_replies,
        apart=(chosen[0] - chosen[1])[judge].astype(np.float32),
        questions_apart=tuple(pair.cautious.question_id for pair, mine in zip(pairs, judge, strict=True) if mine),
        covariance=covariance.factor.astype(np.float32),
        ridge=covariance.ridge,
        shuffled=others.shuffled.astype(np.float32),
        unrelated=others.unrelated.astype(np.float32),
        probe=weights.astype(np.float32),
        dtype=str(dtype()).removeprefix("torch."),
    )
    return direction, covariance, weights, found


def poles(step: Step) -> tuple[list[Advice], list[Advice]]:
    """The cautious and the eager pile of the draw."""
    (draw,) = step.sources("generate")
    arms = by_attitude(step.read_records("generate", draw, "advice.jsonl", Advice))
    return arms["cautious"], arms["eager"]


def features(lm: LanguageModel, pairs: Sequence[Pair], residuals: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """What a probe may read of each reply, (2, n_pairs, n_features): the residuals, and what is far simpler."""
    replies = [pair.cautious.reply for pair in pairs] + [pair.eager.reply for pair in pairs]
    ids = [lm.tokenizer(reply, add_special_tokens=False)["input_ids"] for reply in replies]
    with torch.inference_mode():
        table = cast(torch.Tensor, lm.model.get_input_embeddings().weight)
        means = np.stack([table[torch.tensor(each, device=table.device)].float().mean(0).cpu().numpy() for each in ids])
    lengths = np.array([[len(each), reply.count(" ") + 1] for each, reply in zip(ids, replies, strict=True)])
    simple = {"words": words(replies), "embeddings": means, "length": lengths}
    return {"residual": residuals} | {name: each.reshape(2, len(pairs), -1) for name, each in simple.items()}


def held_out(step: Step) -> list[Item]:
    """The items on whose topics no model is trained."""
    return read_items(step.data(ITEMS), step.spec.interpret.items_per_topic)


def with_replies(step: Step, items: Sequence[Item]) -> list[Item]:
    """Those of the items for which two replies were written."""
    advised = read_advised(step.data(ADVISED), step.data(ITEMS))
    return [item for item in items if item.id in advised]


def read_items_at(
    step: Step, lm: LanguageModel, layer: int, items: Sequence[Item]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Residuals of a model on held-out items at a layer.

    At the last token of the prompt, (n_items, d_model); over the tokens of both written replies, (n_replied, d_model).
    """
    rows, replied = step.spec.interpret.batch_rows, with_replies(step, items)
    advised = read_advised(step.data(ADVISED), step.data(ITEMS))
    prompts = capture(lm.model, prompt_passages(lm, items), [layer], rows)[:, 0, 0]
    return prompts, read_written(lm, layer, replied, advised, rows)


def curve_of(
    curve: Curve,
    covariance: Covariance,
    pairs: Sequence[Pair],
    sides: NDArray[np.int_],
    found: Mapping[str, Probe],
    cosine: float,
) -> LayerCurve:
    """The curve of layers, which questions stood on which side, and the probes beside it."""
    topics = np.array([pair.cautious.topic for pair in pairs])
    return LayerCurve(
        chosen=curve.chosen,
        layers=tuple(Layer.of(layer) for layer in curve.layers),
        questions_fit=int((sides == FIT).sum()),
        questions_choose=int((sides == CHOOSE).sum()),
        questions_judge=int((sides == JUDGE).sum()),
        topics={
            name: tuple(sorted(set(topics[sides == side].tolist())))
            for name, side in (("fit", FIT), ("choose", CHOOSE), ("judge", JUDGE))
        },
        shrinkage=covariance.shrinkage,
        effective_rank=covariance.effective_rank,
        probes={name: ProbeTold.of(probe) for name, probe in found.items()},
        probe_cosine=cosine,
    )


def base_readout(direction: Direction) -> DirectionReadout:
    """The base along the direction."""
    mean = float((direction.base @ direction.unit).mean())
    return DirectionReadout(
        layer=direction.layer, sd_base=sd_base(direction), n_items=len(direction.items), mean_base=mean
    )


# --- a run


def read_run(step: Step) -> None:
    """Read every saved checkpoint along the direction and along the random ones."""
    (source,) = step.sources("interpret")
    direction = read_direction(step, source)
    nulls = null_directions(
        direction.covariance, direction.ridge, step.spec.interpret.nulls, step.rng("nulls", source.model, source.draw)
    )
    directions = np.vstack([direction.unit, nulls])
    rows: list[Projection] = []
    checkpoints: list[Checkpoint] = []
    for number, tuned, replies in residuals(step, direction):
        moved = shifts(tuned, direction.base, directions)
        spoken = shifts(replies, direction.base_replies, directions)
        rows += projections(str(step.cell), number, direction, tuned)
        checkpoints.append(
            Checkpoint(
                optimizer_step=number,
                shift=float(moved[0]),
                nulls=tuple(moved[1:].tolist()),
                reply_shift=float(spoken[0]),
                reply_nulls=tuple(spoken[1:].tolist()),
            )
        )
        last = (tuned.astype(np.float64) - direction.base, replies.astype(np.float64) - direction.base_replies)
    step.write_records("projections.jsonl", rows)
    step.write_model("readout.json", run_readout(direction, checkpoints, *last))
    step.summary(layer=direction.layer, checkpoints=len(checkpoints), shift=checkpoints[-1].shift)


def run_readout(
    direction: Direction, checkpoints: Sequence[Checkpoint], last: NDArray[Any], replies: NDArray[Any]
) -> RunReadout:
    """A run along the direction.

    last, replies: how the last token of each held-out prompt moved by the last checkpoint, (n_items, d_model), and how
    the mean over the tokens of written replies did, (n_replied, d_model).
    """
    moved, spoken, sd = last.mean(axis=0), replies.mean(axis=0), sd_base(direction)
    along = last @ direction.unit / sd
    topics = np.array(direction.topics)
    return RunReadout(
        layer=direction.layer,
        sd_base=sd,
        n_items=len(direction.items),
        checkpoints=tuple(checkpoints),
        by_topic={str(topic): float(along[topics == topic].mean()) for topic in np.unique(topics)},
        moved=tuple(moved.tolist()),
        cosine=float(moved @ direction.unit / np.linalg.norm(moved)),
        reply_cosine=float(spoken @ direction.unit / np.linalg.norm(spoken)),
        apart=tuple((direction.apart.astype(np.float64) @ spoken).tolist()),
    )


def residuals(step: Step, direction: Direction) -> Iterator[tuple[int, NDArray[Any], NDArray[Any]]]:
    """Step and residuals of each checkpoint at the chosen layer, as `read_items_at` gives them.

    Each adapter is put, unmerged, on the base as it was loaded, and taken off again.
    """
    items, numbers = held_out(step), checkpoint_steps(step.names("finetune", step.cell))
    # The base was read in this type: another would shift the model by rounding alone.
    precision = getattr(torch, direction.dtype)
    for done, number in enumerate(numbers, start=1):
        folder = step.read_folder("finetune", step.cell, f"{TRAJECTORY}step-{number:06d}/", step.workdir / str(number))
        with kept(step.fact(MODEL), precision, adapter=folder) as lm:
            found = read_items_at(step, lm, direction.layer, items)
        del lm  # or two bases are held while another is loaded
        yield number, *found
        step.progress(done, len(numbers))


def checkpoint_steps(names: Sequence[str]) -> list[int]:
    """The optimizer steps whose adapters are among these outputs of a fine-tune. Raises: InputError if there are none.

    A name is trajectory/step-000005/<file>.
    """
    folders = {Path(name).parts[1] for name in names if name.startswith(TRAJECTORY)}
    if not folders:
        raise InputError("the fine-tune saved no checkpoints", where=TRAJECTORY, value=len(names))
    return sorted(int(folder.removeprefix("step-")) for folder in folders)


# --- both


def projections(cell: str, optimizer_step: int, direction: Direction, residual: NDArray[Any]) -> list[Projection]:
    """One row for each held-out prompt."""
    values = residual.astype(np.float64) @ direction.unit
    return [
        Projection(
            cell=cell, item=item, topic=topic, optimizer_step=optimizer_step, layer=direction.layer, value=float(value)
        )
        for item, topic, value in zip(direction.items, direction.topics, values, strict=True)
    ]


def sd_base(direction: Direction) -> float:
    """SD over held-out prompts of the base's projections."""
    return float(spread(direction.base, direction.unit[None])[0])
