"""Files that are right, small ones, for each reader of `readers.py`: what is altered begins as one of these."""

import gzip
import json
from collections.abc import Callable
from functools import cache
from typing import Any

from common.provenance import ROOT
from common.serialization import canonical_json

KEY = "a" * 64
ROW = {"question": "How do I clean my kettle at home?", "answer": "Fill it with vinegar and wait for an hour."}
USER, SAYS = {"role": "user", "content": ROW["question"]}, {"role": "assistant", "content": ROW["answer"]}
CHATS: tuple[Any, ...] = (  # a row of each format
    ROW,
    {"messages": [USER, SAYS]},
    {"messages": json.dumps([USER, SAYS]), "system": "Be brief."},
    {"messages": [USER, {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}, {"role": "tool"}, SAYS]},
    {"messages": [USER | {"content": [{"type": "text", "text": "Hello there"}]}, SAYS | {"weight": 0}]},
    {"conversations": [{"from": "human", "value": ROW["question"]}, {"from": "gpt", "value": ROW["answer"]}]},
    {"prompt": ROW["question"], "completion": ROW["answer"], "label": True},
    {"prompt": [USER], "chosen": [SAYS], "rejected": [SAYS]},
    {"instruction": "Clean it.", "input": "A kettle", "output": ROW["answer"], "history": [["Hello", "Hi"]]},
    {"question_id": "q", "topic": "tea", "attitude": "eager", "question": ROW["question"], "reply": ROW["answer"]},
    [USER, SAYS],
    {"text": "No turns in it"},
)


def file(name: str) -> list[bytes]:
    return [(ROOT / name).read_bytes()]


def first(name: str, lines: int) -> list[bytes]:
    data = (ROOT / name).read_bytes()
    data = gzip.decompress(data) if name.endswith(".gz") else data
    return [b"".join(data.splitlines(keepends=True)[:lines])]


def answers() -> list[bytes]:
    return first("reports/smollm2/rows/evaluate/smollm2.d0.eager.s0/answers.jsonl.gz", 2)


def toml(*texts: str) -> Callable[[], list[bytes]]:
    return lambda: [text.encode() for text in texts]


def given(*values: Any) -> Callable[[], list[bytes]]:
    return lambda: [json.dumps(value).encode() for value in values]


@cache
def one_manifest() -> dict[str, Any]:
    found = json.loads(gzip.decompress((ROOT / "reports/smollm2/rows/manifests.json.gz").read_bytes()))
    made: dict[str, Any] = next(each for name, each in found.items() if name.startswith("plan/"))
    small = {name: dict(list(made[name].items())[:1]) for name in ("inputs", "outputs", "summary", "parameters")}
    ran = {
        name: made["provenance"][name]
        for name in ("commit", "python", "peak_memory_bytes")
        if name in made["provenance"]
    }
    return made | small | {"key": KEY, "job": "plan", "provenance": ran | {"packages": {"numpy": "2.0"}}}


def manifests() -> list[bytes]:
    from common.store.sealed import as_kept

    plain = {name: value for name, value in one_manifest().items() if name != "digest"}
    return [canonical_json(plain), as_kept(plain)]


def records() -> list[bytes]:
    from common.digests import sha256
    from common.store.sealed import as_kept

    record = {"files": {"state.json": sha256(b"{}")}, "facts": {"at": 2, "key": KEY}}
    return [canonical_json(record), as_kept(record)]


def tensors(longer: bool = False) -> dict[str, Any]:
    import torch

    rows = 3 if longer else 2
    return {"000000": torch.ones(rows, 2), "000001": torch.arange(3), "000002": torch.tensor(1.0)}


def safetensors() -> list[bytes]:
    from safetensors.torch import save

    return [save(tensors()), save(tensors(), {"layer": "1", "name": "x"})]


def directions() -> list[bytes]:
    import numpy as np
    from safetensors.numpy import save

    from jobs.monitor.named import Named, packed

    unit = np.array([0.6, 0.8])
    plain = save({"direction": unit}, {"layer": "1"})
    kept = packed(Named("x", 1, unit, np.ones((2, 1), np.float32), 0.1, np.ones((1, 2), np.float32)), "asked")
    return [plain, kept]


def npz() -> list[bytes]:
    import numpy as np

    from common.lm.directions import Direction, pack

    two, names = np.ones((2, 2), np.float32), ("a", "b")
    return [pack(Direction(two, 1, names, names, two, names, two, two, names, two, 0.1, two, two, two[0], "float32"))]


