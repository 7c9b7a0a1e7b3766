"""Models that are compared in one process: a base, adapters on it, and a whole fine-tune of it.

Adapters that leave their base alone stand side by side on one copy of it and are switched. An adapter that takes its
beginning out of the base, replaces modules of it or brings tokens has a copy of its own.
"""

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from peft import PeftModel
from safetensors import safe_open
from transformers import PreTrainedModel

from common.errors import InputError
from common.lm.chat import LanguageModel
from common.lm.fingerprint import Fingerprint, fingerprint, touched
from common.lm.foreign import WEIGHTS, Foreign, names_other_base
from common.lm.layers import decoder
from common.lm.load import attach, attach_beside, folder_of, holds_tokens, load, wearing
from common.lm.sources import identity
from common.lm.templates import read_tokenizer
from common.spec import ModelSpec

BASE = "base"


class Compared:
    """Models under names, of which one at a time is put on. Its notes say what a reader of the result must know."""

    def __init__(self, spec: ModelSpec, precision: torch.dtype | None = None, speaks: Foreign | None = None) -> None:
        """Load the base.

        speaks: an adapter whose tokenizer is used where the base has no chat template. Raises: as `load`.
        """
        self.spec, self._precision = spec, precision
        self.notes: list[str] = []
        self._tokenizer = self._templated(speaks)
        self._base = load(spec, precision, self._tokenizer)
        self._plain: Fingerprint = fingerprint(self._base.model)
        self._shared: LanguageModel | None = None  # the base with adapters side by side on it
        self._own: dict[str, LanguageModel] = {}
        self._beside: dict[str, str] = {}  # name → that of its adapter on the shared base

    def add(self, name: str, adapter: Foreign) -> None:
        """Hold an adapter under a name. Raises: InputError as `attach`."""
        if names_other_base(adapter, self.spec.source, str(self._base.folder)):
            told = f"the adapter {adapter.source} names {adapter.base} as its base"
            self.notes.append(f"{told}; it is put on {self.spec.source}, whose shapes it fits")
        if adapter.trained_on not in (None, (mine := identity(self.spec.source))):
            told = f"the adapter {adapter.source} was trained on {adapter.trained_on}"
            self.notes.append(f"{told}; it is put on {mine}, whose shapes it fits")
        rows = tokens_of(adapter.folder / WEIGHTS)
        if rows is not None and rows != self._tokens():
            self._own[name] = self._with_tokens(adapter, rows)
            return
        if adapter.tokenizer and read_tokenizer(adapter.folder).get_vocab() != self._base.tokenizer.get_vocab():
            told = f"the adapter {adapter.source} brings a tokenizer that numbers words in another way"
            self.notes.append(f"{told}; it is asked with that of the base")
        if not adapter.beside or rows is not None:
            self._own[name] = self._copy(adapter)
        elif self._shared is None:
            self._first(name, adapter)
        else:
            attach_beside(cast(PeftModel, self._shared.model), adapter.folder, name)
            self._beside[name] = name

    def add_model(self, name: str, source: str) -> None:
        """Hold a whole fine-tune under a name. Raises: as `load`."""
        spec = self.spec.model_copy(update={"source": source})
        bare = read_tokenizer(folder_of(source)).chat_template is None
        self._own[name] = load(spec, self._precision, self._base.folder if bare else None)
        self._told_template(self._own[name], source)

    @contextlib.contextmanager
    def worn(self, name: str) -> Iterator[LanguageModel]:
        """The model of this name, ready to answer; no other is on inside."""
        if name in self._own:
            yield self._own[name]
        elif self._shared is None:
            yield self._base
        else:
            with self._put_on(cast(PeftModel, self._shared.model), name):
                yield self._shared

    def _put_on(self, tuned: PeftModel, name: str) -> AbstractContextManager[None]:
        return tuned.disable_adapter() if name == BASE else wearing(tuned, self._beside[name])

    def _first(self, name: str, adapter: Foreign) -> None:
        """The first adapter on the shared base; on a copy of its own if it turns out to change the base."""
        tuned = attach(cast(PreTrainedModel, self._base.model), adapter.folder)
        found = replace(self._base, model=tuned)
        if touched(self._plain, decoder(tuned)) is None:
            self._shared, self._beside[name] = found, str(tuned.active_adapter)
            return
        self._own[name] = found
        self._base = load(self.spec, self._precision, self._tokenizer)

    def _copy(self, adapter: Foreign) -> LanguageModel:
        lm = load(self.spec, self._precision, self._tokenizer)
        return replace(lm, model=attach(cast(PreTrainedModel, lm.model), adapter.folder))

    def _with_tokens(self, adapter: Foreign, rows: int) -> LanguageModel:
        """A copy of the base with as many tokens as the adapter was trained with. Raises: InputError."""
        told = f"{self._tokens()} tokens of the base, {rows} of the adapter"
        if rows < self._tokens() or not adapter.tokenizer:
            allowed = "the adapter's own base, or the tokenizer in the adapter's folder"
            raise InputError("adapter does not fit the model", where=adapter.source, value=told, allowed=allowed)
        lm = load(self.spec, self._precision, adapter.folder)
        with torch.random.fork_rng():
            torch.manual_seed(0)  # the new rows are drawn before the adapter's own take their place
            lm.model.resize_token_embeddings(rows, mean_resizing=False)
        found = replace(lm, model=attach(cast(PreTrainedModel, lm.model), adapter.folder))
        self.notes.append(f"the adapter {adapter.source} has {rows - self._tokens()} tokens of its own")
        self._told_template(found, adapter.source)
        return found

    def _tokens(self) -> int:
        return len(cast(torch.Tensor, decoder(self._base.model).get_input_embeddings().weight))

    def _templated(self, speaks: Foreign | None) -> Path | None:
        """The folder of a tokenizer with a chat template, where the base has none and an adapter brings one."""
        if speaks is None or not speaks.tokenizer:
            return None
        if read_tokenizer(folder_of(self.spec.source)).chat_template is not None:
            return None
        if read_tokenizer(speaks.folder).chat_template is None:
            return None
        self.notes.append(f"the base has no chat template: all are asked by that of {speaks.source}")
        return speaks.folder

    def _told_template(self, lm: LanguageModel, source: str) -> None:
        if lm.tokenizer.chat_template != self._base.tokenizer.chat_template:
            self.notes.append(f"{source} is asked by its own chat template, the base by another")


def tokens_of(weights: Path) -> int | None:
    """How many tokens the whole embeddings in an adapter's file are for; None where it holds none.

    Raises: InputError if the file cannot be read.
    """
    try:
        with safe_open(weights, framework="pt") as file:
            names = [key for key in file.keys() if holds_tokens(key)]  # noqa: SIM118 - it is no dict
            return int(file.get_slice(names[0]).get_shape()[0]) if names else None
    except Exception as error:
        raise InputError("adapter cannot be read", where=str(weights.resolve()), value=str(error)) from error
