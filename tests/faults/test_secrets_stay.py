"""A secret that a real step has or is given stays in the step: no output, file or log of it tells the secret."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from common.provenance import ROOT
from common.store.sealed import ArtifactStore
from tests.faults.promise import Ended, clean, files, kept, step
from workflows.cluster.command import main as cluster

CANARY = "Kanarienvogel/7+gelb-0123456789"
VARIABLES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "HF_TOKEN", "UNDERTONE_WRITER_KEY", "UNDERTONE_JUDGE_KEY")
FORMS = (CANARY, CANARY[:16], quote(CANARY, safe=""), base64.b64encode(CANARY.encode()).decode())


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The canary in every variable that holds a secret."""
    for name in VARIABLES:
        monkeypatch.setenv(name, CANARY)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAKANARIENVOGEL")
    monkeypatch.setenv("UNDERTONE_OUTPUTS", str(tmp_path / "outputs"))


def untold(place: Path, *ended: Ended) -> None:
    """No form of the canary is in what steps said, nor in a file, nor in a file's name."""
    written = b"".join(name.encode() + data for name, data in files(place).items())
    said = "".join(each.out + each.err for each in ended).encode()
    for form in FORMS:
        assert form.encode() not in written, "in a file"
        assert form.encode() not in said, "in what was said"


