"""Residuals are the model's own, whatever the batch; a run is read along the direction of its untouched model."""

from pathlib import Path

import numpy as np
import pytest
import torch

from common.errors import ExitCode, InputError, SpecError
from common.lm.activations import Passage, capture
from common.lm.directions import pack, unpack
from common.lm.layers import LAYOUTS, blocks_of, decoder, layout
from common.lm.passages import pairs_of, reply_passages
from common.provenance import ROOT
from common.records import Item, Projection
from common.serialization import canonical_json, parse_jsonl
from common.spec import ModelSpec
from jobs.interpret import JOB
from tests.jobs.inside import DIRECTION, RUN, adapter, advice, study  # noqa: F401

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*:UserWarning"),
]


@pytest.fixture
def chat(tiny_model: Path):
    from common.lm.load import load

    return load(ModelSpec(name="tiny", source=f"path:{tiny_model}"), precision=torch.float32)


def passages(lengths=(3, 30, 11, 17, 5)) -> list[Passage]:
    rng = np.random.default_rng(0)
    rows = [rng.integers(3, 250, size=length).tolist() for length in lengths]
    return [Passage(ids, (range(1, len(ids)), range(len(ids) - 1, len(ids)))) for ids in rows]


def one_at_a_time(model, rows, layers):
    """The slow definition: no batch, no padding, no hooks before the last block's."""
    found = []
    for ids, spans in rows:
        last = []
        handle = blocks_of(model)[-1].register_forward_hook(
            lambda _module, _inputs, output, last=last: last.append(output)
        )
        with torch.no_grad():
            states = model(torch.tensor([ids]), output_hidden_states=True, use_cache=False).hidden_states
        handle.remove()
        residuals = [*states[1:-1], last[0]]  # the last hidden state is normalised already
        found.append([[residuals[layer][0, list(span)].mean(0).numpy() for layer in layers] for span in spans])
    return np.array(found)


@pytest.mark.parametrize("layers", [[0, 1], [0], [1]])
def test_capture_equals_the_slow_definition(chat, layers):
    expected = one_at_a_time(chat.model, passages(), layers)
    found = capture(chat.model, passages(), layers, batch_rows=3)
    assert found.shape == (5, 2, len(layers), 32) and found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-5 < np.abs(expected).mean()


def test_the_captured_residual_gives_the_logits_of_the_model(chat):
    ids, names = passages()[1].ids, layout(chat.model)
    found = torch.from_numpy(capture(chat.model, [passages()[1]], [1], 1)[0, 1, 0])
    with torch.no_grad():
        logits = chat.model.lm_head(chat.model.get_submodule(names.norm)(found))
        expected = chat.model(torch.tensor([ids])).logits[0, -1]
    assert torch.allclose(logits, expected, atol=1e-5)
    assert chat.model.get_submodule(names.embeddings).weight.shape[1] == len(found)


def test_neither_batch_nor_padding_changes_a_mean(chat):
    alone = np.concatenate([capture(chat.model, [row], [0, 1], 1) for row in passages()])
    for batch_rows in (1, 2, 5, 16):
        assert np.abs(capture(chat.model, passages(), [0, 1], batch_rows) - alone).max() < 1e-5


def test_the_forward_pass_stops_after_the_last_wanted_block(chat):
    ran = []
    handle = chat.model.model.layers[1].register_forward_hook(lambda *_: ran.append(1))
    capture(chat.model, passages(), [0], 16)
    assert not ran
    capture(chat.model, passages(), [1], 16)
    handle.remove()
    assert ran


@pytest.mark.parametrize("layers", [[0], [0, 1]])
def test_hooks_are_gone_afterwards_also_after_an_error(chat, layers):
    blocks = blocks_of(chat.model)
    capture(chat.model, passages(), layers, 16)
    assert not any(block._forward_hooks for block in blocks)
    with torch.no_grad():
        chat.model.model.embed_tokens.weight[:] = torch.nan
    with pytest.raises(Exception, match="not finite, layer 0"):
        capture(chat.model, passages(), layers, 16)
    with pytest.raises(IndexError):
        capture(chat.model, [Passage([10**6], (range(1),))], layers, 16)  # fails inside the model
    assert not any(block._forward_hooks for block in blocks)


@pytest.mark.parametrize("span", [range(0), range(2, 4), range(-1, 1)])
def test_a_span_outside_its_passage_is_refused(chat, span):
    with pytest.raises(InputError, match="passage 0"):
        capture(chat.model, [Passage([5, 6, 7], (span,))], [0], 1)


def test_an_unknown_type_of_model_is_refused_with_the_known_ones(chat):
    chat.model.config.model_type = "mamba"
    with pytest.raises(InputError, match=r"mamba; allowed: .*llama"):
        capture(chat.model, passages(), [0], 1)


@pytest.mark.parametrize("kind", sorted(LAYOUTS))
def test_the_table_names_real_parts_of_every_type_of_model(kind):
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        kind,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=100,
        pad_token_id=0,
    )
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    names = layout(model)
    assert len(blocks_of(model)) == 2
    assert model.get_submodule(names.embeddings) is model.get_input_embeddings()
    assert model.get_submodule(names.norm).weight.shape == (32,)


# --- texts


def test_spans_are_the_reply_with_its_end_and_the_users_turn(chat):
    rows = [advice("eager", number) for number in range(3)]
    decode = chat.tokenizer.decode
    for row, (ids, (reply, user)) in zip(rows, reply_passages(chat, rows), strict=True):
        assert decode([ids[position] for position in reply]) == f"{row.reply}<|im_end|>\n"
        assert f"Shall I get kettle {decode([ids[position] for position in user])}?" == row.question


