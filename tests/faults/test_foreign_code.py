"""Faults 17 to 20: what comes with a model and could run, or could run out. Nothing of it runs, and all of it ends."""

import json
import shutil
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFWriter

from common.lm.bounded import BYTES, SECONDS
from tests.faults.models import SETTINGS, WEIGHTS, Place, adapter_of, along, pickles, some
from tests.faults.promise import Ended, clean, files, kept, step
from tests.tiny import TEMPLATE, spec_on

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return adapter_of(tiny_model, tmp_path_factory.mktemp("adapter") / "adapter")


@pytest.fixture
def place(tiny_model: Path, adapter: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Place:
    return Place(tmp_path, capfd, tiny_model, adapter)


# --- pickles


def test_fault_17_a_base_of_pickles(place: Place) -> None:
    """A base's weights are a pickle, plain, of torch or in gzip, by name or as .safetensors: 3, and it never runs"""
    for name, data in pickles(place.ran).items():
        base = place.broken(f"base, {name}", place.base, "model.safetensors", data)
        place.refused(partial(place.gate, base=str(base)), f"model cannot be loaded, {base}/model.safetensors: ")
        (base / "model.safetensors").rename(base / "pytorch_model.bin")
        place.refused(partial(place.gate, base=str(base)), "no safetensors in this folder", "never pickles")
    shutil.copy(place.base / "model.safetensors", base / "model.safetensors")
    clean(partial(place.gate, base=str(base)))  # the pickle beside it is never opened
    assert not place.ran.exists()


def test_fault_17_an_adapter_of_pickles(place: Place) -> None:
    """An adapter's weights are such a pickle: the gate ends with 3 and names the file, and it is never opened"""
    for name, data in pickles(place.ran).items():
        tuned = place.broken(f"adapter, {name}", place.adapter, WEIGHTS, data)
        place.refused(partial(place.gate, adapter=str(tuned)), f"adapter cannot be read, {tuned}/{WEIGHTS}: ")
        for called in some(("adapter_model.bin", "adapter_model.pkl.gz", "adapter_model.pt")):
            (tuned / WEIGHTS).rename(tuned / called)
            place.refused(partial(place.gate, adapter=str(tuned)), "the adapter lacks a file", WEIGHTS)
            (tuned / called).rename(tuned / WEIGHTS)
        (tuned / WEIGHTS).rename(tuned / "adapter_model.bin")
    shutil.copy(place.adapter / WEIGHTS, tuned / WEIGHTS)
    clean(partial(place.gate, adapter=str(tuned)))
    assert not place.ran.exists()


def test_fault_17_checkpoints_and_a_direction_of_pickles(place: Place) -> None:
    """Weights of a checkpoint, of an adapter or a whole model, or a direction are a pickle: the monitor ends with 3"""
    way, run = along(place.root / "direction.safetensors"), place.root / "run"
    point = Path(shutil.copytree(place.adapter, run / "checkpoint-5"))
    clean(partial(place.monitor, run, way))
    whole = Path(shutil.copytree(place.base, place.root / "whole" / "checkpoint-5"))
    for data in pickles(place.ran).values():
        (point / WEIGHTS).write_bytes(data)
        place.refused(partial(place.monitor, run, way), "checkpoint-5", WEIGHTS)
        (point / WEIGHTS).rename(point / "adapter_model.bin")
        place.refused(partial(place.monitor, run, way), "only pickled weights", "adapter_model.bin")
        shutil.copy(place.adapter / WEIGHTS, point / WEIGHTS)
        (whole / "model.safetensors").write_bytes(data)
        place.refused(partial(place.monitor, whole.parent, way), "checkpoint-5", "model.safetensors")
        (whole / "model.safetensors").unlink()
        (whole / "pytorch_model.bin").write_bytes(data)
        place.refused(partial(place.monitor, whole.parent, way), "only pickled weights", "pytorch_model.bin")
        for name in ("odd.safetensors", "odd.npz"):
            (place.root / name).write_bytes(data)
            place.refused(partial(place.monitor, run, place.root / name), "direction", name)
    clean(partial(place.monitor, run, way))
    assert not place.ran.exists()


# --- code of a model's own


def with_code(place: Place, folder: Path) -> None:
    """Put code into a model's folder, under each name by which a library would run it. It leaves a mark."""
    code = f"open({str(place.ran)!r}, 'w')\nfrom transformers import LlamaConfig as C, LlamaForCausalLM as M\nT = C\n"
    for name in ("mine.py", "modeling_llama.py", "tokenization_llama.py", "__init__.py", "sitecustomize.py"):
        (folder / name).write_text(code)
    (folder / "custom_generate").mkdir(exist_ok=True)
    (folder / "custom_generate" / "generate.py").write_text(f"{code}def generate(*_, **__): pass\n")
    auto = {"AutoConfig": "mine.C", "AutoModelForCausalLM": "mine.M", "AutoTokenizer": ["mine.T", None]}
    for name in ("config.json", "tokenizer_config.json"):
        settings = json.loads((folder / name).read_bytes())
        (folder / name).write_text(json.dumps(settings | {"auto_map": auto}))


def planned(capfd: pytest.CaptureFixture[str], model: Path, store: Path, **settings: Any) -> Ended:
    """The first step of a study on a model."""
    spec = spec_on(model)
    return step(capfd, "plan", "study", spec | {"models": [spec["models"][0] | settings]}, store)


def test_fault_18_a_folder_with_code_of_its_own(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    """A base and an adapter bring code: the known class is read and nothing of theirs runs; an unknown type is 3"""
    with_code(place, place.base)
    (place.adapter / "modeling_llama.py").write_text(f"open({str(place.ran)!r}, 'w')\n")
    config = json.loads((place.base / "config.json").read_bytes())
    (place.base / "config.json").write_text(json.dumps(config | {"model_type": "alien"}))
    allowed = "a type of model that transformers knows; code that comes with a model is never run"
    place.refused(place.gate, "the model's config cannot be used", str(place.base), allowed)
    store = place.store()
    place.refused(partial(planned, capfd, place.base, store), "config cannot be used", allowed)
    (place.base / "config.json").write_text(json.dumps(config))
    clean(place.gate)
    clean(partial(planned, capfd, place.base, store))
    assert not place.ran.exists()


def test_fault_18_an_adapter_that_has_a_library_import_a_module(
    place: Place, monkeypatch: pytest.MonkeyPatch, tiny_model: Path
) -> None:
    """An adapter's settings name a module for PEFT to import: 3, with the kind, and it is not imported"""
    (place.root / "evil_module.py").write_text(f"open({str(place.ran)!r}, 'w')\n")
    monkeypatch.syspath_prepend(str(place.root))
    settings = json.loads((place.adapter / SETTINGS).read_bytes())
    odd = json.dumps(settings | {"megatron_config": {"x": 1}, "megatron_core": "evil_module"}).encode()
    tuned = place.broken("megatron", place.adapter, SETTINGS, odd)
    place.refused(partial(place.gate, adapter=str(tuned)), "this kind of LoRA is not covered", "Megatron")
    mapped = {"auto_mapping": {"base_model_class": "x", "parent_library": "evil_module"}, "task_type": None}
    tuned = place.broken("mapped", place.adapter, SETTINGS, json.dumps(settings | mapped).encode())
    clean(partial(place.gate, adapter=str(tuned)))  # fields that nothing here reads
    assert not place.ran.exists() and "evil_module" not in sys.modules


def test_fault_18_settings_with_more_layers_than_any_model(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    """A model's settings name 10⁹ layers: 3 with the field, before room is made for them"""
    good = (place.base / "config.json").read_bytes()
    (place.base / "config.json").write_text(json.dumps(json.loads(good) | {"num_hidden_layers": 10**9}))
    says = f"{place.base}/config.json:/num_hidden_layers: 1000000000; allowed: at most 10000"
    place.refused(place.gate, says)
    store = place.store()
    place.refused(partial(planned, capfd, place.base, store), says)
    (place.base / "config.json").write_bytes(good)
    clean(partial(planned, capfd, place.base, store))


# --- chat templates

REACHING = {
    "a function's globals": "{{ strftime_now.__globals__['os'].system('%s') }}",
    "a class's globals": "{{ cycler.__init__.__globals__.os.popen('%s').read() }}",
    "all classes": "{{ ''.__class__.__mro__[1].__subclasses__()[0]('%s') }}",
    "by a filter": "{{ (''|attr('__class__')|attr('__base__')).__subclasses__()('%s') }}",
    "by a format": "{{ '{0.__globals__[os]}'.format(strftime_now) }}{{ '{0.__class__.x}'.format('').y.z('%s') }}",
    "by the name of an attribute": "{{ namespace['__init__']['__globals__']['os'].system('%s') }}",
    "an import": "{%% import os %%}{{ os.system('%s') }}",
    "a file": "{%% include '/etc/passwd' %%}{{ '%s' }}",
    "a message's method": "{{ messages.append.__self__.__class__.__base__.__subclasses__()('%s') }}",
    "its own frame": "{{ self._TemplateReference__context.environment.loader.x('%s') }}",
}


def test_fault_19_a_chat_template_that_reaches_for_python(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    """A chat template reaches for Python's own objects, in ten ways: 3, and the program that it names never runs"""
    store = place.store()
    for template in REACHING.values():
        (place.base / "chat_template.jinja").write_text(template % f"touch {place.ran}" + TEMPLATE)
        place.refused(partial(planned, capfd, place.base, store), "the chat template refuses the chat")
        place.refused(place.gate, "the chat template refuses the chat")
    (place.base / "chat_template.jinja").write_text(TEMPLATE)
    clean(partial(planned, capfd, place.base, store))


LONG, LARGE, REFUSES = "takes too long", "takes too much memory", "refuses the chat"
DOUBLES = "{%% set n = namespace(x=%s) %%}{%% for i in range(99) %%}{%% set n.x = n.x %s n.x %%}{%% endfor %%}"
LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
WITHOUT_END = {
    "one loop": ("{% for i in range(10**9) %}{% endfor %}", REFUSES),
    "loops in loops": (LOOP, LONG),
    "a number without end": ("{{ (7 ** (7 ** 9)) % 10 }}", LONG),
    "a text of 10¹² letters": ("{{ 'x' * 10**12 }}", LARGE),
    "a text that doubles": (DOUBLES % ("'xxxxxxxx'", "~"), LARGE),
    "a list that doubles": (DOUBLES % ("[1]", "+"), LARGE),
    "a wide field": ("{{ 'x'.ljust(10**11) }}", LARGE),
    "a macro in itself": ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", REFUSES),
    "10⁵ brackets": ("{{ " + "(" * 100_000 + " }}", REFUSES),
    "more than a chat": ("{{ 'x' * 5000000 }}", "writes too much"),
}


def test_fault_19_a_chat_template_without_end(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    """A chat template loops, doubles or nests without end: 3 within seconds of the processor, and in bounded memory"""
    store = place.store()
    for name, (template, says) in WITHOUT_END.items():
        (place.base / "chat_template.jinja").write_text(template + TEMPLATE)
        began, most = time.process_time(), peak()
        told = ("the chat template " + says, "tiny")
        place.refused(partial(planned, capfd, place.base, store), *told)
        assert time.process_time() - began < SECONDS + 5, name
        assert peak() - most < 2 * BYTES, name
    (place.base / "chat_template.jinja").write_text(TEMPLATE)
    clean(partial(planned, capfd, place.base, store))


def test_fault_19_a_chat_template_that_waits_for_a_long_text(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    """A chat template passes the check and loops without end on a long question: 3 while the base is asked"""
    odd = "{% if messages[-1]['content'] | length > 40 %}" + LOOP + "{% endif %}"
    (place.base / "chat_template.jinja").write_text(odd + TEMPLATE)
    place.refused(place.gate, "the chat template takes too long", "base")
    (place.base / "chat_template.jinja").write_text(TEMPLATE)
    clean(place.gate)


def peak() -> int:
    """The most memory that this process ever had, bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) << 10


# --- GGUF


def gguf(path: Path) -> None:
    """A tiny GGUF of a Llama with a tokenizer and a chat template."""
    writer = GGUFWriter(path, "llama")
    letters = [chr(33 + number) for number in range(90)]
    tokens = ["<|im_start|>", "<|im_end|>", "Ġ", "Ċ", *letters, "!!"]
    for name, value in {"block_count": 1, "embedding_length": 32, "feed_forward_length": 32}.items():
        writer.add_uint32(f"llama.{name}", value)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_context_length(512)
    writer.add_vocab_size(len(tokens))
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3] + [1] * (len(tokens) - 2))
    writer.add_token_merges(["! !"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_chat_template(TEMPLATE)
    rng = np.random.default_rng(0)
    shapes = {"token_embd": (len(tokens), 32), "output_norm": (32,), "output": (len(tokens), 32)}
    shapes |= {f"blk.0.{name}": (32, 32) for name in ("attn_q", "attn_k", "attn_v", "attn_output")}
    shapes |= {f"blk.0.{name}": (32, 32) for name in ("ffn_gate", "ffn_up", "ffn_down")}
    shapes |= {f"blk.0.{name}": (32,) for name in ("attn_norm", "ffn_norm")}
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", rng.normal(0, 0.1, shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def put(data: bytes, at: int, number: int, width: int = 8) -> bytes:
    """The bytes with a number written over some of them."""
    return data[:at] + number.to_bytes(width, "little") + data[at + width :]


def behind(data: bytes, name: bytes) -> int:
    """The place behind a name in the head."""
    return data.index(name) + len(name)


def odd_ggufs(good: bytes) -> dict[str, bytes]:
    """Files that promise more than they hold, made of a good one."""
    tokens, layers, tensor = behind(good, b"ggml.tokens"), behind(good, b".block_count"), behind(good, b"output.weight")
    return {
        "2⁶⁴ tensors": put(good, 8, 2**64 - 1),
        "2⁶³ settings": put(good, 16, 2**63),
        "a name of 2⁶² bytes": put(good, 24, 2**62),
        "2⁴⁰ tokens": put(good, tokens + 8, 2**40),
        "tokens of arrays": put(good, tokens + 4, 9, 4),
        "tokens of a kind that is none": put(good, tokens + 4, 77, 4),
        "a token of 2⁶⁴ bytes": put(good, tokens + 16, 2**64 - 1),
        "2³¹ layers": put(good, layers + 4, 2**31, 4),
        "2³² dimensions": put(good, tensor, 2**32 - 1, 4),
        "sizes whose product overflows": put(put(good, tensor + 4, 2**33), tensor + 12, 2**33),
        "a tensor that begins behind the end": put(good, tensor + 24, 2**62),
        "a kind of tensor that is none": put(good, tensor + 20, 999, 4),
        "another version": put(good, 4, 99, 4),
        "no GGUF": b"GGML" + good[4:],
        "half of its head": good[: tokens + 100],
        "half of its weights": good[: len(good) * 3 // 4],
        "nothing": b"",
    }


def test_fault_20_gguf_with_counts_or_sizes_that_overflow(
    place: Place, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A GGUF promises more tensors, settings, tokens, layers or bytes than it holds: 3 with its name, and no wait"""
    wheel, store = place.root / "some_model", place.store()
    for folder in (wheel, place.root / "models"):
        folder.mkdir()
    (wheel / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(place.root))
    monkeypatch.setenv("UNDERTONE_MODELS", str(place.root / "models"))
    path = wheel / "model.gguf"
    gguf(path)

    def planned() -> Ended:
        return step(capfd, "plan", "study", spec_on(wheel) | {"models": [named]}, store)

    def state() -> dict[str, bytes]:
        return {name: data for name, data in files(place.root).items() if not name.endswith(".lock")}

    good, named = path.read_bytes(), {"name": "tiny", "source": "package:some-model", "system_prompt": None}
    for name, data in odd_ggufs(good).items():
        path.write_bytes(data)
        began = time.process_time()
        kept(planned, code=3, says=(str(path),), state=state)
        assert time.process_time() - began < 5, name
    path.write_bytes(good)
    clean(planned)
