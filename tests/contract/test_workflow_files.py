"""The YAML, the jobs and the schema must say the same thing; each disagreement fails with both names."""

import gzip
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

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
WHOLE: dict[str, Any] = yaml.safe_load(STUDY.read_text())
RELEASE: dict[str, Any] = yaml.safe_load((ROOT / "workflows" / "release.yaml").read_text())
SPEC = WHOLE["spec"]
TEMPLATES: dict[str, dict[str, Any]] = {template["name"]: template for template in SPEC["templates"]}
LEAVES = {name: template for name, template in TEMPLATES.items() if "container" in template}
ARGS = ["--spec", "{{inputs.parameters.spec}}", "--cell", "{{inputs.parameters.cell}}"]
ARGS += ["--store", "{{inputs.parameters.store}}"]
INPUTS = {name: ["cell", "spec", "store"] for name in LEAVES} | {"publish": ["cell", "spec", "store", "releases"]}


def test_the_file_passes_argos_strict_schema() -> None:
    schemas = json.loads(gzip.decompress((Path(__file__).parent / "argo-v4.1.2.schema.json.gz").read_bytes()))
    validator = jsonschema.Draft202012Validator(schemas["WorkflowTemplate"])
    whole = yaml.safe_load(STUDY.read_text())
    assert list(validator.iter_errors(whole)) == []
    whole["spec"]["templates"][0]["retrys"] = {}
    assert len(list(validator.iter_errors(whole))) == 1, "the schema must be strict, or this test shows nothing"


def test_there_is_one_container_template_for_each_job() -> None:
    assert set(LEAVES) == set(catalog()) and len(LEAVES) == 17
    folders = {path.parent.name for path in (ROOT / "jobs").glob("*/__main__.py")}
    assert folders == set(LEAVES)


@pytest.mark.parametrize("name", sorted(LEAVES))
def test_a_template_runs_its_job_with_the_three_arguments(name: str) -> None:
    container = LEAVES[name]["container"]
    assert container["command"] == ["python", "-m", f"jobs.{name}"]
    assert container["args"] == ARGS
    assert LEAVES[name]["inputs"] == {"parameters": [{"name": each} for each in INPUTS[name]]}


@pytest.mark.parametrize("name", sorted(LEAVES))
def test_a_template_uses_the_image_of_its_job_and_states_resources(name: str) -> None:
    container = LEAVES[name]["container"]
    assert container["image"] == f"undertone/{catalog()[name].image}:dev"
    assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
    assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("name", sorted(LEAVES))
def test_a_template_retries_exactly_the_retryable_exit_codes(name: str) -> None:
    assert retry_of(LEAVES[name]).codes == {int(code) for code in RETRYABLE}


@pytest.mark.parametrize("name", sorted(LEAVES))
def test_a_pod_that_was_taken_away_is_begun_again_and_one_that_never_starts_fails(name: str) -> None:
    """Evicted before it began, its node has the status Error and no exit code; without its image it stays pending."""
    retry = LEAVES[name]["retryStrategy"]
    assert 'lastRetry.status == "Error" ||' in retry["expression"] and int(retry["limit"]) >= 1
    assert LEAVES[name]["pendingTimeout"] == "1h"


def test_retries_sit_on_leaves_only() -> None:
    assert "templateDefaults" not in SPEC and "retryStrategy" not in SPEC
    assert [name for name, template in TEMPLATES.items() if "dag" in template and "retryStrategy" in template] == []


@pytest.mark.parametrize("name", sorted(LEAVES))
def test_a_template_is_restricted_and_labelled(name: str) -> None:
    template, security = LEAVES[name], LEAVES[name]["container"]["securityContext"]
    assert security["allowPrivilegeEscalation"] is False and security["readOnlyRootFilesystem"] is True
    assert security["capabilities"] == {"drop": ["ALL"]} and security["runAsNonRoot"] is True
    labels = template["metadata"]["labels"]
    assert labels["undertone.dev/stage"] == name and "undertone.dev/cell" in labels
    assert re.fullmatch(r"\d+[smh]", template["timeout"])


def test_output_parameters_are_those_that_the_jobs_declare() -> None:
    for name, template in LEAVES.items():
        declared = [parameter["name"] for parameter in template.get("outputs", {}).get("parameters", [])]
        assert tuple(declared) == catalog()[name].parameters, name
        shown = [Path(artifact["path"]).name for artifact in template.get("outputs", {}).get("artifacts", [])]
        assert tuple(shown) == catalog()[name].shows, name


# --- edges: who waits for whom, and what is handed over

