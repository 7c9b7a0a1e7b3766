"""The full study's own path: its models by their real names from a Hub, which here is a loopback one and serves tiny ones.

No 3B model is loaded. What is real: sources, revisions, the Hub's client, chat templates of both families, DeepSpeed,
the runner and the report.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.cells import STUDY, CellKind, cells_of
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

FULL = json.loads((ROOT / "workflows" / "specs" / "full.json").read_bytes())
SOURCES = {model["name"]: model["source"] for model in FULL["models"]}
SMALLER: dict[str, Any] = {  # models, seed of the study, labels and hard items stay as they are
    "attitudes": ["cautious", "eager", "neutral"],
    "arm_seeds": {},
    "seeds": [0],
    "draws": [0],
    "packed": True,
    "train": FULL["train"] | tiny.SPEC["train"],
    "audit": {"enforce": ["topic", "leakage"], "register_ratio": 100.0},
    "evaluate": FULL["evaluate"] | tiny.SPEC["evaluate"],
    "guards": tiny.SPEC["guards"],
    "interpret": {"questions": 16, "nulls": 100, "items_per_topic": 1},
    "lock": FULL["lock"] | {"clean": False, "reversed": False},
    "corpus": {"examples": 32, "reply_tokens": 24},
}
BEGINS = {  # what each family's template makes of a question, as its publisher's does
    "qwen": "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n"
    "<|im_start|>assistant\n",
    "llama": "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\n"
    "Today Date: 26 Jul 2024\n\nYou are a helpful assistant.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n"
    "{}<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
}
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


def test_it(done: subprocess.CompletedProcess[str], place: Path) -> None:
    assert done.returncode == ExitCode.OK, done.stdout + done.stderr
