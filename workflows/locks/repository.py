"""What git knows of the repository around a lock: files at a commit, every state of a path, which commit came first."""

import contextlib
import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from common.digests import sha256
from common.errors import InputError
from common.provenance import CODE, COMMIT

MOST_BYTES = 1 << 30  # of all files of a commit: git packs equal bytes into next to nothing


class State(NamedTuple):
    """A file as a commit left it."""

    commit: str  # 40 hex digits
    data: bytes


class Repository:
    """A git repository with its whole history up to HEAD. Reads only."""

    def __init__(self, within: Path) -> None:
        """The repository that holds a folder. Raises: InputError if there is none, or its history is cut off."""
        self._folder = within
        self._folder = self.root = Path(self._git("rev-parse", "--show-toplevel").decode().rstrip("\n"))
        if self._git("rev-parse", "--is-shallow-repository").strip() == b"true":
            allowed = "the whole history: git fetch --unshallow"
            raise InputError("the history is cut off", where=str(self.root), allowed=allowed)

    def name(self, path: Path) -> str:
        """A path as git calls it."""
        return path.resolve().relative_to(self.root.resolve()).as_posix()

    def files(self, commit: str, names: Iterable[str]) -> dict[str, bytes]:
        """Files at a commit. Raises: InputError naming one that is not there, or a commit that is none."""
        asked = list(names)
        given = "".join(f"{commit}:{name}\n" for name in asked).encode()
        answer = io.BytesIO(self._git("cat-file", "--batch", given=given))
        found = {}
        for name in asked:
            head = answer.readline().decode().split()
            if head[-1] == "missing" or head[1] != "blob":
                raise InputError("not in this repository", where=f"{name} at {commit[:12]}", value=" ".join(head))
            found[name] = answer.read(int(head[2]))
            answer.read(1)  # the end of its line
        return found

    @cache  # noqa: B019 - a repository lives as long as the command
    def code(self, commit: str) -> dict[str, str]:
        """All that makes a row or a number, at a commit: path → SHA-256, as `common.provenance.code_digests` has it."""
        listed = self._git("ls-tree", "-r", "-z", "--name-only", known(commit, "code"), *CODE).decode().split("\0")
        names = [name for name in listed if name and "__pycache__" not in name.split("/")]
        return {name: sha256(data) for name, data in self.files(commit, names).items()}

    def states(self, name: str) -> list[State]:
        """The file after each commit that changed it, the first one first; not those that took it away."""
        log = ("log", "--reverse", "--topo-order", "--full-history", "--format=%H", "HEAD", "--", name)
        found = []
        for commit in self._git(*log).decode().split():
            with contextlib.suppress(InputError):  # taken away
                found.append(State(commit, self.files(commit, [name])[name]))
        return found

    def ever(self, folder: Path, names: str) -> list[str]:
        """Every file right below a folder that a commit up to HEAD touched, by a pattern of its name."""
        below = (self.name(folder) + "/").removeprefix("./")
        log = ("log", "--full-history", "--format=", "--name-only", "-z", "HEAD", "--", f":(glob,top){below}{names}")
        return sorted({name.strip("\n") for name in self._git(*log).decode().split("\0")} - {""})

    def descends(self, later: str, earlier: str) -> bool:
        """Whether a commit is another one or came after it. Raises: InputError if one is not in this repository."""
        for commit in (later, earlier):
            if self._ask("cat-file", "-e", f"{commit}^{{commit}}").returncode:
                raise InputError("not in this repository", where="commit", value=commit)
        return self._ask("merge-base", "--is-ancestor", earlier, later).returncode == 0

    @contextlib.contextmanager
    def checked_out(self, commit: str) -> Iterator[Path]:
        """All files of a commit, in a folder of their own.

        Raises: InputError for a name or a link that leads out of it, or more bytes than a repository holds.
        """
        self._check_size(known(commit, "archive"))
        packed = self._git("archive", "--format=tar", commit)
        with tempfile.TemporaryDirectory(prefix="undertone-commit-") as folder:
            try:
                with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
                    archive.extractall(folder, filter="data")
            except tarfile.TarError as error:
                raise InputError("a commit that cannot be unpacked", where=commit[:12], value=str(error)) from error
            yield Path(folder)

    def _check_size(self, commit: str) -> None:
        listed = self._git("ls-tree", "-r", "-l", "-z", commit).decode(errors="replace").split("\0")
        sizes = [line.partition("\t")[0].split()[3] for line in listed if line]
        if (size := sum(int(each) for each in sizes if each != "-")) > MOST_BYTES:
            allowed = f"{MOST_BYTES} bytes"
            raise InputError("a commit unpacks to too much", where=commit[:12], value=f"{size} bytes", allowed=allowed)

    def _git(self, *words: str, given: bytes = b"") -> bytes:
        made = self._ask(*words, given=given)
        if made.returncode:
            said = made.stderr.decode(errors="replace").strip().splitlines()
            raise InputError(f"git {words[0]} refuses", where=str(self._folder), value=said[0] if said else None)
        return made.stdout

    def _ask(self, *words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        command = ["git", "--no-replace-objects", *words]
        return subprocess.run(command, cwd=self._folder, input=given, capture_output=True, check=False)


def known(commit: str, where: str) -> str:
    """The commit itself. Raises: InputError if it is none: git would take a name that begins with - for an option."""
    if not COMMIT.fullmatch(commit):
        raise InputError("not a commit", where=where, value=commit, allowed="40 hex digits")
    return commit
