"""Chat templates: rendered with all that a spec pins, and checked before anything is trained or asked. No torch.

A template is a program that comes with a model. It may read the clock, refuse the system role, or put words of its own
before a reply; then a study would measure those. What a spec cannot pin is refused, and what it can is named.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerBase

from common.errors import InputError, JobError, SpecError, broken_settings, out_of_memory
from common.lm.bounded import bounded
from common.spec import ModelSpec

DATES = ("%d %b %Y", "%d %B %Y", "%Y-%m-%d", "%B %d, %Y", "%b %d, %Y")
CHANCE = re.compile(r"\|\s*random\b|[\"']random[\"']|\blipsum\b")  # what Jinja itself offers a template to draw from
ADDRESS = re.compile(r"\bat 0x[0-9a-f]{4,}>")  # how Python writes what has no text: otherwise in each process
PROBE = {"system": "Qsystemq.", "user": "Quserq?", "assistant": "Qreplyq."}  # words that no template holds
EARLIER = ("Qearlierq?", "Qansweredq.")  # the same of a question and its reply before
LONGEST = 4_000_000  # characters of a chat; a row of a corpus has a quarter of it at most
LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")  # as settings of models call them
MOST_LAYERS = 10_000  # more than any model has; a library makes room for as many as it is told
THINKING = 'template_arguments that leave it out, such as {"enable_thinking": false}'


def read_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in a model's folder; no code of the folder is run. Raises: InputError if it cannot be read."""
    try:
        found = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # of many kinds, by the file that is broken
        if not broken_settings(error):
            raise
        raise InputError("the tokenizer cannot be read", where=str(folder), value=str(error)) from error
    assert isinstance(found, PreTrainedTokenizerBase)
    return found


def read_config(folder: Path) -> Any:
    """The model's settings, of a type that transformers knows: its own class is used, and no code of the folder runs.

    Raises: InputError if they cannot be read, or the type is unknown.
    """
    _check_layers(folder / "config.json")
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        if not broken_settings(error):
            raise
        allowed = "a type of model that transformers knows; code that comes with a model is never run"
        raise InputError(
            "the model's config cannot be used", where=str(folder), value=str(error), allowed=allowed
        ) from error


def _check_layers(path: Path) -> None:
    """Raises: InputError if settings name more layers than any model has. What is no JSON, their reader says."""
    try:
        settings = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return
    parts = [settings, *settings.values()] if isinstance(settings, dict) else []  # a model of several has them apart
    for name in LAYERS:
        for part in parts:
            count = part.get(name) if isinstance(part, dict) else None
            if isinstance(count, int) and count > MOST_LAYERS:
                what, allowed = "the model's config cannot be used", f"at most {MOST_LAYERS}"
                raise InputError(what, where=f"{path}:/{name}", value=count, allowed=allowed)


# --- rendering


class Turns(NamedTuple):
    """A user's turn and its reply, earlier in a chat."""

    user: str
    reply: str


def rendered(
    tokenizer: PreTrainedTokenizerBase,
    spec: ModelSpec,
    user: str,
    reply: str | None = None,
    earlier: Sequence[Turns] = (),
) -> str:
    """A chat as text, up to where the reply begins; with `reply`, to its end. earlier: turns before the user's.

    Raises: InputError if the template refuses the chat; SpecError if it asks for the date and the spec's is none.
    """
    before = [pair for turns in earlier for pair in (("user", turns.user), ("assistant", turns.reply))]
    said = [("system", spec.system_prompt), *before, ("user", user), ("assistant", reply)]
    messages = [{"role": role, "content": text} for role, text in said if text is not None]
    given: dict[str, Any] = {"date_string": spec.date_string, "strftime_now": clock(spec), **spec.template_arguments}
    try:
        with bounded("the chat template", spec.name):
            found = tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=reply is None, **given
            )
    except JobError:
        raise
    except Exception as error:  # it is a program, and may end by any
        if out_of_memory(error):
            raise
        raise InputError("the chat template refuses the chat", where=spec.name, value=str(error)) from error
    if len(found) > LONGEST:
        value, allowed = f"{len(found)} characters", f"at most {LONGEST}"
        raise InputError("the chat template writes too much", where=spec.name, value=value, allowed=allowed)
    return str(found)


