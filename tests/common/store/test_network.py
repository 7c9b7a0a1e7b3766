"""The store behind a network that is busy, loses answers, or flips bits: damage is found, and mended if it can be."""

from collections.abc import Callable

import pytest

from common.errors import InputError, TransientError
from common.store.objects import S3Objects
from common.store.sealed import ArtifactStore
from tests.common.store.network import Network, client

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
MADE = {"n": 1, "outputs": {}}
Faulty = Callable[..., tuple[ArtifactStore, Network]]


@pytest.mark.parametrize("fault", ["503", "500"])
def test_a_busy_server_is_asked_again(faulty: Faulty, fault: str) -> None:
    store, network = faulty(fault, "PUT")
    assert store.get(store.put(b"x" * 1000)) == b"x" * 1000 and network.seen == 2


@pytest.mark.parametrize("fault", ["503", "500", "409"])
def test_a_server_that_stays_busy_is_transient(faulty: Faulty, fault: str) -> None:
    store, network = faulty(fault, "PUT", faults=99, attempts=2)
    with pytest.raises(TransientError, match=rf"the store is busy.*HTTP {fault}"):
        store.seal("plan", "k", MADE)
    assert network.seen <= 2 and store.manifest("plan", "k") is None


def test_a_seal_whose_answer_was_lost_is_a_success(faulty: Faulty) -> None:
    store, network = faulty("lost", "PUT")
    assert store.seal("plan", "k", MADE) == MADE
    assert network.seen == 2, "the second attempt met the first one's manifest"


def test_a_body_that_ends_early_is_asked_for_again(faulty: Faulty) -> None:
    store, network = faulty("cut", "GET", faults=0)
    digest = store.put(b"x" * 100_000)
    network.left = 1
    assert store.get(digest) == b"x" * 100_000 and network.seen == 3


def test_a_body_that_always_ends_early_is_transient_and_whole_the_next_time(faulty: Faulty) -> None:
    store, network = faulty("cut", "GET", faults=0)
    digest = store.put(b"x" * 100_000)
    network.left = 3
    with pytest.raises(TransientError, match=r"an answer broke off, .*, GetObject of "):
        store.get(digest)
    assert network.seen == 4 and store.get(digest) == b"x" * 100_000


def direct(store: ArtifactStore, server: str) -> ArtifactStore:
    """The same store, past the network."""
    inner = store.objects
    assert isinstance(inner, S3Objects)
    return ArtifactStore(S3Objects("bucket", inner._prefix, client(server)))


def test_bytes_changed_on_the_way_in_are_found_and_written_over(faulty: Faulty, server: str) -> None:
    store, network = faulty("flip up", "PUT")
    digest = store.put(b"some bytes")
    assert direct(store, server).get(digest) == b"some bytes" and network.seen == 2


def test_a_network_that_always_changes_what_is_written_is_an_input_error(faulty: Faulty, server: str) -> None:
    store, network = faulty("flip up", "PUT", faults=99)
    with pytest.raises(InputError, match=r"blob was altered, blobs/sha256/.*: 10 bytes with digest"):
        store.put(b"some bytes")
    with pytest.raises(InputError, match=r"manifest was altered, steps/plan/k/manifest\.json"):
        store.seal("plan", "k", MADE)
    assert network.seen == 4
    network.left = 0
    assert store.get(store.put(b"some bytes")) == b"some bytes", "a second run mends what the first one left"


def test_a_blob_that_stands_survives_a_flip_when_it_is_read_back(faulty: Faulty, server: str) -> None:
    store, network = faulty("flip down", "GET", faults=0)
    digest = store.put(b"some bytes")
    store.seal("plan", "k", {"outputs": {"a": {"digest": digest}}})
    for left in (1, 2):
        network.left, network.seen = left, 0
        assert store.put(b"some bytes") == digest and network.seen == left + 1
        network.left = left
        assert store.get(digest) == b"some bytes"
    assert direct(store, server).get(digest) == b"some bytes"


def test_a_network_that_always_changes_what_is_read_deletes_nothing(faulty: Faulty, server: str) -> None:
    store, network = faulty("flip down, each time the same", "GET", faults=0)
    digest = store.put(b"some bytes")
    network.left = 99
    with pytest.raises(InputError, match="blob was altered"):
        store.put(b"some bytes")
    assert direct(store, server).get(digest) == b"some bytes"


def test_one_read_is_enough_where_nothing_is_wrong(faulty: Faulty) -> None:
    store, network = faulty("flip down", "GET", faults=0)
    store.put(b"some bytes")
    store.put(b"some bytes")
    assert network.seen == 2


def test_a_manifest_changed_on_the_way_in_is_not_taken_for_anothers(faulty: Faulty, server: str) -> None:
    store, _ = faulty("flip up", "PUT")
    assert store.seal("plan", "k", MADE) == MADE == direct(store, server).manifest("plan", "k")


def test_a_manifest_that_arrives_broken_is_asked_for_again(faulty: Faulty) -> None:
    store, network = faulty("flip down", "GET", faults=0)
    store.seal("plan", "k", MADE)
    network.left = 2
    assert store.manifest("plan", "k") == MADE
