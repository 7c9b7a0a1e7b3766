"""Immutable artifacts in an S3-compatible bucket or a folder.

blobs/sha256/<2 hex>/<64 hex>              what it IS: the bytes, digest checked on every read and after every write
steps/<job>/<step key>/manifest.json       what was ASKED: what a step read, wrote and ran; written last = "done"
steps/<job>/<step key>/checkpoints/<name>/ where an interrupted step goes on; dropped once the step is sealed
runs/<run id>/<job>.<cell>.json            who asked WHEN; replaced by the last one who asked
"""

import contextlib
import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from common.digests import sha256
from common.errors import InputError, SpecError, TransientError
from common.serialization import canonical_json, parse_json
from common.store.manifests import OUTPUTS, checked_manifest
from common.store.names import fault
from common.store.objects import FolderObjects, Objects, S3Objects

COMPLETE = "COMPLETE.json"
DIGEST = "digest"  # of all else in a manifest, or in the record of a checkpoint
READS = 3  # of bytes that are not what they should be, before they are called wrong: a flip on the way is no damage
ADDRESS = "s3://bucket/prefix or a folder"


def open_store(uri: str) -> "ArtifactStore":
    """The store behind s3://bucket/prefix or a folder. Connects to nothing yet. Raises: SpecError."""
    return ArtifactStore(open_objects(uri))


def open_objects(uri: str, where: str = "--store") -> Objects:
    """What lies below s3://bucket/prefix or in a folder. Connects to nothing yet. Raises: SpecError naming `where`."""
    parts = urlsplit(uri)
    if parts.query or parts.fragment or uri.endswith(("?", "#")):  # or what follows the sign would be left out
        raise SpecError("not a store", where=where, value=uri, allowed=f"{ADDRESS}, without ? and #")
    if "@" in parts.netloc:
        raise SpecError("credentials in the address", where=where, allowed=f"{ADDRESS}; they come from AWS variables")
    if parts.scheme == "s3" and parts.netloc and not (parts.path.strip("/") and fault(parts.path.strip("/"))):
        return S3Objects(parts.netloc, parts.path)
    if parts.scheme in ("", "file") and parts.path:
        return FolderObjects(Path(parts.path))
    raise SpecError("not a store", where=where, value=uri, allowed=ADDRESS)


