"""One set of weights for all networks of a space: each network has a slice of it.

A weight is shared by place: by the stage and the block that it is in, and its position in a block of that form. Of
filters and neurons a narrower layer has the first ones, of its input's channels the first too (Guo et al. 2020, *Single
Path One-Shot*, arXiv:1904.00420, sec. 3, "channel number search"), and of a kernel the centre (Cai et al. 2020,
*Once-for-All*, arXiv:1908.09791, sec. 3, "elastic kernel size"). Blocks of another form share nothing: with
squeeze-and-excitation or without it they are of one form, as the gate stands beside what is there; with an expansion or
without it they are not.

It works on modules, whatever space they are from; shapes are those of the networks that it is made of. Departure:
Once-for-All transforms the centre of a kernel by a matrix of its own, which is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeVar

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    Part = tuple[slice, ...]

Network = TypeVar("Network")

BLOCK: Final = re.compile(r".*\bnodes\.\d+|[^.]+(\.\d+)?")
"""What the name of a module begins with that is one block: a node of a graph, or a piece of a stage."""
NOTHING_NEW: Final = 200
"""Networks that add nothing, after which no more are looked at."""
BESIDE: Final = (".reduce", ".expand")
"""What the names of a gate's layers end with: squeeze-and-excitation stands beside the other layers of a block."""


def places(module: nn.Module) -> dict[str, str]:
    """The place of each parameter of a network, by its name; networks share what has the same place.

    >>> wide, narrow = (nn.Sequential(nn.Conv2d(3, width, kernel)) for width, kernel in ((8, 3), (4, 5)))
    >>> places(wide)
    {'0.weight': '0 conv: conv 0 weight', '0.bias': '0 conv: conv 0 bias'}
    >>> places(wide) == places(narrow)
    True
    """
    blocks: dict[str, list[tuple[str, nn.Module, str]]] = {}
    for name, layer in module.named_modules():
        if any(True for _ in layer.parameters(recurse=False)):
            found = BLOCK.match(name)
            blocks.setdefault(found[0] if found else "", []).append((name, layer, _kind(name, layer)))
    known: dict[str, str] = {}
    for block, layers in blocks.items():
        form = " ".join(kind for _, _, kind in layers if kind not in ("norm", "gate"))
        counts: dict[str, int] = {}
        for name, layer, kind in layers:
            number = counts.setdefault(kind, 0)
            counts[kind] += 1
            for own, _ in layer.named_parameters(recurse=False):
                known[f"{name}.{own}" if name else own] = f"{block} {form}: {kind} {number} {own}"
    return known


def _kind(name: str, layer: nn.Module) -> str:
    """What a layer is, whatever its width and kernel."""
    if name.endswith(BESIDE):
        return "gate"
    if isinstance(layer, nn.Conv2d):
        if layer.groups > 1:
            return "depthwise" if layer.groups == layer.in_channels else f"conv/{layer.groups}"
        return "pointwise" if layer.kernel_size == (1, 1) else "conv"
    if isinstance(layer, nn.modules.batchnorm._BatchNorm):
        return "norm"
    return type(layer).__name__.lower()


def part(whole: torch.Size, wanted: torch.Size) -> Part:
    """Where a tensor lies in a larger one: first channels, centre of the kernel.

    >>> part(torch.Size([8, 4, 5, 5]), torch.Size([6, 2, 3, 3]))
    (slice(0, 6, None), slice(0, 2, None), slice(1, 4, None), slice(1, 4, None))
    """
    starts = [0 if axis < 2 else (size - own) // 2 for axis, (size, own) in enumerate(zip(whole, wanted, strict=True))]
    return tuple(slice(start, start + own) for start, own in zip(starts, wanted, strict=True))


class SharedWeights(nn.Module):
    """The weights of many networks.

    Args:
        build: makes the module of a network.
        networks: those whose weights are shared; all places and the largest shapes are theirs. Of many, as many are
            looked at as it takes for `NOTHING_NEW` in a row to have no new place and no larger shape.
        seed: of the initial weights: each is that of the first network which has it, as that network is initialized.

    Attributes:
        places: of all of them.
        tensors: one for each place.
    """

    def __init__(self, build: Callable[[Network], nn.Module], networks: Iterable[Network], seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        tensors: dict[str, Tensor] = {}  # NaN where no network was yet
        since = 0
        for network in networks:
            module, since = build(network), since + 1
            for name, place in places(module).items():
                own = module.get_parameter(name).detach()
                known = tensors.get(place, own)
                size = torch.Size(map(max, own.shape, known.shape))
                if place not in tensors or size != known.shape:
                    since, tensors[place] = 0, torch.full(size, torch.nan)
                    tensors[place][part(size, known.shape)] = known
                there = tensors[place][part(size, own.shape)]
                there.copy_(torch.where(there.isnan(), own, there))
            if since == NOTHING_NEW:
                break
        for each in tensors.values():  # corners that no network has: one has all filters, another all channels
            known = each[~each.isnan()]
            drawn = torch.randn(each.shape) * (known.std() if known.numel() > 1 else 0.0) + known.mean()
            each.copy_(torch.where(each.isnan(), drawn, each))
        self.places = tuple(tensors)
        self._numbers = {place: number for number, place in enumerate(tensors)}
        self.tensors = nn.ParameterList(map(nn.Parameter, tensors.values()))

    def decayed(self, weight_decay: float) -> list[dict[str, Any]]:
        """Parameter groups as those of `estimators.steps.decayed`."""
        groups: tuple[list[Tensor], list[Tensor]] = ([], [])
        for place, tensor in zip(self.places, self.tensors, strict=True):
            groups[not (place.endswith(" weight") and tensor.ndim > 1)].append(tensor)
        return [{"params": groups[0], "weight_decay": weight_decay}, {"params": groups[1], "weight_decay": 0.0}]

    def _pairs(self, module: nn.Module) -> Iterator[tuple[str, nn.Parameter, Tensor]]:
        """Of each parameter that lies within what is shared: its name, itself, and the slice that is its own."""
        for name, place in places(module).items():
            own = module.get_parameter(name)
            number = self._numbers.get(place)
            if number is None:
                continue
            shared = self.tensors[number]
            if all(size <= most for size, most in zip(own.shape, shared.shape, strict=True)):
                yield name, own, shared[part(shared.shape, own.shape)]

    def slices(self, module: nn.Module) -> dict[str, Tensor]:
        """The weights of a network by the names of its parameters, as views through which gradients flow."""
        return {name: shared for name, _, shared in self._pairs(module)}

    @torch.no_grad()
    def give(self, module: nn.Module) -> float:
        """Copy a network's weights into it; returns the share of its parameters that are shared, in [0, 1]."""
        given = 0
        for _, own, shared in self._pairs(module):
            own.copy_(shared)
            given += own.numel()
        return given / max(sum(each.numel() for each in module.parameters()), 1)
