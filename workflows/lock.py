"""Keep the lock of a study in this repository, prove when it was made, and check it as a stranger would.

    python -m workflows.lock save LOCK.json NAME        keep it as locks/NAME.json, never over another one
    python -m workflows.lock verify locks/NAME.json     its files, its history, its deviations; what was not checked
        --results results.json                          and what the results say of themselves
        --store STORE                                   and every row, and every number, made again from sealed rows
    python -m workflows.lock deviate locks/NAME.json --what … --why …   write down what is done otherwise
    python -m workflows.lock stamp locks/NAME.json --tsa URL            a time stamp (RFC 3161) beside it, by openssl

A time stamp is checked by anybody with: openssl ts -verify -data LOCK.json -in LOCK.json.tsr -CAfile CA.pem
"""

import argparse
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from common.cli import ended, parsed
from common.deviations import deviations_file, heads
from common.digests import file_sha256
from common.errors import ExitCode, InputError, TransientError
from common.provenance import ROOT, started
from common.records import Deviation
from common.serialization import to_jsonl
from workflows.locks.kept import deviations_so_far
from workflows.locks.verify import verify

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


def deviate(path: Path, what: str, why: str) -> str:
    """Add a deviation. Raises: InputError if those before were altered."""
    file, lock = deviations_file(path), file_sha256(path)
    standing = heads(deviations_so_far(path), lock)[-1]
    row = Deviation(when=started(), what=what, why=why, lock=lock, before=standing)
    with file.open("ab") as rows:
        rows.write(to_jsonl([row]))
    return f"{file}: {len(heads(deviations_so_far(path), lock)) - 1} deviations; commit it"


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
        if name == "verify":
            command.add_argument("--results", type=Path, help="results.json of a report")
            command.add_argument("--store", help="where its steps are sealed: s3://bucket/prefix or a folder")
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
        return verify(arguments.lock, arguments.results, arguments.store)
    if arguments.command == "deviate":
        return deviate(arguments.lock, arguments.what, arguments.why)
    return stamp(arguments.lock, arguments.tsa)


if __name__ == "__main__":
    sys.exit(main())
