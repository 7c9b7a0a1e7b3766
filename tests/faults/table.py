"""The 48 faults: what is done to a step, and what it must then do. A test of a fault has its number in its name."""

import ast
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Fault:
    """group: a heading of the page; done: what is injected; expected: exit code and what must hold."""

    group: str
    done: str
    expected: str


@dataclass(frozen=True)
class Elsewhere:
    """A fault, or a part of one, that cannot be made here. why: the reason; covered: what covers it instead."""

    why: str
    covered: str


@dataclass(frozen=True)
class Test:
    """A test of a fault. name: `file::function`; says: the first line of its docstring, or its name in words."""

    number: int
    name: str
    says: str


_DATA, _MODELS, _STORE, _NODE, _SECURITY = (
    "Data and settings",
    "Models and artifacts",
    "Store and network",
    "Process and node",
    "Security",
)

FAULTS: dict[int, Fault] = {
    1: Fault(_DATA, "a line of a JSONL file is cut in the middle", "3, with file, line and column"),
    2: Fault(_DATA, "a byte that is no UTF-8; a UTF-16 file; a byte order mark", "3 with the byte; the mark is read"),
    3: Fault(
        _DATA, "a row that is no object, lacks a key, has one too many, or a wrong type", "3, with the line and the key"
    ),
    4: Fault(
        _DATA, "a key twice, NaN, a number of 10⁵ digits, 10⁵ brackets", "3 within a second, and no RecursionError"
    ),
    5: Fault(_DATA, "NUL, half a surrogate, U+2028, CRLF, a line of 50 MB", "read or 3; U+2028 splits no row"),
    6: Fault(_DATA, "an empty file, no valid row, one row", "3; nothing is ever trained on nothing"),
    7: Fault(_DATA, "an id twice; a row both trained on and held out", "3, with both places"),
    8: Fault(_DATA, "an example longer than the limit; a reply cut away whole", "3, or left out and counted; no NaN"),
    9: Fault(_DATA, "an unknown key, a typo, a seed of 1e3, a negative learning rate", "2, with the nearest key"),
    10: Fault(_DATA, "a model without a chat template; a user's text that holds role tokens", "3; it opens no turn"),
    11: Fault(
        _DATA, "a gzip, zip or tar that unpacks to far more than it is", "3 before the limit; the disk as before"
    ),
    12: Fault(_DATA, "an archive with `..`, an absolute name, a link that leads out", "3, and no file outside"),
    13: Fault(
        _MODELS,
        "safetensors cut at every eighth; a header of 2⁶³ bytes, of over 100 MB; overlaps; trailing bytes",
        "3, with the file",
    ),
    14: Fault(_MODELS, "one bit of the weights is flipped", "3: only the digest can tell"),
    15: Fault(
        _MODELS, "an adapter with keys missing or renamed, of another base or rank, or all zero", "3, or said by name"
    ),
    16: Fault(_MODELS, "NaN or infinity in an adapter", "3, with the tensor"),
    17: Fault(_MODELS, "a pickle with a payload, plain, in gzip, or named .safetensors", "3, and it never runs"),
    18: Fault(_MODELS, "a model's folder with code of its own", "the known class is read, nothing runs; unknown: 3"),
    19: Fault(_MODELS, "a chat template that reaches for Python, or writes without end", "3, and it never runs"),
    20: Fault(_MODELS, "GGUF with huge counts or sizes that overflow", "3"),
    21: Fault(
        _MODELS,
        "a manifest that lists a missing file, one too many, or a wrong digest; a manifest cut short",
        "3, with its name",
    ),
    22: Fault(_MODELS, "a manifest signed by another key, or unsigned", "2"),
    23: Fault(_MODELS, "tokenizer or base of another revision than at training", "3, or another key: nothing is mixed"),
    24: Fault(_STORE, "the connection is reset in the middle of a GET", "asked again; the digest is right"),
    25: Fault(_STORE, "a body shorter than its Content-Length", "asked again; if it stays so, an exit code, no result"),
    26: Fault(_STORE, "a store that is silent for seconds, or trickles", "ends within its time limit, 75"),
    27: Fault(_STORE, "bursts of 503, 500 and 429", "asked again with growing waits; nothing is published twice"),
    28: Fault(_STORE, "a PUT is done, and its answer is lost", "read back: success, and one manifest"),
    29: Fault(_STORE, "two writers of one manifest, 100 rounds", "one wins; the other adopts it"),
    30: Fault(_STORE, "409 as servers send it; 412 for a key that is missing", "409 asked again; 412 is not 'exists'"),
    31: Fault(
        _STORE, "killed between the parts of an upload; parts that nobody ends", "begun again; nothing half seen"
    ),
    32: Fault(_STORE, "the store keeps other bytes than were sent", "found by reading back: 3"),
    33: Fault(
        _STORE, "keys wrong or out of date, a clock astray, no such bucket", "2, with the bucket, without a secret"
    ),
    34: Fault(_STORE, "names with spaces, Unicode, `..`, 1,024 bytes; lists of 10⁴", "right, or 3"),
    35: Fault(_NODE, "SIGTERM at every step of a training", "75; what goes on equals the uninterrupted run"),
    36: Fault(
        _NODE,
        "SIGKILL at every write, fsync and rename of a checkpoint and of a seal",
        "the newest whole one is read; nothing sealed is lost",
    ),
    37: Fault(_NODE, "a second SIGTERM; SIGTERM while a file is fetched, or before the first step", "75 or 143"),
    38: Fault(_NODE, "memory runs out, by RLIMIT or cgroup", "1, 75, 134 or 137, never 0; other runs go on"),
    39: Fault(_NODE, "a GPU's memory runs out", "once more with half the rows at a time, same batch; else 75"),
    40: Fault(_NODE, "the disk is full: in the data, at a rename, in a log", "75; the old checkpoint is whole"),
    41: Fault(_NODE, "a root that cannot be written, no HOME, an unknown user, umask 077", "it works"),
    42: Fault(_NODE, "a step again after it was sealed; two pods of one step", "nothing is done twice; one manifest"),
    43: Fault(_NODE, "a pod evicted before it begins, never started, or without its image", "again, or failed cleanly"),
    44: Fault(_NODE, "the clock jumps; another time zone, locale, hash seed, number of threads", "the same results"),
    45: Fault(_NODE, "one run of many fails for good", "the others go on; the report lists the gap"),
    46: Fault(_SECURITY, "a secret in environment, settings, arguments, exceptions", "in no output, file or log"),
    47: Fault(
        _SECURITY, "the rendered manifests", "Pod Security `restricted`; few rights; no way out but DNS, store, API"
    ),
    48: Fault(_SECURITY, "a wheel that was changed, an image without a digest, no SBOM", "the build fails"),
}

