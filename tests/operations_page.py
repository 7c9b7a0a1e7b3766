"""The commands of docs/operations.md, as they stand there."""

import re
from collections.abc import Sequence

from common.provenance import ROOT

PAGE = (ROOT / "docs" / "operations.md").read_text()
LAPTOP = PAGE.partition("\n## On a laptop\n")[2].partition("\n## On a cluster\n")[0]
CLUSTER = PAGE.partition("\n## On a cluster\n")[2]


def named(text: str) -> list[str]:
    """The lines before the first heading that give a variable its value."""
    return re.findall(r"^    ([A-Z]+=.*)$", text.partition("\n### ")[0], re.MULTILINE)


def commands(text: str) -> list[tuple[str, str]]:
    """Heading and commands of each block of code, in order."""
    found, heading = [], ""
    for part in re.split(r"(?m)^### (.*)$", text)[1:]:
        if "\n" not in part:
            heading = part
            continue
        for block in re.findall(r"(?m)(?:^    .*\n?)+", part):
            found.append((heading, re.sub(r"(?m)^    ", "", block)))
    return found


def as_script(text: str, first: Sequence[str], without: str = "") -> str:
    """The commands as one script for bash, after the lines of `first`; it prints `== NUMBER HEADING` before each block.

    without: a heading that is left out. What the page starts in the background is ended with the script.
    """
    lines = ["set -euo pipefail", "trap 'kill ${SERVER:-} ${FORWARD:-} 2>/dev/null || true' EXIT", *first]
    for number, (heading, block) in enumerate(commands(text)):
        if heading != without:
            lines += [f"echo '== {number} {heading}'", block]
    return "\n".join(lines)


def by_heading(said: str) -> dict[str, str]:
    """What `as_script` said below each heading."""
    found: dict[str, str] = {}
    for part in re.split(r"(?m)^== \d+ ", said)[1:]:
        heading, _, text = part.partition("\n")
        found[heading] = found.get(heading, "") + text
    return found
