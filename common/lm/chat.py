"""A model that is ready to run, and how to talk to it: chats as token ids."""

from dataclasses import dataclass
from pathlib import Path

from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from common.errors import InputError
from common.spec import ModelSpec


@dataclass(frozen=True)
class LanguageModel:
    """A model ready to run, its tokenizer and how to talk to it."""

    spec: ModelSpec
    folder: Path  # of its files
    model: PreTrainedModel | PeftModel  # in eval mode; the latter with an adapter on
    tokenizer: PreTrainedTokenizerBase

    def chat(self, user: str, reply: str | None = None) -> list[int]:
        """Token ids of system prompt and user turn, up to where the reply begins; with `reply`, to its end.

        Templates hold their own BOS, so none is added; the date and the system prompt are pinned by the spec.
        Raises: InputError if the text holds special tokens of this tokenizer.
        """
        self._refuse_special(user)
        messages = [{"role": "system", "content": self.spec.system_prompt}, {"role": "user", "content": user}]
        if reply is not None:
            self._refuse_special(reply)
            messages.append({"role": "assistant", "content": reply})
        text = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=reply is None, date_string=self.spec.date_string
        )
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _refuse_special(self, text: str) -> None:
        for token in self.tokenizer.all_special_tokens:
            if token in text:
                raise InputError("text holds a special token of the chat template", where=self.spec.name, value=token)
