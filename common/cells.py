"""What a study is made of, cell by cell: names, the grid of a spec, and which cells belong to which."""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, TypeVar

from common.errors import SpecError
from common.frozen import Frozen
from common.spec import RunSpec, TrainSpec, VariantSpec
from common.spec_errors import nearest
from common.vocabulary import POLES, Attitude


class CellKind(StrEnum):
    """What a cell stands for; each job accepts one or two kinds."""

    STUDY = "study"  # everything
    DRAW = "draw"  # d0: all arms of one corpus draw
    BASE = "base"  # smollm2.base: a base
    DIRECTION = "direction"  # smollm2.d0: one draw and one base
    DISTILLED = "distilled"  # smollm2.d0.distilled: that model's own replies to the questions of the draw
    RUN = "run"  # smollm2.d0.eager.s1, smollm2.d0.eager.s1.half: one fine-tune, and one of a variant


class Cell(Frozen):
    """One unit of work. Its text is at most 63 characters, fit for a Kubernetes label."""

    kind: CellKind
    model: str = ""
    draw: int = -1
    attitude: str = ""
    seed: int = -1
    variant: str = ""

    def __str__(self) -> str:
        return {
            CellKind.STUDY: "study",
            CellKind.DRAW: f"d{self.draw}",
            CellKind.BASE: f"{self.model}.base",
            CellKind.DIRECTION: f"{self.model}.d{self.draw}",
            CellKind.DISTILLED: f"{self.model}.d{self.draw}.distilled",
            CellKind.RUN: f"{self.model}.d{self.draw}.{self.attitude}.s{self.seed}",
        }[self.kind] + (f".{self.variant}" if self.variant else "")


class Part(NamedTuple):
    """What a model is asked of that which the runs of an arm share out: closed forms and guards."""

    number: int  # from 0
    of: int  # parts; 1: it is asked all


STUDY = Cell(kind=CellKind.STUDY)


ALL = "all"  # in place of an attitude, as in smollm2.d0.all.s1: every arm of a seed

T = TypeVar("T")
CellsOf = Callable[[RunSpec, Cell], Sequence[Cell]]  # the cells of another job that a cell reads


# --- the grid of a spec


def cells_of(spec: RunSpec, kind: CellKind) -> tuple[Cell, ...]:
    """Every cell of one kind, in the order in which reports list them."""
    models, draws = [model.name for model in spec.models], spec.draws
    grids: dict[CellKind, list[Cell]] = {
        CellKind.STUDY: [STUDY],
        CellKind.DRAW: [Cell(kind=kind, draw=d) for d in draws],
        CellKind.BASE: [Cell(kind=kind, model=m) for m in models],
        CellKind.DIRECTION: [Cell(kind=kind, model=m, draw=d) for m in models for d in draws],
        CellKind.DISTILLED: [
            Cell(kind=kind, model=m, draw=d, attitude="distilled")
            for m in models
            for d in draws
            if "distilled" in spec.attitudes and any(d in _draws_of(spec, s) for s in _seeds_of(spec, "distilled"))
        ],
        CellKind.RUN: [
            Cell(kind=kind, model=m, draw=d, attitude=a, seed=s, variant=v)
            for v, seeds in _settings(spec)
            for s in seeds
            for m in models
            for d in _draws_of(spec, s)
            for a in spec.attitudes
            if s in _seeds_of(spec, a)
        ],
    }
    return tuple(grids[kind])


def packs(spec: RunSpec) -> dict[str, tuple[Cell, ...]]:
    """The runs of each seed, by the name of a run with `all` in place of its attitude."""
    found: dict[str, tuple[Cell, ...]] = {}
    for cell in cells_of(spec, CellKind.RUN):
        name = str(cell.model_copy(update={"attitude": ALL}))
        found[name] = (*found.get(name, ()), cell)
    return found


def part_of(spec: RunSpec, cell: Cell) -> Part:
    """What a model is asked of closed forms and guards: by the plan alone, whatever came out.

    The runs of an arm take turns, so that matched runs of arms take the same. An arm with fewer runs than parts makes
    no more parts than it has runs: together they answer all. A base answers all.
    """
    if cell.kind is not CellKind.RUN or spec.evaluate.rotate == 1:
        return Part(0, 1)
    arm = [run for run in cells_of(spec, CellKind.RUN) if _arm_of(run) == _arm_of(cell)]
    parts = min(spec.evaluate.rotate, len(arm))
    return Part(arm.index(cell) % parts, parts)


def _arm_of(run: Cell) -> tuple[str, str, str]:
    return run.model, run.attitude, run.variant


def steered_directions(spec: RunSpec) -> tuple[Cell, ...]:
    """The directions along which the base is steered: those of the first draws."""
    draws = spec.draws[: spec.steer.draws] if spec.steer.enabled else ()
    return tuple(cell for cell in cells_of(spec, CellKind.DIRECTION) if cell.draw in draws)


def traced_runs(spec: RunSpec) -> tuple[Cell, ...]:
    """The fine-tunes of both poles in which causes are looked for: the first ones of each draw that is steered.

    None without a neutral arm, beside which they are traced.
    """
    draws = {cell.draw for cell in steered_directions(spec)}
    first = {d: [seed for seed in spec.seeds if d in _draws_of(spec, seed)][: spec.steer.traced] for d in draws}
    runs = [cell for cell in cells_of(spec, CellKind.RUN) if cell.draw in draws and not cell.variant]
    if "neutral" not in spec.attitudes:
        return ()
    return tuple(cell for cell in runs if cell.attitude in POLES and cell.seed in first[cell.draw])


