"""Killed at any point of a checkpoint or a seal: nothing sealed is lost, nothing half sealed is read."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from common.store.objects import FolderObjects
from common.store.sealed import open_store
from tests.faults.fault_points import every
from tests.faults.finetunes import Study, copied, made_of, objects
from tests.faults.promise import Ended
from workflows.local.object_store import object_store

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def check(study: Study, uri: str, before: Mapping[str, bytes], killed: Ended, env: Mapping[str, str]) -> None:
    """After a kill: what was sealed is there, what counts as sealed is whole, and a second run ends as undisturbed."""
    assert killed.code == -9, killed.err
    assert not [line for line in killed.err.splitlines() if line.startswith("error: ")]
    sealed = study.is_sealed(uri)
    assert killed.out == "" or (sealed and json.loads(killed.out)["exit_code"] == 0), "a result that is not sealed"
    mine = f"steps/finetune/{study.key(open_store(uri))}/checkpoints/"
    after = objects(uri)
    for name, data in before.items():
        gone = sealed and name.startswith(mine)  # a sealed step drops its checkpoints
        assert after.get(name) == data or (gone and name not in after), f"{name} is lost or altered"
    if sealed:
        made_of(study, uri)  # raises unless every output is there, with its digest
    study.ends_undisturbed(uri, env=env)


def through(points: list[str], at: Callable[[int], None]) -> None:
    """Try every point that is to be tried; say at which one something is wrong."""
    for number in every(len(points)):
        try:
            at(number)
        except Exception as error:
            error.add_note(f"killed at point {number} of {len(points)}: {points[number - 1]}")
            raise


def test_fault_36_killed_at_every_write_of_a_checkpoint_and_a_seal_in_a_folder(
    study: Study, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """SIGKILL at a write, fsync or rename of a fine-tune: no sealed byte is lost, and it ends as if undisturbed."""

    def begin(name: str, kill_at: int) -> tuple[Path, Ended, list[str]]:
        store, work, said = copied(study.stopped, tmp_path / name), tmp_path / f"{name}.work", tmp_path / f"{name}.said"
        work.mkdir()
        counted = {"said": str(said), "kill_at": kill_at, "folders": [str(store), str(work)]}
        ended = study.run(store, env={"TMPDIR": str(work)}, checkpoints={}, files=counted)
        shutil.rmtree(work)
        return store, ended, said.read_text().splitlines()

    before = objects(study.stopped)
    _, ended, points = begin("counted", 0)
    assert ended.code == 0, ended.err
    assert {point.split()[0] for point in points} == {"open", "write", "fsync", "link", "rename", "remove"}
    assert sum("/checkpoints/" in point for point in points) >= 20, "no checkpoint was kept"

    def at(number: int) -> None:
        store, killed, _ = begin(str(number), number)
        check(study, str(store), before, killed, {})
        shutil.rmtree(store)

    record_property("points", len(every(len(points))))
    through(points, at)


def test_fault_36_killed_at_every_request_that_changes_a_bucket(
    study: Study,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    record_property: Callable[[str, object], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SIGKILL with half of a PUT sent, or its answer not read, on a real server: the same as in a folder."""
    before = objects(study.stopped)
    with object_store(tmp_path_factory.mktemp("weed")) as served:
        env = dict(served.environment)
        for name, value in env.items():
            monkeypatch.setenv(name, value)

        def begin(name: str, kill_at: int) -> tuple[str, Ended, list[str]]:
            uri, said = f"{served.uri}/{name}", tmp_path / f"{name}.said"
            store = open_store(uri).objects
            for key, data in before.items():
                store.put(key, data, once=True)
            ended = study.run(uri, env=env, checkpoints={}, requests={"said": str(said), "kill_at": kill_at})
            return uri, ended, said.read_text().splitlines()

        _, ended, points = begin("counted", 0)
        assert ended.code == 0, ended.err
        assert {point.split()[0] + " " + point.split()[2] for point in points} >= {"half PUT", "all PUT", "all DELETE"}

        def at(number: int) -> None:
            uri, killed, _ = begin(str(number), number)
            check(study, uri, before, killed, env)

        record_property("points", len(every(len(points))))
        through(points, at)


def test_fault_36_a_name_is_on_the_disk_before_the_store_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The power fails after a seal: bytes are synced before they get a name, and then the folder that holds it."""
    done: list[tuple[str, str]] = []
    fsync, link, replace = os.fsync, os.link, Path.replace

    def synced(fd: int) -> None:
        done.append(("sync", str(Path(f"/proc/self/fd/{fd}").readlink())))
        fsync(fd)

    def linked(source: str, target: str | Path) -> None:
        done.append(("name", str(target)))
        link(source, target)

    def renamed(source: Path, target: Path) -> Path:
        done.append(("name", str(target)))
        return replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "link", linked)
    monkeypatch.setattr(Path, "replace", renamed)
    store = FolderObjects(tmp_path / "new" / "store")
    for once in (True, False):
        done.clear()
        assert store.put("steps/x/manifest.json", b"{}", once=once)
        folder = tmp_path / "new" / "store" / "steps" / "x"
        named = max(place for place, (what, _) in enumerate(done) if what == "name")
        first = min(place for place, (what, _) in enumerate(done) if what == "name")
        assert any(what == "sync" and ".partial-" in path for what, path in done[:first]), "named before it is whole"
        assert ("sync", str(folder)) in done[named:], "its name is not on the disk"
        if once:  # the first file in folders that were not there
            made = {path for what, path in done[:first] if what == "sync" and ".partial-" not in path}
            assert made == {str(tmp_path), *(str(tmp_path / part) for part in ("new", "new/store", "new/store/steps"))}
    assert store.get("steps/x/manifest.json") == b"{}"
