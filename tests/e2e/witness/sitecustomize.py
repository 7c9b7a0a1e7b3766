"""Writes down what the processes of a study do: which addresses they ask for, and how DeepSpeed is set up.

Python imports it at the start of every process that has its folder on PYTHONPATH. Lines of JSON go to $WITNESS.
"""

import importlib.abc
import json
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any


def tell(**what: Any) -> None:
    with open(os.environ["WITNESS"], "a") as file:  # noqa: PTH123  # no more is imported into every process than this
        file.write(json.dumps(what) + "\n")


def address(event: str, given: tuple[Any, ...]) -> None:
    """Hosts that are looked up, and hosts and ports that are connected to; no sockets that are files."""
    if event == "socket.getaddrinfo":
        tell(host=given[0] if isinstance(given[0], str) else str(given[0]), port=given[1])
    elif event == "socket.connect" and isinstance(given[1], tuple):
        tell(host=given[1][0], port=given[1][1])


class Beside(importlib.abc.MetaPathFinder):
    """When DeepSpeed has been imported, has it tell of each engine that it makes."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != "deepspeed":
            return None
        found = PathFinder.find_spec(name, path, target)
        assert found is not None and found.loader is not None
        load = found.loader.exec_module

        def then_wrap(module: ModuleType) -> None:
            load(module)
            module.initialize = telling(module.initialize)  # type: ignore[attr-defined]

        found.loader.exec_module = then_wrap  # type: ignore[method-assign]
        return found


def telling(initialize: Any) -> Any:
    def told(*given: Any, **named: Any) -> Any:
        engine, *more = initialize(*given, **named)
        ids: list[int] = []
        kept = {
            "engine": type(engine).__name__,
            "stage": engine.zero_optimization_stage(),
            "config": named.get("config_params") or named["config"],
            "model": engine.module.config.model_type,
        }

        def first(_module: Any, _given: Any, asked: dict[str, Any]) -> None:
            if not ids:
                ids.extend(asked["input_ids"][0].tolist())
                tell(**kept, ids=ids)

        engine.module.register_forward_pre_hook(first, with_kwargs=True)
        return engine, *more

    return told


sys.addaudithook(address)
sys.meta_path.insert(0, Beside())
