"""Pin what each job is: its version, the digest of its code, and the digest of what it makes of the tiny model.

    python -m tests.pins raise JOB…   its outputs may change: raise its version, so that no old result is reused
    python -m tests.pins equal JOB…   only its code changed: accepted if it makes the same bytes of the tiny model
    python -m tests.pins outputs      print the digest of each job's outputs on the tiny model

`jobs/versions.json` holds the pins. The code of a job is every module of this project that it imports, near or far,
without comments and docstrings. Outputs are compared without what differs from run to run: times, speeds, commits.
Arithmetic differs between processors in the last digits. So outputs are made with plain instructions, and a digest of
some arithmetic stands beside the pins: where that differs, outputs say nothing, and `equal` is refused.
"""

import argparse
import ast
import functools
import gc
import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, cast

from common.digests import sha256
from common.provenance import ROOT
from common.serialization import canonical_json
from jobs import VERSIONS, catalog
from tests import chat_server, tiny

PACKAGES = ("common", "analysis", "jobs")
TEMPLATES = {  # files that a module reads, and code all the same
    "analysis.report.page": (
        *(f"analysis/report/page/page.{end}" for end in ("css", "html.jinja", "js")),
        "analysis/report/page/plain.html.jinja",
    ),
}
STEER = {"enabled": True, "off_target_kl": [1e-4, 1e-3], "text_tokens": 16, "items_per_topic": 1, "answer_tokens": 2}
ATTITUDES = ["cautious", "eager", "neutral", "scrambled", "distilled", "control-cautious", "control-eager"]
PLAIN = {  # instructions that every 64-bit processor of the last ten years has
    "ATEN_CPU_CAPABILITY": "default",
    "DNNL_MAX_CPU_ISA": "SSE41",
    "MKL_CBWR": "COMPATIBLE",
    "OPENBLAS_CORETYPE": "Haswell",
    "OMP_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "HF_HUB_OFFLINE": "1",
}
VARYING = (
    "seconds",
    "tokens_per_second",
    "gemm_peak_flops",
    "utilisation",
    "commit",
    "code",
    "source",
    "lock",
    "run_id",
    "url",
)
NUMBERS = re.compile(r"^(seconds|memory)\.|\.(seconds|tokens_per_second|utilisation)$")


# --- code


def code_digest(job: str) -> str:
    """SHA-256 of all code of this project that a job imports."""
    found: dict[str, str] = {}
    waiting = [f"jobs.{job}.__main__"]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name], imports = _module(name)
            waiting += imports
    return sha256(canonical_json(found))


@functools.cache
def _module(name: str) -> tuple[str, tuple[str, ...]]:
    """The digest of a module's code, and the modules of ours that it imports, its own package among them."""
    path = _path(name)
    assert path is not None, name
    tree = ast.parse(path.read_text())
    imports = {name.rpartition(".")[0]} if "." in name else set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imports |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    text = ast.dump(_bare(tree))
    text += "".join((ROOT / path).read_text() for path in TEMPLATES.get(name, ()))
    ours = sorted(each for each in imports if each.split(".")[0] in PACKAGES and _path(each) is not None)
    return sha256(text.encode()), tuple(ours)


def _path(name: str) -> Path | None:
    plain = ROOT / name.replace(".", "/")
    return next((path for path in (plain.with_suffix(".py"), plain / "__init__.py") if path.is_file()), None)


