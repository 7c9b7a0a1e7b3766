"""What a job says: one JSON object a line where nobody watches, progress to the file that Argo reads."""

import json
from pathlib import Path

import pytest

from common import provenance as facts
from common.logs import Log
from common.provenance import ROOT, commit_and_dirty, provenance, usable_cores


def test_events_are_json_lines(capfd: pytest.CaptureFixture[str]) -> None:
    log = Log("plan", "study")
    log.event("started", key="k", seconds=1.5)
    log.error("what, where: value")
    out, err = capfd.readouterr()
    first, second = err.splitlines()
    assert out == "" and second == "error: what, where: value"
    found = json.loads(first)
    assert found.pop("time").endswith("+00:00")
    assert found == {"event": "started", "job": "plan", "cell": "study", "key": "k", "seconds": 1.5}


def test_progress_is_told_to_argo_each_time_and_to_the_log_seldom(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ARGO_PROGRESS_FILE", str(tmp_path / "progress"))
    log = Log("finetune", "m.d0.eager.s0")
    told = []
    for done in range(1, 11):
        log.progress(done, 10, loss=0.5)
        told.append((tmp_path / "progress").read_text())
    assert told == [f"{done}/10\n" for done in range(1, 11)]
    assert [path.name for path in tmp_path.iterdir()] == ["progress"]
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert lines[-1]["done"] == 10 and len(lines) <= 2


def test_cores_are_at_least_one_and_no_more_than_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for asked, most in (("1", 1), ("0", 1), ("nonsense", 10_000)):
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
        assert 1 <= usable_cores() <= most


def test_provenance_is_json_and_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    monkeypatch.setenv("UNDERTONE_IMAGE", "sha256:abc")
    found = provenance()
    assert "canary" not in json.dumps(found, allow_nan=False)
    assert set(found["deviations"]) == {path.name for path in (ROOT / "locks").glob("*.deviations.jsonl")}
    assert found["image"] == "sha256:abc" and found["packages"]["numpy"] and found["cores"] >= 1


@pytest.mark.parametrize(
    "told, known", [("a" * 40, ("a" * 40, False)), ("a" * 40 + "+", ("a" * 40, True)), ("unknown", (None, None))]
)
def test_a_commit_that_is_none_is_not_known(
    told: str, known: tuple[str | None, bool | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "_commit", lambda: told)
    assert commit_and_dirty() == known
