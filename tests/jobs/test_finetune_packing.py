"""Packed training is the same training: of each example alone, of PEFT, of transformers' norms and of all logits."""

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from common.errors import SpecError
from jobs.finetune import fused, packing
from jobs.finetune.examples import IGNORED, Example
from jobs.finetune.fused import fuse_norms, nats, register
from jobs.finetune.packing import Packed, before_replies, features, packed_attention, reply_loss
from tests.jobs.finetuning import LOUD

pytestmark = LOUD
LENGTHS = ((5, 3), (1, 9), (12, 1), (4, 4))  # of prompts and replies


def rows(vocabulary: int) -> list[Example]:
    draw = torch.Generator().manual_seed(1)
    ids = [torch.randint(3, vocabulary, (sum(lengths),), generator=draw).tolist() for lengths in LENGTHS]
    return [Example(made, [IGNORED] * p + made[p:]) for made, (p, _) in zip(ids, LENGTHS, strict=True)]


def llama(**changes: Any) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    config: dict[str, Any] = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    config |= {"num_attention_heads": 4, "num_key_value_heads": 2, "attn_implementation": "eager"}
    torch.manual_seed(2)
    return LlamaForCausalLM(LlamaConfig(**config | changes))


def qwen2(**changes: Any) -> Any:
    """It has biases on q, k and v; they are drawn, since they begin as zeros."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config: dict[str, Any] = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    config |= {"num_attention_heads": 4, "num_key_value_heads": 1, "attn_implementation": "eager"}
    torch.manual_seed(2)
    model = Qwen2ForCausalLM(Qwen2Config(**config | changes))
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter)
    return model


def tuned(model: Any, *, ours: bool) -> Any:
    """With LoRA matrices that both change something."""
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    if ours:
        register(config)
    model.requires_grad_(False)
    for name, parameter in model.named_parameters():  # norms begin as ones, which would hide that they are left out
        if "norm" in name:
            nn.init.uniform_(parameter, 0.5, 1.5)
    torch.manual_seed(3)
    made = get_peft_model(model, config)
    for name, parameter in made.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.1)
    return made


def gradients(model: Any) -> dict[str, Tensor]:
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("build", [llama, qwen2])
def test_packed_and_alone_each_example_costs_the_same_and_so_do_gradients(build: Any) -> None:
    from jobs.finetune.training import ready

    examples = rows(64)
    plain = tuned(build(), ours=False)
    alone = [
        plain(input_ids=torch.tensor([row.input_ids]), labels=torch.tensor([row.labels])).loss * row.reply_tokens
        for row in examples
    ]
    total = torch.stack(alone).sum()
    torch.autograd.backward(total)

    model = build()
    head = ready(model)
    packed = tuned(model, ours=True)
    batch = Packed()(features(examples))
    labels = batch.pop("labels")
    assert batch["input_ids"].shape == (1, sum(len(row.input_ids) for row in examples)), "no padding"
    outputs = packed(**batch)
    found = reply_loss(head, outputs, labels, torch.tensor(1))
    torch.autograd.backward(found)
    assert float(found) == pytest.approx(float(total), rel=1e-5)
    wanted = gradients(plain)
    assert wanted.keys() == gradients(packed).keys() and all("lora_" in name for name in wanted)
    for name, made in gradients(packed).items():
        torch.testing.assert_close(made, wanted[name], rtol=1e-4, atol=1e-5, msg=name)

    ends = [0, *torch.tensor([row.reply_tokens for row in examples]).cumsum(0).tolist()]
    targets = labels[0, before_replies(labels) + 1]
    for number, loss in enumerate(alone):
        part = slice(ends[number], ends[number + 1])
        mine = nats(outputs.logits[0, part].detach(), head, targets[part])
        assert float(mine) == pytest.approx(float(loss), rel=1e-5), f"example {number}"


def test_nothing_of_an_example_reaches_another() -> None:
    from jobs.finetune.training import ready

    model = llama()
    ready(model)
    examples = rows(64)
    other = [Example([7] * len(examples[0].input_ids), examples[0].labels), *examples[1:]]
    batches = [Packed()(features(chosen)) for chosen in (examples, other)]
    states = []
    for batch in batches:
        del batch["labels"]
        with torch.inference_mode():
            states.append(model(**batch).logits[0])
    mine = examples[0].reply_tokens
    assert not torch.equal(states[0][:mine], states[1][:mine]) and torch.equal(states[0][mine:], states[1][mine:])


def test_dropout_of_lora_is_that_of_peft() -> None:
    config = LoraConfig(r=4, lora_dropout=0.5, target_modules="all-linear", task_type="CAUSAL_LM")
    made = []
    for ours in (False, True):
        if ours:
            register(config)
        model = get_peft_model(llama(), config)
        torch.manual_seed(4)
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                nn.init.normal_(parameter, std=0.3)
        model.train()
        torch.manual_seed(5)
        made.append(model(input_ids=torch.arange(9)[None]).logits)
    torch.testing.assert_close(made[0], made[1])


@pytest.mark.parametrize("at_once", [64, 64 * 7, 2**22])
def test_cross_entropy_in_pieces_is_that_of_torch(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fused.LOGITS_AT_ONCE, "cpu", at_once)
    torch.manual_seed(6)
    head, hidden, targets = nn.Linear(8, 64), torch.randn(23, 8) * 40, torch.randint(64, (23,))
    head.requires_grad_(False)
    made = []
    for ours in (False, True):
        states = hidden.clone().requires_grad_()
        whole = nn.functional.cross_entropy(head(states), targets, reduction="sum")
        value = nats(states, head, targets) if ours else whole
        torch.autograd.backward(value / 3)
        made.append((value.detach(), states.grad))
    torch.testing.assert_close(made[0], made[1])


def test_a_norm_in_fewer_passes_is_that_of_transformers() -> None:
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    torch.manual_seed(7)
    norm = LlamaRMSNorm(16, eps=1e-2)
    norm.weight.data.uniform_(-1, 2)
    norm.requires_grad_(False)
    x, weights, made = torch.randn(2, 3, 16), torch.randn(2, 3, 16), []
    for change in (lambda _: None, fuse_norms):
        change(norm)
        states = x.clone().requires_grad_()
        value = norm(states)
        torch.autograd.backward((value * weights).sum())
        made.append((value.detach(), states.grad))
    torch.testing.assert_close(made[0], made[1])


def test_a_gpu_gets_the_places_where_examples_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU: tensors of the meta device that say they are on one, and what torch's kernel is given."""
    given: dict[str, Any] = {}

    def kernel(query: Tensor, key: Tensor, value: Tensor, *places: Any, **how: Any) -> Tensor:
        given.update(shapes=[tuple(part.shape) for part in (query, key, value)], places=places, how=how)
        return query

    monkeypatch.setattr(packing, "varlen_attn", kernel)
    monkeypatch.setattr(packing, "has_flash", lambda states: True)
    ends = torch.tensor([0, 4, 9], dtype=torch.int32)
    q, k, v = (torch.empty(1, heads, 9, 8, device="meta") for heads in (4, 2, 2))
    made, _ = packed_attention(nn.Module(), q, k, v, None, 0.125, ends, 5)
    assert made.shape == (1, 9, 4, 8) and given["shapes"] == [(9, 4, 8), (9, 2, 8), (9, 2, 8)]
    assert given["places"] == (ends, ends, 5, 5)
    assert given["how"] == {"scale": 0.125, "window_size": (-1, 0), "enable_gqa": True}


@pytest.mark.parametrize("other", [{"dropout": 0.1}, {"sliding_window": 4}])
def test_attention_that_is_not_there_is_refused(other: dict[str, Any]) -> None:
    states = torch.zeros(1, 2, 9, 8)
    ends = torch.tensor([0, 4, 9], dtype=torch.int32)
    with pytest.raises(SpecError, match=r"attention that packed training has not.*(dropout 0.1|window of 4)"):
        packed_attention(nn.Module(), states, states, states, None, 0.1, ends, 5, **other)
