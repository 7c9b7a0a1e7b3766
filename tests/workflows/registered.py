"""A registered study in a repository of its own: real code, a lock by the job itself, sealed rows, a report kept."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from common import provenance
from common.cells import STUDY, Cell, CellKind, cells_of
from common.digests import file_sha256
from common.pipeline.keys import Keys
from common.schemas import Register
from common.spec import parse_spec
from common.store.sealed import open_store
from jobs import catalog
from tests.jobs import sealed_study
from workflows import lock
from workflows.local.results import write_outputs

AUTHOR = ("-c", "user.name=a", "-c", "user.email=a@b.c")
MADE = sealed_study.evaluate  # before any test puts another in its place
NAME = "toy"
LOCK = f"locks/{NAME}.json"


def git(repository: Path, *words: str) -> str:
    """What git says in a repository."""
    made = subprocess.run(["git", *AUTHOR, *words], cwd=repository, check=True, capture_output=True, text=True)
    return made.stdout.strip()


def commit(repository: Path, words: str) -> str:
    """Commit everything; return the commit."""
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", words)
    return git(repository, "rev-parse", "HEAD")


def with_code(repository: Path) -> Path:
    """A repository with all code that makes a row or a number, committed."""
    for part in provenance.CODE:
        leave = shutil.ignore_patterns("__pycache__")
        shutil.copytree(provenance.ROOT / part, repository / part, ignore=leave)
    (repository / "locks").mkdir()
    (repository / "locks" / "README.md").write_text("Locks\n")
    (repository / ".gitignore").write_text("__pycache__\n")
    git(repository, "init", "-q")
    commit(repository, "code")
    return repository


class Registered:
    """The study with its repository and its store, step by step as a user would."""

    def __init__(self, place: Path) -> None:
        self.store, self.repository = place / "store", with_code(place / "repository")
        model = place / "model"
        model.mkdir()
        (model / "config.json").write_text("{}")
        (model / "weights.safetensors").write_bytes(b"")
        asked = {"name": NAME, "seeds": [0, 1, 2], "models": [{"name": NAME, "source": f"path:{model}"}]}
        self.spec = parse_spec(json.dumps(asked | {"corpus": {"examples": 16}}).encode(), "spec")
        self.keys = Keys(self.spec, catalog(), open_store(str(self.store)))

    def run(self, job: str, cell: str) -> dict[str, Any]:
        """Run a job of the repository, as it stands there; return the manifest of the step."""
        words = ["--spec", self.spec.model_dump_json(), "--cell", cell, "--store", str(self.store)]
        environment = {**os.environ, "UNDERTONE_OUTPUTS": str(self.store.with_name("outputs"))}
        command = [sys.executable, "-m", f"jobs.{job}", *words]
        made = subprocess.run(command, cwd=self.repository, env=environment, capture_output=True, check=False)
        assert made.returncode in (0, 10), made.stderr.decode()
        manifest = open_store(str(self.store)).manifest(job, json.loads(made.stdout)["key"])
        assert manifest is not None
        return manifest

    def seal(self, job: str, cell: Cell, patch: pytest.MonkeyPatch) -> None:
        """Seal what a step would have made at the commit of the repository, under its lock if there is one."""
        path = self.repository / LOCK
        digest = file_sha256(path) if path.exists() and cell.kind is CellKind.RUN else None
        ran = provenance.provenance() | {"commit": git(self.repository, "rev-parse", "HEAD"), "deviations": {}}
        patch.setattr(sealed_study, "provenance", lambda: ran)
        patch.setitem(sealed_study.WRITERS, "register", lambda *_: {"register.json": REGISTER})
        patch.setitem(sealed_study.WRITERS, "evaluate", lambda *words: under(digest, MADE(*words)))
        sealed_study.seal(open_store(str(self.store)), self.keys, job, cell)

    def lock(self, patch: pytest.MonkeyPatch) -> None:
        """Write the piles, ask the base, lock, keep the lock and commit it."""
        self.run("generate", "d0")
        (base,), (direction,) = cells_of(self.spec, CellKind.BASE), cells_of(self.spec, CellKind.DIRECTION)
        draw = cells_of(self.spec, CellKind.DRAW)[0]
        for job, cell in (("plan", STUDY), ("audit", draw), ("register", direction), ("evaluate", base)):
            self.seal(job, cell, patch)
        made = self.store.with_name("lock")
        write_outputs(self.run("lock", "study"), open_store(str(self.store)), made, catalog()["lock"])
        patch.setattr(lock, "LOCKS", self.repository / "locks")
        assert lock.main(["save", str(made / "lock.json"), NAME]) == 0
        commit(self.repository, "the lock")

    def report(self) -> None:
        """Report what is sealed; keep it in the repository and commit it."""
        sealed = self.run("report", "study")
        write_outputs(sealed, open_store(str(self.store)), self.repository / "reports" / NAME, catalog()["report"])
        commit(self.repository, "the report")


REGISTER = Register(questions=16, own=2.0, arms={"eager": 3.0}, ratio=1.5, bound=2.0, passed=True)


def under(digest: str | None, made: dict[str, Any]) -> dict[str, Any]:
    """The same outputs with rows that name a lock."""
    named = ("answers.jsonl", "choices.jsonl", "controls.jsonl")
    return made | {name: [row.model_copy(update={"lock": digest}) for row in made[name]] for name in named}


def registered(place: Path, patch: pytest.MonkeyPatch) -> Registered:
    """A study that was locked, deviated from twice, scored and reported: nothing is wrong with it."""
    study = Registered(place)
    study.lock(patch)
    for what in ("a figure more", "a sentence less"):
        assert lock.main(["deviate", str(study.repository / LOCK), "--what", what, "--why", "it was asked for"]) == 0
        commit(study.repository, what)
    for cell in cells_of(study.spec, CellKind.RUN):
        study.seal("evaluate", cell, patch)
    study.report()
    return study
