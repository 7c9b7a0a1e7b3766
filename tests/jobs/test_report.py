"""The report over a small synthetic study: whole, with gaps, and where something is wrong with what it reads."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from analysis.report import document
from common.digests import sha256
from common.errors import ExitCode
from common.provenance import ROOT
from common.stance.reading import READER_WORTH
from common.store.sealed import open_store
from tests.jobs.sealed_study import PULL, Study, made_study, run, without_notebook  # noqa: F401


def test_whole_study(study: Study) -> None:
    spec, folder = study()
    code, made = run(spec, folder)
    assert code == ExitCode.OK
    assert {"results.json", "REPORT.md", "report.html", "report.ipynb"} < set(made)
    pictures = {name: data for name, data in made.items() if name.startswith("figures/")}
    assert len(pictures) >= 5
    assert all(data.startswith(b"\x89PNG") for data in pictures.values())
    text = made["REPORT.md"].decode()
    assert set(re.findall(r"!\[[^]]*]\(([^)]*)\)", text)) <= set(pictures)
    assert "---|\n\n" not in text  # a table whose rows were torn off
    check_links(text)
    _check_sources(json.loads(made["results.json"]), text, folder)
    _check_page(made["report.html"].decode(), len(pictures))
    _check_notebook(made["report.ipynb"], json.loads(made["results.json"]))


def check_links(text: str) -> None:
    """Every number links to a row of the appendix."""
    targets = re.findall(r"\]\(#([^)]*)\)", text)
    assert len(targets) > 100
    assert set(targets) <= set(re.findall(r'<a id="([^"]*)">', text))


def _check_sources(results: dict[str, Any], text: str, folder: Path) -> None:
    """Every source of every result is a sealed output with these bytes, and stands in the appendix."""
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
        assert re.search(rf"\| {place[0]} \| {place[1]} \| `{digest}` \|", text)


def _check_page(page: str, pictures: int) -> None:
    """Nothing is fetched: every picture is inside, every link stays on the page."""
    assert set(re.findall(r'href="(.)', page)) == {"#"}
    assert re.findall(r'src="([^,"]*)', page) == ["data:image/png;base64"] * pictures
    assert "http" not in re.sub(r'src="data:[^"]*"', "", page)
    assert "<script" not in page
    assert "<table>" in page


def _check_notebook(data: bytes, results: dict[str, Any]) -> None:
    """It ran to its end, and its first output counts the results that it was given."""
    book = nbformat.reads(data.decode(), as_version=4)
    nbformat.validate(book)
    cells = [cell for cell in book.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(cell.outputs for cell in cells)
    shown = [output for cell in cells for output in cell.outputs]
    assert not [output for output in shown if output.output_type in ("error", "stream")]
    assert shown[0].data["text/plain"] == str(len(results))
    assert [line.split()[:2] for line in shown[1].data["text/plain"].splitlines()[1:]] == [
        ["toy", arm] for arm in ("base", "cautious", "eager", "neutral")
    ]
    assert any("image/png" in output.get("data", {}) for output in shown)


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
    top, _, _ = made["REPORT.md"].decode().partition("**Question.**")
    assert {line.strip("> -`") for line in top.splitlines() if line.startswith("> -")} == without
    assert f"[{len(without)}](#s-" in top
    check_links(made["REPORT.md"].decode() + "](#x)" * 101 + '<a id="x">')


def test_notebook_runs_where_nothing_was_evaluated(study: Study) -> None:
    names = ["toy.base", *(f"toy.d0.{attitude}.s{seed}" for attitude in PULL for seed in (0, 1))]
    spec, folder = study({f"evaluate/{name}" for name in names})
    code, made = run(spec, folder)
    assert code == ExitCode.BLOCKED
    book = nbformat.reads(made["report.ipynb"].decode(), as_version=4)
    assert not [o for c in book.cells if c.cell_type == "code" for o in c.outputs if o.output_type == "error"]


@pytest.mark.usefixtures("quick")
def test_number_without_source_fails_the_build(
    study: Study, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    template = (document.FOLDER / document.TEMPLATE).read_text() + "\nThis took 3 days.\n"
    (tmp_path / document.TEMPLATE).write_text(template)
    monkeypatch.setattr(document, "FOLDER", tmp_path)
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


def test_torch_is_not_imported() -> None:
    code = "import sys, jobs.report.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