FROM_PLAN = {  # the lists that the plan hands over, and the kind of their cells
    "draws": CellKind.DRAW,
    "distilled": CellKind.DISTILLED,
    "bases": CellKind.BASE,
    "directions": CellKind.DIRECTION,
    "runs": CellKind.RUN,
    "steered": CellKind.DIRECTION,
    "traced": CellKind.RUN,
    "judged_bases": CellKind.BASE,
    "judged_runs": CellKind.RUN,
}
Made = tuple[str, CellKind]  # a job, on all cells of a kind


class Leaf(NamedTuple):
    """A task that runs a job: on which cells, what is done before it, and what it is given."""

    name: str
    job: str
    kind: CellKind
    before: set[Made]
    given: dict[str, Any]
    wanted: dict[str, Any]  # what it must be given


class Source(NamedTuple):
    """What the outermost tasks of a file hand on."""

    entry: str  # the DAG
    text: Any  # of the spec, to the plan
    store: str
    releases: str = ""


FROM_MAP = {"configMapKeyRef": {"name": "undertone-specs", "key": "{{inputs.parameters.spec}}"}}
SOURCES = {
    "study": Source("study", "{{inputs.parameters.text}}", "{{workflow.parameters.store}}"),
    "release": Source("release", FROM_MAP, "{{inputs.parameters.store}}", "{{inputs.parameters.releases}}"),
}


def ancestors(tasks: list[dict[str, Any]], name: str) -> set[str]:
    (task,) = [task for task in tasks if task["name"] == name]
    direct = dependencies(task)
    return direct.union(*(ancestors(tasks, before) for before in direct))


def arguments(task: dict[str, Any]) -> dict[str, Any]:
    given = task["arguments"]["parameters"]
    return {each["name"]: each["value"] if "value" in each else each["valueFrom"] for each in given}


def kind_of(task: dict[str, Any]) -> CellKind:
    """The cells of a task: those of the list that it fans out over, or else the study."""
    if "withParam" not in task:
        return CellKind.STUDY
    listed = re.fullmatch(r"\{\{tasks\.plan\.outputs\.parameters\.(\w+)\}\}", task["withParam"])
    assert listed is not None and "plan" in dependencies(task), task
    return FROM_PLAN[listed[1]]


def job_of(task: dict[str, Any]) -> str:
    """What a task runs: a template of this file, or of the study."""
    if "templateRef" in task:
        assert task["templateRef"]["name"] == "study", task
        return str(task["templateRef"]["template"])
    return str(task["template"])


def leaves_of(whole: dict[str, Any]) -> list[Leaf]:
    """Every task of a file that runs a job, those of the DAG below the outermost included."""
    source = SOURCES[whole["metadata"]["name"]]
    dags = {t["name"]: t["dag"]["tasks"] for t in whole["spec"]["templates"] if "dag" in t}
    outer = dags[source.entry]

    def made(name: str) -> set[Made]:
        (task,) = [task for task in outer if task["name"] == name]
        jobs = [job_of(inner) for inner in dags[task["template"]]] if task.get("template") in dags else [job_of(task)]
        return {(job, kind_of(task)) for job in jobs}

    found: list[Leaf] = []
    for task in outer:
        before = set().union(*(made(name) for name in ancestors(outer, task["name"])))
        item = "{{item}}" if "withParam" in task else "study"
        spec = source.text if task["name"] == "plan" else "{{tasks.plan.outputs.parameters.spec}}"
        wanted, kind = {"cell": item, "spec": spec, "store": source.store}, kind_of(task)
        if task.get("template") not in dags:
            found.append(Leaf(task["name"], job_of(task), kind, before, arguments(task), wanted))
            continue
        assert arguments(task) == wanted | ({"releases": source.releases} if source.releases else {}), task
        inner = dags[task["template"]]
        for step in inner:
            done = {(job_of(each), kind) for each in inner if each["name"] in ancestors(inner, step["name"])}
            passed = {name: f"{{{{inputs.parameters.{name}}}}}" for name in INPUTS[job_of(step)]}
            found.append(Leaf(step["name"], job_of(step), kind, before | done, arguments(step), passed))
    return found


def read_by(job: str, kind: CellKind) -> set[Made]:
    """What a job reads on any cell of a kind: a base has no adapter, a direction cell makes its own direction."""
    spec, reads = demo(), catalog()[job].reads
    return {(read.job, of.kind) for cell in cells_of(spec, kind) for read in reads for of in read.cells(spec, cell)}


def needed(job: str, kind: CellKind) -> set[Made]:
    """A job and all that must be made before it, at any distance. The plan lists the cells of everything."""
    found, waiting = {("plan", CellKind.STUDY)}, [(job, kind)]
    while waiting:
        found.add(made := waiting.pop())
        waiting += read_by(*made) - found
    return found


