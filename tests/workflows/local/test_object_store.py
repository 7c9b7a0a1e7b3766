"""The real S3 server: it starts, holds what it was given, refuses strangers, and stops."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from common.errors import ExitCode, InputError, SpecError, TransientError
from common.provenance import ROOT
from common.store.objects import S3Objects
from common.store.sealed import ArtifactStore, open_store
from workflows.local.object_store import object_store
from workflows.local.roles import BUCKET

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
BEFORE, FIRST = {"made": "before", "outputs": {}}, {"made": "first", "outputs": {}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weed")


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[ArtifactStore]:
    with object_store(folder) as running, pytest.MonkeyPatch.context() as patch:
        for name, value in running.environment.items():
            patch.setenv(name, value)
        yield open_store(running.uri)


def test_blobs_come_back_and_a_missing_one_is_an_input_error(served: ArtifactStore) -> None:
    digest = served.put(b"some bytes")
    assert served.get(digest) == b"some bytes" and served.put(b"some bytes") == digest
    with pytest.raises(InputError, match="missing from the store"):
        served.get("0" * 64)


def test_of_sixteen_writers_one_seals_and_all_see_its_manifest(served: ArtifactStore) -> None:
    stand: list[dict[str, Any]] = []
    threads = [
        threading.Thread(target=lambda n=n: stand.append(served.seal("plan", "race", {"n": n, "outputs": {}})))
        for n in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stand) == 16 and len({json.dumps(manifest) for manifest in stand}) == 1


def test_the_server_honours_conditional_writes(served: ArtifactStore) -> None:
    served.check_conditional_writes()


def test_an_altered_blob_is_found_on_reading(served: ArtifactStore) -> None:
    digest = served.put(b"whole")
    served.objects.put(f"blobs/sha256/{digest[:2]}/{digest}", b"altered", once=False)
    with pytest.raises(InputError, match="blob was altered"):
        served.get(digest)


def test_checkpoints_newest_whole_damaged_dropped(served: ArtifactStore) -> None:
    served.put_checkpoint("finetune", "k", "1-a", {"x/y": b"old"}, {"step": 1})
    served.put_checkpoint("finetune", "k", "2-b", {"x/y": b"new"}, {"step": 2})
    assert served.newest_checkpoint("finetune", "k") == ({"x/y": b"new"}, {"step": 2})
    served.objects.put("steps/finetune/k/checkpoints/2-b/x/y", b"damaged", once=False)
    assert served.newest_checkpoint("finetune", "k") == ({"x/y": b"old"}, {"step": 1})
    served.objects.put("steps/finetune/k/checkpoints/1-a/x/y", b"damaged", once=False)
    with pytest.raises(InputError, match="damaged"):
        served.newest_checkpoint("finetune", "k")
    served.drop_checkpoints("finetune", "k")
    assert served.newest_checkpoint("finetune", "k") is None


def test_wrong_secret_wrong_bucket_and_nobody_there(served: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError, match="no such bucket"):
        open_store("s3://no-such-bucket/x").get("0" * 64)
    with monkeypatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
        with pytest.raises(SpecError, match="refused the credentials") as caught:
            ArtifactStore(S3Objects(BUCKET, "studies")).get("0" * 64)
        assert "canary" not in str(caught.value)
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
        with pytest.raises(TransientError, match="cannot be reached"):
            ArtifactStore(S3Objects(BUCKET, "studies")).get("0" * 64)


def test_a_job_says_in_one_line_what_is_wrong(served: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [sys.executable, "-m", "jobs.plan", "--spec", "workflows/specs/demo.json", "--cell", "study", "--store"]
    cases = [("AWS_SECRET_ACCESS_KEY", "canary", ExitCode.SPEC), ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9", 75)]
    for name, value, code in cases:
        environment = {**os.environ, name: value}
        made = subprocess.run(
            [*words, f"s3://{BUCKET}/x"], check=False, capture_output=True, text=True, cwd=ROOT, env=environment
        )
        assert made.returncode == code and made.stdout == ""
        assert made.stderr.startswith("error: ") and made.stderr.count("\n") == 1 and "canary" not in made.stderr


def test_one_folder_is_served_once(served: ArtifactStore, folder: Path) -> None:
    with pytest.raises(SpecError, match="another process serves this folder"), object_store(folder):
        pass


def test_what_a_killed_process_left_running_is_stopped_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [sys.executable, "-m", "workflows.local.object_store", "--folder", str(tmp_path)]
    owner = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with owner:
        assert owner.stdout is not None
        printed = [owner.stdout.readline().strip() for _ in range(5)]
        assert printed[-1] == f"export STORE=s3://{BUCKET}/studies" and all(" AWS_" in line for line in printed[:-1])
        for line in printed[:-1]:
            monkeypatch.setenv(*line.removeprefix("export ").split("=", 1))
        assert open_store(f"s3://{BUCKET}/studies").seal("plan", "x", BEFORE) == {
            "made": "before",
            "outputs": {},
        }
        owner.kill()
    orphan = psutil.Process(int((tmp_path / "weed.pid").read_text()))
    assert orphan.is_running()
    with object_store(tmp_path) as served, monkeypatch.context() as patch:
        assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE
        for name, value in served.environment.items():
            patch.setenv(name, value)
        assert open_store(served.uri).manifest("plan", "x") == BEFORE
    assert not (tmp_path / "weed.pid").exists()


def test_two_servers_side_by_side_and_data_survive_a_restart(
    served: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        with object_store(tmp_path) as other, monkeypatch.context() as patch:
            for name, value in other.environment.items():
                patch.setenv(name, value)
            store = open_store(other.uri)
            assert store.seal("plan", "once", FIRST) == FIRST
        assert other.process.poll() is not None
