"""A number that is left out of a section is found by mypy, before any report is made."""

import dataclasses
import re

import pytest
from mypy import api

import analysis.report.sections.whole  # noqa: F401  # it imports every section
from analysis.report.bound_numbers import Shown
from analysis.report.sections.facts import Numbers
from common.provenance import ROOT

KINDS = sorted(Numbers.__subclasses__(), key=lambda kind: (kind.__module__, kind.__name__))
NUMBERS = [
    (kind, field.name) for kind in KINDS for field in dataclasses.fields(kind) if Shown.__name__ in str(field.type)
]


def filled(kind: type[Numbers], **other: str | None) -> str:
    """A line that fills in all fields. other: what stands for a field instead, None for nothing."""
    named = {field.name: "anything" for field in dataclasses.fields(kind)} | other
    arguments = ", ".join(f"{name}={value}" for name, value in named.items() if value is not None)
    return f"{kind.__module__}.{kind.__name__}({arguments})"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    """Line of a snippet → what mypy says of it: all fields, then each number left out, and None in its place."""
    lines = [filled(kind) for kind in KINDS]
    lines += [filled(kind, **{name: value}) for kind, name in NUMBERS for value in (None, "None")]
    modules = [f"import {name}" for name in sorted({kind.__module__ for kind in KINDS})]
    path = tmp_path_factory.mktemp("snippet") / "snippet.py"
    path.write_text("\n".join(["from typing import Any", *modules, "anything: Any = 0", *lines]))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)  # where its settings are, and what it found of this code before
        patch.setenv("MYPYPATH", str(ROOT))
        said, failed, _ = api.run([str(path)])
    assert not failed, failed
    of_snippet = re.findall(r"^\S*\bsnippet\.py:(\d+): error: (.*)$", said, re.MULTILINE)  # a cache has an older folder
    assert of_snippet, said
    return {int(line) - len(modules) - 3: told for line, told in of_snippet}


def test_a_number_that_is_left_out_is_an_error_of_types(found: dict[int, str]) -> None:
    assert len(KINDS) >= 8 and len(NUMBERS) >= 30
    assert not found.keys() & {*range(len(KINDS))}, "with all of them there is nothing to say"
    for at, (kind, name) in enumerate(NUMBERS):
        without, none = (found.get(len(KINDS) + 2 * at + more, "nothing") for more in (0, 1))
        assert without.startswith("Missing") and f'"{name}"' in without, f"{kind.__name__} without {name}: {without}"
        assert f'"{name}"' in none and '"None"; expected "Shown"' in none, f"{kind.__name__}, {name}=None: {none}"
