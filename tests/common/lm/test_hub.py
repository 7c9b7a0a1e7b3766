"""Models of the Hub by the Hub's own client, which finds a Hub on this machine: a tiny Llama that is gated."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from common.errors import InputError, TransientError
from common.lm.check import check_model
from common.lm.load import load
from common.lm.tokenizers import counters
from common.spec import ModelSpec
from tests import families, hub

REVISION = "a" * 40
LLAMA = ModelSpec(name="llama", source=f"hf:meta/llama@{REVISION}")


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[hub.Hub]:
    """A Hub, and a client that knows no other, with an empty cache and a token."""
    folder = families.build_llama(tmp_path / "llama")
    with hub.serving({"meta/llama": hub.Model(REVISION, folder, gated=True)}) as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_TOKEN", hub.TOKEN)
        yield server


def test_a_model_is_checked_without_its_weights_and_loaded_from_what_was_fetched(served: hub.Hub) -> None:
    check_model(LLAMA)
    assert not [name for _, name in served.sent if name.endswith((".safetensors", ".pth"))]
    lm = load(LLAMA)
    assert len([name for _, name in served.sent if name.endswith(".safetensors")]) > 1
    assert not [name for _, name in served.sent if name.endswith(".pth")], "no pickle is fetched"
    before = served.sent.copy()
    load(LLAMA)
    ids = lm.tokenizer("Hi there", add_special_tokens=False)["input_ids"]
    assert counters([LLAMA])["llama"]("Hi there") == len(ids)
    assert served.sent == before and set(before.values()) == {1}, "each file once"


@pytest.mark.parametrize("token", ["", "hf_of_somebody_else"])
def test_a_gated_model_without_access_is_one_line(served: hub.Hub, monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    for use in (check_model, load, lambda spec: counters([spec])):
        with pytest.raises(InputError, match=f"no such model on the Hub, or no access to it, {LLAMA.source}$"):
            use(LLAMA)
    assert not served.sent


def test_an_unknown_revision_is_one_line_and_not_tried_again(served: hub.Hub) -> None:
    other = LLAMA.model_copy(update={"source": f"hf:meta/llama@{'b' * 40}"})
    for use in (check_model, load):
        with pytest.raises(InputError, match=r"the Hub has no such revision, or it lacks a file, hf:meta/llama@b{40}$"):
            use(other)
    assert not served.sent


USES: dict[str, Callable[[ModelSpec], object]] = {
    "check": check_model,
    "load": load,
    "count": lambda spec: counters([spec]),
}


@pytest.mark.parametrize("use", USES.values(), ids=list(USES))
@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_hub_that_is_busy_or_broken_is_asked_again(
    served: hub.Hub, monkeypatch: pytest.MonkeyPatch, status: int, use: Callable[[ModelSpec], object]
) -> None:
    """By the client a few times, and then by another attempt of the step: exit 75."""
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _seconds: None)
    served.fails = status
    with pytest.raises(TransientError, match=f"download failed, {LLAMA.source}: .*{status}"):
        use(LLAMA)
    assert served.asked > 1
    served.fails = 0
    use(LLAMA)


@pytest.mark.parametrize("use", USES.values(), ids=list(USES))
@pytest.mark.parametrize("status", [401, 403])
def test_a_bad_token_is_not_tried_again(served: hub.Hub, status: int, use: Callable[[ModelSpec], object]) -> None:
    served.fails = status
    with pytest.raises(InputError, match=f"no such model on the Hub, or no access to it, {LLAMA.source}$"):
        use(LLAMA)


@pytest.mark.parametrize("use", USES.values(), ids=list(USES))
def test_without_a_connection_it_is_tried_again(
    served: hub.Hub, monkeypatch: pytest.MonkeyPatch, use: Callable[[ModelSpec], object]
) -> None:
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _seconds: None)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}/{revision}/{filename}")
    with pytest.raises(TransientError, match=f"download failed, {LLAMA.source}: "):
        use(LLAMA)


@pytest.mark.parametrize("use", USES.values(), ids=list(USES))
def test_where_the_hub_was_switched_off_no_retry_helps(
    served: hub.Hub, monkeypatch: pytest.MonkeyPatch, use: Callable[[ModelSpec], object]
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="is not here and the Hub is out of reach"):
        use(LLAMA)
    assert served.asked == 0


@pytest.mark.parametrize("use", USES.values(), ids=list(USES))
def test_a_file_that_the_model_lacks_is_not_tried_again(served: hub.Hub, use: Callable[[ModelSpec], object]) -> None:
    (served.models["meta/llama"].folder / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"lacks a file|the tokenizer cannot be read"):
        use(LLAMA)


def test_an_altered_file_of_the_cache_is_named(served: hub.Hub) -> None:
    folder = load(LLAMA).folder
    shard = next(folder.glob("*.safetensors"))
    whole = shard.read_bytes()
    shard.resolve().write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(InputError, match=f"model file was altered, {shard}"):
        load(LLAMA)
