"""What a trainer keeps goes to JSON and tensors and comes back equal; what could run has no plain form."""

import json
from collections import OrderedDict, namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common.errors import InputError, JobError
from common.serialization import canonical_json
from jobs.finetune.checkpoints import packed_files
from jobs.finetune.plain import from_plain, inert, to_plain


def there_and_back(value: Any) -> Any:
    tensors: dict[str, torch.Tensor] = {}
    text = canonical_json(to_plain(value, tensors, "x"))
    return from_plain(json.loads(text), tensors, "x")


VALUES = [
    None,
    True,
    -3,
    2**80,
    1.0,
    0.1,
    "ä\u2028",
    [1, [2.0, "3"]],
    (1, (2, None)),
    {"a": {0: "int", "0": "text"}},
    {"dict": 1},
    {},
    float("inf"),
    float("-inf"),
    torch.Size([2, 3]),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_come_back_equal_and_of_their_type(value: Any) -> None:
    back = there_and_back(value)
    assert back == value and type(back) is type(value) and repr(back) == repr(value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.int64, torch.uint8, torch.bool])
def test_tensors_come_back_bit_for_bit(dtype: torch.dtype) -> None:
    for value in (torch.tensor(1).to(dtype), torch.arange(6).to(dtype).reshape(2, 3).T, torch.zeros(0, dtype=dtype)):
        back = there_and_back([value])[0]
        assert back.dtype is dtype and torch.equal(back, value)
    nan = there_and_back(torch.tensor([float("nan")]))
    assert nan.isnan().all()


def test_views_of_one_buffer_do_not_share_memory() -> None:
    buffer, tensors = torch.arange(4.0), dict[str, torch.Tensor]()
    to_plain([buffer[:2], buffer[1:], torch.nn.Parameter(buffer)], tensors, "x")
    assert len({tensor.untyped_storage().data_ptr() for tensor in tensors.values()}) == 3
    assert not any(tensor.requires_grad for tensor in tensors.values())


def test_arrays_and_ordered_dicts_come_back() -> None:
    array = there_and_back(np.arange(3, dtype=np.uint32))
    assert array.dtype == np.uint32 and array.tolist() == [0, 1, 2] and array.flags.writeable
    ordered: OrderedDict[str, int] = OrderedDict(b=1, a=2)
    ordered._metadata = OrderedDict({"": {"version": 1}})  # type: ignore[attr-defined]
    back = there_and_back(ordered)
    assert list(back) == ["b", "a"] and type(back) is OrderedDict
    metadata = vars(back)["_metadata"]
    assert metadata == OrderedDict({"": {"version": 1}}) and type(metadata) is OrderedDict


def test_the_inert_classes_come_back() -> None:
    kinds = {name: known.kind for name, known in inert().items()}
    scaler = there_and_back(kinds["LossScaler"](2.0))
    assert type(scaler) is kinds["LossScaler"] and vars(scaler) == vars(kinds["LossScaler"](2.0))
    place = kinds["fragment_address"](numel=3, start=4)
    assert there_and_back(place) == place and type(there_and_back(place)) is type(place)
    assert there_and_back(kinds["ZeroStageEnum"](3)) is kinds["ZeroStageEnum"](3)


class Dictionary(dict[str, int]):
    pass


Pair = namedtuple("Pair", "a b")


@pytest.mark.parametrize(
    "value, name",
    [
        (Path("x"), "PosixPath"),
        ({1, 2}, "builtins.set"),
        (b"x", "builtins.bytes"),
        (np.float64(1), "numpy.float64"),
        (np.array([object()]), "numpy.ndarray"),
        (Dictionary(), "Dictionary"),
        (Pair(1, 2), "Pair"),
        (torch.zeros(2).to_sparse(), "torch.Tensor"),
        ({None: 1}, "NoneType"),
        (print, "builtin_function_or_method"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_has_no_plain_form_is_named_with_its_place(value: Any, name: str) -> None:
    with pytest.raises(JobError, match=f"a checkpoint cannot hold what was saved, x/a/0.*{name}"):
        to_plain({"a": [value]}, {}, "x")


@pytest.mark.parametrize(
    "plain",
    [{"tuple": 1}, {"size": [-1]}, {"float": "1e5"}, {"array": 0}, {"ordered": [[]]}, {"dict": {}}, {"a": 1, "b": 2}],
    ids=str,
)
def test_what_is_no_plain_form_is_an_input_error(plain: Any) -> None:
    with pytest.raises(InputError, match="not the plain form of a value, x"):
        from_plain(plain, {}, "x")


class ByName:
    """Saved as Python 3.11.0 to 3.11.3 save the member of an enum: by a call of getattr."""

    def __reduce__(self) -> Any:
        from deepspeed.runtime.zero.config import ZeroStageEnum

        return getattr, (ZeroStageEnum, "gradients")


def test_an_enum_that_an_earlier_python_saved_by_a_call_has_its_plain_form(tmp_path: Path) -> None:
    saved = tmp_path / "checkpoint-3"
    saved.mkdir()
    (saved / "trainer_state.json").write_text("{}")
    (tmp_path / "loss.jsonl").touch()
    torch.save({"stage": ByName()}, saved / "scheduler.pt")
    assert b"ZeroStageEnum" in packed_files(tmp_path, 3)["state.json"]


def test_what_the_trainer_saved_and_no_checkpoint_holds_is_named(tmp_path: Path) -> None:
    saved = tmp_path / "checkpoint-3"
    saved.mkdir()
    (saved / "trainer_state.json").write_text('{"loss": NaN}')
    (tmp_path / "loss.jsonl").touch()
    torch.save({"where": Path("x")}, saved / "scheduler.pt")
    with pytest.raises(
        JobError, match=r"cannot hold what was saved, scheduler\.pt/where: pathlib\S*PosixPath; allowed: "
    ):
        packed_files(tmp_path, 3)
    torch.save({"a": {1}}, saved / "scheduler.pt")
    with pytest.raises(JobError, match=r"cannot hold what was saved, scheduler\.pt.*set"):
        packed_files(tmp_path, 3)
    torch.save({"a": 1}, saved / "scheduler.pt")
    assert packed_files(tmp_path, 3).keys() == {"state.json", "state.safetensors", "loss.jsonl"}
    torch.save({"a": 1}, saved / "optimizer.pt")
    with pytest.raises(JobError, match=r"the Trainer saved a file that no checkpoint holds, optimizer\.pt"):
        packed_files(tmp_path, 3)
