"""A run is read along the direction of its base model, and equal asks make equal bytes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from transformers import PreTrainedModel

from common.errors import ExitCode
from common.lm.activations import capture
from common.lm.directions import pack, unpack
from common.lm.layers import decoder
from common.provenance import ROOT
from common.records import Item, Projection
from common.serialization import parse_jsonl
from jobs.interpret import JOB
from tests import tiny
from tests.jobs.inside import DIRECTION, RUN, Study, adapter, study, study_in  # noqa: F401

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*:UserWarning"),
]


@pytest.fixture(scope="module")
def read_once(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study whose direction is sealed."""
    found = study_in(tmp_path_factory.mktemp("read"), tiny.spec_on(tiny_model))
    assert found.run("interpret", DIRECTION) == 0
    return found


@pytest.fixture
def made(read_once: Study, tmp_path: Path) -> Study:
    """A study of its own whose direction is sealed."""
    return read_once.copy(tmp_path)


def test_a_direction_and_a_run_from_end_to_end(made: Study) -> None:
    made.seal_adapters({5: 1e-3, 10: 0.5})
    assert made.run("interpret", RUN) == 0
    assert made.run("monitor", RUN) == 0

    saved = unpack(made.output("interpret", DIRECTION, "direction.npz"), "npz")
    curve = made.json("interpret", DIRECTION, "layers.json")
    assert curve["chosen"] == saved.layer and [row["layer"] for row in curve["layers"]] == [0, 1]
    assert saved.direction.shape == (2, 32) and np.allclose(np.linalg.norm(saved.direction, axis=1), 1)
    assert all(row["user_accuracy"] == 0.5 for row in curve["layers"])
    topics = [set(curve["topics"][side]) for side in ("fit", "choose", "judge")]
    assert not topics[0] & topics[1] and not topics[0] & topics[2] and not topics[1] & topics[2]
    assert sum(curve[f"questions_{side}"] for side in ("fit", "choose", "judge")) == 12
    assert curve["layers"][1]["causal"] == max(row["causal"] for row in curve["layers"]) or curve["chosen"] == 0
    assert saved.base_replies.shape == (len(saved.replied), 32) and 0 < len(saved.replied) <= len(saved.items)
    assert saved.apart.shape == (curve["questions_judge"], 32) == (len(saved.questions_apart), 32)

    base = parse_jsonl(made.output("interpret", DIRECTION, "projections.jsonl"), Projection, "base")
    run = parse_jsonl(made.output("interpret", RUN, "projections.jsonl"), Projection, "run")
    assert {row.optimizer_step for row in base} == {0} and len(run) == 2 * len(base)
    assert {(row.cell, row.layer) for row in run} == {(RUN, saved.layer)}

    readout = made.json("interpret", RUN, "readout.json")
    zero = np.array([row.value for row in base])
    assert readout["sd_base"] == pytest.approx(zero.std(ddof=1))
    assert made.json("interpret", DIRECTION, "readout.json")["mean_base"] == pytest.approx(zero.mean(), rel=1e-4)
    for point in readout["checkpoints"]:  # by hand, from the rows
        values = np.array([row.value for row in run if row.optimizer_step == point["optimizer_step"]])
        assert point["shift"] == pytest.approx((values - zero).mean() / zero.std(ddof=1), rel=1e-4)
        assert len(point["nulls"]) == len(point["reply_nulls"]) == 100
        assert point["reply_shift"] != point["shift"], "replies are read at other tokens than prompts"
    last = [row for row in run if row.optimizer_step == readout["checkpoints"][-1]["optimizer_step"]]
    for topic, shift in readout["by_topic"].items():
        moved = [row.value - before.value for row, before in zip(last, base, strict=True) if row.topic == topic]
        assert shift == pytest.approx(np.mean(moved) / zero.std(ddof=1), rel=1e-3)
    assert set(readout["by_topic"]) == {row.topic for row in base}
    small, large = readout["checkpoints"]
    assert np.abs(large["nulls"]).mean() > 10 * np.abs(small["nulls"]).mean() > 0

    assert len(readout["apart"]) == curve["questions_judge"] and abs(readout["reply_cosine"]) < 1

    drift = made.json("monitor", RUN, "drift.json")
    expected = [np.mean(np.abs(point["nulls"]) < abs(point["shift"])) for point in readout["checkpoints"]]
    assert [reading["rank"] for reading in drift["checkpoints"]] == pytest.approx(expected)
    assert [reading["optimizer_step"] for reading in drift["checkpoints"]] == [5, 10]


