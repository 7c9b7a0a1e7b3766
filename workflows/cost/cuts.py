"""What to cut first of a study that would cost more than its spec allows. Runs and the positive control stay."""

import json
import shlex
from collections.abc import Iterator
from typing import Any

from common.limit_spec import LimitSpec
from common.pipeline.job import Catalog
from common.serialization import canonical_json
from common.spec import RunSpec, override, parse_spec
from workflows.cost.sheet import Sheet, sheet
from workflows.cost.texts import questionnaire

Changes = dict[str, Any]  # as --set takes them
PARTS = 8  # in which closed forms and guards are shared out among the runs of an arm


def over(spec: RunSpec, jobs: Catalog, found: Sheet) -> Iterator[str]:
    """Lines for people: nothing without a limit. Raises: SpecError for a device that is not in the table."""
    limit = spec.limit
    if limit is None:
        return
    if found.within(limit):
        yield f"within the limit: {_cost(found, limit)}"
        return
    yield f"over the limit: {_cost(found, limit)}; cut in this order:"
    made: Changes = {}
    for choices in _cuts(spec):
        for changes in choices:
            found = sheet(changed(spec, made | changes), jobs)
            if found.within(limit):
                break
        made |= changes
        yield f"  {' '.join(_words(changes))}: leaves {_cost(found, limit)}"
        if found.within(limit):
            return
    yield "  still over: runs and the positive control are no cut; take a larger limit, another device or another study"


def changed(spec: RunSpec, changes: Changes) -> RunSpec:
    """The spec with some fields replaced, checked anew."""
    return parse_spec(override(json.dumps(spec.model_dump(mode="json")).encode(), spec.name, changes), spec.name)


def _cuts(spec: RunSpec) -> Iterator[list[Changes]]:
    """What may be cut, the first first; of several choices the first that is enough, else the last."""
    if spec.evaluate.samples:
        yield [{"evaluate.samples": 0}]
    if spec.evaluate.rotate < (parts := _most_parts(spec)):
        yield [{"evaluate.rotate": parts}]
    if "scrambled" in spec.attitudes:
        seeds = {name: seeds for name, seeds in spec.arm_seeds.items() if name != "scrambled"}
        without = {"attitudes": [name for name in spec.attitudes if name != "scrambled"]}
        yield [without | ({"arm_seeds": seeds} if spec.arm_seeds else {})]
    topics = [item.topic for item in questionnaire(spec.evaluate).items]
    if (most := max(map(topics.count, topics))) > 1:
        yield [{"evaluate.items_per_topic": fewer} for fewer in range(most - 1, 0, -1)]


def _most_parts(spec: RunSpec) -> int:
    runs = len(spec.seeds) * (1 if spec.dealt else len(spec.draws))
    return min(PARTS, runs, spec.evaluate.guards_per_kind or PARTS)


def _words(changes: Changes) -> Iterator[str]:
    """The same for a command line."""
    for name, value in changes.items():
        text = canonical_json(value).decode()
        yield f"--set {shlex.quote(f'{name}={text}')}"


def _cost(found: Sheet, limit: LimitSpec) -> str:
    hours, euros = found.hours(limit.device), found.euros(limit.device)
    named = ((limit.hours, "h"), (limit.euros, "euros"))
    allowed = [f"{most:g} {unit}" for most, unit in named if most is not None]
    return f"{hours:.1f} h and {euros:.2f} euros of {limit.device}, allowed {' and '.join(allowed)}"
