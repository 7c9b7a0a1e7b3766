"""The YAML, the jobs and the schema must say the same thing; each disagreement fails with both names."""

import gzip
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from common.cells import CellKind, cells_of
from common.errors import RETRYABLE
from common.provenance import ROOT
from common.spec import RunSpec, override, parse_spec
from jobs import catalog
from workflows.local.template import dependencies, read_template, retry_of

STUDY = ROOT / "workflows" / "study.yaml"
SPEC = yaml.safe_load(STUDY.read_text())["spec"]
TEMPLATES: dict[str, dict[str, Any]] = {template["name"]: template for template in SPEC["templates"]}
LEAVES = {name: template for name, template in TEMPLATES.items() if "container" in template}
ARGS = ["--spec", "{{inputs.parameters.spec}}", "--cell", "{{inputs.parameters.cell}}"]
ARGS += ["--store", "{{workflow.parameters.store}}"]


def test_the_file_passes_argos_strict_schema():
    schemas = json.loads(gzip.decompress((Path(__file__).parent / "argo-v4.1.2.schema.json.gz").read_bytes()))
    validator = jsonschema.Draft202012Validator(schemas["WorkflowTemplate"])
    whole = yaml.safe_load(STUDY.read_text())
    assert list(validator.iter_errors(whole)) == []
    whole["spec"]["templates"][0]["retrys"] = {}
    assert len(list(validator.iter_errors(whole))) == 1, "the schema must be strict, or this test shows nothing"


def test_there_is_one_container_template_for_each_job():
    assert set(LEAVES) == set(catalog()) and len(LEAVES) == 14
    folders = {path.parent.name for path in (ROOT / "jobs").glob("*/__main__.py")}
    assert folders == set(LEAVES)


@pytest.mark.parametrize("name", sorted(LEAVES))
def test_a_template_runs_its_job_with_the_three_arguments(name):
    container = LEAVES[name]["container"]
    assert container["command"] == ["python", "-m", f"jobs.{name}"]
    assert container["args"] == ARGS
    assert LEAVES[name]["inputs"] == {"parameters": [{"name": "cell"}, {"name": "spec"}]}


@pytest.mark.parametrize("name", sorted(LEAVES))
def test_a_template_uses_the_image_of_its_job_and_states_resources(name):
    container = LEAVES[name]["container"]
    assert container["image"] == f"undertone/{catalog()[name].image}:dev"
    assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
    assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("name", sorted(LEAVES))
def test_a_template_retries_exactly_the_retryable_exit_codes(name):
    assert retry_of(LEAVES[name]).codes == {int(code) for code in RETRYABLE}


def test_retries_sit_on_leaves_only():
    assert "templateDefaults" not in SPEC and "retryStrategy" not in SPEC
    assert [name for name, template in TEMPLATES.items() if "dag" in template and "retryStrategy" in template] == []


@pytest.mark.parametrize("name", sorted(LEAVES))
def test_a_template_is_restricted_and_labelled(name):
    template, security = LEAVES[name], LEAVES[name]["container"]["securityContext"]
    assert security["allowPrivilegeEscalation"] is False and security["readOnlyRootFilesystem"] is True
    assert security["capabilities"] == {"drop": ["ALL"]} and security["runAsNonRoot"] is True
    labels = template["metadata"]["labels"]
    assert labels["undertone.dev/stage"] == name and "undertone.dev/cell" in labels
    assert re.fullmatch(r"\d+[smh]", template["timeout"])


def test_output_parameters_are_those_that_the_jobs_declare():
    for name, template in LEAVES.items():
        declared = [parameter["name"] for parameter in template.get("outputs", {}).get("parameters", [])]
        assert tuple(declared) == catalog()[name].parameters, name
        shown = [Path(artifact["path"]).name for artifact in template.get("outputs", {}).get("artifacts", [])]
        assert tuple(shown) == catalog()[name].shows, name


def ancestors(tasks: list[dict[str, Any]], name: str) -> set[str]:
    (task,) = [task for task in tasks if task["name"] == name]
    direct = dependencies(task)
    return direct.union(*(ancestors(tasks, before) for before in direct))


def test_every_job_runs_after_those_that_it_reads():
    study, run = (TEMPLATES[name]["dag"]["tasks"] for name in ("study", "one-run"))
    template_of = {task["name"]: task["template"] for task in (*study, *run)}
    before_runs = {template_of[name] for name in ancestors(study, "run")}
    seen = 0
    for tasks, outer in ((study, set()), (run, before_runs)):
        for task in tasks:
            if task["template"] == "one-run":
                continue
            done = {template_of[name] for name in ancestors(tasks, task["name"])} | outer
            if "one-run" in done:
                done |= {inner["template"] for inner in run}
            job = catalog()[task["template"]]
            wanted = {read.job for read in job.reads if _reads_something(read, task["name"])}
            assert wanted <= done, f"{task['name']} reads {wanted - done} but does not wait for it"
            seen += 1
    assert seen == 16


def _reads_something(read: Any, task: str) -> bool:
    """Whether a task's cells make a job read: a base has no adapter, a direction cell makes its own direction."""
    spec = demo()
    kinds = {"baseline": CellKind.BASE} | dict.fromkeys(("direction", "selftest", "steer"), CellKind.DIRECTION)
    cells = {"plan": CellKind.STUDY, "lock": CellKind.STUDY, "report": CellKind.STUDY, "distill": CellKind.DISTILLED}
    cells |= {"generate": CellKind.DRAW, "audit": CellKind.DRAW}
    cell = cells_of(spec, kinds.get(task) or cells.get(task) or CellKind.RUN)[0]
    return bool(read.cells(spec, cell))


def demo() -> RunSpec:
    """The demo with every kind of cell."""
    path = ROOT / "workflows" / "specs" / "demo.json"
    arms = ["cautious", "eager", "neutral", "scrambled", "distilled"]
    return parse_spec(override(path.read_bytes(), path.name, {"attitudes": arms, "steer.enabled": True}), path.name)


@pytest.mark.parametrize("path", sorted((ROOT / "workflows" / "specs").glob("*.json")), ids=lambda path: path.stem)
def test_every_spec_parses_and_its_cells_fit_a_label(path):
    spec = parse_spec(path.read_bytes(), path.name)
    cells = [str(cell) for kind in CellKind for cell in cells_of(spec, kind)]
    assert len(cells) == len(set(cells)) >= 6
    assert all(len(cell) <= 63 and re.fullmatch(r"[a-z0-9][a-z0-9.-]*[a-z0-9]", cell) for cell in cells)


def test_the_full_study_names_two_families_with_pinned_revisions_and_dates():
    models = parse_spec((ROOT / "workflows" / "specs" / "full.json").read_bytes(), "full.json").models
    assert [model.source.partition("@")[0] for model in models] == [
        "hf:Qwen/Qwen2.5-3B-Instruct",
        "hf:meta-llama/Llama-3.2-3B-Instruct",
    ]
    assert all(model.date_string for model in models)


def test_the_local_runner_understands_the_file():
    assert len(read_template(STUDY)["templates"]) == len(TEMPLATES) == 16
