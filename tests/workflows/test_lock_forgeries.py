"""Forgeries that a lock must notice: each is made in a repository with a real lock, and told in one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.digests import file_sha256, sha256
from common.provenance import CODE
from common.serialization import canonical_json
from common.store.sealed import as_kept
from tests.workflows.registered import LOCK, NAME, Registered, commit, git, registered
from workflows import lock

pytestmark = pytest.mark.long

RESULTS = f"reports/{NAME}/results.json"
DEVIATIONS = f"locks/{NAME}.deviations.jsonl"


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Registered:
    """The study before anybody forged anything."""
    with pytest.MonkeyPatch.context() as patch:
        return registered(tmp_path_factory.mktemp("registered"), patch)


@pytest.fixture
def copy(honest: Registered, tmp_path: Path) -> Path:
    """A copy of its repository, to forge in."""
    return shutil.copytree(honest.repository, tmp_path / "copy")


def verified(repository: Path, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a check with results."""
    capsys.readouterr()
    code = lock.main(["verify", str(repository / LOCK), "--results", str(repository / RESULTS), *more])
    told = capsys.readouterr()
    return code, told.out, told.err


def refused(told: tuple[int, str, str], *words: str) -> None:
    """It was refused in one line that holds these words."""
    code, out, err = told
    assert (code, out, err.count("\n")) == (3, "", 1), told
    assert [word for word in words if word not in err] == [], err


