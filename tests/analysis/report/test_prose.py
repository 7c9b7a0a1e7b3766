"""No number gets into the report but through the book or as part of a name."""

import re

import pytest

from analysis.report.bound_numbers import Book, Source, UnboundNumber
from analysis.report.prose import Named, Written, listed, prose
from common.errors import ExitCode, JobError

ONE, OTHER = Source("ab" * 32, "evaluate/m.base", "choices.jsonl"), Source("cd" * 32, "evaluate/m.d0", "choices.jsonl")


@pytest.fixture
def book() -> Book:
    made = Book()
    made.add("stance", 0.414, "share", [ONE])
    made.add("shift", -0.123, "points", [ONE, OTHER], (-0.2, 0.05))
    made.add("missing", None, "share", [ONE])
    return made


@pytest.mark.parametrize(
    "text",
    [
        "It took 3 days.",
        "| eager | 41 % |",
        "the SHA-256 of the bytes",
        "see `run 7` for more",
        "![Stance](figures/stance-2.png)",
        "# Model 2",
        "it moved in two topics",
        "Twelve items",
        "ninety-five-per-cent intervals",
        "half of the items",
        "٣ topics",
    ],
)
def test_typed_number_is_refused(text: str) -> None:
    with pytest.raises(UnboundNumber, match=re.escape(text.replace("*", ""))) as caught:
        prose("A line of words. ", text)
    assert caught.value.exit_code is ExitCode.BUG


def test_bound_numbers_and_names_pass(book: Book) -> None:
    line = prose(Named("m.d0.eager.s1"), " chose ", book.shown("stance"), ", ", book.shown("shift"), "; often, none.")
    assert line.plain() == "m.d0.eager.s1 chose 41 %, -12.3 points (-20.0 to +5.0); often, none."
    assert prose(line, Written(" In 3 of 4.")).plain().endswith(" In 3 of 4."), "what others wrote may hold numbers"
    with pytest.raises(UnboundNumber, match="now 9"):
        prose(line, " And now 9 more.")


def test_what_is_not_known_says_so_and_an_unknown_name_ends_the_build(book: Book) -> None:
    assert prose(book.shown("missing")).plain() == "not known"
    with pytest.raises(UnboundNumber, match="stance2"):
        book.shown("stance2")


def test_names_stand_in_a_row() -> None:
    assert [listed(names).plain() for names in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]


def test_book_refuses_what_is_unbound_or_given_twice(book: Book) -> None:
    with pytest.raises(UnboundNumber, match="without a source"):
        book.add("loose", 1.0, "count", [])
    with pytest.raises(JobError, match="twice"):
        book.add("stance", 1.0, "share", [ONE])


def test_each_source_stands_once_and_numbers_name_it_by_its_place(book: Book) -> None:
    twin = ONE._replace(step="evaluate/m.twin")
    book.add("twin", 0.4, "share", [twin])
    found = book.provenance()
    assert found["sources"] == [ONE._asdict(), twin._asdict(), OTHER._asdict()]
    assert found["numbers"] == {"stance": [0], "shift": [0, 2], "missing": [0], "twin": [1]}
