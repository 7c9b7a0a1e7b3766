"""Faults while a store is read: answers that break off, fall short, stay away, or say that it is busy.

A real step stands behind a proxy that does the fault, before the real S3 server. `generate` writes the replies of a
draw, reads them back and seals.
"""

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from common.store import objects, patience
from common.store.objects import S3Objects
from common.store.sealed import ArtifactStore
from tests.faults.fault_proxy import (
    Fault,
    FaultProxy,
    passed_on,
    proxied,
    refused,
    reset_after,
    said,
    short,
    silent,
    slowly_taken,
    trickled,
)
from tests.faults.promise import kept
from tests.faults.stored_study import ENDPOINT, EVERY, Study, client_of, served
from workflows.local.object_store import Served
from workflows.local.roles import BUCKET

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
Capture = pytest.CaptureFixture[str]
BYTES = bytes(range(256)) * 1200  # of a blob, more than a socket holds at a time


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


def stays_out(study: Study, capfd: Capture, *says: str) -> None:
    """A step under a fault that stays: 75, nothing published; and all is well once the fault is over."""
    kept(
        lambda: study.run(capfd), code=75, says=(f"bucket undertone at {study.proxy.url}", *says), state=study.published
    )
    assert study.published() == {}, "nothing of a step that failed"
    study.ends_well(capfd)


# --- 24, 25: the answer does not arrive whole


