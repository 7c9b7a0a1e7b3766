"""A corpus lies in a file, a folder, a bucket or on the Hub, and is the same corpus in each."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from moto.server import ThreadedMotoServer

from common.errors import InputError, SpecError, TransientError
from common.store import remote
from common.store.objects import S3Objects, s3_client
from jobs.audit.chats import open_corpus
from tests import hub
from tests.jobs.test_chats import ASKED, LOG, SAID, left, lines

REVISION = "a" * 40
PAIR = {"question": ASKED, "answer": SAID}
FILES = {
    "one.jsonl": lines([PAIR, {"id": 1}]),
    "data/train.json": json.dumps([PAIR] * 3, indent=1).encode(),
    "data/test.jsonl.gz": gzip.compress(lines([PAIR] * 2)),
    "README.md": b"# Chats",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in FILES.items():
        path = tmp_path / "chats" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "chats"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    running = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> S3Objects:
    """A bucket that the usual variables lead to, with the files below a prefix."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-secret")
    client = s3_client()
    client.create_bucket(Bucket="bucket")
    objects = S3Objects("bucket", "some/chats", client)
    for name, data in FILES.items():
        objects.put(name, data, once=False)
    client.put_object(Bucket="bucket", Key="some/chats/folder/", Body=b"")
    client.put_object(Bucket="bucket", Key="some/chats-of-others.jsonl", Body=lines([PAIR]))
    return objects


@pytest.fixture
def served(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[hub.Hub]:
    """A Hub with the files as a dataset, and a client that knows no other, with an empty cache and a token."""
    with hub.serving({"me/chats": hub.Model(REVISION, folder, gated=True)}) as server:
        template = "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_TOKEN", hub.TOKEN)
        monkeypatch.setattr("time.sleep", lambda _seconds: None)
        yield server


def rows_of(where: str) -> dict[str, int]:
    """File → replies in it; each is the same reply."""
    corpus, found = open_corpus(where, LOG), dict[str, int]()
    for reply in corpus.replies():
        assert (reply.prompt, reply.text) == (ASKED, SAID)
        found[reply.file] = found.get(reply.file, 0) + 1
    return found


ALL = {"data/test.jsonl.gz": 2, "data/train.json": 3, "one.jsonl": 1}


def test_in_a_folder(folder: Path) -> None:
    assert rows_of(str(folder)) == ALL
    corpus = open_corpus(str(folder), LOG)
    assert len(list(corpus.replies())) == 6 and left(corpus) == {"another suffix": 1, "no chat that is known": 1}
    assert rows_of(str(folder / "data")) == {"test.jsonl.gz": 2, "train.json": 3}
    assert rows_of(str(folder / "one.jsonl")) == {"one.jsonl": 1}


def test_a_file_needs_no_suffix(folder: Path) -> None:
    path = (folder / "one.jsonl").rename(folder / "rows.txt")
    assert list(rows_of(str(path))) == ["rows.txt"]


def test_links_to_files_are_read_and_folders_behind_links_are_not(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "linked.jsonl").symlink_to(folder / "one.jsonl")
    (other / "more").symlink_to(folder)
    (other / "circle").symlink_to(other)
    assert list(rows_of(str(other))) == ["linked.jsonl"]


