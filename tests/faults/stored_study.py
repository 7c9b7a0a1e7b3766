"""A study on the real S3 server, behind a proxy that does faults, for the tests of the store."""

import contextlib
import functools
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from common.serialization import parse_json
from common.store.objects import S3Objects, s3_client
from common.store.sealed import ArtifactStore
from tests import tiny
from tests.faults.fault_proxy import FaultProxy
from tests.faults.promise import Ended, clean, step
from workflows.local.object_store import Served, object_store
from workflows.local.roles import BUCKET

ENDPOINT = "AWS_ENDPOINT_URL_S3"
EVERY = int(os.environ.get("UNDERTONE_EVERY", "10"))  # of a slow matrix one point in so many is tried; 1: all

ALONE: dict[tuple[str, str], Mapping[str, Any]] = {}


@contextlib.contextmanager
def served(folder: Path) -> Iterator[Served]:
    """The real server, and its credentials in the environment."""
    with object_store(folder) as running, pytest.MonkeyPatch.context() as patch:
        for name, value in running.environment.items():
            patch.setenv(name, value)
        yield running


class Study:
    """A study of its own in the bucket. `uri` goes through the proxy; what is looked at from here goes past it."""

    def __init__(self, server: Served, proxy: FaultProxy, model: Path) -> None:
        self.server, self.proxy, self.model, self.spec = server, proxy, model, tiny.spec_on(model)
        self.below(f"study-{time.time_ns()}")

    def below(self, prefix: str) -> None:
        """Look below another prefix of the bucket from now on."""
        server, proxy = self.server, self.proxy
        self.prefix = prefix
        self.uri = f"s3://{BUCKET}/{self.prefix}"
        with pytest.MonkeyPatch.context() as patch:  # with every right: a job's keys delete checkpoints alone
            for name, value in server.roles["admin"].items():
                patch.setenv(name, value)
            self.direct = S3Objects(BUCKET, self.prefix, s3_client())
        self.store = ArtifactStore(S3Objects(BUCKET, self.prefix, client_of(proxy.url)))  # through the proxy

    def run(self, capfd: pytest.CaptureFixture[str], job: str = "generate", cell: str = "d0") -> Ended:
        """A step of the real job, through the proxy."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(ENDPOINT, self.proxy.url)
            return step(capfd, job, cell, self.spec, self.uri)

    def ends_well(self, capfd: pytest.CaptureFixture[str], job: str = "generate", cell: str = "d0") -> None:
        """The faults are over: the step ends well, and what is sealed is what a step seals that met no fault.

        What was sealed already is left as it is, to the byte.
        """
        self.proxy.heal()
        before = self.published()
        said = clean(lambda: self.run(capfd, job, cell))
        assert "error: " not in said.err
        if before:
            assert '"reused":true' in said.out and self.published() == before
        assert self.outputs(job) == self.alone(capfd, job, cell)

    def alone(self, capfd: pytest.CaptureFixture[str], job: str, cell: str) -> Mapping[str, Any]:
        """What the step writes where there is no fault, in a store of its own; run once for all tests."""
        if (job, cell) not in ALONE:
            other = Study(self.server, self.proxy, self.model)
            clean(lambda: other.run(capfd, job, cell))
            ALONE[job, cell] = other.outputs(job)
        return ALONE[job, cell]

    def everything(self) -> dict[str, bytes]:
        """All that stands below the prefix, past the proxy."""
        return {name: self.direct.get(name) or b"" for name in self.direct.stats()}

    def published(self) -> dict[str, bytes]:
        """What is published: manifests, and the blobs that they name."""
        found = {}
        for name in self.direct.keys("steps/"):
            if name.endswith("/manifest.json") and (data := self.direct.get(name)) is not None:
                found[name] = data
                for output in parse_json(data, name)["outputs"].values():
                    blob = f"blobs/sha256/{output['digest'][:2]}/{output['digest']}"
                    found[blob] = self.direct.get(blob) or b"missing"
        return found

    def outputs(self, job: str) -> Mapping[str, Any]:
        """What the one sealed step of a job wrote, by name. Fails if there are more, or none."""
        ((_, key),) = ArtifactStore(self.direct).steps(job)
        manifest = ArtifactStore(self.direct).manifest(job, key)
        assert manifest is not None
        return dict(manifest["outputs"])


@functools.cache  # each is a third of a second to make
def client_of(url: str) -> Any:
    """The client that jobs have, of a server at a URL."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ENDPOINT, url)
        return s3_client()
