"""No number gets into the report but through the book or as part of a name."""

import re

import pytest

from analysis.report.bound_numbers import Book, Source, UnboundNumber, anchor
from analysis.report.document import check_bound, link, name, to_html
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
        "[41 %](#s-abababab)",  # a link typed by hand is not a number of the book
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
    with pytest.raises(UnboundNumber, match=re.escape(text)) as caught:
        check_bound(f"A line of words.\n{text}\n")
    assert caught.value.exit_code is ExitCode.BUG


def test_bound_numbers_and_names_pass(book: Book) -> None:
    line = f"{name('smollm2.d0.eager.s1')} chose {link(book, 'stance')}, a shift of {link(book, 'shift')}; often, none."
    check_bound(line)
    with pytest.raises(UnboundNumber, match="now 9"):
        check_bound(line + " And now 9 more.")


def test_a_number_is_written_with_unit_interval_and_anchor(book: Book) -> None:
    assert f"[41 %](#s-{'ab' * 4})" in link(book, "stance")
    assert f"[-12.3 points (-20.0 to +5.0)](#{anchor(book['shift'])})" in link(book, "shift")
    assert "[not known](#" in link(book, "missing")


def test_book_refuses_what_is_unbound_unknown_or_given_twice(book: Book) -> None:
    with pytest.raises(UnboundNumber, match="without a source"):
        book.add("loose", 1.0, "count", [])
    with pytest.raises(UnboundNumber, match="stance2"):
        book["stance2"]
    with pytest.raises(JobError, match="twice"):
        book.add("stance", 1.0, "share", [ONE])


def test_steps_with_the_same_bytes_share_a_row_and_both_are_named(book: Book) -> None:
    twin = ONE._replace(step="evaluate/m.twin")
    book.add("twin", 0.4, "share", [twin])
    assert book.sources()[anchor(book["twin"])] == (ONE, twin)
    assert book.sources()[anchor(book["shift"])] == (ONE, OTHER)


def test_page_holds_its_pictures() -> None:
    page = to_html(
        "# T\n\n![a](figures/a.png)\n\n| x | y |\n|---|---|\n| 1 | 2 |\n", {"figures/a.png": b"\x89PNG"}, "T"
    )
    assert re.findall(r'src="([^"]*)"', page) == ["data:image/png;base64,iVBORw=="]
    assert "<td>2</td>" in page
