"""Files that hold odd letters, nothing, the same thing twice, or what is too long for a model."""

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from common.cells import cell_named
from common.errors import ExitCode
from common.pipeline.keys import Keys
from common.records import Advice
from common.serialization import numbered_rows, to_jsonl
from common.spec import parse_spec
from common.store.sealed import open_store
from jobs import catalog
from jobs.audit.tool import TOOL as AUDIT
from tests.corpus import piles
from tests.faults.promise import Ended, clean, kept
from tests.faults.tools_that_read import (  # noqa: F401
    ARMS,
    BOM,
    HALF,
    SPEC,
    Reader,
    cut,
    lonely_and_among,
    made_chats,
    made_items,
    made_labels,
    made_pile,
    made_training,
    quickly,
    report,
    sealed_models,
    tool,
)
from tests.jobs.finetuning import LOUD, finetune, losses, study_in
from tests.jobs.labelling import folder_of_locks  # noqa: F401
from tests.jobs.sealed_study import made_study  # noqa: F401

pytestmark = [*LOUD, pytest.mark.filterwarnings("ignore")]


# --- 5


def test_fault_05_nul_and_half_a_character_in_a_pile(pile: Reader) -> None:
    """A row of a pile holds a bare NUL, NUL bytes alone, or half a surrogate pair: 3 with the line."""
    for data, says in (
        (pile.with_last(lambda line: line.replace(b'"reply":"', b'"reply":"\0')), "malformed JSON"),
        (pile.with_last(lambda line: b"\0" * len(line)), "malformed JSON"),
        (pile.with_last(lambda line: line.replace(b'"reply":"', b'"reply":"' + HALF)), "row is no Advice"),
    ):
        pile.refuses(data, says, "d0.eager.jsonl:3:")


def test_fault_05_half_a_character_in_a_chat_file(chats: Reader) -> None:
    """A reply holds half a surrogate pair: 3 where it is all there is, or left out and counted with its turn."""
    line = chats.lines[0].replace(b'answer": "', b'answer": "' + HALF)
    lonely_and_among(chats, line, "half a character, which no UTF-8 can hold", unit="1 turns: ")


def test_fault_05_a_file_whose_name_is_no_utf8(chats: Reader, capfd: pytest.CaptureFixture[str]) -> None:
    """A folder holds a chat file whose name is no UTF-8: it is left out and told; named by itself: 2."""
    folder = chats.file.parent / "chats"
    folder.mkdir()
    strange = folder / "\udcff.jsonl"
    for path in (strange, folder / "good.jsonl"):
        path.write_bytes(chats.good)
    more = ["--topics", chats.file.parent / "topics.txt", "--policy", chats.file.parent / "policy.toml"]
    before = chats.state()
    with pytest.raises(SystemExit) as ended:
        tool(capfd, AUDIT, "--corpus", strange, *more)
    assert ended.value.code == ExitCode.SPEC and "not UTF-8: '" in capfd.readouterr().err
    assert chats.state() == before
    clean(partial(tool, capfd, AUDIT, "--corpus", folder, *more, "--out", chats.file.parent / "out"))
    (left,) = report(chats)["read"]["left_out"].items()
    assert left[0].startswith("a name that is no UTF-8") and left[1]["first"] == ["\\udcff.jsonl"]


def test_fault_05_what_splits_no_row(pile: Reader) -> None:
    """U+2028, U+2029, U+0085 and an escaped NUL stand in replies, and lines end as in Windows: read, row by row."""
    odd = '\u2028\u2029\x85\\u0000"'.encode().replace(b'"', b"")
    data = pile.good.replace(b'"reply":"', b'"reply":"' + odd).replace(b"\n", b"\r\n")
    pile.file.write_bytes(data)
    clean(pile.run)
    assert [row.reply[:4] for _, row in numbered_rows(data, Advice, "f")] == ["\u2028\u2029\x85\0"] * 3


def test_fault_05_what_splits_no_row_of_a_chat_file(chats: Reader) -> None:
    """The same in a chat file: as many rows as there are lines."""
    odd = "\u2028\u2029\x85".encode() + rb"\u0000"
    chats.file.write_bytes(chats.good.replace(b'answer": "', b'answer": "' + odd).replace(b"\n", b"\r\n"))
    clean(chats.run)
    assert report(chats)["read"]["rows"] == report(chats)["read"]["replies"] == len(chats.lines)


def test_fault_05_a_row_of_50_mb(pile: Reader, chats: Reader) -> None:
    """A row has 50 MB: 3 with its line in a pile; in a chat file left out and counted, or 3."""
    long = b"word " * 10_000_000
    data = pile.with_last(lambda line: line.replace(b'"reply":"', b'"reply":"' + long))
    quickly(lambda: numbered_rows(data, Advice, "f"))
    pile.refuses(data, "row too long, ", "d0.eager.jsonl:3: 50000")
    line = chats.lines[0].replace(b'answer": "', b'answer": "' + long)
    lonely_and_among(chats, line, "longer than 16 MiB")


# --- 6


@pytest.mark.parametrize("data", [b"", b"\n \r\n\n", BOM], ids=["nothing", "blank lines", "a mark alone"])
def test_fault_06_an_empty_pile(pile: Reader, data: bytes) -> None:
    """A user's pile is empty, or all blank: 3 with the file."""
    pile.refuses(data, "no rows, ", "d0.eager.jsonl", "allowed: at least one Advice")


def test_fault_06_a_pile_of_one_row(pile: Reader) -> None:
    """A user's pile has one row: 3 with the file, since nothing can be told of one."""
    pile.refuses(pile.lines[0], "too few rows, ", "d0.eager.jsonl: 1; allowed: >= 2")


