"""One table declares the measures: what is added there shows everywhere, and nothing else has to know of it."""

import numpy as np
import pandas as pd
import pytest

from analysis.stats.measures import MEASURES, Declared, by_advice, by_label, by_sentence, by_yes_no, chosen, shown
from analysis.stats.stance import by_group, by_item, frame, paired, stance
from common.records import Choice
from common.vocabulary import MEASURES as NAMED
from common.vocabulary import PRIMARY
from tests.analysis.stats.rows import both, row


def lead(rows: pd.DataFrame) -> np.ndarray:
    """A toy: whether the label of the change is the likelier one."""
    return (rows["label_go"] > rows["label_stay"]).to_numpy(dtype=np.float64)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MEASURES, "toy", Declared("which label leads", "share", lead, shown=True))


def test_the_words_of_specs_are_declared_and_shown() -> None:
    assert tuple(MEASURES) == NAMED
    assert shown() == (*PRIMARY[1:], "advice"), "reports show what a gate may name, and a measure too small for bounds"


def test_each_measure_by_hand() -> None:
    rows = pd.DataFrame(
        [
            each.model_dump()
            for each in (row("a1", 0, "go"), row("a1", 1, "stay", yes_means="stay", sentence_go=-9.0, label_go=-3.0))
        ]
    )
    assert np.array_equal(chosen(rows), [1.0, 0.0])
    assert by_yes_no(rows) == pytest.approx([1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1))])
    assert by_sentence(rows) == pytest.approx([0.5, 1 / (1 + np.exp(-1))])
    assert by_label(rows) == pytest.approx([0.5, 1 / (1 + np.exp(2))])


def test_advice_is_known_only_where_it_is_written() -> None:
    """Nats a token: half a nat, not the tens of nats by which whole replies lie apart. Other items have no value."""
    rows = [*both("a1", ("go", "go"), advice_go=-2.0, advice_stay=-2.5), *both("a2", ("go", "go"))]
    assert by_advice(frame_of(rows))[[0, 2]] == pytest.approx([1 / (1 + np.exp(-0.5)), np.nan], nan_ok=True)
    assert np.isnan(by_advice(frame_of(both("a2", ("go", "go"))))).all()
    assert stance(rows).by_measure["advice"] == pytest.approx(1 / (1 + np.exp(-0.5)))
    assert stance(both("a2", ("go", "go"))).by_measure["advice"] is None
    assert by_group(rows, "topic").loc["a", "advice"] == pytest.approx(1 / (1 + np.exp(-0.5)))


def frame_of(rows: list[Choice]) -> pd.DataFrame:
    return pd.DataFrame([each.model_dump() for each in rows])


@pytest.mark.usefixtures("toy")
def test_a_measure_of_the_table_is_in_every_table_of_stances() -> None:
    base = [*both("a1", ("go", "stay")), *both("b1", ("stay", "stay"))]
    tuned = [*both("a1", ("go", "go"), cell="t", label_go=-0.5), *both("b1", ("go", "go"), cell="t")]
    assert "toy" in frame(base) and stance(tuned).by_measure["toy"] == 0.5
    assert by_item(tuned)["toy"].to_dict() == {"a1": 1.0, "b1": 0.0}
    assert by_group(tuned, "topic")["toy"].to_dict() == {"a": 1.0, "b": 0.0}
    table = paired(base, tuned)
    assert (table["toy_tuned"] - table["toy_base"]).to_dict() == {"a1": 1.0, "b1": 0.0}
