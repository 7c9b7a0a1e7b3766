"""What the direction does in other ways, or to other things, than adding it does to margins of held-out items."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analysis.activations.direction import null_directions
from analysis.activations.steering import steering_effect
from common.errors import InputError
from common.lm.chat import LanguageModel
from common.lm.directions import Direction
from common.lm.doses import equal_shares
from common.lm.layers import changed, without
from common.lm.margins import ByLength, NeutralText, PromptWithReplies, Readout, trait_prompts
from common.lm.passages import Pair
from common.lm.steering import Doses, effects
from common.lm.writing import Ask, written
from common.pipeline.step import Step
from common.records import Advice, Item, by_attitude
from common.schemas import Interval
from common.stance.items import ITEMS, read_items
from common.stance.prompts import open_turn
from common.stance.reading import READER_FILES, Reader, read_reader, whole_sentences
from common.steering_schemas import Against, SteeringTest, Tested

Floats = NDArray[np.float64]
KIND = "covariance"
CANDIDATES = 2  # for each null of ablation: half of them reach the off-target KL of the middle one
TRIES = 8  # about as many shares are tried, until one has the off-target KL
Test = Callable[[Floats, Doses], SteeringTest]  # of unit vectors, the direction first, at their doses
GO = {"go": 1.0, "stay": -1.0}  # what an answer adds to net go; all else adds nothing


class Tests:
    """Every test by name, of one direction."""

    def __init__(
        self,
        step: Step,
        lm: LanguageModel,
        direction: Direction,
        prompts: Sequence[PromptWithReplies],
        neutral: NeutralText,
    ) -> None:
        """prompts: of the option sentences, one order of each item."""
        self.step, self.lm, self.direction, self.neutral = step, lm, direction, neutral
        self.whole = Readout(lm, prompts, whole=True)
        self.items = {item.id: item for item in read_items(step.data(ITEMS), step.spec.steer.items_per_topic)}
        self.all: dict[Tested, Test] = {
            "prompt": partial(self.margins, weights=self.prompt_tokens),
            "options": partial(self.margins, weights=self.option_tokens),
            "ablation": self.ablation,
            "trait": self.trait,
            "answers": self.answers,
        }

    def passes(self) -> dict[str, float]:
        """What each is worth, in passes of the grid over the same questions: by the tokens that it reads anew.

        A new token of an answer costs more than one that is read beside others: it counts threefold.
        """
        own = sum(len(reply) for each in self.whole.prompts for reply in each.replies)
        text = int(self.whole.own.sum()) / own
        many = 1.0 + self.step.spec.steer.nulls
        answers = 3.0 * self.step.spec.steer.answer_tokens * len(self.items) / own
        above = 1 - self.direction.layer / len(self.direction.direction)
        trait = 90.0 * len(self.direction.questions_apart) / own
        return {
            "prompt": 2 * many * text,
            "options": 2 * many * text,
            "ablation": (many * text + (CANDIDATES + TRIES) * many * self.neutral.ids.numel() / own) / above,
            "trait": 2 * many * trait,
            "answers": 2 * many * answers / above,
        }

    def margins(self, units: Floats, given: Doses, weights: Callable[[], Tensor]) -> SteeringTest:
        """Margins of the option sentences, with vectors added at some tokens."""
        steered = partial(self.whole.steered, self.direction.layer, weights=weights())
        return self.told(effects(steered, units, given)[:, :, 0], [each.group for each in self.whole.prompts])

    def prompt_tokens(self) -> Tensor:
        """1 at the tokens of the prompt."""
        spans = self.whole.spans()
        return (spans["prompt"] | spans["last of prompt"]).float()

    def option_tokens(self) -> Tensor:
        """1 at the tokens of the option for the change, in the prompt; -1 at those of the other."""
        found = torch.zeros(self.whole.own.shape, device=self.whole.own.device)
        for place, each in enumerate(self.whole.prompts):
            item = self.items[each.name]
            for row in (2 * place, 2 * place + 1):
                first = self.whole.own.shape[1] - int(self.whole.own[row].sum())  # rows are padded on the left
                for text, sign in ((item.go, 1.0), (item.stay, -1.0)):
                    found[row, [first + token for token in tokens_of(self.lm, each.prompt, text)]] = sign
        return found

    def ablation(self, units: Floats, _given: Doses) -> SteeringTest:
        """Margins of the option sentences without the component, or a share of it, in every block.

        A vector of any length can be added, but no more than all of a component can be taken out. So nulls of its own
        are drawn, and shares are matched.
        """
        model, direction, nulls = self.lm.model, self.direction, len(units) - 1
        rng = self.step.rng("ablation", self.step.cell.model, self.step.cell.draw)
        drawn = null_directions(direction.covariance, direction.ridge, CANDIDATES * nulls, rng)
        along = torch.tensor(np.concatenate([units[:1], drawn]), dtype=torch.float32, device=model.device)

        def divergence(number: int, share: float) -> float:
            with without(model, along[number], share):
                return self.neutral.now()

        shares, kl = equal_shares(divergence, len(drawn), nulls)
        base, found = self.whole.under(model, {}), []
        for number, share in shares.items():
            with without(model, along[number], share):
                found.append(self.whole.under(model, {}) - base)
        change = np.array(found)
        told = self.told(np.stack([change, -change], axis=1), [each.group for each in self.whole.prompts])
        return told.model_copy(update={"off_target_kl": kl, "taken": shares[0]})

    def trait(self, units: Floats, given: Doses) -> SteeringTest:
        """Margins of cautious against eager replies to questions that made and chose nothing."""
        (draw,) = self.step.sources("generate")
        arms = by_attitude(self.step.read_records("generate", draw, "advice.jsonl", Advice))
        cautious, eager = ({row.question_id: row for row in arms[pole]} for pole in ("cautious", "eager"))
        pairs = [Pair(cautious[name], eager[name]) for name in self.direction.questions_apart]
        readout = ByLength(self.lm, trait_prompts(self.lm, pairs))
        pushed = effects(partial(readout.steered, self.direction.layer), units, given)[:, :, 0]
        return self.told(pushed, [each.group for each in readout.prompts])

    def answers(self, units: Floats, given: Doses) -> SteeringTest:
        """Net go of greedy answers to the open question."""
        items, settings = list(self.items.values()), self.step.spec.steer
        reader = read_reader([self.step.data(path) for path in READER_FILES])
        net = partial(net_go, self.lm, reader, items, self.direction.layer, settings.answer_tokens)
        return self.told(effects(net, units, given)[:, :, 0], [item.topic for item in items])

    def told(self, pushed: Floats, topics: Sequence[str]) -> SteeringTest:
        """The direction (row 0) beside nulls (other rows): (n_units, 2 signs, n_questions)."""
        found = steering_effect(pushed[0], {KIND: pushed[1:]}, topics)
        return SteeringTest(
            questions=len(topics),
            odd=Interval.of(found.odd),
            even=found.even,
            against=Against.of(found.against[KIND]),
            off_target_kl=self.step.spec.steer.off_target_kl[-1],
        )


def tokens_of(lm: LanguageModel, ids: list[int], text: str) -> list[int]:
    """The places of the tokens that spell `text`, where it stands last. Raises: InputError if it is not there."""
    ends = [len(str(lm.tokenizer.decode(ids[: number + 1]))) for number in range(len(ids))]
    start = str(lm.tokenizer.decode(ids)).rfind(text)
    if start < 0:
        raise InputError("the chat template alters an option", where=lm.spec.name, value=text)
    begins = [0, *ends[:-1]]
    spelt = zip(begins, ends, strict=True)
    return [place for place, (begin, end) in enumerate(spelt) if end > start and begin < start + len(text)]


@torch.inference_mode()
def net_go(
    lm: LanguageModel, reader: Reader, items: Sequence[Item], layer: int, tokens: int, vectors: Floats
) -> Floats:
    """What the greedy answer to each item recommends with each vector added: 1 the change, -1 keeping, 0 neither.

    (n_vectors, n_items). A vector is added from the last token of the prompt on, at every token that is written.
    """
    asked = [Ask((), lm.chat(open_turn(item)), [None]) for item in items]  # no common head, whose end is no prompt's
    found = []
    for vector in torch.tensor(vectors, dtype=lm.model.dtype, device=lm.model.device):
        with changed(lm.model, {layer: partial(_at_the_end, vector)}):
            texts = {number: text for number, (text,) in written(lm, asked, tokens, len(asked))}
        said = reader.read_all([(whole_sentences(texts[number]), item) for number, item in enumerate(items)])
        found.append([GO.get(word, 0.0) for word in said])
    return np.array(found)


def _at_the_end(vector: Tensor, residual: Tensor) -> Tensor:
    """Add the vector at the last column: the end of prompts that are read together, or the token that is written."""
    return torch.cat([residual[:, :-1], residual[:, -1:] + vector], dim=1)
