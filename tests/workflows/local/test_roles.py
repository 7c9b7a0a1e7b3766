"""What the keys of each role can and cannot do, asked of the real S3 server."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from common.errors import SpecError
from common.store.objects import S3Objects
from common.store.sealed import ArtifactStore
from workflows.local.object_store import Served, object_store
from workflows.local.roles import BUCKET, ID, ROLES, SECRET, complete

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
MANIFEST, BLOB = "studies/steps/plan/k/manifest.json", "studies/blobs/sha256/aa/aa"
CHECKPOINT = "studies/steps/finetune/k/checkpoints/1/x"


def client_of(served: Served, role: str) -> "S3Client":
    given = served.roles[role]
    return boto3.client(
        "s3",
        endpoint_url=given["AWS_ENDPOINT_URL_S3"],
        aws_access_key_id=given[ID],
        aws_secret_access_key=given[SECRET],
        region_name="us-east-1",
        config=Config(
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            retries={"mode": "standard", "total_max_attempts": 3},
        ),
    )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with object_store(tmp_path_factory.mktemp("roles")) as running:
        yield running


@pytest.fixture
def clients(served: Served) -> dict[str, "S3Client"]:
    """Each role's client, with a manifest, a blob and a checkpoint in the bucket."""
    made = {role: client_of(served, role) for role in ROLES}
    for key in (MANIFEST, BLOB, CHECKPOINT):
        made["admin"].put_object(Bucket=BUCKET, Key=key, Body=b"as it was")
    return made


def refused(ask: Callable[[], Any]) -> None:
    with pytest.raises(ClientError) as caught:
        ask()
    assert caught.value.response["Error"]["Code"] == "AccessDenied"


def stands(clients: dict[str, "S3Client"], key: str) -> bool:
    return clients["admin"].get_object(Bucket=BUCKET, Key=key)["Body"].read() == b"as it was"


def deleted_in_bulk(client: "S3Client", key: str) -> list[str]:
    """What a request for several at once says of each that it left."""
    answer = client.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": key}]})
    return [error["Code"] for error in answer.get("Errors", [])]


def test_a_reader_reads_and_lists_and_changes_nothing(clients: dict[str, "S3Client"]) -> None:
    reader = clients["reader"]
    assert reader.get_object(Bucket=BUCKET, Key=MANIFEST)["Body"].read() == b"as it was"
    assert MANIFEST in [each["Key"] for each in reader.list_objects_v2(Bucket=BUCKET)["Contents"]]
    refused(lambda: reader.put_object(Bucket=BUCKET, Key=MANIFEST, Body=b"forged"))
    refused(lambda: reader.put_object(Bucket=BUCKET, Key="studies/new", Body=b"forged", IfNoneMatch="*"))
    refused(lambda: reader.create_multipart_upload(Bucket=BUCKET, Key="studies/new"))
    refused(lambda: reader.copy_object(Bucket=BUCKET, Key=MANIFEST, CopySource={"Bucket": BUCKET, "Key": BLOB}))
    refused(lambda: reader.delete_object(Bucket=BUCKET, Key=CHECKPOINT))
    assert deleted_in_bulk(reader, MANIFEST) == ["AccessDenied"]
    refused(lambda: reader.create_bucket(Bucket="another"))
    assert all(stands(clients, key) for key in (MANIFEST, BLOB, CHECKPOINT))


def test_a_job_deletes_checkpoints_and_nothing_else(clients: dict[str, "S3Client"]) -> None:
    job = clients["job"]
    job.delete_object(Bucket=BUCKET, Key=CHECKPOINT)
    with pytest.raises(ClientError, match="NoSuchKey"):
        job.get_object(Bucket=BUCKET, Key=CHECKPOINT)
    for key in (MANIFEST, BLOB):
        refused(lambda key=key: job.delete_object(Bucket=BUCKET, Key=key))  # type: ignore[misc]
        assert deleted_in_bulk(job, key) == ["AccessDenied"] and stands(clients, key)
    with pytest.raises(ClientError, match="InvalidRequest"):  # no way round by a name
        job.delete_object(Bucket=BUCKET, Key=f"studies/x/checkpoints/../../../{MANIFEST}")
    assert stands(clients, MANIFEST)
    job.put_object(Bucket=BUCKET, Key=MANIFEST, Body=b"forged")
    assert not stands(clients, MANIFEST), "docs/trust.md says so: this server cannot keep a job from it"


def test_nobody_but_the_administrator_has_rights_over_buckets_and_rights(clients: dict[str, "S3Client"]) -> None:
    for role in ("job", "reader"):
        client = clients[role]
        refused(lambda c=client: c.delete_bucket(Bucket=BUCKET))  # type: ignore[misc]
        refused(lambda c=client: c.create_bucket(Bucket="another"))  # type: ignore[misc]
        refused(lambda c=client: c.put_bucket_policy(Bucket=BUCKET, Policy="{}"))  # type: ignore[misc]
    clients["admin"].delete_object(Bucket=BUCKET, Key=MANIFEST)
    with pytest.raises(ClientError, match="NoSuchKey"):
        clients["admin"].get_object(Bucket=BUCKET, Key=MANIFEST)


def test_a_job_with_the_keys_of_a_reader_ends_in_one_line_that_names_the_right(served: Served) -> None:
    store = ArtifactStore(S3Objects(BUCKET, "studies", client_of(served, "reader")))
    with pytest.raises(SpecError, match=r"the store forbids this, .*PutObject of studies/.*: AccessDenied") as caught:
        store.put(b"some bytes")
    assert served.roles["reader"][SECRET] not in str(caught.value)


def test_keys_change_when_their_file_is_removed_and_data_stay(tmp_path: Path) -> None:
    with object_store(tmp_path) as before:
        client_of(before, "job").put_object(Bucket=BUCKET, Key=MANIFEST, Body=b"as it was")
        assert not any(before.roles["job"][ID] in text for text in (before.uri, str(before.process.args)))
    kept = tmp_path / "credentials.json"
    assert kept.stat().st_mode & 0o777 == (tmp_path / "identities.json").stat().st_mode & 0o777 == 0o600
    kept.unlink()
    with object_store(tmp_path) as after:
        assert client_of(after, "reader").get_object(Bucket=BUCKET, Key=MANIFEST)["Body"].read() == b"as it was"
        place = {"AWS_ENDPOINT_URL_S3": after.roles["job"]["AWS_ENDPOINT_URL_S3"]}
        for role in ROLES:
            old = Served(before.uri, {role: {**before.roles[role], **place}}, after.process)
            with pytest.raises(ClientError, match="InvalidAccessKeyId"):
                client_of(old, role).get_object(Bucket=BUCKET, Key=MANIFEST)


def test_keys_of_an_older_version_are_replaced(tmp_path: Path) -> None:
    old = {ID: "a" * 20, SECRET: "b" * 40}
    (tmp_path / "credentials.json").write_text(json.dumps(old))
    with object_store(tmp_path) as served:
        assert old[ID] not in [served.roles[role][ID] for role in ROLES]
    assert complete(json.loads((tmp_path / "credentials.json").read_text())) and not complete(old)
