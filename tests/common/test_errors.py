"""The error tree: every failure has an exit code of the contract, and one line to say."""

import pytest

from common.errors import RETRYABLE, SEALED, ExitCode, InputError, Interrupted, JobError, SpecError, TransientError


def descendants(kind: type[JobError]) -> set[type[JobError]]:
    found = {kind}.union(*(descendants(child) for child in kind.__subclasses__()))
    return {each for each in found if each.__module__ == "common.errors"}


def test_every_error_has_its_exit_code() -> None:
    codes = {kind.__name__: int(kind.exit_code) for kind in descendants(JobError)}
    assert codes == {"JobError": 1, "SpecError": 2, "InputError": 3, "TransientError": 75, "Interrupted": 75}


def test_no_code_is_argos_own_and_none_is_both_sealed_and_retried() -> None:
    assert not {64, 65} & set(ExitCode)
    assert not set(RETRYABLE) & set(SEALED)
    assert {code for code in ExitCode if code in RETRYABLE} == {75, 137, 143}
    assert {Interrupted.exit_code, TransientError.exit_code} <= set(RETRYABLE)
    assert not {JobError.exit_code, SpecError.exit_code, InputError.exit_code} & set(RETRYABLE + SEALED)


@pytest.mark.parametrize(
    "parts, line",
    [
        ({}, "what"),
        ({"where": "f:1"}, "what, f:1"),
        ({"value": 0}, "what: 0"),
        ({"value": ""}, "what: "),
        ({"value": "a\nb\u2028c"}, "what: a b c"),
        ({"allowed": "1"}, "what; allowed: 1"),
        ({"where": "f:1", "value": [1], "allowed": "2"}, "what, f:1: [1]; allowed: 2"),
    ],
    ids=str,
)
def test_the_line_has_the_parts_that_are_known(parts: dict[str, object], line: str) -> None:
    assert str(InputError("what", **parts)) == line.strip()  # type: ignore[arg-type]


def test_a_long_value_is_cut() -> None:
    line = str(InputError("what", value="x" * 1000))
    assert line.endswith("x…") and len(line) == len("what: ") + 160
