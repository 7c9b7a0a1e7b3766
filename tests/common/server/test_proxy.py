"""A chat server on this machine is asked without a proxy, whatever the environment says."""

import pytest

from common.server.client import How, Wanted, replies
from common.server_spec import JudgeSpec
from tests import chat_server


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_is_not_asked(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for known in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(known, raising=False)
    monkeypatch.setenv(name, "http://127.0.0.1:9")  # where nobody is
    with chat_server.judging() as server:
        spec = JudgeSpec(url=server.url, model="m", attempts=1)
        (reply,) = replies(spec, [Wanted("a", "be brief", "hello", 1)], How(0.0, lambda text: text))
    assert reply.text in ("go", "stay")