def judged_bases(spec: RunSpec) -> tuple[Cell, ...]:
    """The bases whose answers a judge reads, if the spec names one."""
    return cells_of(spec, CellKind.BASE) if spec.judge else ()


def judged_runs(spec: RunSpec) -> tuple[Cell, ...]:
    """The fine-tunes whose answers it reads: those of the plain setting."""
    return tuple(cell for cell in cells_of(spec, CellKind.RUN) if not cell.variant) if spec.judge else ()


def judged_cells(spec: RunSpec) -> tuple[Cell, ...]:
    """All models whose answers a judge reads."""
    return (*judged_bases(spec), *judged_runs(spec))


def _draws_of(spec: RunSpec, seed: int) -> tuple[int, ...]:
    """The draws on which runs of this seed are trained."""
    return (spec.draws[spec.seeds.index(seed) % len(spec.draws)],) if spec.dealt else spec.draws


def _seeds_of(spec: RunSpec, attitude: Attitude) -> tuple[int, ...]:
    """The seeds on which an arm has runs."""
    return spec.arm_seeds.get(attitude, spec.seeds)


def _settings(spec: RunSpec) -> list[tuple[str, tuple[int, ...]]]:
    """Names of the plain setting ("") and of each variant, with their seeds."""
    return [("", spec.seeds), *((variant.name, variant.seeds or spec.seeds) for variant in spec.variants)]


def variant_of(spec: RunSpec, cell: Cell) -> VariantSpec | None:
    """The variant of a run of this spec, None for a plain one."""
    return next((variant for variant in spec.variants if variant.name == cell.variant), None)


def training_of(spec: RunSpec, cell: Cell) -> TrainSpec:
    """How a run is trained."""
    variant = variant_of(spec, cell)
    if variant is None or variant.factor in ("mixture_share", "pile_share"):
        return spec.train
    value = int(variant.value) if variant.factor == "epochs" else variant.value
    return spec.train.model_copy(update={variant.factor: value})


def cell_named(spec: RunSpec, text: str) -> Cell:
    """The cell with this name. Raises: SpecError, with the nearest name, if the spec has none such."""
    return _named(text, {str(cell): cell for kind in CellKind for cell in cells_of(spec, kind)})


def cells_named(spec: RunSpec, text: str) -> tuple[Cell, ...]:
    """The cells that a name stands for: one, or all of a pack. Raises: SpecError as `cell`."""
    known = {str(cell): (cell,) for kind in CellKind for cell in cells_of(spec, kind)}
    return _named(text, known | packs(spec))


def _named(text: str, known: Mapping[str, T]) -> T:
    if text not in known:
        raise SpecError("no such cell", where="--cell", value=text, allowed=nearest(text, list(known)))
    return known[text]


# --- which cells belong to a cell


def itself(_spec: RunSpec, cell: Cell) -> tuple[Cell, ...]:
    """The same cell in another job."""
    return (cell,)


def its_draw(_spec: RunSpec, cell: Cell) -> tuple[Cell, ...]:
    """The draw of the corpus that a cell belongs to."""
    return (Cell(kind=CellKind.DRAW, draw=cell.draw),)


def its_distilled(_spec: RunSpec, cell: Cell) -> tuple[Cell, ...]:
    """The model's own replies, for a run that is trained on them."""
    if cell.attitude != "distilled":
        return ()
    return (Cell(kind=CellKind.DISTILLED, model=cell.model, draw=cell.draw, attitude="distilled"),)


def distilled_of_draw(spec: RunSpec, cell: Cell) -> tuple[Cell, ...]:
    """Every model's own replies to the questions of a draw."""
    return tuple(pile for pile in cells_of(spec, CellKind.DISTILLED) if pile.draw == cell.draw)


def its_base(_spec: RunSpec, cell: Cell) -> tuple[Cell, ...]:
    """The base of a run."""
    return (Cell(kind=CellKind.BASE, model=cell.model),)


def itself_and_base(spec: RunSpec, cell: Cell) -> tuple[Cell, ...]:
    """A run and its base."""
    return (*its_base(spec, cell), cell)


def itself_and_neutral(_spec: RunSpec, cell: Cell) -> tuple[Cell, ...]:
    """A run, and the neutral run of its seed and draw."""
    return (cell, cell.model_copy(update={"attitude": "neutral"}))


def its_direction(_spec: RunSpec, cell: Cell) -> tuple[Cell, ...]:
    """The direction of the model and draw of a run."""
    return (Cell(kind=CellKind.DIRECTION, model=cell.model, draw=cell.draw),)


def itself_if_run(_spec: RunSpec, cell: Cell) -> tuple[Cell, ...]:
    """The same cell where it is a run; nothing for a base, which has no adapter."""
    return (cell,) if cell.kind is CellKind.RUN else ()


def its_direction_if_run(spec: RunSpec, cell: Cell) -> tuple[Cell, ...]:
    """The direction that a run is read along; nothing for the cell that makes it."""
    return its_direction(spec, cell) if cell.kind is CellKind.RUN else ()


def its_draw_unless_run(spec: RunSpec, cell: Cell) -> tuple[Cell, ...]:
    """The draw whose poles make the direction; nothing for a run, which reads the direction itself."""
    return () if cell.kind is CellKind.RUN else its_draw(spec, cell)


def lock_if_run(_spec: RunSpec, cell: Cell) -> tuple[Cell, ...]:
    """The lock, without which nothing that was tuned is scored; a base is scored before it."""
    return (STUDY,) if cell.kind is CellKind.RUN else ()


def every(*kinds: CellKind) -> CellsOf:
    """All cells of these kinds."""
    return lambda spec, _cell: tuple(cell for kind in kinds for cell in cells_of(spec, kind))
