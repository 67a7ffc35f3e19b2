"""The costs of a torch module that is not made of our layers, counted on one run.

Every operator that runs is seen where PyTorch dispatches it, and its multiplications are counted by the formulas of
`torch.utils.flop_counter` (which prints twice as much, a multiply and an add each). For that run attention is made to
be the matrix products that it consists of, not a fused operator. fvcore's count of the same module, from a trace,
stands beside it.
"""

from __future__ import annotations

import contextlib
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from searchspaces.cost import Cost
from searchspaces.errors import UserError
from searchspaces.task import Task

_aten: Final = torch.ops.aten
_PRODUCTS: Final[dict[Any, Callable[..., int]]] = {
    _aten.mv: lambda matrix, vector, **_: matrix.numel(),
    _aten.addmv: lambda to, matrix, vector, **_: matrix.numel(),
    _aten.dot: lambda one, other, **_: one.numel(),
    _aten.addbmm: lambda to, batch1, batch2, **_: batch1.numel() * batch2.shape[-1],
    # an LSTM's layer on a CPU, in one direction: every step multiplies (batch, channels) by both matrices
    _aten.mkldnn_rnn_layer: lambda x, given, hidden, *_, **__: (
        x.shape[0] * x.shape[1] * (given.numel() + hidden.numel())
    ),
}
"""MACs of products that torch's formulas leave out."""

_MOVES: Final = {
    "_unsafe_view", "arange", "cat", "clone", "copy", "empty", "fill", "full", "new_empty", "new_zeros", "ones",
    "stack", "transpose", "unsafe_split", "zero", "zeros", "zeros_like",
}  # fmt: skip
"""Operators that make or copy tensors and compute nothing, besides views."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What one run of a module costs.

    Attributes:
        cost: MACs of convolutions, linear layers and matrix products; all parameters, frozen ones too; activations of
            convolutions. A run does not tell the peak of memory, which is given as 0.
        uncounted: how often each other operator ran that computes something; they have no MACs.
        fvcore_macs: the sum of fvcore's `conv`, `linear`, `matmul`, `addmm`, `bmm` and `einsum`; None where it cannot
            trace the module.
        fvcore_unknown: how often each operator ran that fvcore has no formula for.
    """

    cost: Cost
    uncounted: Mapping[str, int]
    fvcore_macs: int | None
    fvcore_unknown: Mapping[str, int]


def counted(module: nn.Module, task: Task) -> Counted:
    """The cost of any torch module on one image.

    Args:
        module: takes (1, channels, height, width).
        task: the images it is for.

    Raises:
        UserError: the module cannot run on such images.
    """
    with _on(module, task) as images:
        with _unfused(), _Count() as count:
            module(images)
        cost, others = Cost(count.macs, _params(module), count.activations, 0), dict(count.others)
        try:
            theirs, unknown = _fvcore(module, images)
        except Exception:  # it cannot trace the module, or one of its formulas fails on the shapes
            return Counted(cost, others, None, {})
    return Counted(cost, others, theirs.macs, unknown)


def traced_cost(module: nn.Module, task: Task) -> Cost:
    """The cost of any torch module on one image as fvcore counts it: what the costs of our layers are tested against.

    Raises:
        UserError: the module cannot run on such images.
    """
    with _on(module, task) as images:
        return _fvcore(module, images)[0]


class _Count(TorchDispatchMode):
    """Counts what is dispatched while it is entered."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs = self.activations = 0
        self.others: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, packet = kwargs or {}, func._overloadpacket
        known = packet in flop_registry or packet in _PRODUCTS
        if not known:  # what is made of others arrives whole in inference mode
            with self:
                made = func.decompose(*args, **kwargs)
            if made is not NotImplemented:
                return made
        out = func(*args, **kwargs)
        if packet in _PRODUCTS:
            self.macs += _PRODUCTS[packet](*args, **kwargs)
        elif known:
            self.macs += flop_registry[packet](*args, **kwargs, out_val=out) // 2
        elif not (func.is_view or (name := packet.__name__.rstrip("_")) in _MOVES):  # in place or not
            self.others[name.lstrip("_")] += 1
        if packet is _aten.convolution:
            self.activations += out.numel()
        return out


@contextlib.contextmanager
def _on(module: nn.Module, task: Task) -> Iterator[torch.Tensor]:
    """A black image for the module, which is in evaluation mode meanwhile; its failures are a person's."""
    training = {each: each.training for each in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            yield torch.zeros(1, *task.shape)
    except (RuntimeError, TypeError, ValueError) as error:
        reason = str(error).strip().splitlines()
        raise UserError(
            f"{type(module).__name__} does not run on {task}: {reason[0] if reason else error!r}"
        ) from error
    finally:
        for each, was in training.items():
            each.training = was


@contextlib.contextmanager
def _unfused() -> Iterator[None]:
    """With attention as the products that it is made of."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _fvcore(module: nn.Module, images: torch.Tensor) -> tuple[Cost, dict[str, int]]:
    """The cost that fvcore counts, and how often each operator ran that it does not know."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fvcore still traces with torch.jit, which torch deprecates
        from fvcore.nn import FlopCountAnalysis
        from fvcore.nn.jit_handles import conv_flop_jit, generic_activation_jit

        outputs = generic_activation_jit("outputs of conv")

        def convolution(given: Any, made: Any) -> Counter[str]:
            both: Counter[str] = conv_flop_jit(given, made) + outputs(given, made)
            return both

        # one trace for both counts, as it is what takes the time
        analysis = FlopCountAnalysis(module, images).set_op_handle("aten::_convolution", convolution)
        counts = analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).by_operator()
    macs = sum(int(counts[name]) for name in ("conv", "linear", "matmul", "addmm", "bmm", "einsum"))
    unknown = {name.removeprefix("aten::"): times for name, times in analysis.unsupported_ops().items()}
    return Cost(macs, _params(module), int(counts["outputs of conv"]), 0), unknown


def _params(module: nn.Module) -> int:
    """Of all parameters, frozen ones too."""
    return sum(each.numel() for each in module.parameters())