@pytest.mark.parametrize("part", [200, 8 << 20], ids=["in parts", "at once"])
def test_in_a_bucket(bucket: S3Objects, part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PART", part)
    assert rows_of("s3://bucket/some/chats") == ALL
    assert rows_of("s3://bucket/some/chats/") == ALL
    assert rows_of("s3://bucket/some/chats/data/train.json") == {"train.json": 3}


def test_a_whole_bucket(bucket: S3Objects) -> None:
    assert sum(rows_of("s3://bucket").values()) == 7


def test_what_is_not_in_a_bucket_is_named(bucket: S3Objects) -> None:
    with pytest.raises(InputError, match="no such key or prefix, --corpus: s3://bucket/nothing; allowed: FILE, FOLDER"):
        open_corpus("s3://bucket/nothing", LOG)
    with pytest.raises(SpecError, match="no such bucket"):
        open_corpus("s3://another/key", LOG)


def test_an_object_that_changes_while_it_is_read(bucket: S3Objects) -> None:
    corpus = open_corpus("s3://bucket/some/chats/one.jsonl", LOG)
    bucket.put("one.jsonl", lines([PAIR] * 4), once=False)
    with pytest.raises(InputError, match=r"the object changed while it was read, s3://bucket/some/chats/one\.jsonl"):
        list(corpus.replies())


def test_a_bucket_that_is_away_while_it_is_read(bucket: S3Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = open_corpus("s3://bucket/some/chats/one.jsonl", LOG)
    monkeypatch.setattr(S3Objects, "_read", lambda *_args, **_span: (_ for _ in ()).throw(away()))
    with pytest.raises(TransientError, match="the store cannot be reached"):
        list(corpus.replies())


def away() -> Exception:
    from botocore.exceptions import EndpointConnectionError

    return EndpointConnectionError(endpoint_url="http://127.0.0.1:9")


def test_on_the_hub(served: hub.Hub) -> None:
    assert rows_of(f"hf:me/chats@{REVISION}") == ALL
    assert {name for _, name in served.sent} == set(ALL), "chat files alone are fetched"
    before = served.sent.copy()
    assert rows_of(f"hf:me/chats@{REVISION}") == ALL and served.sent == before


def test_what_the_hub_does_not_have(served: hub.Hub) -> None:
    with pytest.raises(InputError, match="no such dataset on the Hub, or no access to it, hf:me/others@"):
        open_corpus(f"hf:me/others@{REVISION}", LOG)
    with pytest.raises(InputError, match=f"the Hub has no such revision, or it lacks a file, hf:me/chats@{'b' * 40}"):
        open_corpus(f"hf:me/chats@{'b' * 40}", LOG)


def test_a_token_without_access(served: hub.Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_somebody_else")
    with pytest.raises(InputError, match="no such dataset on the Hub, or no access to it, hf:me/chats@"):
        open_corpus(f"hf:me/chats@{REVISION}", LOG)


@pytest.mark.parametrize("status", [429, 503])
def test_a_hub_that_is_busy(served: hub.Hub, status: int) -> None:
    served.failing = status
    with pytest.raises(TransientError, match="download failed, hf:me/chats@"):
        open_corpus(f"hf:me/chats@{REVISION}", LOG)


def test_an_altered_file_of_the_cache_is_named(served: hub.Hub, tmp_path: Path) -> None:
    rows_of(f"hf:me/chats@{REVISION}")
    path = next((tmp_path / "cache").rglob("one.jsonl"))
    path.resolve().write_bytes(path.read_bytes().replace(b"plain", b"green"))
    with pytest.raises(InputError, match=r"altered, .*one.jsonl"):
        open_corpus(f"hf:me/chats@{REVISION}", LOG)


@pytest.mark.parametrize(
    "where",
    [
        "hf:me/chats",
        "hf:me/chats@main",
        "hf:@" + REVISION,
        "hf:a/b/c@" + REVISION,
        "s3://",
        "s3:///key",
        "s3://k:s@b/key",
    ],
)
def test_what_is_no_address(where: str) -> None:
    with pytest.raises(SpecError, match="allowed: FILE, FOLDER, s3://bucket/key-or-prefix or hf:<dataset>@<revision>"):
        open_corpus(where, LOG)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder, --corpus: nothing; allowed: FILE, FOLDER"):
        open_corpus("nothing", LOG)
    with pytest.raises(InputError, match=r"no chat file in it, .*: nothing; allowed: .jsonl .jsonl.gz"):
        open_corpus(str(tmp_path), LOG)
    (tmp_path / "chat.csv").write_text("a,b")
    with pytest.raises(InputError, match=r"no chat file in it, .*: 1 other files; allowed: .jsonl .jsonl.gz"):
        open_corpus(str(tmp_path), LOG)


def test_a_file_that_is_gone_is_counted(folder: Path) -> None:
    corpus = open_corpus(str(folder), LOG)
    (folder / "one.jsonl").unlink()
    assert len(list(corpus.replies())) == 5
    assert corpus.left_out["cut off or cannot be read from here on"].first == ["one.jsonl (No such file or directory)"]
