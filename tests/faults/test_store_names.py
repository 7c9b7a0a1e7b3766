"""Faults of who asks a store, when and for what: credentials, clock, bucket, names, and lists of many names.

A real step stands behind a proxy before the real S3 server.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path

import botocore.auth
import pytest

from common.errors import InputError
from common.store import patience
from common.store.objects import S3Objects
from common.store.sealed import ArtifactStore, as_kept
from tests.faults.fault_proxy import (
    FaultProxy,
    proxied,
    refused,
)
from tests.faults.promise import Ended, kept, step
from tests.faults.stored_study import ENDPOINT, EVERY, Study, client_of, served
from workflows.local.object_store import Served
from workflows.local.roles import BUCKET

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
Capture = pytest.CaptureFixture[str]
MANY = 10_000 // EVERY


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
    study.direct.delete(f"k/{name}")
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
