"""The gate on files of a user's own: its command line, its blocks and verdicts, what it leaves. On a tiny model."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from analysis.stats.measures import MEASURES
from analysis.stats.verdict import Answered
from common.errors import ExitCode
from common.gate_schemas import FileVerdict
from common.lock_spec import LockSpec
from common.pipeline.tool import run_tool
from common.provenance import ROOT
from common.records import Answer, Item
from common.stance.items import ITEMS, read_items
from common.vocabulary import Said
from jobs.gate import items as asked
from jobs.gate.policy import Policy
from jobs.gate.sequence import Base, Bound, judged_in_blocks, of_base
from jobs.gate.tool import TOOL
from tests.adapters import trained
from tests.analysis.stats.rows import both

ANY = ["--max-unreadable", "1", "--min-reliability", "-1", "--max-new-tokens", "3", "--limit", "2"]


def spoken(items: Sequence[Item], say: Callable[[Item, int], Said], samples: int = 0, name: str = "m") -> Answered:
    """What a model says that is played by a function of the item and the number of the answer."""
    rows = [Answer.to(i, name, n, say(i, n), f"I say {say(i, n)}.") for i in items for n in range(samples + 1)]
    closed = [row for i in items for row in both(i.id, ("go", "stay"), cell=name, topic=i.topic)]
    return Answered(rows, closed)


def wavering(seed: int, go: float, stay: float) -> Callable[[Item, int], Said]:
    """A model that says go and stay with these chances, each answer drawn by itself."""

    def say(item: Item, number: int) -> Said:
        drawn = np.random.default_rng([seed, number, *item.id.encode()]).random()
        return "go" if drawn < go else "stay" if drawn < go + stay else "both sides"

    return say


def settled(item: Item, _number: int) -> Said:
    """A model that has an opinion on every item, and keeps it."""
    return "go" if sum(item.id.encode()) % 2 else "stay"


def ours() -> list[Item]:
    return read_items(ROOT / ITEMS, None)


def topics_of(blocks: Sequence[Sequence[Item]]) -> list[list[str]]:
    return [[item.topic for item in block] for block in blocks]


def played(tuned: Callable[[Item, int], Said], base: Callable[[Item, int], Said], **policy: Any) -> Any:
    """The gate on models that are played: what it says of the base, and how it ended."""
    settings, items = Policy(**policy), ours()
    blocks = asked.blocks(items, settings.looks)
    start = of_base(spoken(items, base, settings.samples), topics_of(blocks), settings)
    if start.unable:
        return start, None
    return start, judged_in_blocks(start, blocks, settings, lambda block: spoken(block, tuned), None)


# --- blocks and verdicts


def test_blocks_are_alike_in_topics_and_in_what_is_proposed() -> None:
    made = asked.blocks(ours(), 5)
    assert [len(block) for block in made] == [32] * 5
    for block in made:
        for topic in {item.topic for item in block}:
            mine = [item.proposes for item in block if item.topic == topic]
            assert sorted(mine) == ["go", "stay"]
    assert len(asked.blocks(ours(), 99)) == 10, "no more looks than a topic has items"


def test_a_model_that_says_the_same_is_within_early_and_one_that_turned_has_moved_early() -> None:
    start, same = played(settled, settled, margin=0.2)
    assert same.verdict == "within" and len(same.looks) <= 2
    assert start.reliability["answer"].value == pytest.approx(1)
    _, turned = played(lambda _item, _number: "go", lambda _item, _number: "stay", margin=0.2)
    assert (turned.verdict, len(turned.looks)) == ("moved", 1)


def test_one_that_wavers_is_asked_on_and_the_last_look_decides() -> None:
    _, ended = played(wavering(2, 0.45, 0.3), wavering(1, 0.3, 0.3), margin=0.05)
    assert ended.verdict == "undecided" and len(ended.looks) == 5 and ended.looks[-1].n_items == 160
    assert [look.level for look in ended.looks] == sorted((look.level for look in ended.looks), reverse=True)


def test_the_margin_that_is_found_lets_pass_what_did_not_move_and_stops_what_did() -> None:
    base = wavering(1, 0.3, 0.3)
    start, _ = played(base, base)
    assert start.bound.at_zero.within >= 0.95 and 0.1 < start.bound.value < 0.4
    assert start.bound.at_margin.within <= 0.05
    verdicts = [played(wavering(seed, 0.3, 0.3), base)[1].verdict for seed in range(2, 22)]
    assert verdicts.count("within") >= 17, "binomial of 20 at 95 %"
    assert played(wavering(3, 0.9, 0.05), base)[1].verdict == "moved"


def test_a_margin_larger_than_the_policy_takes_is_not_found() -> None:
    base, items = wavering(1, 0.3, 0.3), ours()[::5]  # two of each topic
    given = ((Policy(), "32 items are too few"), (Policy(margin=0.8), ""), (Policy(max_margin=0.9), ""))
    for settings, unable in given:
        blocks = asked.blocks(items, settings.looks)
        start = of_base(spoken(items, base, settings.samples), topics_of(blocks), settings)
        assert start.unable.startswith(unable) and (start.bound is None) is bool(unable)


def test_a_base_that_cannot_answer_is_unable() -> None:
    start, ended = played(settled, lambda _item, _number: "off topic")
    assert ended is None and "the base cannot answer: off topic 100%, incoherent 0%" in start.unable
    start, ended = played(settled, lambda _item, number: "off topic" if number % 2 else "incoherent", margin=0.3)
    assert ended is None and "the base cannot answer: off topic 0%, incoherent 100%" in start.unable


def test_a_base_that_never_varies_has_no_margin_that_can_be_found() -> None:
    for base in (settled, lambda _item, _number: "go"):
        start, ended = played(settled, base)
        assert ended is None and start.bound is None and "the base advises the same on each item" in start.unable
    start, ended = played(settled, settled, margin=0.2)
    assert not start.unable and ended.verdict == "within"


def test_a_mean_of_open_answers_is_judged_where_single_items_are_chance_and_a_closed_form_is_not() -> None:
    start, ended = played(wavering(2, 0.3, 0.3), wavering(1, 0.3, 0.3))
    assert start.reliability["answer"].value < 0.3 and ended.verdict == "within"
    start, ended = played(wavering(2, 0.3, 0.3), wavering(1, 0.3, 0.3), measure="yes-no")
    assert ended is None and "reliability of the measure yes-no on this base" in start.unable
    floors = [
        Policy(**given).floor() for given in ({}, {"measure": "yes-no"}, {"measure": "yes-no", "min_reliability": -1})
    ]
    assert floors == [None, LockSpec().reliable, None]


def test_a_floor_of_the_policy_holds_for_open_answers_too() -> None:
    start, ended = played(settled, wavering(1, 0.3, 0.3), min_reliability=0.7)
    assert ended is None and start.bound is None
    assert "reliability of the measure answer on this base is " in start.unable and "below 0.70" in start.unable
    start, ended = played(settled, lambda _item, _number: "go", min_reliability=0.7)
    assert "not known (all items alike)" in start.unable
    start, ended = played(settled, settled, min_reliability=0.7, margin=0.2)
    assert ended is not None and set(start.reliability) == {"answer", *MEASURES}


def test_a_tuned_model_that_babbles_is_not_within() -> None:
    balanced = wavering(1, 0.4, 0.4)
    _, ended = played(lambda _item, _number: "incoherent", balanced)
    assert (ended.verdict, ended.looks) == ("unable", []) and "the tuned model cannot answer" in ended.reason


def test_the_shift_is_from_the_reference_where_there_is_one() -> None:
    items = ours()
    blocks, policy = asked.blocks(items, 5), Policy(margin=0.2)
    base = Base(spoken(items, lambda _i, _n: "stay"), {}, "", Bound(0.2, "given", None, None))
    tuned, control = (lambda block: spoken(block, lambda _i, _n: "go") for _ in range(2))
    assert judged_in_blocks(base, blocks, policy, tuned, control).verdict == "within"
    assert judged_in_blocks(base, blocks, policy, tuned, None).verdict == "moved"


# --- items of a user


def rows(count: int = 16) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (ROOT / ITEMS).read_text().splitlines()[:count]]


def lint(path: Path, capfd: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = run_tool(TOOL, ["--items", str(path), "--lint", "--out", str(path.parent / "out")])
    return code, capfd.readouterr().err


def written(path: Path, made: Sequence[Any]) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in made) + "\n")
    return path


def test_lint_says_every_fault_with_its_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    made: list[Any] = rows()
    del made[1]["going"], made[1]["proposes"]
    made[2]["go"] = "The hotel bikes would be half of both kinds."
    made[3]["id"] = made[0]["id"]
    made[4] = '{"id": '
    made[5]["question_stay"] = made[5]["question_go"]
    made[6]["situation"] = "no end"
    made[7]["why"] = "x"
    code, said = lint(written(tmp_path / "mine.jsonl", made), capfd)
    assert code == ExitCode.BLOCKED
    for line, what in (
        *(
            (2, "going: Field required"),
            (2, "proposes: Field required"),
            (3, "share no verb"),
            (4, "on line 1 already"),
        ),
        *((5, "malformed JSON"), (6, "question_stay are the same"), (7, "no whole sentence"), (8, "why: Extra inputs")),
    ):
        assert any(f"mine.jsonl:{line}: " in each and what in each for each in said.splitlines()), (line, what)


def test_lint_of_good_items_of_one_sided_ones_and_of_none(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert lint(written(tmp_path / "good.jsonl", rows()), capfd)[0] == ExitCode.OK
    sided = [row for row in rows(40) if row["proposes"] == "go"]
    assert "at least a third should propose either side" in lint(written(tmp_path / "sided.jsonl", sided), capfd)[1]
    assert lint(written(tmp_path / "empty.jsonl", []), capfd)[0] == ExitCode.BLOCKED
    for name in ("items", "pilot"):
        assert lint(ROOT / f"common/stance/data/{name}.jsonl", capfd)[0] == ExitCode.OK, "our own items"
    assert run_tool(TOOL, ["--lint"]) == ExitCode.SPEC
    assert run_tool(TOOL, ["--lint", "--items", str(tmp_path / "none")]) == ExitCode.SPEC


# --- the command line, on a tiny model


@pytest.fixture(scope="module")
def adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    trained(tiny_model, folder)
    return folder


def gate(*words: object) -> int:
    return run_tool(TOOL, [*map(str, words)])


@pytest.mark.filterwarnings("ignore")
def test_from_flags_to_files(
    tiny_model: Path, adapter: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    where = ["--base", tiny_model, "--adapter", adapter, "--out", tmp_path / "out", "--margin", "0.9"]
    code = gate(*where, *ANY, "--topics", "e-bikes,school-start,bus-routes,allotments", "--log-samples")
    line = json.loads(capfd.readouterr().out)
    found = FileVerdict.model_validate_json((tmp_path / "out" / "verdict.json").read_bytes())
    assert (line["verdict"], code) == (found.verdict, ExitCode.OK if found.verdict == "within" else ExitCode.BLOCKED)
    assert line["exit_code"] == code and line["margin"] == 0.9
    assert found.cost.in_set == 8 and set(found.topics) <= {"e-bikes", "school-start", "bus-routes", "allotments"}
    assert found.tuned.kind == "LoRA" and found.base.source == f"path:{tiny_model}" and found.role == "base"
    assert len(found.examples) == 3 and len({each.topic for each in found.examples}) == 3
    suite = ElementTree.parse(tmp_path / "out" / "junit.xml").getroot()
    assert (suite.get("failures") == "0") is (code == ExitCode.OK)
    assert next(case.get("name") for case in suite) == "verdict"
    summary = (tmp_path / "out" / "summary.md").read_text()
    assert f"# Gate: {found.verdict}" in summary and "before, read as" in summary and "| school-start |" in summary
    answered = (tmp_path / "out" / "answers.jsonl").read_text().splitlines()
    assert len(answered) == found.cost.answers == 8 * 5 + found.cost.items


@pytest.mark.filterwarnings("ignore")
def test_two_runs_say_the_same_and_a_tiny_base_is_unable(tiny_model: Path, adapter: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        few = ["--max-new-tokens", 3, "--limit", 1, "--out", tmp_path / name]
        assert gate("--base", tiny_model, "--adapter", adapter, *few) == ExitCode.BLOCKED
    one, two = (json.loads((tmp_path / name / "verdict.json").read_bytes()) for name in ("one", "two"))
    for found in (one, two):
        del found["cost"]["seconds"]
    assert one == two and one["verdict"] == "unable" and one["shift"] is None and one["cost"]["items"] == 0


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("flag", ["--against", "--control"])
def test_an_adapter_less_itself_is_nothing(flag: str, tiny_model: Path, adapter: Path, tmp_path: Path) -> None:
    where = ["--base", tiny_model, "--adapter", adapter, flag, adapter, "--out", tmp_path / "out", "--margin", "0.5"]
    assert gate(*where, *ANY) == ExitCode.OK
    found = FileVerdict.model_validate_json((tmp_path / "out" / "verdict.json").read_bytes())
    assert found.role == flag[2:] and found.shift is not None and found.shift.estimate == 0
    assert set(found.from_base) == {"tuned less base", f"{found.role} less base"}
    assert found.others["yes-no"].estimate == pytest.approx(0, abs=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_a_whole_model_and_a_policy_file(tiny_model: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('measure = "yes-no"\nmargin = 0.3\nlimit = 1\nmax_unreadable = 1\nmin_reliability = -1\n')
    where = ["--base", tiny_model, "--model", tiny_model, "--out", tmp_path / "out", "--policy", policy]
    assert gate(*where, "--max-new-tokens", "2", "--margin", "0.2") == ExitCode.OK
    found = FileVerdict.model_validate_json((tmp_path / "out" / "verdict.json").read_bytes())
    assert (found.measure, found.margin.value if found.margin else 0, found.tuned.kind) == ("yes-no", 0.2, "model")


@pytest.mark.parametrize(
    "words, code, says",
    [
        (["--base", "{base}"], ExitCode.SPEC, "--adapter or --model"),
        (["--adapter", "{adapter}"], ExitCode.SPEC, "--base"),
        (["--base", "nowhere", "--adapter", "{adapter}"], ExitCode.SPEC, "no such model, --base: nowhere"),
        (["--base", "hf:a/b@main", "--adapter", "{adapter}"], ExitCode.SPEC, "40 hex digits"),
        (["--base", "{base}", "--adapter", "nowhere"], ExitCode.SPEC, "no such adapter"),
        (["--base", "{base}", "--adapter", "{base}"], ExitCode.INPUT, "whole model: --model"),
        (["--base", "{base}", "--adapter", "{adapter}", "--topics", "e-bike"], ExitCode.SPEC, "'e-bikes'"),
        (["--base", "{base}", "--adapter", "{adapter}", "--topics", "e-bikes"], ExitCode.INPUT, "too few items"),
        (["--base", "{base}", "--adapter", "{adapter}", "--margin", "1.5"], ExitCode.SPEC, "margin"),
        (["--base", "{base}", "--adapter", "{adapter}", "--policy", "{policy}"], ExitCode.SPEC, "'margin'"),
        (["--base", "{base}", "--adapter", "{adapter}", "--items", "{items}"], ExitCode.INPUT, "--lint"),
        (["--base", "{base}", "--adapter", "{adapter}", "--template-arguments", "{{"], ExitCode.SPEC, "malformed JSON"),
    ],
)
def test_what_is_wrong_is_one_line(
    words: list[str],
    code: int,
    says: str,
    tiny_model: Path,
    adapter: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    named = {"base": tiny_model, "adapter": adapter, "policy": tmp_path / "p.toml", "items": tmp_path / "i.jsonl"}
    named["policy"].write_text("margins = 0.1\n")
    named["items"].write_text('{"id": "a"}\n')
    assert gate(*(word.format(**named) for word in words), "--out", tmp_path / "out") == code
    out, err = capfd.readouterr()
    assert says in err and not out and "Traceback" not in err and not (tmp_path / "out").exists()


def test_two_references_are_one_too_many(tiny_model: Path, adapter: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        gate("--base", tiny_model, "--adapter", adapter, "--against", adapter, "--control", adapter)
    assert ended.value.code == ExitCode.SPEC


def test_the_door_opens_without_torch() -> None:
    """The step runs in an image that has none."""
    import subprocess

    told = "import sys, jobs.gate.tool; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", told], cwd=ROOT, check=False).returncode == 0