def complaints(whole: dict[str, Any], wanted: set[Made]) -> list[str]:
    """What is wrong with the tasks of a file that is to make all of `wanted`, and nothing else."""
    leaves, wrong = leaves_of(whole), []
    for leaf in leaves:
        if leaf.job not in catalog() or leaf.kind not in catalog()[leaf.job].kinds:
            wrong.append(f"{leaf.name} runs {leaf.job}, which is no job on {leaf.kind} cells")
        elif missed := read_by(leaf.job, leaf.kind) - leaf.before:
            wrong.append(f"{leaf.name} reads {missed} but does not wait for it")
        if leaf.given != leaf.wanted:
            wrong.append(f"{leaf.name} is given {leaf.given} and not {leaf.wanted}")
    made = Counter((leaf.job, leaf.kind) for leaf in leaves)
    wrong += [f"{made[each]} tasks, not one, make {each}" for each in wanted if made[each] != 1]
    return wrong + [f"nobody asked for {each}" for each in made if each not in wanted]


EVERYTHING = {(job.name, kind) for job in catalog().values() for kind in job.kinds if job.name != "publish"}


def test_every_job_runs_once_for_each_kind_of_cell_and_after_those_that_it_reads() -> None:
    assert len(EVERYTHING) == len(leaves_of(WHOLE)) == 19
    assert sum(len(read_by(*each)) for each in EVERYTHING) == 46
    assert complaints(WHOLE, EVERYTHING) == []


def test_a_release_makes_what_publishing_needs_and_nothing_else() -> None:
    wanted = needed("publish", CellKind.RUN)
    before = {"plan", "generate", "distill", "audit", "register", "evaluate", "lock", "finetune", "gate"}
    assert {job for job, _ in wanted} == before | {"publish"}
    assert len(wanted) == len(leaves_of(RELEASE)) == 11
    assert complaints(RELEASE, wanted) == []


def test_a_release_has_no_template_of_a_job_of_its_own() -> None:
    templates = RELEASE["spec"]["templates"]
    assert [template["name"] for template in templates if "dag" in template] == ["submitted", "release", "candidate"]
    assert len(templates) == 3


# --- from another Workflow

FOREIGN = re.compile(r"\{\{=?.*?workflow\.(?!name)")  # what a Workflow that refers to a template need not have


def test_what_another_workflow_refers_to_needs_nothing_of_that_workflow() -> None:
    """No parameter, volume, account or right of the caller's: each template brings its own."""
    referred = [template for template in RELEASE["spec"]["templates"] if template["name"] != "submitted"]
    for template in [*referred, *LEAVES.values()]:
        assert not FOREIGN.search(json.dumps(template)), template["name"]
    assert FOREIGN.search(json.dumps(TEMPLATES["study"])), "the check itself finds it"
    for name, leaf in LEAVES.items():
        mounted = {mount["name"] for mount in leaf["container"]["volumeMounts"]}
        assert mounted == {volume["name"] for volume in leaf["volumes"]} == {"undertone-tmp", "undertone-scratch"}, name
        assert leaf["securityContext"]["runAsNonRoot"] is True and leaf["executor"], name
    for kind in ("study", "release"):
        whole = WHOLE if kind == "study" else RELEASE
        assert not {"volumes", "serviceAccountName", "securityContext", "executor"} & whole["spec"].keys()


def test_a_release_has_a_default_for_all_that_it_is_given_and_one_only() -> None:
    templates = {template["name"]: template for template in RELEASE["spec"]["templates"]}
    taken = templates["release"]["inputs"]["parameters"]
    assert [parameter["name"] for parameter in taken] == ["spec", "store", "releases"]
    assert all(parameter["value"] for parameter in taken)
    assert taken == RELEASE["spec"]["arguments"]["parameters"]
    (task,) = templates["submitted"]["dag"]["tasks"]
    assert arguments(task) == {each["name"]: f"{{{{workflow.parameters.{each['name']}}}}}" for each in taken}


def test_a_verdict_that_is_no_pass_still_ends_in_publish_which_says_why() -> None:
    assert task_of(RELEASE, "publish")["depends"] == "finetune && (gate.Succeeded || gate.Failed)"
    handed = {each["name"]: each["valueFrom"] for each in LEAVES["publish"]["outputs"]["parameters"]}
    assert handed.keys() == {"release", "reason"} and all("default" in source for source in handed.values())
    env = {each["name"]: each.get("value") for each in LEAVES["publish"]["container"]["env"]}
    assert env == {"OMP_NUM_THREADS": None, "UNDERTONE_RELEASES": "{{inputs.parameters.releases}}"}


