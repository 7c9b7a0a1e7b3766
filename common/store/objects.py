"""Named bytes in a folder or in an S3-compatible bucket."""

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)

from common.errors import InputError, SpecError, TransientError
from common.store.names import checked, fault, inside

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


class Stat(NamedTuple):
    """What a bucket says of an object without its bytes."""

    size: int  # bytes
    etag: str  # another one for other bytes


class Objects(Protocol):
    """Named bytes. A key is a relative POSIX path, as `common.store.names` has it; any other is an InputError."""

    def get(self, key: str) -> bytes | None:
        """Return the bytes, None where there are none."""

    def put(self, key: str, data: bytes, *, once: bool) -> bool:
        """Write whole bytes or nothing. With `once`, return False and change nothing if the key exists."""

    def keys(self, prefix: str) -> Iterator[str]:
        """Every key below the folder `prefix`, which ends in a slash; sorted. Names that no job gives are left out."""

    def delete(self, key: str) -> None:
        """Remove a key; nothing happens if there is none."""


class FolderObjects:
    """Objects as files below a folder of one machine. Never a file outside it, by name or by a link."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def get(self, key: str) -> bytes | None:
        """See Objects.get. Raises: SpecError when the store is no folder or is not readable."""
        path = inside(self._root, key)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _told(error, "read", self._root, key) from error

    def put(self, key: str, data: bytes, *, once: bool) -> bool:
        """See Objects.put. Raises: TransientError when the disk is full."""
        path = inside(self._root, key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".partial-") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                return _given_name(file.name, path, once)
        except OSError as error:
            raise _told(error, "write to", self._root, key) from error

    def keys(self, prefix: str) -> Iterator[str]:
        """See Objects.keys."""
        below = inside(self._root, prefix.removesuffix("/"))
        found = (path for path in below.rglob("*") if path.is_file() and not path.name.startswith(".partial-"))
        return iter(sorted(name for name in (str(path.relative_to(self._root)) for path in found) if not fault(name)))

    def delete(self, key: str) -> None:
        """See Objects.delete. Raises: SpecError when the store is not writable."""
        path = inside(self._root, key)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise _told(error, "delete from", self._root, key) from error


def _given_name(temporary: str, path: Path, once: bool) -> bool:
    """Give a whole file its name; False if it is taken and `once`."""
    if once:
        try:
            os.link(temporary, path)  # fails where the name exists: the first writer wins, whole
        except FileExistsError:
            return False
        return True
    fresh = f"{temporary}.new"
    os.link(temporary, fresh)
    Path(fresh).replace(path)
    return True


def _told(error: OSError, verb: str, root: Path, key: str) -> SpecError | InputError | TransientError:
    """What the file system says, in the terms of the contract."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return TransientError("disk full", where=str(root), value=key)
    if error.errno == errno.ENAMETOOLONG:
        return InputError("name too long for this file system", where=str(root), value=key)
    return SpecError(f"cannot {verb} the store", where=str(root / key), value=error.strerror or str(error))


class S3Objects:
    """Objects in a bucket, below a prefix. Endpoint and credentials come from the usual AWS variables."""

    def __init__(self, bucket: str, prefix: str, client: "S3Client | None" = None) -> None:
        self._client = client or s3_client()
        self._bucket, self._prefix = bucket, f"{prefix.strip('/')}/".lstrip("/")

    def get(self, key: str) -> bytes | None:
        """See Objects.get. Raises: SpecError for credentials or bucket, TransientError while the server is away."""
        try:
            return self._ask(lambda: self._read(self._key(key)))
        except self._client.exceptions.NoSuchKey:
            return None

    def put(self, key: str, data: bytes, *, once: bool) -> bool:
        """See Objects.put. Raises as `get` does."""
        condition: dict[str, Any] = {"IfNoneMatch": "*"} if once else {}
        try:
            self._ask(lambda: self._client.put_object(Bucket=self._bucket, Key=self._key(key), Body=data, **condition))
        except ClientError as error:
            if _status(error) == 412:  # it stands already
                return False
            raise
        return True

    def keys(self, prefix: str) -> Iterator[str]:
        """See Objects.keys. Raises as `get` does."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._key(prefix.removesuffix("/")) + "/"
        )
        for page in self._ask(lambda: list(pages)):
            names = (row["Key"].removeprefix(self._prefix) for row in page.get("Contents", []))
            yield from (name for name in names if not fault(name))  # S3 consoles leave "folders" that end in a slash

    def stat(self, key: str) -> Stat | None:
        """What the bucket says of a key, None where there is none. Raises as `get` does."""
        try:
            told = self._ask(lambda: self._client.head_object(Bucket=self._bucket, Key=self._key(key)))
        except ClientError as error:
            if _status(error) == 404:
                return None
            raise
        return Stat(told["ContentLength"], told["ETag"])

    def stats(self) -> dict[str, Stat]:
        """What the bucket says of every key below the prefix, sorted by key. Raises as `get` does."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
        rows = [row for page in self._ask(lambda: list(pages)) for row in page.get("Contents", [])]
        found = {row["Key"].removeprefix(self._prefix): Stat(row["Size"], row["ETag"]) for row in rows}
        return {name: found[name] for name in sorted(found) if not fault(name)}

    def part(self, key: str, start: int, stop: int, etag: str) -> bytes:
        """The bytes of a key from start to before stop. Raises as `get` does; InputError if they are others by now."""
        try:
            return self._ask(lambda: self._read(self._key(key), Range=f"bytes={start}-{stop - 1}", IfMatch=etag))
        except ClientError as error:
            if _status(error) in (404, 412, 416):
                where = f"s3://{self._bucket}/{self._prefix}{key}"
                raise InputError("the object changed while it was read", where=where) from error
            raise

    def delete(self, key: str) -> None:
        """See Objects.delete. Raises as `get` does."""
        self._ask(lambda: self._client.delete_object(Bucket=self._bucket, Key=self._key(key)))

    def _key(self, key: str) -> str:
        return checked(self._prefix + checked(key))

    def _read(self, key: str, **span: str) -> bytes:
        data: bytes = self._client.get_object(Bucket=self._bucket, Key=key, **span)["Body"].read()  # type: ignore[arg-type]
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
        except ParamValidationError as error:
            raise SpecError("not a bucket or key", where=where, value=str(error)) from error
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
