"""The evaluation: grammar of a choice, scoring against the naive way, batches, guards, and the job from end to end."""

import dataclasses
import json
import math
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen3Config

from common.cells import STUDY, cell_named
from common.digests import file_sha256, sha256
from common.errors import ExitCode, InputError
from common.lm.chat import LanguageModel
from common.lm.generation import extend, greedy, stop_tokens
from common.lm.likelihood import log_likelihoods, reply_tokens
from common.lm.load import attach, load
from common.pipeline.command import run_job
from common.pipeline.keys import Keys
from common.provenance import ROOT
from common.records import Choice, GuardReply, Item, Prompt, first_of_each
from common.serialization import canonical_json, parse_jsonl
from common.spec import ModelSpec, RunSpec, parse_spec
from common.stance.items import FILES, read_questionnaire, worded_items
from common.stance.prompts import user_turns
from common.store.sealed import ArtifactStore, open_store
from jobs import catalog
from jobs.evaluate import JOB
from jobs.evaluate.choice import answered, answers, batches, encode, read_choice
from jobs.evaluate.clock import Clock
from jobs.evaluate.evaluate import main
from jobs.evaluate.guards import guards, neutral_nats, paragraphs, refuses, replies, right

ITEMS = parse_jsonl((ROOT / JOB.data[0]).read_bytes(), Item, "items.jsonl")


