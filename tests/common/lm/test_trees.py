"""Many texts in one row: each token once, and every reply as likely as alone."""

import pytest

from common.lm.chat import LanguageModel
from common.lm.trees import Texts, tree_log_likelihoods, tree_of
from tests.jobs.asked import naive

ONE: Texts = [([5, 6, 7, 8], ([9], [10])), ([5, 6, 7, 11], ([12, 13], [12, 14, 15])), ([5, 6, 7], ([8, 9],))]
OTHER: Texts = [([5, 6, 20, 21, 22, 23], ([9, 9], [10]))]
APART: Texts = [([30, 31], ([32], [33, 34]))]


def test_a_token_that_texts_share_stands_once_and_sees_its_own_past_alone() -> None:
    tree = tree_of(ONE, 2)
    assert sorted(tree.ids) == [7, 8, 11, 12, 14], "of each reply the last token is only predicted"
    place = {token: index for index, token in enumerate(tree.ids)}
    assert {*map(tree.ids.__getitem__, tree.seen[place[14]])} == {7, 11, 12, 14}
    assert [tree.depth[place[token]] for token in (7, 8, 11, 12, 14)] == [0, 1, 1, 2, 3]
    assert [[(tree.ids[at], token) for at, token in reply] for reply in tree.asked] == [
        *([(8, 9)], [(8, 10)], [(11, 12), (12, 13)], [(11, 12), (12, 14), (14, 15)], [(7, 8), (8, 9)]),
    ]
    tree = tree_of([([5, 6, 7, 8, 9], ([1],)), ([5, 6, 40], ([1],))], 0)
    assert tree.ids[-2:] == [9, 40], "replies are predicted at the end of the row"


@pytest.mark.parametrize("rows", [[ONE], [ONE, OTHER], [ONE, OTHER, APART]])
def test_every_reply_is_as_likely_as_alone(lm: LanguageModel, rows: list[Texts]) -> None:
    found = tree_log_likelihoods(lm, rows)
    expected = [[naive(lm, prompt, reply) for prompt, replies in texts for reply in replies] for texts in rows]
    assert [pytest.approx(row, abs=1e-4) for row in expected] == found
