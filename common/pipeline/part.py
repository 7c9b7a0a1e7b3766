"""What a run is asked of that which the runs of an arm share out, as a fact of a step."""

from collections.abc import Mapping

from common.cells import Cell, part_of
from common.pipeline.job import Fact
from common.spec import RunSpec


def _named(spec: RunSpec, cell: Cell) -> Mapping[str, str]:
    """Nothing for a model that is asked all."""
    part = part_of(spec, cell)
    return {} if part.of == 1 else {"number": str(part.number), "of": str(part.of)}


PART = Fact("part", part_of, _named, quiet=True)
