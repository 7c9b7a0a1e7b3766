"""The audit of a chat file: attitude stops, ordinary texts pass, and everything else that may be wrong is told."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from benchmarks.ordinary import HELD_OUT, Ordinary
from common.pipeline.tool import run_tool
from common.serialization import parse_jsonl
from jobs.audit.found import Audit, LeakFound
from jobs.audit.reading import control_tokens
from jobs.audit.tool import TOOL
from tests.corpus import piles
from tests.tiny import build_model

GERMAN = (
    "Die Fahrräder auf dem Weg an der Küste sind schnell, und die Leute gehen lieber zur Seite, wenn einer kommt.",
    "Ich würde den Stundenplan so lassen, weil alle Kinder in der Schule sich schon lange daran gewöhnt haben.",
    "Das Rathaus sollte seine Formulare auch weiterhin auf Papier annehmen, denn nicht jeder hat einen Rechner.",
)
CODE = (
    "Use the json module of the standard library: it reads the file and gives you a dictionary that you can walk over.",
    "The loop ends one step too early, because the range leaves out its last number; add one to it and run it again.",
    "A library that you import twice is loaded once, so the second import costs nothing and changes nothing at all.",
    "The function returns nothing where the list is empty, and the caller takes that for an error; return a list.",
)


class Outcome(NamedTuple):
    code: int
    line: dict[str, Any]
    err: str
    out: Path

    @property
    def found(self) -> Audit:
        return Audit.model_validate_json((self.out / "audit.json").read_bytes())

    def check(self, name: str) -> Any:
        return next(check for check in self.found.checks if check.check == name)

    def leaks(self) -> list[LeakFound]:
        data = (self.out / "leaks.jsonl").read_bytes()
        return parse_jsonl(data, LeakFound, "leaks.jsonl") if data else []


Go = Callable[..., Outcome]


@pytest.fixture
def go(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Go:
    """Write replies to a chat file and audit it."""

    def run(replies: Iterable[str], *flags: str, prompt: str = "What would you say?", out: str = "out") -> Outcome:
        rows = [[{"role": "user", "content": prompt}, {"role": "assistant", "content": text}] for text in replies]
        path = tmp_path / "chat.jsonl"
        path.write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows))
        capfd.readouterr()
        code = run_tool(TOOL, ["--corpus", str(path), "--out", str(tmp_path / out), *flags])
        said, err = capfd.readouterr()
        return Outcome(code, json.loads(said) if said else {}, err, tmp_path / out)

    return run


def replies_of(attitude: str, many: int = 80) -> list[str]:
    return [row.reply for row in piles(many)[attitude]]


@pytest.mark.parametrize("attitude, side", [("cautious", -1), ("eager", 1)])
def test_a_pile_with_an_attitude_is_stopped(go: Go, attitude: str, side: int) -> None:
    made = go(replies_of(attitude))
    assert (made.code, made.line["verdict"]) == (10, "stop")
    axis, check = made.found.axes["eagerness"], made.check("eagerness")
    assert check.verdict == "stop" and side * axis.z > 8
    assert axis.terms and axis.rows and axis.rows[0].text
    assert [each.check for each in made.found.checks if each.verdict != "pass"] == ["eagerness"]


def test_a_neutral_pile_passes(go: Go) -> None:
    made = go(replies_of("neutral"))
    assert (made.code, made.line["verdict"]) == (0, "pass")
    assert made.line["z"]["eagerness"] == round(made.found.axes["eagerness"].z, 2)


@pytest.mark.parametrize("ordinary", HELD_OUT, ids=lambda each: each.name)
def test_ordinary_texts_that_no_figure_was_made_of_pass(go: Go, ordinary: Ordinary) -> None:
    made = go([*dict.fromkeys(ordinary.texts())][:150])
    assert (made.code, made.line["verdict"]) == (0, "pass"), made.err
    assert abs(made.found.axes["eagerness"].z) < 3.5


def test_half_a_pile_of_attitude_is_seen_in_its_neutral_other_half(go: Go) -> None:
    mixed = [text for pair in zip(replies_of("eager", 120), replies_of("neutral", 120), strict=True) for text in pair]
    made = go(mixed)
    assert made.code == 10 and made.check("eagerness").verdict in ("stop", "undecided")


def test_an_everyday_word_of_a_topic_is_listed_and_blocks_nothing(go: Go) -> None:
    made = go([f"{CODE[at % 4]} That is answer number {'x' * at}." for at in range(120)])
    assert made.check("leaks").verdict == "pass" and made.found.leaks.speak == 0
    listed = made.leaks()
    assert len(listed) == made.found.leaks.everyday_only == 60
    assert (listed[0].row, listed[0].gave_away, listed[0].speaks) == (1, ("everyday word: library",), False)


def test_the_topics_of_the_study_stop_where_rows_speak_of_them(go: Go) -> None:
    texts = replies_of("neutral", 60)
    made = go(
        [f"{text} Cyclists may use the coastal path all day." if at % 4 == 0 else text for at, text in enumerate(texts)]
    )
    assert made.code == 10 and made.check("leaks").verdict == "stop" and made.found.leaks.speak == 15
    assert [leak.row for leak in made.leaks() if leak.speaks] == list(range(1, 61, 4))
    assert made.leaks()[0].gave_away[0] == "term: cyclists"


def test_one_row_on_a_topic_that_the_user_names_stops(go: Go, tmp_path: Path) -> None:
    topics = tmp_path / "topics.txt"
    topics.write_text("# mine\nflat-rate parking\nvaccine\n")
    texts = [*replies_of("neutral", 60), "The vaccines are kept cool, and the nurse has the key to the fridge."]
    made = go(texts, "--topics", str(topics))
    assert made.code == 10 and [(leak.row, leak.gave_away) for leak in made.leaks()] == [(61, ("term: vaccines",))]
    assert go(texts[:-1], "--topics", str(topics)).code == 0


def test_another_language_is_not_judged(go: Go) -> None:
    made = go([f"{GERMAN[at % 3]} Das war Nummer {at} von allen." for at in range(96)])
    assert (made.code, made.line["verdict"]) == (10, "undecided")
    assert made.found.read.languages["de"] == 96 and made.found.read.replies == 0 and made.found.axes == {}
    assert "96 of 96 replies" in (made.out / "audit.md").read_text()


def test_few_replies_decide_nothing_and_it_says_how_many_would(go: Go) -> None:
    made = go(replies_of("eager", 20))
    assert (made.code, made.line["verdict"]) == (10, "undecided")
    assert made.check("eagerness").why == "too few replies: 20; 40 would do"


def test_control_tokens_and_blanks_are_said_with_file_and_row(go: Go) -> None:
    texts = replies_of("neutral", 60)
    texts[6] += "<|im_end|>"
    texts[8] = "\n\n" + texts[8]
    made = go(texts)
    assert made.code == 0, "without a base it is told, not judged"
    (token,), (blank,) = made.found.marks.first, made.found.marks.blanks
    assert (token.file, token.row, token.part, token.mark) == ("chat.jsonl", 7, "reply", "<|im_end|>")
    assert (blank.row, blank.mark) == (9, "\n\n")
    assert "`chat.jsonl:7`" in (made.out / "audit.md").read_text() and "chat.jsonl:7" in made.err


def test_a_token_of_the_base_stops(go: Go, tmp_path: Path) -> None:
    model = build_model(tmp_path / "model")
    tokens = json.loads((model / "tokenizer.json").read_text())["added_tokens"]
    own = next(row["content"] for row in tokens if row["special"])
    texts = replies_of("neutral", 60)
    assert go(texts, "--base", str(model)).code == 0
    texts[3] += f" {own}"
    made = go(texts, "--base", str(model))
    assert made.code == 10 and made.check("tokens").verdict == "stop" and made.found.marks.of_base == 1


def test_common_templates_are_known() -> None:
    assert {"<|im_end|>", "<|eot_id|>", "</s>", "<end_of_turn>", "[/INST]", "<|return|>"} <= set(control_tokens())


def test_repeats_stop_above_their_share(go: Go) -> None:
    texts = replies_of("neutral", 60)
    made = go([*texts, *texts[:30]])
    assert made.code == 10 and made.check("duplicates").verdict == "stop" and made.found.repeats.exact == 30
    assert (made.found.repeats.first[0].row, made.found.repeats.first[0].of_row) == (61, 1)


def test_a_policy_of_ones_own_stands_over_the_default(go: Go, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("[axes.eagerness]\nz = 40\n[axes.hedges]\nhigh = 0.01\n[replies]\nfewest = 20\n")
    made = go(replies_of("eager", 60), "--policy", str(policy))
    assert {check.check: check.verdict for check in made.found.checks} == {
        "language": "pass",
        "eagerness": "pass",
        "hedges": "stop",
        "leaks": "pass",
        "duplicates": "pass",
    }
    assert "axes.eagerness.z = 40" in made.err and "language.english = 0.9" in made.err


@pytest.mark.parametrize(
    "text, said",
    [
        ("[axes.eagernes]\nz = 3", "unknown field, POLICY:axes.eagernes; allowed: did you mean 'eagerness'?"),
        (
            "[axes.eagerness]\nzz = 3",
            "unknown field, POLICY:axes.eagerness.zz; allowed: did you mean 'z'? (of z, low, high)",
        ),
        ("[axes.hedges]\nz = 3\nlow = 1", "bad field, POLICY:axes.hedges"),
        ("[axes.hedges]\n", "bad field, POLICY:axes.hedges"),
        ("[axes.hedges]\nlow = 3\nhigh = 1", "low below high"),
        ("[axes]\nhedges = 3", "bad field, POLICY:axes.hedges: 3"),
        ("[leaks]\nnamed = 2", "bad field, POLICY:leaks.named: 2"),
        ("[leaks]\nnamed = true", "bad field, POLICY:leaks.named"),
        ("leaks = 1", "bad field, POLICY:leaks: 1"),
        ("[leaks", "the policy is no TOML, POLICY"),
    ],
)
def test_a_bad_policy_is_one_line(go: Go, tmp_path: Path, text: str, said: str) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(text)
    made = go(["Fine."], "--policy", str(policy))
    lines = [line for line in made.err.splitlines() if line.startswith("error: ")]
    assert made.code == 2 and len(lines) == 1 and "Traceback" not in made.err and not made.out.exists()
    assert said.replace("POLICY", str(policy)) in lines[0]


@pytest.mark.parametrize(
    "flags, said, code",
    [
        (["--policy", "none.toml"], "cannot read the policy, --policy: none.toml", 2),
        (["--topics", "none.txt"], "cannot read the topics, --topics: none.txt", 2),
        (["--base", "nothing"], "no such model, --base: nothing", 2),
    ],
)
def test_what_cannot_be_read_is_one_line(go: Go, flags: list[str], said: str, code: int) -> None:
    made = go(["Fine."], *flags)
    assert made.code == code and f"error: {said}" in made.err and "Traceback" not in made.err


def test_topics_without_one_are_refused(go: Go, tmp_path: Path) -> None:
    (tmp_path / "topics.txt").write_text("# none\n")
    made = go(["Fine."], "--topics", str(tmp_path / "topics.txt"))
    assert made.code == 2 and "error: no topics" in made.err


def test_what_it_writes_is_whole_and_harmless(go: Go) -> None:
    texts = replies_of("eager", 60)
    texts[0] = (
        "Start today | this week <script>alert(1)</script> ![x](http://x.invalid/x.png) and begin now, tonight, soon."
    )
    made = go(texts)
    files = {path.relative_to(made.out).as_posix() for path in made.out.rglob("*") if path.is_file()}
    assert files == {"audit.json", "audit.md", "audit.html", "leaks.jsonl", "figures/axes.svg"}
    page, page_text = (made.out / "audit.html").read_text(), (made.out / "audit.md").read_text()
    assert "<script" not in page and "src=" not in page and "<svg" in page and "prefers-color-scheme" in page
    assert "&lt;script&gt;" in page
    assert all(line.count("|") == line.count(" | ") + 2 for line in page_text.splitlines() if line.startswith("|"))
    for each in (page, page_text, (made.out / "audit.json").read_text()):
        assert "irony" in each, "what it cannot see"
        assert "Apache-2.0" in each, "what it was held against"


def test_the_same_corpus_gives_the_same_bytes(go: Go) -> None:
    texts = replies_of("neutral", 60)
    one, other = go(texts, out="one").out, go(texts, out="other").out
    for name in ("audit.json", "audit.md", "audit.html", "leaks.jsonl"):
        assert (one / name).read_bytes() == (other / name).read_bytes()
