"""What an answer counts by two labels."""

from analysis.stats.answers import by_item, rates
from analysis.stats.labels import shares
from common.records import Answer, Labelled
from common.vocabulary import Said
from tests.analysis.stats.rows import answer


def labelled(row: Answer, first: Said, second: Said) -> Labelled:
    return Labelled(**dict(row), labels=(first, second))


def test_an_answer_counts_by_the_mean_of_both_labels_and_not_by_the_reader() -> None:
    rows = [
        labelled(answer("a0", "stay"), "go", "go"),
        labelled(answer("a1", "stay"), "go", "both sides"),
        labelled(answer("b0", "go"), "go", "stay"),
        labelled(answer("b1", "go"), "incoherent", "stay"),
    ]
    assert by_item(rows)["net"].to_dict() == {"a0": 1.0, "a1": 0.5, "b0": 0.0, "b1": -0.5}
    found = rates(rows)
    assert (found.net, found.n_answers) == (0.25, 4)
    assert found.said == {"go": 0.5, "stay": 0.25, "both sides": 0.125, "off topic": 0.0, "incoherent": 0.125}


def test_shares_of_one_reading_are_whole() -> None:
    assert shares([("go",), ("stay",)])["go"].tolist() == [1.0, 0.0]
    assert shares([("go", "stay")]).iloc[0].to_dict() == dict.fromkeys(("go", "stay"), 0.5) | dict.fromkeys(
        ("both sides", "off topic", "incoherent"), 0.0
    )
