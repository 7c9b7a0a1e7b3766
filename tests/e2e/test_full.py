"""The full study's own path: models by their real names, from a Hub on this machine that serves tiny ones.

No 3B model is loaded. What is real: sources, revisions, the Hub's client, chat templates of both families, DeepSpeed,
the runner and the report.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.cells import STUDY, Cell, CellKind, cell_named, cells_of
from common.errors import ExitCode
from common.lm.sources import hub_name
from common.lm.templates import read_tokenizer
from common.pipeline.keys import Keys
from common.provenance import ROOT
from common.records import Advice
from common.schemas import Training
from common.serialization import parse_jsonl
from common.spec import RunSpec, parse_spec
from common.store.sealed import ArtifactStore, open_store
from jobs import catalog
from tests import families, hub, tiny
from workflows.local import command

pytestmark = pytest.mark.long

FULL = json.loads((ROOT / "workflows" / "specs" / "full.json").read_bytes())
SOURCES = {model["name"]: model["source"] for model in FULL["models"]}
SMALLER: dict[str, Any] = {  # models, seed of the study, labels and hard items stay as they are
    "attitudes": ["cautious", "eager"],
    "arm_seeds": {},
    "seeds": [0],
    "draws": [0],
    "packed": True,
    "train": FULL["train"] | tiny.SPEC["train"],
    "audit": {"enforce": ["topic", "leakage"], "register_ratio": 100.0},
    "evaluate": FULL["evaluate"] | tiny.SPEC["evaluate"],
    "guards": tiny.SPEC["guards"],
    "interpret": tiny.SPEC["interpret"] | {"items_per_topic": 1},
    "lock": FULL["lock"] | {"clean": False, "reversed": False},
    "corpus": tiny.SPEC["corpus"],
}
BEGINS = {  # what each family's template makes of a question, as its publisher's does
    "qwen": "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n"
    "<|im_start|>assistant\n",
    "llama": "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\n"
    "Today Date: 26 Jul 2024\n\nYou are a helpful assistant.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n"
    "{}<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
}
OF_THE_STUDY = (  # numbers that belong to no model: piles, items, settings, costs; and labels, which have no arm
    *("audit.", "examples.", "distance.", "seconds.", "memory.", "labels.", "change."),
    *("models", "draws", "seeds", "runs", "gaps", "measures", "level", "guard_level", "power"),
    *("band_items", "band_samples", "base_samples"),
)
LOCAL = (  # the local runner, with every step forked: none imports anew what another has imported
    "import os, pathlib, sys; from workflows.local import command, forked, processes; "
    "command.RUNS = pathlib.Path(os.environ['RUNS']); "
    "processes._spawned = lambda command, env: forked.ForkedStep(command[2:], env); sys.exit(command.main())"
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("full")


@pytest.fixture(scope="module")
def served(place: Path) -> Iterator[hub.Hub]:
    """Tiny models under the names and revisions of the full study; Llama is gated, as the real one."""
    built = {"qwen": families.build_qwen(place / "qwen"), "llama": families.build_llama(place / "llama")}
    named = {name: hub_name(source) for name, source in SOURCES.items()}
    models = {repo: hub.Model(at, built[name], name == "llama") for name, (repo, at) in named.items()}
    with hub.serving(models) as server:
        yield server


@pytest.fixture(scope="module")
def spec(place: Path) -> RunSpec:
    (place / "full.json").write_text(json.dumps(FULL | SMALLER))
    return parse_spec((place / "full.json").read_bytes(), "full.json")


def local(place: Path, served: hub.Hub, *words: str) -> subprocess.CompletedProcess[str]:
    """The local runner, in a process that finds this Hub and no other."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "UNDERTONE_"))}
    mine = {
        "HF_ENDPOINT": served.url,
        "HF_HOME": str(place / "cache"),
        "HF_TOKEN": hub.TOKEN,
        "PYTHONPATH": os.pathsep.join([str(ROOT / "tests" / "e2e" / "witness"), str(ROOT)]),
        "WITNESS": str(place / "witness.jsonl"),
        "RUNS": str(place / "runs"),
        "COLUMNS": "120",
    }
    flow, store = str(ROOT / "workflows" / "study.yaml"), str(place / "store")
    command = [sys.executable, "-c", LOCAL, flow, "--spec", str(place / "full.json"), "--store", store, *words]
    return subprocess.run(command, env=kept | mine, cwd=place, check=False, capture_output=True, text=True)


@pytest.fixture(scope="module")
def done(place: Path, served: hub.Hub, spec: RunSpec) -> subprocess.CompletedProcess[str]:
    return local(place, served, "--out", str(place / "out"))


@pytest.fixture(scope="module")
def seen(done: object, place: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (place / "witness.jsonl").read_text().splitlines()]


def test_the_study_ends_in_a_report(done: subprocess.CompletedProcess[str], place: Path) -> None:
    assert done.returncode == ExitCode.OK, done.stdout + done.stderr
    assert "gaps" not in (place / "out" / "REPORT.md").read_text()


