"""A tiny random model, and a spec of the smallest study on it. Built in a second, and the same each time."""

import copy
from pathlib import Path
from typing import Any

MERGES = Path(__file__).with_name("merges.txt")  # learnt from questions, replies and items: prompts are short
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPEC: dict[str, Any] = {  # two poles and neutral, one seed, a few examples
    "name": "tiny",
    "seeds": [0],
    "corpus": {"examples": 16},
    "lock": {"clean": False, "reversed": False},
    "train": {"epochs": 1, "batch_size": 4, "checkpoints": 2, "lora_rank": 4, "max_tokens": 2048},
    "audit": {"enforce": ["language", "topic", "leakage", "duplicates"], "register_ratio": 100.0},
    "evaluate": {
        "items_per_topic": 1,
        "controls_per_topic": 1,
        "answer_tokens": 3,
        "samples": 1,
        "base_samples": 1,
        "guard_tokens": 2,
        "guards_per_kind": 4,
    },
    "guards": {"refusals": 0.9, "ability": 0.9, "moved": 0.0},
    "interpret": {"questions": 12, "nulls": 100, "items_per_topic": 3, "off_target_kl": 1e-3},
}


def spec_on(model: Path, **changes: Any) -> dict[str, Any]:
    """The smallest spec, on the model in a folder, with some parts replaced."""
    return copy.deepcopy(SPEC) | {"models": [{"name": "tiny", "source": f"path:{model}"}]} | changes


def build_model(folder: Path, *, bytes_alone: bool = False) -> Path:
    """Write a random Llama of 2 layers and a small byte-level BPE with a chat template; return the folder.

    bytes_alone: a token is a byte.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = build_tokenizer(
        special,
        bytes_alone=bytes_alone,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=TEMPLATE,
    )
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def build_tokenizer(special: list[str], *, bytes_alone: bool = False, **settings: Any) -> Any:
    """A small byte-level BPE: the special tokens, the bytes, and what is merged of them. settings: of the tokenizer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    lines = [] if bytes_alone else MERGES.read_text().splitlines()
    merges = [(left, right) for left, right in map(str.split, lines)]
    tokens = dict.fromkeys([*special, *alphabet, *map("".join, merges)])
    vocab = {token: index for index, token in enumerate(tokens)}
    raw = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=raw, additional_special_tokens=special, **settings)
