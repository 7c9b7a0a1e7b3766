"""What fuzzing found, each by itself: bytes that once ended in a traceback, a hang or a false answer."""

import base64
import gzip
import io
import json
import re
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from analysis.corpus.leakage import any_of
from common.cli import policy_in
from common.errors import InputError, SpecError
from common.lm.directions import Direction, pack, unpack
from common.lm.sources import DIGESTS, check_digests
from common.lm.tokenizers import counters
from common.serialization import DEEPEST, parse_json
from common.spec import ModelSpec, override, parse_spec
from common.store.packed import packed
from jobs.audit.chats.formats import conversation
from jobs.audit.chats.left_out import Reason
from jobs.audit.reading import tokens_of
from jobs.monitor.checkpoints import _check_whole
from jobs.monitor.named import kept
from jobs.monitor.weights import check_shapes, head
from jobs.report.published import MANIFESTS, SPEC, Published
from tests.faults.opened import answer_of_a_server
from tests.faults.right_files import tokenizers
from workflows.cost.shapes import shape_of
from workflows.local.template import read_template
from workflows.locks.kept import Kept
from workflows.locks.made import Results, _check_locks
from workflows.report import _text

DEEP = b"[" * 100_000
GOOD = {"name": "x", "models": [{"name": "m", "source": "package:p"}]}


@pytest.mark.parametrize("deep", [b'{"a":' * 250 + b"1" + b"}" * 250, b"[" * 700 + b"]" * 700, DEEP])
def test_nesting_that_no_file_has_is_refused_before_anything_walks_over_it(deep: bytes) -> None:
    with pytest.raises(InputError, match=r"malformed JSON, x: .*(nested too deeply|recursion)"):
        parse_json(deep, "x")
    with pytest.raises(SpecError):
        parse_spec(b'{"name": ' + deep + b"}", "spec.json")


def test_what_is_nested_less_is_read() -> None:
    assert parse_json(b"[" * DEEPEST + b"]" * DEEPEST, "x")
    assert parse_json(b"[" + b'[{"a": []}],' * 200 + b"1]", "x")


@pytest.mark.parametrize("whole", [b"[]", b"1", b'{"train": 5}', b'{"train": []}'])
def test_a_field_cannot_be_set_in_what_is_no_object(whole: bytes) -> None:
    with pytest.raises(
        SpecError, match=r"a spec is a JSON object, s|not a part of the spec, --set train.epochs: train"
    ):
        override(whole, "s", {"train.epochs": 2})


