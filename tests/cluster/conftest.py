"""A cluster that KUBECONFIG names, prepared by `make cluster`, with the images loaded. Without one, all of this skips.

UNDERTONE_TEST_STORE           s3://undertone/test-… of a session that was broken off: what it sealed is reused
UNDERTONE_RESTART_CONTROLLER   a command that restarts Argo's controller, where it is not a Deployment of namespace argo
"""

import contextlib
import json
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from common.store.sealed import ArtifactStore, open_store
from tests.cluster.harness import Lab, forwarded, kubectl, run
from workflows.cluster.api_server import Cluster
from workflows.cluster.workflow import NAMESPACE


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/cluster" in str(item.path):
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("KUBECONFIG names no cluster")
    for program in ("kubectl", "argo"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not on the PATH")
    if run("kubectl", "get", "crd", "workflows.argoproj.io", check=False).returncode:
        pytest.skip("the cluster does not answer, or has no Argo Workflows")
    if kubectl("get", "deployment", "store", check=False).returncode:
        pytest.skip("the namespace is not prepared: make images, load them, make cluster")
    cluster = Cluster(NAMESPACE)
    uri = os.environ.get("UNDERTONE_TEST_STORE") or f"s3://undertone/test-{secrets.token_hex(4)}"
    with contextlib.ExitStack() as stack:
        stack.enter_context(forwarded(cluster))
        lab = Lab(cluster, uri, open_store(uri), tmp_path_factory.mktemp("cluster"))
        yield lab
        for name in lab.made:  # what a test left running
            kubectl("delete", "workflow", name, "--wait=false", check=False)


@pytest.fixture(scope="session")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Callable[[dict[str, Any]], ArtifactStore]:
    """Run a spec on this machine, outside the cluster; return the store with what was sealed."""
    folder = tmp_path_factory.mktemp("laptop")

    def run_here(spec: dict[str, Any], *more: str) -> ArtifactStore:
        path = folder / "spec.json"
        path.write_text(json.dumps(spec))
        words = ["-m", "workflows.local", "workflows/study.yaml", "--spec", str(path), "--store", str(folder / "store")]
        run(sys.executable, *words, "--out", str(folder / "out"), *more)
        return open_store(str(folder / "store"))

    return run_here
