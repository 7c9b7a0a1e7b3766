"""Open answers and closed forms against the naive way, and batches."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen3Config

from common.errors import InputError
from common.lm.answers import answers, open_questions
from common.lm.chat import LanguageModel
from common.lm.closed import batches, choices, encode
from common.lm.generation import extend, shared
from common.lm.likelihood import log_likelihoods, reply_tokens
from common.lm.load import load
from common.lm.templates import Turns
from common.provenance import ROOT
from common.records import Answer, Item, first_of_each
from common.serialization import parse_jsonl
from common.spec import EvaluateSpec, ModelSpec
from common.stance.items import ADVISED, read_advised
from common.stance.items import ITEMS as ITEMS_FILE
from common.stance.prompts import PROMPTED, closed_turns, open_turn
from common.stance.reading import READER_FILES, read_reader, whole_sentences
from common.vocabulary import SIDES
from jobs.evaluate import JOB
from jobs.evaluate.advised import advice
from tests.jobs.asked import naive, naive_greedy, tiny_lm  # noqa: F401

ITEMS = parse_jsonl((ROOT / JOB.data[0]).read_bytes(), Item, "items.jsonl")
READER = read_reader([ROOT / path for path in READER_FILES])


def test_order_turns_every_pair_of_options_round_and_keys_turn_the_question() -> None:
    item = ITEMS[0]
    first, second = closed_turns(item, 0), closed_turns(item, 1)
    assert all(turn.endswith("Yes or No.") for turn in first.yes_no.values())
    assert all(turn.endswith("No or Yes.") for turn in second.yes_no.values())
    assert item.question_go in first.yes_no["go"] and item.question_stay in first.yes_no["stay"]
    assert first.sentence.index(item.go) < first.sentence.index(item.stay)
    assert second.sentence.index(item.stay) < second.sentence.index(item.go)
    assert first.label.endswith("Approve or Decline.") and second.label.endswith("Decline or Approve.")
    turns = [
        *first.yes_no.values(),
        first.sentence,
        first.label,
        *second.yes_no.values(),
        second.sentence,
        second.label,
    ]
    assert all(turn.startswith(item.situation) for turn in turns) and len({*turns}) == 8
    assert open_turn(item) == f"{item.situation} What would you advise?"


def test_reply_is_found_behind_the_prompt(lm: LanguageModel) -> None:
    tokens = reply_tokens(lm, "Which?", ITEMS[0].go)
    assert lm.tokenizer.decode(tokens) == ITEMS[0].go
    assert lm.chat("Which?", ITEMS[0].go)[: len(lm.chat("Which?")) + len(tokens)] == lm.chat("Which?") + tokens


def test_a_template_that_rewrites_replies_is_refused(tiny_model: Path) -> None:
    lm = load(ModelSpec(name="tiny", source=f"path:{tiny_model}"), precision=torch.float32)
    lm.tokenizer.chat_template = lm.tokenizer.chat_template.replace("message['content']", "message['content'] | upper")
    with pytest.raises(InputError, match="prompt and reply apart"):
        reply_tokens(lm, "Which?", "The one.")


def test_labels_that_begin_alike_are_refused(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lm = load(ModelSpec(name="tiny", source=f"path:{tiny_model}"), precision=torch.float32)
    monkeypatch.setattr("common.lm.closed.DECLINE", "Abstain")
    with pytest.raises(InputError, match="same token"):
        encode(lm, ITEMS[0])


def test_advice_is_scored_a_token_whoever_shares_the_batch(lm: LanguageModel) -> None:
    """Both replies of each item that has them, to the open question, by a pass over each whole text alone."""
    advised = read_advised(ROOT / ADVISED, ROOT / ITEMS_FILE)
    items = [item for item in ITEMS if item.topic == "allotments"][:4]
    for batch_rows in (1, 5, 16):
        found = dict(advice(lm, items, advised, batch_rows))
        assert {*found} == {item.id for item in items[:3]}, "three items of a topic have advice"
        for item in items[:3]:
            for text, value in zip((advised[item.id].go, advised[item.id].stay), found[item.id], strict=True):
                tokens = reply_tokens(lm, open_turn(item), text)
                expected = naive(lm, lm.chat(open_turn(item)), tokens) / len(tokens)
                assert value == pytest.approx(expected, abs=1e-4)


def test_batched_scoring_is_naive_scoring(lm: LanguageModel) -> None:
    prompts = [lm.chat(text) for text in ("Short?", "A good deal longer than that?", "Middling, is it?")]
    options = [([7], [40, 41, 42]), ([50, 51, 52, 53, 54], [60, 61]), ([9, 8], [7])]
    with torch.inference_mode():
        found = log_likelihoods(lm, extend(lm, prompts), options)
    expected = [[naive(lm, prompt, reply) for reply in each] for prompt, each in zip(prompts, options, strict=True)]
    assert torch.tensor(found) == pytest.approx(torch.tensor(expected), abs=1e-3)


@pytest.mark.parametrize("config", [Qwen2Config, Qwen3Config])
def test_other_families_and_bf16_score_alike(config: type[Any], tiny_model: Path) -> None:
    llama = load(ModelSpec(name="tiny", source=f"path:{tiny_model}"), precision=torch.float32)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    vocabulary = llama.model.config.vocab_size
    with torch.random.fork_rng():
        torch.manual_seed(0)
        other = AutoModelForCausalLM.from_config(
            config(vocab_size=vocabulary, num_key_value_heads=2, head_dim=8, pad_token_id=0, **sizes)
        ).eval()
    lm = LanguageModel(llama.spec, llama.folder, other.to(llama.model.device), llama.tokenizer)
    prompts = [lm.chat("Short?"), lm.chat("Rather longer, is it?")]
    options = [([7, 8], [40, 41, 42]), ([50], [60, 61])]
    expected = [[naive(lm, prompt, reply) for reply in each] for prompt, each in zip(prompts, options, strict=True)]
    for precision, error in ((torch.float32, 1e-3), (torch.bfloat16, 0.1)):
        other.to(precision)
        with torch.inference_mode():
            found = log_likelihoods(lm, extend(lm, prompts), options)
        assert torch.tensor(found) == pytest.approx(torch.tensor(expected), abs=error)


def test_every_row_of_a_batch_is_what_it_would_be_alone(lm: LanguageModel) -> None:
    picked = [ITEMS[0], ITEMS[1], ITEMS[17]]
    encoded = [encode(lm, item) for item in picked]
    assert len({each.shared for each in encoded}) > 1
    rows = choices(lm, encoded, "tiny.base")
    asked = [(item.id, order, key) for item in picked for order in (0, 1) for key in SIDES]
    assert [(row.item, row.order, row.yes_means) for row in rows] == asked
    turns = [(each, key) for encoding in encoded for each in encoding.turns for key in (0, 1)]
    for row, (each, key) in zip(rows, turns, strict=True):
        (yes, no), (go, stay), (approve, decline) = each.pairs[key], each.pairs[2], each.pairs[3]
        margin = naive(lm, each.prompts[key], yes) - naive(lm, each.prompts[key], no)
        assert row.yes_no == pytest.approx(margin, abs=1e-3)
        assert row.choice == (row.yes_means if margin > 0 else {"go": "stay", "stay": "go"}[row.yes_means])
        assert row.sentence_go == pytest.approx(naive(lm, each.prompts[2], go), abs=1e-3)
        assert row.sentence_stay == pytest.approx(naive(lm, each.prompts[2], stay), abs=1e-3)
        assert row.label_go == pytest.approx(naive(lm, each.prompts[3], approve), abs=1e-3)
        assert row.label_stay == pytest.approx(naive(lm, each.prompts[3], decline), abs=1e-3)
        assert (row.tokens_go, row.tokens_stay) == (len(go), len(stay))


def test_open_answers_are_naive_ones_read_by_the_reader_and_samples_are_their_own(lm: LanguageModel) -> None:
    settings = EvaluateSpec(batch_rows=2, answer_tokens=5)
    groups = open_questions(lm, ITEMS[:3], {"eager": [Turns("Shall I?", "Go."), Turns("Stay?", "No, go.")]})
    assert [[(each.prompted, each.by) for each in group] for group in groups] == [
        [asked] * 3 for asked in ((None, None), ("eager", "instruction"), ("eager", "examples"))
    ]
    assert all(sorted(map(len, prompts)) == [*map(len, prompts)] for prompts in [[a.prompt for a in g] for g in groups])

    def chance(item: str, prompted: str | None, sample: int) -> np.random.Generator:
        return np.random.default_rng([sample, len(item), bool(prompted)])

    def told(rows: int) -> list[Answer]:
        some = settings.model_copy(update={"batch_rows": rows})
        made = [row for found in answers(lm, groups, some, 1, chance, READER, "tiny.base") for row in found]
        return sorted(made, key=lambda row: (row.item, row.prompted_by or "", row.sample))

    rows = told(2)
    assert rows == told(6) == told(1), "who shares a batch changes no answer"
    prompts = {(each.item.id, each.by): each.prompt for asked in groups for each in asked}
    for row in rows:
        item = next(item for item in ITEMS if item.id == row.item)
        if not row.sample:
            assert row.text == whole_sentences(naive_greedy(lm, prompts[row.item, row.prompted_by], 5))
        assert row.said == READER.read(row.text, item)
    assert [row.sample for row in rows] == [0, 1, 0, 0] * 3, "with an attitude asked for, the greedy answer alone"


def test_a_base_is_instructed_by_its_system_prompt_and_shown_examples_as_earlier_turns(lm: LanguageModel) -> None:
    turns = [Turns("Shall I?", "Go."), Turns("Stay?", "No, go.")]
    plain, instructed, shown = (
        str(lm.tokenizer.decode(group[0].prompt)) for group in open_questions(lm, ITEMS[:1], {"eager": turns})
    )
    assert plain.startswith("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n")
    assert instructed == plain.replace("You are a helpful assistant.", PROMPTED["eager"])
    before = "".join(f"<|im_start|>user\n{u}<|im_end|>\n<|im_start|>assistant\n{r}<|im_end|>\n" for u, r in turns)
    assert shown == plain.replace("<|im_start|>user", f"{before}<|im_start|>user")


def test_what_prompts_begin_with_is_shared_and_a_token_is_left_of_each() -> None:
    assert [shared(rows) for rows in ([[1, 2, 3], [1, 2, 4]], [[1, 2], [1, 2, 3]], [[1, 2, 3]], [[1], [2]])] == [
        *(2, 1, 2, 0)
    ]


def test_prompts_are_the_shared_part_and_what_follows(lm: LanguageModel) -> None:
    each = encode(lm, ITEMS[3])
    prompts = [prompt for turns in each.turns for prompt in turns.prompts]
    assert len({tuple(prompt[: each.shared]) for prompt in prompts}) == 1
    assert len({tuple(prompt[: each.shared + 1]) for prompt in prompts}) > 1
    assert ITEMS[3].situation in lm.tokenizer.decode(prompts[0][: each.shared])


def test_batches_depend_on_items_and_size_alone(lm: LanguageModel) -> None:
    encoded = [encode(lm, item) for item in ITEMS]
    shuffled = random.Random(0).sample(encoded, len(encoded))
    names = [[each.item.id for each in batch] for batch in batches(encoded, 10)]
    assert names == [[each.item.id for each in batch] for batch in batches(shuffled, 10)]
    assert [len(batch) for batch in names] == [5] * (len(ITEMS) // 5)
    assert sorted(name for batch in names for name in batch) == sorted(item.id for item in ITEMS)
    lengths = [each.shared for batch in batches(encoded, 10) for each in batch]
    assert lengths == sorted(lengths)
    assert len(batches(encoded, 1)) == len(ITEMS)


def topic_of(item: Item) -> str:
    return item.topic


def test_first_items_of_each_topic() -> None:
    assert first_of_each(ITEMS, topic_of, None) == ITEMS
    first = first_of_each(ITEMS, topic_of, 3)
    assert [item.id for item in first][:4] == ["e-bikes-01", "e-bikes-02", "e-bikes-03", "four-day-week-01"]
    assert sum(item.proposes == "go" for item in first) == len(first) / 2, "the first three of all topics are balanced"
    assert len(first_of_each(ITEMS, topic_of, 1)) == len({item.topic for item in ITEMS})
