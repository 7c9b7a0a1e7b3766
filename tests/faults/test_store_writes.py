"""Faults while a store is written: lost answers, rivals, refusals, a kill in the middle, other bytes, odd names.

A real step stands behind a proxy that does the fault, before the real S3 server.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any

import botocore.auth
import pytest

from common.errors import InputError
from common.provenance import ROOT
from common.store import patience
from common.store.objects import S3Objects
from common.store.remote import RemoteFile
from common.store.sealed import ArtifactStore, as_kept
from tests.faults.fault_proxy import (
    Exchange,
    FaultProxy,
    Held,
    flipped_up,
    kept_otherwise,
    lost,
    mapped,
    passed_on,
    proxied,
    refused,
)
from tests.faults.promise import Ended, kept, step
from tests.faults.stored_study import ENDPOINT, EVERY, Study, client_of, served
from workflows.local.object_store import BUCKET, Served

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
Capture = pytest.CaptureFixture[str]
ROUNDS, MANY = 100, 10_000 // EVERY


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("weed")) as running:
        yield running


@pytest.fixture(scope="module")
def proxy(server: Served) -> Iterator[FaultProxy]:
    with proxied(server.environment[ENDPOINT]) as running:
        yield running


@pytest.fixture
def study(server: Served, proxy: FaultProxy, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.01)
    proxy.heal()
    return Study(server, proxy, tiny_model)


def process(study: Study) -> "subprocess.Popen[str]":
    """The step as a process of its own, through the proxy."""
    words = [sys.executable, "-m", "jobs.generate", "--spec", json.dumps(study.spec), "--cell", "d0"]
    return subprocess.Popen(
        [*words, "--store", study.uri],
        cwd=ROOT,
        env=os.environ | study.server.environment | {ENDPOINT: study.proxy.url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# --- 28: done, and not known to be


@pytest.mark.parametrize("path", ["/blobs/", "/steps/", "/runs/"])
def test_fault_28_answer_to_a_write_that_is_lost(study: Study, capfd: Capture, path: str) -> None:
    """A PUT is done and its answer never comes: asked again, read back, and taken for the success that it is."""
    struck = study.proxy.strike(lost, "PUT", path, times=1)
    ended = study.run(capfd)
    assert ended.code == 0 and struck.seen == 2 and "error: " not in ended.err
    assert "adopted" not in ended.err, "its own manifest is no rival's"
    study.ends_well(capfd)


def test_fault_28_answers_that_are_always_lost(study: Study, capfd: Capture) -> None:
    """No answer to the manifest ever comes: 75, and yet it stands, whole; the second run finds and reuses it."""
    struck = study.proxy.strike(lost, "PUT", "/steps/")
    ended = study.run(capfd)
    assert ended.code == 75 and struck.seen == 6
    assert f"the store cannot be reached, bucket undertone at {study.proxy.url}" in ended.line
    study.ends_well(capfd)


def test_fault_28_blob_whose_answers_are_always_lost(study: Study, capfd: Capture) -> None:
    """No answer to a blob ever comes: 75, and nothing is published."""
    study.proxy.strike(lost, "PUT", "/blobs/")
    says = ("the store cannot be reached", f"bucket undertone at {study.proxy.url}")
    kept(lambda: study.run(capfd), code=75, says=says, state=study.published)
    assert study.published() == {}
    study.ends_well(capfd)


# --- 29: two writers


def test_fault_29_two_writers_of_one_manifest(study: Study) -> None:
    """Two writers seal one step at the same moment, 100 times: one wins each time, and the other adopts its result."""
    url = study.server.environment[ENDPOINT]
    barrier, won = Barrier(2), [0, 0]

    class Writer(S3Objects):
        number = 0

        def put(self, key: str, data: bytes, *, once: bool) -> bool:
            barrier.wait(60)
            wrote = super().put(key, data, once=once)
            won[self.number] += wrote
            return wrote

    def writes(number: int) -> list[dict[str, Any]]:
        mine = Writer(BUCKET, study.prefix, client_of(url))
        mine.number = number
        made = {"cell": "x" * (1 + number), "outputs": {}}
        return [ArtifactStore(mine).seal("plan", f"{n:064}", made) for n in range(ROUNDS)]

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(writes, (0, 1))
    assert one == other and len(one) == ROUNDS, "whoever lost holds what the winner wrote"
    assert sum(won) == ROUNDS, "one winner each time"
    standing = [ArtifactStore(study.direct).manifest("plan", f"{n:064}") for n in range(ROUNDS)]
    assert standing == one


def test_fault_29_two_steps_at_once(study: Study, capfd: Capture) -> None:
    """Two processes run one step, and their manifests reach the store together: both end well with one result."""
    both = Barrier(2)

    def together(exchange: Exchange) -> None:
        both.wait(120)
        passed_on(exchange)

    study.proxy.strike(together, "PUT", "/steps/", times=2)
    with process(study) as one, process(study) as other:
        ends = [each.communicate(timeout=240) for each in (one, other)]
    assert [one.returncode, other.returncode] == [0, 0], ends
    assert sorted('"event": "adopted"' in err for _, err in ends) == [False, True], "one won, one adopted"
    study.ends_well(capfd)


# --- 30: answers that say something else than they seem to


@pytest.mark.parametrize("code", ["ConditionalRequestConflict", "OperationAborted"][::EVERY])
def test_fault_30_conflict(study: Study, capfd: Capture, code: str) -> None:
    """409, as S3 says it while another write of the name is under way: asked again, never taken for 'exists'."""
    struck = study.proxy.strike(refused(409, code), "PUT", times=2)
    assert study.run(capfd).code == 0 and struck.left == 0 and struck.seen == 5
    study.ends_well(capfd)


def test_fault_30_conflict_that_stays(study: Study, capfd: Capture) -> None:
    """409 without end: six tries, then 75 with its code; nothing is published."""
    struck = study.proxy.strike(refused(409, "ConditionalRequestConflict"), "PUT", "/steps/")
    says = ("the store is busy, bucket undertone at", "HTTP 409 ConditionalRequestConflict")
    kept(lambda: study.run(capfd), code=75, says=says, state=study.published)
    assert struck.seen == 6 and study.published() == {}
    study.ends_well(capfd)


def test_fault_30_refused_condition_where_nothing_stands(study: Study, capfd: Capture) -> None:
    """412 for a manifest that is not there: nobody's result is adopted, 75 with the name of the manifest."""
    study.proxy.strike(refused(412, "PreconditionFailed"), "PUT", "/steps/")
    says = ("manifest could not be written, and none stands, steps/generate/", "/manifest.json")
    kept(lambda: study.run(capfd), code=75, says=says, state=study.published)
    assert study.published() == {}
    study.ends_well(capfd)


