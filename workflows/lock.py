"""Keep the lock of a study in this repository, prove when it was made, and check it as a stranger would.

    python -m workflows.lock save LOCK.json NAME        keep it as locks/NAME.json, never over another one
    python -m workflows.lock verify locks/NAME.json     its digest, and every file that it names, at its commit
    python -m workflows.lock deviate locks/NAME.json --what … --why …   write down what is done otherwise
    python -m workflows.lock stamp locks/NAME.json --tsa URL            a time stamp (RFC 3161) beside it, by openssl

A time stamp is checked by anybody with: openssl ts -verify -data LOCK.json -in LOCK.json.tsr -CAfile CA.pem
"""

import argparse
import re
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.cli import ended, parsed
from common.deviations import parse_chain
from common.digests import file_sha256, sha256
from common.errors import ExitCode, InputError, TransientError
from common.provenance import ROOT, started
from common.records import Deviation
from common.serialization import canonical_json, parse_json, to_jsonl
from common.store.names import inside

LOCKS = ROOT / "locks"


def save(source: Path, name: str) -> str:
    """Keep a lock. Raises: InputError if another one has the name."""
    target = LOCKS / f"{name}.json"
    if target.exists() and target.read_bytes() != source.read_bytes():
        allowed = "the same lock; or write down what changed with `deviate`, or give the new plan another name"
        raise InputError(
            "there is another lock of this name", where=str(target), value=file_sha256(target), allowed=allowed
        )
    LOCKS.mkdir(exist_ok=True)
    target.write_bytes(source.read_bytes())
    return f"{target}: SHA-256 {file_sha256(target)}; commit it, and time-stamp it before anything is scored"


def verify(path: Path) -> str:
    """Check a lock against the commit that it names. Raises: InputError naming what differs, or if it is no lock."""
    locked = parse_json(path.read_bytes(), str(path))
    try:
        return _verified(path, locked)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError("not a lock", where=str(path), value=f"{type(error).__name__}: {error}") from error


def _verified(path: Path, locked: Any) -> str:
    commit = str(locked["commit"]).removesuffix("+")
    if not re.fullmatch(r"[0-9a-f]{40}", commit):  # git would take a name that begins with - for an option
        raise InputError("not a commit", where=f"{path}:commit", value=commit, allowed="40 hex digits")
    code = (
        locked["analysis"] if locked["schema_version"] == 1 else locked["code"]
    )  # the first kind held analysis/ alone
    folder = "analysis/" if locked["schema_version"] == 1 else ""
    named = locked["items"] | {f"{folder}{name}": digest for name, digest in code["files"].items()}
    for name, digest in named.items():
        found = sha256(_at_commit(commit, name))
        if found != digest:
            raise InputError("not what was locked", where=f"{name} at {commit[:12]}", value=found, allowed=digest)
    if (whole := sha256(canonical_json(code["files"]))) != code["sha256"]:
        raise InputError("not what was locked", where="digest of the code", value=whole, allowed=code["sha256"])
    for name, digest in locked.get("earlier", {}).items():
        kept = inside(path.parent, f"{name}.json")
        if (found := file_sha256(kept) if kept.is_file() else "none") != digest:
            raise InputError("an earlier lock is gone or altered", where=str(kept), value=found, allowed=digest)
    deviations = _deviations(path)
    parse_chain(deviations.read_bytes() if deviations.exists() else b"", str(deviations))
    return f"SHA-256 {file_sha256(path)}: {len(named)} files are as locked at commit {commit}"


def deviate(path: Path, what: str, why: str) -> str:
    """Add a deviation. Raises: InputError if those before were altered."""
    file, lock = _deviations(path), file_sha256(path)
    before = file.read_bytes() if file.exists() else b""
    parse_chain(before, str(file))
    standing = sha256(before) if before else lock
    row = Deviation(when=started(), what=what, why=why, lock=lock, before=standing)
    with file.open("ab") as rows:
        rows.write(to_jsonl([row]))
    return f"{file}: {len(parse_chain(file.read_bytes(), str(file)))} deviations; commit it"


def stamp(path: Path, authority: str) -> str:
    """Have a time-stamping authority sign the digest. Raises: TransientError if it is out of reach."""
    answer = path.with_name(path.name + ".tsr")
    with tempfile.TemporaryDirectory() as folder:
        query = Path(folder) / "query.tsq"
        _openssl("ts", "-query", "-data", str(path), "-sha256", "-cert", "-out", str(query))
        headers = {"Content-Type": "application/timestamp-query"}
        request = urllib.request.Request(authority, query.read_bytes(), headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                signed = reply.read()
        except (urllib.error.URLError, OSError) as error:
            raise TransientError("no time stamp", where=authority, value=str(error)) from error
        (got := Path(folder) / "reply.tsr").write_bytes(signed)
        if "Status: Granted" not in _openssl("ts", "-reply", "-in", str(got), "-text"):
            raise InputError("the authority did not grant a time stamp", where=authority)
    answer.write_bytes(signed)
    return f"{answer}: time stamp of SHA-256 {file_sha256(path)}; commit it"


def _deviations(path: Path) -> Path:
    return path.with_name(f"{path.stem}.deviations.jsonl")


def _at_commit(commit: str, name: str) -> bytes:
    made = subprocess.run(["git", "show", f"{commit}:{name}"], cwd=ROOT, capture_output=True, check=False)
    if made.returncode:
        raise InputError("not in this repository", where=f"{name} at {commit[:12]}", value=made.stderr.decode().strip())
    return made.stdout


def _openssl(*words: str) -> str:
    made = subprocess.run(["openssl", *words], capture_output=True, text=True, check=False)
    if made.returncode:
        raise InputError("openssl refuses", where=" ".join(words[:2]), value=made.stderr.strip().splitlines()[-1:])
    return made.stdout


def main(argv: Sequence[str] | None = None) -> int:
    """Do one of the four, and return its exit code."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m workflows.lock", description=__doc__, formatter_class=raw)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("save", "verify", "deviate", "stamp"):
        command = commands.add_parser(name)
        command.add_argument("lock", type=Path)
        if name == "save":
            command.add_argument("name")
        for word in {"deviate": ("--what", "--why"), "stamp": ("--tsa",)}.get(name, ()):
            command.add_argument(word, required=True)
    arguments = parsed(parser, argv)
    return ended(lambda: _tell(arguments), unreadable=ExitCode.INPUT)


def _tell(arguments: argparse.Namespace) -> int:
    print(_done(arguments))
    return int(ExitCode.OK)


def _done(arguments: argparse.Namespace) -> str:
    """Do what was asked; return what to say of it. Raises: JobError, OSError."""
    if arguments.command == "save":
        return save(arguments.lock, arguments.name)
    if arguments.command == "verify":
        return verify(arguments.lock)
    if arguments.command == "deviate":
        return deviate(arguments.lock, arguments.what, arguments.why)
    return stamp(arguments.lock, arguments.tsa)


if __name__ == "__main__":
    sys.exit(main())
