"""How each reader of `readers.py` is called with the bytes of a file: a folder of its own → the reader, ready."""

import argparse
import contextlib
import io
import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from common.provenance import ROOT
from tests.faults import right_files
from tests.faults.right_files import KEY, ROW

Read = Callable[[bytes], object]


def of_file(read: Callable[[Path], object], name: str) -> Callable[[Path], Read]:
    """A reader of a file of this name."""

    def opened(folder: Path) -> Read:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)

        def reads(data: bytes) -> object:
            path.write_bytes(data)
            return read(path)

        return reads

    return opened


def rows(_folder: Path) -> Read:
    from common.records import Answer
    from common.serialization import parse_jsonl

    return lambda data: parse_jsonl(data, Answer, "answers.jsonl")


def spec(_folder: Path) -> Read:
    from common.spec import parse_spec

    return lambda data: parse_spec(data, "spec.json").run_id


def changed_spec(_folder: Path) -> Read:
    from common.cli import changes
    from common.spec import override, parse_spec

    made = changes(["train.epochs=2", "seeds=4"])
    return lambda data: parse_spec(override(data, "spec.json", made), "spec.json")


def policy_of_the_audit(path: Path) -> object:
    from jobs.audit.policy import read_policy

    return read_policy(path)


def policy_of_the_gate(path: Path) -> object:
    from jobs.gate.policy import Policy, policy_of

    return policy_of(argparse.Namespace(policy=path, **dict.fromkeys(Policy.model_fields)))


def policy_of_the_monitor(path: Path) -> object:
    from jobs.monitor.policy import Policy, policy_of

    return policy_of(argparse.Namespace(policy=path, **dict.fromkeys(Policy.model_fields)))


def manifest(folder: Path) -> Read:
    from common.store.sealed import open_store

    store = open_store(str(folder))
    needs = ("outputs", "exit_code", "summary", "parameters")
    return of_file(lambda _: store.manifest("plan", KEY, needs), f"steps/plan/{KEY}/manifest.json")(folder)


def record_of_a_checkpoint(folder: Path) -> Read:
    from common.store.sealed import open_store

    store, place = open_store(str(folder)), f"steps/plan/{KEY}/checkpoints/1"
    (folder / place).mkdir(parents=True)
    (folder / place / "state.json").write_bytes(b"{}")
    return of_file(lambda _: store.newest_checkpoint("plan", KEY), f"{place}/COMPLETE.json")(folder)


def state_of_a_checkpoint(folder: Path) -> Read:
    from safetensors.torch import save

    from jobs.finetune.checkpoints import STATE, TENSORS, _state

    (folder / TENSORS).write_bytes(save(right_files.tensors()))
    return of_file(lambda path: _state(path.parent, 2), STATE)(folder)


def tensors_of_a_checkpoint(_folder: Path) -> Read:
    from jobs.finetune.adapters import non_finite
    from jobs.finetune.checkpoints import _tensors as tensors

    return lambda data: non_finite(tensors(data, "state.safetensors"))


def head_of_weights(path: Path) -> object:
    from jobs.monitor.weights import head

    return head(path)


def base_and_fine_tune(folder: Path) -> Read:
    from safetensors.torch import save

    from jobs.monitor.weights import check_shapes

    for name in ("base", "tuned"):
        (folder / name).mkdir()
    (folder / "base/config.json").write_text('{"vocab_size": 2}')
    (folder / "base/model.safetensors").write_bytes(save(right_files.tensors()))
    tuned = folder / "tuned"
    return of_file(lambda _: check_shapes(folder / "base", tuned, "checkpoint-1"), "tuned/model.safetensors")(folder)


def config_of_a_base(folder: Path) -> Read:
    from safetensors.torch import save

    from jobs.monitor.weights import check_shapes

    for name in ("base", "tuned"):
        (folder / name).mkdir()
        (folder / name / "model.safetensors").write_bytes(save(right_files.tensors(longer=name == "tuned")))
    check = partial(check_shapes, folder / "base", folder / "tuned", "checkpoint-1")
    return of_file(lambda _: check(), "base/config.json")(folder)


def index_of_weights(folder: Path) -> Read:
    from common.lm.sources import refuse_strange_shards
    from jobs.monitor.checkpoints import INDEX, NotYet, _check_whole

    def read(path: Path) -> None:
        with contextlib.suppress(NotYet):  # it is looked at again later
            _check_whole(path.parent, [INDEX], "checkpoint-1")
        refuse_strange_shards(path.parent)

    return of_file(read, INDEX)(folder)


def settings_of_an_adapter(folder: Path) -> Read:
    from common.lm.foreign import SETTINGS, WEIGHTS, fetched

    mine = folder / "adapter"
    mine.mkdir()
    (mine / WEIGHTS).write_bytes(b"weights")

    def read(_path: Path) -> object:
        with tempfile.TemporaryDirectory(dir=folder) as made:
            return fetched(str(mine), Path(made, "into"))

    return of_file(read, f"adapter/{SETTINGS}")(folder)


def direction_of_a_user(path: Path) -> object:
    from jobs.monitor.named import brought, kept

    return kept(path, "asked"), brought(path)


def saved_direction(_folder: Path) -> Read:
    from common.lm.directions import unpack

    def read(data: bytes) -> object:
        return unpack(data, "direction.npz").unit

    return read