def test_fault_30_blob_refused_where_nothing_stands(study: Study, capfd: Capture) -> None:
    """412 for a blob that is not there: it is found missing when it is read back, and written all the same."""
    struck = study.proxy.strike(refused(412, "PreconditionFailed"), "PUT", "/blobs/", times=1)
    assert study.run(capfd).code == 0 and struck.seen == 2
    study.ends_well(capfd)


def test_fault_30_store_that_always_refuses_the_condition(study: Study, capfd: Capture) -> None:
    """A store that refuses every conditional write: the first step of a study says so and ends with 2."""
    study.proxy.strike(refused(412, "PreconditionFailed"), "PUT", "/probe/")
    says = ("the store refuses If-None-Match where nothing stands, --store: HTTP 412", "conditional writes")
    kept(lambda: study.run(capfd, "plan", "study"), code=2, says=says, state=study.everything)
    study.ends_well(capfd, "plan", "study")


@pytest.mark.parametrize("quirk", [True, False], ids=["412", "404"])
def test_fault_30_file_that_is_gone_while_it_is_read(study: Study, quirk: bool) -> None:
    """An object goes away while it is read in parts: 3 with its name, whether the server says 404 or, as some, 412."""
    objects = study.store.objects
    assert isinstance(objects, S3Objects)
    study.direct.put("chats/a.jsonl", b"0123456789" * 10, once=True)
    stat = objects.stat("chats/a.jsonl")
    assert stat is not None
    file = RemoteFile(objects, "chats/a.jsonl", stat)
    assert file.read(4) == b"0123"
    study.direct.delete("chats/a.jsonl")
    if quirk:
        study.proxy.strike(mapped(404, 412, "PreconditionFailed"), "GET")
    with pytest.raises(InputError, match=rf"changed while it was read, s3://undertone/{study.prefix}/chats/a\.jsonl"):
        file.read(4)
    assert objects.stat("chats/a.jsonl") is None, "and nobody takes it for one that exists"


