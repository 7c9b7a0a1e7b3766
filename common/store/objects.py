"""Named bytes in a folder or in an S3-compatible bucket."""

import base64
import errno
import hashlib
import itertools
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar
from urllib.request import getproxies

import boto3
from botocore import exceptions
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError
from botocore.parsers import ResponseParserError

from common.addresses import on_this_machine
from common.errors import InputError, SpecError, TransientError
from common.store.names import checked, fault, inside
from common.store.patience import BROKEN_OFF, CONFLICT, DAMAGED, ask_again, pause, unread, within

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

T = TypeVar("T")

SECONDS_TO_CONNECT, SECONDS_OF_SILENCE = 5, 60

# Beside the error that it raises it logs a traceback, which Python prints where nobody listens.
logging.getLogger("botocore.credentials").setLevel(logging.CRITICAL)

CREDENTIALS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment"
OTHER_CREDENTIALS = f"{CREDENTIALS}, or an AWS profile that works: see `aws sts get-caller-identity`"
CREDENTIAL_CODES = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "TokenRefreshRequired",
    "RequestTimeTooSkewed",
}
PERMISSIONS = {  # action of the client → what S3 calls the right to it
    "GetObject": "s3:GetObject",
    "HeadObject": "s3:GetObject",
    "PutObject": "s3:PutObject",
    "DeleteObject": "s3:DeleteObject",
    "ListObjectsV2": "s3:ListBucket",
}
AWAITED = {  # answers that are no fault: what they mean, the caller says
    "GetObject": ("NoSuchKey", "PreconditionFailed", "InvalidRange", "412", "416"),
    "HeadObject": ("NoSuchKey", "404"),
    "PutObject": ("PreconditionFailed", "412"),
}
# Profiles, processes and sessions that give no credentials: no retry mends them.
NO_CREDENTIALS = (
    exceptions.ConfigNotFound,
    exceptions.ConfigParseError,
    exceptions.CredentialRetrievalError,
    exceptions.InvalidConfigError,
    exceptions.LoginError,
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.ProfileNotFound,
    exceptions.RefreshWithMFAUnsupportedError,
    exceptions.SSOError,
    exceptions.TokenRetrievalError,
    exceptions.UnknownCredentialError,
    exceptions.UnknownTokenProviderError,
)


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
            _made(path.parent)
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".partial-") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                given = _given_name(file.name, path, once)
                _sync(path.parent)
                return given
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


