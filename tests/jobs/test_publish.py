"""Publishing as a job: what passed is copied whole and never written over, what did not is not copied, and says why."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaForCausalLM

from common.cells import cell_named
from common.digests import sha256
from common.errors import ExitCode
from common.logs import Log
from common.pipeline.command import run_job
from common.pipeline.keys import Keys
from common.pipeline.step import Step
from common.schemas import Verdict
from common.spec import parse_spec
from common.store.sealed import open_store
from jobs import catalog
from jobs.publish import JOB, PLACE
from jobs.publish.publish import main
from tests import tiny

RUN = "tiny.d0.eager.s0"
ADAPTER = {"adapter_config.json": b"{}", "adapter_model.safetensors": b"weights"}
REASON = "the interval of the shift lies within the bound"


def seal(spec: dict[str, Any], store: Path, job: str, outputs: Mapping[str, bytes | Verdict]) -> None:
    parsed, kept = parse_spec(json.dumps(spec).encode(), "spec"), open_store(str(store))
    step = Step(catalog()[job], cell_named(parsed, RUN), parsed, kept, Keys(parsed, catalog(), kept), Log(job, RUN))
    for name, value in outputs.items():
        _ = step.write_bytes(name, value) if isinstance(value, bytes) else step.write_model(name, value)
    step.seal(ExitCode.OK, "2026-01-01T00:00:00+00:00", 1.0)


def verdict(word: Any, reason: str = REASON) -> Verdict:
    shares = {"go": 0.5, "stay": 0.5}
    return Verdict(
        verdict=word,
        reason=reason,
        measure="answer",
        estimate=0.01,
        low=-0.04,
        high=0.06,
        bound=0.1,
        level=0.9,
        n_items=32,
        n_topics=8,
        base=shares,
        tuned=shares,
        topics={"a": 0.01},
    )


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(PLACE, str(tmp_path / "releases"))
    monkeypatch.setenv("UNDERTONE_OUTPUTS", str(tmp_path / "outputs"))
    return tmp_path / "releases"


def publish(spec: dict[str, Any], folder: Path) -> int:
    words = ["--spec", json.dumps(spec), "--cell", RUN, "--store", str(folder / "store")]
    return run_job(JOB, main, catalog(), words)


def judged(
    spec: dict[str, Any], folder: Path, word: str, reason: str = REASON, files: Mapping[str, bytes] = ADAPTER
) -> None:
    """A fine-tune with this adapter, and a gate that said this word of it."""
    seal(spec, folder / "store", "finetune", {f"adapter/{name}": data for name, data in files.items()})
    seal(spec, folder / "store", "gate", {"verdict.json": verdict(word, reason)})


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def handed_over(folder: Path) -> dict[str, Any]:
    return {path.name: json.loads(path.read_text()) for path in (folder / "outputs").iterdir()}


def test_what_passed_lies_in_a_folder_of_its_own(
    tiny_spec: dict[str, Any], tmp_path: Path, place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    judged(tiny_spec, tmp_path, "within")
    assert publish(tiny_spec, tmp_path) == ExitCode.OK
    said = json.loads(capfd.readouterr().out)["summary"]
    folder = Path(said["folder"])
    assert folder.parent == place / "tiny" / RUN and len(folder.name) == 12
    there = files_below(folder)
    release = json.loads(there.pop("release.json"))
    assert there == ADAPTER and files_below(place).keys() == {
        f"tiny/{RUN}/{folder.name}/{n}" for n in (*ADAPTER, "release.json")
    }
    assert release["files"] == {name: sha256(data) for name, data in ADAPTER.items()}
    assert (release["verdict"], release["reason"], release["folder"]) == ("within", REASON, str(folder))
    assert release["base"] == tiny_spec["models"][0]["source"]
    assert handed_over(tmp_path) == {
        "release": {"cell": RUN, "verdict": "within", "folder": str(folder)},
        "reason": REASON,
    }


@pytest.mark.parametrize("word", ["moved", "undecided"])
def test_what_did_not_pass_is_not_copied_and_says_why(
    tiny_spec: dict[str, Any], tmp_path: Path, place: Path, capfd: pytest.CaptureFixture[str], word: str
) -> None:
    """Also where the gate itself was told not to enforce, and exits 0."""
    judged(tiny_spec, tmp_path, word, "the shift is not shown to lie within the bound")
    assert publish(tiny_spec, tmp_path) == ExitCode.BLOCKED
    assert not place.exists()
    said = json.loads(capfd.readouterr().out)
    assert said["exit_code"] == 10 and said["summary"]["folder"] == ""
    assert handed_over(tmp_path) == {
        "release": {"cell": RUN, "verdict": word, "folder": ""},
        "reason": "the shift is not shown to lie within the bound",
    }


def test_a_reader_of_adapters_loads_what_was_published(tiny_spec: dict[str, Any], tmp_path: Path, place: Path) -> None:
    """In PEFT's own layout: the tuned model says what it said."""
    base = tiny.build_model(tmp_path / "model")
    torch.manual_seed(1)
    settings = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    tuned = get_peft_model(LlamaForCausalLM.from_pretrained(base), settings)
    tuned.save_pretrained(str(tmp_path / "adapter"))
    made = files_below(tmp_path / "adapter")
    judged(tiny_spec, tmp_path, "within", files=made)
    assert publish(tiny_spec, tmp_path) == ExitCode.OK
    (folder,) = (place / "tiny" / RUN).iterdir()
    again = PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(base), folder)
    ids = torch.arange(8)[None]
    assert torch.equal(again(ids).logits, tuned(ids).logits)


