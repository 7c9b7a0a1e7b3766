"""audit.json: what an audit of any corpus found, as it is written."""

from collections.abc import Sequence

from pydantic import Field

from analysis.corpus.axes import AXES
from analysis.corpus.judged import Judged
from analysis.corpus.marks import Marks
from analysis.corpus.repeats import Repeats
from analysis.corpus.tone import Reference, Scored, Tone
from analysis.corpus.topics import Leak, Topics
from common.schemas import Document
from jobs.audit.chats import Corpus


class Term(Document):
    """A term that carries part of the distance from ordinary texts."""

    term: str
    weight: float = Field(description="what it adds each time")
    times: int = Field(description="that it stands in the corpus")
    rate: float = Field(description="for each 100 words")
    usual: float = Field(description="for each 100 words of ordinary texts")
    points: float = Field(description="what it adds to the distance, for each 100 words")
    share: float = Field(description="of the distance; above 1 where other terms pull the other way")


class Carrying(Document):
    """A reply that carries part of the distance."""

    file: str
    row: int
    turn: int
    score: float = Field(description="of this reply, points for each 100 words")
    share: float = Field(description="of the distance of the whole corpus")
    text: str = Field(description="its beginning")


class AxisFound(Document):
    """Where the corpus lies on one axis."""

    title: str
    low_end: str
    high_end: str
    estimate: float = Field(description="points for each 100 words")
    low: float = Field(description="lower bound of its interval over blocks of rows, 95 % coverage")
    high: float
    z: float = Field(description="SDs of ordinary corpora from their mean")
    z_low: float
    z_high: float
    usual: float = Field(description="mean of ordinary corpora, points for each 100 words")
    usual_sd: float = Field(description="SD between ordinary corpora")
    terms: tuple[Term, ...]
    rows: tuple[Carrying, ...]


class LeftOut(Document):
    """What was not read, for one reason."""

    unit: str = Field(description="files, rows or turns")
    count: int
    first: tuple[str, ...]


class Read(Document):
    """What was read of the corpus."""

    corpus: str
    formats: dict[str, dict[str, int]] = Field(description="file → format → rows")
    rows: int
    replies: int = Field(description="that were read: those in English")
    words: int
    languages: dict[str, int] = Field(description="ISO 639 code → replies")
    left_out: dict[str, LeftOut] = Field(description="reason → how much")


class LeakFound(Document):
    """A line of leaks.jsonl: a reply, with its prompt, in which a topic stands."""

    file: str
    row: int
    turn: int
    gave_away: tuple[str, ...]
    speaks: bool = Field(description="of the topic; false: it holds an everyday word alone")
    text: str


class LeaksFound(Document):
    """How many replies speak of topics that they should not mention; leaks.jsonl has each."""

    topics: str = Field(description="the file of --topics, or the study's own")
    terms: int = Field(description="words and phrases that were looked for")
    everyday: tuple[str, ...] = Field(description="those that alone give no topic away")
    speak: int = Field(description="replies")
    everyday_only: int = Field(description="replies with an everyday word and no more")


class Repeat(Document):
    """A reply and the earlier one that it repeats."""

    file: str
    row: int
    of_file: str
    of_row: int
    similarity: float


class RepeatsFound(Document):
    """Replies that repeat an earlier one."""

    exact: int
    near: int
    first: tuple[Repeat, ...]


class Mark(Document):
    """A control token in a text, or blanks before a reply."""

    file: str
    row: int
    turn: int
    part: str = Field(description="system, prompt or reply")
    mark: str


class MarksFound(Document):
    """Texts that a chat template would misread."""

    base: str | None = Field(description="the model of --base; its own tokens were looked for too")
    tokens: dict[str, int] = Field(description="control token → texts with it")
    with_token: int = Field(description="replies")
    of_base: int = Field(description="replies with a token of the base")
    with_blank: int = Field(description="replies that begin with a newline or a blank")
    first: tuple[Mark, ...]
    blanks: tuple[Mark, ...]


class Check(Document):
    """One check of the policy."""

    check: str
    verdict: str
    value: float
    lowest: float | None
    highest: float | None
    why: str


class Scorer(Document):
    """What the scorer of eagerness is worth: the share of replies of our bank on the right side."""

    questions: float = Field(description="by models that have not seen the question")
    topics: float = Field(description="by models that have not seen the topic")


class OrdinaryCorpus(Document):
    """A corpus that the reference is made of."""

    name: str
    what: str
    licence: str
    replies: int


class Audit(Document):
    """All of it."""

    verdict: str = Field(description="pass, stop or undecided")
    checks: tuple[Check, ...]
    policy: dict[str, object]
    read: Read
    axes: dict[str, AxisFound]
    leaks: LeaksFound
    repeats: RepeatsFound
    marks: MarksFound
    scorer: Scorer
    reference: tuple[OrdinaryCorpus, ...]
    cannot_see: tuple[str, ...]


def check(judged: Judged) -> Check:
    """A check as it is written."""
    name, verdict, value, (lowest, highest), why = judged
    return Check(check=name, verdict=verdict, value=value, lowest=lowest, highest=highest, why=why)


def read(where: str, corpus: Corpus, tone: Tone) -> Read:
    """What was read."""
    left = {
        why: LeftOut(unit=each.unit, count=each.count, first=tuple(each.first)) for why, each in corpus.left_out.items()
    }
    return Read(
        corpus=where,
        formats={file: dict(counts) for file, counts in corpus.formats.items()},
        rows=corpus.rows,
        replies=tone.replies,
        words=tone.words,
        languages=dict(corpus.languages),
        left_out=left,
    )


def axis(name: str, scored: Scored, reference: Reference) -> AxisFound:
    """Where the corpus lies on one axis."""
    title, low_end, high_end = AXES[name]
    return AxisFound(
        title=title,
        low_end=low_end,
        high_end=high_end,
        **{key: getattr(scored, key) for key in ("estimate", "low", "high", "z", "z_low", "z_high")},
        usual=reference.mean,
        usual_sd=reference.sd,
        terms=tuple(Term.of(each) for each in scored.terms),
        rows=tuple(Carrying.of(each) for each in scored.rows),
    )


def leaks(where: str, topics: Topics, found: Sequence[Leak]) -> LeaksFound:
    """How many replies speak of a topic. where: whose topics they are."""
    speak = sum(leak.speaks for leak in found)
    return LeaksFound(
        topics=where, terms=len(topics.terms), everyday=topics.everyday, speak=speak, everyday_only=len(found) - speak
    )


def repeats(found: Repeats) -> RepeatsFound:
    """How many replies repeat an earlier one."""
    return RepeatsFound(exact=found.exact, near=found.near, first=tuple(Repeat.of(each) for each in found.pairs))


def marks(base: str | None, found: Marks) -> MarksFound:
    """What a chat template would misread."""
    return MarksFound(
        base=base,
        tokens=dict(found.tokens.most_common()),
        with_token=found.with_token,
        of_base=found.with_own,
        with_blank=found.with_blank,
        first=tuple(Mark.of(each) for each in found.places),
        blanks=tuple(Mark.of(each) for each in found.blanks),
    )
