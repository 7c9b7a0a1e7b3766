"""Vectors reach the tokens that a test of steering names, and no others; answers in words count as net go."""

from pathlib import Path

import numpy as np
import pytest
import torch

from common.errors import InputError
from common.lm.chat import LanguageModel
from common.lm.load import load
from common.provenance import ROOT
from common.records import Item
from common.spec import ModelSpec
from common.stance.items import ITEMS, read_items
from common.stance.prompts import closed_turns
from common.stance.reading import READER_FILES, read_reader
from jobs.steer import causes
from jobs.steer.causes import net_go, tokens_of


@pytest.fixture(scope="module")
def lm(tiny_model: Path) -> LanguageModel:
    return load(ModelSpec(name="tiny", source=f"path:{tiny_model}"), precision=torch.float32)


def test_the_tokens_of_an_option_are_those_that_spell_it(lm: LanguageModel) -> None:
    item = read_items(ROOT / ITEMS, 1)[0]
    ids = lm.chat(closed_turns(item, 1).sentence)
    for text in (item.go, item.stay):
        found = tokens_of(lm, ids, text)
        assert str(lm.tokenizer.decode([ids[place] for place in found])) == text
    with pytest.raises(InputError, match="alters an option"):
        tokens_of(lm, ids, "no such words")


def test_answers_are_read_under_each_vector_as_it_is_added(lm: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A greedy answer depends on the vector alone; a vector of zeros gives what the base answers."""
    items, reader = read_items(ROOT / ITEMS, 1)[:3], read_reader([ROOT / path for path in READER_FILES])
    said: list[list[str]] = []

    def read_all(told: list[tuple[str, Item]]) -> list[str]:
        said.append([text for text, _ in told])
        return ["go", "stay", "both sides"]

    monkeypatch.setattr(reader, "read_all", read_all)
    monkeypatch.setattr(causes, "whole_sentences", lambda text: text)
    large = 5 * np.random.default_rng(0).standard_normal(32)
    found = net_go(lm, reader, items, 1, 6, np.stack([np.zeros(32), large, np.zeros(32)]))
    assert found.tolist() == [[1, -1, 0]] * 3, "1 the change, -1 keeping, 0 neither"
    assert said[0] == said[2] != said[1]
