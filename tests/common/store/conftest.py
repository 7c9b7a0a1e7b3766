"""Stores to test: a folder, an S3 server in this process, and the same server behind a network with a fault."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from common.store.objects import FolderObjects, Objects, S3Objects
from common.store.sealed import ArtifactStore
from tests.common.store.network import FAULTS, Network, client
from tests.faults.fault_proxy import FaultProxy


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """An S3 server with the bucket 'bucket'."""
    running = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    url = f"http://{host}:{port}"
    client(url).create_bucket(Bucket="bucket")
    yield url
    running.stop()


@pytest.fixture(params=["folder", "s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    if request.param == "folder":
        return FolderObjects(tmp_path / "new" / "store")
    return S3Objects("bucket", f"studies/{time.time_ns()}", client(request.getfixturevalue("server")))


@pytest.fixture
def store(objects: Objects) -> ArtifactStore:
    return ArtifactStore(objects)


@pytest.fixture
def faulty(server: str) -> Iterator[Callable[..., tuple[ArtifactStore, Network]]]:
    running: list[FaultProxy] = []

    def start(fault: str, method: str, faults: int = 1, attempts: int = 3) -> tuple[ArtifactStore, Network]:
        running.append(FaultProxy(server))
        network = running[-1].strike(FAULTS[fault](), method, times=faults)
        return ArtifactStore(S3Objects("bucket", f"f{time.time_ns()}", client(running[-1].url, attempts))), network

    yield start
    for proxy in running:
        proxy.close()