# --- 31: killed in the middle of an upload


@pytest.mark.parametrize("path, share", [("/steps/", 0.9), ("/blobs/", 0.5)][::EVERY])
def test_fault_31_killed_in_the_middle_of_an_upload(study: Study, capfd: Capture, path: str, share: float) -> None:
    """SIGKILL when part of a blob, or most of a manifest, has reached the server: nothing of it is to be seen."""
    held = Held(share)
    study.proxy.strike(held, "PUT", path, times=1)
    before = study.published()
    with process(study) as child:
        assert held.reached.wait(240), child.communicate()[1]
        child.send_signal(signal.SIGKILL)
        out, err = child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL and out == "" and "error: " not in err
    assert study.published() == before == {}
    assert not [name for name in study.everything() if path.strip("/") in name], "no half of it"
    study.ends_well(capfd)


def test_fault_31_upload_that_nobody_ends(study: Study, capfd: Capture) -> None:
    """Uploads in parts lie unfinished under the names of a blob and a manifest: no step sees them."""
    digests = [each["digest"] for each in study.alone(capfd, "generate", "d0").values()]
    client = client_of(study.server.environment[ENDPOINT])
    names = [f"blobs/sha256/{digest[:2]}/{digest}" for digest in digests]
    names.append(f"steps/generate/{'0' * 64}/manifest.json")
    for name in names:
        key = {"Bucket": BUCKET, "Key": f"{study.prefix}/{name}"}
        upload = client.create_multipart_upload(**key)["UploadId"]
        client.upload_part(**key, UploadId=upload, PartNumber=1, Body=b"x" * (5 << 20))
    assert study.everything() == {} and list(ArtifactStore(study.direct).steps()) == []
    assert study.run(capfd).code == 0
    study.ends_well(capfd)


# --- 32: other bytes than were sent


def test_fault_32_byte_changed_on_the_way(study: Study, capfd: Capture) -> None:
    """A byte of the upload is changed on the way: the server refuses it by its checksum, and it is sent again."""
    blobs, manifests = (study.proxy.strike(flipped_up, "PUT", path, times=1) for path in ("/blobs/", "/steps/"))
    assert study.run(capfd).code == 0 and blobs.seen == manifests.seen == 2
    study.ends_well(capfd)


def test_fault_32_bytes_that_always_change_on_the_way(study: Study, capfd: Capture) -> None:
    """Every upload is changed on the way: the server takes none, and the step ends with 75."""
    study.proxy.strike(flipped_up, "PUT", "/steps/")
    says = ("the store got other bytes than were sent, bucket undertone", "BadDigest", "PutObject of ")
    kept(lambda: study.run(capfd), code=75, says=says, state=study.published)
    assert not [name for name in study.everything() if name.startswith("steps/")]
    study.ends_well(capfd)


def keeps_otherwise(study: Study) -> Callable[[Exchange], None]:
    client = client_of(study.server.environment[ENDPOINT])

    def write(path: str, data: bytes) -> None:
        client.put_object(Bucket=BUCKET, Key=path.removeprefix(f"/{BUCKET}/"), Body=data)

    return kept_otherwise(write)


def test_fault_32_store_that_keeps_other_bytes_once(study: Study, capfd: Capture) -> None:
    """The store keeps a changed blob and a changed manifest, once: found by reading back, and written over."""
    fault = keeps_otherwise(study)
    for path in ("/blobs/", "/steps/"):
        study.proxy.strike(fault, "PUT", path, times=1)
    ended = study.run(capfd)
    assert ended.code == 0 and "adopted" not in ended.err
    study.ends_well(capfd)


def test_fault_32_store_that_always_keeps_other_bytes(study: Study, capfd: Capture) -> None:
    """The store changes every blob that it keeps: 3 with the blob and both digests, and nothing is sealed."""
    study.proxy.strike(keeps_otherwise(study), "PUT", "/blobs/")
    says = ("blob was altered, blobs/sha256/", "bytes with digest ")
    kept(lambda: study.run(capfd), code=3, says=says, state=study.published)
    assert study.published() == {}
    study.ends_well(capfd)