def clock(spec: ModelSpec) -> Callable[[str], str]:
    """What answers a template that asks for the time: midnight, UTC, of the spec's date, in any format."""

    def strftime_now(form: str) -> str:
        moment = _date(spec)
        form = re.sub("%([%s])", lambda found: "%%" if found[1] == "%" else str(int(moment.timestamp())), form)
        return moment.strftime(form)

    return strftime_now


def _date(spec: ModelSpec) -> datetime:
    for form in DATES:
        try:
            return datetime.strptime(spec.date_string, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    where = f"date_string of {spec.name}"
    raise SpecError(
        "the chat template asks for a date", where=where, value=spec.date_string, allowed='as "26 Jul 2024"'
    )


def check_parts(prompt: str, whole: str, reply: str, special: Collection[str], where: str) -> None:
    """Refuse a template that puts anything but the reply and the end of its turn behind a prompt.

    special: the tokens that may end a turn.
    Raises: InputError if the prompt changes when a reply follows, the reply is not in it as it was given, or other text
    stands before or behind it.
    """
    if not reply.strip():
        raise InputError("the reply is blank", where=where, value=reply)
    if not whole.startswith(prompt):
        raise InputError("the chat template changes the prompt when a reply follows", where=where)
    before, found, after = whole[len(prompt) :].partition(reply.strip())
    if not found:
        what = "the chat template does not keep prompt and reply apart"
        raise InputError(what, where=where, value=whole[len(prompt) :])
    if before.strip():
        raise InputError(
            "the chat template puts text before the reply", where=where, value=before.strip(), allowed=THINKING
        )
    marks = sorted(filter(None, special), key=len, reverse=True)
    if not after.strip().startswith(tuple(marks)):
        raise InputError("the chat template does not end the turn after a reply", where=where, value=after)
    if rest := re.sub("|".join(map(re.escape, marks)), "", after).strip():
        what = "the chat template puts text behind the end of the reply's turn"
        raise InputError(what, where=where, value=rest, allowed="special tokens alone")


# --- what no text of a user may hold


def reserved(tokenizer: PreTrainedTokenizerBase, spec: ModelSpec) -> tuple[str, ...]:
    """What stands for a turn or its end, the longest first: in a text it would make a turn that nobody wrote.

    Special tokens, those added to the vocabulary that the template writes, and marks that it writes in plain letters.
    """
    added = tokenizer.added_tokens_decoder.values()
    frame = re.split("|".join(map(re.escape, PROBE.values())), _frame(tokenizer, spec))
    source = "".join([template(tokenizer, spec), *frame])
    written = {token.content for token in added if _is_mark(token.content) and token.content in source}
    plain = {line.strip() for piece in frame for line in piece.splitlines() if len(line.strip()) > 2}
    marks = {line for line in plain if _is_mark(line) and any(map(str.isalnum, line))}
    return tuple(sorted({*special_tokens(tokenizer), *written, *marks} - {""}, key=lambda mark: (-len(mark), mark)))


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> set[str]:
    """All special tokens as text, those too that are only added to the vocabulary."""
    added = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    return {*tokenizer.all_special_tokens, *added}


def special_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Ids of all special tokens, of those too that are only added to the vocabulary; not that of unknown text."""
    added = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return frozenset({*tokenizer.all_special_ids, *added} - {tokenizer.unk_token_id})


def _frame(tokenizer: PreTrainedTokenizerBase, spec: ModelSpec) -> str:
    system = None if spec.system_prompt is None else PROBE["system"]
    probe = spec.model_copy(update={"system_prompt": system})
    return rendered(tokenizer, probe, PROBE["user"], PROBE["assistant"])


def _is_mark(text: str) -> bool:
    return any(not (letter.isalnum() or letter.isspace()) for letter in text)


# --- the check


def template(tokenizer: PreTrainedTokenizerBase, spec: ModelSpec) -> str:
    """The source of the template that a spec means.

    Raises: InputError if the tokenizer has none, or several of which none is chosen.
    """
    held: str | Mapping[str, str] | None = tokenizer.chat_template
    chosen = spec.template_arguments.get("chat_template")
    names = sorted(held) if isinstance(held, Mapping) else []
    if held is None or held in ("", {}):
        raise InputError("the tokenizer has no chat template", where=spec.source)
    if isinstance(held, str) and chosen is None:
        return held
    if isinstance(held, str) or (chosen or "default") not in names:
        choose = f'template_arguments {{"chat_template": <one of {", ".join(names)}>}}' if names else "no such argument"
        what = "no such chat template" if chosen else "several chat templates, and none is the default"
        raise InputError(what, where=spec.name, value=chosen or names, allowed=choose)
    return held[str(chosen or "default")]


def check_template(tokenizer: PreTrainedTokenizerBase, spec: ModelSpec) -> None:
    """Try a model's chat template on words that it cannot know.

    Raises: InputError if there is none, it refuses or drops the system prompt or earlier turns, reads chance, changes
    the prompt or the reply, puts text before or behind the reply, does not end the turn, or tells turns apart by words
    alone; SpecError if it asks for a date that the spec has not, or the system prompt holds a mark of the template.
    """
    source = template(tokenizer, spec)
    if (chance := CHANCE.search(source)) is not None:
        raise InputError("the chat template draws by chance", where=spec.name, value=chance[0])
    _check_system(tokenizer, spec)
    user, reply = PROBE["user"], PROBE["assistant"]
    prompt, whole = rendered(tokenizer, spec, user), rendered(tokenizer, spec, user, reply)
    if (prompt, whole) != (rendered(tokenizer, spec, user), rendered(tokenizer, spec, user, reply)):
        raise InputError("the chat template writes another text each time", where=spec.name, value=prompt)
    if user not in prompt:
        raise InputError("the chat template changes what the user says", where=spec.name, value=prompt)
    if (address := ADDRESS.search(whole)) is not None:
        raise InputError("the chat template writes another text each time", where=spec.name, value=address[0])
    check_parts(prompt, whole, reply, special_tokens(tokenizer), spec.name)
    _check_earlier(tokenizer, spec)
    _check_marks(tokenizer, spec)


def _check_earlier(tokenizer: PreTrainedTokenizerBase, spec: ModelSpec) -> None:
    """Whether a chat can hold turns before the user's, as that of a base prompted by examples does."""
    allowed = "a template that holds several turns: the base is asked with earlier ones too"
    try:
        found = rendered(tokenizer, spec, PROBE["user"], earlier=[Turns(*EARLIER)])
    except InputError as error:
        if error.__cause__ is None:  # it was stopped, or wrote too much
            raise
        value = str(error.__cause__)
        raise InputError(
            "the chat template takes no earlier turns", where=spec.name, value=value, allowed=allowed
        ) from error
    places = [found.find(text) for text in (*EARLIER, PROBE["user"])]
    if -1 in places or places != sorted(places) or not found[places[1] + len(EARLIER[1]) : places[2]].strip():
        raise InputError("the chat template leaves out earlier turns", where=spec.name, value=found, allowed=allowed)


def _check_marks(tokenizer: PreTrainedTokenizerBase, spec: ModelSpec) -> None:
    """Refuse a template whose turns no mark tells apart, and a system prompt that holds such a mark."""
    marks = reserved(tokenizer, spec)
    between = _frame(tokenizer, spec).partition(PROBE["user"])[2].partition(PROBE["assistant"])[0]
    if not any(mark in between for mark in marks):
        what = "the chat template tells turns apart by words that a text may hold"
        raise InputError(what, where=spec.name, value=between, allowed="a special token or another mark between them")
    if found := next((mark for mark in marks if mark in (spec.system_prompt or "")), None):
        what = "the system prompt holds a special token or mark of the chat template"
        raise SpecError(what, where=f"system_prompt of {spec.name}", value=found)


def _check_system(tokenizer: PreTrainedTokenizerBase, spec: ModelSpec) -> None:
    if spec.system_prompt is None:
        return
    without = spec.model_copy(update={"system_prompt": None})
    allowed = '"system_prompt": null, which sends none'
    try:
        found = rendered(tokenizer, spec, PROBE["user"])
    except InputError as error:
        if error.__cause__ is None:
            raise
        rendered(tokenizer, without, PROBE["user"])  # or it is not the system prompt that it refuses
        value = str(error.__cause__)
        raise InputError(
            "the chat template takes no system prompt", where=spec.name, value=value, allowed=allowed
        ) from error
    if spec.system_prompt.strip() not in found:
        value = found
        raise InputError(
            "the chat template leaves out the system prompt", where=spec.name, value=value, allowed=allowed
        )
