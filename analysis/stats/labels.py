"""What an answer counts by labels of two blind passes: the mean of both.

Where they disagree, each label has one half of the answer.
"""

from collections.abc import Sequence

import pandas as pd

from common.vocabulary import SAID, Said


def shares(read: Sequence[tuple[Said, ...]]) -> pd.DataFrame:
    """One line an answer, a column for each word of SAID: the share of its readings that say so, 0 to 1."""
    return pd.DataFrame({word: [each.count(word) / len(each) for each in read] for word in SAID})
