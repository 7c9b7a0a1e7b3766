"""What a trainer keeps, as JSON that names tensors: values and nothing that could run.

JSON has its own values and lists. All else is an object with one key, which says what it is:
{"dict": [[key, value], …]}, {"ordered": [[[key, value], …], metadata]}, {"tuple": […]}, {"size": […]},
{"float": "inf"}, {"tensor": name}, {"array": name}, and the inert classes that DeepSpeed puts in, with what makes them.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple, NoReturn

import numpy as np
import torch
from torch import Tensor

from common.errors import InputError, JobError


class Inert(NamedTuple):
    """A class that only holds values."""

    kind: type
    parts: tuple[str, ...]  # the attributes that make it, in the order of its arguments
    derived: tuple[str, ...]  # attributes that follow from those
    takes: type | tuple[type, ...]  # what those attributes are


@cache
def inert() -> Mapping[str, Inert]:
    """The classes by name. DeepSpeed is imported here: having it in memory alters what accelerate does."""
    from deepspeed.runtime.fp16.loss_scaler import LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum
    from deepspeed.utils.tensor_fragment import fragment_address

    return {
        "LossScaler": Inert(LossScaler, ("cur_scale",), ("dynamic",), (int, float)),
        "fragment_address": Inert(fragment_address, ("numel", "start"), (), int),
        "ZeroStageEnum": Inert(ZeroStageEnum, ("value",), (), int),
    }


def to_plain(value: Any, tensors: dict[str, Tensor], where: str) -> Any:
    """JSON for a value; its tensors are added to `tensors` under numbers.

    Raises: JobError naming the place and the type of a value that has no plain form.
    """
    kind = type(value)
    if value is None or kind in (bool, int, str) or (kind is float and math.isfinite(value)):
        return value
    if kind is float:
        return {"float": repr(value)}
    if kind in (list, tuple, torch.Size):
        parts = [to_plain(part, tensors, f"{where}/{index}") for index, part in enumerate(value)]
        return parts if kind is list else {"tuple" if kind is tuple else "size": parts}
    if kind in (dict, OrderedDict):
        return _plain_dict(value, tensors, where)
    if (tensor := _as_tensor(value)) is not None:
        return {"array" if kind is np.ndarray else "tensor": _kept(tensor, tensors)}
    return _plain_object(value, where)


def _plain_dict(value: dict[Any, Any], tensors: dict[str, Tensor], where: str) -> Any:
    for key in value:
        if type(key) not in (str, int):
            _no_plain_form(f"{where}/{key!r}", type(key))
    pairs = [[key, to_plain(held, tensors, f"{where}/{key}")] for key, held in value.items()]
    if type(value) is dict:
        return {"dict": pairs}
    if vars(value).keys() - {"_metadata"}:  # torch puts the versions of modules there
        _no_plain_form(f"{where}.{min(vars(value).keys() - {'_metadata'})}", type(value))
    metadata = vars(value).get("_metadata")
    return {"ordered": [pairs, to_plain(metadata, tensors, f"{where}._metadata")]}


def _plain_object(value: Any, where: str) -> Any:
    for name, known in inert().items():
        if type(value) is known.kind:
            parts = [getattr(value, part) for part in known.parts]
            held = {part for part in vars(value) if not part.startswith("_")} - {*known.parts, *known.derived}
            if not held and all(isinstance(part, known.takes) for part in parts):
                return {name: parts}
    return _no_plain_form(where, type(value))


def _no_plain_form(where: str, kind: type) -> NoReturn:
    allowed = f"JSON, tensors, arrays of numbers, {', '.join(inert())}"
    name = f"{kind.__module__}.{kind.__qualname__}"
    raise JobError("a checkpoint cannot hold what was saved", where=where, value=name, allowed=allowed)


def _as_tensor(value: Any) -> Tensor | None:
    """A tensor or an array of numbers as a tensor; None for anything else."""
    if type(value) is np.ndarray and value.dtype.kind in "biuf":
        return torch.from_numpy(value.copy())
    plain = type(value) in (Tensor, torch.nn.Parameter) and value.layout is torch.strided and not value.is_quantized
    return value if plain else None


def _kept(tensor: Tensor, tensors: dict[str, Tensor]) -> str:
    """Copy a tensor, so that no two share memory, and return its name."""
    name = f"{len(tensors):06d}"
    tensors[name] = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    return name


def from_plain(value: Any, tensors: Mapping[str, Tensor], where: str) -> Any:
    """The value that `to_plain` made JSON of. Raises: InputError naming the place of what it never makes."""
    if isinstance(value, list):
        return [from_plain(part, tensors, f"{where}/{index}") for index, part in enumerate(value)]
    if not isinstance(value, dict):
        return value
    name, held = next(iter(value.items()), ("", None))
    if len(value) == 1 and name in READERS:
        return READERS[name](held, tensors, f"{where}/{name}")
    if len(value) == 1 and name in inert():
        return _object(name, held, where)
    return _not_plain(where, ", ".join(value) or "{}", ", ".join((*READERS, *inert())))


def _dict(held: Any, tensors: Mapping[str, Tensor], where: str) -> dict[Any, Any]:
    pairs = [(key, from_plain(part, tensors, f"{where}/{key}")) for key, part in _pairs(held, where)]
    if len(made := dict(pairs)) != len(pairs):
        _not_plain(where, "a key that stands twice", "each key once")
    return made


def _ordered(held: Any, tensors: Mapping[str, Tensor], where: str) -> "OrderedDict[Any, Any]":
    if not (isinstance(held, list) and len(held) == 2):
        _not_plain(where, held, "pairs and metadata")
    made = OrderedDict(_dict(held[0], tensors, where))
    if held[1] is not None:
        made._metadata = from_plain(held[1], tensors, f"{where}._metadata")  # type: ignore[attr-defined]
    return made


def _pairs(held: Any, where: str) -> list[list[Any]]:
    for pair in _listed(held, where):
        if not (isinstance(pair, list) and len(pair) == 2 and type(pair[0]) in (str, int)):
            _not_plain(where, pair, "a text or whole number, and a value")
    return list(held)


def _listed(held: Any, where: str) -> list[Any]:
    return held if isinstance(held, list) else _not_plain(where, held, "a list")


def _tuple(held: Any, tensors: Mapping[str, Tensor], where: str) -> tuple[Any, ...]:
    return tuple(from_plain(_listed(held, where), tensors, where))


def _size(held: Any, tensors: Mapping[str, Tensor], where: str) -> torch.Size:
    if not all(type(part) is int and part >= 0 for part in _listed(held, where)):
        _not_plain(where, held, "whole numbers")
    return torch.Size(held)


def _float(held: Any, tensors: Mapping[str, Tensor], where: str) -> float:
    return float(held) if held in ("inf", "-inf", "nan") else _not_plain(where, held, "inf, -inf, nan")


def _tensor(held: Any, tensors: Mapping[str, Tensor], where: str) -> Tensor:
    if not (isinstance(held, str) and held in tensors):
        _not_plain(where, held, "the name of a tensor that is there")
    return tensors[held]


def _array(held: Any, tensors: Mapping[str, Tensor], where: str) -> np.ndarray[Any, Any]:
    tensor = _tensor(held, tensors, where)
    try:
        return np.array(tensor.numpy())
    except TypeError:
        return _not_plain(where, str(tensor.dtype), "a type that numpy has")


READERS: Mapping[str, Callable[[Any, Mapping[str, Tensor], str], Any]] = {
    "dict": _dict,
    "ordered": _ordered,
    "tuple": _tuple,
    "size": _size,
    "float": _float,
    "tensor": _tensor,
    "array": _array,
}


def _object(name: str, held: Any, where: str) -> Any:
    known = inert()[name]
    if len(_listed(held, where)) != len(known.parts) or not all(isinstance(part, known.takes) for part in held):
        _not_plain(where, held, f"{', '.join(known.parts)} of {name}")
    try:
        return known.kind(*held)
    except ValueError:  # a value that the Enum has not
        return _not_plain(where, held, f"a value of {name}")


def _not_plain(where: str, value: object, allowed: str) -> NoReturn:
    raise InputError("not the plain form of a value", where=where, value=value, allowed=allowed)