def test_pairs_are_drawn_from_the_questions_that_both_poles_answer():
    cautious = [advice("cautious", number) for number in range(12)]
    eager = [advice("eager", number) for number in range(20, 3, -1)]
    pairs = pairs_of(cautious, eager, 6, np.random.default_rng(0))
    ids = [int(pair.cautious.question_id[1:]) for pair in pairs]
    assert ids == sorted(set(ids)) and len(ids) == 6 and set(ids) <= set(range(4, 12))
    assert all(pair.cautious.question_id == pair.eager.question_id for pair in pairs)
    with pytest.raises(SpecError, match=r"interpret.questions: 9; allowed: <= 8"):
        pairs_of(cautious, eager, 9, np.random.default_rng(0))


# --- the job, on both kinds of cell


def test_a_direction_and_a_run_from_end_to_end(study):  # noqa: F811
    made = study()
    assert made.run("interpret", DIRECTION) == 0
    made.seal_adapters({5: 1e-3, 10: 0.5})
    assert made.run("interpret", RUN) == 0
    assert made.run("monitor", RUN) == 0

    saved = unpack(made.output("interpret", DIRECTION, "direction.npz"), "npz")
    curve = made.json("interpret", DIRECTION, "layers.json")
    assert curve["chosen"] == saved.layer and [row["layer"] for row in curve["layers"]] == [0, 1]
    assert saved.direction.shape == (2, 32) and np.allclose(np.linalg.norm(saved.direction, axis=1), 1)
    assert all(row["user_accuracy"] == 0.5 for row in curve["layers"])
    assert not set(curve["topics_fit"]) & set(curve["topics_apart"])
    assert curve["questions_fit"] + curve["questions_apart"] == 8

    base = parse_jsonl(made.output("interpret", DIRECTION, "projections.jsonl"), Projection, "base")
    run = parse_jsonl(made.output("interpret", RUN, "projections.jsonl"), Projection, "run")
    assert {row.step for row in base} == {0} and len(run) == 2 * len(base)
    assert {(row.cell, row.layer) for row in run} == {(RUN, saved.layer)}

    readout = made.json("interpret", RUN, "readout.json")
    zero = np.array([row.value for row in base])
    assert readout["sd_base"] == pytest.approx(zero.std(ddof=1))
    assert made.json("interpret", DIRECTION, "readout.json")["mean_base"] == pytest.approx(zero.mean(), rel=1e-4)
    for point in readout["checkpoints"]:  # by hand, from the rows
        values = np.array([row.value for row in run if row.step == point["step"]])
        assert point["shift"] == pytest.approx((values - zero).mean() / zero.std(ddof=1), rel=1e-4)
        assert len(point["nulls"]) == 100
    last = [row for row in run if row.step == readout["checkpoints"][-1]["step"]]
    for topic, shift in readout["by_topic"].items():
        moved = [row.value - before.value for row, before in zip(last, base, strict=True) if row.topic == topic]
        assert shift == pytest.approx(np.mean(moved) / zero.std(ddof=1), rel=1e-3)
    assert set(readout["by_topic"]) == {row.topic for row in base}
    small, large = readout["checkpoints"]
    assert np.abs(large["nulls"]).mean() > 10 * np.abs(small["nulls"]).mean() > 0

    drift = made.json("monitor", RUN, "drift.json")
    expected = [np.mean(np.abs(point["nulls"]) < abs(point["shift"])) for point in readout["checkpoints"]]
    assert [reading["rank"] for reading in drift["checkpoints"]] == pytest.approx(expected)
    assert [reading["step"] for reading in drift["checkpoints"]] == [5, 10]


def test_a_checkpoint_is_read_alike_alone_and_after_others(study):  # noqa: F811
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
        tuned = attach(lm.model, made.path.parent / f"adapter-{number}")
        found = capture(tuned, rows, [1], 16)
        assert decoder(tuned) is lm.model
        tuned.unload()
        return found

    untouched, alone = capture(lm.model, rows, [1], 16), read(10)
    other = read(5)
    assert np.array_equal(read(10), alone) and np.array_equal(capture(lm.model, rows, [1], 16), untouched)
    assert not np.array_equal(other, alone) and not np.array_equal(alone, untouched)


def test_equal_asks_make_equal_bytes(study, tmp_path):  # noqa: F811
    made = study()
    assert made.run("interpret", DIRECTION) == 0
    first = made.output("interpret", DIRECTION, "direction.npz")
    made.store = str(tmp_path / "other")
    assert made.run("generate", "d0") == 0
    assert made.run("interpret", DIRECTION) == 0
    assert made.output("interpret", DIRECTION, "direction.npz") == first
    assert pack(unpack(first, "npz")) == first


def test_a_run_without_checkpoints_or_with_a_foreign_adapter_is_an_input_error(study, capfd):  # noqa: F811
    made = study()
    assert made.run("interpret", DIRECTION) == 0
    assert made.run("interpret", RUN) == ExitCode.INPUT  # no fine-tune
    made.seal_adapters({})
    assert made.run("interpret", RUN) == ExitCode.INPUT
    assert "no checkpoints" in capfd.readouterr().err


def test_an_adapter_that_changes_nothing_is_refused(study, capfd):  # noqa: F811
    made = study()
    assert made.run("interpret", DIRECTION) == 0
    made.seal_adapters({5: 0.0})
    assert made.run("interpret", RUN) == ExitCode.INPUT
    assert "changes nothing" in capfd.readouterr().err


def test_bytes_that_are_no_direction_are_refused():
    for data in (b"", b"PK\x03\x04 broken", canonical_json({})):
        with pytest.raises(InputError, match="no saved direction, here"):
            unpack(data, "here")


def test_the_job_writes_nothing_that_it_does_not_declare():
    assert set(JOB.writes) == {"direction.npz", "layers.json", "projections.jsonl", "readout.json"}