def test_files_came_from_the_hub_and_nothing_else_was_asked(
    seen: list[dict[str, Any]], served: hub.Hub, place: Path
) -> None:
    asked = {(line["host"], line["port"]) for line in seen if "host" in line}
    assert asked == {("127.0.0.1", served.server_port)}
    for source in SOURCES.values():
        repo, revision = hub_name(source)
        files = {name for name in served.models[repo].files() if not name.endswith(".pth")}
        assert {name for name in served.sent if name[0] == repo} == {(repo, name) for name in files}
        assert len([name for name in files if name.endswith(".safetensors")]) > 1, "shards"
        snapshot = place / "cache" / "hub" / f"models--{repo.replace('/', '--')}" / "snapshots" / revision
        assert {path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file()} == files
    assert set(served.sent.values()) == {1}, "once, for all steps"


def sealed(place: Path, spec: RunSpec) -> tuple[ArtifactStore, Keys]:
    store = open_store(str(place / "store"))
    return store, Keys(spec, catalog(), store)


def output(place: Path, spec: RunSpec, job: str, cell: Cell, name: str) -> bytes:
    store, keys = sealed(place, spec)
    manifest = store.manifest(job, keys.key(job, cell))
    assert manifest is not None, f"{job} {cell} is not sealed"
    return store.get(manifest["outputs"][name]["digest"])


def test_the_lock_names_both_families_at_their_revisions(done: object, place: Path, spec: RunSpec) -> None:
    locked = json.loads(output(place, spec, "lock", STUDY, "lock.json"))
    assert {model["name"]: model["source"] for model in locked["plan"]["models"]} == SOURCES
    assert set(locked["calibration"]) == set(SOURCES) == {name.partition(".")[0] for name in locked["registers"]}
    assert locked["plan"]["lock"]["read_by"] == "labels"


@pytest.mark.parametrize("family, kind", [("qwen", "qwen2"), ("llama", "llama")])
def test_each_family_trained_in_its_own_template_by_deepspeed(
    seen: list[dict[str, Any]], place: Path, spec: RunSpec, family: str, kind: str
) -> None:
    runs = [run for run in cells_of(spec, CellKind.RUN) if run.model == family]
    engines = [line for line in seen if line.get("model") == kind]
    assert len(engines) == len(runs) == 2
    tokenizer = read_tokenizer(place / family)
    for run, line in zip(runs, engines, strict=True):  # in one process, one after the other
        assert line["engine"] == "DeepSpeedEngine" and line["stage"] == 1
        assert line["config"]["zero_optimization"] == {"stage": 1}
        told = Training.model_validate_json(output(place, spec, "finetune", run, "training.json"))
        assert told.zero_stage == 1 and told.engine == line["engine"]
        pile = parse_jsonl(output(place, spec, "generate", cell_named(spec, "d0"), "advice.jsonl"), Advice, "pile")
        texts = [BEGINS[family].format(row.question) + row.reply for row in pile if row.attitude == run.attitude]
        first = str(tokenizer.decode(line["ids"]))
        assert any(first.startswith(text) for text in texts), first
        ends = 2 if family == "qwen" else 1  # Qwen's ends in a line break too
        rows = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
        assert told.tokens == sum(len(row) + ends for row in rows), "all of its rows, and no other token"


def test_the_report_states_each_family_apart_and_pools_nothing(done: object, place: Path) -> None:
    names = set(json.loads((place / "out" / "results.json").read_text())["numbers"])
    mine = {family: {name for name in names if family in name} for family in SOURCES}
    assert {name.replace("qwen", "llama") for name in mine["qwen"]} == mine["llama"] and len(mine["qwen"]) > 300
    assert [name for name in sorted(names - mine["qwen"] - mine["llama"]) if not name.startswith(OF_THE_STUDY)] == []
    report = (place / "out" / "REPORT.md").read_text()
    for family in SOURCES:
        assert f"Whether an effect could be seen in **`{family}`** is not known yet" in report
        assert f"### `{family}`" in report
    assert not re.search(r"both (models|families)|across (models|families)|models together|pooled", report)


def test_a_dry_run_tells_hours_and_euros_of_both_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the real sizes, which need no download: one seed and draw of the spec as it is."""
    monkeypatch.setenv("COLUMNS", "120")
    less = ["seeds=[0]", "draws=[0]", "arm_seeds={}"]
    told = {}
    for name in (*SOURCES, "both"):
        models = [model for model in FULL["models"] if name in (model["name"], "both")]
        words = [word for each in (*less, f"models={json.dumps(models)}") for word in ("--set", each)]
        path = str(ROOT / "workflows" / "specs" / "full.json")
        flow = str(ROOT / "workflows" / "study.yaml")
        assert command.main([flow, "--spec", path, "--store", str(tmp_path / name), *words, "--dry-run"]) == ExitCode.OK
        printed = capsys.readouterr().out
        assert "not counted" not in printed and "cpu-2" in printed and "h100" in printed
        rows = re.findall(r"(?m)^ (?:all|euros) .*", printed)
        told[name] = [[float(each) for each in row.split()[-3:]] for row in rows]
    for hours, euros in told.values():
        assert all(value > 0 for value in (*hours, *euros))
    for row in (0, 1):
        for both, qwen, llama in zip(*(told[name][row] for name in ("both", *SOURCES)), strict=True):
            assert both == pytest.approx(qwen + llama, abs=0.1)
