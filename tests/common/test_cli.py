"""How our command lines read changes to a spec, and how they end."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.cli import changes, ended
from common.errors import ExitCode, InputError, SpecError, TransientError


def test_overrides() -> None:
    assert changes(["seeds=3", "draws=2", "train.epochs=2", "name=other"]) == {
        "seeds": [0, 1, 2],
        "draws": [0, 1],
        "train.epochs": 2,
        "name": "other",
    }
    assert changes(["seeds=[4, 7]", "gate.enforce=true"]) == {"seeds": [4, 7], "gate.enforce": True}
    with pytest.raises(SpecError, match="NAME=VALUE"):
        changes(["seeds"])


def giving(code: int) -> Callable[[], int]:
    return lambda: code


def test_a_command_that_works_ends_with_its_own_code_and_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert [ended(giving(code)) for code in (ExitCode.OK, 0, ExitCode.BLOCKED, 7)] == [0, 0, 10, 7]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("error, code", [(SpecError, 2), (InputError, 3), (TransientError, 75)])
def test_an_error_is_one_line_and_its_exit_code(
    error: Callable[..., Any], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> int:
        raise error("bad", where="here", value=3, allowed="2")

    assert ended(command) == code
    assert capsys.readouterr() == ("", "error: bad, here: 3; allowed: 2\n")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> int:
        return len((tmp_path / "none").read_bytes())

    assert (ended(command), ended(command, ExitCode.INPUT)) == (2, 3)
    assert capsys.readouterr().err == f"error: cannot read {tmp_path / 'none'}: No such file or directory\n" * 2


def test_a_bug_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        ended(lambda: 1 // 0)
