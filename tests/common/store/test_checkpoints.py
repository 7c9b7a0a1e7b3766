"""Checkpoints that others write and drop at the same time: what vanishes is not damaged, what was added is refused."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common.errors import InputError
from common.store.objects import FolderObjects
from common.store.sealed import ArtifactStore

PLACE = "steps/finetune/k/checkpoints/"


class Busy:
    """Objects of a folder, with something that another worker does between two of our requests."""

    def __init__(self, root: Path) -> None:
        self._objects = FolderObjects(root)
        self.before_get: Callable[[str], None] = lambda key: None

    def get(self, key: str) -> bytes | None:
        self.before_get(key)
        return self._objects.get(key)

    def put(self, key: str, data: bytes, *, once: bool) -> bool:
        return self._objects.put(key, data, once=once)

    def keys(self, prefix: str) -> Iterator[str]:
        return self._objects.keys(prefix)

    def delete(self, key: str) -> None:
        self._objects.delete(key)


@pytest.fixture
def busy(tmp_path: Path) -> Busy:
    return Busy(tmp_path)


@pytest.fixture
def store(busy: Busy, tmp_path: Path) -> ArtifactStore:
    made = ArtifactStore(busy)
    made.put_checkpoint("finetune", "k", "1-a", {"x": b"old"}, {"at": 1})
    made.put_checkpoint("finetune", "k", "2-b", {"x": b"new"}, {"at": 2})
    return made


def once(act: Callable[[], object], when: str) -> Callable[[str], None]:
    done: list[bool] = []

    def before(key: str) -> None:
        if key.endswith(when) and not done:
            done.append(True)
            act()

    return before


@pytest.mark.parametrize("when", ["2-b/COMPLETE.json", "2-b/x"])
def test_checkpoints_that_the_winner_drops_meanwhile_are_not_damaged(
    busy: Busy, store: ArtifactStore, tmp_path: Path, when: str
) -> None:
    other = ArtifactStore(FolderObjects(tmp_path))

    def wins() -> None:
        other.seal("finetune", "k", {"exit_code": 0})
        other.drop_checkpoints("finetune", "k")

    busy.before_get = once(wins, when)
    assert store.newest_checkpoint("finetune", "k") is None


def test_one_that_vanishes_leaves_the_others(busy: Busy, store: ArtifactStore) -> None:
    busy.before_get = once(lambda: busy.delete(PLACE + "2-b/COMPLETE.json"), "2-b/COMPLETE.json")
    assert store.newest_checkpoint("finetune", "k") == ({"x": b"old"}, {"at": 1})


def test_one_that_is_added_meanwhile_is_found(busy: Busy, store: ArtifactStore) -> None:
    for name in ("1-a", "2-b"):
        busy.put(f"{PLACE}{name}/x", b"damaged", once=False)
    busy.before_get = once(lambda: store.put_checkpoint("finetune", "k", "3-c", {"x": b"c"}, {"at": 3}), "1-a/x")
    assert store.newest_checkpoint("finetune", "k") == ({"x": b"c"}, {"at": 3})


def test_of_a_sealed_step_none_is_damaged(store: ArtifactStore, busy: Busy) -> None:
    for name in ("1-a", "2-b"):
        busy.put(f"{PLACE}{name}/x", b"damaged", once=False)
    with pytest.raises(InputError, match=r"every checkpoint of this step is damaged, .*: 2"):
        store.newest_checkpoint("finetune", "k")
    store.seal("finetune", "k", {"exit_code": 0})
    assert store.newest_checkpoint("finetune", "k") is None


@pytest.mark.parametrize("record", [b"{}", b'{"files": [], "facts": {}}', b'{"files": {}, "facts": 1}', b"[]", b"{"])
def test_a_record_that_is_none_is_damage_and_no_crash(store: ArtifactStore, busy: Busy, record: bytes) -> None:
    busy.put(PLACE + "2-b/COMPLETE.json", record, once=False)
    assert store.newest_checkpoint("finetune", "k") == ({"x": b"old"}, {"at": 1})


def test_an_object_that_the_checkpoint_does_not_list_is_named(store: ArtifactStore, busy: Busy) -> None:
    busy.put(PLACE + "2-b/folder/y.pt", b"payload", once=False)
    with pytest.raises(InputError, match=r"not a file of the checkpoint, .*/2-b/folder/y\.pt; allowed: x"):
        store.newest_checkpoint("finetune", "k")
    busy.delete(PLACE + "2-b/folder/y.pt")
    busy.put(PLACE + "1-a/y.pt", b"of one that is not restored", once=False)
    assert store.newest_checkpoint("finetune", "k") == ({"x": b"new"}, {"at": 2})
