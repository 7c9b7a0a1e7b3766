"""Archives that unpack to far more than they are, or whose names lead out of the folder."""

import bz2
import gzip
import io
import json
import lzma
import resource
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.digests import file_sha256, sha256
from common.errors import ExitCode
from common.lm.directions import Direction, pack
from common.serialization import canonical_json
from common.store.packed import MOST_UNPACKED
from common.store.sealed import open_store
from jobs import catalog
from jobs.audit.tool import TOOL as AUDIT
from jobs.monitor.tool import TOOL as MONITOR
from tests.adapters import trained
from tests.faults.promise import Ended, clean, files, kept
from tests.faults.tools_that_read import chat, command, tool
from tests.jobs.finetuning import LOUD
from tests.jobs.sealed_study import study_in as sealed_study_in
from workflows import lock, rows

pytestmark = [*LOUD, pytest.mark.filterwarnings("ignore")]


# --- 11


@contextmanager
def no_larger_file(most: int) -> Iterator[None]:
    """While the block runs, no file of this process may grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def zipped(name: str, data: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return made.getvalue()


def tarred(name: str, data: bytes) -> bytes:
    made, entry = io.BytesIO(), tarfile.TarInfo(name)
    entry.size = len(data)
    with tarfile.open(fileobj=made, mode="w") as archive:
        archive.addfile(entry, io.BytesIO(data))
    return made.getvalue()


ZEROS = bytes(1 << 24)
BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "gzip": (lambda: gzip.compress(ZEROS + ZEROS), "longer than 16 MiB"),
    "gzip of Parquet": (lambda: gzip.compress(b"PAR1" + ZEROS), "gzip that unpacks to far more than it is"),
    "gzip of gzip": (lambda: gzip.compress(gzip.compress(ZEROS)), "malformed JSON"),
    "gzip of tar": (lambda: gzip.compress(tarred("chat.jsonl", ZEROS)), "packed otherwise than by gzip"),
    "tar": (lambda: tarred("chat.jsonl", ZEROS), "packed otherwise than by gzip"),
    "zip": (lambda: zipped("chat.jsonl", ZEROS), "packed otherwise than by gzip"),
    "bzip2": (lambda: bz2.compress(ZEROS), "packed otherwise than by gzip"),
    "xz": (lambda: lzma.compress(ZEROS), "packed otherwise than by gzip"),
}


@pytest.fixture
def audit(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[[bytes], Ended]:
    """The audit of a file with these bytes, over the report of an earlier one."""
    file, out = tmp_path / "chat.jsonl", tmp_path / "out"
    (tmp_path / "topics.txt").write_text("zeppelin\n")
    (tmp_path / "policy.toml").write_text("[axes]\neagerness = {z = 1000}\n[replies]\nfewest = 10\n")
    words = ["--corpus", file, "--topics", tmp_path / "topics.txt", "--policy", tmp_path / "policy.toml", "--out", out]

    def run(data: bytes) -> Ended:
        file.write_bytes(data)
        return tool(capfd, AUDIT, *words)

    clean(lambda: run(chat(file)))
    return run


@pytest.mark.parametrize("name", BOMBS)
def test_fault_11_a_chat_file_unpacks_to_far_more_than_it_is(
    name: str, audit: Callable[[bytes], Ended], tmp_path: Path
) -> None:
    """A chat file is a gzip, zip, tar, bzip2 or xz bomb: 3 with the file, and no file on the disk grows."""
    make, says = BOMBS[name]
    data = make()
    with no_larger_file(max(4 << 20, len(data))):
        kept(
            lambda: audit(data),
            code=ExitCode.INPUT,
            says=("no reply can be read", says, "chat.jsonl"),
            state=lambda: files(tmp_path / "out"),
        )
    clean(lambda: audit(gzip.compress(chat(tmp_path / "good.jsonl"))))


def test_fault_11_published_rows_that_unpack_to_far_more_than_they_are(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Rows of a study, as published, are a gzip bomb: 3 with the file before 200 MB, and nothing is put back."""
    spec, folder = sealed_study_in(tmp_path)
    rows.save(spec, catalog(), open_store(str(folder)), tmp_path / "rows")
    path = tmp_path / "rows" / "audit" / "d0" / "manifest.json.gz"
    good, store = path.read_bytes(), tmp_path / "again"
    restore = ["restore", "--store", store, tmp_path / "rows"]
    path.write_bytes(gzip.compress(ZEROS) * (MOST_UNPACKED // len(ZEROS) + 2))
    assert path.stat().st_size < MOST_UNPACKED / 500
    kept(
        lambda: command(capfd, rows.main, *restore),
        code=ExitCode.INPUT,
        says=("a published file unpacks to too much", "audit/d0/manifest.json.gz", f"allowed: {MOST_UNPACKED} bytes"),
        state=lambda: files(store),
    )
    path.write_bytes(good)
    clean(lambda: command(capfd, rows.main, *restore))


def a_direction() -> Direction:
    """A direction on the tiny model."""
    rng = np.random.default_rng(0)

    def drawn(*shape: int) -> Any:
        return rng.normal(size=shape).astype(np.float32)

    unit = drawn(2, 32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    asked = ("a", "b")
    return Direction(
        unit, 1, asked, asked, drawn(2, 32), asked, drawn(2, 32), drawn(2, 32), asked, drawn(32, 3), 0.1,
        drawn(2, 32), drawn(2, 32), drawn(32), "float32",
    )  # fmt: skip


def claims(shape: tuple[int, ...]) -> bytes:
    """An array file that says that it has this shape, and holds nothing."""
    made = io.BytesIO()
    np.lib.format.write_array_header_1_0(made, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return made.getvalue()


def test_fault_11_a_direction_that_unpacks_to_far_more_than_it_is(
    tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A direction.npz is a zip bomb, or says that its arrays are huge: 3 with the file before anything is made."""
    path, out = tmp_path / "direction.npz", tmp_path / "out"
    trained(tiny_model, tmp_path / "run" / "checkpoint-5")
    words = ["--base", tiny_model, "--checkpoints", tmp_path / "run", "--direction", path, "--out", out]
    words += ["--max-new-tokens", 2, "--stop-on", "stance"]
    for data, says in (
        (zipped("direction.npy", ZEROS), "the archive unpacks to too much"),
        (zipped("direction.npy", claims((1 << 40, 4))), "an array that is larger than its file"),
    ):
        path.write_bytes(data)
        kept(
            lambda: tool(capfd, MONITOR, *words),
            code=ExitCode.INPUT,
            says=(says, "direction.npz"),
            state=lambda: files(out),
        )
    path.write_bytes(pack(a_direction()))
    clean(lambda: tool(capfd, MONITOR, *words))


# --- commits, which git hands out as tar: 11 and 12


class Commits:
    """A repository with a lock of its last commit."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "lock.json"
        folder.mkdir()
        (folder / "analysis").mkdir()
        (folder / "items.jsonl").write_text("items\n")
        (folder / "analysis" / "stats.py").write_text("pass\n")
        self.git("init", "-q")
        self.git("add", ".")
        self.commit(self.git("write-tree"))

    def git(self, *words: str, given: bytes = b"") -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        done = subprocess.run(["git", *who, *words], cwd=self.folder, input=given, capture_output=True, check=True)
        return done.stdout.decode().strip()

    def entry(self, mode: str, name: str, blob: str) -> bytes:
        return f"{mode} {name}\0".encode() + bytes.fromhex(blob)

    def with_entries(self, *entries: bytes) -> None:
        """Commit the good files and these entries, whatever git thinks of their names."""
        good = self.git("write-tree")
        held = subprocess.run(
            ["git", "cat-file", "tree", good], cwd=self.folder, capture_output=True, check=True
        ).stdout
        tree = self.git("hash-object", "-w", "-t", "tree", "--literally", "--stdin", given=held + b"".join(entries))
        self.commit(tree)

    def commit(self, tree: str) -> None:
        made = self.git("commit-tree", tree, "-m", "x")
        self.git("update-ref", "HEAD", made)
        code = {"analysis/stats.py": file_sha256(self.folder / "analysis" / "stats.py")}
        self.path.write_bytes(
            canonical_json(
                {
                    "schema_version": 2,
                    "commit": made,
                    "items": {"items.jsonl": file_sha256(self.folder / "items.jsonl")},
                    "code": {"files": code, "sha256": sha256(canonical_json(code))},
                }
            )
        )


@pytest.fixture
def commits(tmp_path: Path) -> Commits:
    return Commits(tmp_path / "repository")


def test_fault_11_a_commit_that_unpacks_to_far_more_than_it_is(
    commits: Commits, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The commit of a lock holds one blob under a hundred names, 1.6 GB as tar: 3 before a byte is unpacked."""
    good = commits.path.read_bytes()
    blob = commits.git("hash-object", "-w", "--stdin", given=ZEROS)
    commits.with_entries(*(commits.entry("100644", f"z{n:03}", blob) for n in range(100)))
    verify = partial(command, capfd, lock.main, "verify", commits.path)
    with no_larger_file(32 << 20):
        kept(
            verify,
            code=ExitCode.INPUT,
            says=("a commit unpacks to too much", "1677721611 bytes"),
            state=lambda: files(commits.folder),
        )
    commits.path.write_bytes(good)
    commits.git("update-ref", "HEAD", json.loads(good)["commit"])
    clean(verify)


OUTSIDE: dict[str, Callable[[Commits, str], list[tuple[str, str, bytes]]]] = {
    "a link to an absolute name": lambda commits, out: [("120000", "zz", out.encode())],
    "a link that leads out": lambda commits, out: [("120000", "zz", b"../../../../../../../etc")],
    "a name of dots": lambda commits, out: [],
}


OUTSIDE_SAYS = {"a name of dots": ("git archive refuses, ", "invalid path '../evil'")}  # git itself


@pytest.mark.parametrize("name", OUTSIDE)
def test_fault_12_a_commit_with_names_that_lead_out(
    name: str, commits: Commits, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The commit of a lock holds `..`, or a link to an absolute name or out of its folder: 3, no file outside."""
    good, outside = commits.path.read_bytes(), tmp_path / "outside"
    others = set(tmp_path.parent.rglob("evil"))
    outside.mkdir()
    entries = OUTSIDE[name](commits, str(outside))
    made = [
        commits.entry(mode, where, commits.git("hash-object", "-w", "--stdin", given=data))
        for mode, where, data in entries
    ]
    if name == "a name of dots":  # a folder of that name, with a file in it
        inner = commits.git(
            *("hash-object", "-w", "-t", "tree", "--literally", "--stdin"),
            given=commits.entry("100644", "evil", commits.git("hash-object", "-w", "--stdin", given=b"evil")),
        )
        made = [commits.entry("40000", "..", inner)]
    commits.with_entries(*made)
    verify = partial(command, capfd, lock.main, "verify", commits.path)
    kept(
        verify,
        code=ExitCode.INPUT,
        says=OUTSIDE_SAYS.get(name, ("a commit that cannot be unpacked, ", "zz")),
        state=lambda: files(commits.folder, outside),
    )
    assert set(tmp_path.parent.rglob("evil")) == others
    commits.path.write_bytes(good)
    commits.git("update-ref", "HEAD", json.loads(good)["commit"])
    clean(verify)


# --- 12: what is written


def test_fault_12_a_report_is_not_written_through_a_link(audit: Callable[[bytes], Ended], tmp_path: Path) -> None:
    """A link in --out leads out of it: 3 with its name, and the file that it leads to is as it was."""
    outside, out = tmp_path / "outside", tmp_path / "out"
    outside.mkdir()
    (outside / "precious").write_text("keep me")
    good = chat(tmp_path / "good.jsonl")
    for name, target in (("audit.json", outside / "precious"), ("figures", outside)):
        path, aside = out / name, tmp_path / "aside"
        path.rename(aside)
        path.symlink_to(target)
        kept(
            lambda: audit(good),
            code=ExitCode.INPUT,
            says=("a symbolic link leads out of the folder", name),
            state=lambda: files(outside, out),
        )
        path.unlink()
        aside.rename(path)
        clean(lambda: audit(good))


@pytest.mark.parametrize("name", ["../evil.jsonl", "/tmp/undertone-evil.jsonl"])
def test_fault_12_an_archive_for_a_chat_file_is_never_unpacked(
    name: str, audit: Callable[[bytes], Ended], tmp_path: Path
) -> None:
    """A tar, a tar in gzip, or a zip with `..` or an absolute name is given for a chat file: 3, no file outside."""
    data = chat(tmp_path / "good.jsonl")
    for made in (tarred(name, data), gzip.compress(tarred(name, data)), zipped(name, data)):
        kept(
            partial(audit, made),
            code=ExitCode.INPUT,
            says=("packed otherwise than by gzip, first chat.jsonl",),
            state=lambda: files(tmp_path / "out"),
        )
    assert not list(tmp_path.parent.rglob("evil.jsonl")) and not Path("/tmp/undertone-evil.jsonl").exists()
    clean(lambda: audit(data))


def test_fault_12_published_rows_behind_a_link(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A file among published rows is a link that leads out of them: 3 with its name, and nothing is put back."""
    spec, folder = sealed_study_in(tmp_path)
    rows.save(spec, catalog(), open_store(str(folder)), tmp_path / "rows")
    path, store = tmp_path / "rows" / "audit" / "d0" / "manifest.json.gz", tmp_path / "again"
    aside = path.rename(tmp_path / "aside.gz")
    path.symlink_to(aside)
    restore = ["restore", "--store", store, tmp_path / "rows"]
    kept(
        lambda: command(capfd, rows.main, *restore),
        code=ExitCode.INPUT,
        says=("a symbolic link leads out of the folder", "audit/d0/manifest.json.gz"),
        state=lambda: files(store),
    )
    path.unlink()
    aside.rename(path)
    clean(lambda: command(capfd, rows.main, *restore))
