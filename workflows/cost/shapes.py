"""How many weights a model multiplies by, from its configuration alone: no weights are read, and no torch is imported.

configs.json holds configurations of models that need not be on this machine, as their publishers give them: the key is
the source of a spec without its revision.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from common.errors import InputError
from common.lm.flops import FORWARD, FROZEN, TRAINED
from common.lm.sources import hub_name, models_folder
from common.serialization import parse_json

CONFIGS = Path(__file__).with_name("configs.json")
BIASED = {"qwen2"}  # types whose query, key and value have a bias without saying so
NEEDED = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
SIZES = ("head_dim", "num_key_value_heads")  # that may be left out or null


class Shape(NamedTuple):
    """The sizes of a decoder with gated feed-forward layers: Llama, Qwen, Mistral and their like."""

    layers: int
    d_model: int
    d_mlp: int
    queries: int  # heads times the size of one
    keys: int  # the same of keys, and of values
    vocabulary: int
    tied: bool  # whether the output is the embedding
    biased: bool  # whether query, key and value have a bias

    @classmethod
    def of(cls, config: dict[str, Any], where: str) -> "Shape":
        """From the configuration of transformers. Raises: InputError if it is none of such a decoder."""
        if missing := [name for name in NEEDED if type(config.get(name)) is not int]:
            allowed = ", ".join(NEEDED)
            raise InputError("no configuration of a decoder", where=where, value=missing[0], allowed=allowed)
        odd = [name for name in SIZES if type(config.get(name) or 0) is not int]
        if odd or not isinstance(config.get("model_type", ""), str) or not config["num_attention_heads"]:
            name = (*odd, "model_type" if config["num_attention_heads"] else "num_attention_heads")[0]
            raise InputError("no configuration of a decoder", where=f"{where}:{name}", value=config[name])
        heads = config["num_attention_heads"]
        size = config.get("head_dim") or config["hidden_size"] // heads
        return cls(
            config["num_hidden_layers"],
            config["hidden_size"],
            config["intermediate_size"],
            heads * size,
            (config.get("num_key_value_heads") or heads) * size,
            config["vocab_size"],
            bool(config.get("tie_word_embeddings")),
            bool(config.get("attention_bias", config.get("model_type") in BIASED)),
        )

    @property
    def linears(self) -> list[tuple[int, int]]:
        """Inputs and outputs of the matrices of one block."""
        d, q, k, m = self.d_model, self.queries, self.keys, self.d_mlp
        return [(d, q), (d, k), (d, k), (q, d), (d, m), (d, m), (m, d)]

    @property
    def frozen(self) -> int:
        """Weights of the model that a token meets, the output among them: norms and biases too, as flops_per_token."""
        norms = self.d_model * (2 * self.layers + 1)
        biases = self.layers * (self.queries + 2 * self.keys) * self.biased
        return self.layers * sum(a * b for a, b in self.linears) + self.vocabulary * self.d_model + norms + biases

    @property
    def parameters(self) -> int:
        """All weights."""
        return self.frozen + (0 if self.tied else self.vocabulary * self.d_model)

    def lora(self, rank: int) -> int:
        """Weights of LoRA on every matrix of its blocks."""
        return self.layers * rank * sum(a + b for a, b in self.linears)

    def trained_flops(self, rank: int) -> int:
        """Operations of a token that is trained on."""
        return FROZEN * self.frozen + TRAINED * self.lora(rank)

    @property
    def read_flops(self) -> int:
        """Operations of a token that is read or written."""
        return FORWARD * self.frozen


@cache
def listed() -> dict[str, dict[str, Any]]:
    """Configurations by source, without revision."""
    found: dict[str, dict[str, Any]] = json.loads(CONFIGS.read_bytes())
    return found


def shape_of(source: str) -> Shape | None:
    """The shape of a spec's model; None where its configuration is neither here nor listed.

    Raises: InputError for a configuration that cannot be read.
    """
    if (path := _here(source)) is not None:
        config = parse_json(path.read_bytes(), str(path))
        return Shape.of(config if isinstance(config, dict) else {}, str(path))
    name = source.partition("@")[0]
    return Shape.of(listed()[name], f"{CONFIGS.name}:{name}") if name in listed() else None


def _here(source: str) -> Path | None:
    """The config.json of a model that lies on this machine."""
    if source.startswith("path:"):
        return Path(source.removeprefix("path:")) / "config.json"
    if not source.startswith("hf:"):
        return None
    from huggingface_hub import try_to_load_from_cache

    repo, revision = hub_name(source)
    prefetched = models_folder() / f"{repo.replace('/', '--')}@{revision}" / "config.json"
    if prefetched.is_file():
        return prefetched
    cached = try_to_load_from_cache(repo, "config.json", revision=revision)
    return Path(cached) if isinstance(cached, str) else None
