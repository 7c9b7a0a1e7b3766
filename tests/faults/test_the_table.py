"""Every fault of the table has a test with its number, or a reason why not; the page says what the tests are."""

from tests.faults import page
from tests.faults.table import ELSEWHERE, FAULTS, by_number


def test_every_fault_is_tested_or_has_a_reason() -> None:
    tested = {test.number for test in by_number()}
    assert tested <= FAULTS.keys() and ELSEWHERE.keys() <= FAULTS.keys()
    assert list(FAULTS) == list(range(1, 49))
    assert FAULTS.keys() - tested - ELSEWHERE.keys() == set()


def test_the_page_is_up_to_date() -> None:
    assert page.PAGE.read_text() == page.text(), "python -m tests.faults.page"