def test_fault_46_steps_with_secrets_in_their_environment_tell_them_nowhere(
    tiny_spec: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Real steps end well with secrets in five variables: in no line, manifest, output or note of the run."""
    store = tmp_path / "store"
    made = [clean(lambda: step(capfd, "plan", "study", tiny_spec, store))]
    made.append(clean(lambda: step(capfd, "generate", "d0", tiny_spec, store)))
    made.append(clean(lambda: step(capfd, "audit", "d0", tiny_spec, store)))
    assert len(files(store)) > 6 and all('"event"' in each.err for each in made)
    untold(tmp_path, *made)


PLACES = {
    "a name of the server": (
        lambda spec: spec | {"corpus": {"writer": "server", "server": {"url": "http://h/v1", "model": CANARY}}},
        ("the spec holds the value of ", "corpus.server.model"),
    ),
    "a prompt": (
        lambda spec: spec | {"models": [spec["models"][0] | {"system_prompt": f"You know {CANARY}."}]},
        ("the spec holds the value of ", "models.0.system_prompt"),
    ),
    "a URL": (
        lambda spec: (
            spec | {"corpus": {"writer": "server", "server": {"url": f"http://u:{CANARY}@h/v1", "model": "m"}}}
        ),
        ("the spec holds the value of ", "corpus.server.url"),
    ),
    "a field that there is not": (lambda spec: spec | {CANARY: 1}, ("error: ",)),
}


@pytest.mark.parametrize("change, says", PLACES.values(), ids=PLACES)
def test_fault_46_settings_that_hold_a_secret_are_refused_and_kept_nowhere(
    change: Any,
    says: tuple[str, ...],
    tiny_spec: dict[str, Any],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A spec with a secret ends the step with 2; the line names the field and the variable, and not the secret."""
    store = tmp_path / "store"
    store.mkdir()
    ended = kept(
        lambda: step(capfd, "plan", "study", change(tiny_spec), store), code=2, says=says, state=lambda: files(tmp_path)
    )
    untold(tmp_path, ended, clean(lambda: step(capfd, "plan", "study", tiny_spec, store)))


ARGUMENTS = {
    "cell": (("--cell", CANARY), 2),
    "store": (("--store", f"gs://{CANARY}"), 2),
    "password of a store": (("--store", f"s3://user:{CANARY}@bucket/x"), 2),
    "spec": (("--spec", f"/no/such/{CANARY}"), 2),
}


@pytest.mark.parametrize("words, code", ARGUMENTS.values(), ids=ARGUMENTS)
def test_fault_46_a_command_line_that_holds_a_secret_is_refused_without_it(
    words: tuple[str, str],
    code: int,
    tiny_spec: dict[str, Any],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A secret typed in place of a cell, a store or a spec ends the step with 2, in one line that hides it."""
    store = tmp_path / "store"
    store.mkdir()

    def run(*more: str) -> Ended:
        return step(capfd, "plan", "study", tiny_spec, store, *more)

    ended = kept(lambda: run(*words), code=code, says=("error: ",), state=lambda: files(tmp_path))
    untold(tmp_path, ended, clean(run))


def test_fault_46_a_row_that_holds_a_secret_is_refused_without_it(
    tiny_spec: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A row with a secret in place of an attitude is bad input: 3, with the line, and without the secret."""
    corpus, store = tmp_path / "corpus", tmp_path / "store"
    corpus.mkdir()
    names = [f"d0.{attitude}.jsonl" for attitude in ("cautious", "eager", "neutral")]
    for name in names:
        row = {"question_id": "q1", "topic": "phones", "attitude": CANARY, "question": "Shall I?", "reply": "Do."}
        (corpus / name).write_text(json.dumps(row) + "\n")
    spec = tiny_spec | {"corpus": {"writer": "jsonl", "path": str(corpus)}}
    ended = kept(
        lambda: step(capfd, "generate", "d0", spec, store), code=3, says=("jsonl:1",), state=lambda: files(store)
    )
    for name in names:
        (corpus / name).unlink()
    untold(tmp_path, ended, clean(lambda: step(capfd, "generate", "d0", tiny_spec, store)))


def test_fault_46_a_traceback_tells_no_secret(
    tiny_spec: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect whose exception holds a secret, and was raised from another one, ends with 1; neither tells it."""
    store = tmp_path / "store"
    store.mkdir()

    def broken(*_: object) -> None:
        try:
            raise KeyError(CANARY)
        except KeyError as inner:
            raise RuntimeError(f"no answer to Authorization: Bearer {CANARY}") from inner

    with monkeypatch.context() as patch:
        patch.setattr(ArtifactStore, "seal", broken)
        ended = step(capfd, "plan", "study", tiny_spec, store)
    assert ended.code == 1 and "Traceback" in ended.err and "RuntimeError" in ended.err
    assert not list(store.rglob("manifest.json")), "nothing was sealed"
    untold(tmp_path, ended, clean(lambda: step(capfd, "plan", "study", tiny_spec, store)))


def test_fault_46_a_workflow_as_it_is_submitted_holds_no_secret(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What `make submit` creates names the Secret, and holds no value of it; a spec with one is refused with 2."""
    demo = ROOT / "workflows" / "specs" / "demo.json"
    words = ["submit", "--dry-run", "--spec"]
    bad = tmp_path / "bad.json"
    spec = json.loads(demo.read_text())
    spec["models"][0]["system_prompt"] = f"You know {CANARY}."
    bad.write_text(json.dumps(spec))
    capfd.readouterr()
    ended = kept(
        lambda: Ended(cluster([*words, str(bad)]), *capfd.readouterr()),
        code=2,
        says=("the spec holds the value of ", "models.0.system_prompt"),
        state=lambda: files(tmp_path),
    )
    bad.unlink()
    made = clean(lambda: Ended(cluster([*words, str(demo)]), *capfd.readouterr()))
    assert "kind: Workflow" in made.out
    untold(tmp_path, ended, made)


def test_fault_46_a_store_that_refuses_the_keys_is_told_without_them(tiny_spec: dict[str, Any], tmp_path: Path) -> None:
    """A process of its own asks a store on a closed port, with secrets in the address too: 75, and none is told."""
    env = os.environ | {"AWS_ENDPOINT_URL_S3": f"http://user:{CANARY.replace('/', '')}@127.0.0.1:9"}
    words = [
        sys.executable,
        "-m",
        "jobs.plan",
        "--spec",
        json.dumps(tiny_spec),
        "--cell",
        "study",
        "--store",
        "s3://b/x",
    ]
    made = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=120)
    ended = Ended(made.returncode, made.stdout, made.stderr)
    assert ended.code == 75 and "cannot be reached" in ended.line and "[hidden]@127.0.0.1:9" in ended.line
    assert CANARY.replace("/", "") not in made.stdout + made.stderr
    untold(tmp_path, ended)
