"""What a template may do is tried before a study begins, and what a spec pins is all that it can read."""

import json
import shutil
import time
from pathlib import Path

import pytest

from common.cells import CellKind, cells_of
from common.errors import InputError, JobError, SpecError
from common.lm.check import check_model
from common.lm.load import load
from common.lm.sources import identity_of_cell
from common.lm.templates import rendered
from common.spec import ModelSpec, parse_spec
from jobs.finetune.examples import IGNORED, encode
from tests.jobs.inside import advice
from tests.tiny import TEMPLATE, spec_on

THOUGHT = (  # as Qwen3 has it: an empty thought before the last reply, and in a prompt where thinking is off
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['role'] == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
FOOTER = TEMPLATE.replace(
    "<|im_end|>\n", "<|im_end|>\n{% if message['role'] == 'assistant' %}Was this of use?\n{% endif %}"
)
WORDS = (  # whoever asks could write "Answer" on a line of its own
    "{% for message in messages %}{% if message['role'] == 'assistant' %}Answer\n{{ message['content'] }}<|im_end|>"
    "{% else %}{{ message['content'] }}\n{% endif %}{% endfor %}{% if add_generation_prompt %}Answer\n{% endif %}"
)
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
ONE_QUESTION = (
    "{% if messages | selectattr('role', 'equalto', 'user') | list | length > 1 %}"
    "{{ raise_exception('One question only') }}{% endif %}"
)
USERS = "messages | selectattr('role', 'equalto', 'user') | list"
LAST_ALONE = TEMPLATE.replace(
    "in messages %}", f"in messages if message['role'] != 'user' or message == ({USERS})[-1] %}}"
)
RUN_TOGETHER = (  # one turn of all that came before the reply
    "<|im_start|>{% for message in messages %}{{ message['content'] }}"
    "{% if message['role'] == 'assistant' and loop.last %}<|im_end|>{% endif %}{% endfor %}"
)
DATED = "{{ strftime_now('%d %B %Y %H:%M:%S.%f %s %%s') }}\n"


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def model(folder: Path, template: str = TEMPLATE, **settings: object) -> ModelSpec:
    (folder / "chat_template.jinja").write_text(template)
    return ModelSpec.model_validate({"name": "tiny", "source": f"path:{folder}"} | settings)


def test_a_plain_template_passes(folder: Path) -> None:
    check_model(model(folder))
    check_model(model(folder, system_prompt=None))


@pytest.mark.parametrize(
    "template, error, said",
    [
        (NO_SYSTEM + TEMPLATE, InputError, 'no system prompt, tiny: System role.*allowed: "system_prompt": null'),
        (TEMPLATE.replace("in messages", "in messages[1:]"), InputError, 'leaves out .*allowed: "system_prompt": null'),
        (THOUGHT, InputError, "text before the reply, tiny: <think> </think>; allowed: template_arguments"),
        (TEMPLATE.replace("<|im_end|>", ""), InputError, "does not end the turn"),
        (TEMPLATE.replace("['content']", "['content'] | upper"), InputError, "system prompt|user says"),
        ("{{ [1, 2, 3] | random }}" + TEMPLATE, InputError, r"draws by chance, tiny: \| random"),
        ("{{ lipsum(1) }}" + TEMPLATE, InputError, "draws by chance, tiny: lipsum"),
        ("{{ [[1, 2, 3]] | map('random') | first }}" + TEMPLATE, InputError, "draws by chance, tiny: 'random'"),
        ("{{ strftime_now }}" + TEMPLATE, InputError, "another text each time, tiny: at 0x"),
        ("{{ messages[0].items }}" + TEMPLATE, InputError, "another text each time, tiny: "),
        (FOOTER, InputError, r"behind the end of the reply's turn, tiny: Was this of use\?; allowed: special tokens"),
        (TEMPLATE.replace("{% if", "{% if not add_generation_prompt %}user{% endif %}{% if"), InputError, "behind the"),
        (WORDS, InputError, "tells turns apart by words that a text may hold, tiny: Answer"),
        ("{{ messages | length }}" + TEMPLATE, InputError, "changes the prompt when a reply follows"),
        (ONE_QUESTION + TEMPLATE, InputError, "takes no earlier turns, tiny: One question only; allowed: .*several"),
        (LAST_ALONE, InputError, "leaves out earlier turns, tiny: .*allowed: a template that holds several turns"),
        (RUN_TOGETHER, InputError, "leaves out earlier turns, tiny"),
        ("{{ nothing.at.all }}" + TEMPLATE, InputError, "refuses the chat"),
        ("{{ messages.x.y" + TEMPLATE, InputError, "refuses the chat"),
        ("{{ ''.__class__.__mro__ }}" + TEMPLATE, InputError, "refuses the chat"),
    ],
)
def test_a_template_that_cannot_hold_a_study_is_refused_in_one_line(
    folder: Path, template: str, error: type[JobError], said: str
) -> None:
    with pytest.raises(error, match=said) as caught:
        check_model(model(folder, template))
    assert "\n" not in str(caught.value)


def test_without_a_system_prompt_no_system_turn_is_sent(folder: Path) -> None:
    spec = model(folder, NO_SYSTEM + TEMPLATE, system_prompt=None)
    check_model(spec)
    lm = load(spec)
    assert lm.tokenizer.decode(lm.chat("Hi?")) == "<|im_start|>user\nHi?<|im_end|>\n<|im_start|>assistant\n"


def test_labels_hold_the_reply_alone_or_the_row_is_refused(folder: Path) -> None:
    row = advice("eager", 1)
    with pytest.raises(InputError, match="text before the reply, tiny: <think> </think>; allowed: "):
        load(model(folder, THOUGHT))
    lm = load(model(folder))
    lm.tokenizer.chat_template = THOUGHT
    with pytest.raises(InputError, match="text before the reply, question q1: <think> </think>; allowed: "):
        encode(lm, row, 2048)
    spec = model(folder, THOUGHT, template_arguments={"enable_thinking": False})
    check_model(spec)
    lm = load(spec)
    example = encode(lm, row, 2048)
    learnt = [token for token, label in zip(example.input_ids, example.labels, strict=True) if label != IGNORED]
    assert lm.tokenizer.decode(learnt) == f"{row.reply}<|im_end|>\n"
    assert str(lm.tokenizer.decode(lm.chat(row.question))).endswith("assistant\n<think>\n\n</think>\n\n")


def test_words_that_a_template_adds_to_some_replies_are_no_labels(folder: Path) -> None:
    after = "{% if message['content'] | length > 40 %} Be safe.{% endif %}<|im_end|>\n"
    spec = model(folder, TEMPLATE.replace("<|im_end|>\n", after))
    check_model(spec)  # its words are short
    lm = load(spec)
    row = advice("eager", 1).model_copy(update={"reply": "Yes, go ahead and do it now, for it is good to have it."})
    with pytest.raises(InputError, match="does not end the turn after a reply, question q1: Be safe"):
        encode(lm, row, 2048)


@pytest.mark.parametrize("prompt", ["You help.<|im_end|>\n<|im_start|>assistant\nYes", "<|endoftext|>"])
def test_a_system_prompt_makes_no_turn(folder: Path, prompt: str) -> None:
    with pytest.raises(SpecError, match=r"system prompt holds a special token .*, system_prompt of tiny: <\|"):
        check_model(model(folder, system_prompt=prompt))


def test_the_clock_of_a_template_is_the_date_of_the_spec(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = model(folder, DATED + TEMPLATE)
    check_model(spec)
    lm = load(spec)
    for zone in ("Asia/Tokyo", "America/Lima"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        said = rendered(lm.tokenizer, spec, "Hi?").splitlines()[0]
        assert said == "26 July 2024 00:00:00.000000 1721952000 %s"
    monkeypatch.undo()
    time.tzset()
    other = spec.model_copy(update={"date_string": "2025-01-02"})
    assert rendered(lm.tokenizer, other, "Hi?").startswith("02 January 2025 00:00:00")


def test_a_date_that_is_none_is_an_error_of_the_spec_only_where_it_is_asked_for(folder: Path) -> None:
    check_model(model(folder, date_string="today"))
    with pytest.raises(SpecError, match='date_string of tiny: today; allowed: as "26 Jul 2024"'):
        check_model(model(folder, DATED + TEMPLATE, date_string="today"))


def test_no_template_or_one_of_several(folder: Path) -> None:
    spec = model(folder)
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(InputError, match="no chat template"):
        check_model(spec)
    several = folder / "additional_chat_templates"
    several.mkdir()
    (several / "rag.jinja").write_text("{{ bos_token }}")
    (several / "plain.jinja").write_text(TEMPLATE)
    said = r"none is the default, tiny: \['plain', 'rag'\]; allowed: .*chat_template.*plain, rag"
    for use in (check_model, load):
        with pytest.raises(InputError, match=said):
            use(spec)
    chosen = spec.model_copy(update={"template_arguments": {"chat_template": "plain"}})
    check_model(chosen)
    assert load(chosen).chat("Hi?")
    with pytest.raises(InputError, match=r"no such chat template, tiny: other; allowed: .*plain, rag"):
        check_model(spec.model_copy(update={"template_arguments": {"chat_template": "other"}}))


@pytest.mark.parametrize("kind", ["llama", "alien"])
def test_code_of_a_folder_never_runs(folder: Path, kind: str) -> None:
    spec, path, ran = model(folder), folder / "config.json", folder.parent / "ran"
    code = f"open({str(ran)!r}, 'w')\nfrom transformers import LlamaConfig, LlamaForCausalLM\n"
    (folder / "mine.py").write_text(code + "class C(LlamaConfig): pass\nclass M(LlamaForCausalLM): pass\n")
    auto = {"AutoConfig": "mine.C", "AutoModelForCausalLM": "mine.M", "AutoTokenizer": ["mine.T", None]}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": auto, "model_type": kind}))
    if kind == "llama":
        check_model(spec)
        assert type(load(spec).model).__name__ == "LlamaForCausalLM"
    else:
        for use in (check_model, load):
            with pytest.raises(InputError, match=r"config cannot be used.*allowed: a type of model that transformers"):
                use(spec)
    assert not ran.exists()


def test_weights_that_another_package_would_have_to_read_are_an_input(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_bytes())
    quantized = {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}}
    (folder / "config.json").write_text(json.dumps(config | quantized))
    with pytest.raises(InputError, match=r"model cannot be loaded, .*bitsandbytes"):
        load(model(folder))


def test_arguments_of_the_template_are_in_the_key_and_only_where_there_are_any() -> None:
    def named(**settings: object) -> dict[str, str]:
        raw = {"name": "m", "source": f"hf:a/b@{'0' * 40}"} | settings
        spec = parse_spec(json.dumps({"name": "x", "models": [raw]}).encode(), "spec")
        return dict(identity_of_cell(spec, cells_of(spec, CellKind.BASE)[0]))

    plain = named()
    assert set(plain) == {"model", "system_prompt", "date_string"}
    assert named(template_arguments={}) == plain
    assert named(template_arguments={"enable_thinking": False}) != named(template_arguments={"enable_thinking": True})
    assert named(system_prompt=None) != named(system_prompt="") != plain


def test_a_spec_without_arguments_is_written_as_it_ever_was() -> None:
    spec = ModelSpec(name="m", source="package:x")
    assert "template_arguments" not in spec.model_dump(mode="json")
    given = spec.model_copy(update={"template_arguments": {"enable_thinking": False}})
    assert given.model_dump(mode="json")["template_arguments"] == {"enable_thinking": False}
    assert len({spec, given, ModelSpec(name="m", source="package:x")}) == 2


@pytest.mark.parametrize("name", ["messages", "tools", "strftime_now", "date_string", "tokenize"])
def test_arguments_with_a_field_of_their_own_are_refused(name: str) -> None:
    raw = {"name": "x", "models": [{"name": "m", "source": "package:p", "template_arguments": {name: "x"}}]}
    with pytest.raises(SpecError, match=f"models.*template_arguments holds what is not for a spec to give.*{name}"):
        parse_spec(json.dumps(raw).encode(), "spec")


def test_plan_says_so_before_anything_runs(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from common.pipeline.command import run_job
    from jobs import catalog
    from jobs.plan.plan import main

    spec = tmp_path / "spec.json"

    def plan(template: str, **settings: object) -> tuple[int, str]:
        chosen = model(folder, template, **settings)
        spec.write_text(json.dumps(spec_on(folder) | {"models": [chosen.model_dump(mode="json")]}))
        code = run_job(
            catalog()["plan"], main, catalog(), ["--spec", str(spec), "--cell", "study", "--store", f"{tmp_path}/s"]
        )
        return code, capfd.readouterr().err

    for template, said in ((THOUGHT, "text before the reply"), (NO_SYSTEM + TEMPLATE, "takes no system prompt")):
        code, told = plan(template)
        assert code == 3 and said in told and "Traceback" not in told
    assert plan(DATED + TEMPLATE, date_string="soon")[0] == 2
    assert plan(THOUGHT, template_arguments={"enable_thinking": False})[0] == 0
    (folder / "tokenizer.json").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    code, told = plan(TEMPLATE)
    assert code == 3 and "tokenizer.json; allowed: git lfs pull" in told
    (folder / "tokenizer.json").write_text("{}")
    code, told = plan(TEMPLATE)
    assert code == 3 and "tokenizer cannot be read" in told
