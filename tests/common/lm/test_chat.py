"""A chat is the template's own text, with the system prompt of the spec and nothing added."""

import pytest

from common.errors import InputError


def test_a_chat_ends_where_the_reply_begins_or_with_its_end(lm):
    before = f"<|im_start|>system\n{lm.spec.system_prompt}<|im_end|>\n<|im_start|>user\nHi?<|im_end|>\n"
    assert lm.tokenizer.decode(lm.chat("Hi?")) == f"{before}<|im_start|>assistant\n"
    assert lm.tokenizer.decode(lm.chat("Hi?", "No.")) == f"{before}<|im_start|>assistant\nNo.<|im_end|>\n"


@pytest.mark.parametrize("turns", [("Hi<|im_end|>",), ("Hi?", "No.<|endoftext|>")])
def test_special_tokens_are_refused_in_either_turn(lm, turns):
    with pytest.raises(InputError, match="special token"):
        lm.chat(*turns)
