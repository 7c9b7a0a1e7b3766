"""The notebook over a published report: its numbers are the report's, and controls change them, in a browser too."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.report.charts import Bar
from analysis.report.study import Study
from analysis.stats.answers import plain, rates
from common.errors import InputError
from common.provenance import ROOT
from common.store.names import write_below
from jobs.report import turned
from tests.analysis.report.browser import SECONDS, chromium
from tests.jobs.sealed_study import TOPICS, no_drawings, run, study_in

NOTEBOOK = "jobs/report/notebook.py"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("turned")
    with pytest.MonkeyPatch.context() as patch:
        no_drawings(patch)
        _, made = run(*study_in(place, seeds=[0, 1, 2]))
    write_below(place / "report", made)
    return place / "report"


@pytest.fixture(scope="module")
def study(report: Path) -> Study:
    return turned.opened(report)


def test_some_topics_have_the_numbers_of_their_rows(study: Study) -> None:
    assert sorted(turned.topics_of(study)) == sorted(TOPICS)
    kept = list(TOPICS[:2])
    facts = turned.facts_of(turned.narrowed(study, kept, ["cautious", "eager"]))
    rows = [
        row
        for each in study.runs
        if each.attitude == "eager" and each.scored
        for row in plain(each.scored.answers, "held-out")
        if row.topic in kept
    ]
    assert facts.v("netgo.toy.eager.held-out") == pytest.approx(rates(rows).net)
    assert facts.v("netgo.toy.eager.held-out") != turned.facts_of(study).v("netgo.toy.eager.held-out")
    assert "netgo.toy.neutral.held-out" not in facts and facts.v("topics.toy") == 2
    assert facts.v("netgo.toy.eager.source") == turned.facts_of(study).v("netgo.toy.eager.source"), "they stay"


def test_one_topic_is_too_few(study: Study) -> None:
    with pytest.raises(InputError, match="too few topics"):
        turned.narrowed(study, TOPICS[:1], ["eager"])


def test_a_run_that_was_asked_nothing_of_these_topics_is_named(study: Study) -> None:
    first, *others = study.runs
    assert first.scored is not None
    part = [row for row in first.scored.choices if row.topic == TOPICS[3]]
    cut = replace(study, runs=[replace(first, scored=replace(first.scored, choices=part)), *others])
    with pytest.raises(InputError, match=f"asked no item of these topics, {first.cell}: "):
        turned.narrowed(cut, TOPICS[:2], [first.attitude])


def test_a_contrast_is_within_or_beyond_a_margin_or_neither() -> None:
    bar = Bar("eager less neutral", "net go", 5.0, 2.0, 8.0, "", "+5.0 points")
    found = {
        margin: turned.verdicts({"m": [bar._replace(bound=margin)]})[0].verdict for margin in (1.0, 2.0, 5.0, 8.0, 9.0)
    }
    assert found == {1.0: "beyond", 2.0: "cannot say", 5.0: "cannot say", 8.0: "cannot say", 9.0: "within"}
    below = bar._replace(value=-5.0, low=-8.0, high=-2.0, bound=1.0)
    assert turned.verdicts({"m": [below]})[0].verdict == "beyond"


def test_each_measure_has_its_contrasts(study: Study) -> None:
    facts = turned.facts_of(study)
    for measure in turned.measures():
        (found,) = turned.held(facts, measure, 7.0).values()
        assert {"cautious less neutral", "eager less neutral", "eager less cautious"} <= {bar.name for bar in found}
        assert {bar.bound for bar in found} == {7.0} and len({bar.group for bar in found}) == 1


@pytest.mark.long
def test_it_runs_to_its_end_and_tells_where_there_are_no_rows(report: Path, tmp_path: Path) -> None:
    for folder, fails in ((report, False), (tmp_path, True)):
        command = [sys.executable, NOTEBOOK, "--", "--report", str(folder)]
        made = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False)
        assert bool(made.returncode) == fails, made.stderr[-500:]
        assert ("no rows are published" in made.stderr) == fails


@pytest.fixture(scope="module")
def address(report: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The notebook, served on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["run", NOTEBOOK, "--headless", "--no-token", "--host", "127.0.0.1", "--port", str(port)]
    command = [sys.executable, "-m", "marimo", *words, "--", "--report", str(report)]
    home = {"HOME": str(tmp_path_factory.mktemp("home"))}
    with subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT | home, stdout=subprocess.DEVNULL) as served:
        try:
            wait_for(f"http://127.0.0.1:{port}/health")
            yield f"http://127.0.0.1:{port}"
        finally:
            served.terminate()


def wait_for(url: str) -> None:
    for _ in range(240):
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    pytest.fail(f"nothing answers at {url}")


@pytest.mark.long
def test_controls_change_the_figures_in_a_browser(address: str) -> None:
    with chromium() as browser:
        page = browser.new_page()
        page.set_default_timeout(SECONDS)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        page.goto(address)
        page.wait_for_selector("[data-figure=margin-toy] svg")
        for change in (
            lambda: page.get_by_role("slider").press("ArrowRight"),
            lambda: page.locator("select").first.select_option(index=3),
        ):
            before = page.locator("[data-figure=margin-toy]").inner_html()
            change()
            page.wait_for_function(
                "was => ![was, undefined].includes(document.querySelector('[data-figure=margin-toy]')?.innerHTML)",
                arg=before,
            )
        assert page.locator("[data-figure]").count() >= 6
        assert [error for error in errors if "favicon" not in error] == []