def test_a_checkpoint_is_read_alike_alone_and_after_others(study: Callable[..., Study]) -> None:  # noqa: F811
    """Adapters are swapped on one base: nothing of the one before may stay."""
    from common.lm.load import attach, load
    from common.lm.passages import prompt_passages

    made = study()
    for number, scale in {5: 0.5, 10: 0.1}.items():
        adapter(made.spec.models[0], scale, made.path.parent / f"adapter-{number}")
    lm = load(made.spec.models[0])
    path = ROOT / JOB.data[0]
    rows = prompt_passages(lm, parse_jsonl(path.read_bytes(), Item, path.name)[:4])

    def read(number: int) -> np.ndarray:
        tuned = attach(cast(PreTrainedModel, lm.model), made.path.parent / f"adapter-{number}")
        found = capture(tuned, rows, [1], 16)
        assert decoder(tuned) is lm.model
        tuned.unload()
        return found

    of_base, alone = capture(lm.model, rows, [1], 16), read(10)
    other = read(5)
    assert np.array_equal(read(10), alone) and np.array_equal(capture(lm.model, rows, [1], 16), of_base)
    assert not np.array_equal(other, alone) and not np.array_equal(alone, of_base)


@pytest.mark.parametrize("kind", [{"init_lora_weights": "olora"}, {"modules_to_save": ["norm"]}])
def test_a_checkpoint_that_changes_the_base_changes_no_other(
    made: Study,
    tmp_path: Path,
    kind: dict[str, Any],
) -> None:
    made.seal_adapters({5: 0.1, 10: 0.3, 15: 0.5}, kinds={10: kind})
    assert made.run("interpret", RUN) == 0
    whole = made.output("interpret", RUN, "projections.jsonl").splitlines()
    made.store = str(tmp_path / "other")
    assert made.run("generate", "d0") == 0 and made.run("interpret", DIRECTION) == 0
    made.seal_adapters({15: 0.5})
    assert made.run("interpret", RUN) == 0
    alone = made.output("interpret", RUN, "projections.jsonl").splitlines()
    assert len(whole) == 3 * len(alone) and whole[-len(alone) :] == alone


def test_equal_asks_make_equal_bytes(made: Study, tmp_path: Path) -> None:
    first = made.output("interpret", DIRECTION, "direction.npz")
    made.store = str(tmp_path / "other")
    assert made.run("generate", "d0") == 0
    assert made.run("interpret", DIRECTION) == 0
    assert made.output("interpret", DIRECTION, "direction.npz") == first
    assert pack(unpack(first, "npz")) == first


def test_a_run_without_checkpoints_or_with_a_foreign_adapter_is_an_input_error(
    made: Study,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert made.run("interpret", RUN) == ExitCode.INPUT  # no fine-tune
    made.seal_adapters({})
    assert made.run("interpret", RUN) == ExitCode.INPUT
    assert "no checkpoints" in capfd.readouterr().err


def test_an_adapter_that_changes_nothing_is_refused(
    made: Study,
    capfd: pytest.CaptureFixture[str],
) -> None:
    made.seal_adapters({5: 0.0})
    assert made.run("interpret", RUN) == ExitCode.INPUT
    assert "changes nothing" in capfd.readouterr().err


def test_the_job_writes_nothing_that_it_does_not_declare() -> None:
    assert set(JOB.writes) == {"direction.npz", "layers.json", "projections.jsonl", "readout.json"}


def test_reply_tokens_are_read_where_they_are_written(made: Study) -> None:
    """By hand, on the base: the mean residual over the tokens of both written replies, and of no other token."""
    import torch

    from common.lm.layers import blocks_of
    from common.lm.load import load
    from common.lm.passages import advised_passages
    from common.stance.items import ADVISED, ITEMS, read_advised, read_items

    saved = unpack(made.output("interpret", DIRECTION, "direction.npz"), "npz")
    lm = load(made.spec.models[0])
    item = next(item for item in read_items(ROOT / ITEMS, None) if item.id == saved.replied[0])
    advised = read_advised(ROOT / ADVISED, ROOT / ITEMS)[item.id]
    means = []
    for passage, reply in zip(
        advised_passages(lm, [item], {item.id: advised}), (advised.go, advised.stay), strict=True
    ):
        assert str(lm.tokenizer.decode([passage.ids[at] for at in passage.spans[0]])).startswith(reply)
        found: list[torch.Tensor] = []
        hook = blocks_of(lm.model)[saved.layer].register_forward_hook(lambda _m, _i, out: found.append(out))  # noqa: B023
        with torch.inference_mode():
            lm.model(torch.tensor([passage.ids]))
        hook.remove()
        residual = found[0][0] if isinstance(found[0], tuple) else found[0]
        means.append(residual.reshape(-1, 32)[list(passage.spans[0])].double().mean(0).numpy())
    assert np.allclose(np.mean(means, axis=0), saved.base_replies[0], atol=1e-3)
