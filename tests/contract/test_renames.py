"""The vocabulary changed no number: a study sealed before, read through the map of renames, reports the same."""

import gzip
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from common.cells import STUDY, cell_named
from common.errors import ExitCode
from common.logs import Log
from common.pipeline.command import run_job
from common.pipeline.keys import Keys
from common.pipeline.step import Step
from common.spec import parse_spec
from common.store.sealed import open_store
from jobs import catalog
from jobs.report.report import main as report
from tests import tiny
from tests.contract.renames import FIGURES, renamed_number, renamed_output, renamed_spec

BEFORE: dict[str, Any] = json.loads(gzip.decompress(Path(__file__).with_name("before-renames.json.gz").read_bytes()))
# A model of random weights gives no valid choice, so one figure has nothing to put into its legend.
pytestmark = pytest.mark.filterwarnings("ignore:No artists with labels")
OF_THE_RUN = re.compile(r"^(seconds|memory)\.")  # times and memory are those of the manifests, which are made anew


@pytest.fixture(scope="module")
def after(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], set[str]]:
    """The numbers and the names of the figures that the present code makes of the rows sealed before."""
    folder = tmp_path_factory.mktemp("renames")
    model = tiny.build_model(folder / "model")
    text = json.dumps(renamed_spec(BEFORE["spec"])).replace("here/model", str(model))
    (folder / "spec.json").write_text(text)
    spec, store = parse_spec(text.encode(), "spec"), open_store(str(folder / "store"))
    for job in ("plan", *(name for name in catalog() if name not in ("plan", "report"))):
        for cell_name, outputs in BEFORE["steps"].get(job, {}).items():
            keys = Keys(spec, catalog(), store)
            step = Step(catalog()[job], cell_named(spec, cell_name), spec, store, keys, Log(job, cell_name))
            for name, content in outputs.items():
                step.write_bytes(name, renamed_output(name, content).encode())
            step.seal(ExitCode.OK, "2026-01-01T00:00:00+00:00", 1.0)
    words = ["--spec", str(folder / "spec.json"), "--cell", "study", "--store", str(folder / "store")]
    assert run_job(catalog()["report"], report, catalog(), words) == ExitCode.OK
    sealed = store.manifest("report", Keys(spec, catalog(), store).key("report", STUDY))
    assert sealed is not None
    numbers: dict[str, Any] = json.loads(store.get(sealed["outputs"]["results.json"]["digest"]))
    return numbers, {name for name in sealed["outputs"] if name.startswith("figures/")}


def test_every_number_is_what_it_was_under_its_present_name(after: tuple[dict[str, Any], set[str]]) -> None:
    numbers, _ = after
    old = json.loads(BEFORE["steps"]["report"]["study"]["results.json"])
    assert {renamed_number(name) for name in old} == set(numbers)
    compared = 0
    for name, number in old.items():
        for part in ("value", "low", "high") if not OF_THE_RUN.search(name) else ():
            was, now = number.get(part), numbers[renamed_number(name)].get(part)
            assert (was is None) == (now is None), name
            assert was is None or math.isclose(was, now, rel_tol=1e-9, abs_tol=1e-12), name
            compared += was is not None
        assert number["unit"] == numbers[renamed_number(name)]["unit"]
    assert compared > 400


def test_figures_are_those_that_were(after: tuple[dict[str, Any], set[str]]) -> None:
    assert after[1] == {FIGURES.get(name, name) for name in BEFORE["figures"]} and len(after[1]) > 5


def test_the_map_renames_something_of_each_kind() -> None:
    old = json.loads(BEFORE["steps"]["report"]["study"]["results.json"])
    assert sum(renamed_number(name) != name for name in old) > 10
    changed = {
        name
        for cells in BEFORE["steps"].values()
        for outputs in cells.values()
        for name, text in outputs.items()
        if name.endswith(".json") and json.loads(renamed_output(name, text)) != json.loads(text)
    }
    assert {"readout.json", "drift.json", "verdict.json", "steering.json", "selftest.json", "lock.json"} <= changed
    assert renamed_spec(BEFORE["spec"]) != BEFORE["spec"]