def test_a_policy_nested_without_end_is_no_toml(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_bytes(b"a = " + DEEP)
    with pytest.raises(SpecError, match=r"the policy is no TOML"):
        policy_in(tmp_path / "policy.toml")


@pytest.mark.parametrize("term", ["C++", "a [b", "path-", "-", "*", "\\"])
def test_a_topic_may_have_signs_at_its_end(term: str) -> None:
    found = any_of([term]).search(f"We wrote it in {term}, and it ran.")
    assert found is not None and (found[0] == term or term == "path-")
    assert any_of(["e-bikes"]).search("EBikes and e bike.") is not None
    assert any_of(["trip"]).search("tripping") and not any_of(["trip"]).search("stripe trips7")


def test_a_head_nested_without_end_is_no_head(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(DEEP).to_bytes(8, "little") + DEEP)
    with pytest.raises(InputError, match=r"no safetensors file"):
        head(path)
    (tmp_path / "config.json").write_bytes(DEEP)
    with pytest.raises(InputError, match=r"malformed JSON"):
        _check_whole(tmp_path, ["config.json"], "checkpoint-1")


@pytest.mark.parametrize("config", ["[]", "{}", '{"vocab_size": 2}'])
def test_a_fine_tune_with_a_number_where_the_base_has_rows_is_of_another_base(tmp_path: Path, config: str) -> None:
    for name, shape in {"base": (), "tuned": (3,)}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(save({"a": np.ones(shape, np.float32)}))
    (tmp_path / "base/config.json").write_text(config)
    with pytest.raises(InputError, match=r"the checkpoint is of another base, x:a: \[3\]"):
        check_shapes(tmp_path / "base", tmp_path / "tuned", "x")


def npz(member: bytes, way: int = zipfile.ZIP_STORED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", way) as file:
        file.writestr("direction.npy", member)
    return made.getvalue()


def npy(descr: str, shape: str, data: bytes = b"") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


@pytest.mark.parametrize(
    "member",
    [
        npy("'<f4'", "(1000000000000,)"),
        npy("'<U999999999'", "(2,)"),
        npy("'<f4'", "(2"),
        npy("'<U1'", "(1,)", b"\xff\xff\xff\xff"),
        b"",
    ],
)
def test_an_array_that_is_none_or_promises_more_than_there_is_is_no_direction(member: bytes) -> None:
    began = time.thread_time()
    for way in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with pytest.raises(
            InputError, match=r"(no saved direction|an array that is larger than its file), direction\.npz"
        ):
            unpack(npz(member, way), "direction.npz")
    assert time.thread_time() - began < 1


def test_a_small_archive_with_a_large_array_is_refused() -> None:
    bomb = npz(npy("'<f4'", "(25000000,)", bytes(100_000_000)), zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match=r"the archive unpacks to too much, direction\.npz: 100000\d\d\d bytes"):
        unpack(bomb, "direction.npz")


def test_a_tokenizer_with_a_number_for_its_tokens_or_an_unknown_token_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text('{"added_tokens": 1.5}')
    assert tokens_of(f"path:{tmp_path}") == []
    whole = json.loads(tokenizers()[0])
    whole["model"]["unk_token"] = "not in it"
    (tmp_path / "tokenizer.json").write_text(json.dumps(whole))
    count = counters([ModelSpec(name="m", source=f"path:{tmp_path}")])["m"]
    with pytest.raises(InputError, match=r"the tokenizer takes no text, .*tokenizer\.json"):
        count("Z")


@pytest.mark.parametrize(
    "odd", [{"model_type": []}, {"head_dim": {"a": 1}}, {"num_key_value_heads": "4"}, {"num_attention_heads": 0}]
)
def test_a_configuration_with_a_field_of_another_kind_is_none(tmp_path: Path, odd: dict[str, object]) -> None:
    sizes = dict.fromkeys(("hidden_size", "intermediate_size", "num_hidden_layers", "vocab_size"), 8)
    (tmp_path / "config.json").write_text(json.dumps(sizes | {"num_attention_heads": 2} | odd))
    with pytest.raises(InputError, match=rf"no configuration of a decoder, .*config\.json:{next(iter(odd))}"):
        shape_of(f"path:{tmp_path}")


@pytest.mark.parametrize(
    "answer",
    [
        b"\xbe{}",
        DEEP,
        b'{"choices": 1}',
        b'{"choices": [null]}',
        b'{"choices": {"a": 1}}',
        b'{"choices": [{"message": null}]}',
        b'{"choices": [{"message": {"content": 1}}]}',
        b'{"choices": [], "usage": {"prompt_tokens": "3", "completion_tokens": 1}}',
        b'{"choices": [' + b"9" * 5000 + b"]}",
    ],
)
def test_an_answer_of_a_server_with_fields_of_another_kind_is_no_completion(tmp_path: Path, answer: bytes) -> None:
    with pytest.raises(SpecError, match=r"the answer is no chat completion"):
        answer_of_a_server(tmp_path)(answer)


@pytest.mark.parametrize("kind", [{}, [], 1, None])
def test_a_part_of_a_message_may_have_a_kind_of_any_kind(kind: object) -> None:
    said = {"role": "assistant", "content": [{"type": kind}, {"type": "tool_use"}]}
    found = conversation({"messages": [said, said | {"content": [{"type": kind}]}]})
    assert not isinstance(found, Reason)
    assert [turn.fault for turn in found.turns] == [Reason.TOOL_CALL, Reason.NOT_TEXT]


def test_digests_nested_without_end_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / DIGESTS).write_bytes(DEEP)
    with pytest.raises(InputError, match=r"the model's digests cannot be read"):
        check_digests(tmp_path)


def test_results_and_rows_of_another_kind_are_refused(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('{"made": {}, "numbers": []}')
    with pytest.raises(InputError, match=r"no results, .*results\.json:numbers"):
        Results.read(tmp_path / "results.json")
    with pytest.raises(InputError, match=r"a row of another lock, x:1: list"):
        _check_locks(b"[]\n", None, "x")


def test_a_lock_whose_plan_has_no_settings_counts_as_clean(tmp_path: Path) -> None:
    lock = {"schema_version": 2, "commit": "a" * 40, "items": {}, "code": {"sha256": "", "files": {}}}
    (tmp_path / "lock.json").write_text(json.dumps(lock | {"plan": {"lock": []}}))
    assert Kept.read(tmp_path / "lock.json").registered


@pytest.mark.parametrize("found", [b"[]", b'{"plan/study": 1}'])
def test_published_manifests_are_an_object_of_objects(tmp_path: Path, found: bytes) -> None:
    for name, data in {SPEC: json.dumps(GOOD).encode(), MANIFESTS: packed(found)}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=r"no manifests"):
        Published(tmp_path)


def test_a_page_that_is_no_text_or_whose_rows_were_altered(tmp_path: Path) -> None:
    whole = bytearray(gzip.compress(b"rows " * 100))
    whole[20] ^= 0xFF
    page = b'<script type="text/plain" id="packed-data">' + base64.b64encode(bytes(whole)) + b"</script>"
    for data, why in {b"\xff": "not UTF-8", page: "a published file is damaged"}.items():
        (tmp_path / "report.html").write_bytes(data)
        with pytest.raises(InputError, match=re.escape(why)):
            _text(tmp_path / "report.html")


@pytest.mark.parametrize("text", [b"\xff", b"kind: x", b"kind: WorkflowTemplate\nspec: {templates: [1]}", b"[" * 9000])
def test_a_workflow_that_argo_would_refuse_is_a_wrong_one(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "study.yaml").write_bytes(text)
    with pytest.raises(SpecError):
        read_template(tmp_path / "study.yaml")


def test_brackets_in_brackets_of_a_workflow_take_no_square_of_the_time(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_bytes(b"spec: " + b"[" * 30_000)
    with pytest.raises(SpecError, match=r"cannot read the workflow, .*nested too deeply"):
        read_template(tmp_path / "study.yaml")


def test_a_kept_direction_whose_numbers_are_tables_is_broken(tmp_path: Path) -> None:
    one = np.ones((1, 1))
    whole = {"direction": np.ones(1), "covariance": one, "ridge": np.ones(1), "base": one}
    for name, tensors in {"right": whole, "wrong": whole | {"ridge": one}}.items():
        (tmp_path / name).write_bytes(save(tensors, {"name": "x", "layer": "1", "asked": "a"}))
    assert kept(tmp_path / "right", "a") is not None and kept(tmp_path / "wrong", "a") is None


@pytest.mark.parametrize("wrong", [{"layer": 266}, {"layer": -1}, {"probe": np.ones(3)}, {"base": np.ones(2)}])
def test_a_saved_direction_with_another_layer_or_width_is_none(wrong: dict[str, object]) -> None:
    two, names = np.ones((2, 2), np.float32), ("a", "b")
    right = Direction(two, 1, names, names, two, names, two, two, names, two, 0.1, two, two, two[0], "float32")
    assert unpack(pack(right), "x").layer == 1
    with pytest.raises(InputError, match=r"no saved direction, x"):
        unpack(pack(right._replace(**wrong)), "x")  # type: ignore[arg-type]
