"""Faults while a store is written: lost answers, rivals, refusals, a kill in the middle, other bytes.

A real step stands behind a proxy that does the fault, before the real S3 server.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from common.errors import InputError
from common.provenance import ROOT
from common.store import patience
from common.store.objects import S3Objects
from common.store.remote import RemoteFile
from common.store.sealed import ArtifactStore
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
from tests.faults.promise import kept
from tests.faults.stored_study import ENDPOINT, EVERY, Study, client_of, served
from workflows.local.object_store import Served
from workflows.local.roles import BUCKET

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
Capture = pytest.CaptureFixture[str]
ROUNDS = 100


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
