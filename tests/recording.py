"""A stand-in for CUDA graphs on a CPU: records the operations that torch dispatches, and does them again on replay.

As in a graph, only tensors are recorded: a number that Python worked out is as it was when the step was recorded, and
so is a tensor that is not one of the static ones. Recording leaves every tensor as it was.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

HIDDEN = {"aten::native_batch_norm": (3, 4)}
"""Arguments that an operation changes without saying so in its schema."""


class Replay:
    """A `Recorder` of a CPU.

    Attributes:
        made: all recorders, since they are made inside a training.
    """

    made: list[Replay]
    refuses: str | None = None
    """An operation that cannot be recorded, as `aten::name`."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator, self.replays, self.warmed = generator, 0, 0
        self._calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []
        type(self).made.append(self)

    def warm_up(self, work: Any) -> None:
        self.warmed += 1
        work()

    def record(self, work: Any) -> None:
        state = self.generator.get_state()
        recording = _Recording(self.refuses)
        try:
            with recording:
                work()
        finally:
            with torch.no_grad():
                for tensor, before in reversed(recording.undo):
                    tensor.copy_(before)
            self.generator.set_state(state)
        self._calls = recording.calls

    def replay(self) -> None:
        self.replays += 1
        with torch.no_grad():
            for function, arguments, keywords, result in self._calls:
                again = function(*arguments, **keywords)
                for before, now in zip(_tensors(result), _tensors(again), strict=True):
                    if before.data_ptr() != now.data_ptr():
                        before.copy_(now)


class _Recording(TorchDispatchMode):
    def __init__(self, refuses: str | None) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []
        self.undo: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._refuses = refuses

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        schema = function._schema
        if schema.name == self._refuses:
            raise RuntimeError("operation not permitted when stream is capturing")
        if schema.name == "aten::_local_scalar_dense" and not schema.name.startswith("aten::_fused"):
            raise RuntimeError("a number was read from the device while capturing")
        changed = [each for place, each in enumerate(args) if place in HIDDEN.get(schema.name, ())]
        for place, argument in enumerate(schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                changed.append(args[place] if place < len(args) else kwargs.get(argument.name))
        for tensor in _tensors(changed):
            self.undo.append((tensor, tensor.clone()))
        result = function(*args, **kwargs)
        detached = tree_map(lambda each: each.detach() if isinstance(each, torch.Tensor) else each, (args, kwargs))
        is_view = any(each.alias_info is not None and not each.alias_info.is_write for each in schema.returns)
        if not is_view:
            self.calls.append((function, *detached, result))
        return result


def _tensors(value: Any) -> list[torch.Tensor]:
    return [each for each in tree_flatten(value)[0] if isinstance(each, torch.Tensor)]
