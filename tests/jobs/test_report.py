"""The report over a small synthetic study: whole, with gaps, and where something is wrong with what it reads."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from analysis.report.section import say
from analysis.report.sections import inside
from analysis.report.sections.front import NAMED_GAPS
from common.cells import STUDY
from common.digests import sha256
from common.errors import ExitCode
from common.pipeline.keys import Keys
from common.provenance import ROOT
from common.records import Deviation
from common.serialization import to_jsonl
from common.stance.reading import READER_WORTH
from common.store.sealed import open_store
from jobs import catalog
from tests.jobs.sealed_study import PULL, Study, made_study, run, without_drawings  # noqa: F401


def test_whole_study(study: Study) -> None:
    spec, folder = study()
    code, made = run(spec, folder)
    assert code == ExitCode.OK
    assert {"results.json", "REPORT.md", "report.html", "provenance.json"} < set(made)
    pictures = {name for name in made if name.startswith("figures/")}
    assert {name.rpartition(".")[2] for name in pictures} == {"svg"} and len(pictures) >= 9
    text = made["REPORT.md"].decode()
    assert set(re.findall(r"!\[[^]]*]\(([^)]*)\)", text)) == pictures
    assert "--- |\n\n" not in text  # a table whose rows were torn off
    assert len(text.splitlines()) <= 300
    assert "SHA-256" not in text
    numbers = json.loads(made["results.json"])["numbers"]
    _check_sources(numbers, json.loads(made["provenance.json"]), folder)
    _check_page(made["report.html"].decode(), set(numbers))


def _check_sources(results: dict[str, Any], provenance: dict[str, Any], folder: Path) -> None:
    """Every source of every result is a sealed output with these bytes, and stands in provenance.json."""
    store = open_store(str(folder))
    sealed = {}
    for path in folder.glob("steps/*/*/manifest.json"):
        manifest = json.loads(path.read_bytes())
        for name, entry in manifest["outputs"].items():
            sealed[f"{manifest['job']}/{manifest['cell']}", name] = entry["digest"]
        sealed[f"{manifest['job']}/{manifest['cell']}", "manifest.json"] = sha256(path.read_bytes())
    code = "analysis/report/results.py"  # what sets the level of the intervals
    for name in (code, READER_WORTH):
        sealed["code", name] = sha256((ROOT / name).read_bytes())
    sources = {(s["step"], s["output"]): s["digest"] for result in results.values() for s in result["source"]}
    assert len(sources) >= 30
    for place, digest in sources.items():
        assert sealed[place] == digest
        assert (
            place[1] in ("manifest.json", code, READER_WORTH) or hashlib.sha256(store.get(digest)).hexdigest() == digest
        )
    told = provenance["sources"]
    assert {name: [told[at] for at in places] for name, places in provenance["numbers"].items()} == {
        name: result["source"] for name, result in results.items()
    }


def _check_page(page: str, numbers: set[str]) -> None:
    """Nothing is fetched: pictures are inside, links stay on the page, and every number in it is one of the results."""
    assert set(re.findall(r'<a href="(.)', page)) == {"#"}
    assert not re.findall(r'<(?:script|img|link|iframe)[^>]*(?:src|href)="(?!data:)', page)
    shown = re.findall(r'<data [^>]*data-key="([^"]*)"', page)
    assert len(shown) > 200 and set(shown) <= numbers
    assert len(page) < 3_000_000


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "without",
    [
        {"evaluate/toy.d0.eager.s1"},
        {"evaluate/toy.base"},
        {"audit/d0", "interpret/toy.d0", "monitor/toy.d0.cautious.s0", "steer/toy.d0", "selftest/toy.d0"},
        {f"evaluate/toy.d0.{attitude}.s{seed}" for attitude in ("cautious", "eager", "neutral") for seed in (0, 1)},
        {"finetune/toy.d0.eager.s0", "gate/toy.d0.eager.s0", "generate/d0"},
    ],
    ids=["a run", "the base", "inside", "all runs", "training"],
)
def test_gaps_are_listed_on_top_and_block(study: Study, without: set[str]) -> None:
    spec, folder = study(without)
    code, made = run(spec, folder)
    assert code == ExitCode.BLOCKED
    top, _, _ = made["REPORT.md"].decode().partition("**Does training")
    listed = " ".join(line for line in top.splitlines() if line.startswith("- "))
    evaluated = {step for step in without if step.startswith("evaluate/")}
    if len(evaluated) > NAMED_GAPS:
        assert f"`evaluate`: {len(evaluated)} steps" in listed
    else:
        assert set(re.findall("`([^`]*)`", listed)) == without
    assert f"**This report has gaps**: {len(without)} steps" in top


@pytest.mark.usefixtures("quick")
def test_number_without_source_fails_the_build(
    study: Study, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(inside, "read", lambda *_: [say("This took 3 days.")])
    spec, folder = study()
    code, made = run(spec, folder)
    assert code == ExitCode.BUG
    assert made == {}
    told = capfd.readouterr().err
    assert "UnboundNumber" in told
    assert "This took 3 days." in told


@pytest.mark.usefixtures("quick")
def test_altered_input_is_refused(study: Study, capfd: pytest.CaptureFixture[str]) -> None:
    spec, folder = study()
    (path,) = [p for p in folder.glob("blobs/sha256/*/*") if b'"refused_harmful"' in p.read_bytes()][:1]
    path.write_bytes(path.read_bytes().replace(b"0.5", b"0.6"))
    assert run(spec, folder) == (ExitCode.INPUT, {})
    assert "blob was altered" in capfd.readouterr().err


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("noted", [0, 2])
def test_results_say_what_they_were_made_under(
    study: Study, noted: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Lock, commit, whether files differ, and the head of the deviations: of all of them, or the lock's own digest."""
    spec, folder = study()
    monkeypatch.setattr("jobs.report.ROOT", tmp_path)
    monkeypatch.setattr("jobs.report.report.commit_and_dirty", lambda: ("c" * 40, True))
    store = open_store(str(folder))
    locked = store.manifest("lock", Keys(spec, catalog(), store).key("lock", STUDY))
    assert locked is not None
    digest = head = locked["outputs"]["lock.json"]["digest"]
    kept = tmp_path / "locks" / f"{spec.name}.deviations.jsonl"
    kept.parent.mkdir()
    for what in range(noted):
        row = Deviation(when="2026-01-01T00:00:00+00:00", what=str(what), why="x", lock=digest, before=head)
        with kept.open("ab") as file:
            file.write(to_jsonl([row]))
        head = sha256(kept.read_bytes())
    made = json.loads(run(spec, folder)[1]["results.json"])["made"]
    assert made == {"lock": digest, "commit": "c" * 40, "dirty": True, "deviations": head}


@pytest.mark.usefixtures("quick")
def test_results_of_a_study_without_a_lock_name_none(study: Study) -> None:
    made = json.loads(run(*study({"lock/study"}))[1]["results.json"])["made"]
    assert made["lock"] is None and made["deviations"] is None


def test_torch_is_not_imported() -> None:
    code = "import sys, jobs.report.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
