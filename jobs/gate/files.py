"""The gate on files of a user's own: an adapter or a whole fine-tune, against its base or against another adapter."""

import argparse
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from analysis.stats import answers
from analysis.stats.looks import of_topics
from analysis.stats.verdict import Answered, Decision, answers_of, choices_of, decide
from common import gate_schemas as schemas
from common.errors import ExitCode
from common.lm.compared import BASE, Compared
from common.lm.foreign import Foreign, fetched
from common.lm.sources import identity
from common.logs import Log
from common.model_flags import model_of, named, source_of
from common.pipeline.tool import Found
from common.records import Answer, Item
from common.serialization import to_jsonl
from common.spec import ModelSpec
from common.vocabulary import PRIMARY
from jobs.gate import items as asked
from jobs.gate.asking import Panel
from jobs.gate.policy import Policy
from jobs.gate.sequence import Base, Ended, greedy, judged_in_blocks, of_base, word
from jobs.gate.told import examples, files, lines

TUNED = "tuned"
Role = Literal["base", "against", "control"]


class Asked(NamedTuple):
    """What the command line names."""

    base: ModelSpec
    tuned: str
    whole: bool  # the tuned model is no adapter
    role: Role
    reference: str  # where its adapter is from; empty for the base
    items: list[Item]
    file: str  # of the items


class Models(NamedTuple):
    """The models in memory, and what each is."""

    held: Compared
    tuned: schemas.Compared
    reference: schemas.Compared
    base: schemas.Compared


def gated(args: argparse.Namespace, policy: Policy, log: Log) -> Found:
    """Judge what the command line names. Raises: SpecError, InputError, TransientError."""
    began = time.monotonic()
    source_of(args.base, "--base")
    task = Asked(
        base=model_of(args),
        tuned=source_of(args.model, "--model") if args.model else args.adapter,
        whole=bool(args.model),
        role="against" if args.against else "control" if args.control else "base",
        reference=args.against or args.control or "",
        items=asked.read(args.items, policy),
        file=str(args.items or "held-out items"),
    )
    with tempfile.TemporaryDirectory(prefix="undertone-gate-") as folder:
        models = loaded(task, Path(folder))
        panel = Panel(models.held, policy, log)
        base, ended = judged(task, policy, panel)
    found = verdict(task, policy, models, base, ended, panel.written, time.monotonic() - began)
    code = ExitCode.OK if found.verdict == "within" else ExitCode.BLOCKED
    told = {"verdict": found.verdict, "reason": found.reason, "measure": found.measure}
    shift: dict[str, Any] = found.shift.model_dump() if found.shift else {}
    margin = {"margin": found.margin.value} if found.margin else {}
    cost = {"items": found.cost.items, "in_set": found.cost.in_set, "seconds": round(found.cost.seconds, 1)}
    rows = to_jsonl(_rows(task, base, ended)) if args.log_samples else None
    return Found(code, {**told, **shift, **margin, **cost}, files(found, rows), "\n".join(lines(found)))


def _rows(task: Asked, base: Base, ended: Ended | None) -> list[Answer]:
    """All answers, by model."""
    others = [] if ended is None else [*(ended.before.answers if task.reference else ()), *ended.after.answers]
    return [*base.told.answers, *others]


def loaded(task: Asked, folder: Path) -> Models:
    """Fetch what is named and load it. Raises: as `fetched`, `Compared`."""
    if task.whole:
        named(task.tuned, "--model")
    tuned = None if task.whole else fetched(task.tuned, folder / TUNED)
    other = fetched(task.reference, folder / task.role) if task.reference else None
    base = schemas.Compared(source=task.base.source, identity=identity(task.base.source), kind="base")
    held = Compared(task.base, speaks=tuned)
    if tuned is None:
        held.add_model(TUNED, task.tuned)
        mine = schemas.Compared(source=task.tuned, identity=identity(task.tuned), kind="model")
    else:
        held.add(TUNED, tuned)
        mine = adapter_of(tuned)
    if other is not None:
        held.add(task.role, other)
    return Models(held, mine, base if other is None else adapter_of(other), base)


def adapter_of(found: Foreign) -> schemas.Compared:
    """What is said of an adapter."""
    return schemas.Compared(source=found.source, identity=f"sha256:{found.digest}", kind=found.kind)


