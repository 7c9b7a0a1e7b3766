"""Locks in this repository: kept, checked against the commit, deviated from in a chain, stamped by an authority."""

import hashlib
import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from common.deviations import parse_chain
from common.digests import file_sha256, sha256
from common.errors import InputError
from common.serialization import canonical_json
from workflows import lock


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with two files of which a lock could speak, committed."""
    (tmp_path / "analysis").mkdir()
    (tmp_path / "items.jsonl").write_text("items\n")
    (tmp_path / "analysis" / "stats.py").write_text("pass\n")
    for words in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qm", "x"],
    ):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    monkeypatch.setattr(lock, "LOCKS", tmp_path / "locks")
    return tmp_path


@pytest.fixture(params=[1, 2])
def made(repository: Path, request: pytest.FixtureRequest) -> Path:
    """A lock of that commit, of the first kind, which held analysis/ alone, or of the second."""
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=repository, capture_output=True, text=True, check=True)
    name, part = ("stats.py", "analysis") if request.param == 1 else ("analysis/stats.py", "code")
    files = {name: file_sha256(repository / "analysis" / "stats.py")}
    contents = {
        "schema_version": request.param,
        "commit": head.stdout.strip(),
        "items": {"items.jsonl": file_sha256(repository / "items.jsonl")},
        part: {"files": files, "sha256": sha256(canonical_json(files))},
    }
    path = repository / "made.json"
    path.write_bytes(canonical_json(contents))
    return path


def test_a_kept_lock_is_verified_whatever_changed_since(made: Path, repository: Path) -> None:
    assert lock.main(["save", str(made), "study"]) == 0
    (repository / "items.jsonl").write_text("later\n")
    assert lock.main(["verify", str(repository / "locks" / "study.json")]) == 0


def test_another_lock_does_not_take_its_place(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lock.main(["save", str(made), "study"]) == lock.main(["save", str(made), "study"]) == 0
    made.write_text("{}")
    assert lock.main(["save", str(made), "study"]) == 3
    assert "error: there is another lock of this name" in capsys.readouterr().err


@pytest.mark.parametrize("commit", ["--output=written", "HEAD", "", "f" * 39])
def test_the_commit_of_a_strangers_lock_is_no_option_of_git(
    made: Path, repository: Path, commit: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made.write_bytes(canonical_json(json.loads(made.read_bytes()) | {"commit": commit}))
    before = sorted(repository.rglob("*"))
    assert lock.main(["verify", str(made)]) == 3
    assert "error: not a commit" in capsys.readouterr().err and sorted(repository.rglob("*")) == before


@pytest.mark.parametrize("part", ["items", "code", "whole", "commit"])
def test_a_lock_that_does_not_fit_its_commit_is_refused(
    made: Path, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    contents = json.loads(made.read_bytes())
    code = contents["analysis" if contents["schema_version"] == 1 else "code"]
    if part == "items":
        contents["items"]["items.jsonl"] = "0" * 64
    elif part == "code":
        code["files"] = dict.fromkeys(code["files"], "0" * 64)
    elif part == "whole":
        code["sha256"] = "0" * 64
    else:
        contents["commit"] = "f" * 40
    made.write_bytes(canonical_json(contents))
    assert lock.main(["verify", str(made)]) == 3
    where = {
        "items": "items.jsonl at",
        "code": "analysis/stats.py at",
        "whole": "digest of the code",
        "commit": "at ffff",
    }
    assert where[part] in capsys.readouterr().err


@pytest.mark.parametrize("then", ["as it was", "altered", "deleted"])
def test_a_lock_names_the_studies_before_it_and_they_must_still_be_there(
    made: Path, then: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = made.with_name("before.json")
    before.write_text("{}")
    contents = json.loads(made.read_bytes()) | {"earlier": {"before": file_sha256(before)}}
    made.write_bytes(canonical_json(contents))
    if then == "altered":
        before.write_text("{ }")
    elif then == "deleted":
        before.unlink()
    assert lock.main(["verify", str(made)]) == (0 if then == "as it was" else 3)
    assert ("an earlier lock is gone or altered" in capsys.readouterr().err) == (then != "as it was")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"earlier": {"../outside": "0" * 64}}, "bad name in the store"),
        ({"earlier": {"/etc/passwd": "0" * 64}}, "bad name in the store"),
        ({"items": []}, "not a lock"),
        ({"commit": None}, "not a lock"),
        ({"schema_version": None}, "not a lock"),
        (None, "not a lock"),
    ],
)
def test_a_strangers_file_that_is_no_lock_is_one_line(
    made: Path, capsys: pytest.CaptureFixture[str], change: dict[str, object] | None, message: str
) -> None:
    contents = json.loads(made.read_bytes())
    if change == {"schema_version": None}:
        contents.pop("commit")
    made.write_text(json.dumps([] if change is None else contents | change))
    assert lock.main(["verify", str(made)]) == 3
    said = capsys.readouterr().err
    assert said.startswith(f"error: {message}") and said.count("\n") == 1


def test_deviations_are_a_chain(made: Path) -> None:
    for number in range(3):
        assert lock.main(["deviate", str(made), "--what", f"change {number}", "--why", "because"]) == 0
    file = made.with_name("made.deviations.jsonl")
    rows = parse_chain(file.read_bytes(), "made")
    lines = file.read_bytes().splitlines(keepends=True)
    assert [row.what for row in rows] == ["change 0", "change 1", "change 2"]
    assert [row.before for row in rows] == [
        file_sha256(made),
        *(hashlib.sha256(b"".join(lines[:count])).hexdigest() for count in (1, 2)),
    ]


@pytest.mark.parametrize("keep", [(1, 2), (0, 2), (0, 2, 1)], ids=["first gone", "middle gone", "order"])
def test_a_deviation_taken_away_is_found(made: Path, keep: tuple[int, ...]) -> None:
    for number in range(3):
        lock.deviate(made, f"change {number}", "because")
    lines = made.with_name("made.deviations.jsonl").read_bytes().splitlines(keepends=True)
    with pytest.raises(InputError, match="deviations were altered"):
        parse_chain(b"".join(lines[index] for index in keep), "made")


def test_words_of_a_deviation_cannot_be_changed_unless_it_is_the_last(made: Path) -> None:
    lock.deviate(made, "one", "because")
    lock.deviate(made, "two", "because")
    file = made.with_name("made.deviations.jsonl")
    with pytest.raises(InputError, match="altered, x:2"):
        parse_chain(file.read_bytes().replace(b'"one"', b'"own"'), "x")


# --- a time stamp


CONFIG = """
[tsa]
default_tsa = local
[local]
serial = {folder}/serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
"""
EXTENSIONS = "basicConstraints=CA:false\nkeyUsage=digitalSignature\nextendedKeyUsage=critical,timeStamping\n"


@pytest.fixture
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A time-stamping authority on this machine, by openssl: its URL and the certificate that it is trusted by."""
    folder = tmp_path_factory.mktemp("tsa")
    (folder / "serial").write_text("01")
    (folder / "tsa.cnf").write_text(CONFIG.format(folder=folder))
    (folder / "ext").write_text(EXTENSIONS)

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=ca", "-keyout", "ca.key", "-out", "ca.pem")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=tsa", "-keyout", "tsa.key", "-out", "tsa.csr")
    signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "ext"]
    openssl("x509", "-req", "-in", "tsa.csr", *signed, "-out", "tsa.pem")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["Content-Type"] == "application/timestamp-query"
            (folder / "q").write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
            words = ["-queryfile", "q", "-signer", "tsa.pem", "-inkey", "tsa.key", "-out", "r"]
            openssl("ts", "-reply", "-config", "tsa.cnf", *words)
            self.send_response(200)
            self.end_headers()
            self.wfile.write((folder / "r").read_bytes())

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", folder / "ca.pem"
    server.shutdown()
    server.server_close()


def test_a_time_stamp_is_verified_by_anybody_and_fits_no_other_lock(made: Path, authority: tuple[str, Path]) -> None:
    url, trusted = authority
    assert lock.main(["stamp", str(made), "--tsa", url]) == 0
    verify = ["openssl", "ts", "-verify", "-data", str(made), "-in", f"{made}.tsr", "-CAfile", str(trusted)]
    assert subprocess.run(verify, check=False, capture_output=True).returncode == 0
    made.write_bytes(made.read_bytes() + b" ")
    assert subprocess.run(verify, check=False, capture_output=True).returncode != 0


def test_an_authority_out_of_reach_is_busy(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lock.main(["stamp", str(made), "--tsa", "http://127.0.0.1:9/"]) == 75
    assert "error: no time stamp" in capsys.readouterr().err
