"""The way into a cluster's store from outside the cluster."""

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator, Mapping

from common.errors import SpecError, TransientError

STORE = "s3://undertone/studies"
SECONDS_TO_FORWARD = 20


@contextlib.contextmanager
def reachable(credentials: Mapping[str, str]) -> Iterator[None]:
    """Make the store reachable while the block runs: forward a port where it is a Service of the cluster.

    Raises: SpecError if kubectl is not installed; TransientError if nothing answers.
    """
    environment = dict(credentials)
    endpoint = environment.get("AWS_ENDPOINT_URL_S3", "")
    inside = re.fullmatch(r"http://([a-z0-9-]+)\.([a-z0-9-]+)\.svc:(\d+)", endpoint)
    with contextlib.ExitStack() as stack:
        if inside:
            port = stack.enter_context(_forwarded(inside[1], inside[2], inside[3]))
            environment["AWS_ENDPOINT_URL_S3"] = f"http://127.0.0.1:{port}"
        os.environ.update(environment)
        yield


@contextlib.contextmanager
def _forwarded(service: str, namespace: str, port: str) -> Iterator[int]:
    """A local port that leads to a Service while the block runs."""
    words = ["kubectl", "-n", namespace, "port-forward", "--address=127.0.0.1", f"service/{service}", f":{port}"]
    try:
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except FileNotFoundError:
        raise SpecError("kubectl is not installed; it forwards a port to the store", where="PATH") from None
    try:
        line = process.stdout.readline() if process.stdout else ""
        found = re.search(r"127\.0\.0\.1:(\d+) ->", line)
        if not found:
            raise TransientError("cannot reach the store", where=f"service/{service}", value=line.strip())
        yield int(found[1])
    finally:
        process.terminate()
        process.wait(SECONDS_TO_FORWARD)
