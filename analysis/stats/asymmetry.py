"""Which pole moves more: the second registered family, eager less cautious and the asymmetry of the two.

Asymmetry = how far cautious advice moves net go from neutral to its own side, less how far eager advice does to its
own. A model that stands near one end has no room to move further that way. So it is said only where the items have
headroom on both sides, by what the base advised before anything tuned was asked.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from analysis.stats.answers import TOWARD, NetContrast, Runs, by_topic, detectable, enough, matched, net_contrast
from analysis.stats.calibration import BANDS
from analysis.stats.intervals import ALPHA, LEVEL, MAX_FLIPPED_RUNS, Interval, holm, sign_flip, two_way_t
from common.vocabulary import Pole


class HeadroomLeft(NamedTuple):
    """Whether the items leave a base headroom on both sides: only then can poles be compared."""

    short: dict[str, int]  # bands that hold too few items → how many they hold
    sampled: bool  # whether the base was sampled often enough to put items into bands

    @property
    def enough(self) -> bool:
        """Whether nothing is missing."""
        return not self.short and self.sampled


class Trio(NamedTuple):
    """Runs of one model in both poles and in neutral, matched by draw and seed."""

    cautious: Runs
    eager: Runs
    neutral: Runs


class Asymmetry(NamedTuple):
    """How much more cautious advice moves net go than eager advice does, each to its own side, -4 to 4."""

    trios: int
    topics: int
    interval: Interval
    p: float
    p_holm: float  # corrected over the second family; as p where it stands alone
    p_sign_flip: float | None  # as that of NetContrast
    detectable: float  # smallest true asymmetry that would have been shown, at the level used
    moved: dict[Pole, float]  # from neutral to the pole's own side, -2 to 2

    @property
    def more(self) -> Pole | None:
        """The pole that is shown to move more; None where that is not shown."""
        if not self.p_holm <= ALPHA:
            return None
        return "cautious" if self.interval.estimate > 0 else "eager"


class SecondFamily(NamedTuple):
    """The tests of the second family, by model, their p corrected together. What tells too little is left out."""

    apart: dict[str, NetContrast]  # eager less cautious
    asymmetry: dict[str, Asymmetry]


def headroom(bands: Sequence[str], samples: int, fewest_items: int, fewest_samples: int) -> HeadroomLeft:
    """What headroom a model has. bands: that of each item. samples: of the base to each item."""
    short = {band: many for band in BANDS if (many := bands.count(band)) < fewest_items}
    return HeadroomLeft(short, samples >= fewest_samples)


def asymmetry(trio: Trio, alpha: float = ALPHA) -> Asymmetry:
    """Cautious less eager in how far each moved, run by run of the same seed, topics as the second source of chance.

    As a pole that moves the wrong way counts against it, this is twice neutral less the two poles. The interval is
    `two_way_t` with the smaller df. alpha: as that of `net_contrast`. Raises: InputError as `net_contrast`.
    """
    by_arm = dict(zip(Trio._fields, (by_topic(arm, "net") for arm in matched(*trio)), strict=True))
    signs = {pole: 1.0 if side == "go" else -1.0 for pole, side in TOWARD.items()}
    moves = {pole: sign * (by_arm[pole] - by_arm["neutral"]) for pole, sign in signs.items()}
    found = two_way_t(moves["cautious"], moves["eager"], LEVEL)
    by_run = (moves["cautious"] - moves["eager"]).mean(axis=1)
    return Asymmetry(
        trios=len(by_run),
        topics=by_arm["neutral"].shape[1],
        interval=found.interval,
        p=found.p,
        p_holm=found.p,
        p_sign_flip=sign_flip(by_run) if len(by_run) <= MAX_FLIPPED_RUNS else None,
        detectable=detectable(found.interval, alpha),
        moved={pole: float(moves[pole].mean()) for pole in TOWARD},
    )


def second_family(apart: Mapping[str, tuple[Runs, Runs]], trios: Mapping[str, Trio]) -> SecondFamily:
    """The second family: eager less cautious of each model, and the asymmetry of each that has headroom on both sides.

    Source: Holm (1979), Scand. J. Stat. 6(2).
    """
    pairs = {model: pair for model, pair in apart.items() if enough(*pair)}
    told = {model: trio for model, trio in trios.items() if enough(trio.cautious, trio.neutral)}
    alpha = ALPHA / max(1, len(pairs) + len(told))
    contrasts = {model: net_contrast(*pair, alpha=alpha) for model, pair in pairs.items()}
    asymmetries = {model: asymmetry(trio, alpha) for model, trio in told.items()}
    p = {f"apart {model}": each.p for model, each in contrasts.items()}
    p |= {f"asymmetry {model}": each.p for model, each in asymmetries.items()}
    corrected = holm(p) if p else {}
    return SecondFamily(
        {model: each._replace(p_holm=corrected[f"apart {model}"]) for model, each in contrasts.items()},
        {model: each._replace(p_holm=corrected[f"asymmetry {model}"]) for model, each in asymmetries.items()},
    )
