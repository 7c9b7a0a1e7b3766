"""Many prompts with replies in one row: what they begin with alike is read once, token by token, as a tree.

A row holds every token of its tree once. A mask lets each see those before it in its own texts, and positions are
counted along these. So a text scores as it would alone, to rounding.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from common.lm.chat import LanguageModel
from common.lm.generation import extend, repeated, shared
from common.lm.likelihood import log_probabilities

Texts = Sequence[tuple[list[int], Sequence[list[int]]]]  # prompts, each with the replies to it


class Tree(NamedTuple):
    """The tokens of one row behind what all rows begin with, and where its replies are predicted."""

    ids: list[int]
    depth: list[int]  # tokens before it in its texts
    seen: list[list[int]]  # places of these and of itself
    asked: list[list[tuple[int, int]]]  # of each reply, its tokens: from which place one is predicted, and which it is


def tree_of(texts: Texts, skip: int) -> Tree:
    """The tree of some texts without their first `skip` tokens. Places from which a reply is predicted come last."""
    found: dict[tuple[int, int], int] = {}
    tree = Tree([], [], [], [])
    for prompt, replies in texts:
        for reply in replies:
            at, after = -1, []
            for token in [*prompt[skip:], *reply[:-1]]:
                if (at, token) not in found:
                    found[at, token] = len(tree.ids)
                    tree.depth.append(tree.depth[at] + 1 if at >= 0 else 0)
                    tree.seen.append([*(tree.seen[at] if at >= 0 else []), len(tree.ids)])
                    tree.ids.append(token)
                at = found[at, token]
                after.append(at)
            tree.asked.append(list(zip(after[-len(reply) :], reply, strict=True)))
    last = {place for reply in tree.asked for place, _ in reply}
    order = sorted(range(len(tree.ids)), key=lambda place: (place in last, place))
    new = {place: index for index, place in enumerate(order)}
    return Tree(
        [tree.ids[place] for place in order],
        [tree.depth[place] for place in order],
        [[new[each] for each in tree.seen[place]] for place in order],
        [[(new[place], token) for place, token in reply] for reply in tree.asked],
    )


@torch.inference_mode()
def tree_log_likelihoods(lm: LanguageModel, rows: Sequence[Texts]) -> list[list[float]]:
    """Total log-likelihood of each reply to each prompt of a row, nats, prompt by prompt; all rows in one pass."""
    prompts = [prompt for texts in rows for prompt, _ in texts]
    skip = shared(prompts)
    trees = [tree_of(texts, skip) for texts in rows]
    columns = max(len(tree.ids) for tree in trees)
    ids, depth = np.zeros((2, len(rows), columns), dtype=np.int64)
    hidden = np.ones((len(rows), 1, columns, skip + columns), dtype=bool)
    hidden[..., :skip] = False
    for row, tree in enumerate(trees):
        pad = columns - len(tree.ids)  # on the left, so that what is asked stands at the end of all rows
        ids[row, pad:], depth[row, pad:] = tree.ids, tree.depth
        for place, seen in enumerate(tree.seen):
            hidden[row, 0, pad + place, [skip + pad + each for each in seen]] = False
    device, model = lm.model.device, lm.model
    mask = torch.zeros(hidden.shape, dtype=model.dtype, device=device)
    mask.masked_fill_(torch.from_numpy(hidden).to(device), torch.finfo(model.dtype).min)
    before = repeated(extend(lm, [prompts[0][:skip]]), len(rows)).cache if skip else None
    keep = max(len(tree.ids) - min(place for reply in tree.asked for place, _ in reply) for tree in trees)
    out: Any = model(
        input_ids=torch.from_numpy(ids).to(device),
        attention_mask=mask,
        position_ids=skip + torch.from_numpy(depth).to(device),
        past_key_values=before,
        use_cache=before is not None,
        logits_to_keep=keep,
    )
    return _sums(out.logits, trees)


def _sums(logits: torch.Tensor, trees: Sequence[Tree]) -> list[list[float]]:
    """Sums over the tokens of each reply; the places of a tree end where the kept columns do."""
    flat = [
        (row, logits.shape[1] - len(tree.ids) + place, token)
        for row, tree in enumerate(trees)
        for reply in tree.asked
        for place, token in reply
    ]
    row, column, token = torch.tensor(flat, device=logits.device).T
    each = iter(log_probabilities(logits[row, column], token).tolist())
    return [[sum(next(each) for _ in reply) for reply in tree.asked] for tree in trees]
