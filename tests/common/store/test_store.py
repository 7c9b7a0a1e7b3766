"""The store, on a folder and on an S3 server in this process: immutable, checked on reading, the first writer wins."""

import errno
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from common.digests import sha256
from common.errors import InputError, SpecError, TransientError
from common.store.objects import FolderObjects, Objects, S3Objects, s3_client
from common.store.sealed import ArtifactStore, open_store
from tests.common.store.network import SECRET, client

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE")


# --- objects


def test_objects_are_whole_and_listed_by_folder(objects: Objects) -> None:
    for key in ("a/2", "a/b/1", "ab/3", "a/ü 1"):
        assert objects.put(key, key.encode(), once=True)
    assert objects.get("a/b/1") == b"a/b/1" and objects.get("a/ü 1") == "a/ü 1".encode()
    assert objects.get("a/none") is None and objects.get("none/none") is None
    assert list(objects.keys("a/")) == ["a/2", "a/b/1", "a/ü 1"] and list(objects.keys("none/")) == []
    objects.delete("a/2")
    objects.delete("a/2")
    assert list(objects.keys("a/")) == ["a/b/1", "a/ü 1"]


def test_once_keeps_the_first_and_otherwise_the_last_stands(objects: Objects) -> None:
    assert objects.put("x", b"1", once=True) and not objects.put("x", b"2", once=True)
    assert objects.get("x") == b"1"
    assert objects.put("x", b"3", once=False)
    assert objects.get("x") == b"3"
    assert objects.put("empty", b"", once=True) and objects.get("empty") == b""


def test_more_keys_than_a_page_are_all_listed(server: str) -> None:
    objects = S3Objects("bucket", "many", client(server))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: objects.put(f"k/{n:04}", b"", once=False), range(1005)))
    assert list(objects.keys("k/")) == [f"k/{n:04}" for n in range(1005)]


def test_a_folder_never_shows_half_a_file(tmp_path: Path) -> None:
    objects = FolderObjects(tmp_path)
    objects.put("a/x", b"1", once=False)
    (tmp_path / "a" / ".partial-abc").write_bytes(b"left by a killed writer")
    assert list(objects.keys("a/")) == ["a/x"]


def test_a_store_that_is_a_file_is_a_bad_command_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = ArtifactStore(FolderObjects(tmp_path / "file"))
    with pytest.raises(SpecError, match="cannot write to the store"):
        store.put(b"x")
    with pytest.raises(SpecError, match="cannot read the store"):
        store.manifest("plan", "k")


def test_a_full_disk_is_transient_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(TransientError, match="disk full"):
            FolderObjects(tmp_path).put("a/x", b"1", once=True)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert FolderObjects(tmp_path).put("a/x", b"1", once=True)


# --- blobs


def test_a_blob_comes_back_by_its_digest(store: ArtifactStore) -> None:
    digest = store.put(b"some bytes")
    assert digest == sha256(b"some bytes") and store.put(b"some bytes") == digest
    assert store.get(digest) == b"some bytes"


def test_a_missing_blob_is_named(store: ArtifactStore) -> None:
    with pytest.raises(InputError, match=f"missing from the store, blobs/sha256/{'0' * 2}/{'0' * 64}"):
        store.get("0" * 64)


@pytest.mark.parametrize("data", [b"", b"some byteS", b"some bytes "], ids=["empty", "one bit", "longer"])
def test_an_altered_blob_is_refused(store: ArtifactStore, data: bytes) -> None:
    digest = store.put(b"some bytes")
    store.objects.put(f"blobs/sha256/{digest[:2]}/{digest}", data, once=False)
    with pytest.raises(InputError, match=f"blob was altered.*: {len(data)} bytes with digest {sha256(data)[:8]}"):
        store.get(digest)


# --- sealing


def test_the_first_manifest_stands_and_others_adopt_it(store: ArtifactStore) -> None:
    assert store.manifest("plan", "k") is None
    assert store.seal("plan", "k", {"n": 1, "outputs": {}}) == {"n": 1, "outputs": {}}
    assert store.seal("plan", "k", {"n": 2, "outputs": {}}) == {"n": 1, "outputs": {}} == store.manifest("plan", "k")


