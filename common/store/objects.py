"""Named bytes in a folder or in an S3-compatible bucket."""

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from common.errors import SpecError, TransientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

T = TypeVar("T")


CREDENTIALS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment"


CREDENTIAL_CODES = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "AccessDenied",
    "403",
    "ExpiredToken",
    "InvalidToken",
}


class Objects(Protocol):
    """Named bytes. A key is a relative POSIX path."""

    def get(self, key: str) -> bytes | None:
        """Return the bytes, None where there are none."""

    def put(self, key: str, data: bytes, *, once: bool) -> bool:
        """Write whole bytes or nothing. With `once`, return False and change nothing if the key exists."""

    def keys(self, prefix: str) -> Iterator[str]:
        """Every key below the folder `prefix`, which ends in a slash; sorted."""

    def delete(self, key: str) -> None:
        """Remove a key; nothing happens if there is none."""


class FolderObjects:
    """Objects as files below a folder of one machine."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def get(self, key: str) -> bytes | None:
        """See Objects.get. Raises: SpecError when the store is no folder or is not readable."""
        try:
            return (self._root / key).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            where = str(self._root / key)
            raise SpecError("cannot read the store", where=where, value=error.strerror or str(error)) from error

    def put(self, key: str, data: bytes, *, once: bool) -> bool:
        """See Objects.put. Raises: TransientError when the disk is full."""
        path = self._root / key
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".partial-") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                if once:
                    # A hard link fails where the name exists: the first writer wins, whole.
                    os.link(file.name, path)
                else:
                    fresh = f"{file.name}.new"
                    os.link(file.name, fresh)
                    Path(fresh).replace(path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise TransientError("disk full", where=str(self._root), value=key) from error
            raise SpecError("cannot write to the store", where=str(path), value=error.strerror or str(error)) from error
        return True

    def keys(self, prefix: str) -> Iterator[str]:
        """See Objects.keys."""
        found = (path for path in (self._root / prefix).rglob("*") if path.is_file())
        return iter(sorted(str(p.relative_to(self._root)) for p in found if not p.name.startswith(".partial-")))

    def delete(self, key: str) -> None:
        """See Objects.delete."""
        (self._root / key).unlink(missing_ok=True)


class S3Objects:
    """Objects in a bucket, below a prefix. Endpoint and credentials come from the usual AWS variables."""

    def __init__(self, bucket: str, prefix: str, client: "S3Client | None" = None) -> None:
        self._client = client or s3_client()
        self._bucket, self._prefix = bucket, f"{prefix.strip('/')}/".lstrip("/")

    def get(self, key: str) -> bytes | None:
        """See Objects.get. Raises: SpecError for credentials or bucket, TransientError while the server is away."""
        try:
            return self._ask(lambda: self._read(self._prefix + key))
        except self._client.exceptions.NoSuchKey:
            return None

    def put(self, key: str, data: bytes, *, once: bool) -> bool:
        """See Objects.put. Raises as `get` does."""
        condition: dict[str, Any] = {"IfNoneMatch": "*"} if once else {}
        try:
            self._ask(
                lambda: self._client.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=data, **condition)
            )
        except ClientError as error:
            if _status(error) == 412:  # it stands already
                return False
            raise
        return True

    def keys(self, prefix: str) -> Iterator[str]:
        """See Objects.keys. Raises as `get` does."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix + prefix
        )
        for page in self._ask(lambda: list(pages)):
            yield from (row["Key"].removeprefix(self._prefix) for row in page.get("Contents", []))

    def delete(self, key: str) -> None:
        """See Objects.delete. Raises as `get` does."""
        self._ask(lambda: self._client.delete_object(Bucket=self._bucket, Key=self._prefix + key))

    def _read(self, key: str) -> bytes:
        data: bytes = self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        return data

    def _ask(self, call: Callable[[], T]) -> T:
        where = f"bucket {self._bucket} at {self._client.meta.endpoint_url}"
        try:
            return call()
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in CREDENTIAL_CODES or _status(error) == 403:
                raise SpecError("the store refused the credentials", where=where, value=code) from error
            if code == "NoSuchBucket":
                raise SpecError("no such bucket", where=where, allowed="a bucket that exists") from error
            if _status(error) in (409, 429) or _status(error) >= 500:
                raise TransientError("the store is busy", where=where, value=f"HTTP {_status(error)} {code}") from error
            raise
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise SpecError("no credentials", where=where, allowed=CREDENTIALS) from error
        except BotoCoreError as error:  # refused, reset, timed out, short body
            raise TransientError("the store cannot be reached", where=where, value=str(error)) from error


def s3_client() -> "S3Client":
    """A boto3 client that works with every S3-compatible server: path style, checksums only where required."""
    config = Config(
        s3={"addressing_style": "path"},
        signature_version="s3v4",
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        retries={"mode": "standard", "max_attempts": 5},
        connect_timeout=5,
        read_timeout=60,
    )
    try:
        # A session of its own: the default one keeps the first credentials that it saw.
        return boto3.Session().client("s3", region_name=os.environ.get("AWS_REGION", "us-east-1"), config=config)
    except ValueError as error:
        raise SpecError("bad endpoint", where="AWS_ENDPOINT_URL_S3", value=str(error)) from error
    except PartialCredentialsError as error:  # boto3 looks for them here already
        raise SpecError("no credentials", where="environment", allowed=CREDENTIALS) from error


def _status(error: ClientError) -> int:
    return int(error.response["ResponseMetadata"]["HTTPStatusCode"])