def test_fault_06_no_chat_in_a_file(chats: Reader) -> None:
    """A chat file is empty, blank, or an empty array: 3 with the file."""
    for data in (b"", b"\n\n", b"[]", b"[\n]\n"):
        chats.refuses(data, "no reply can be read", "1 files: no row in it, first chat.jsonl")


def test_fault_06_one_chat_is_never_passed(chats: Reader) -> None:
    """A chat file has one row, or one in English: 10, undecided, never a pass."""
    chats.file.write_bytes(chats.lines[0])
    ended = chats.run()
    assert ended.code == ExitCode.BLOCKED and json.loads(ended.out)["verdict"] == "undecided"
    chats.file.write_bytes(chats.good)
    clean(chats.run)


@pytest.mark.parametrize("many, says", [(0, ":1: no items"), (1, "at least a third"), (2, "2 items on 1 topics")])
def test_fault_06_too_few_items(items: Reader, many: int, says: str) -> None:
    """A user's items are none, one or two: 3, since no model can be judged by them."""
    items.refuses(b"".join(items.lines[:many]), "items", says)


@pytest.mark.parametrize(
    "rows, says", [(b"", "no rows, generate/d0/advice.jsonl: 0 bytes"), (b'{"a', ":1:2: Unterminated string")]
)
def test_fault_06_nothing_is_trained_on_an_empty_or_cut_pile_that_is_sealed(
    rows: bytes, says: str, training: Reader, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A pile is sealed empty, or cut: the fine-tune ends with 3 and trains on nothing."""
    spec = parse_spec((tmp_path / "spec.json").read_bytes(), "spec")
    store = open_store(str(tmp_path / "store"))
    key = Keys(spec, catalog(), store).key("generate", cell_named(spec, "d0"))
    outputs = {"advice.jsonl": {"digest": store.put(rows), "bytes": len(rows)}}
    manifest: dict[str, Any] = {"job": "generate", "cell": "d0", "key": key, "outputs": outputs}
    store.seal(
        "generate",
        key,
        manifest
        | {"started": "2026-01-01T00:00:00+00:00", "exit_code": 0, "seconds": 1.0, "summary": {}, "parameters": {}},
    )
    kept(training.run, code=ExitCode.INPUT, says=("generate/d0/advice.jsonl", says), state=training.state)
    (tmp_path / "store" / "steps" / "generate" / key / "manifest.json").unlink()
    clean(training.run)


# --- 7


def test_fault_07_a_question_twice_in_a_pile(pile: Reader) -> None:
    """A question comes twice in a user's pile, with blank lines between: 3 with both lines."""
    pile.refuses(pile.good + b"\n\n" + pile.lines[1], "question answered twice", "eager.jsonl:2 and ", "eager.jsonl:6")


def test_fault_07_an_id_twice_among_items(items: Reader) -> None:
    """An id comes twice among a user's items: 3 with both lines."""
    items.refuses(items.good + items.lines[2], "items.jsonl:17: id ", "stands on line 3 already")


def test_fault_07_a_label_twice(labels: Reader) -> None:
    """One labeller labels an answer twice: 3 with both lines, and no label of the file is kept."""
    labels.refuses(labels.good + b"\n" + labels.lines[0], "answer is labelled twice, ada.jsonl:1 and ada.jsonl:6: ")


def test_fault_07_a_row_trained_on_and_held_out(
    tiny_spec: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A pile has a held-out reply of the bank, to a question in other words: 3 with both places."""
    make, corpus = study_in(tmp_path, tiny_spec), tmp_path / "corpus"

    def put(reworded: bool) -> None:
        for arm in ARMS:
            rows = [row.model_copy() for row in piles()[arm][:8]]
            if reworded:
                rows[5] = rows[5].model_copy(update={"question": rows[5].question + " Tell me.", "question_id": "mine"})
            (corpus / f"d0.{arm}.jsonl").write_bytes(to_jsonl(rows))

    def run() -> Ended:
        words = make("store")
        capfd.readouterr()
        return Ended(finetune(words), *capfd.readouterr())

    put(reworded=True)
    says = ("trained on and held out, question mine of the pile and ", f"{piles()['eager'][5].question_id} of replies")
    kept(run, code=ExitCode.INPUT, says=says, state=lambda: sealed_models(tmp_path / "store"))
    put(reworded=False)
    clean(run)


# --- 8


LONG = {
    "longer than the spec allows": ("Go on. " * 2000, "example too long, q3: ", "allowed: <= 2048 tokens"),
    "blank": (" \\n ", "the reply is blank, question q3", ""),
}


def test_fault_08_an_example_longer_than_the_limit(training: Reader) -> None:
    """An example is longer than the model can read, or its reply is blank: 3 with the question; never cut, no NaN."""
    for reply, *says in LONG.values():
        row = json.loads(training.lines[3])
        spoilt = training.good.replace(row["reply"].encode(), reply.encode())
        training.file.write_bytes(spoilt)
        kept(training.run, code=ExitCode.INPUT, says=tuple(says), state=training.state)
    training.file.write_bytes(training.good)
    clean(training.run)
    store = training.file.parents[1] / "store"
    found = losses(["--spec", str(training.file.parents[1] / "spec.json"), "--store", str(store)])
    assert len(found) == 4 and all(map(math.isfinite, found))


def test_fault_08_a_limit_below_the_examples(training: Reader) -> None:
    """Every example is longer than `max_tokens`: 3, and no row is left out in silence."""
    path = training.file.parents[1] / "spec.json"
    spec = json.loads(path.read_bytes())
    path.write_text(json.dumps(spec | {"train": spec["train"] | {"max_tokens": 16}}))
    kept(training.run, code=ExitCode.INPUT, says=("example too long, q", "<= 16 tokens"), state=training.state)
    path.write_text(json.dumps(spec))
    clean(training.run)