def test_of_sixteen_writers_one_wins_and_all_see_it(store: ArtifactStore) -> None:
    for race in range(5):
        with ThreadPoolExecutor(16) as pool:
            stand = list(pool.map(lambda n: store.seal("plan", str(race), {"by": n, "outputs": {}}), range(16)))  # noqa: B023
        assert len({manifest["by"] for manifest in stand}) == 1 and stand[0] == store.manifest("plan", str(race))


@pytest.mark.parametrize("data", [b'{"job": "pl', b"", b"[1]", b"\xff", b"[" * 100_000], ids=lambda data: str(data[:9]))
def test_a_damaged_manifest_is_an_input_error(store: ArtifactStore, data: bytes) -> None:
    store.objects.put("steps/plan/k/manifest.json", data, once=True)
    with pytest.raises(InputError, match=r"steps/plan/k/manifest\.json"):
        store.manifest("plan", "k")


def test_notes_of_a_run_are_the_last_words(store: ArtifactStore) -> None:
    for code in (75, 0):
        store.note_run("r-1", "plan", "study", {"exit_code": code})
    store.note_run("r-1", "gate", "m.base", {"exit_code": 10})
    store.note_run("r-10", "gate", "m.base", {"exit_code": 3})
    assert store.run_notes("r-1") == [{"exit_code": 10}, {"exit_code": 0}]
    assert store.run_notes("none") == []


# --- checkpoints


def damage(store: ArtifactStore, name: str, file: str = "x/y") -> None:
    store.objects.put(f"steps/finetune/k/checkpoints/{name}/{file}", b"damaged", once=False)


@pytest.fixture
def two(store: ArtifactStore) -> ArtifactStore:
    store.put_checkpoint("finetune", "k", "1-a", {"x/y": b"old", "z": b""}, {"step": 1})
    store.put_checkpoint("finetune", "k", "2-b", {"x/y": b"new"}, {"step": 2})
    return store


OLD, NEW = ({"x/y": b"old", "z": b""}, {"step": 1}), ({"x/y": b"new"}, {"step": 2})


def test_the_newest_checkpoint_is_restored(two: ArtifactStore) -> None:
    assert two.newest_checkpoint("finetune", "k") == NEW
    assert two.newest_checkpoint("finetune", "other") is None


def test_a_checkpoint_without_its_last_file_does_not_count(two: ArtifactStore) -> None:
    two.objects.delete("steps/finetune/k/checkpoints/2-b/COMPLETE.json")
    assert two.newest_checkpoint("finetune", "k") == OLD


@pytest.mark.parametrize("file", ["x/y", "COMPLETE.json"])
def test_a_damaged_checkpoint_is_passed_over_and_none_whole_is_an_error(two: ArtifactStore, file: str) -> None:
    damage(two, "2-b", file)
    assert two.newest_checkpoint("finetune", "k") == OLD
    damage(two, "1-a", file)
    with pytest.raises(InputError, match="every checkpoint of this step is damaged, steps/finetune/k/checkpoints/: 2"):
        two.newest_checkpoint("finetune", "k")


def test_a_checkpoint_that_lost_a_file_is_damaged(two: ArtifactStore) -> None:
    two.objects.delete("steps/finetune/k/checkpoints/2-b/x/y")
    assert two.newest_checkpoint("finetune", "k") == OLD


def test_dropped_checkpoints_are_gone_and_others_stay(two: ArtifactStore) -> None:
    two.put_checkpoint("finetune", "other", "1-a", {"x": b"kept"}, {})
    two.drop_checkpoints("finetune", "k")
    two.drop_checkpoints("finetune", "k")
    assert two.newest_checkpoint("finetune", "k") is None and list(two.objects.keys("steps/finetune/k/")) == []
    assert two.newest_checkpoint("finetune", "other") == ({"x": b"kept"}, {})


# --- a server that is wrong, or away


def test_a_server_that_overwrites_in_spite_of_the_condition_is_refused(store: ArtifactStore) -> None:
    store.check_conditional_writes()
    store.check_conditional_writes()

    class Careless:
        def put(self, key: str, data: bytes, *, once: bool) -> bool:
            return True

    with pytest.raises(SpecError, match="ignores If-None-Match"):
        ArtifactStore(Careless()).check_conditional_writes()  # type: ignore[arg-type]


