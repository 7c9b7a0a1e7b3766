"""What a model makes of written replies inside: what a direction of caution is made, chosen and read by."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from common.lm.activations import capture
from common.lm.chat import LanguageModel
from common.lm.layers import blocks_of
from common.lm.margins import TEXT_TOKENS, TEXTS, ByLength, NeutralText, trait_prompts
from common.lm.passages import Pair, advised_passages, reply_passages
from common.lm.steering import doses, effects
from common.records import Advised, Item

Floats = NDArray[np.float64]
LAYERS_TRIED = 12  # at most: each costs some passes over the questions that choose
KL_SLACK = 1.2  # a push whose off-target KL lies further above the one aimed at does not count


def read_poles(
    lm: LanguageModel, pairs: Sequence[Pair], batch_rows: int, progress: Callable[[int, int], None]
) -> tuple[Float[NDArray[Any], "2 n_pairs n_layers d_model"], Float[NDArray[Any], "2 n_pairs n_layers d_model"]]:
    """Residuals of replies and of users' turns, cautious then eager. Raises: InputError as `reply_passages`."""
    passages = reply_passages(lm, [pair.cautious for pair in pairs] + [pair.eager for pair in pairs])
    found = capture(lm.model, passages, range(len(blocks_of(lm.model))), batch_rows, progress)
    by_pole = found.reshape(2, len(pairs), *found.shape[1:])
    return by_pole[:, :, 0], by_pole[:, :, 1]


def causal_effects(
    lm: LanguageModel,
    pairs: Sequence[Pair],
    directions: Float[Floats, "n_layers d_model"],
    lengths: Float[Floats, " n_layers"],
    tried: Sequence[int],
    neutral: Sequence[str],
    off_target_kl: float,
) -> list[float | None]:
    """What a push along each layer's direction does to cautious against eager replies of questions kept apart, nats.

    Pushes have one off-target KL at all layers, on the beginnings of neutral texts. None for a layer that is not tried,
    or whose push cannot have it. lengths: of a typical residual, by layer.
    """
    readout = ByLength(lm, trait_prompts(lm, pairs))
    found: list[float | None] = [None] * len(directions)
    for layer in tried:
        text = NeutralText(lm, neutral[:TEXTS], TEXT_TOKENS, layer)
        unit = directions[layer][None]
        given = doses(text, unit, [off_target_kl], float(lengths[layer]))
        if given.off_target_kl.max() <= KL_SLACK * off_target_kl:
            pushed = effects(partial(readout.steered, layer), unit, given)[0, :, 0]
            found[layer] = float((pushed[0] - pushed[1]).mean() / 2)
    return found


def less_their_pole(replies: Float[NDArray[Any], "2 n_pairs d_model"]) -> Float[NDArray[Any], "n_samples d_model"]:
    """Replies as samples without the difference between the poles, cautious then eager."""
    return np.asarray((replies - replies.mean(axis=1, keepdims=True)).reshape(-1, replies.shape[-1]))


def read_written(
    lm: LanguageModel, layer: int, items: Sequence[Item], advised: Mapping[str, Advised], batch_rows: int
) -> Float[NDArray[np.float32], "n_items d_model"]:
    """Residuals at a layer over the tokens of the two replies that were written to each item: the mean of both.

    Raises: InputError as `LanguageModel.answered`.
    """
    both = capture(lm.model, advised_passages(lm, items, advised), [layer], batch_rows)[:, 0, 0]
    return np.asarray(both.reshape(len(items), 2, -1).mean(axis=1))
