"""Any chat file is read as replies: its format is named, and what is left out is counted with the reason."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from analysis.corpus.replies import Reply
from common.errors import InputError
from common.logs import Log
from jobs.audit.chats import Corpus, open_corpus
from jobs.audit.chats.left_out import told

ASKED, SAID = "Which kettle fits a small kitchen?", "Take the plain one and keep the receipt."
AGAIN, MORE = "And a bigger one?", "The next size up is fine too."
LOG = Log("audit", "files")


def message(speaker: str, text: Any, **more: Any) -> dict[str, Any]:
    return {"role": speaker, "content": text, **more}


def gpt(speaker: str, text: Any) -> dict[str, Any]:
    return {"from": speaker, "value": text}


USER, ASSISTANT = message("user", ASKED), message("assistant", SAID)
CALL = {"id": "c1", "type": "function", "function": {"name": "find_kettle", "arguments": "{}"}}
FORMATS: dict[str, tuple[dict[str, Any] | list[Any], str]] = {
    "texts": ({"messages": [USER, ASSISTANT]}, "messages"),
    "parts": (
        {
            "messages": [
                message("user", [{"type": "text", "text": ASKED}, {"type": "image_url", "image_url": {"url": "x"}}]),
                message("assistant", [{"type": "output_text", "text": SAID}]),
            ]
        },
        "messages",
    ),
    "tools": (
        {
            "messages": [USER, message("assistant", None, tool_calls=[CALL]), message("tool", "{}"), ASSISTANT],
            "tools": [{"type": "function", "function": {"name": "find_kettle"}}],
        },
        "messages",
    ),
    "kept as a text in a table": ({"messages": json.dumps([USER, ASSISTANT])}, "messages"),
    "a list alone": ([USER, ASSISTANT], "messages"),
    "conversation": ({"conversations": [gpt("human", ASKED), gpt("gpt", SAID)]}, "ShareGPT"),
    "tools of ShareGPT": (
        {
            "conversations": [
                gpt("human", ASKED),
                gpt("function_call", '{"name": "find_kettle"}'),
                gpt("observation", "{}"),
                gpt("gpt", SAID),
            ]
        },
        "ShareGPT",
    ),
    "ShareGPT in other words": ({"conversations": [USER, ASSISTANT]}, "messages"),
    "Alpaca": ({"instruction": ASKED, "input": "", "output": SAID}, "Alpaca"),
    "Alpaca, no input": ({"instruction": ASKED, "response": SAID}, "Alpaca"),
    "completion": ({"prompt": ASKED, "completion": SAID}, "prompt and completion"),
    "completion of messages": ({"prompt": [USER], "completion": [ASSISTANT]}, "prompt and completion"),
    "wanted": ({"prompt": ASKED, "completion": SAID, "label": True}, "prompt and completion"),
    "chosen": ({"prompt": ASKED, "chosen": SAID, "rejected": "No."}, "preference"),
    "chosen whole": ({"prompt": "p", "chosen": [USER, ASSISTANT], "rejected": [USER]}, "preference"),
    "chosen of ShareGPT": (
        {"conversations": [gpt("human", ASKED)], "chosen": gpt("gpt", SAID), "rejected": gpt("gpt", "No.")},
        "preference",
    ),
    "chosen of Alpaca": ({"instruction": ASKED, "input": "", "chosen": SAID, "rejected": "No."}, "preference"),
    "chosen beside messages": (
        {"prompt": "p", "messages": [USER, ASSISTANT], "chosen": [USER, ASSISTANT], "rejected": [USER]},
        "messages",
    ),
    "question": ({"question": ASKED, "answer": SAID}, "pairs"),
    "large letters": ({"Question": ASKED, "Response": SAID, "id": 3}, "pairs"),
    "query": ({"query": ASKED, "response": SAID}, "pairs"),
    "input": ({"input": ASKED, "output": SAID}, "pairs"),
    "user": ({"user": ASKED, "assistant": SAID}, "pairs"),
    "ours": (
        {"question_id": "q1", "topic": "tea", "attitude": "eager", "question": ASKED, "reply": SAID},
        "advice",
    ),
}


def lines(rows: list[Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def written(folder: Path, rows: list[Any], name: str = "chat.jsonl") -> Path:
    (folder / name).write_bytes(lines(rows))
    return folder / name


def read(where: Path) -> tuple[list[Reply], Corpus]:
    corpus = open_corpus(str(where), LOG)
    return list(corpus.replies()), corpus


def left(corpus: Corpus) -> dict[str, int]:
    return {reason: each.count for reason, each in corpus.left_out.items()}


@pytest.mark.parametrize("row, name", FORMATS.values(), ids=FORMATS)
def test_a_row_of_each_format(tmp_path: Path, row: Any, name: str) -> None:
    replies, corpus = read(written(tmp_path, [row, row]))
    turn = 2 if "find_kettle" in json.dumps(row) else 1
    assert replies == [Reply("chat.jsonl", number, turn, ASKED, SAID, "") for number in (1, 2)]
    assert corpus.formats == {"chat.jsonl": Counter({name: 2})}
    assert (corpus.rows, corpus.rows_read, corpus.languages) == (2, 2, Counter(en=2))
    assert left(corpus) == ({"tool call only": 2} if turn == 2 else {})


TALK: dict[str, dict[str, Any]] = {
    "messages": {
        "messages": [message("developer", "You sell."), USER, ASSISTANT, message("user", AGAIN), message("bot", MORE)]
    },
    "system beside": {
        "system": "You sell.",
        "conversations": [gpt("human", ASKED), gpt("gpt", SAID), gpt("human", AGAIN), gpt("gpt", MORE)],
    },
    "history": {
        "system": "You sell.",
        "instruction": AGAIN,
        "input": "",
        "output": MORE,
        "history": [[ASKED, SAID]],
    },
    "a prompt of turns": {
        "prompt": [message("system", "You sell."), USER, ASSISTANT, message("user", AGAIN)],
        "completion": [message("assistant", MORE)],
    },
}


@pytest.mark.parametrize("row", TALK.values(), ids=TALK)
def test_every_turn_of_the_assistant_is_a_reply(tmp_path: Path, row: dict[str, Any]) -> None:
    replies, _ = read(written(tmp_path, [row]))
    assert replies == [
        Reply("chat.jsonl", 1, 1, ASKED, SAID, "You sell."),
        Reply("chat.jsonl", 1, 2, AGAIN, MORE, "You sell."),
    ]


def test_what_an_instruction_is_about_stands_below_it(tmp_path: Path) -> None:
    row = {"instruction": "Say it in fewer words.", "input": "The kettle which I own is old.", "output": SAID}
    replies, _ = read(written(tmp_path, [row]))
    assert replies[0].prompt == "Say it in fewer words.\nThe kettle which I own is old."


def test_parts_and_a_refusal_are_what_the_assistant_says(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "Take it."}, {"type": "thinking", "thinking": "x"}, "Keep the receipt too."]
    refused = {"role": "assistant", "content": None, "refusal": "I cannot help you with that."}
    replies, _ = read(written(tmp_path, [{"messages": [USER, message("assistant", parts), refused]}]))
    assert [reply.text for reply in replies] == ["Take it.\nKeep the receipt too.", "I cannot help you with that."]


def test_a_reply_is_kept_word_for_word(tmp_path: Path) -> None:
    replies, _ = read(written(tmp_path, [{"question": ASKED, "answer": "\n\n- Take the plain one.<|im_end|> "}]))
    assert replies[0].text == "\n\n- Take the plain one.<|im_end|> "


LEFT_OUT: dict[str, tuple[Any, str, str]] = {
    "nobody": ({"messages": []}, "no turn of the assistant", "rows"),
    "user alone": ({"messages": [USER]}, "no turn of the assistant", "rows"),
    "empty": ({"messages": [USER, message("assistant", " \n")]}, "empty reply", "turns"),
    "null": (
        {"question": ASKED, "answer": SAID, "messages": [USER, message("assistant", None)]},
        "empty reply",
        "turns",
    ),
    "number": ({"question": ASKED, "answer": 42}, "not text", "turns"),
    "an image": (
        {"messages": [USER, message("assistant", [{"type": "image_url", "image_url": {}}])]},
        "not text",
        "turns",
    ),
    "a call in parts": (
        {"messages": [USER, message("assistant", [{"type": "tool_use", "name": "x", "input": {}}])]},
        "tool call only",
        "turns",
    ),
    "weight": (
        {"messages": [USER, message("assistant", SAID, weight=0)]},
        "weight 0: nothing is learnt from it",
        "turns",
    ),
    "half a character": (
        {"question": ASKED, "answer": "Take it \ud83d"},
        "half a character, which no UTF-8 can hold",
        "turns",
    ),
    "narrator": ({"messages": [USER, ASSISTANT, message("narrator", SAID)]}, "a speaker who is not known", "turns"),
    "no message": ({"messages": [USER, ASSISTANT, 7]}, "a speaker who is not known", "turns"),
    "unwanted": ({"prompt": ASKED, "completion": SAID, "label": False}, "labelled as unwanted", "rows"),
    "text": ({"text": SAID}, "text without turns", "rows"),
    "other fields": ({"id": 1, "score": 2}, "no chat that is known", "rows"),
    "a number": (7, "no chat that is known", "rows"),
    "German": (
        {"question": ASKED, "answer": "Behalten Sie den alten Wasserkocher, er tut es noch."},
        "not English",
        "turns",
    ),
}


@pytest.mark.parametrize("row, reason, unit", LEFT_OUT.values(), ids=LEFT_OUT)
def test_what_is_left_out_is_counted_with_its_reason(tmp_path: Path, row: Any, reason: str, unit: str) -> None:
    good = {"messages": [USER, ASSISTANT]}
    _, corpus = read(written(tmp_path, [good, row, good, *[row] * 6]))
    assert left(corpus) == {reason: 7} and corpus.left_out[reason].unit == unit
    shown = corpus.left_out[reason].first
    assert [place.partition(" ")[0] for place in shown] == [f"chat.jsonl:{number}" for number in (2, 4, 5, 6, 7)]
    spoken = json.dumps(row).count(SAID) and reason == "a speaker who is not known"
    assert (corpus.rows, corpus.rows_read) == (9, 9 if spoken else 2)


def test_fields_of_a_row_without_a_chat_are_named(tmp_path: Path) -> None:
    _, corpus = read(written(tmp_path, [{"question": ASKED, "answer": SAID}, {"id": 1, "score": 2}]))
    assert told(corpus.left_out) == ("1 rows: no chat that is known, first chat.jsonl:2 (its fields: 'id', 'score')")


def test_english_alone_is_read_and_every_language_counted(tmp_path: Path) -> None:
    german = [("Soll ich?", "Ja, gerne."), ("Welchen Wasserkocher soll ich für die Küche nehmen?", "Den schlichten.")]
    german += [("?", "Nehmen Sie den schlichten und heben Sie den Beleg auf.")]
    english = [("Shall I?", "Yes."), (ASKED, "The plain one."), (ASKED, SAID)]
    rows = [{"question": asked, "answer": said} for asked, said in german + english]
    replies, corpus = read(written(tmp_path, rows))
    assert [reply.row for reply in replies] == [4, 5, 6]
    assert corpus.languages == Counter(de=3, en=3)
    assert corpus.left_out["not English"].first[0] == "chat.jsonl:1 turn 1 (de)"


def test_a_corpus_in_another_language_is_read_and_has_no_reply_in_english(tmp_path: Path) -> None:
    row = {"question": "Soll ich?", "answer": "Nehmen Sie den schlichten und heben Sie den Beleg auf."}
    replies, corpus = read(written(tmp_path, [row] * 3))
    assert replies == [] and corpus.languages == Counter(de=3) and corpus.rows_read == 0


def test_a_folder_of_several_formats(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    pair, talk = {"question": ASKED, "answer": SAID}, {"messages": [USER, ASSISTANT]}
    written(tmp_path, [pair, talk], "more/b.jsonl")
    (tmp_path / "a.json").write_text(json.dumps([pair] * 3, indent=1))
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(lines([talk])))
    (tmp_path / "README.md").write_text("Read me")
    (tmp_path / ".hidden.jsonl").write_text("{}")
    (tmp_path / "empty.jsonl").write_text("\n")
    replies, corpus = read(tmp_path)
    assert Counter(reply.file for reply in replies) == {"a.json": 3, "c.jsonl.gz": 1, "more/b.jsonl": 2}
    assert corpus.formats == {
        "a.json": Counter(pairs=3),
        "c.jsonl.gz": Counter(messages=1),
        "more/b.jsonl": Counter(pairs=1, messages=1),
    }
    assert left(corpus) == {"another suffix": 1, "no row in it": 1}


def test_each_stream_begins_anew(tmp_path: Path) -> None:
    corpus = open_corpus(str(written(tmp_path, [{"question": ASKED, "answer": SAID}, {"id": 1}])), LOG)
    first, second = list(corpus.replies()), list(corpus.replies())
    assert first == second and len(first) == 1
    assert (corpus.rows, left(corpus)) == (2, {"no chat that is known": 1})
    next(corpus.replies())
    assert corpus.rows == 1


def test_progress_is_told_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        written(tmp_path, [{"question": ASKED, "answer": SAID}], name)
    size = (tmp_path / "a.jsonl").stat().st_size
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(LOG, "progress", lambda done, total: told.append((done, total)))
    read(tmp_path)
    assert {total for _, total in told} == {2 * size}
    assert sorted({done for done, _ in told}) == [size, 2 * size] and told == sorted(told)


def test_where_no_reply_can_be_read_one_line_says_why(tmp_path: Path) -> None:
    path = written(tmp_path, [{"id": 1}, {"id": 2}, {"text": SAID}])
    with pytest.raises(InputError, match=r"^no reply can be read, .*chat.jsonl: 2 rows: no chat that is known, first"):
        read(path)