@pytest.mark.parametrize("count", [*[0, 1, *range(8191, len(BYTES), len(BYTES) // 40)][::EVERY], len(BYTES) - 1])
def test_fault_24_reset_after_any_number_of_bytes(study: Study, count: int) -> None:
    """A GET is reset after so many bytes of a blob: it is asked for once more, and the bytes are the right ones."""
    digest = study.store.put(BYTES)
    struck = study.proxy.strike(reset_after(count), "GET", digest, times=1)
    assert study.store.get(digest) == BYTES
    assert struck.seen == 2


def test_fault_24_step_whose_reads_are_reset(study: Study, capfd: Capture) -> None:
    """Each first GET of a step is reset in the middle: the step ends well, with the bytes of a step without a fault."""
    blobs = study.proxy.strike(reset_after(1000), "GET", "/blobs/", times=2)
    manifests = study.proxy.strike(reset_after(10), "GET", "/steps/", times=2)
    ended = study.run(capfd)
    assert ended.code == 0 and "error: " not in ended.err
    assert blobs.left == manifests.left == 0
    study.ends_well(capfd)


def test_fault_24_step_whose_reads_are_always_reset(study: Study, capfd: Capture) -> None:
    """Every GET of a blob is reset: after as many tries as a request has, 75 with the name of the blob."""
    struck = study.proxy.strike(reset_after(1000), "GET", "/blobs/")
    stays_out(study, capfd, "an answer broke off", f"GetObject of {study.prefix}/blobs/sha256/", "reset by peer")
    assert struck.seen == 6


def test_fault_25_body_shorter_than_it_says(study: Study, capfd: Capture) -> None:
    """A body ends before its Content-Length, once: asked again, and the step ends as if nothing had been."""
    blobs = study.proxy.strike(short, "GET", "/blobs/", times=1)
    manifests = study.proxy.strike(short, "GET", "/steps/", times=1)
    assert study.run(capfd).code == 0 and (blobs.left, manifests.left) == (0, 0)
    study.ends_well(capfd)


@pytest.mark.parametrize("path", ["/blobs/", "/steps/"])
def test_fault_25_body_that_stays_short(study: Study, capfd: Capture, path: str) -> None:
    """Every body ends too soon: 75 with what was read of how much, and nothing is published."""
    study.proxy.strike(short, "GET", path)
    what = ("an answer broke off", "bytes read") if path == "/blobs/" else ("an answer that is not one of S3",)
    stays_out(study, capfd, *what, f"GetObject of {study.prefix}{path}")


def test_fault_25_list_that_is_cut(study: Study) -> None:
    """A list of keys that ends too soon is asked for again: no key is missed."""
    for name in ("a", "b", "c"):
        study.direct.put(f"k/{name}", b"", once=True)
    struck = study.proxy.strike(short, "GET", "list-type=2", times=1)
    assert list(study.store.objects.keys("k/")) == ["k/a", "k/b", "k/c"]
    assert struck.seen == 2


@pytest.mark.parametrize("status", [200, 403, 404, 502])
def test_fault_25_page_that_is_not_from_a_store(study: Study, capfd: Capture, status: int) -> None:
    """A web page comes in place of the store's answer: an exit code and one line, never a traceback or a result."""
    study.proxy.strike(said(status, b"<html><body>Welcome<br></html>"))
    code, says = {
        200: (3, "malformed JSON, steps/generate/"),
        403: (2, "the store forbids this"),
        404: (75, f"an answer that is not one of S3, bucket undertone at {study.proxy.url}"),
        502: (75, "the store is busy"),
    }[status]
    kept(lambda: study.run(capfd), code=code, says=(says,), state=study.everything)
    assert study.everything() == {}
    study.ends_well(capfd)


# --- 26: the answer takes long


def test_fault_26_store_that_is_silent(study: Study, capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store takes requests and says nothing: 75 once each try has waited as long as it may."""
    monkeypatch.setattr(objects, "SECONDS_OF_SILENCE", 0.2)
    struck = study.proxy.strike(silent(600), "GET", "/blobs/")
    clock = time.monotonic()
    stays_out(study, capfd, "cannot be reached", "Read timeout")
    assert struck.seen == 6 and time.monotonic() - clock < 60


def test_fault_26_limits_as_they_are() -> None:
    """The real limits: all tries of a silent store fit into the time that one call may take."""
    tries, pauses = 6, sum(0.2 * 2**attempt for attempt in range(5)) + sum(min(2**n, 20) for n in range(5))
    assert (objects.SECONDS_TO_CONNECT, objects.SECONDS_OF_SILENCE, patience.SECONDS) == (5, 60, 600)
    assert tries * (objects.SECONDS_TO_CONNECT + objects.SECONDS_OF_SILENCE) + pauses < patience.SECONDS


@pytest.mark.parametrize(
    "fault, method",
    [(trickled(0.05), "GET"), (trickled(0.05, head=True), "GET"), (slowly_taken(100), "PUT")],
    ids=["body", "head", "upload"],
)
def test_fault_26_store_that_trickles(
    study: Study, capfd: Capture, monkeypatch: pytest.MonkeyPatch, fault: Fault, method: str
) -> None:
    """A byte now and then, so that no socket's limit ends it: 75 when the time for one call is over."""
    with monkeypatch.context() as patch:
        patch.setattr(patience, "SECONDS", 2.0)
        study.proxy.strike(fault, method, "/blobs/")
        clock = time.monotonic()
        says = ("the store is too slow", f"{study.prefix}/blobs/sha256/", "no answer in 2 s")
        kept(lambda: study.run(capfd), code=75, says=says, state=study.published)
        assert time.monotonic() - clock < 40, "the machine may be busy, but a trickle would take hours"
    study.ends_well(capfd)


def test_fault_26_upload_over_a_slow_line(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many bytes over a slow line take longer than a socket may: they arrive all the same, sent once."""
    monkeypatch.setattr(objects, "SECONDS_TO_CONNECT", 1)
    client = client_of.__wrapped__(study.proxy.url)  # made anew, with the shorter limit
    store = ArtifactStore(S3Objects(BUCKET, study.prefix, client))
    struck = study.proxy.strike(slowly_taken(4 << 20), "PUT", "/blobs/")
    data = BYTES * 40
    assert store.get(store.put(data)) == data
    assert struck.seen == 1


def test_fault_26_store_that_is_late(study: Study, capfd: Capture) -> None:
    """Answers that come late but in time are waited for: the step ends well and asks nothing twice."""
    study.proxy.strike(silent(0.3), "", "/blobs/")
    assert study.run(capfd).code == 0 and len(set(study.proxy.requests)) >= 4
    assert len([each for each in study.proxy.requests if "/blobs/" in each]) == 2, "one PUT and one GET"
    study.ends_well(capfd)


# --- 27: the store is busy

BUSY = [(500, ""), (503, "SlowDown"), (429, "TooManyRequests")]


@pytest.mark.parametrize("status, code", BUSY)
def test_fault_27_burst(study: Study, capfd: Capture, status: int, code: str) -> None:
    """Two refusals in a row of each kind of request: asked again, and one manifest is published."""
    struck = [study.proxy.strike(refused(status, code), "PUT", path, times=2) for path in ("/blobs/", "/steps/")]
    struck.append(study.proxy.strike(refused(status, code), "GET", "/steps/", times=1))
    assert study.run(capfd).code == 0 and [each.left for each in struck] == [0, 0, 0]
    assert struck[1].seen == 3, "the manifest was sent until it was taken, and once only"
    study.ends_well(capfd)


@pytest.mark.parametrize("status, code", BUSY[::EVERY])
def test_fault_27_store_that_stays_busy(study: Study, capfd: Capture, status: int, code: str) -> None:
    """Refusals without end: six tries, then 75 with the status. Their pauses can add up to half a minute."""
    struck = study.proxy.strike(refused(status, code), "PUT", "/steps/")
    stays_out(study, capfd, "the store is busy", f"HTTP {status}")
    assert struck.seen == 6


def test_fault_27_pauses_grow(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between tries the pause grows: each is at least as long as half of twice the one before."""
    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.1)
    struck = study.proxy.strike(refused(409), "PUT", times=4)
    study.store.put(b"x")
    gaps = [later - earlier for earlier, later in pairwise(struck.times)]
    assert len(gaps) == 4 and all(gap >= 0.05 * 2**number for number, gap in enumerate(gaps))
    waits = [[patience.pause(attempt) for _ in range(50)] for attempt in range(1, 6)]
    assert all(max(earlier) <= min(later) for earlier, later in pairwise(waits)), "whatever chance says"
    assert all(len(set(each)) == 50 for each in waits), "no two writers in step"


def test_fault_27_proxy_that_does_nothing(study: Study, capfd: Capture) -> None:
    """The proxy itself is no fault: a step behind it ends as without it, with nothing asked twice."""
    struck = study.proxy.strike(passed_on, "PUT")
    assert study.run(capfd).code == 0
    assert len(struck.times) == 3 == len({each for each in study.proxy.requests if each.startswith("PUT")})
    study.ends_well(capfd)
