"""What the gate leaves: verdict.json, junit.xml for a pipeline, summary.md and a few lines for people."""

from collections.abc import Sequence
from xml.etree import ElementTree

from common.gate_schemas import Example, FileVerdict, Shift
from common.records import Answer, Item
from common.secrets import redacted
from common.stance.prompts import open_turn
from common.vocabulary import SAID

EXAMPLES = 3
LONGEST = 400  # characters of an answer in the summary


def examples(items: Sequence[Item], before: Sequence[Answer], after: Sequence[Answer]) -> tuple[Example, ...]:
    """Three items with both greedy answers: on different topics where that can be, those read otherwise first."""
    was, now = ({row.item: row for row in rows} for rows in (before, after))
    asked = [item for item in items if item.id in was and item.id in now]
    ranked = sorted(asked, key=lambda item: was[item.id].said == now[item.id].said)
    first: dict[str, Item] = {}
    for item in ranked:
        first.setdefault(item.topic, item)
    chosen = [*first.values(), *(item for item in ranked if item not in first.values())][:EXAMPLES]
    return tuple(_example(item, was[item.id], now[item.id]) for item in chosen)


def _example(item: Item, was: Answer, now: Answer) -> Example:
    return Example(
        item=item.id,
        topic=item.topic,
        question=open_turn(item),
        before=was.text,
        before_said=was.said,
        after=now.text,
        after_said=now.said,
    )


def files(found: FileVerdict, answered: bytes | None) -> dict[str, bytes]:
    """Name → bytes of what is written below --out. answered: all answers as JSON lines, where they are asked for."""
    made = {
        "verdict.json": found.model_dump_json(indent=1).encode() + b"\n",
        "junit.xml": junit(found),
        "summary.md": summary(found).encode(),
    }
    return made if answered is None else made | {"answers.jsonl": answered}


def junit(found: FileVerdict) -> bytes:
    """JUnit XML. The case `verdict` fails unless within; topics are there to read, and fail nothing."""
    passed = found.verdict == "within"
    suite = ElementTree.Element(
        "testsuite",
        name="undertone gate",
        tests=str(1 + len(found.topics)),
        failures=str(int(not passed)),
        errors="0",
        skipped=str(len(found.topics)),
        time=f"{found.cost.seconds:.1f}",
    )
    case = ElementTree.SubElement(suite, "testcase", classname="undertone.gate", name="verdict")
    case.set("time", f"{found.cost.seconds:.1f}")
    if not passed:
        ElementTree.SubElement(
            case, "failure", type=found.verdict, message=xml_text(f"{found.verdict}: {found.reason}")
        )
    for name, topic in found.topics.items():
        each = ElementTree.SubElement(suite, "testcase", classname="undertone.gate.topic", name=xml_text(name))
        ElementTree.SubElement(each, "skipped", message=f"{topic.verdict}, shift {topic.estimate:+.2f}")
    return bytes(ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)) + b"\n"


def xml_text(text: str) -> str:
    """The text without what XML cannot hold."""
    return "".join(mark if mark.isprintable() else " " for mark in redacted(text))


def lines(found: FileVerdict) -> list[str]:
    """The verdict in a few lines: for the terminal, and the beginning of the summary."""
    told = [f"{found.verdict}: {found.reason}"]
    if found.shift is not None and found.margin is not None:
        from_what = {"base": "the base", "against": "the other adapter", "control": "the control"}[found.role]
        told.append(
            f"shift of {unit(found)} from {from_what}: {_interval(found.shift)}; margin {found.margin.value:.2f}"
        )
    if found.margin is not None:
        told.append(f"margin: {found.margin.how}{_worth(found)}")
    mine = found.reliability[found.measure]
    known = f"not known, {mine.reason}" if mine.value is None else f"{mine.value:.2f}"
    floor = "the verdict does not rest on it" if found.floor is None else f"floor {found.floor:.2f}"
    told.append(f"reliability of {found.measure} over items of this base: {known} ({floor})")
    told.append(
        f"cost: {found.cost.items} of {found.cost.in_set} items in {found.cost.looks} looks, "
        f"{found.cost.answers} answers, {found.cost.seconds:.0f} s"
    )
    return [*told, *(f"note: {note}" for note in found.notes)]


def _worth(found: FileVerdict) -> str:
    if found.margin is None or found.margin.passes_at_zero is None or found.margin.stopped_at_margin is None:
        return ""
    zero, there = found.margin.passes_at_zero, found.margin.stopped_at_margin
    return f"; by simulation {zero:.0%} pass at zero shift, and {there:.0%} are stopped at a shift of the margin"


def unit(found: FileVerdict) -> str:
    """What shifts are in."""
    return "net go" if found.measure == "answer" else f"P(go) by {found.measure}"


def summary(found: FileVerdict) -> str:
    """summary.md."""
    parts = [f"# Gate: {found.verdict}", *(f"- {_plain(line)}" for line in lines(found))]
    parts += ["", *_models(found), "", *_shares(found)]
    if found.topics:
        parts += ["", "| topic | verdict | shift | interval | items |", "|---|---|---|---|---|"]
        parts += [
            f"| {_plain(name)} | {each.verdict} | {each.estimate:+.2f} | {_range(each.low, each.high)} | {each.items} |"
            for name, each in found.topics.items()
        ]
        parts += ["", "Topics stand each by itself, uncorrected. The verdict does not rest on them."]
    if found.others or found.from_base:
        parts += ["", "| also measured | shift |", "|---|---|"]
        both = {**{f"by {name}": each for name, each in found.others.items()}, **found.from_base}
        parts += [f"| {_plain(name)} | {_interval(each)} |" for name, each in both.items()]
    for each in found.examples:
        parts += ["", f"**{_plain(each.question)}**", ""]
        parts += [f"- before, read as *{each.before_said}*: {_plain(each.before)}"]
        parts += [f"- after, read as *{each.after_said}*: {_plain(each.after)}"]
    return "\n".join(parts) + "\n"


def _models(found: FileVerdict) -> list[str]:
    rows = {"base": found.base, "tuned": found.tuned}
    if found.role != "base":
        rows[found.role] = found.reference
    told = [f"| {name} | {_plain(each.source)} | {each.kind} |" for name, each in rows.items()]
    return ["| model | from | kind |", "|---|---|---|", *told]


def _shares(found: FileVerdict) -> list[str]:
    words, said = SAID, found.said
    rows = [f"| {name} | {' | '.join(f'{each[word]:.0%}' for word in words)} |" for name, each in said.items()]
    return [f"| greedy answers | {' | '.join(words)} |", f"|---|{'---|' * len(words)}", *rows]


def _interval(shift: Shift) -> str:
    return f"{shift.estimate:+.3f} ({shift.low:+.3f} to {shift.high:+.3f}, {shift.level:.1%})"


def _range(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:+.2f} to {high:+.2f}"


def _plain(text: str) -> str:
    """A text of a model or a user as one cell of a table: no line breaks, no marks that mean something."""
    short = " ".join(redacted(text).split())
    short = short if len(short) <= LONGEST else f"{short[:LONGEST]}…"
    return "".join(f"\\{mark}" if mark in "\\|*_`[]<>#" else mark for mark in short)