class ArtifactStore:
    """Blobs by digest and manifests by key. Sealed things are never changed, renamed or deleted.

    Every method may raise TransientError (throttled, 5xx, unreachable) or SpecError (credentials, bucket).
    """

    def __init__(self, objects: Objects) -> None:
        self.objects = objects

    def put(self, data: bytes) -> str:
        """Store `data`, read it back, and return its SHA-256 hex digest. Idempotent.

        A blob that exists is read back as well: its writer may have been killed before it looked. Wrong bytes are
        written over with the right ones and never deleted, because a manifest may name them already.
        Raises: InputError if the store keeps other bytes all the same.
        """
        digest = sha256(data)
        self.objects.put(_blob(digest), data, once=True)
        self._check("blob", _blob(digest), data)
        return digest

    def get(self, digest: str) -> bytes:
        """Return the bytes named `digest`. Raises: InputError if they are absent or altered."""
        return self._read("blob", _blob(digest), digest)

    def _read(self, what: str, name: str, digest: str) -> bytes:
        """The bytes with this digest under a name; what arrives altered is asked for again.

        Raises: InputError if they are absent, or altered each time or twice in the same way.
        """
        seen: set[str] = set()
        while True:
            data = self.objects.get(name)
            if data is None:
                raise InputError(f"{what} is missing from the store", where=name)
            if (found := sha256(data)) == digest:
                return data
            if found in seen or len(seen) == READS - 1:
                value = f"{len(data)} bytes with digest {found}"
                raise InputError(f"{what} was altered", where=name, value=value)
            seen.add(found)

    def _check(self, what: str, name: str, data: bytes) -> None:
        """Read back what must stand under a name; if other bytes stand there, write it over them: always safe.

        Raises: InputError if other bytes stay there.
        """
        digest = sha256(data)
        try:
            self._read(what, name, digest)
        except InputError as damage:
            try:
                self.objects.put(name, data, once=False)
            except SpecError as error:  # a store where nothing may be written twice
                raise damage from error
            self._read(what, name, digest)

    def seal(self, job: str, key: str, manifest: dict[str, Any]) -> dict[str, Any]:
        """Mark a step done and return the manifest that stands: the first writer wins.

        Raises: InputError if the store keeps other bytes than it was given.
        """
        name, data = _manifest(job, key), as_kept(manifest)
        if written := self.objects.put(name, data, once=True):  # what differs from it now is damage, not another's
            self._check("manifest", name, data)
        standing = self.manifest(job, key)
        if standing is None:  # some servers refuse a condition, and call it so, where nothing stands
            what = "vanished after it was written" if written else "could not be written, and none stands"
            raise TransientError(f"manifest {what}", where=name)
        return standing

    def manifest(self, job: str, key: str, needs: Sequence[str] = OUTPUTS) -> dict[str, Any] | None:
        """The manifest of a sealed step, with its outputs and what else is needed; None while it is not sealed.

        Raises: InputError if it does not parse, is not what it says of itself, or as `checked_manifest`.
        """
        found = self._parsed(_manifest(job, key))
        return None if found is None else checked_manifest(found, job, key, needs)

    def _parsed(self, name: str) -> dict[str, Any] | None:
        """An object with a digest of its own, None if there is none. What arrives altered is asked for again.

        Raises: InputError if it is altered each time.
        """
        for _ in range(READS - 1):
            with contextlib.suppress(InputError):
                return self._parsed_once(name)
        return self._parsed_once(name)

    def _parsed_once(self, name: str) -> dict[str, Any] | None:
        data = self.objects.get(name)
        return None if data is None else as_given(_parse(data, name), name)

    def manifests(self, job: str, most: int, needs: Sequence[str] = OUTPUTS) -> list[dict[str, Any]]:
        """Manifests of some sealed steps of a job, at most so many, in no particular order. Raises: as `manifest`."""
        found = (self.manifest(each, key, needs) for each, key in itertools.islice(self.steps(job), most))
        return [manifest for manifest in found if manifest is not None]

    def steps(self, job: str = "") -> Iterator[tuple[str, str]]:
        """Job and key of every sealed step, or of those of one job."""
        for name in self.objects.keys(f"steps/{job}/" if job else "steps/"):
            if found := re.fullmatch(r"steps/([^/]+)/([^/]+)/manifest\.json", name):
                yield found[1], found[2]

    def put_checkpoint(self, job: str, key: str, name: str, files: dict[str, bytes], facts: dict[str, Any]) -> None:
        """Keep a checkpoint of an unfinished step: its files, then COMPLETE.json with their digests.

        `name` sorts by how far the step was and is unique to the writer, so that two workers never mix files.
        """
        folder = f"{_checkpoints(job, key)}{name}/"
        for path, data in files.items():
            self.objects.put(folder + path, data, once=False)
        complete = {"files": {path: sha256(data) for path, data in files.items()}, "facts": facts}
        self.objects.put(folder + COMPLETE, as_kept(complete), once=False)

    def newest_checkpoint(self, job: str, key: str) -> tuple[dict[str, bytes], dict[str, Any]] | None:
        """The files and facts of the furthest complete checkpoint, None if no step got that far.

        A worker that seals the step drops its checkpoints: those that vanish while this looks are not damaged, and of
        a sealed step none is.
        Raises: InputError if checkpoints stay recorded but each one is damaged, never a silent restart; or if an
        object stands in the checkpoint's folder that it does not list.
        """
        names = list(self.objects.keys(_checkpoints(job, key)))
        while completes := [name for name in names if name.endswith("/" + COMPLETE)]:
            for complete in sorted(completes, reverse=True):
                if (found := self._checkpoint(complete)) is not None:
                    _nothing_else(names, complete, found[0])
                    return found
            seen, names = names, list(self.objects.keys(_checkpoints(job, key)))
            if names == seen:
                if self.manifest(job, key) is not None:
                    return None
                where = _checkpoints(job, key)
                raise InputError("every checkpoint of this step is damaged", where=where, value=len(completes))
        return None

    def _checkpoint(self, complete: str) -> tuple[dict[str, bytes], dict[str, Any]] | None:
        """The files and facts of one checkpoint, None if it is damaged or gone. What is parsed is what was compared."""
        with contextlib.suppress(InputError):
            record = self._parsed(complete) or {}
            listed, facts = record.get("files"), record.get("facts")
            if isinstance(listed, dict) and isinstance(facts, dict):
                folder = complete.removesuffix(COMPLETE)
                return {path: self._read("checkpoint", folder + path, listed[path]) for path in listed}, facts
        return None

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
        if self.objects.get("probe/conditional") is None:
            raise SpecError(
                "the store refuses If-None-Match where nothing stands",
                where="--store",
                value="HTTP 412 for probe/conditional",
                allowed="a store with conditional writes",
            )


def _blob(digest: str) -> str:
    if not (isinstance(digest, str) and re.fullmatch(r"[0-9a-f]{64}", digest)):
        raise InputError("not a digest", where="blobs/sha256", value=digest, allowed="64 hex digits")
    return f"blobs/sha256/{digest[:2]}/{digest}"


def _manifest(job: str, key: str) -> str:
    return f"steps/{job}/{key}/manifest.json"


def _checkpoints(job: str, key: str) -> str:
    return f"steps/{job}/{key}/checkpoints/"


def _nothing_else(names: Iterable[str], complete: str, files: Collection[str]) -> None:
    """Refuse an object in the folder of a checkpoint that is none of its files. Raises: InputError naming it."""
    folder = complete.removesuffix(COMPLETE)
    mine = (name.removeprefix(folder) for name in names if name.startswith(folder) and name != complete)
    if (stranger := next((name for name in mine if name not in files), None)) is not None:
        raise InputError("not a file of the checkpoint", where=folder + stranger, allowed=", ".join(sorted(files)))


def as_kept(record: Mapping[str, Any]) -> bytes:
    """A record as it is kept, with the digest of all else in it: nothing but itself says what its bytes are."""
    return canonical_json({**record, DIGEST: sha256(canonical_json(record))})


def as_given(kept: dict[str, Any], where: str) -> dict[str, Any]:
    """What was kept by `as_kept`; of one that has no digest, all. Raises: InputError if it was altered."""
    record = {name: value for name, value in kept.items() if name != DIGEST}
    if DIGEST in kept and kept[DIGEST] != (found := sha256(canonical_json(record))):
        raise InputError("record was altered", where=where, value=found, allowed=kept[DIGEST])
    return record


def _parse(data: bytes, where: str) -> dict[str, Any]:
    value = parse_json(data, where)
    if not isinstance(value, dict):
        raise InputError("not a JSON object", where=where, value=type(value).__name__)
    return value