def rewrite(repository: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the lock as if it had always said so."""
    path = repository / LOCK
    contents = json.loads(path.read_bytes())
    change(contents)
    path.write_bytes(canonical_json(contents))


def code_of(repository: Path) -> dict[str, Any]:
    """What a lock says of the code, as it stands in a repository."""
    paths = (path for part in CODE for path in (repository / part).rglob("*") if path.is_file())
    names = sorted(str(path.relative_to(repository)) for path in paths if "__pycache__" not in path.parts)
    files = {name: file_sha256(repository / name) for name in names}
    return {"files": files, "sha256": sha256(canonical_json(files))}


def test_an_honest_study_is_verified_down_to_its_numbers(
    honest: Registered, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = verified(copy, capsys, "--store", str(honest.store))
    assert (code, err) == (0, "")
    for words in (
        "2 deviations, and all",
        "1 piles are what the locked code writes",
        "the results come from 1 of the 1 piles",
        "the results were made by the locked code",
        "files of the report are as its manifest says",
        "the rows of 9 runs were scored by the locked code",
        "numbers, made again from sealed rows",
    ):
        assert words in out
    assert "differs" not in out and "NOT checked" not in out


def test_without_a_store_it_says_what_it_did_not_check(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copy / RESULTS).with_name("manifest.json").unlink()
    code, out, _ = verified(copy, capsys)
    assert code == 0 and "NOT checked: rows, and numbers against rows: no --store" in out
    assert "NOT checked: that the results are as they were sealed" in out
    assert lock.main(["verify", str(copy / LOCK)]) == 0
    assert "NOT checked: rows and numbers: no --results" in capsys.readouterr().out
    assert lock.main(["verify", str(copy / LOCK), "--store", "x"]) == 2


# --- the lock


@pytest.mark.parametrize(
    "change",
    [
        lambda lock: lock["plan"]["gate"].update(bound=0.5),
        lambda lock: lock["corpora"].update(dict.fromkeys(lock["corpora"], "0" * 64)),
        lambda lock: lock["plan"].update(seeds=[0, 1]),
        lambda lock: lock["plan"]["lock"].update(tests=["sign-flip"]),
        lambda lock: lock["calibration"][NAME].update(
            {item: {"p_go": 0, "band": "low"} for item in lock["calibration"][NAME]}
        ),
    ],
    ids=["gate margin", "corpora zeroed", "seeds", "tests", "calibration"],
)
def test_a_lock_that_was_rewritten_is_refused_and_the_commit_named(
    copy: Path, change: Callable[[dict[str, Any]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    rewrite(copy, change)
    refused(verified(copy, capsys), "the lock was rewritten", LOCK, "not committed")
    when = commit(copy, "nothing to see")
    refused(verified(copy, capsys), "the lock was rewritten", LOCK, when[:12])
    (copy / "more").write_text("more")
    commit(copy, "more")
    refused(verified(copy, capsys), "the lock was rewritten", LOCK, when[:12])


def test_corpora_zeroed_before_the_lock_was_committed_are_not_what_the_writer_writes(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    brought = git(copy, "log", "--format=%H", "--", LOCK)
    git(copy, "checkout", "-q", f"{brought}^")
    git(copy, "checkout", "-q", "-b", "other")
    git(copy, "checkout", "-q", brought, "--", LOCK)
    rewrite(copy, lambda lock: lock["corpora"].update({"generate/d0": "0" * 64}))
    commit(copy, "the lock")
    assert lock.main(["verify", str(copy / LOCK)]) == 3
    assert "not the pile that is locked, generate/d0" in capsys.readouterr().err


def test_a_lock_moved_to_a_later_commit_is_refused(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (copy / "analysis" / "stats" / "intervals.py").open("a") as file:
        file.write("\nLEVEL = 0.5\n")
    head = commit(copy, "code")
    rewrite(copy, lambda lock: lock.update(commit=head, code=code_of(copy)))
    when = commit(copy, "the lock")
    refused(verified(copy, capsys), "the lock was rewritten", when[:12])


def test_prompts_that_were_edited_and_locked_anew_are_refused(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prompts = copy / "common" / "stance" / "prompts.py"
    prompts.write_text(prompts.read_text().replace("advise", "urge"))
    rewrite(copy, lambda lock: lock.update(code=code_of(copy)))
    commit(copy, "words")
    refused(verified(copy, capsys), "not what was locked, common/stance/prompts.py at")


def test_rows_asked_with_edited_prompts_are_refused(
    honest: Registered, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job that scores would refuse to; whoever seals such rows by hand is found by the commit that they name."""
    forged = Registered.__new__(Registered)
    forged.repository = shutil.copytree(honest.repository, tmp_path / "copy")
    forged.store = shutil.copytree(honest.store, tmp_path / "store")
    forged.spec, forged.keys = honest.spec, honest.keys
    prompts = forged.repository / "common" / "stance" / "prompts.py"
    prompts.write_text(prompts.read_text().replace("advise", "urge"))
    when = commit(forged.repository, "words")
    for path in forged.store.glob("steps/evaluate/*/manifest.json"):
        manifest = json.loads(path.read_bytes())
        if not manifest["cell"].endswith(".base"):
            manifest["provenance"]["commit"] = when
            path.write_bytes(as_kept({name: value for name, value in manifest.items() if name != "digest"}))
    told = verified(forged.repository, capsys, "--store", str(forged.store))
    refused(told, "scored with other code than locked", when[:12], "first common/stance/prompts.py")


@pytest.mark.parametrize("named", [True, False], ids=["named by the second", "never named"])
def test_an_earlier_lock_that_was_deleted_is_missed(
    copy: Path, named: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Either the second lock named it, and was rewritten; or it was made after the first had been taken away."""
    first, second = file_sha256(copy / LOCK), copy / "locks" / "second.json"
    contents = json.loads((copy / LOCK).read_bytes())
    if named:
        second.write_bytes(canonical_json(contents | {"earlier": {NAME: first}}))
        commit(copy, "the second lock")
    (copy / LOCK).unlink()
    second.write_bytes(canonical_json(contents | {"earlier": {}, "run_id": "second"}))
    when = commit(copy, "one study only")
    assert lock.main(["verify", str(second)]) == 3
    told = capsys.readouterr().err
    assert ("the lock was rewritten" in told and when[:12] in told) if named else (first in told and LOCK in told)


# --- deviations


@pytest.mark.parametrize("keep, left", [(1, "1 rows"), (0, "0 rows")], ids=["truncated", "deleted"])
def test_deviations_only_grow(copy: Path, keep: int, left: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = copy / DEVIATIONS
    when = git(copy, "log", "--reverse", "--format=%H", "--", DEVIATIONS).split()[1 if keep else 0]
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:keep])) if keep else path.unlink()
    for _ in range(2):  # as it lies there, and committed
        refused(verified(copy, capsys), "deviations are gone or altered", f"committed in {when[:12]}", left)
        git(copy, "add", "-A")
        git(copy, "commit", "-qm", "tidy", "--allow-empty")


def test_deviations_that_no_commit_held_are_still_known_to_the_results(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Made while a third one was written down and not committed; then that one was taken away."""
    assert lock.main(["deviate", str(copy / LOCK), "--what", "another test", "--why", "it looks better"]) == 0
    head = file_sha256(copy / DEVIATIONS)
    git(copy, "checkout", "-q", "--", DEVIATIONS)
    results = json.loads((copy / RESULTS).read_bytes())
    results["made"] |= {"deviations": head, "dirty": True}
    (copy / RESULTS).write_bytes(canonical_json(results))
    (copy / RESULTS).with_name("manifest.json").unlink()
    refused(verified(copy, capsys), "deviations that results name are gone", head)


# --- results


def test_a_p_in_the_results_that_was_edited_is_named(
    honest: Registered, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = json.loads((copy / RESULTS).read_bytes())
    name = next(name for name, number in results["numbers"].items() if number["unit"] == "p" and number["value"])
    results["numbers"][name]["value"] *= 0.1
    (copy / RESULTS).write_bytes(canonical_json(results))
    commit(copy, "the report")
    refused(verified(copy, capsys), "not as it was sealed", RESULTS)
    (copy / RESULTS).with_name("manifest.json").unlink()
    refused(
        verified(copy, capsys, "--store", str(honest.store)), "not what the sealed rows give", f"{RESULTS}: {name}:"
    )


def test_a_manifest_that_leaves_the_results_out_is_refused(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = (copy / RESULTS).with_name("manifest.json")
    manifest = json.loads(path.read_bytes())
    del manifest["outputs"]["results.json"]
    path.write_bytes(canonical_json(manifest))
    refused(verified(copy, capsys), "a manifest that does not name the results", str(path))


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda results: results["made"].update(lock="0" * 64), "results of another lock"),
        (lambda results: results.pop("made"), "results do not say what made them"),
    ],
    ids=["another lock", "unsaid"],
)
def test_results_must_name_the_lock(
    copy: Path, change: Callable[[dict[str, Any]], None], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    results = json.loads((copy / RESULTS).read_bytes())
    change(results)
    (copy / RESULTS).write_bytes(canonical_json(results))
    refused(verified(copy, capsys), words, RESULTS)


def test_results_of_a_commit_that_does_not_hold_the_locks_are_refused(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = json.loads((copy / RESULTS).read_bytes())
    results["made"]["commit"] = git(copy, "commit-tree", "HEAD^{tree}", "-m", "the same files without their past")
    (copy / RESULTS).write_bytes(canonical_json(results))
    refused(verified(copy, capsys), "the results do not come after the lock", results["made"]["commit"])


def test_that_the_lock_was_committed_only_after_the_results_is_said(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results, (first, *_) = json.loads((copy / RESULTS).read_bytes()), git(copy, "rev-list", "--reverse", "HEAD").split()
    results["made"]["commit"] = first
    (copy / RESULTS).write_bytes(canonical_json(results))
    (copy / RESULTS).with_name("manifest.json").unlink()
    code, out, _ = verified(copy, capsys)
    assert code == 0 and "NOT checked: that the lock was committed before the results were made" in out