def task_of(whole: dict[str, Any], name: str) -> dict[str, Any]:
    dags = [template["dag"]["tasks"] for template in whole["spec"]["templates"] if "dag" in template]
    found: list[dict[str, Any]] = [task for tasks in dags for task in tasks if task["name"] == name]
    (task,) = found
    return task


def drop(whole: dict[str, Any], name: str) -> None:
    """Take a task away, and its name from every `depends`."""
    for template in whole["spec"]["templates"]:
        if "dag" in template:
            template["dag"]["tasks"] = [task for task in template["dag"]["tasks"] if task["name"] != name]
            for task in template["dag"]["tasks"]:
                if "depends" in task:
                    rest = [each for each in task["depends"].split(" && ") if not re.search(rf"\b{name}\b", each)]
                    task |= {"depends": " && ".join(rest)}


def refer(whole: dict[str, Any], name: str, template: str) -> None:
    task_of(whole, name)["templateRef"] = {"name": "study", "template": template}


def swap(whole: dict[str, Any], one: str, other: str) -> None:
    before = job_of(task_of(whole, one)), job_of(task_of(whole, other))
    refer(whole, one, before[1])
    refer(whole, other, before[0])


MISTAKES = {
    "a task is dropped": lambda whole: drop(whole, "audit"),
    "the task of the bases is dropped": lambda whole: drop(whole, "baseline"),
    "the gate is dropped": lambda whole: drop(whole, "gate"),
    "nothing is published": lambda whole: drop(whole, "publish"),
    "another place for releases": lambda whole: task_of(whole, "publish")["arguments"]["parameters"][3].update(
        value="s3://elsewhere"
    ),
    "published before it is judged": lambda whole: task_of(whole, "publish").update(depends="finetune"),
    "two templates are swapped": lambda whole: swap(whole, "generate", "audit"),
    "two templates inside are swapped": lambda whole: swap(whole, "finetune", "evaluate"),
    "a template that is none": lambda whole: refer(whole, "lock", "lokc"),
    "a job too many": lambda whole: refer(whole, "gate", "monitor"),
    "does not wait": lambda whole: task_of(whole, "lock").update(depends="plan && generate && distill && audit"),
    "does not wait inside": lambda whole: task_of(whole, "evaluate").pop("depends"),
    "the runs do not wait": lambda whole: task_of(whole, "candidate").update(depends="plan"),
    "another list": lambda whole: task_of(whole, "audit").update(withParam="{{tasks.plan.outputs.parameters.bases}}"),
    "another spec": lambda whole: task_of(whole, "gate")["arguments"]["parameters"][1].update(
        value="{{workflow.parameters.spec}}"
    ),
    "another cell": lambda whole: task_of(whole, "lock")["arguments"]["parameters"][0].update(value="demo"),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=list(MISTAKES))
def test_the_check_of_edges_itself_finds_mistakes(mistake: Any) -> None:
    whole = yaml.safe_load(json.dumps(RELEASE))  # a copy without anchors
    wanted = needed("publish", CellKind.RUN)
    assert complaints(whole, wanted) == []
    mistake(whole)
    assert complaints(whole, wanted)


def demo() -> RunSpec:
    """The demo with every kind of cell."""
    path = ROOT / "workflows" / "specs" / "demo.json"
    arms = ["cautious", "eager", "neutral", "scrambled", "distilled"]
    judge = {"url": "http://localhost/v1", "model": "m"}
    changes = {"attitudes": arms, "steer.enabled": True, "judge": judge}
    return parse_spec(override(path.read_bytes(), path.name, changes), path.name)


@pytest.mark.parametrize("path", sorted((ROOT / "workflows" / "specs").glob("*.json")), ids=lambda path: path.stem)
def test_every_spec_parses_and_its_cells_fit_a_label(path: Path) -> None:
    spec = parse_spec(path.read_bytes(), path.name)
    cells = [str(cell) for kind in CellKind for cell in cells_of(spec, kind)]
    assert len(cells) == len(set(cells)) >= 6
    assert all(len(cell) <= 63 and re.fullmatch(r"[a-z0-9][a-z0-9.-]*[a-z0-9]", cell) for cell in cells)


def test_the_full_study_names_two_families_with_pinned_revisions_and_dates() -> None:
    models = parse_spec((ROOT / "workflows" / "specs" / "full.json").read_bytes(), "full.json").models
    assert [model.source.partition("@")[0] for model in models] == [
        "hf:Qwen/Qwen2.5-3B-Instruct",
        "hf:meta-llama/Llama-3.2-3B-Instruct",
    ]
    assert all(model.date_string for model in models)


def test_the_local_runner_understands_the_file() -> None:
    assert len(read_template(STUDY)["templates"]) == len(TEMPLATES) == 19
