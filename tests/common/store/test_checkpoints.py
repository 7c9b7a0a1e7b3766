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
        self.flip: Callable[[str, bytes], bytes] = lambda key, data: data

    def get(self, key: str) -> bytes | None:
        self.before_get(key)
        data = self._objects.get(key)
        return None if data is None else self.flip(key, data)

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
        other.seal("finetune", "k", {"exit_code": 0, "outputs": {}})
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
    store.seal("finetune", "k", {"exit_code": 0, "outputs": {}})
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


FURTHEST = ({"x": b"new"}, {"at": 2})


def flips(when: str, old: bytes, new: bytes, times: int) -> Callable[[str, bytes], bytes]:
    """Change some bytes of an object on its way, so many times."""
    left = [times]

    def flip(key: str, data: bytes) -> bytes:
        if not key.endswith(when) or left[0] == 0:
            return data
        left[0] -= 1
        assert old in data
        return data.replace(old, new)

    return flip


@pytest.mark.parametrize(
    "when, old, new",
    [("2-b/x", b"new", b"nex"), ("2-b/COMPLETE.json", b'"at":2', b'"at":3'), ("2-b/COMPLETE.json", b"{", b"[")],
)
def test_a_flip_on_the_way_is_read_again_and_no_older_checkpoint_is_taken(
    store: ArtifactStore, busy: Busy, when: str, old: bytes, new: bytes
) -> None:
    busy.flip = flips(when, old, new, times=1)
    assert store.newest_checkpoint("finetune", "k") == FURTHEST
    busy.flip = flips(when, old, new, times=-1)
    assert store.newest_checkpoint("finetune", "k") == ({"x": b"old"}, {"at": 1}), "what stays damaged is damage"


def test_facts_that_were_altered_where_they_stand_are_damage(store: ArtifactStore, busy: Busy) -> None:
    for name in ("1-a", "2-b"):
        place = f"{PLACE}{name}/COMPLETE.json"
        busy.put(place, (busy.get(place) or b"").replace(b'"at":', b'"at":1'), once=False)
    with pytest.raises(InputError, match=r"every checkpoint of this step is damaged, .*: 2"):
        store.newest_checkpoint("finetune", "k")


def test_a_digit_of_a_manifest_that_flips_is_no_other_result(store: ArtifactStore, busy: Busy) -> None:
    made = {"exit_code": 0, "outputs": {}, "seconds": 10.0}
    assert store.seal("finetune", "k", made) == made
    busy.flip = flips("manifest.json", b'"exit_code":0', b'"exit_code":10', times=1)
    assert store.manifest("finetune", "k") == made
    busy.flip = flips("manifest.json", b'"seconds":10', b'"seconds":90', times=-1)
    with pytest.raises(InputError, match=r"record was altered, steps/finetune/k/manifest\.json: [0-9a-f]{64}; allowed"):
        store.manifest("finetune", "k")
    with pytest.raises(InputError, match="record was altered"):
        store.manifests("finetune", 5)


def test_a_manifest_of_before_without_a_digest_is_read_as_it_is(store: ArtifactStore, busy: Busy) -> None:
    busy.put("steps/finetune/k/manifest.json", b'{"outputs": {}}', once=True)
    assert store.manifest("finetune", "k") == {"outputs": {}} and list(store.steps()) == [("finetune", "k")]
