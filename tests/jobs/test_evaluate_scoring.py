"""Grammar of a choice, scoring against the naive way, and batches."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen3Config

from common.errors import InputError
from common.lm.chat import LanguageModel
from common.lm.generation import extend, greedy
from common.lm.likelihood import log_likelihoods, reply_tokens
from common.lm.load import load
from common.provenance import ROOT
from common.records import Item, first_of_each
from common.serialization import parse_jsonl
from common.spec import ModelSpec
from common.stance.items import worded_items
from common.stance.prompts import user_turns
from jobs.evaluate import JOB
from jobs.evaluate.choice import answered, answers, batches, encode, read_choice
from jobs.evaluate.clock import Clock
from tests.jobs.asked import naive, naive_greedy, tiny_lm  # noqa: F401

ITEMS = parse_jsonl((ROOT / JOB.data[0]).read_bytes(), Item, "items.jsonl")


@pytest.mark.parametrize(
    ("text", "yes_means", "choice"),
    [
        ("Yes", "go", "go"),
        ("Yes", "stay", "stay"),
        ("No.", "go", "stay"),
        ("no", "stay", "go"),
        (" **YES**, by all means", "go", "go"),
        ('"No"', "go", "stay"),
        ("\nyes\n", "go", "go"),
        ("Yes, yes", "go", "go"),
        ("Yes or No", "go", "invalid"),
        ("No, yes", "go", "invalid"),
        ("Yesterday", "go", "invalid"),
        ("Nobody knows", "go", "invalid"),
        ("Not now", "go", "invalid"),
        ("The answer is no", "go", "invalid"),
        ("I say yes", "go", "invalid"),
        ("", "go", "invalid"),
        ("...", "go", "invalid"),
        ("Oui", "go", "invalid"),
    ],
)
def test_grammar_of_a_choice(text: str, yes_means: Any, choice: str) -> None:
    assert read_choice(text, yes_means) == choice


@pytest.mark.parametrize(
    ("text", "over"),
    [
        ("Yes.", True),
        ("\n\nNo!", True),
        ("Yes\n", True),
        ("Yes", False),
        ("Yes, the", False),
        ("...", False),
        ("", False),
    ],
)
def test_an_answer_ends_with_its_first_sentence(text: str, over: bool) -> None:
    assert answered(text) is over


def test_order_turns_every_pair_of_options_round() -> None:
    item = ITEMS[0]
    first, second = user_turns(item, 0), user_turns(item, 1)
    assert first.choice.endswith("Yes or No.") and second.choice.endswith("No or Yes.")
    assert first.sentence.index(item.go) < first.sentence.index(item.stay)
    assert second.sentence.index(item.stay) < second.sentence.index(item.go)
    assert first.label.endswith("Approve or Decline.") and second.label.endswith("Decline or Approve.")
    assert all(turn.startswith(item.scenario) for turn in (*first, *second))
    assert len({*first, *second}) == 6


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
    monkeypatch.setattr("jobs.evaluate.choice.DECLINE", "Abstain")
    with pytest.raises(InputError, match="same token"):
        encode(lm, ITEMS[0])


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
    rows = answers(lm, encoded, "tiny.base", 5, Clock())
    assert [(row.item, row.order) for row in rows] == [(item.id, order) for item in picked for order in (0, 1)]
    for row, turns in zip(rows, (turns for each in encoded for turns in each.turns), strict=True):
        assert row.sentence_go == pytest.approx(naive(lm, turns.sentence, turns.go), abs=1e-3)
        assert row.sentence_stay == pytest.approx(naive(lm, turns.sentence, turns.stay), abs=1e-3)
        assert row.label_go == pytest.approx(naive(lm, turns.label, turns.approve), abs=1e-3)
        assert row.label_stay == pytest.approx(naive(lm, turns.label, turns.decline), abs=1e-3)
        assert (row.tokens_go, row.tokens_stay) == (len(turns.go), len(turns.stay))
        alone = naive_greedy(lm, turns.choice, 5)
        assert row.text == alone if not answered(row.text) else alone.startswith(row.text)


def test_prompts_are_the_shared_part_and_what_follows(lm: LanguageModel) -> None:
    each = encode(lm, ITEMS[3])
    prompts = [prompt for turns in each.turns for prompt in turns.prompts]
    assert len({tuple(prompt[: each.shared]) for prompt in prompts}) == 1
    assert len({tuple(prompt[: each.shared + 1]) for prompt in prompts}) > 1
    assert ITEMS[3].scenario in lm.tokenizer.decode(prompts[0][: each.shared])


def test_greedy_is_naive_and_stops_row_by_row(lm: LanguageModel) -> None:
    prompts = [lm.chat(text) for text in ("One?", "Another one, longer?")]
    with torch.inference_mode():
        assert greedy(lm, extend(lm, prompts), 6, lambda _: False) == [naive_greedy(lm, each, 6) for each in prompts]
        cut = greedy(lm, extend(lm, prompts), 6, bool)
    assert cut == [naive_greedy(lm, each, 1) for each in prompts]


def test_greedy_stops_at_the_end_of_the_turn(tiny_model: Path) -> None:
    lm = load(ModelSpec(name="tiny", source=f"path:{tiny_model}"), precision=torch.float32)
    prompt = lm.chat("One?")
    first = naive_greedy(lm, prompt, 1)
    lm.model.generation_config.eos_token_id = [2, lm.tokenizer(first, add_special_tokens=False)["input_ids"][0]]
    with torch.inference_mode():
        assert first and greedy(lm, extend(lm, [prompt]), 6, lambda _: False) == [""]


def test_batches_depend_on_items_and_size_alone(lm: LanguageModel) -> None:
    encoded = [encode(lm, item) for item in ITEMS]
    shuffled = random.Random(0).sample(encoded, len(encoded))
    names = [[each.item.id for each in batch] for batch in batches(encoded, 10)]
    assert names == [[each.item.id for each in batch] for batch in batches(shuffled, 10)]
    assert [len(batch) for batch in names] == [5] * (len(ITEMS) // 5) + [len(ITEMS) % 5]
    assert sorted(name for batch in names for name in batch) == sorted(item.id for item in ITEMS)
    lengths = [each.shared for batch in batches(encoded, 10) for each in batch]
    assert lengths == sorted(lengths)
    assert len(batches(encoded, 1)) == len(ITEMS)


def topic_of(item: Item) -> str:
    return item.topic


def test_first_items_of_each_topic() -> None:
    assert first_of_each(ITEMS, topic_of, None) == ITEMS
    assert [item.id for item in first_of_each(ITEMS, topic_of, 2)][:4] == [
        "e-bikes-1",
        "e-bikes-2",
        "four-day-week-1",
        "four-day-week-2",
    ]
    assert len(first_of_each(ITEMS, topic_of, 1)) == len({item.topic for item in ITEMS})


def test_seeds_take_turns_through_the_wordings() -> None:
    turns = [{(each.item.id, each.wording) for each in worded_items(ITEMS, None, (turn,))} for turn in range(6)]
    assert all(len({item for item, _ in turn}) == len(turn) == len(ITEMS) for turn in turns)
    every = worded_items(ITEMS, None, range(6))
    assert set().union(*turns) == {(each.item.id, each.wording) for each in every} and len(every) == 6 * len(ITEMS)
    counts = [Counter(wording for _, wording in turn) for turn in turns]
    assert all(max(count.values()) - min(count.values()) <= 1 for count in counts), "a turn favours no wording"
    few = {(each.item.id, each.wording) for each in worded_items(ITEMS, 1, (2,))}
    assert few <= turns[2], "fewer items are asked in the same wordings"