def every_call(store: ArtifactStore) -> list[Callable[[], object]]:
    return [
        lambda: store.put(b"x"),
        lambda: store.get("0" * 64),
        lambda: store.manifest("plan", "k"),
        lambda: store.newest_checkpoint("plan", "k"),
        lambda: store.objects.delete("x"),
    ]


def test_a_missing_bucket_is_a_bad_command_line(server: str) -> None:
    for call in every_call(ArtifactStore(S3Objects("none", "", client(server)))):
        with pytest.raises(SpecError, match=r"no such bucket, bucket none at http://") as caught:
            call()
        assert SECRET not in str(caught.value)


def test_nobody_there_is_transient_and_soon_said() -> None:
    clock = time.monotonic()
    for call in every_call(ArtifactStore(S3Objects("bucket", "", client("http://127.0.0.1:9")))):
        with pytest.raises(
            TransientError, match=r"cannot be reached, bucket bucket at http://127\.0\.0\.1:9"
        ) as caught:
            call()
        assert SECRET not in str(caught.value)
    assert time.monotonic() - clock < 10


def test_attempts_and_waits_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    config: Any = s3_client().meta.config
    assert config.connect_timeout == 5 and config.read_timeout == 60
    assert config.retries["mode"] == "standard" and 2 <= config.retries["total_max_attempts"] <= 6


@pytest.mark.parametrize("known", [{}, {"AWS_ACCESS_KEY_ID": "k"}], ids=["none", "half"])
def test_without_credentials_the_variables_are_named(
    server: str, known: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in CREDENTIALS:
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server)
    for name, value in known.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SpecError, match=r"no credentials.*allowed: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        open_store("s3://bucket/x").get("0" * 64)


def test_a_malformed_endpoint_is_a_bad_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "not a url")
    with pytest.raises(SpecError, match="bad endpoint, AWS_ENDPOINT_URL_S3"):
        open_store("s3://bucket/x")


@pytest.mark.parametrize("uri", ["s3://", "s3:///x", "gs://b/x", "http://b/x", ""])
def test_other_addresses_are_no_store(uri: str) -> None:
    with pytest.raises(SpecError, match=r"not a store, --store.*allowed: s3://bucket/prefix or a folder"):
        open_store(uri)


FORGED: dict[str, tuple[bytes, str]] = {
    "no outputs": (b'{"n": 1}', "a manifest without a field, steps/plan/k/manifest.json: outputs"),
    "outputs in a list": (b'{"outputs": []}', "malformed manifest, .*:/outputs"),
    "of another step": (b'{"outputs": {}, "key": "j"}', "the manifest of another step"),
    "NaN": (b'{"outputs": {}, "seconds": NaN}', "malformed JSON, .*: NaN"),
    "infinite": (b'{"outputs": {}, "seconds": 1e999}', "malformed JSON, .*1e999 is too large a number"),
    "minus infinite": (b'{"outputs": {}, "summary": {"a": [-1e400]}}', "malformed JSON, .*too large a number"),
    "provenance in words": (b'{"outputs": {}, "provenance": "x"}', "malformed manifest, .*:/provenance"),
    "memory in words": (b'{"outputs": {}, "provenance": {"peak_memory_bytes": "x"}}', "malformed manifest, .*peak_mem"),
    "no memory": (b'{"outputs": {}, "provenance": {}}', "a manifest without a field, .*:/provenance: commit"),
}


@pytest.mark.parametrize("data, message", FORGED.values(), ids=FORGED)
def test_whoever_asks_for_a_manifest_gets_one_that_is_one(store: ArtifactStore, data: bytes, message: str) -> None:
    store.objects.put("steps/plan/k/manifest.json", data, once=True)
    needs = ("provenance",) if data.endswith(b'"provenance": {}}') else ("outputs",)
    with pytest.raises(InputError, match=message):
        store.manifest("plan", "k", needs)
    with pytest.raises(InputError, match=message):
        store.manifests("plan", 1, needs)
