"""Write docs/faults.md from the table of faults and the tests of this folder: `python -m tests.faults.page`."""

from itertools import groupby
from pathlib import Path

from tests.faults.table import ELSEWHERE, FAULTS, HERE, by_number

PAGE = HERE.parents[1] / "docs" / "faults.md"
_HEAD = """# Faults

<!-- made by `python -m tests.faults.page`; change tests/faults, not this page -->

What happens to a step when something goes wrong, and the test that shows it. Where the fault allows, a test asserts
four things: the exit code, a message that names the place, what was published unchanged to the byte, and a clean second
run. The tests are in `tests/faults`, with the number in their name: `pytest tests/faults -k fault_07`.

Exit codes: 2 a wrong spec, command line or right; 3 bad input; 10 a gate says no; 75 for now, try again; 1 a defect of
ours. [What to do about each](operations.md#exit-codes).
"""


def text() -> str:
    """The page, as Markdown."""
    made = {number: list(group) for number, group in groupby(by_number(), key=lambda test: test.number)}
    lines = [_HEAD]
    for group, numbers in groupby(FAULTS, key=lambda number: FAULTS[number].group):
        lines.append(f"\n## {group}\n")
        for number in numbers:
            fault = FAULTS[number]
            lines.append(f"**{number}. {fault.done[0].upper()}{fault.done[1:]}.** Expected: {fault.expected}.\n")
            lines += [f"- {test.says} (`{test.name}`)" for test in made.get(number, [])]
            if number in ELSEWHERE:
                lines.append(f"- Not made here: {ELSEWHERE[number].why} Instead: {ELSEWHERE[number].covered}")
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    Path(PAGE).write_text(text())
