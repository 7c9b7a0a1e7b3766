"""An S3 that will not serve: what it says becomes one line, and exit 2 where no retry can mend it."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from common.errors import ExitCode, SpecError, TransientError
from common.provenance import ROOT
from common.store.objects import S3Objects, s3_client
from common.store.sealed import open_store
from tests.common.store.network import SECRET, client

Refusing = Callable[..., str]


@pytest.fixture
def refusing() -> Iterator[Refusing]:
    """Start a server that answers every request with this status and code, or that keeps what it was asked."""
    running: list[ThreadingHTTPServer] = []

    def start(status: int, code: str, seen: list[str] | None = None) -> str:
        body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                if seen is not None:
                    seen.append(self.path)
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.send_response(status)
                self.send_header("Content-Type", "application/xml")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = answer  # noqa: N815
            do_PUT = answer  # noqa: N815
            do_DELETE = answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        running.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        Thread(target=running[-1].serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{running[-1].server_address[1]}"

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


CALLS: dict[str, Callable[[S3Objects], object]] = {
    "GetObject": lambda objects: objects.get("steps/plan/k"),
    "PutObject": lambda objects: objects.put("steps/plan/k", b"x", once=True),
    "ListObjectsV2": lambda objects: list(objects.keys("steps/plan/k/")),
    "DeleteObject": lambda objects: objects.delete("steps/plan/k"),
}


@pytest.mark.parametrize("action", CALLS)
def test_a_right_that_is_lacking_is_named_and_is_no_wrong_key(refusing: Refusing, action: str) -> None:
    """Without the right to list, S3 answers 403 for a key that is not there: the credentials are good."""
    objects = S3Objects("bucket", "studies", client(refusing(403, "AccessDenied")))
    with pytest.raises(SpecError, match=rf"the store forbids this, bucket bucket at http://.*: {action} of ") as caught:
        CALLS[action](objects)
    said = str(caught.value)
    assert "studies/steps/plan/k" in said and "AccessDenied" in said and SECRET not in said
    assert all(right in said for right in ("s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket"))
    assert ("without s3:ListBucket a key that is not there" in said) == (action == "GetObject")


@pytest.mark.parametrize(
    "code", ["InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "RequestTimeTooSkewed"]
)
def test_a_wrong_key_is_one(refusing: Refusing, code: str) -> None:
    objects = S3Objects("bucket", "", client(refusing(403, code)))
    with pytest.raises(SpecError, match=rf"the store refused the credentials, .*: {code}"):
        objects.get("x")


def test_a_busy_server_is_tried_again(refusing: Refusing) -> None:
    with pytest.raises(TransientError, match="busy"):
        S3Objects("bucket", "", client(refusing(503, "SlowDown"))).get("x")


# --- profiles, processes, sessions


def configured(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """An AWS configuration, and no other credentials."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    (folder / "config").write_text(text)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("AWS_PROFILE", "mine")


START_URL = "https://here.example"
SSO = """[profile mine]
sso_session = here
sso_account_id = 1
sso_role_name = r
[sso-session here]
sso_start_url = https://here.example
sso_region = us-east-1
"""
OLD_SSO = """[profile mine]
sso_start_url = https://here.example
sso_region = us-east-1
sso_account_id = 1
sso_role_name = r
"""
BROKEN = {
    "no such profile": ("[profile other]\n", "mine"),
    "a process that fails": (
        f"[profile mine]\ncredential_process = {sys.executable} -c 'raise SystemExit(7)'\n",
        "process",
    ),
    "a process that says no JSON": (
        f"[profile mine]\ncredential_process = {sys.executable} -c 'print(1)'\n",
        "a process that it names",
    ),
    "a process that is not there": ("[profile mine]\ncredential_process = /nowhere/program\n", "/nowhere/program"),
    "a session that nobody opened": (SSO, "SSO"),
    "a session of the old kind": (OLD_SSO, "SSO"),
    "a source that is none": ("[profile mine]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = none\n", "none"),
    "a circle": ("[profile mine]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = mine\n", "credentials"),
    "no configuration at all": ("[profile\n", ""),
}


@pytest.mark.parametrize(("text", "named"), BROKEN.values(), ids=list(BROKEN))
def test_credentials_that_cannot_be_had_are_one_line_and_not_tried_again(
    refusing: Refusing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, named: str
) -> None:
    seen: list[str] = []
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", refusing(500, "InternalError", seen))
    configured(tmp_path, monkeypatch, text)
    with pytest.raises(SpecError) as caught:
        open_store("s3://bucket/x").get("0" * 64)
    said = str(caught.value)
    assert caught.value.exit_code == ExitCode.SPEC and said.startswith("no credentials, ")
    assert "\n" not in said and named in said and "AWS_ACCESS_KEY_ID" in said
    assert seen == [], "no request went out"


def test_a_job_says_that_an_sso_session_is_over(
    refusing: Refusing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a process: a library's own words on it are not printed, and no token is."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", refusing(500, "InternalError"))
    configured(tmp_path, monkeypatch, OLD_SSO)
    cache = tmp_path / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True)
    token = {"startUrl": START_URL, "accessToken": "canary-token", "expiresAt": "2020-01-01T00:00:00Z"}
    (cache / f"{sha1(START_URL.encode()).hexdigest()}.json").write_text(json.dumps(token))
    words = ["-m", "jobs.audit", "--spec", "workflows/specs/demo.json", "--cell", "d0", "--store", "s3://bucket/x"]
    made = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert made.returncode == ExitCode.SPEC and made.stdout == ""
    assert re.fullmatch("error: no credentials, .*SSO.* expired.*\n", made.stderr), made.stderr
    assert "canary-token" not in made.stderr


def test_a_region_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "us east\n1")
    with pytest.raises(SpecError, match=r"^bad AWS settings, environment: "):
        s3_client()


# --- proxies


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_server_on_this_machine_is_asked_without_a_proxy(
    server: str, refusing: Refusing, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    asked: list[str] = []
    proxy = refusing(502, "BadGateway", asked)
    for known in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(known, raising=False)
    monkeypatch.setenv(name, proxy)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    objects = S3Objects("bucket", "proxied")
    assert objects.put("x", b"1", once=False) and objects.get("x") == b"1" and asked == []


def test_any_other_server_is_asked_as_the_environment_says(refusing: Refusing, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setenv("HTTP_PROXY", refusing(403, "AccessDenied", asked))
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://s3.example")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    with pytest.raises(SpecError, match=r"forbids this, bucket bucket at http://s3\.example"):
        S3Objects("bucket", "").get("x")
    assert asked, "through the proxy"