def test_fault_32_store_that_always_changes_the_manifest(study: Study, capfd: Capture) -> None:
    """The store changes the manifest each time: 3 with its name, again and again, until that object is removed."""
    study.proxy.strike(keeps_otherwise(study), "PUT", "/steps/")
    ended = study.run(capfd)
    (name,) = [name for name in study.everything() if name.startswith("steps/")]
    assert ended.code == 3 and f"manifest was altered, {name}: " in ended.line
    study.proxy.heal()
    kept(lambda: study.run(capfd), code=3, says=(name,), state=study.everything)
    study.direct.delete(name)
    study.ends_well(capfd)


# --- 33: who asks, when, and for what

WRONG: dict[str, tuple[dict[str, str], str]] = {
    "another secret": ({"AWS_SECRET_ACCESS_KEY": "canary-of-a-secret"}, "SignatureDoesNotMatch"),
    "a key that is not known": ({"AWS_ACCESS_KEY_ID": "AKIACANARYCANARYCANA"}, "InvalidAccessKeyId"),
    "a session that is over": ({"AWS_SESSION_TOKEN": "canary-of-a-token"}, "InvalidAccessKeyId"),
}


@pytest.mark.parametrize("wrong, says", WRONG.values(), ids=WRONG)
def test_fault_33_wrong_credentials(
    study: Study, capfd: Capture, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, str], says: str
) -> None:
    """Credentials that the real server does not take: 2 with the bucket and the server's word, and without a secret."""
    with monkeypatch.context() as patch:
        for name, value in wrong.items():
            patch.setenv(name, value)
        told = ("the store refused the credentials, bucket undertone at", says)
        ended = kept(lambda: study.run(capfd), code=2, says=told, state=study.everything)
    secrets = [*wrong.values(), *(study.server.environment[name] for name in study.server.environment if "KEY" in name)]
    assert not [value for value in secrets if value in ended.err + ended.out]
    study.ends_well(capfd)