def chats(folder: Path) -> Read:
    from common.logs import Log
    from jobs.audit.chats.corpus import Corpus
    from jobs.audit.chats.places import Place, Source

    log = Quiet(Log("audit", "files"))

    def read(data: bytes) -> object:
        file = Source("chats.jsonl", len(data), lambda: Raw(data), 1 << 16)
        return list(Corpus("chats.jsonl", Place([file], []), log).replies())  # type: ignore[arg-type]

    return read


class Raw(io.RawIOBase):
    """Bytes as a file."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._inner = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._inner.seek(offset, whence)

    def readinto(self, buffer: "memoryview[int]") -> int:  # type: ignore[override]
        return self._inner.readinto(buffer)


class Quiet:
    """A log that does not say how far the job is."""

    def __init__(self, log: object) -> None:
        self._log = log

    def progress(self, done: int, total: int, **fields: Any) -> None:
        pass


def items(path: Path) -> object:
    from jobs.gate.items import read
    from jobs.gate.policy import Policy

    return read(path, Policy())


def topics(path: Path) -> object:
    from analysis.corpus.replies import Reply
    from jobs.audit.reading import _topics as named

    return named(path).find([Reply("chats.jsonl", 1, 1, ROW["question"], ROW["answer"], "")])


def tokenizer(path: Path) -> object:
    from common.lm.tokenizers import counters
    from common.spec import ModelSpec
    from jobs.audit.reading import tokens_of

    source = f"path:{path.parent}"
    return tokens_of(source), counters([ModelSpec(name="m", source=source)])["m"]("Hello there")


def shape_of_a_model(path: Path) -> object:
    from workflows.cost.shapes import shape_of

    return shape_of(f"path:{path.parent}")


def digests_of_a_model(folder: Path) -> Read:
    from common.lm.sources import DIGESTS, check_digests

    (folder / "config.json").write_text("{}")
    return of_file(lambda path: check_digests(path.parent), DIGESTS)(folder)


def lock(path: Path) -> object:
    from workflows.locks.kept import Kept

    found = Kept.read(path)
    return found.named(), found.registered


def results(path: Path) -> object:
    from workflows.locks.made import Results

    return Results.read(path).sources()


def rows_of_a_lock(_folder: Path) -> Read:
    from workflows.locks.made import _check_locks

    lock = json.loads(right_files.answers()[0].split(b"\n")[0])["lock"]
    return lambda data: _check_locks(data, lock, "evaluate/smollm2.base/answers.jsonl")


def deviations(_folder: Path) -> Read:
    from common.deviations import heads, parse_chain

    def read(data: bytes) -> object:
        parse_chain(data, "demo.deviations.jsonl")
        return heads(data, KEY)

    return read


def labels(folder: Path) -> Read:
    from common.records import Answer
    from common.serialization import parse_jsonl
    from common.stance.labels import read_labels
    from workflows.label import known

    answer = parse_jsonl(right_files.answers()[0], Answer, "answers.jsonl")[0]
    named = {json.loads(row)["answer"]: answer for row in right_files.label_rows()[0].splitlines()}
    return of_file(lambda path: (read_labels(path), known(path, named)), "labels.jsonl")(folder)


def published_manifests(folder: Path) -> Read:
    from common.cells import STUDY
    from jobs.report.published import MANIFESTS, SPEC, Published

    (folder / SPEC).parent.mkdir(parents=True, exist_ok=True)
    (folder / SPEC).write_bytes((ROOT / "workflows/specs/demo.json").read_bytes())

    def read(_path: Path) -> object:
        rows = Published(folder)
        return rows.sealed("plan", STUDY) and rows.manifest("plan", STUDY, ("outputs", "summary"))

    return of_file(read, MANIFESTS)(folder)


def packed_rows(path: Path) -> object:
    from common.records import Answer
    from common.serialization import parse_jsonl
    from common.store.packed import unpacked

    return parse_jsonl(unpacked(path), Answer, path.name)


def page_of_a_report(path: Path) -> object:
    from workflows.report import _text

    return _text(path)


def piles_of_a_user(path: Path) -> object:
    from jobs.generate.sources import read_user_files

    return read_user_files({"eager": path})


def workflow(path: Path) -> object:
    from workflows.local.template import read_template

    return read_template(path)


def answer_of_a_server(_folder: Path) -> Read:
    import openai

    from common.server.client import Wanted, _said
    from common.server_spec import JudgeSpec

    client, answer = client_of_http()
    asked = openai.OpenAI(base_url="http://x/v1", api_key="none", http_client=client, max_retries=0)
    server, wanted = JudgeSpec(url="http://127.0.0.1:1/v1", model="m"), Wanted("a", "system", "user", 1)

    def read(data: bytes) -> object:
        answer.append(data)
        return _said(asked, server, wanted, 0.5, 1)

    return read


def client_of_http() -> tuple[Any, list[bytes]]:
    """A client of HTTP that gets the last of some bytes as every answer."""
    import openai

    answer: list[bytes] = [b""]
    plain = openai.DefaultHttpxClient()
    module = __import__(type(plain).__mro__[1].__module__.partition(".")[0])

    def told(_request: Any) -> Any:
        return module.Response(200, content=answer.pop(), headers={"content-type": "application/json"})

    return openai.DefaultHttpxClient(transport=module.MockTransport(told)), answer
