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
NAMES = "|".join([Shown.__name__, *(kind.__name__ for kind in KINDS)])
HOLDS = re.compile(rf"\b(?:{NAMES})\b")  # a type of a number, of some, or of what holds them
NUMBERS = [(kind, field.name) for kind in KINDS for field in dataclasses.fields(kind) if HOLDS.search(str(field.type))]
TYPED = {  # module of a section → how many kinds of its sentences and rows have typed numbers, at least
    "training": 6,
    "transfer": 2,
    "closed_numbers": 11,
    "inside": 6,
    "inside_numbers": 13,
    "readers": 1,
}


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
    assert len(KINDS) >= 48 and len(NUMBERS) >= 140
    assert not found.keys() & {*range(len(KINDS))}, "with all of them there is nothing to say"
    for at, (kind, name) in enumerate(NUMBERS):
        without, none = (found.get(len(KINDS) + 2 * at + more, "nothing") for more in (0, 1))
        assert without.startswith("Missing") and f'"{name}"' in without, f"{kind.__name__} without {name}: {without}"
        _, _, expected = none.partition('"None"; expected ')
        assert f'"{name}"' in none and HOLDS.search(expected), f"{kind.__name__}, {name}=None: {none}"


@pytest.mark.parametrize("section", TYPED)
def test_sentences_and_rows_of_a_section_have_their_numbers_as_typed_fields(section: str) -> None:
    mine = [kind for kind in KINDS if kind.__module__.rpartition(".")[2] == section]
    assert len(mine) >= TYPED[section]
    for kind in mine:
        assert any(of is kind for of, _ in NUMBERS), f"{kind.__name__} holds no number"
        without_default = [
            field.default is field.default_factory is dataclasses.MISSING for field in dataclasses.fields(kind)
        ]
        assert all(without_default), f"a field of {kind.__name__} has a default"