@pytest.mark.parametrize("hours", [-3, 72])
def test_fault_33_clock_astray(study: Study, capfd: Capture, monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    """The clock is hours off, before or after: the server refuses the signature, and the step ends with 2."""
    now = botocore.auth.get_current_datetime  # type: ignore[attr-defined]

    def astray() -> Ended:
        with monkeypatch.context() as patch:
            late = lambda *words, **more: now(*words, **more) + timedelta(hours=hours)  # noqa: E731
            patch.setattr(botocore.auth, "get_current_datetime", late)
            return study.run(capfd)

    told = ("the store refused the credentials, bucket undertone at", "RequestTimeTooSkewed")
    kept(astray, code=2, says=told, state=study.everything)
    study.ends_well(capfd)


@pytest.mark.parametrize("status, code", [(400, "ExpiredToken"), (403, "RequestTimeTooSkewed"), (403, "AccessDenied")])
def test_fault_33_refused_in_the_middle(study: Study, capfd: Capture, status: int, code: str) -> None:
    """Credentials run out between the blob and the manifest: 2 with the bucket and the code, nothing published."""
    study.proxy.strike(refused(status, code), "PUT", "/steps/")
    kept(lambda: study.run(capfd), code=2, says=("bucket undertone at", code), state=study.published)
    assert study.published() == {}
    study.ends_well(capfd)


@pytest.mark.parametrize("bucket", ["no-such-bucket", "No_Bucket"])
def test_fault_33_no_such_bucket(study: Study, capfd: Capture, bucket: str) -> None:
    """A bucket that is not there: 2 with its name, and it is not made."""
    uri = study.uri.replace(BUCKET, bucket)
    says = (f"no such bucket, bucket {bucket} at",)
    kept(lambda: step(capfd, "generate", "d0", study.spec, uri), code=2, says=says, state=study.everything)
    assert bucket not in [each["Name"] for each in client_of(study.proxy.url).list_buckets()["Buckets"]]
    study.ends_well(capfd)


# --- 34: names, and many of them

NAMES = {
    "spaces": "a b/ c d /e",
    "Unicode": "ü/日本語 ✓/n\u0303",
    "signs": "a+b&c=d?e#f%20%2F;,:@$!*()[]{}|^~`\"'<>",
    "longest part": "ü" * 127 + "a",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_fault_34_odd_name(study: Study, name: str) -> None:
    """A name with spaces, Unicode or signs of URLs: written, read, listed and removed under that very name."""
    objects = study.store.objects
    assert objects.put(f"k/{name}", b"1", once=True) and not objects.put(f"k/{name}", b"2", once=True)
    assert objects.get(f"k/{name}") == b"1" and list(objects.keys("k/")) == [f"k/{name}"]
    objects.delete(f"k/{name}")
    assert list(objects.keys("k/")) == []


def test_fault_34_longest_name(study: Study) -> None:
    """A key of 1,024 bytes, prefix included, comes back; one of 1,025 is 3, and no request is made for it."""
    room = 1024 - len(study.prefix) - 1
    name = "/".join("é" * 60 for _ in range(9))[:room].encode()[:room].decode(errors="ignore")
    name = name.removesuffix("/") + "x" * (room - len(name.removesuffix("/").encode()))
    objects = study.store.objects
    assert len(f"{study.prefix}/{name}".encode()) == 1024
    assert objects.put(name, b"1", once=True) and objects.get(name) == b"1"
    assert name in study.everything()
    study.proxy.heal()
    with pytest.raises(InputError, match="bad name in the store, too long"):
        objects.put(name + "x", b"1", once=True)
    assert study.proxy.requests == []


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/x", "a//x", "a/./x", "a\\x", "a\nx", "x" * 256])
def test_fault_34_bad_name(study: Study, name: str) -> None:
    """A name that leads elsewhere, or cannot be one: 3 before any request, in all that can be done with it."""
    objects = study.store.objects
    assert isinstance(objects, S3Objects)
    calls: list[Callable[[str], object]] = [
        objects.get,
        objects.delete,
        objects.stat,
        partial(objects.put, data=b"", once=True),
    ]
    for call in calls:
        with pytest.raises(InputError, match="bad name in the store"):
            call(name)
    assert study.proxy.requests == []


PREFIXES = ["a b/Ünï cødé/日本", "/".join(["p" * 200] * 4)]


@pytest.mark.parametrize("prefix", PREFIXES, ids=["odd", "long"])
def test_fault_34_step_below_an_odd_prefix(study: Study, capfd: Capture, prefix: str) -> None:
    """A store whose address has spaces, Unicode or 800 bytes more: the step runs there as anywhere."""
    study.below(f"{study.prefix}/{prefix}")
    assert study.run(capfd).code == 0 and len(study.published()) == 2
    study.ends_well(capfd)


@pytest.mark.parametrize(
    "prefix, code, says",
    [
        ("a/../b", 2, "not a store, --store"),
        ("a?b", 2, "not a store, --store"),
        ("a#b", 2, "not a store, --store"),
        ("/".join(["p" * 200] * 5)[:950], 3, "bad name in the store, too long"),
    ],
    ids=["dots", "question mark", "number sign", "too long"],
)
def test_fault_34_step_below_a_bad_prefix(study: Study, capfd: Capture, prefix: str, code: int, says: str) -> None:
    """A store whose address leads elsewhere is 2; one that leaves no room for names is 3; nothing is asked of it."""
    uri = f"{study.uri}/{prefix}"
    run = partial(step, capfd, "generate", "d0", study.spec, uri)
    kept(run, code=code, says=(says, prefix[:60]), state=study.everything)
    assert study.proxy.requests == []
    study.ends_well(capfd)


def test_fault_34_lists_of_many(study: Study) -> None:
    """Ten thousand sealed steps (`make test`: a thousand names, each tenth sealed): each is listed once, in order."""
    url = study.server.environment[ENDPOINT]

    def seals(numbers: range) -> None:
        mine = ArtifactStore(S3Objects(BUCKET, study.prefix, client_of(url)))
        for number in numbers:
            if number % EVERY:
                made = as_kept({"outputs": {}})
                mine.objects.put(f"steps/evaluate/{number:064}/manifest.json", made, once=True)
            else:
                digest = mine.put(b"%d" % number)
                mine.seal("evaluate", f"{number:064}", {"outputs": {"rows": {"digest": digest}}})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(seals, [range(first, MANY, 4) for first in range(4)]))
    keys = [key for _, key in study.store.steps("evaluate")]
    assert keys == [f"{number:064}" for number in range(MANY)]
    assert len(list(study.store.objects.keys("blobs/"))) == MANY // EVERY
    assert len(study.store.manifests("evaluate", 20)) == 20
