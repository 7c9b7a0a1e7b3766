"""Blocks of a stream: nothing is lost, their number is bounded, and intervals cover."""

import numpy as np
import pytest

from analysis.corpus.blocks import MOST, Blocks, resampled


@pytest.mark.parametrize("rows", [0, 1, MOST, MOST + 1, 3 * MOST, 10_000])
def test_nothing_is_lost_and_blocks_are_bounded(rows: int) -> None:
    blocks = Blocks(2)
    for row in range(rows):
        blocks.add(np.array([row, 1.0]))
    sums = blocks.sums()
    assert sums[:, 1].sum() == rows and sums[:, 0].sum() == rows * (rows - 1) / 2
    assert len(sums) <= MOST and (rows < MOST or len(sums) >= MOST // 2)


def test_a_block_holds_rows_that_follow_one_another() -> None:
    blocks = Blocks(1)
    for row in range(4 * MOST):
        blocks.add(np.array([float(row)]))
    sums = blocks.sums()[:, 0]
    assert np.all(np.diff(sums) > 0) and len({*np.diff(sums).round(6)}) == 1


def test_turns_of_a_row_stay_in_its_block() -> None:
    blocks = Blocks(1)
    for turn in range(7):
        blocks.add(np.ones(1), same_row=turn > 0)
    blocks.add(np.ones(1))
    assert blocks.sums().tolist() == [[7.0], [1.0]]


def test_the_interval_of_a_ratio_covers() -> None:
    """Rows come in runs of five that are alike; a ratio of two sums; 5,000 rows, which is 16 rows a block."""
    rng, covered, studies = np.random.default_rng(1), 0, 150
    for _ in range(studies):
        blocks, words = Blocks(2), rng.integers(20, 80, 5000)
        points = words * (0.02 + np.repeat(rng.normal(0, 0.01, 1000), 5) + rng.normal(0, 0.01, 5000))
        for figures in zip(points, words, strict=True):
            blocks.add(np.array(figures))
        sums = blocks.sums()
        low, high = np.quantile(resampled(sums[:, :1], sums[:, 1], rng), [0.025, 0.975])
        covered += low <= 0.02 <= high
    assert covered / studies > 0.9
