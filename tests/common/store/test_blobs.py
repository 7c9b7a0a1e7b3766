"""A blob that exists is read again before a step that names it is sealed, mended if it is wrong, and never deleted."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from common.digests import sha256
from common.errors import InputError, SpecError
from common.store.objects import FolderObjects, Objects
from common.store.sealed import ArtifactStore

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
DATA = b"some bytes"
DIGEST = sha256(DATA)
BLOB = f"blobs/sha256/{DIGEST[:2]}/{DIGEST}"


class Watched:
    """Objects that count what is asked of them, and damage some of what is put."""

    def __init__(self, inner: Objects, damaged: int = 0, once_only: bool = False) -> None:
        self.inner, self.damaged, self.once_only, self.asked = inner, damaged, once_only, list[str]()
        self.keys = inner.keys

    def get(self, key: str) -> bytes | None:
        self.asked.append("get")
        return self.inner.get(key)

    def put(self, key: str, data: bytes, *, once: bool) -> bool:
        self.asked.append("put")
        if self.once_only and not once:
            raise SpecError("the store refused the credentials", value="AccessDenied")
        hit, self.damaged = self.damaged > 0, self.damaged - 1
        return self.inner.put(key, data[:-1] + b"?" if hit else data, once=once)

    def delete(self, key: str) -> None:
        raise AssertionError(f"deleted {key}")


@pytest.mark.parametrize("left", [b"", b"some byteS", b"some"], ids=["empty", "one bit", "half"])
def test_what_a_killed_writer_left_is_mended_by_the_next(objects: Objects, left: bytes) -> None:
    objects.put(BLOB, left, once=True)
    store = ArtifactStore(Watched(objects))
    assert store.put(DATA) == DIGEST and store.get(DIGEST) == DATA


def test_what_stands_is_read_once_and_not_written_over(objects: Objects) -> None:
    store = ArtifactStore(watched := Watched(objects))
    store.put(DATA)
    store.put(DATA)
    assert watched.asked == ["put", "get", "put", "get"]


def test_a_server_that_always_stores_other_bytes_is_refused(objects: Objects) -> None:
    store = ArtifactStore(watched := Watched(objects, damaged=99))
    with pytest.raises(InputError, match=f"blob was altered, {BLOB}: 10 bytes with digest"):
        store.put(DATA)
    watched.damaged = 0
    assert store.get(store.put(DATA)) == DATA, "a second run succeeds"


def test_wrong_bytes_that_may_not_be_written_over_are_named(objects: Objects) -> None:
    objects.put(BLOB, b"wrong", once=True)
    with pytest.raises(InputError, match=f"blob was altered, {BLOB}: 5 bytes with digest"):
        ArtifactStore(Watched(objects, once_only=True)).put(DATA)
    assert objects.get(BLOB) == b"wrong"


def test_two_writers_of_which_one_has_a_bad_line_end_with_the_right_bytes(objects: Objects) -> None:
    for _ in range(10):
        objects.delete(BLOB)
        stores = [ArtifactStore(Watched(objects, damaged=damaged)) for damaged in (1, 0)]
        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(lambda store: store.put(DATA), stores)) == [DIGEST, DIGEST]
        assert objects.get(BLOB) == DATA


def test_a_file_in_the_place_of_a_folder_is_not_taken_for_a_blob(objects: Objects) -> None:
    if isinstance(objects, FolderObjects):
        objects.put("blobs/sha256/" + DIGEST[:2], b"", once=True)
        with pytest.raises(SpecError, match="cannot write to the store"):
            ArtifactStore(objects).put(DATA)


@pytest.mark.parametrize("digest", ["", "../x", "0" * 63, "A" * 64, f"{'0' * 64}\n", 5, None])
def test_what_is_no_digest_is_not_looked_for(objects: Objects, digest: str) -> None:
    with pytest.raises(InputError, match="not a digest, blobs/sha256"):
        ArtifactStore(objects).get(digest)
