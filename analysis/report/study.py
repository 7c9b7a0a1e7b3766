"""The records of a study, as the report reads them. What is not sealed is None and listed as a gap."""

from dataclasses import dataclass, field
from typing import Any

from analysis.report.bound_numbers import Source
from common.records import Choice, Deviation, GuardReply, Loss, Steering
from common.vocabulary import ATTITUDES, TESTS


@dataclass(frozen=True)
class Scored:
    """A model, tuned or untouched, that was evaluated."""

    cell: str
    choices: list[Choice]
    guards: dict[str, Any]
    replies: list[GuardReply]
    controls: list[Choice]  # discriminant items, and items on the training topics
    sources: tuple[Source, Source, Source, Source]  # of choices, guards, replies, controls


@dataclass(frozen=True)
class Run:
    """One fine-tune. What is not sealed is None and listed as a gap."""

    cell: str
    model: str
    draw: int
    attitude: str
    seed: int
    scored: Scored | None = None
    losses: tuple[list[Loss], Source] | None = None
    training: tuple[dict[str, Any], Source] | None = None
    verdict: tuple[dict[str, Any], Source] | None = None
    readout: tuple[dict[str, Any], Source] | None = None
    drift: tuple[dict[str, Any], Source] | None = None
    trace: tuple[dict[str, Any], Source] | None = None  # only of the runs that the spec names
    variant: str = ""  # the plain setting, or what was changed


@dataclass(frozen=True)
class Study:
    """Everything that the report is made of."""

    name: str
    plan: Source
    bounds: dict[str, float]  # guard → how much it may change and still be called unchanged
    models: dict[str, str]  # name → where it comes from
    bases: dict[str, Scored]
    runs: list[Run]  # of the plain setting
    audits: dict[str, tuple[dict[str, Any], Source]]
    layers: dict[str, tuple[dict[str, Any], Source]]  # model.draw → curve
    advice: dict[str, tuple[int, Source]]  # corpus → rows
    memory: dict[str, tuple[float, Source]]  # job → largest peak, GiB
    seconds: dict[str, tuple[float, list[Source]]]  # job → time of all its steps together
    made_by: dict[str, list[str]]  # commit, python, packages …: every value that the manifests of the steps hold
    identities: dict[str, str]  # model → digest of its files, or its pinned revision
    gaps: list[str] = field(default_factory=list)
    variants: dict[str, tuple[str, float, list[Run]]] = field(default_factory=dict)  # name → factor, its value, runs
    selftests: dict[str, tuple[dict[str, Any], Source]] = field(default_factory=dict)  # model.draw → checks
    steering: dict[str, tuple[dict[str, Any], Source]] = field(default_factory=dict)  # model.draw → effects
    steered: dict[str, list[Steering]] = field(default_factory=dict)  # model.draw → effects question by question
    lock: tuple[dict[str, Any], Source] | None = None
    plain: dict[str, float] = field(default_factory=dict)  # factor of a variant → its value in the plain setting
    changed: list[str] = field(default_factory=list)  # files of the analysis that are not what was locked
    deviations: list[Deviation] = field(default_factory=list)

    def arm(self, model: str, attitude: str) -> list[Run]:
        """The evaluated runs of one model and attitude."""
        return [r for r in self.runs if r.model == model and r.attitude == attitude and r.scored is not None]

    def arm_order(self, model: str) -> list[Run]:
        """All runs of one model, arm by arm, seeds ascending."""
        mine = [run for run in self.runs if run.model == model]
        return sorted(mine, key=lambda run: (ATTITUDES.index(run.attitude), run.draw, run.seed))

    @property
    def tests(self) -> tuple[str, ...]:
        """Those that the lock names; all without a lock."""
        return tuple(self.lock[0]["plan"]["lock"]["tests"]) if self.lock else TESTS

    @property
    def attitudes(self) -> list[str]:
        """Those of which a run was evaluated, in the order of reports."""
        return [name for name in ATTITUDES if any(run.attitude == name and run.scored for run in self.runs)]
