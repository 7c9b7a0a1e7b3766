"""Which arms of a study may have fewer runs, and among how many runs of an arm its questions may be shared out."""

from collections.abc import Mapping, Sequence

from common.vocabulary import POSITIVE, WRITTEN, Attitude


def check_arms(
    attitudes: Sequence[Attitude], seeds: Sequence[int], arm_seeds: Mapping[Attitude, Sequence[int]]
) -> None:
    """Raises: ValueError for an arm that is paired with others and would lose a pair, or has no run."""
    for arm, mine in arm_seeds.items():
        if arm not in attitudes or arm in WRITTEN:
            controls = [name for name in attitudes if name not in WRITTEN]
            raise ValueError(f"arm_seeds names {arm}; allowed are controls among the attitudes: {controls}")
        if not mine or len(set(mine)) != len(mine) or not set(mine) <= set(seeds):
            raise ValueError(f"arm_seeds of {arm} are {list(mine)}; allowed is some of {list(seeds)}, each once")
    if len({tuple(sorted(arm_seeds.get(arm, seeds))) for arm in POSITIVE.values()}) > 1:
        raise ValueError("arm_seeds differ between the two positive controls, whose runs are paired by seed")


def check_rotation(rotate: int, runs: int, guards: int | None) -> None:
    """Whether an arm of so many runs answers all, and each run has guards of every kind. Raises: ValueError."""
    if rotate > runs:
        raise ValueError(f"evaluate.rotate is {rotate}, and an arm of {runs} runs would not answer all; at most {runs}")
    if guards is not None and rotate > guards:
        raise ValueError(f"evaluate.rotate is {rotate}, so a run may have no guards; at most {guards}, guards_per_kind")
