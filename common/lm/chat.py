"""A model that is ready to run, and how to talk to it: chats as token ids."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from common.errors import InputError
from common.lm.templates import Turns, check_parts, rendered, reserved, special_ids, special_tokens
from common.spec import ModelSpec


@dataclass(frozen=True)
class LanguageModel:
    """A model ready to run, its tokenizer and how to talk to it."""

    spec: ModelSpec
    folder: Path  # of its files
    model: PreTrainedModel | PeftModel  # in eval mode; the latter with an adapter on
    tokenizer: PreTrainedTokenizerBase

    def chat(
        self,
        user: str,
        reply: str | None = None,
        where: str = "",
        told: str | None = None,
        earlier: Sequence[Turns] = (),
    ) -> list[int]:
        """Token ids of system prompt and user turn, up to where the reply begins; with `reply`, to its end.

        Templates hold their own BOS, so none is added; the date and the system prompt are pinned by the spec.
        where: what the texts are called in an error, such as a question's id. told: a system prompt in place of that of
        the spec; it opens the user's turn of a model to which none is sent. earlier: questions of the user and their
        replies, as turns before this one.
        Raises: InputError if a text holds special tokens of this tokenizer, or marks of the template.
        """
        for text in (user, reply or "", told or "", *(text for turns in earlier for text in turns)):
            self._refuse_special(text, where)
        spec = self.spec
        if told is not None and spec.system_prompt is None:
            user = f"{told}\n\n{user}"
        elif told is not None:
            spec = spec.model_copy(update={"system_prompt": told})
        return self._ids(rendered(self.tokenizer, spec, user, reply, earlier))

    def answered(self, user: str, reply: str, where: str = "") -> tuple[list[int], list[int]]:
        """Token ids of the prompt, as `chat`, and of what follows it: the reply with its end of turn.

        Raises: InputError as `chat`, and if the template puts the reply anywhere but right behind the prompt, or more
        than the end of its turn behind it.
        """
        for text in (user, reply):
            self._refuse_special(text, where)
        before, whole = rendered(self.tokenizer, self.spec, user), rendered(self.tokenizer, self.spec, user, reply)
        check_parts(before, whole, reply, special_tokens(self.tokenizer), where or self.spec.name)
        prompt, both = self._ids(before), self._ids(whole)
        if both[: len(prompt)] != prompt:  # the tokenizer joins what meets there, such as line breaks
            return prompt, self._ids(whole[len(before) :])
        return prompt, both[len(prompt) :]

    @functools.cached_property
    def special(self) -> frozenset[int]:
        """Ids of all special tokens."""
        return special_ids(self.tokenizer)

    @functools.cached_property
    def _reserved(self) -> tuple[str, ...]:
        return reserved(self.tokenizer, self.spec)

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _refuse_special(self, text: str, where: str) -> None:
        found = next((mark for mark in self._reserved if mark in text), None)
        if found is None and (read := self.special.intersection(self._ids(text))):
            found = str(self.tokenizer.convert_ids_to_tokens(min(read)))  # written otherwise, and read alike
        if found is not None:
            place = ", ".join(filter(None, (self.spec.name, where)))
            raise InputError("text holds a special token or mark of the chat template", where=place, value=found)