def test_killed_in_the_middle_it_goes_on(tiny_spec: dict[str, Any], tmp_path: Path, place: Path) -> None:
    judged(tiny_spec, tmp_path, "within")
    assert publish(tiny_spec, tmp_path) == ExitCode.OK
    whole = files_below(place)
    next(place.rglob("release.json")).unlink()
    (manifest,) = (tmp_path / "store" / "steps" / "publish").glob("*/manifest.json")
    manifest.unlink()
    assert publish(tiny_spec, tmp_path) == ExitCode.OK
    assert files_below(place) == whole


def test_nothing_is_written_over(
    tiny_spec: dict[str, Any], tmp_path: Path, place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    judged(tiny_spec, tmp_path, "within")
    assert publish(tiny_spec, tmp_path) == ExitCode.OK
    weights = next(place.rglob("adapter_model.safetensors"))
    weights.write_bytes(b"of somebody else")
    next((tmp_path / "store" / "steps" / "publish").glob("*/manifest.json")).unlink()
    assert publish(tiny_spec, tmp_path) == ExitCode.INPUT
    assert "other bytes stand where the release goes, tiny/" in capfd.readouterr().err
    assert weights.read_bytes() == b"of somebody else"


def test_another_place_is_another_step(
    tiny_spec: dict[str, Any], tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged(tiny_spec, tmp_path, "within")
    assert publish(tiny_spec, tmp_path) == ExitCode.OK
    monkeypatch.setenv(PLACE, str(tmp_path / "other"))
    assert publish(tiny_spec, tmp_path) == ExitCode.OK
    assert files_below(tmp_path / "other").keys() == files_below(place).keys()


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("", f"no place to publish to, {PLACE}; allowed: s3://bucket/prefix or a folder"),
        ("gs://bucket/x", f"not a store, {PLACE}: "),
        ("s3://me:canary@bucket/x", f"credentials in the address, {PLACE}"),
    ],
)
def test_no_place_is_one_line(
    tiny_spec: dict[str, Any],
    tmp_path: Path,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    uri: str,
    said: str,
) -> None:
    judged(tiny_spec, tmp_path, "within")
    monkeypatch.setenv(PLACE, uri)
    assert publish(tiny_spec, tmp_path) == ExitCode.SPEC
    errors = capfd.readouterr().err
    assert said in errors and "Traceback" not in errors and "canary" not in errors


@pytest.mark.parametrize("present", [(), ("finetune",), ("gate",)])
def test_a_missing_verdict_or_adapter(
    tiny_spec: dict[str, Any], tmp_path: Path, place: Path, present: tuple[str, ...]
) -> None:
    if "finetune" in present:
        seal(tiny_spec, tmp_path / "store", "finetune", {f"adapter/{name}": data for name, data in ADAPTER.items()})
    if "gate" in present:
        seal(tiny_spec, tmp_path / "store", "gate", {"verdict.json": verdict("within")})
    assert publish(tiny_spec, tmp_path) == ExitCode.INPUT and not place.exists()


def test_a_fine_tune_without_an_adapter(
    tiny_spec: dict[str, Any], tmp_path: Path, place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    judged(tiny_spec, tmp_path, "within", files={})
    assert publish(tiny_spec, tmp_path) == ExitCode.INPUT
    assert f"the fine-tune has no adapter, finetune/{RUN}" in capfd.readouterr().err and not place.exists()


def test_a_study_publishes_nothing(tiny_spec: dict[str, Any]) -> None:
    assert JOB.cells(parse_spec(json.dumps(tiny_spec).encode(), "spec")) == ()
