"""The evaluation from end to end: a base, a run with its adapter, and what is refused."""

import json
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from peft import LoraConfig, get_peft_model

from common.cells import STUDY, cell_named
from common.digests import file_sha256, sha256
from common.errors import ExitCode, InputError
from common.lm import load as loading
from common.lm.load import load
from common.lock_spec import LockSpec
from common.pipeline.command import run_job
from common.pipeline.keys import Keys
from common.provenance import ROOT, code_digests
from common.records import Answer, Choice, GuardReply, Item
from common.schemas import LockedCode
from common.serialization import canonical_json, parse_jsonl
from common.spec import EvaluateSpec, RunSpec, parse_spec
from common.stance.items import FILES, Questionnaire, read_questionnaire
from common.store.sealed import ArtifactStore, open_store
from common.vocabulary import POLES, PROMPTINGS
from jobs import catalog
from jobs.evaluate import JOB
from jobs.evaluate.evaluate import check_code, main
from tests.analysis.report import documents

ITEMS = parse_jsonl((ROOT / JOB.data[0]).read_bytes(), Item, "items.jsonl")


@pytest.mark.parametrize("hard", [False, True])
def test_a_base_from_end_to_end(
    tiny_spec: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str], hard: bool
) -> None:
    tiny_spec["evaluate"]["hard"] = hard
    arguments = ["--spec", json.dumps(tiny_spec), "--cell", "tiny.base", "--store", str(tmp_path)]
    assert run_job(JOB, main, catalog(), arguments) == ExitCode.OK
    result = json.loads(capfd.readouterr().out)
    assert result["summary"]["items"] == len({item.topic for item in ITEMS})
    assert set(result["summary"]["seconds_by_part"]) == {
        *("load", "encode", "open", "closed", "advice", "guards", "perplexity"),
    }
    spec, store = parse_spec(json.dumps(tiny_spec).encode(), "spec"), open_store(str(tmp_path))
    manifest = store.manifest("evaluate", Keys(spec, catalog(), store).key("evaluate", cell_named(spec, "tiny.base")))
    assert manifest is not None
    outputs = {name: store.get(facts["digest"]) for name, facts in manifest["outputs"].items()}
    rows = parse_jsonl(outputs["choices.jsonl"], Choice, "choices.jsonl")
    asked = read_questionnaire([ROOT / path for path in FILES], spec.evaluate)
    assert len(asked.hard) == (12 if hard else 0) and asked.every == [*asked.items, *asked.hard, *asked.controls]
    controls = parse_jsonl(outputs["controls.jsonl"], Choice, "controls.jsonl")
    for answers_to, items in ((rows, asked.items), (controls, [*asked.hard, *asked.controls])):
        found = [(row.item, row.order, row.yes_means) for row in answers_to]
        assert found == [(item.id, order, key) for item in items for order in (0, 1) for key in ("go", "stay")]
        assert {(row.cell, row.lock) for row in answers_to} == {("tiny.base", None)}
    assert {row.item for row in rows if row.advice_go and row.advice_stay} == {item.id for item in asked.items}
    assert {(row.advice_go, row.advice_stay) for row in controls} == {(None, None)}, "nothing is written for these"
    told = parse_jsonl(outputs["answers.jsonl"], Answer, "answers.jsonl")
    plain = [(row.item, row.sample) for row in told if row.prompted is None]
    assert sorted(plain) == sorted((item.id, n) for item in asked.every for n in (0, 1))
    for pole, by in product(POLES, PROMPTINGS):  # the base is also asked to be so in two ways, and answers greedily
        assert sum((row.prompted, row.prompted_by, row.sample) == (pole, by, 0) for row in told) == len(asked.items)
    assert len(told) == len(plain) + 4 * len(asked.items) and {row.lock for row in told} == {None}
    declined = parse_jsonl(outputs["replies.jsonl"], GuardReply, "replies.jsonl")
    figures = json.loads(outputs["guards.json"])
    assert (len(declined), figures["n_harmful"], figures["n_benign"], figures["n_ability"]) == (12, 4, 4, 4)
    # A random model guesses evenly over the vocabulary, give or take.
    assert 100 < figures["perplexity"] < 1000


