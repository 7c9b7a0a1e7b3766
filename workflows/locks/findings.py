"""What was checked and what was not: nothing is called good that nobody looked at."""


class Findings:
    """Lines for people: first what holds, then what is told without a verdict, then what was not looked at."""

    def __init__(self) -> None:
        self._lines: dict[str, list[str]] = {"checked": [], "differs": [], "NOT checked": []}

    def checked(self, line: str) -> None:
        """Something holds."""
        self._lines["checked"].append(line)

    def differs(self, line: str) -> None:
        """Something is otherwise than locked, and may be: whoever reads this judges it."""
        self._lines["differs"].append(line)

    def unchecked(self, what: str, why: str) -> None:
        """Something was not looked at, or cannot be known."""
        self._lines["NOT checked"].append(f"{what}: {why}")

    def __str__(self) -> str:
        return "\n".join(f"{mark}: {line}" for mark, lines in self._lines.items() for line in lines)