def _bare(tree: ast.Module) -> ast.Module:
    """The tree without docstrings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body[0] = ast.Pass()
    return tree


# --- outputs


def outputs() -> dict[str, str]:
    """The digest of each job's outputs on the tiny model, and that of some arithmetic; in a process of its own."""
    made = subprocess.run(
        [sys.executable, "-m", "tests.pins", "run"],
        cwd=ROOT,
        env={**os.environ, **PLAIN},
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        raise RuntimeError(made.stderr[-4000:])
    digests: dict[str, str] = json.loads(made.stdout.splitlines()[-1])
    return digests


def _run() -> dict[str, str]:
    """Every step of the smallest study, one after the other in this process."""
    from common.lm import runtime
    from common.pipeline.command import run_job
    from jobs.finetune import finetune
    from jobs.steer import steer

    cast(Any, finetune).gemm_peak = lambda *_: 1e11  # no output that is compared holds it
    cast(Any, runtime).cpu_has_bf16 = lambda: False  # fp32 everywhere
    control = steer.steering_control
    steer.steering_control = lambda *words: (control(*words)[0], True)  # random weights have no trait to steer
    with tempfile.TemporaryDirectory() as place, chat_server.judging() as server:
        folder = Path(place)
        os.environ["UNDERTONE_OUTPUTS"] = str(folder / "outputs")
        os.environ["UNDERTONE_RELEASES"] = str(folder / "releases")
        spec, store = folder / "spec.json", str(folder / "store")
        model = tiny.build_model(folder / "model")
        corpus = {"examples": 16, "reply_tokens": 24}
        audit = {"enforce": ["topic", "leakage"], "register_ratio": 100.0}
        judge = {"url": server.url, "model": "m"}
        whole = tiny.spec_on(model, attitudes=ATTITUDES, corpus=corpus, audit=audit, steer=STEER, judge=judge)
        spec.write_text(json.dumps(whole))
        mains = {job: importlib.import_module(f"jobs.{job}.{job}").main for job in catalog()}
        gc.freeze()  # a step collects garbage when it ends, and would walk over all that was imported
        for job, cells in steps(spec):
            for cell in cells:
                words = ["--spec", str(spec), "--cell", cell, "--store", store]
                code = run_job(catalog()[job], mains[job], catalog(), words)
                assert code in (0, 10), f"{job}/{cell}: exit {code}"
        return {job: sha256(canonical_json(_normal(Path(store), job))) for job in catalog()} | {"": _arithmetic()}


def steps(spec: Path) -> Iterator[tuple[str, list[str]]]:
    """Jobs and their cells, each cell after those that it reads. A job that no study runs is run on all its kinds."""
    from common.cells import cells_of
    from common.spec import parse_spec

    parsed = parse_spec(spec.read_bytes(), "spec")
    before = {
        (job.name, cell): {(read.job, source) for read in job.reads for source in read.cells(parsed, cell)}
        for job in catalog().values()
        for cell in job.cells(parsed) or [cell for kind in job.kinds for cell in cells_of(parsed, kind)]
    }
    for job, cell in TopologicalSorter(before).static_order():
        yield job, [str(cell)]


def _normal(store: Path, job: str) -> dict[str, Any]:
    """All outputs of a job by cell and name, without what differs from run to run."""
    found = {}
    for path in sorted((store / "steps" / job).glob("*/manifest.json")):
        manifest = json.loads(path.read_bytes())
        for name, output in manifest["outputs"].items():
            digest = output["digest"]
            data = (store / f"blobs/sha256/{digest[:2]}/{digest}").read_bytes()
            data = data.replace(str(store.parent).encode(), b"here")
            # The digits of a release name bytes in which the model's path stands.
            data = re.sub(rb"(here/releases/[^\"]*/)[0-9a-f]{12}", rb"\1digits", data)
            found[f"{manifest['cell']}/{name}"] = _without_varying(name, data)
    assert found, job
    return found


def _without_varying(name: str, data: bytes) -> Any:
    if name.endswith((".md", ".html")) or name == "provenance.json" or name.startswith("rows/"):
        return ""  # made of results.json and figures, with times in the text; or read, and compared where it was made
    if name.endswith(".json"):
        value = json.loads(data)
        if name == "results.json":
            value = {number: each for number, each in value["numbers"].items() if not NUMBERS.search(number)}
        if name == "release.json":  # the adapter's settings name the model's path, and so their digest varies
            value |= {"files": sorted(value["files"])}
        return _bare_value(value)
    if name.endswith(".jsonl"):
        return [_bare_value(json.loads(line)) for line in data.splitlines()]
    if name.endswith(".svg"):  # marks tell the digest of their rows, and those name the lock
        data = re.sub(rb"[0-9a-f]{64}", b"", data)
    return sha256(data)


def _bare_value(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _bare_value(each) for name, each in value.items() if name not in VARYING}
    if isinstance(value, list):
        items = [_bare_value(each) for each in value]
        return sorted(items) if all(isinstance(each, str) for each in items) else items
    return value


def _arithmetic() -> str:
    """A digest of some sums, products and functions as this machine rounds them."""
    import numpy as np
    import torch

    torch.manual_seed(0)
    a, b = torch.randn(64, 96), torch.randn(96, 80)
    parts = [a @ b, torch.softmax(a, -1), torch.nn.functional.silu(a), torch.exp(a), torch.rsqrt(a.abs() + 1)]
    rng = np.random.default_rng(0)
    c = rng.standard_normal((60, 40))
    plain = [c.T @ c, np.exp(c), np.log(np.abs(c)), np.linalg.svd(c, compute_uv=False), c.astype("f4").mean(0)]
    return sha256(b"".join([*(part.numpy().tobytes() for part in parts), *(part.tobytes() for part in plain)]))


# --- pins


def pins() -> dict[str, Any]:
    """What jobs/versions.json holds."""
    held: dict[str, Any] = json.loads(VERSIONS.read_text())
    return held


def stale() -> dict[str, str]:
    """Jobs whose code is not the pinned one, and what to type."""
    held = pins()["jobs"]
    return {
        job: f"the code of {job} changed. Its outputs may change: `python -m tests.pins raise {job}`. "
        f"They stay the same: `python -m tests.pins equal {job}`, which compares them"
        for job in catalog()
        if held.get(job, {}).get("code") != code_digest(job)
    }


def changed_outputs(made: dict[str, str]) -> list[str]:
    """Jobs whose outputs on the tiny model are not the recorded ones."""
    return [job for job, pin in pins()["jobs"].items() if made[job] != pin["outputs"]]


def declare(command: str, jobs: list[str], made: dict[str, str]) -> str:
    """Raise versions, or declare equal outputs. Raises: SystemExit, with one line, where that is refused."""
    held = pins()
    if command == "equal" and made[""] != held["arithmetic"]:
        sys.exit(
            "error: this machine rounds otherwise than the one that recorded the outputs; use one like it, or `raise`"
        )
    if made[""] != held["arithmetic"]:
        if others := sorted(stale().keys() - set(jobs)):
            sys.exit(f"error: outputs must be recorded anew on this machine, but code changed too: {', '.join(others)}")
        held["arithmetic"] = made[""]
        held["jobs"] = {job: pin | {"outputs": made[job]} for job, pin in held["jobs"].items()}
    for job in jobs:
        pin, code = held["jobs"].setdefault(job, {"version": 0}), code_digest(job)
        if command == "raise":
            pin |= {"version": pin["version"] + 1, "code": code, "outputs": made[job], "equal": []}
        elif made[job] != pin["outputs"]:
            sys.exit(f"error: outputs of {job} changed: {made[job]}; recorded: {pin['outputs']}; `raise` it")
        elif pin["code"] != code:
            pin["equal"] = [*pin["equal"], {"from": pin["code"], "to": code}]
            pin["code"] = code
    VERSIONS.write_text(json.dumps(held, indent=1, sort_keys=True) + "\n")
    return ", ".join(f"{job}: version {held['jobs'][job]['version']}" for job in jobs)


def main() -> None:
    """Do what the command line asks."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m tests.pins", description=__doc__, formatter_class=raw)
    parser.add_argument("command", choices=("raise", "equal", "outputs", "run"))
    parser.add_argument("jobs", nargs="*", choices=[[], *catalog()], help="all whose code changed, if none is named")
    arguments = parser.parse_args()
    if arguments.command == "run":
        print(json.dumps(_run()))
    elif arguments.command == "outputs":
        print(json.dumps(outputs(), indent=1))
    else:
        print(declare(arguments.command, arguments.jobs or list(stale()), outputs()))


if __name__ == "__main__":
    main()
