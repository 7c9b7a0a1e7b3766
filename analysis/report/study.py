"""The records of a study, as the report reads them. What is not sealed is None and listed as a gap."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from pydantic import Field

from analysis.report.bound_numbers import Source
from common.records import Answer, Choice, Deviation, GuardReply, Judged, Labelled, Loss, Record
from common.schemas import Drift, Framing, Guards, LayerCurve, Lock, ReaderWorth, RunReadout, Training, Verdict
from common.steering_schemas import SelfTest, SteeringSummary, Trace
from common.vocabulary import ATTITUDES, TESTS

T = TypeVar("T")
Sealed = tuple[T, Source]  # an output and where it lies


@dataclass(frozen=True)
class Scored:
    """A base or a tuned model that was evaluated."""

    cell: str
    choices: list[Choice]
    guards: Guards
    replies: list[GuardReply]
    controls: list[Choice]  # discriminant items, items on the training topics, and those where caution means acting
    sources: tuple[Source, Source, Source, Source]  # of choices, guards, replies, controls
    answers: list[Answer]  # to all kinds of items, asked openly
    answers_source: Source
    labelled: Sealed[list[Labelled]] | None = None  # the greedy ones with labels, where these are counted

    @property
    def counted(self) -> Sequence[Answer]:
        """The answers that net go is taken over, as they count: by labels, or as the reader reads them."""
        return self.answers if self.labelled is None else self.labelled[0]

    @property
    def counted_from(self) -> list[Source]:
        """Where those lie."""
        return [self.answers_source] if self.labelled is None else [self.answers_source, self.labelled[1]]


@dataclass(frozen=True)
class Run:
    """One fine-tune. What is not sealed is None and listed as a gap."""

    cell: str
    model: str
    draw: int
    attitude: str
    seed: int
    scored: Scored | None = None
    losses: Sealed[list[Loss]] | None = None
    training: Sealed[Training] | None = None
    verdict: Sealed[Verdict] | None = None
    readout: Sealed[RunReadout] | None = None
    drift: Sealed[Drift] | None = None
    trace: Sealed[Trace] | None = None  # only of the runs that the spec names
    variant: str = ""  # the plain setting, or what was changed


class Labelling(NamedTuple):
    """How far the greedy answers of a study are labelled, where its lock has it read by labels."""

    answers: int  # that get labels; equal ones to one item are one
    missing: int  # of them without the labels of both passes
    kappa: float | None  # agreement of the passes over the others; None: not defined
    kappa_reader: float | None  # of the reader with labels on which both passes agree
    source: Source  # the file of labels; the plan where there is none


class ReadAloud(Record):
    """What the answers of one arm say, as they were read before anything was counted."""

    model: str = Field(min_length=1, description="its name in the spec")
    arm: str = Field(min_length=1, description="base, or an attitude")
    items: tuple[str, ...] = Field(min_length=1, description="ids, the same for every arm")
    answers: int = Field(ge=1, description="how many were read")
    said: str = Field(min_length=1, description="what they say, in a few sentences")


class Example(NamedTuple):
    """One question of a draw with the reply of each arm."""

    question: str
    replies: dict[str, str]  # attitude → reply
    source: Source


@dataclass(frozen=True)
class Study:
    """Everything that the report is made of."""

    name: str
    plan: Source
    bounds: dict[str, float]  # guard → how much it may change and still be called unchanged
    models: dict[str, str]  # name → where it comes from
    bases: dict[str, Scored]
    runs: list[Run]  # of the plain setting
    audits: dict[str, Sealed[Framing]]  # draw → what sets its arms apart
    layers: dict[str, Sealed[LayerCurve]]  # model.draw → curve
    advice: dict[str, Sealed[int]]  # corpus → rows
    memory: dict[str, Sealed[float]]  # job → largest peak, GiB
    seconds: dict[str, tuple[float, list[Source]]]  # job → time of all its steps together
    made_by: dict[str, list[str]]  # commit, python, packages …: every value that the manifests of the steps hold
    identities: dict[str, str]  # model → digest of its files, or its pinned revision
    gaps: list[str] = field(default_factory=list)
    variants: dict[str, tuple[str, float, list[Run]]] = field(default_factory=dict)  # name → factor, its value, runs
    selftests: dict[str, Sealed[SelfTest]] = field(default_factory=dict)  # model.draw → checks
    steering: dict[str, Sealed[SteeringSummary]] = field(default_factory=dict)  # model.draw → effects
    lock: Sealed[Lock] | None = None
    plain: dict[str, float] = field(default_factory=dict)  # factor of a variant → its value in the plain setting
    changed: list[str] = field(default_factory=list)  # files of code or data that are not what was locked
    deviations: list[Deviation] = field(default_factory=list)
    reader: Sealed[ReaderWorth] | None = None  # what the reader of answers is worth
    labels: Labelling | None = None  # None: the study is read by the reader
    aloud: list[ReadAloud] = field(default_factory=list)  # what was read before anything was counted
    judged: dict[str, Sealed[list[Judged]]] = field(default_factory=dict)  # base or run → what a judge says
    situations: dict[str, str] = field(default_factory=dict)  # item → its situation
    examples: dict[str, Example] = field(default_factory=dict)  # draw → its first question, answered by each arm

    def arm(self, model: str, attitude: str) -> list[Run]:
        """The evaluated runs of one model and attitude."""
        return [r for r in self.runs if r.model == model and r.attitude == attitude and r.scored is not None]

    def read(self, model: str, attitude: str) -> list[Run]:
        """The runs of one model and attitude that were read inside, evaluated or not."""
        return [r for r in self.runs if r.model == model and r.attitude == attitude and r.readout is not None]

    def rotated(self, model: str) -> bool:
        """Whether the runs of a model were asked a part of the closed items that its base was asked."""
        asked = {row.item for row in self.bases[model].choices}
        runs = (run.scored for run in self.runs if run.model == model and run.scored is not None)
        return any({row.item for row in run.choices} < asked for run in runs)

    def arm_order(self, model: str) -> list[Run]:
        """All runs of one model, arm by arm, seeds ascending."""
        mine = [run for run in self.runs if run.model == model]
        return sorted(mine, key=lambda run: (ATTITUDES.index(run.attitude), run.draw, run.seed))

    @property
    def tests(self) -> tuple[str, ...]:
        """Those that the lock names; all without a lock."""
        return self.lock[0].plan.lock.tests if self.lock else TESTS

    @property
    def attitudes(self) -> list[str]:
        """Those of which a run was evaluated, in the order of reports."""
        return [name for name in ATTITUDES if any(run.attitude == name and run.scored for run in self.runs)]

    @property
    def attitudes_read(self) -> list[str]:
        """Those of which a run was read inside, in the order of reports."""
        return [name for name in ATTITUDES if any(run.attitude == name and run.readout for run in self.runs)]


def gaps_by_job(study: Study) -> dict[str, list[str]]:
    """Job → its steps that are not sealed, in the order of the plan."""
    found: dict[str, list[str]] = {}
    for step in study.gaps:
        found.setdefault(step.partition("/")[0], []).append(step)
    return found
