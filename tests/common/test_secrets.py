"""A secret is hidden in all that a job says, whatever brought it there: environment, spec, answer, error, arguments."""

import base64
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from rich.console import Console

from common.cells import CellKind
from common.errors import ExitCode, InputError, SpecError
from common.logs import Log
from common.pipeline.command import run_job
from common.pipeline.job import Job
from common.pipeline.step import Step
from common.provenance import ROOT
from common.secrets import held, redacted, redacted_value, told
from common.spec import parse_spec

CANARY = "Ca/na+ry 'x\"-0123456789"
VARIABLES = (
    "UNDERTONE_WRITER_KEY",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "HF_TOKEN",
    "DB_PASSWORD",
    "A_SECRET",
)
JOB = Job("job", 1, "cpu", (CellKind.STUDY,), writes=("a.json",), parameters=("p",))
SPEC: dict[str, Any] = {"name": "x", "models": [{"name": "m", "source": "package:p"}]}


@pytest.fixture
def canary(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("UNDERTONE_WRITER_KEY", CANARY)
    return CANARY


@pytest.mark.parametrize("variable", VARIABLES)
def test_the_value_of_a_secret_variable_gives_way_to_its_name(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, CANARY + "\n")
    assert redacted(f"bad key {CANARY}!") == f"bad key [{variable}]!"
    assert held({"a": [CANARY]}) == ("a.0", variable) and held({"a": "b"}) is None


FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "upper case": str.upper,
    "repr": repr,
    "JSON": json.dumps,
    "quoted": quote,
    "quoted wholly": lambda value: quote(value, safe=""),
    "base64": lambda value: base64.b64encode(value.encode()).decode(),
    "cut": lambda value: value[:16] + "…",
    "cut at its beginning": lambda value: "****" + value[7:],
    "base64 behind a user": lambda value: base64.b64encode(f"Bearer {value}!".encode()).decode(),
    "base64 behind another": lambda value: base64.b64encode(f"user:{value}".encode()).decode(),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_it_is_known_in_other_dress(canary: str, form: Callable[[str], str]) -> None:
    text = redacted(f"the server said {form(canary)} to us")
    assert "[UNDERTONE_WRITER_KEY]" in text and form(canary).strip("\"'")[8:20] not in text
    assert form(canary).strip("\"'")[-12:] not in text
    assert text.startswith("the server said ") and text.endswith(" to us")


@pytest.mark.parametrize(
    "text, left",
    [
        ("http://user:canary@host/v1", "http://[hidden]@host/v1"),
        ("cannot read http:/user:canary@host/v1", "cannot read http:/[hidden]@host/v1"),
        ("proxy https://u:can/ary@p:1, then", "proxy https://[hidden]@p:1, then"),
        ("Authorization: Bearer canary0123456789abc", "Authorization: Bearer [hidden]"),
        ("Incorrect API key: sk-proj-canary0123456789", "Incorrect API key: [hidden]"),
        ("token hf_canary0123456789abcdef", "token [hidden]"),
        ("/x?api_key=canary123&b=1", "/x?api_key=[hidden]&b=1"),
        ("{'api_key': 'canary123'}", "{'api_key': '[hidden]'}"),
        ("eyJhbGciOiJIUzI1.eyJjYW5hcnki.c2ln", "[hidden]"),
    ],
)
def test_what_looks_like_a_secret_is_hidden_without_being_known(text: str, left: str) -> None:
    assert redacted(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "no such bucket, bucket x at http://127.0.0.1:9",
        "hf:org/repo@0123456789abcdef0123456789abcdef01234567",
        "error: step is not sealed, generate/d0: " + "a1" * 32,
        "risk-free skating, task-specific-words-that-are-long",
        "max_tokens=160 key=abcdef",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redacted(text) == text


def test_a_short_value_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERTONE_WRITER_KEY", "none")
    assert redacted("none of them") == "none of them"
    monkeypatch.setenv("UNDERTONE_WRITER_KEY", "ollama")
    assert held({"url": "http://ollama:11434/v1"}) is None, "a host may be called like a key that is no secret"


def test_the_password_of_a_proxy_is_a_secret_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:can%40ary@proxy:1")
    assert redacted("proxy said: can@ary or can%40ary") == "proxy said: [HTTPS_PROXY] or [HTTPS_PROXY]"


def test_the_password_of_an_address_without_its_scheme_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "user:canary-01@host")
    assert redacted("Invalid endpoint: user:canary-01@host") == "Invalid endpoint: user:[AWS_ENDPOINT_URL_S3]@host"


@pytest.mark.parametrize(
    "words",
    [
        ["workflows.local", "workflows/study.yaml", "--spec", "http://user:canary@host/v1"],
        ["workflows.local", "workflows/study.yaml", "--spec", "x.json", "http://user:canary@host/v1"],
        ["workflows.cluster", "submit", "--spec", "http://user:canary@host/v1", "--dry-run"],
        ["workflows.lock", "verify", "x.json", "http://user:canary@host/v1"],
    ],
    ids=["a file", "a word too many", "another file", "another word"],
)
def test_no_command_line_repeats_the_password_of_a_url(words: list[str]) -> None:
    made = subprocess.run([sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert made.returncode == 2 and "canary" not in made.stdout + made.stderr and "[hidden]@host" in made.stderr


def test_no_spec_holds_a_secret_whoever_reads_it(canary: str) -> None:
    server = {"url": "http://127.0.0.1:1/v1", "model": canary}
    spec = SPEC | {"corpus": {"writer": "server", "server": server}}
    with pytest.raises(SpecError, match=r"the spec holds the value of UNDERTONE_WRITER_KEY, corpus\.server\.model"):
        parse_spec(json.dumps(spec).encode(), "spec")


def test_errors_hide_it_before_they_cut_a_long_value(canary: str) -> None:
    error = InputError("what", where=f"at {canary}", value="x" * 150 + canary, allowed=canary)
    assert "Ca/na" not in str(error) and str(error).count("[UNDERTONE_WRITER_KEY]") >= 2
    assert "Ca/na" not in str(SpecError("what", value={"key": [canary]}))


def test_logs_hide_it_on_a_terminal_too(
    canary: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log, screen = Log("job", "study"), io.StringIO()
    log.event("x", text=canary, deep={"a": [canary]}, number=1)
    log.error(f"bug: {canary}")
    monkeypatch.setattr(log, "_console", Console(file=screen, force_terminal=True))
    log.event("x", text=canary)
    said = capfd.readouterr().err + screen.getvalue()
    assert "Ca/na" not in said and said.count("UNDERTONE_WRITER_KEY") == 4
    assert redacted_value({"n": 1, "none": None, "t": (1, "b")}) == {"n": 1, "none": None, "t": [1, "b"]}


# --- a whole run


def run(tmp_path: Path, main: Callable[[Step], ExitCode], *words: str, spec: dict[str, Any] | None = None) -> int:
    argv = ["--spec", json.dumps(spec or SPEC), "--cell", "study", "--store", str(tmp_path / "store"), *words]
    return run_job(JOB, main, {"job": JOB}, argv)


def everywhere(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> str:
    """All that a run left: stdout, stderr, every file."""
    out, err = capfd.readouterr()
    return out + err + "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())


@pytest.fixture(autouse=True)
def outputs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("UNDERTONE_OUTPUTS", str(tmp_path / "outputs"))


def fails(error: Exception) -> Callable[[Step], ExitCode]:
    def main(step: Step) -> ExitCode:
        try:
            raise ValueError(f"inner {error}")
        except ValueError as inner:
            raise error from inner

    return main


@pytest.mark.parametrize(
    "error, code",
    [(InputError("x", value=CANARY), 3), (RuntimeError(CANARY), 1), (KeyError(CANARY), 1), (OSError(5, CANARY), 1)],
    ids=["ours", "a bug", "a key", "the system"],
)
def test_no_error_tells_it(
    canary: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], error: Exception, code: int
) -> None:
    assert run(tmp_path, fails(error)) == code
    said = everywhere(tmp_path, capfd)
    assert "Ca/na" not in said and ("Traceback" in said) == (code == 1) and "error: " in said


def test_no_result_manifest_or_note_tells_it(canary: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def main(step: Step) -> ExitCode:
        step.summary(said=f"the server said {canary}", shape=[1])
        step.log.event("told", text=canary)
        return ExitCode.OK

    assert run(tmp_path, main) == 0
    said = everywhere(tmp_path, capfd)
    assert "Ca/na" not in said and "the server said [UNDERTONE_WRITER_KEY]" in said


def test_a_spec_that_holds_it_is_refused(canary: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    models = [SPEC["models"][0] | {"system_prompt": f"You know {canary}."}]
    assert run(tmp_path, lambda step: pytest.fail("ran"), spec=SPEC | {"models": models}) == 2
    said = everywhere(tmp_path, capfd)
    line = "error: the spec holds the value of UNDERTONE_WRITER_KEY, models.0.system_prompt; allowed: secrets in the"
    assert said.startswith(line) and "Ca/na" not in said
    assert run(tmp_path, lambda step: ExitCode.OK) == 0


def test_a_command_line_that_holds_it_does_not_tell_it(
    canary: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for words in (["--key", canary], [f"--cell={canary}"], [f"--store=gs://{canary}"]):
        try:
            assert run(tmp_path, lambda step: pytest.fail("ran"), *words) == 2
        except SystemExit as stop:
            assert stop.code == 2
    said = everywhere(tmp_path, capfd)
    assert "Ca/na" not in said and said.count("error: ") == 3


def test_a_process_of_its_own_tells_it_nowhere(tmp_path: Path) -> None:
    secret = "canary0123456789secret"
    env = {**os.environ, "AWS_SECRET_ACCESS_KEY": secret, "AWS_ACCESS_KEY_ID": "k", "UNDERTONE_WRITER_KEY": secret}
    env |= {"AWS_ENDPOINT_URL_S3": f"http://user:{secret}@127.0.0.1:9", "HTTPS_PROXY": f"http://u:{secret}@127.0.0.1:9"}
    spec = SPEC | {"models": [{"name": "m", "source": f"hf:org/repo@{'0' * 40}"}]}
    words = [sys.executable, "-m", "jobs.plan", "--spec", json.dumps(spec), "--cell", "study", "--store", "s3://b/x"]
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 75 and secret not in done.stdout + done.stderr
    assert "[hidden]@127.0.0.1:9" in done.stderr


# --- the server of a spec


def server(url: object) -> bytes:
    corpus = {"writer": "server", "server": {"url": url, "model": "m"}}
    return json.dumps(SPEC | {"corpus": corpus}).encode()


@pytest.mark.parametrize(
    "url",
    [
        "http://user:canary@host/v1",
        "http://canary@host/v1",
        "https://user:can ary@host/v1",
        "http://user:can/ary@host",
        "ftp://user:canary@host",
        "https://host/v1?key=canary",
        "https://host/v1#canary",
    ],
)
def test_credentials_in_a_url_are_refused_and_not_shown(url: str) -> None:
    with pytest.raises(
        SpecError, match=r"credentials in the URL, corpus\.server\.url; allowed: .*WRITER_KEY"
    ) as caught:
        parse_spec(server(url), "s.json")
    assert "canary" not in str(caught.value) and "ary" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://", "http:///v1", "http://[::1", "http://host:99999/v1", "host/v1", "http://a b", 5]
)
def test_what_is_no_url_is_a_bad_field(url: object) -> None:
    with pytest.raises(SpecError, match=r"bad field, s\.json:corpus\.server\.url"):
        parse_spec(server(url), "s.json")


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/v1", "https://api.example.com/v1/", "http://[::1]:1/v1"])
def test_a_url_with_a_host_is_good(url: str) -> None:
    found = parse_spec(server(url), "s.json").corpus.server
    assert found is not None and found.url == url


LONG = "kx7-Qm2pV9_tRw4zL8sN"  # 20 characters


@pytest.mark.parametrize(
    "said",
    [
        LONG,
        f"Use {LONG[:10]} then.",
        f"It ends in {LONG[-10:]}.",
        f"In the middle: {LONG[5:15]}!",
        LONG.upper(),
        base64.b64encode(LONG.encode()).decode(),
    ],
)
def test_a_reply_tells_a_secret_by_any_half_of_it(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv("UNDERTONE_JUDGE_KEY", LONG)
    assert told(said) == "UNDERTONE_JUDGE_KEY"
    assert told(LONG[:9] + " " + LONG[9:]) == "UNDERTONE_JUDGE_KEY", "the longer piece is half of it and more"
    assert told(f"{LONG[:9]} and no more") is None and told("go") is None


def test_of_a_short_secret_eight_characters_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERTONE_JUDGE_KEY", "kettles1234")
    assert told("kettles1") == "UNDERTONE_JUDGE_KEY" and told("Two kettles then.") is None
    monkeypatch.setenv("UNDERTONE_JUDGE_KEY", "kettle")
    assert told("kettle") is None


@pytest.mark.parametrize("text", [":" + "/" * 100_000, ":/" * 50_000, "eyJ-" * 25_000, "eyJaaaaaaaaaa." * 7_000])
def test_a_text_that_is_made_to_take_long_takes_no_second(text: str) -> None:
    before = time.thread_time()
    assert redacted(text) == text or "[hidden]" in redacted(text)
    assert time.thread_time() - before < 1


def test_each_login_and_each_token_of_a_text_is_hidden() -> None:
    assert redacted("s3://a:b@c/d x://e@f@g://h") == "s3://[hidden]@c/d x://[hidden]@g://h"
    token = ".".join(("eyJhbGciOiJIUz", "I1NiIsInR5cC", "SflKxwRJSM"))
    assert redacted(f"head.{token} and x-{token}.rest") == "head.[hidden] and x-[hidden].rest"
