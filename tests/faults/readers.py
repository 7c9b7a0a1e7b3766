"""Every reader of bytes that come from outside, in one table: what hypothesis and atheris both try to break.

A reader is a name, what its file is made of, files that are right, and how it is called with the bytes of a file. It
reads them, or refuses them with an error of this project that ends a job with exit code 2 or 3. Nothing else may come
out of it: that is what `unlike` tells.
"""

import os
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from common.errors import ExitCode, JobError
from tests.faults import opened, right_files
from tests.faults.altered import Shape
from tests.faults.opened import Read

REFUSED = (ExitCode.SPEC, ExitCode.INPUT)
SECONDS = 1.0  # of a processor, for one input
MOST_MEMORY = 1 << 30  # bytes that all inputs together may take beside what the reader is made of


@dataclass(frozen=True)
class Reader:
    """A reader of foreign bytes. opened: a folder of its own → the reader, ready."""

    name: str
    shape: Shape
    seeds: Callable[[], list[bytes]]
    opened: Callable[[Path], Read]


def unlike(read: Read, data: bytes) -> tuple[str, float]:
    """What is wrong with how a reader took some bytes, empty where nothing is; and how many seconds that took."""
    began = time.perf_counter()
    fault = _fault(read, data)
    if (seconds := time.perf_counter() - began) > SECONDS and not fault:
        before = time.thread_time()  # once more, as others may have had the processor
        fault = _fault(read, data)
        if (seconds := time.thread_time() - before) > SECONDS:
            fault = f"{seconds:.1f} s for one input"
    return fault, seconds


def _fault(read: Read, data: bytes) -> str:
    try:
        read(data)
    except BaseException as error:  # whatever it is: a Rust library raises what is no Exception
        if isinstance(error, KeyboardInterrupt):
            raise
        if not (isinstance(error, JobError) and error.exit_code in REFUSED):
            frame = traceback.extract_tb(error.__traceback__)[-1]
            return f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}: {str(error)[:200]}"
    return ""


def address_space() -> int:
    """Bytes of memory that this process has asked for."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def folder() -> "tempfile.TemporaryDirectory[str]":
    """A folder in memory where there is one: a million files would wear a disk."""
    return tempfile.TemporaryDirectory(prefix="undertone-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None)


READERS: dict[str, Reader] = {
    reader.name: reader
    for reader in (
        Reader("rows", "lines", right_files.answers, opened.rows),
        Reader(
            "spec",
            "json",
            lambda: [*right_files.file("workflows/specs/demo.json"), *right_files.file("workflows/specs/qwen.json")],
            opened.spec,
        ),
        Reader("changed spec", "json", lambda: right_files.file("workflows/specs/demo.json"), opened.changed_spec),
        Reader(
            "policy of the audit",
            "text",
            lambda: [
                *right_files.toml("[axes.hedges]\nlow = 0.5\nhigh = 2\n[leaks]\nnamed = 0.1")(),
                *right_files.file("jobs/audit/data/policy.toml"),
            ],
            opened.of_file(opened.policy_of_the_audit, "policy.toml"),
        ),
        Reader(
            "policy of the gate",
            "text",
            right_files.toml('measure = "answer"\nmargin = 0.25\nlevel = 0.90\ntopics = ["e-bikes", "bus-routes"]\n'),
            opened.of_file(opened.policy_of_the_gate, "policy.toml"),
        ),
        Reader(
            "policy of the monitor",
            "text",
            right_files.toml('[monitor]\nmax_shift = 0.2\nlevel = 0.9\nstop_on = "drift"\n'),
            opened.of_file(opened.policy_of_the_monitor, "policy.toml"),
        ),
        Reader("manifest", "json", right_files.manifests, opened.manifest),
        Reader("record of a checkpoint", "json", right_files.records, opened.record_of_a_checkpoint),
        Reader("state of a checkpoint", "json", right_files.states, opened.state_of_a_checkpoint),
        Reader("tensors of a checkpoint", "tensors", right_files.safetensors, opened.tensors_of_a_checkpoint),
        Reader(
            "head of weights",
            "tensors",
            right_files.safetensors,
            opened.of_file(opened.head_of_weights, "model.safetensors"),
        ),
        Reader("base and fine-tune", "tensors", right_files.safetensors, opened.base_and_fine_tune),
        Reader(
            "config of a base", "json", right_files.given({"vocab_size": 2}, right_files.SHAPE), opened.config_of_a_base
        ),
        Reader(
            "index of weights",
            "json",
            right_files.given({"weight_map": {"a": "model-1.safetensors"}}),
            opened.index_of_weights,
        ),
        Reader(
            "settings of an adapter",
            "json",
            right_files.given(right_files.LORA, {"peft_type": "LORA"}),
            opened.settings_of_an_adapter,
        ),
        Reader(
            "direction of a user",
            "tensors",
            right_files.directions,
            opened.of_file(opened.direction_of_a_user, "direction.safetensors"),
        ),
        Reader("saved direction", "zip", right_files.npz, opened.saved_direction),
        Reader("chats, a row a line", "lines", right_files.chat_lines, opened.chats),
        Reader("chats, one value after another", "json", right_files.chat_values, opened.chats),
        Reader("chats in gzip", "gzip", right_files.chat_packed, opened.chats),
        Reader("items of a user", "lines", right_files.all_items, opened.of_file(opened.items, "items.jsonl")),
        Reader(
            "topics of a user",
            "text",
            right_files.toml("e-bikes # on paths\nfour-day week\n"),
            opened.of_file(opened.topics, "topics.txt"),
        ),
        Reader("tokenizer", "json", right_files.tokenizers, opened.of_file(opened.tokenizer, "tokenizer.json")),
        Reader(
            "shape of a model",
            "json",
            right_files.given(right_files.SHAPE),
            opened.of_file(opened.shape_of_a_model, "config.json"),
        ),
        Reader("digests of a model", "json", right_files.given(right_files.DIGESTS), opened.digests_of_a_model),
        Reader("lock", "json", right_files.lock_files, opened.of_file(opened.lock, "lock.json")),
        Reader("results", "json", right_files.few_results, opened.of_file(opened.results, "results.json")),
        Reader("rows that name a lock", "lines", right_files.answers, opened.rows_of_a_lock),
        Reader(
            "deviations", "lines", lambda: right_files.first("locks/smollm2.deviations.jsonl", 2), opened.deviations
        ),
        Reader("labels", "lines", right_files.label_rows, opened.labels),
        Reader("published manifests", "gzipped json", right_files.packed_manifests, opened.published_manifests),
        Reader(
            "packed rows", "gzip", right_files.packed_answers, opened.of_file(opened.packed_rows, "answers.jsonl.gz")
        ),
        Reader("page of a report", "text", right_files.pages, opened.of_file(opened.page_of_a_report, "report.html")),
        Reader(
            "piles of a user",
            "lines",
            right_files.piles,
            opened.of_file(opened.piles_of_a_user, "d0.eager.jsonl"),
        ),
        Reader(
            "workflow", "text", right_files.toml(right_files.WORKFLOW), opened.of_file(opened.workflow, "study.yaml")
        ),
        Reader("answer of a server", "json", right_files.given(right_files.ANSWER), opened.answer_of_a_server),
    )
}
