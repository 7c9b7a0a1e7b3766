"""Models of the Hub by the Hub's own client, which finds a Hub on this machine: a tiny Llama that is gated."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from common.errors import InputError, TransientError
from common.lm.check import check_model
from common.lm.compared import BASE, Compared
from common.lm.foreign import fetched
from common.lm.load import load
from common.lm.tokenizers import counters
from common.spec import ModelSpec
from tests import families, hub
from tests.adapters import llama_factory, trained

REVISION = "a" * 40
LLAMA = ModelSpec(name="llama", source=f"hf:meta/llama@{REVISION}")


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[hub.Hub]:
    """A Hub, and a client that knows no other, with an empty cache and a token."""
    folder = families.build_llama(tmp_path / "llama")
    tuned = tmp_path / "tuned"
    trained(folder, tuned)
    llama_factory(tuned)
    models = {"meta/llama": hub.Model(REVISION, folder, gated=True), "me/tuned": hub.Model(REVISION, tuned)}
    with hub.serving(models) as server:
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


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Hub's client tries again without waiting."""
    monkeypatch.setattr("time.sleep", lambda _seconds: None)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_hub_that_is_busy_is_asked_again_later(served: hub.Hub, at_once: None, status: int) -> None:
    served.failing = status
    for use in (check_model, load, lambda spec: counters([spec])):
        with pytest.raises(TransientError, match=f"download failed, {LLAMA.source}"):
            use(LLAMA)


@pytest.mark.parametrize("status", [400, 401, 403])
def test_what_the_hub_refuses_is_refused_for_good(served: hub.Hub, at_once: None, status: int) -> None:
    served.failing = status
    for use in (check_model, load, lambda spec: counters([spec])):
        with pytest.raises(
            InputError, match=f"(the Hub refused|no such model on the Hub, or no access to it), {LLAMA.source}"
        ):
            use(LLAMA)


def test_a_hub_that_is_away_is_asked_again_later(
    served: hub.Hub, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    )
    for use in (check_model, load, lambda spec: counters([spec])):
        with pytest.raises(TransientError, match=f"download failed, {LLAMA.source}"):
            use(LLAMA)


def test_a_client_that_is_told_not_to_ask_says_what_is_not_here(
    served: hub.Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=f"is not here and the Hub is out of reach, {LLAMA.source}$"):
        check_model(LLAMA)


def test_an_altered_file_of_the_cache_is_named(served: hub.Hub) -> None:
    folder = load(LLAMA).folder
    shard = next(folder.glob("*.safetensors"))
    whole = shard.read_bytes()
    shard.resolve().write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(InputError, match=f"model file was altered, {shard}"):
        load(LLAMA)


@pytest.mark.filterwarnings("ignore")
def test_an_adapter_of_the_hub_is_fetched_without_what_lies_beside_it(served: hub.Hub, tmp_path: Path) -> None:
    found, models = fetched(f"hf:me/tuned@{REVISION}", tmp_path / "mine"), Compared(LLAMA)
    models.add("tuned", found)
    sent = {name for repo, name in served.sent if repo == "me/tuned"}
    assert sent == {"adapter_config.json", "adapter_model.safetensors"}
    with models.worn("tuned") as lm:
        assert lm.chat("Hello.")
    with models.worn(BASE) as lm:
        assert lm.chat("Hello.")
    weights = found.folder / "adapter_model.safetensors"
    weights.resolve().write_bytes(b"altered")
    with pytest.raises(InputError, match="model file was altered"):
        fetched(f"hf:me/tuned@{REVISION}", tmp_path / "again")
