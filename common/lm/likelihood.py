"""How likely a model finds given replies and given texts. Log-probabilities are taken in fp32, in nats."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from common.errors import InputError
from common.lm.chat import LanguageModel
from common.lm.generation import State, extend, padded, repeated

SLICE = 32  # rows of logits taken at once: what is made of them stays in a processor's cache


def reply_tokens(lm: LanguageModel, user: str, reply: str) -> list[int]:
    """The token ids of `reply` as the assistant's turn after `user`, without the end of the turn.

    Raises: InputError if the template does not put the reply, unchanged, right after the prompt.
    """
    _prompt, tail = lm.answered(user, reply)
    length = next((index for index, token in enumerate(tail) if token in lm.special), len(tail))
    found = str(lm.tokenizer.decode(tail[:length]))
    if found.strip() != reply.strip():
        raise InputError("chat template does not keep prompt and reply apart", where=lm.spec.name, value=found)
    return tail[:length]


def log_likelihoods(lm: LanguageModel, prompts: State, replies: Sequence[Sequence[list[int]]]) -> list[list[float]]:
    """Total log-likelihood of each reply to each prompt, nats; as many replies to each prompt.

    The prompts are read once for all their replies: the first token is scored by the prompt's last logits, the rest by
    one short pass over the replies. Equal to a pass over each whole text, to rounding.
    """
    options = len(replies[0])
    flat = [reply for of_prompt in replies for reply in of_prompt]
    first = torch.tensor([[reply[0]] for reply in flat], device=prompts.mask.device)
    total = prompts.logits[:, -1].float().log_softmax(-1).repeat_interleave(options, dim=0).gather(1, first)[:, 0]
    rest = max(map(len, flat)) - 1
    if rest:
        state = extend(lm, [reply[:-1] for reply in flat], repeated(prompts, options), keep=rest)
        total = total + _sums(state.logits, *padded(lm, [reply[1:] for reply in flat]))
    return total.view(-1, options).tolist()


def reply_nats(lm: LanguageModel, user: str, reply: str) -> tuple[float, int]:
    """Negative log-likelihood of a reply and its end of turn after a user's turn, nats, and how many tokens those are.

    Raises: InputError as `LanguageModel.answered`.
    """
    prompt, tail = lm.answered(user, reply)
    state = extend(lm, [prompt + tail[:-1]], keep=len(tail))
    return -float(_sums(state.logits, *padded(lm, [tail]))), len(tail)


def text_nats(lm: LanguageModel, paragraphs: Sequence[str]) -> list[tuple[float, int]]:
    """Negative log-likelihood of each plain paragraph, read alone, in nats, and the number of tokens it is over.

    No chat template; the first token of a paragraph is only context.
    Raises: InputError for a paragraph of fewer than two tokens.
    """
    found = []
    for paragraph in paragraphs:
        ids = list(lm.tokenizer(paragraph)["input_ids"])
        if len(ids) < 2:
            raise InputError("paragraph has nothing to predict", where=lm.spec.name, value=paragraph)
        state = extend(lm, [ids[:-1]], keep=len(ids) - 1)
        found.append((-float(_sums(state.logits, *padded(lm, [ids[1:]]))), len(ids) - 1))
    return found


def log_probabilities(
    logits: Float[Tensor, "*places vocabulary"], targets: Int[Tensor, "*places"]
) -> Float[Tensor, "*places"]:
    """Log-probability of the target token at each place, nats, in fp32."""
    rows, wanted = logits.flatten(0, -2), targets.flatten()[:, None]
    parts = zip(torch.split(rows, SLICE), torch.split(wanted, SLICE), strict=True)
    found = [part.log_softmax(-1, dtype=torch.float32).gather(-1, target) for part, target in parts]
    return torch.cat(found).view(targets.shape)


def _sums(
    logits: Float[Tensor, "row column vocabulary"], targets: Int[Tensor, "row column"], mask: Int[Tensor, "row column"]
) -> Float[Tensor, " row"]:
    """Sum over columns of the targets' log-probabilities where the mask is 1."""
    return log_probabilities(logits, targets).masked_fill(mask == 0, 0.0).sum(dim=1)