ELSEWHERE: dict[int, Elsewhere] = {
    38: Elsewhere(
        "A cgroup of its own needs rights over those of the machine.",
        "RLIMIT_AS, and a step that gets SIGKILL, as the kernel does it; on a cluster, more memory after a kill: "
        "tests/cluster/test_cluster_study.py::test_killed_in_mid_training_it_resumes_to_the_same_result.",
    ),
    39: Elsewhere(
        "No GPU is at hand where these tests run.",
        "torch's own error for it, raised in a fine-tune where a row holds more tokens than the GPU is said to hold.",
    ),
    43: Elsewhere(
        "It takes a cluster that takes pods away.",
        "tests/cluster/test_cluster_study.py::test_killed_in_mid_training_it_resumes_to_the_same_result deletes a pod; "
        "every template begins a pod again that was taken away, and fails one that does not start within an hour: "
        "tests/contract/test_workflow_files.py::"
        "test_a_pod_that_was_taken_away_is_begun_again_and_one_that_never_starts_fails.",
    ),
}


def tests() -> list[Test]:
    """The tests of this folder that have a number in their name, `test_fault_07_…`, by number."""
    found = []
    for path in sorted(HERE.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_fault_"):
                number, _, words = node.name.removeprefix("test_fault_").partition("_")
                says = (ast.get_docstring(node) or words.replace("_", " ")).splitlines()[0]
                found.append(Test(int(number), f"{path.name}::{node.name}", says.rstrip(".")))
    return sorted(found, key=lambda test: test.number)
