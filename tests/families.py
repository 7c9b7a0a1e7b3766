"""Tiny random models of two families, each as its publisher gives it: tokens, template, settings, shards.

What differs between the families is what a study can trip over. Qwen has no BOS, has biases, and writes a system prompt
of its own where none is sent. Llama prints a date, trims texts, has no token to pad with, several that end a reply, and
a folder of other files beside its weights.
"""

from pathlib import Path
from typing import Any

from tests.tiny import build_tokenizer

OWN_PROMPT = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
CHATML = (
    "{%- if messages[0]['role'] != 'system' %}<|im_start|>system\n" + OWN_PROMPT + "<|im_end|>\n{% endif %}"
    "{%- for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{%- if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HEADERS = (
    "{{- bos_token }}"
    "{%- if date_string is not defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
    "{%- if messages[0]['role'] == 'system' %}"
    "{% set said = messages[0]['content'] | trim %}{% set messages = messages[1:] %}"
    "{% else %}{% set said = '' %}{% endif %}"
    "<|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\n"
    "Today Date: {{ date_string }}\n\n{{ said }}<|eot_id|>"
    "{%- for message in messages %}<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n"
    "{{ message['content'] | trim }}<|eot_id|>{% endfor %}"
    "{%- if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": True,
}


def build_qwen(folder: Path) -> Path:
    """Write a random Qwen2 of 2 layers; return the folder."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = build_tokenizer(special, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=CHATML)
    config = Qwen2Config(vocab_size=len(tokenizer), bos_token_id=0, eos_token_id=2, **SIZES)
    return _write(folder, Qwen2ForCausalLM, config, tokenizer, ends=[2, 0])


def build_llama(folder: Path) -> Path:
    """Write a random Llama of 2 layers, its positions stretched as in Llama 3; return the folder."""
    from transformers import LlamaConfig, LlamaForCausalLM

    headers = ["<|start_header_id|>", "<|end_header_id|>"]
    special = ["<|begin_of_text|>", "<|end_of_text|>", *headers, "<|eom_id|>", "<|eot_id|>"]
    tokenizer = build_tokenizer(special, bos_token=special[0], eos_token="<|eot_id|>", chat_template=HEADERS)
    ends, stretched = (
        [1, 4, 5],
        {
            "rope_type": "llama3",
            "rope_theta": 500000.0,
            "factor": 32.0,
            "high_freq_factor": 4.0,
            "low_freq_factor": 1.0,
            "original_max_position_embeddings": 1024,
        },
    )
    config = LlamaConfig(
        vocab_size=len(tokenizer), head_dim=8, rope_parameters=stretched, bos_token_id=0, eos_token_id=ends, **SIZES
    )
    _write(folder, LlamaForCausalLM, config, tokenizer, ends)
    original = folder / "original"
    original.mkdir()
    (original / "params.json").write_text('{"dim": 32, "n_layers": 2}')
    (original / "consolidated.00.pth").write_bytes(b"\x80\x04 a pickle")
    return folder


def _write(folder: Path, kind: Any, config: Any, tokenizer: Any, ends: list[int]) -> Path:
    """Weights in shards, as those of 3B parameters come."""
    import torch

    torch.manual_seed(0)
    model = kind(config).to(torch.bfloat16)
    for name, tensor in model.named_parameters():
        if name.endswith(".bias"):
            torch.nn.init.normal_(tensor, std=0.1)  # they begin as zeros
    model.generation_config.update(eos_token_id=ends, do_sample=True, temperature=0.6, top_p=0.9)
    model.save_pretrained(folder, max_shard_size="60KB")
    tokenizer.save_pretrained(folder)
    return folder