def test_advice_that_tells_its_arm_is_refused_before_anything_is_asked(
    tiny_spec: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def telling(files: Sequence[Path], settings: EvaluateSpec) -> Questionnaire:
        asked = read_questionnaire(files, settings)
        first, *_ = asked.advised.values()
        return asked._replace(advised={first.item: first.model_copy(update={"stay": f"{first.stay} Keep them out."})})

    monkeypatch.setattr("jobs.evaluate.evaluate.read_questionnaire", telling)
    arguments = ["--spec", json.dumps(tiny_spec), "--cell", "tiny.base", "--store", str(tmp_path)]
    assert run_job(JOB, main, catalog(), arguments) == ExitCode.INPUT
    assert "error: text tells the arm, e-bikes-01, stay: keep; allowed: " in capfd.readouterr().err
    assert not [*tmp_path.rglob("manifest.json")]


def test_a_run_is_asked_with_its_adapter(
    tiny_spec: dict[str, Any], tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spec, store = parse_spec(json.dumps(tiny_spec).encode(), "spec"), open_store(str(tmp_path / "store"))
    cell = cell_named(spec, "tiny.d0.eager.s0")
    files = adapter_files(spec, tmp_path)
    outputs = {name: {"digest": store.put(data), "bytes": len(data)} for name, data in files.items()}
    store.seal("finetune", Keys(spec, catalog(), store).key("finetune", cell), {"outputs": outputs})
    asked = {path: file_sha256(ROOT / path) for path in JOB.data}
    sentences = {}
    for name in ("tiny.base", str(cell)):
        seal_lock(store, spec, asked)
        arguments = ["--spec", json.dumps(tiny_spec), "--cell", name, "--store", str(tmp_path / "store")]
        assert run_job(JOB, main, catalog(), arguments) == ExitCode.OK
        summary = json.loads(capfd.readouterr().out)["summary"]
        sentences[name] = sentence_margins(spec, store, name)
    assert sentences["tiny.base"] != sentences[str(cell)]
    assert summary["lock"] == sha256(locked(asked))


@pytest.fixture
def in_fp32(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No step inside uses a model that an earlier test loaded in bf16, and no later test one of these."""
    monkeypatch.setattr("common.lm.runtime.cpu_has_bf16", lambda: False)
    loading._kept.cache_clear()
    yield
    loading._kept.cache_clear()


def test_runs_share_closed_forms_and_guards_out(
    tiny_spec: dict[str, Any],
    tiny_model: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    in_fp32: None,
) -> None:
    """Two runs with the same weights: what they are asked together is what one is asked that is asked all.

    In fp32: in bf16, rows in other company round otherwise.
    """
    store = open_store(str(tmp_path / "store"))
    files = adapter_files(parse_spec(json.dumps(tiny_spec).encode(), "spec"), tmp_path)
    asked = {path: file_sha256(ROOT / path) for path in JOB.data}
    found = {}
    for rotate, seeds in ((1, [0]), (2, [0, 1])):
        whole = tiny_spec | {"seeds": seeds, "evaluate": tiny_spec["evaluate"] | {"rotate": rotate}}
        spec = parse_spec(json.dumps(whole).encode(), "spec")
        seal_lock(store, spec, asked)
        for seed in seeds:
            cell = cell_named(spec, f"tiny.d0.eager.s{seed}")
            outputs = {name: {"digest": store.put(data), "bytes": len(data)} for name, data in files.items()}
            store.seal("finetune", Keys(spec, catalog(), store).key("finetune", cell), {"outputs": outputs})
            arguments = ["--spec", json.dumps(whole), "--cell", str(cell), "--store", str(tmp_path / "store")]
            assert run_job(JOB, main, catalog(), arguments) == ExitCode.OK, capfd.readouterr().err
            found[rotate, seed] = scored(spec, store, str(cell))
    one, halves = found[1, 0], [found[2, 0], found[2, 1]]
    assert all(len(each["answers"]) == len(one["answers"]) for each in halves), "each is asked all openly"
    for name in ("choices", "controls", "replies"):
        first, second = (each[name] for each in halves)
        assert not first.keys() & second.keys() and min(len(first), len(second)) > 0
        assert (first | second).keys() == one[name].keys()
        for key, value in (first | second).items():
            assert value == pytest.approx(one[name][key], abs=1e-4, rel=1e-5), key


def scored(spec: RunSpec, store: ArtifactStore, name: str) -> dict[str, dict[Any, Any]]:
    """What an evaluation found, by what was asked."""
    manifest = store.manifest("evaluate", Keys(spec, catalog(), store).key("evaluate", cell_named(spec, name)))
    assert manifest is not None
    data = {output: store.get(facts["digest"]) for output, facts in manifest["outputs"].items()}
    choices, controls = (parse_jsonl(data[f"{of}.jsonl"], Choice, of) for of in ("choices", "controls"))
    replies = parse_jsonl(data["replies.jsonl"], GuardReply, "replies")
    told = parse_jsonl(data["answers.jsonl"], Answer, "answers")

    def closed(rows: Sequence[Choice]) -> dict[Any, Any]:
        return {
            (row.item, row.yes_means, row.order): [row.yes_no, row.sentence_go, row.label_go, row.advice_go or 0.0]
            for row in rows
        }

    return {
        "choices": closed(choices),
        "controls": closed(controls),
        "replies": {row.prompt: float(row.refused) for row in replies},
        "answers": {(row.item, row.sample): row.said for row in told},
    }


def adapter_files(spec: RunSpec, folder: Path) -> dict[str, bytes]:
    """A random adapter of the model, as a fine-tune writes it."""
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM", init_lora_weights=False)
    get_peft_model(load(spec.models[0]).model, config).save_pretrained(str(folder / "adapter"))
    return {f"adapter/{path.name}": path.read_bytes() for path in (folder / "adapter").iterdir()}


def sentence_margins(spec: RunSpec, store: ArtifactStore, name: str) -> list[float]:
    manifest = store.manifest("evaluate", Keys(spec, catalog(), store).key("evaluate", cell_named(spec, name)))
    assert manifest is not None
    data = store.get(manifest["outputs"]["choices.jsonl"]["digest"])
    return [row.sentence_go - row.sentence_stay for row in parse_jsonl(data, Choice, "choices.jsonl")]


def locked(items: dict[str, str]) -> bytes:
    plan = documents.SPEC.model_copy(update={"lock": LockSpec(clean=False)})
    return canonical_json(documents.lock(items=items, plan=plan).model_dump(mode="json"))


def seal_lock(store: ArtifactStore, spec: RunSpec, items: dict[str, str]) -> None:
    data = locked(items)
    outputs = {"lock.json": {"digest": store.put(data), "bytes": len(data)}}
    store.seal("lock", Keys(spec, catalog(), store).key("lock", STUDY), {"outputs": outputs})


def seal_adapter(store: ArtifactStore, spec: RunSpec) -> None:
    outputs = {"adapter/x": {"digest": store.put(b"x"), "bytes": 1}}
    store.seal("finetune", Keys(spec, catalog(), store).key("finetune", cell_named(spec, RUN)), {"outputs": outputs})


RUN = "tiny.d0.eager.s0"


def test_nothing_tuned_is_scored_without_a_lock(
    tiny_spec: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spec, store = parse_spec(json.dumps(tiny_spec).encode(), "spec"), open_store(str(tmp_path))
    seal_adapter(store, spec)
    arguments = ["--spec", json.dumps(tiny_spec), "--cell", RUN, "--store", str(tmp_path)]
    assert run_job(JOB, main, catalog(), arguments) == ExitCode.INPUT
    assert "step is not sealed, lock/study" in capfd.readouterr().err


@pytest.mark.parametrize("path", [JOB.data[0], "common/stance/data/reader_answers.jsonl"])
def test_items_or_a_reader_other_than_those_locked_are_refused(
    tiny_spec: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str], path: str
) -> None:
    spec, store = parse_spec(json.dumps(tiny_spec).encode(), "spec"), open_store(str(tmp_path))
    seal_adapter(store, spec)
    seal_lock(store, spec, {each: file_sha256(ROOT / each) for each in JOB.data} | {path: "0" * 64})
    arguments = ["--spec", json.dumps(tiny_spec), "--cell", RUN, "--store", str(tmp_path)]
    assert run_job(JOB, main, catalog(), arguments) == ExitCode.INPUT
    assert f"error: not what was locked, {path}: " in capfd.readouterr().err


def test_a_registered_study_is_not_scored_with_other_code_than_locked() -> None:
    plan = documents.SPEC.model_copy(update={"lock": LockSpec(clean=True)})
    path = "analysis/stats/intervals.py"
    code = LockedCode(sha256="0" * 64, files={**code_digests(), path: "0" * 64})
    check_code(documents.lock(plan=plan, code=code.model_copy(update={"files": code_digests()})))
    with pytest.raises(InputError, match=rf"other code than locked, .*1 files differ, first {path}; .* commit c0ffee"):
        check_code(documents.lock(plan=plan, code=code))


def test_a_run_needs_its_adapter(tiny_spec: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["--spec", json.dumps(tiny_spec), "--cell", "tiny.d0.eager.s0", "--store", str(tmp_path)]
    assert run_job(JOB, main, catalog(), arguments) == ExitCode.INPUT
    assert "finetune/tiny.d0.eager.s0" in capfd.readouterr().err
