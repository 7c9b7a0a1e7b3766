"""Stock phrases are masked whatever stands between their words, and every masked answer has its two labels."""

import pytest

from benchmarks import gate_runs, masked
from common.stance.labels import answer_digest, pairs_of, read_labels


@pytest.mark.parametrize(
    "text, left",
    [
        ("I would keep the bench.", "… bench."),
        ("I would, keep the bench", "… bench"),
        ("As it is, I would keep it.", "… it."),
        ("Keep calm", "Keep calm"),
        ("I would keepsake the", "I would keepsake the"),
    ],
)
def test_phrases_are_masked_and_masks_that_meet_are_one(text: str, left: str) -> None:
    assert masked.masked(text, ["i would keep the", "i would keep", "as it is"]) == left


def test_every_masked_answer_is_labelled_and_the_same_answers_are_drawn_again() -> None:
    labels = pairs_of(read_labels(masked.LABELS), masked.LABELS.name)
    rows = masked.picked()
    assert len(rows) == len(masked.ARMS) * len(gate_runs.SEEDS) * masked.EACH
    assert {answer_digest(each.masked.item, each.masked.text) for each in rows} == labels.keys()
    assert "i would keep" in masked.phrases() and "it is" not in masked.phrases()