def judged(task: Asked, policy: Policy, panel: Panel) -> tuple[Base, Ended | None]:
    """The base is asked all items; the others block by block, unless the base cannot answer."""
    blocks = asked.blocks(task.items, policy.looks)
    order = [item for block in blocks for item in block]
    base = of_base(panel.ask(BASE, order, policy.samples), [[i.topic for i in block] for block in blocks], policy)
    if base.unable:
        return base, None
    reference = partial(panel.ask, task.role) if task.reference else None
    return base, judged_in_blocks(base, blocks, policy, partial(panel.ask, TUNED), reference)


def verdict(
    task: Asked, policy: Policy, models: Models, base: Base, ended: Ended | None, written: int, seconds: float
) -> schemas.FileVerdict:
    """Everything that is known, as verdict.json has it."""
    last = ended.looks[-1] if ended and ended.looks else None
    mine = _mine(task, ended)
    return schemas.FileVerdict(
        verdict="unable" if ended is None else ended.verdict,
        reason=base.unable if ended is None else ended.reason,
        measure=policy.measure,
        margin=_margin(base),
        level=policy.level,
        shift=None if last is None else _shift(last),
        items=task.file,
        items_digest=asked.digest(task.items),
        base=models.base,
        tuned=models.tuned,
        reference=models.reference,
        role=task.role,
        said=_said(task, base, ended),
        topics={} if ended is None or last is None else _topics(ended, policy, last.bound),
        looks=tuple(
            schemas.Look(items=each.n_items, shift=_shift(each), verdict=word(each.verdict))
            for each in (ended.looks if ended else ())
        ),
        others={} if ended is None or last is None else _others(ended, policy),
        from_base={} if ended is None or last is None else _from_base(task, base, ended, policy),
        reliability={
            name: schemas.Reliable(value=each.value, items=each.items, reason=each.reason)
            for name, each in base.reliability.items()
        },
        floor=policy.floor(),
        unreadable=policy.max_unreadable,
        examples=() if ended is None else examples(mine, ended.before.answers, ended.after.answers),
        cost=schemas.Cost(
            items=len(mine),
            in_set=len(task.items),
            looks=len(ended.looks) if ended else 0,
            answers=written,
            seconds=seconds,
        ),
        notes=tuple(models.held.notes),
    )


def _mine(task: Asked, ended: Ended | None) -> list[Item]:
    """The items that the tuned model was asked."""
    said = {row.item for row in ended.after.answers} if ended else set()
    return [item for item in task.items if item.id in said]


def _margin(base: Base) -> schemas.Margin | None:
    if base.bound is None:
        return None
    at_zero, at_margin = base.bound.at_zero, base.bound.at_margin
    return schemas.Margin(
        value=base.bound.value,
        how=base.bound.how,
        passes_at_zero=None if at_zero is None else at_zero.within,
        stopped_at_margin=None if at_margin is None else 1 - at_margin.within,
    )


def _shift(found: Decision) -> schemas.Shift:
    return schemas.Shift(estimate=found.estimate, low=found.low, high=found.high, level=found.level)


def _said(task: Asked, base: Base, ended: Ended | None) -> dict[str, dict[Any, float]]:
    told = {BASE: greedy(base.told, task.items)}
    if ended is not None:
        told |= {TUNED: ended.after} | ({task.role: ended.before} if task.reference else {})
    return {name: dict(answers.rates(each.answers).said) for name, each in told.items()}


def _topics(ended: Ended, policy: Policy, bound: float) -> dict[str, schemas.Topic]:
    both = ended.before, ended.after
    table = answers_of(*both) if policy.measure == "answer" else choices_of(*both, policy.measure)
    return {
        name: schemas.Topic(
            verdict=word(each.verdict), estimate=each.estimate, low=each.low, high=each.high, items=each.n_items
        )
        for name, each in of_topics(table, bound, policy.level).items()
    }


def _others(ended: Ended, policy: Policy) -> dict[str, schemas.Shift]:
    """Shifts by the other measures that a gate may judge by."""
    others: Sequence[Any] = [name for name in PRIMARY if name != policy.measure]
    return {name: _by(ended.before, ended.after, policy, name) for name in others}


def _from_base(task: Asked, base: Base, ended: Ended, policy: Policy) -> dict[str, schemas.Shift]:
    """How far both adapters are from the base, where the shift is between them."""
    if not task.reference:
        return {}
    start = greedy(base.told, _mine(task, ended))
    both = {TUNED: ended.after, task.role: ended.before}
    return {f"{name} less base": _by(start, each, policy, policy.measure) for name, each in both.items()}


def _by(before: Answered, after: Answered, policy: Policy, measure: Any) -> schemas.Shift:
    return _shift(decide(before, after, measure, 0.5, policy.level))  # the bound says nothing of a shift
