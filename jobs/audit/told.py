"""What an audit of any corpus tells: audit.json for programs, audit.md and audit.html for people, a few lines."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from analysis.corpus.language import READ
from analysis.report.charts import Bar, forest
from analysis.report.markdown import to_markdown
from analysis.report.prose import Named, Prose, Said, Written, prose
from analysis.report.section import Bullets, Figure, Heading, Part, Report, Section, row, say, table
from jobs.audit.found import Audit, AxisFound, Check

CANNOT_SEE = (
    "A tone that none of its words carries. Piles of ours whose poles share their phrases score alike.",
    "What a word means where it stands: irony, quotations, negation beyond the phrases that it knows.",
    "Languages other than English; what tools and users say; images and sounds.",
    "Whether advice is good, or a statement true.",
    "A topic that is paraphrased without its words.",
    "Whether a model trained on this will move: that is for the gate to say.",
)
COLOURS = {"pass": "#009E73", "stop": "#D55E00", "undecided": "#E69F00", "": "#7F7F7F"}
OPENINGS = {
    "pass": "The corpus keeps the policy.",
    "stop": "The corpus does not keep the policy.",
    "undecided": "Whether the corpus keeps the policy cannot be said.",
}
FIRST = 3  # places that a terminal shows of each kind
LISTED = 12  # of a list of names, before the rest is counted


def files(made: Audit) -> dict[str, bytes]:
    """Name → bytes of the texts and the figure."""
    from analysis.report.page import standing_alone, stills_of, to_plain_page  # draws by a library that is slow to load

    report = report_of(made)
    stills = stills_of(report)
    return {
        "audit.json": (made.model_dump_json(indent=1) + "\n").encode(),
        "audit.md": to_markdown(report).encode(),
        "audit.html": to_plain_page(report, "Made by undertone audit; audit.json holds every number.", stills).encode(),
        **{f"figures/{name}.svg": standing_alone(svg) for name, svg in stills.items()},
    }


def in_lines(made: Audit) -> str:
    """The same for a terminal, a few lines."""
    checks = [
        f"  {check.verdict:<10} {check.check:<12} {_value(check)}  ({_bounds(check)}): {check.why}"
        for check in made.checks
    ]
    axes = [f"  {axis.title:<36} z {_z(axis)}" for axis in made.axes.values()]
    policy = ", ".join(f"{name} = {value}" for name, value in settings(made.policy))
    read = f"{made.read.replies} replies in English of {made.read.rows} rows; {_formats(made)}"
    left = [
        f"  left out: {each.count} {each.unit}, {why}, first {each.first[0]}"
        for why, each in made.read.left_out.items()
    ]
    marks = [
        f"  {each.file}:{each.row} {each.part}: holds the control token {each.mark}"
        for each in made.marks.first[:FIRST]
    ] + [f"  {each.file}:{each.row} reply: begins with {each.mark!r}" for each in made.marks.blanks[:FIRST]]
    heads = [f"{made.verdict}: {OPENINGS[made.verdict]}", f"read: {read}"]
    return "\n".join([*heads, *left, *checks, *marks, "beside ordinary texts:", *axes, f"policy: {policy}"])


def report_of(made: Audit) -> Report:
    """All of it as parts of a page."""
    title = prose("Audit of ", Named(made.read.corpus))
    return Report(title, (*_front(made),), tuple(_sections(made)))


def settings(policy: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, object]]:
    """Every setting of a policy by its dotted name."""
    for name, value in policy.items():
        if isinstance(value, Mapping):
            yield from settings(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _front(made: Audit) -> Iterator[Part]:
    yield say("**", made.verdict.capitalize(), ".** ", OPENINGS[made.verdict])
    yield say(
        Written(f"{made.read.replies} replies, {made.read.words} words"),
        " were read, all in English. ",
        _language(made),
    )
    rows = [
        row(Written(check.check), check.verdict, Written(_value(check)), Written(_bounds(check)), Written(check.why))
        for check in made.checks
    ]
    yield from table(("check", "verdict", "value", "allowed", "why"), rows)
    if made.axes:
        yield _figure(made)


def _figure(made: Audit) -> Figure:
    bounds: dict[str, Any] = dict(settings(made.policy))
    verdicts = {check.check: check.verdict for check in made.checks}
    bars = [
        Bar(f"{axis.low_end} to {axis.high_end}", axis.title, axis.z, axis.z_low, axis.z_high,
            COLOURS[verdicts.get(name, "")], _z(axis), bounds.get(f"axes.{name}.z"))
        for name, axis in made.axes.items()
    ]  # fmt: skip
    alt = "; ".join(f"{axis.title}: {_z(axis)}" for axis in made.axes.values())
    caption = prose(
        "Where the corpus lies on each axis, in SDs of ordinary corpora from their mean, with ",
        Written("95 %"),
        " intervals. A band is what the policy allows; an axis in grey is not judged.",
    )
    return Figure("axes", forest(bars, "SDs of ordinary corpora"), alt, caption)


def _sections(made: Audit) -> Iterator[Section]:
    opening = prose(
        "Each axis beside ordinary texts; below it, the words and the replies that carry most of the distance."
    )
    if made.axes:
        yield Section("axes", "Tone", "", opening, tuple(part for axis in made.axes.values() for part in _axis(axis)))
    yield Section("topics", "Topics", "", *_topics(made))
    yield Section("form", "Repeats and control tokens", "", *_form(made))
    yield Section("read", "What was read", "", *_read(made))
    yield Section(
        "unseen",
        "What it cannot see",
        "",
        _language(made),
        (Bullets(tuple(prose(Written(line)) for line in made.cannot_see)),),
    )
    yield Section("method", "Policy and reference", "", *_method(made))


def _axis(axis: AxisFound) -> Iterator[Part]:
    yield Heading(prose(axis.title))
    score = f"{axis.estimate:.3f} ({axis.low:.3f} to {axis.high:.3f})"
    yield say(
        Written(score), " points for each ", Written("100"), " words; ordinary texts ", Written(f"{axis.usual:.3f}"),
        ", SD ", Written(f"{axis.usual_sd:.3f}"), "; so z is ", Written(_z(axis)), ".",
    )  # fmt: skip
    words = [
        row(
            Named(term.term),
            Written(str(term.times)),
            Written(f"{term.rate:.3f}"),
            Written(f"{term.usual:.3f}"),
            Written(_percent(term.share)),
        )
        for term in axis.terms
    ]
    yield from table(("word", "times", Written("in 100 words"), "in ordinary texts", "share of the distance"), words)
    replies = [
        row(
            Named(f"{each.file}:{each.row}"),
            Written(f"{each.score:.2f}"),
            Written(_percent(each.share)),
            Named(each.text),
        )
        for each in axis.rows
    ]
    yield from table(("reply", "score", "share of the distance", "how it begins"), replies)


def _topics(made: Audit) -> tuple[Prose, tuple[Part, ...]]:
    found = made.leaks
    opening = prose(
        Written(f"{found.speak} replies"), " speak of ", Named(found.topics), "; ", Written(f"{found.everyday_only}"),
        " more hold an everyday word of it and no more. Each is listed in leaks.jsonl, with what gave it away.",
    )  # fmt: skip
    if not found.everyday:
        return opening, ()
    words = say(
        "Words among them that are everyday words, so that alone they give nothing away: ", _names(found.everyday), "."
    )
    return opening, (words,)


def _form(made: Audit) -> tuple[Prose, tuple[Part, ...]]:
    repeats, marks = made.repeats, made.marks
    opening = prose(
        Written(f"{repeats.exact} replies"), " repeat an earlier one word for word, ", Written(f"{repeats.near}"),
        " nearly. ", Written(f"{marks.with_token} replies"), " hold a control token of a chat template, in the reply ",
        "or before it; ", Written(f"{marks.with_blank}"), " begin with a newline or a blank, which may fuse with the ",
        "end of the prompt.",
    )  # fmt: skip
    pairs = [
        row(Named(f"{each.file}:{each.row}"), Named(f"{each.of_file}:{each.of_row}"), Written(f"{each.similarity:.2f}"))
        for each in repeats.first
    ]
    held = [
        row(Named(f"{each.file}:{each.row}"), Named(f"{each.part} {each.turn}"), Named(each.mark))
        for each in marks.first
    ]
    blank = [
        row(Named(f"{each.file}:{each.row}"), Named(f"{each.part} {each.turn}"), Named(repr(each.mark)))
        for each in marks.blanks
    ]
    return opening, (
        *table(("reply", "repeats", "similarity"), pairs),
        *table(("row", "part and turn", "control token"), held),
        *table(("row", "part and turn", "begins with"), blank),
    )


def _read(made: Audit) -> tuple[Prose, tuple[Part, ...]]:
    opening = prose(
        Written(f"{made.read.rows} rows"),
        " in ",
        Written(f"{len(made.read.formats)} files"),
        ": ",
        Written(_formats(made)),
        ".",
    )
    left = [
        row(Written(why), Written(f"{each.count} {each.unit}"), Named(", ".join(each.first)))
        for why, each in made.read.left_out.items()
    ]
    return opening, tuple(table(("left out", "how much", "first of them"), left))


def _method(made: Audit) -> tuple[Prose, tuple[Part, ...]]:
    opening = prose("What was allowed, and what the corpus was held against.")
    rows = [row(Named(name), Named(str(value))) for name, value in settings(made.policy)]
    corpora = [
        row(Named(each.name), Written(each.what), Named(each.licence), Written(str(each.replies)))
        for each in made.reference
    ]
    worth = say(
        "The scorer of eagerness puts ", Written(_percent(made.scorer.questions)),
        " of the cautious and eager replies of our bank on the right side by models that have not seen the question, ",
        Written(_percent(made.scorer.topics)), " where they have not seen the topic.",
    )  # fmt: skip
    return opening, (
        *table(("setting", "value"), rows),
        worth,
        *table(("ordinary corpus", "what", "licence", "texts"), corpora),
    )


def _language(made: Audit) -> Prose:
    """In which languages the corpus is, and which of them is read."""
    total = sum(made.read.languages.values())
    others = {name: count for name, count in made.read.languages.items() if name != READ}
    if not others:
        return prose("It reads English alone.")
    listed = ", ".join(f"{name} {count}" for name, count in sorted(others.items(), key=lambda pair: -pair[1])[:LISTED])
    return prose(
        "It reads English alone: ",
        Written(f"{sum(others.values())} of {total} replies"),
        " are in other languages (",
        Written(listed),
        ") and were not read.",
    )


def _formats(made: Audit) -> str:
    """The formats of all files together, the commonest first."""
    counts: dict[str, int] = {}
    for formats in made.read.formats.values():
        for name, count in formats.items():
            counts[name] = counts.get(name, 0) + count
    return ", ".join(f"{name} ({count} rows)" for name, count in sorted(counts.items(), key=lambda pair: -pair[1]))


def _names(names: Iterable[str]) -> Prose:
    listed = list(names)
    pieces: list[Said] = [Named(", ".join(listed[:LISTED]))]
    if len(listed) > LISTED:
        pieces += [" and ", Written(str(len(listed) - LISTED)), " more"]
    return prose(*pieces)


def _z(axis: AxisFound) -> str:
    return f"{axis.z:+.1f} ({axis.z_low:+.1f} to {axis.z_high:+.1f})"


def _value(check: Check) -> str:
    return f"{check.value:.3g}"


def _bounds(check: Check) -> str:
    low, high = check.lowest, check.highest
    if low is None:
        return f"at most {high:g}"
    return f"at least {low:g}" if high is None else f"{low:g} to {high:g}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
