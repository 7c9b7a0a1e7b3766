"""An object of a bucket is read like a file, a part at a time, and never as two files."""

import io
import time

import pytest

from common.errors import InputError
from common.store import remote
from common.store.objects import S3Objects
from common.store.remote import RemoteFile
from tests.common.store.network import client

DATA = bytes(range(256)) * 40


@pytest.fixture
def bucket(server: str) -> S3Objects:
    made = S3Objects("bucket", f"chats/{time.time_ns()}", client(server))
    made.put("a/b.bin", DATA, once=True)
    return made


def opened(bucket: S3Objects) -> RemoteFile:
    stat = bucket.stat("a/b.bin")
    assert stat is not None and stat.size == len(DATA)
    return RemoteFile(bucket, "a/b.bin", stat)


def test_all_of_it_in_parts(bucket: S3Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PART", 1000)
    asked, part = [], bucket.part

    def counted(key: str, start: int, stop: int, etag: str) -> bytes:
        asked.append(stop - start)
        return part(key, start, stop, etag)

    monkeypatch.setattr(bucket, "part", counted)
    assert io.BufferedReader(opened(bucket), 1 << 16).read() == DATA
    assert max(asked) == 1000 and sum(asked) == len(DATA)


def test_from_anywhere(bucket: S3Objects) -> None:
    file = io.BufferedReader(opened(bucket))
    assert (file.seek(-3, io.SEEK_END), file.read(), file.read()) == (len(DATA) - 3, DATA[-3:], b"")
    assert (file.seek(300), file.read(2), file.tell()) == (300, DATA[300:302], 302)
    assert (file.seek(5, io.SEEK_CUR), file.read(1)) == (307, DATA[307:308])
    with pytest.raises(ValueError, match="no place in a file: -1"):
        opened(bucket).seek(-1)


def test_an_object_that_changes_while_it_is_read_is_named(bucket: S3Objects) -> None:
    file = opened(bucket)
    assert file.read(4) == DATA[:4]
    bucket.put("a/b.bin", DATA[::-1], once=False)
    with pytest.raises(InputError, match=r"the object changed while it was read, s3://bucket/chats/\d+/a/b.bin"):
        file.read(4)


def test_what_a_bucket_says_of_its_objects(bucket: S3Objects) -> None:
    bucket.put("a/c", b"xyz", once=True)
    assert {name: stat.size for name, stat in bucket.stats().items()} == {"a/b.bin": len(DATA), "a/c": 3}
    assert bucket.stat("a") is None and bucket.stat("nothing") is None