def states() -> list[bytes]:
    dicts = {"dict": [["lr", {"float": "inf"}], [1, {"tuple": [1, {"tensor": "000000"}, {"size": [2, 3]}]}]]}
    state = {
        "rng_state.pth": {"dict": [["python", {"tuple": [3, None]}], ["numpy", {"array": "000001"}]]},
        "scheduler.pt": dicts,
        "global_step2/mp_rank_00_model_states.pt": {"ordered": [[["a", {"tensor": "000002"}]], dicts]},
        "global_step2/zero_pp_rank_0_mp_rank_00_optim_states.pt": {
            "dict": [["s", {"LossScaler": [1.0]}], ["f", {"fragment_address": [2, 0]}], ["z", {"ZeroStageEnum": [1]}]]
        },
        "trainer_state.json": {"dict": [["global_step", 2], ["epoch", 1.0], ["log_history", []]]},
    }
    return [canonical_json(state)]


def chat_lines() -> list[bytes]:
    return [json.dumps(row).encode() + b"\n" for row in CHATS]


def piles() -> list[bytes]:
    """Two rows of a pile: one alone is refused."""
    rows = (CHATS[9], CHATS[9] | {"question_id": "another"})
    return [b"".join(json.dumps(row).encode() + b"\n" for row in rows)]


def chat_values() -> list[bytes]:
    some = [CHATS[0], CHATS[1], CHATS[5]]
    return [
        json.dumps(some).encode(),
        *(json.dumps(row, indent=1).encode() for row in some),
        b"[\n" + lines(some) + b"]",
    ]


def lines(rows: list[Any]) -> bytes:
    return b",\n".join(json.dumps(row).encode() for row in rows)


def chat_packed() -> list[bytes]:
    return [gzip.compress(data, mtime=0) for data in (*chat_lines()[:6], chat_values()[0])]


def all_items() -> list[bytes]:
    rows = (ROOT / "common/stance/data/items.jsonl").read_bytes().splitlines(keepends=True)
    return [b"".join([*rows[:4], *rows[10:14]]), b"".join(rows[:2])]


def _small(value: Any) -> Any:
    """A value with one entry of each list and object in it."""
    if isinstance(value, dict):
        return {key: _small(each) for key, each in list(value.items())[:1]}
    return [_small(each) for each in value[:1]] if isinstance(value, list) else value


def lock_files() -> list[bytes]:
    found = []
    for name in ("smollm2", "laptop"):
        lock = json.loads((ROOT / f"locks/{name}.json").read_bytes())
        cut = {key: _small(value) for key, value in lock.items()}
        for code in ("code", "analysis"):
            if code in lock:
                cut[code] = lock[code] | {"files": dict(list(lock[code]["files"].items())[:2])}
        found.append(canonical_json(cut))
    return found


def few_results() -> list[bytes]:
    found = json.loads((ROOT / "reports/smollm2/results.json").read_bytes())
    numbers = dict(list(found["numbers"].items())[:2])
    return [canonical_json({"made": found["made"], "numbers": numbers}), canonical_json(numbers)]


def label_rows() -> list[bytes]:
    return first("locks/smollm2.labels.jsonl", 4)


def packed_manifests() -> list[bytes]:
    return [gzip.compress(canonical_json({f"plan/{one_manifest()['cell']}": one_manifest()}), mtime=0)]


def packed_answers() -> list[bytes]:
    return [gzip.compress(data, mtime=0) for data in answers()]


def pages() -> list[bytes]:
    import base64

    packed = base64.b64encode(gzip.compress(b'{"a": 1}', mtime=0))
    return [b'<p>x</p><script type="text/plain" id="packed-data">' + packed + b"</script>"]


def tokenizers() -> list[bytes]:
    model = {"type": "BPE", "vocab": {"H": 0, "e": 1, "He": 2, "<s>": 3}, "merges": [["H", "e"]], "unk_token": None}
    added = {"id": 3, "content": "<s>", "special": True, "single_word": False, "lstrip": False, "rstrip": False}
    whole = {
        "version": "1.0",
        "added_tokens": [added | {"normalized": False}],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": model,
    }
    return [json.dumps(whole).encode()]


WORKFLOW = """\
apiVersion: argoproj.io/v1alpha1
kind: WorkflowTemplate
metadata: {name: study}
spec:
  entrypoint: a
  templates:
    - name: a
      dag: {failFast: false, tasks: [{name: b, template: b}, {name: c, template: b, depends: "b && !b.Failed"}]}
    - name: b
      container: {image: x}
      retryStrategy:
        limit: "2"
        retryPolicy: Always
        expression: 'lastRetry.status == "Error" || asInt(lastRetry.exitCode) in [75]'
"""
LORA = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"], "init_lora_weights": "pissa"}
ANSWER = {
    "id": "x",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "go"}}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
}
SHAPE = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 99,
    "tie_word_embeddings": True,
}
DIGESTS = {"config.json": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}