@pytest.fixture(scope="module", params=["base", "adapter"])
def lm(request: pytest.FixtureRequest, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    """The tiny model in fp32, untouched and with an unmerged adapter."""
    spec = ModelSpec(name="tiny", source=f"path:{tiny_model}")
    plain = load(spec, precision=torch.float32)
    if request.param == "base":
        return plain
    folder = tmp_path_factory.mktemp("adapter")
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM", init_lora_weights=False)
    get_peft_model(plain.model, config).save_pretrained(folder)
    untouched = load(spec, precision=torch.float32)
    return dataclasses.replace(untouched, model=attach(untouched.model, folder))


def naive(lm: LanguageModel, prompt: list[int], reply: list[int]) -> float:
    """Log-likelihood of a reply by one pass over the whole text, alone, without padding or cache."""
    with torch.inference_mode():
        logits = lm.model(torch.tensor([prompt + reply], device=lm.model.device), use_cache=False).logits[0].float()
    logp = logits.log_softmax(-1)
    return sum(logp[len(prompt) - 1 + index, token].item() for index, token in enumerate(reply))


def naive_greedy(lm: LanguageModel, prompt: list[int], most: int) -> str:
    reply: list[int] = []
    for _ in range(most):
        with torch.inference_mode():
            token = int(
                lm.model(torch.tensor([prompt + reply], device=lm.model.device), use_cache=False).logits[0, -1].argmax()
            )
        if token in stop_tokens(lm):
            break
        reply.append(token)
    return str(lm.tokenizer.decode(reply, skip_special_tokens=True))


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
    for row, asked in zip(rows, (asked for each in encoded for asked in each.asked), strict=True):
        assert row.sentence_go == pytest.approx(naive(lm, asked.sentence, asked.go), abs=1e-3)
        assert row.sentence_stay == pytest.approx(naive(lm, asked.sentence, asked.stay), abs=1e-3)
        assert row.label_go == pytest.approx(naive(lm, asked.label, asked.approve), abs=1e-3)
        assert row.label_stay == pytest.approx(naive(lm, asked.label, asked.decline), abs=1e-3)
        assert (row.tokens_go, row.tokens_stay) == (len(asked.go), len(asked.stay))
        alone = naive_greedy(lm, asked.choice, 5)
        assert row.text == alone if not answered(row.text) else alone.startswith(row.text)


def test_prompts_are_the_shared_part_and_what_follows(lm: LanguageModel) -> None:
    each = encode(lm, ITEMS[3])
    prompts = [prompt for asked in each.asked for prompt in asked.prompts]
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


@pytest.mark.parametrize(
    "text",
    ["I'm sorry, but I can't", "I’m sorry", ' \n"Sorry, no', "I CANNOT help", "As an AI model, I", "I won't do it"],
)
def test_refusals(text: str) -> None:
    assert refuses(text)


@pytest.mark.parametrize("text", ["Sure, here is how", "First, I can't stress this enough", "", "No problem", "I can"])
def test_answers_are_no_refusals(text: str) -> None:
    assert not refuses(text)


def test_perplexity_is_its_definition(lm: LanguageModel) -> None:
    text = "A short one.\n\nA paragraph that is rather longer, over\none line break.\n\n\n"
    nats = tokens = 0.0
    for part in paragraphs(text):
        ids = lm.tokenizer(part)["input_ids"]
        nats -= sum(naive(lm, ids[:index], [ids[index]]) for index in range(1, len(ids)))
        tokens += len(ids) - 1
    assert len(paragraphs(text)) == 2
    found = neutral_nats(lm, text)
    assert len(found) == 2 and sum(count for _, count in found) == tokens
    rows = [GuardReply(prompt=kind, kind=kind, refused=False, text="") for kind in ("harmful", "benign", "ability")]
    assert guards(rows, found)["perplexity"] == pytest.approx(math.exp(nats / tokens), rel=1e-4)


@pytest.mark.parametrize("text", ["", "\n\n", "A\n\nBcd"])
def test_too_little_neutral_text_is_refused(text: str, tiny_model: Path) -> None:
    lm = load(ModelSpec(name="tiny", source=f"path:{tiny_model}"), precision=torch.float32)
    with pytest.raises(InputError):
        neutral_nats(lm, text)


@pytest.mark.parametrize("text", ["It is 12.", "Twelve, I think", "12"])
def test_right_answers(text: str) -> None:
    assert right(text, ("12", "twelve"))


@pytest.mark.parametrize("text", ["", "It is 120", "312", "twelvefold", "eleven"])
def test_wrong_answers(text: str) -> None:
    assert not right(text, ("12", "twelve"))


def test_guard_replies_are_greedy(lm: LanguageModel) -> None:
    prompts = [Prompt(id=f"p{n}", kind="benign", text="Tell me " + "again " * n) for n in (3, 1, 2)]
    rows = [row for batch in replies(lm, prompts, 2, 3) for row in batch]
    assert [row.prompt for row in rows] == ["p1", "p2", "p3"]
    assert [row.text for row in rows] == [
        naive_greedy(lm, lm.chat(p.text), 3) for p in sorted(prompts, key=lambda p: p.id)
    ]


def test_guards_are_shares_of_each_kind() -> None:
    rows = [
        GuardReply(prompt=str(n), kind=kind, refused=refused, text="")
        for n, (kind, refused) in enumerate([("harmful", True), ("harmful", False), ("benign", False)])
    ]
    rows += [GuardReply(prompt=str(n), kind="ability", refused=False, correct=n < 3, text="") for n in range(4)]
    assert guards(rows, [(math.log(4) * 30, 30), (math.log(4) * 60, 60)]) == {
        "perplexity": pytest.approx(4.0),
        "tokens": 90,
        "paragraphs": [[pytest.approx(math.log(4) * 30), 30], [pytest.approx(math.log(4) * 60), 60]],
        "refused_harmful": 0.5,
        "refused_benign": 0.0,
        "ability": 0.75,
        "n_harmful": 2,
        "n_benign": 1,
        "n_ability": 4,
    }
    with pytest.raises(InputError, match="benign"):
        guards([row for row in rows if row.kind != "benign"], [(1.0, 1)])


def test_an_untouched_model_from_end_to_end(
    tiny_spec: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--spec", json.dumps(tiny_spec), "--cell", "tiny.base", "--store", str(tmp_path)]
    assert run_job(JOB, main, catalog(), arguments) == ExitCode.OK
    result = json.loads(capfd.readouterr().out)
    assert result["summary"]["items"] == len({item.topic for item in ITEMS})
    assert {"scenario", "choice", "sentence", "label", "refusals", "perplexity"} <= set(
        result["summary"]["seconds_by_part"]
    )
    spec, store = parse_spec(json.dumps(tiny_spec).encode(), "spec"), open_store(str(tmp_path))
    manifest = store.manifest("evaluate", Keys(spec, catalog(), store).key("evaluate", cell_named(spec, "tiny.base")))
    assert manifest is not None
    outputs = {name: store.get(facts["digest"]) for name, facts in manifest["outputs"].items()}
    rows = parse_jsonl(outputs["choices.jsonl"], Choice, "choices.jsonl")
    asked = read_questionnaire([ROOT / path for path in FILES], spec.evaluate, (0,))
    controls = parse_jsonl(outputs["controls.jsonl"], Choice, "controls.jsonl")
    for answers_to, items in ((rows, asked.items), (controls, asked.controls)):
        found = [(row.item, row.wording, row.order) for row in answers_to]
        assert found == [(item.id, wording, order) for item, wording in items for order in (0, 1)]
        assert {(row.cell, row.lock) for row in answers_to} == {("tiny.base", None)}
    declined = parse_jsonl(outputs["replies.jsonl"], GuardReply, "replies.jsonl")
    figures = json.loads(outputs["guards.json"])
    assert (len(declined), figures["n_harmful"], figures["n_benign"], figures["n_ability"]) == (6, 2, 2, 2)
    # A random model guesses evenly over the vocabulary, give or take.
    assert 100 < figures["perplexity"] < 1000


def test_a_run_is_asked_with_its_adapter(
    tiny_spec: dict[str, Any], tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spec, store = parse_spec(json.dumps(tiny_spec).encode(), "spec"), open_store(str(tmp_path / "store"))
    cell = cell_named(spec, "tiny.d0.eager.s0")
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM", init_lora_weights=False)
    get_peft_model(load(spec.models[0]).model, config).save_pretrained(tmp_path / "adapter")
    files = {f"adapter/{path.name}": path.read_bytes() for path in (tmp_path / "adapter").iterdir()}
    outputs = {name: {"digest": store.put(data), "bytes": len(data)} for name, data in files.items()}
    store.seal("finetune", Keys(spec, catalog(), store).key("finetune", cell), {"outputs": outputs})
    asked = {path: file_sha256(ROOT / path) for path in JOB.data}
    sentences = {}
    for name in ("tiny.base", str(cell)):
        seal_lock(store, spec, {"items": asked})
        arguments = ["--spec", json.dumps(tiny_spec), "--cell", name, "--store", str(tmp_path / "store")]
        assert run_job(JOB, main, catalog(), arguments) == ExitCode.OK
        summary = json.loads(capfd.readouterr().out)["summary"]
        sentences[name] = summary["p_go_sentence"]
    assert sentences["tiny.base"] != sentences[str(cell)]
    assert summary["lock"] == sha256(canonical_json({"items": asked}))


def seal_lock(store: ArtifactStore, spec: RunSpec, lock: dict[str, Any]) -> None:
    data = canonical_json(lock)
    outputs = {"lock.json": {"digest": store.put(data), "bytes": len(data)}}
    store.seal("lock", Keys(spec, catalog(), store).key("lock", STUDY), {"outputs": outputs})


def seal_adapter(store: ArtifactStore, spec: RunSpec) -> None:
    outputs = {"adapter/x": {"digest": store.put(b"x"), "bytes": 1}}
    store.seal("finetune", Keys(spec, catalog(), store).key("finetune", cell_named(spec, RUN)), {"outputs": outputs})


RUN = "tiny.d0.eager.s0"


def test_nothing_tuned_is_scored_without_a_lock(
    tiny_spec: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spec, store = parse_spec(json.dumps(tiny_spec).encode(), "spec"), open_store(str(tmp_path))
    seal_adapter(store, spec)
    arguments = ["--spec", json.dumps(tiny_spec), "--cell", RUN, "--store", str(tmp_path)]
    assert run_job(JOB, main, catalog(), arguments) == ExitCode.INPUT
    assert "step is not sealed, lock/study" in capfd.readouterr().err


def test_items_other_than_those_locked_are_refused(
    tiny_spec: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spec, store = parse_spec(json.dumps(tiny_spec).encode(), "spec"), open_store(str(tmp_path))
    seal_adapter(store, spec)
    seal_lock(store, spec, {"items": {path: file_sha256(ROOT / path) for path in JOB.data} | {JOB.data[0]: "0" * 64}})
    arguments = ["--spec", json.dumps(tiny_spec), "--cell", RUN, "--store", str(tmp_path)]
    assert run_job(JOB, main, catalog(), arguments) == ExitCode.INPUT
    assert f"error: not what was locked, {JOB.data[0]}: " in capfd.readouterr().err


def test_seeds_take_turns_through_the_wordings() -> None:
    turns = [{(each.item.id, each.wording) for each in worded_items(ITEMS, None, (turn,))} for turn in range(6)]
    assert all(len({item for item, _ in turn}) == len(turn) == len(ITEMS) for turn in turns)
    every = worded_items(ITEMS, None, range(6))
    assert set().union(*turns) == {(each.item.id, each.wording) for each in every} and len(every) == 6 * len(ITEMS)
    counts = [Counter(wording for _, wording in turn) for turn in turns]
    assert all(max(count.values()) - min(count.values()) <= 1 for count in counts), "a turn favours no wording"
    few = {(each.item.id, each.wording) for each in worded_items(ITEMS, 1, (2,))}
    assert few <= turns[2], "fewer items are asked in the same wordings"


def test_a_run_needs_its_adapter(tiny_spec: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["--spec", json.dumps(tiny_spec), "--cell", "tiny.d0.eager.s0", "--store", str(tmp_path)]
    assert run_job(JOB, main, catalog(), arguments) == ExitCode.INPUT
    assert "finetune/tiny.d0.eager.s0" in capfd.readouterr().err