def _made(folder: Path) -> None:
    """Make a folder and those above it that are not there, and have the disk keep their names."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in missing:
        _sync(each.parent)


def _sync(folder: Path) -> None:
    """Have the disk keep the names in a folder: synced alone, a file outlasts a power cut without its name."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that keeps names by itself
            raise
    finally:
        os.close(opened)


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
        self._tries = ask_again(self._client)
        self._bucket, self._prefix = bucket, f"{prefix.strip('/')}/".lstrip("/")

    def get(self, key: str) -> bytes | None:
        """See Objects.get. Raises: SpecError for credentials or bucket, TransientError while the server is away."""
        try:
            return self._ask("GetObject", key, lambda: self._read(self._key(key)))
        except self._client.exceptions.NoSuchKey:
            return None

    def put(self, key: str, data: bytes, *, once: bool) -> bool:
        """See Objects.put. Raises as `get` does."""
        condition: dict[str, Any] = {"IfNoneMatch": "*"} if once else {}
        try:
            self._ask(
                "PutObject",
                key,
                lambda: self._client.put_object(
                    Bucket=self._bucket,
                    Key=self._key(key),
                    Body=data,
                    ContentMD5=_md5(data),  # a server that got other bytes refuses them
                    **condition,
                ),
            )
        except ClientError as error:
            if _status(error) == 412:  # it stands already
                return False
            raise
        return True

    def keys(self, prefix: str) -> Iterator[str]:
        """See Objects.keys. Raises as `get` does."""
        yield from self._listed(prefix, self._key(prefix.removesuffix("/")) + "/")

    def stat(self, key: str) -> Stat | None:
        """What the bucket says of a key, None where there is none. Raises as `get` does."""
        try:
            told = self._ask(
                "HeadObject", key, lambda: self._client.head_object(Bucket=self._bucket, Key=self._key(key))
            )
        except ClientError as error:
            if _status(error) == 404:
                return None
            raise
        return Stat(told["ContentLength"], told["ETag"])

    def stats(self) -> dict[str, Stat]:
        """What the bucket says of every key below the prefix, sorted by key. Raises as `get` does."""
        return dict(sorted(self._listed("", self._prefix).items()))

    def _listed(self, asked: str, below: str) -> dict[str, Stat]:
        """Every key below a prefix of the bucket. asked: by what name the caller knows it, for errors."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=below)
        rows = [r for page in self._ask("ListObjectsV2", asked, lambda: list(pages)) for r in page.get("Contents", [])]
        found = {row["Key"].removeprefix(self._prefix): Stat(row["Size"], row["ETag"]) for row in rows}
        return {name: stat for name, stat in found.items() if not fault(name)}  # consoles leave "folders", with a slash

    def part(self, key: str, start: int, stop: int, etag: str) -> bytes:
        """The bytes of a key from start to before stop. Raises as `get` does; InputError if they are others by now."""
        try:
            span = {"Range": f"bytes={start}-{stop - 1}", "IfMatch": etag}
            return self._ask("GetObject", key, lambda: self._read(self._key(key), **span))
        except ClientError as error:
            if _status(error) in (404, 412, 416):
                where = f"s3://{self._bucket}/{self._prefix}{key}"
                raise InputError("the object changed while it was read", where=where) from error
            raise

    def delete(self, key: str) -> None:
        """See Objects.delete. Raises as `get` does."""
        self._ask("DeleteObject", key, lambda: self._client.delete_object(Bucket=self._bucket, Key=self._key(key)))

    def _key(self, key: str) -> str:
        return checked(self._prefix + checked(key))

    def _read(self, key: str, **span: str) -> bytes:
        """The bytes of a key. An answer that breaks off is asked for again: the client gave its head, and is done."""
        for attempt in itertools.count(1):
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=key, **span)  # type: ignore[arg-type]
                data: bytes = answer["Body"].read()
                break
            except BROKEN_OFF:
                if attempt >= self._tries:
                    raise
            time.sleep(pause(attempt))
        return data

    def _ask(self, action: str, key: str, call: Callable[[], T]) -> T:
        """What the server answers. action: as the client calls it; key: what it is asked about, for errors."""
        where = f"bucket {self._bucket} at {self._client.meta.endpoint_url}"
        what = f"{action} of {self._prefix}{key}"
        try:
            return within(call, where, what)
        except ClientError as error:
            if (told := self._refusal(error, action, key, where)) is None:
                raise
            raise told from error
        except NO_CREDENTIALS as error:
            raise _no_credentials(error, where) from error
        except ParamValidationError as error:
            raise SpecError("not a bucket or key", where=where, value=str(error)) from error
        except BROKEN_OFF as error:
            raise TransientError("an answer broke off", where=f"{where}, {what}", value=str(error)) from error
        except ResponseParserError as error:  # a page of a proxy, or XML that was cut
            raise TransientError("an answer that is not one of S3", where=where, value=what) from error
        except BotoCoreError as error:  # refused, reset, timed out
            raise TransientError("the store cannot be reached", where=where, value=str(error)) from error

    def _refusal(self, error: ClientError, action: str, key: str, where: str) -> SpecError | TransientError | None:
        """What a refusal means, in the terms of the contract; None: an answer that the caller waits for."""
        code, status = str(error.response.get("Error", {}).get("Code", "")), _status(error)
        what = f"{action} of {self._prefix}{key}"
        passing = {
            "the store got other bytes than were sent": code in DAMAGED,
            "the store is busy": status in (CONFLICT, 429) or status >= 500,
            "an answer that is not one of S3": unread(action, code),
        }
        if said := next((said for said, so in passing.items() if so), None):
            return TransientError(said, where=where, value=f"HTTP {status} {code}, {what}")
        if code in CREDENTIAL_CODES or (error.operation_name != action and status < 500):  # asked for by the client
            return SpecError("the store refused the credentials", where=where, value=code)
        if code == "NoSuchBucket":
            return SpecError("no such bucket", where=where, allowed="a bucket that exists")
        if status in (401, 403):
            allowed = f"{', '.join(dict.fromkeys(PERMISSIONS.values()))} below the prefix"
            if action == "GetObject":  # what S3 says where a key is not there, to those who may not list
                allowed += "; without s3:ListBucket a key that is not there is refused like one that is forbidden"
            return SpecError("the store forbids this", where=where, value=f"{what}: {code}", allowed=allowed)
        if code not in AWAITED.get(action, ()):
            return SpecError("the store does not take this", where=where, value=f"{what}: {code}, HTTP {status}")
        return None


def _no_credentials(error: BotoCoreError, where: str) -> SpecError:
    """Credentials that cannot be had, by whatever way the environment names."""
    if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        return SpecError("no credentials", where=where, allowed=CREDENTIALS)
    return SpecError("no credentials", where=where, value=_line(error), allowed=OTHER_CREDENTIALS)


def s3_client() -> "S3Client":
    """A boto3 client that works with every S3-compatible server: path style, checksums only where required.

    A server on this machine is asked without a proxy, whatever the environment says. Raises: SpecError.
    """
    session = _session()
    client = _client(session)
    direct = getproxies() and on_this_machine(client.meta.endpoint_url)
    return _client(session, proxies={}) if direct else client


def _session() -> boto3.Session:
    """A session of its own, since the default one keeps the first credentials that it saw; it has looked for them."""
    try:
        session = boto3.Session()
        session.get_credentials()
    except NO_CREDENTIALS as error:
        raise _no_credentials(error, "environment") from error
    except (OSError, ValueError, TypeError, AttributeError) as error:
        value = f"a profile, or a process that it names: {_line(error)}"
        raise SpecError("no credentials", where="environment", value=value, allowed=OTHER_CREDENTIALS) from error
    return session


def _client(session: boto3.Session, **more: Any) -> "S3Client":
    config = Config(
        s3={"addressing_style": "path"},
        signature_version="s3v4",
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        retries={"mode": "standard", "max_attempts": 5},
        connect_timeout=SECONDS_TO_CONNECT,
        read_timeout=SECONDS_OF_SILENCE,
        **more,
    )
    try:
        return session.client("s3", region_name=os.environ.get("AWS_REGION", "us-east-1"), config=config)
    except BotoCoreError as error:
        raise SpecError("bad AWS settings", where="environment", value=_line(error)) from error
    except ValueError as error:
        raise SpecError("bad endpoint", where="AWS_ENDPOINT_URL_S3", value=str(error)) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def _md5(data: bytes) -> str:
    """A checksum of what is sent, as S3 wants it. What bytes ARE is said by SHA-256 alone."""
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def _status(error: ClientError) -> int:
    return int(error.response["ResponseMetadata"]["HTTPStatusCode"])
