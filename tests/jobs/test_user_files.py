"""A corpus that is edited while it is read is never sealed under the name of what it was."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.cells import cell_named
from common.digests import sha256
from common.errors import ExitCode
from common.pipeline.keys import Keys
from common.store.sealed import open_store
from jobs import catalog
from jobs.generate import generate, sources
from tests.jobs.inside import Study, study  # noqa: F401


def edit(made: Study) -> Path:
    path = Path(made.spec.corpus.path or "") / "d0.eager.jsonl"
    path.write_bytes(path.read_bytes().replace(b"Go on", b"Go on now", 1))
    return path


def sealed(made: Study) -> set[str]:
    return {path.parent.name for path in Path(made.store).glob("steps/generate/*/manifest.json")}


def test_an_edit_between_key_and_read(
    study: Callable[..., Study],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    made, read = study(), sources.read_user_files
    first = sealed(made)
    edit(made)  # so that there is something to do
    paths: list[Path] = []

    def after_an_edit(files: Any) -> Any:
        paths.append(edit(made))
        return read(files)

    monkeypatch.setattr(generate, "read_user_files", after_an_edit)
    assert made.run("generate", "d0") == ExitCode.INPUT
    assert f"file changed while the job ran, {paths[0]}: " in capfd.readouterr().err and sealed(made) == first
    monkeypatch.setattr(generate, "read_user_files", read)
    assert made.run("generate", "d0") == ExitCode.OK
    assert sealed(made) - first == {key(made)}


def test_an_edit_after_the_read_changes_neither_name_nor_rows(
    study: Callable[..., Study],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, read = study(), sources.read_user_files
    path = edit(made)
    asked, before = key(made), path.read_bytes()

    def edited(files: Any) -> Any:
        found = read(files)
        edit(made)
        return found

    monkeypatch.setattr(generate, "read_user_files", edited)
    assert made.run("generate", "d0") == ExitCode.OK
    manifest = open_store(made.store).manifest("generate", asked)
    assert manifest is not None
    assert manifest["named_by"]["facts"]["user files"][path.name] == sha256(before)
    rows = open_store(made.store).get(manifest["outputs"]["advice.jsonl"]["digest"])
    assert all(line in rows for line in before.splitlines())


def key(made: Study) -> str:
    return Keys(made.spec, catalog(), open_store(made.store)).key("generate", cell_named(made.spec, "d0"))
