"""Immutable artifacts in an S3-compatible bucket or a folder.

blobs/sha256/<2 hex>/<64 hex>              what it IS: the bytes, digest checked on every read
steps/<job>/<step key>/manifest.json       what was ASKED: what a step read, wrote and ran; written last = "done"
steps/<job>/<step key>/checkpoints/<name>/ where an interrupted step goes on; dropped once the step is sealed
runs/<run id>/<job>.<cell>.json            who asked WHEN; replaced by the last one who asked
"""

import errno
import hashlib
import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    PartialCredentialsError,
)

from common.errors import InputError, SpecError, TransientError
from common.records import parse_json
from common.spec import canonical_json

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

T = TypeVar("T")
COMPLETE = "COMPLETE.json"
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


def sha256(data: bytes) -> str:
    """The hex digest that names these bytes."""
    return hashlib.sha256(data).hexdigest()


def file_sha256(path: Path) -> str:
    """The hex digest of a file. Raises: OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_store(uri: str) -> "ArtifactStore":
    """The store behind s3://bucket/prefix or a folder. Connects to nothing yet. Raises: SpecError."""
    parts = urlsplit(uri)
    if parts.scheme == "s3" and parts.netloc:
        return ArtifactStore(S3Objects(parts.netloc, parts.path))
    if parts.scheme in ("", "file") and parts.path:
        return ArtifactStore(FolderObjects(Path(parts.path)))
    raise SpecError("not a store", where="--store", value=uri, allowed="s3://bucket/prefix or a folder")


class ArtifactStore:
    """Blobs by digest and manifests by key. Sealed things are never changed, renamed or deleted.

    Every method may raise TransientError (throttled, 5xx, unreachable) or SpecError (credentials, bucket).
    """

    def __init__(self, objects: Objects) -> None:
        self.objects = objects

    def put(self, data: bytes) -> str:
        """Store `data`, read it back, and return its SHA-256 hex digest. Idempotent.

        Raises: InputError if the server stored other bytes.
        """
        digest = sha256(data)
        if not self.objects.put(_blob(digest), data, once=True):
            return digest  # checked by whoever reads it
        try:
            self.get(digest)
        except InputError:
            self.objects.delete(_blob(digest))  # or the next attempt would take it for stored
            raise
        return digest

    def get(self, digest: str) -> bytes:
        """Return the bytes named `digest`. Raises: InputError if absent or altered."""
        data = self.objects.get(_blob(digest))
        if data is None:
            raise InputError("blob is missing from the store", where=_blob(digest))
        if (found := sha256(data)) != digest:
            raise InputError("blob was altered", where=_blob(digest), value=f"{len(data)} bytes with digest {found}")
        return data

    def seal(self, job: str, key: str, manifest: dict[str, Any]) -> dict[str, Any]:
        """Mark a step done and return the manifest that stands: the first writer wins."""
        self.objects.put(_manifest(job, key), canonical_json(manifest), once=True)
        standing = self.manifest(job, key)
        if standing is None:
            raise TransientError("manifest vanished after it was written", where=_manifest(job, key))
        return standing

    def manifest(self, job: str, key: str) -> dict[str, Any] | None:
        """The manifest of a sealed step, None while it is not sealed. Raises: InputError if it does not parse."""
        data = self.objects.get(_manifest(job, key))
        return None if data is None else _parse(data, _manifest(job, key))

    def manifests(self, job: str, most: int) -> list[dict[str, Any]]:
        """Manifests of some sealed steps of a job, at most so many, in no particular order."""
        sealed = (key for key in self.objects.keys(f"steps/{job}/") if key.endswith("/manifest.json"))
        found = (self.objects.get(key) for key in itertools.islice(sealed, most))
        return [_parse(data, job) for data in found if data is not None]

    def put_checkpoint(self, job: str, key: str, name: str, files: dict[str, bytes], facts: dict[str, Any]) -> None:
        """Keep a checkpoint of an unfinished step: its files, then COMPLETE.json with their digests.

        `name` sorts by age and is unique to the writer, so that two workers on one step never mix files.
        """
        folder = f"{_checkpoints(job, key)}{name}/"
        for path, data in files.items():
            self.objects.put(folder + path, data, once=False)
        complete = {"files": {path: sha256(data) for path, data in files.items()}, "facts": facts}
        self.objects.put(folder + COMPLETE, canonical_json(complete), once=False)

    def newest_checkpoint(self, job: str, key: str) -> tuple[dict[str, bytes], dict[str, Any]] | None:
        """The files and facts of the newest complete checkpoint, None if no step got that far.

        Raises: InputError if checkpoints are recorded but each one is damaged; never a silent restart.
        """
        keys = [name for name in self.objects.keys(_checkpoints(job, key)) if name.endswith("/" + COMPLETE)]
        for complete in sorted(keys, reverse=True):
            if (found := self._checkpoint(complete)) is not None:
                return found
        if keys:
            raise InputError("every checkpoint of this step is damaged", where=_checkpoints(job, key), value=len(keys))
        return None

    def _checkpoint(self, complete: str) -> tuple[dict[str, bytes], dict[str, Any]] | None:
        """The files and facts of one checkpoint, None if it is damaged."""
        try:
            record = _parse(self.objects.get(complete) or b"", complete)
        except InputError:
            return None
        folder = complete.removesuffix(COMPLETE)
        files = {path: self.objects.get(folder + path) or b"" for path in record["files"]}
        whole = all(sha256(files[path]) == digest for path, digest in record["files"].items())
        return (files, record["facts"]) if whole else None

    def drop_checkpoints(self, job: str, key: str) -> None:
        """Delete the checkpoints of a sealed step; COMPLETE first, so that no half checkpoint looks whole."""
        names = list(self.objects.keys(_checkpoints(job, key)))
        for name in sorted(names, key=lambda name: not name.endswith(COMPLETE)):
            self.objects.delete(name)

    def note_run(self, run_id: str, job: str, cell: str, note: dict[str, Any]) -> None:
        """Leave word of what a run did for a cell; the last word stands."""
        self.objects.put(f"runs/{run_id}/{job}.{cell}.json", canonical_json(note), once=False)

    def run_notes(self, run_id: str) -> list[dict[str, Any]]:
        """Every note of a run."""
        found = ((key, self.objects.get(key)) for key in self.objects.keys(f"runs/{run_id}/"))
        return [_parse(data, key) for key, data in found if data is not None]

    def check_conditional_writes(self) -> None:
        """Refuse a server that overwrites in spite of If-None-Match, which would break sealing.

        Raises: SpecError.
        """
        self.objects.put("probe/conditional", b"1", once=True)
        if self.objects.put("probe/conditional", b"2", once=True):
            raise SpecError(
                "the store ignores If-None-Match", where="--store", allowed="a store with conditional writes"
            )


def _blob(digest: str) -> str:
    return f"blobs/sha256/{digest[:2]}/{digest}"


def _manifest(job: str, key: str) -> str:
    return f"steps/{job}/{key}/manifest.json"


def _checkpoints(job: str, key: str) -> str:
    return f"steps/{job}/{key}/checkpoints/"


def _parse(data: bytes, where: str) -> dict[str, Any]:
    value = parse_json(data, where)
    if not isinstance(value, dict):
        raise InputError("not a JSON object", where=where, value=type(value).__name__)
    return value
