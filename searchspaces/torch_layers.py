"""The layers that torch does not have, as plain torch modules.

`searchspaces.modules` builds networks from them, and `searchspaces.source` copies the classes that a network needs into
its source, so a class may use nothing but torch, `Any` and this file. Those that only training uses are at the end; a
source does without them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Branches(nn.Module):
    """Branches on one input."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def outputs(self, x: Tensor) -> list[Tensor]:
        return [branch(x) for branch in self.branches]


def added(values: list[Tensor]) -> Tensor:
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


class Sum(Branches):
    """Branches on one input, added."""

    def forward(self, x: Tensor) -> Tensor:
        return added(self.outputs(x))


class Mean(Branches):
    """Branches on one input, averaged."""

    def forward(self, x: Tensor) -> Tensor:
        return added(self.outputs(x)) / len(self.branches)


class Concat(Branches):
    """Branches on one input, concatenated in channels."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(self.outputs(x), 1)


class SqueezeExcite(nn.Module):
    """Channels weighted by a gate on their means over the image."""

    def __init__(self, channels: int, reduced: int, act: nn.Module, gate: nn.Module) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, reduced, 1)
        self.act = act
        self.expand = nn.Conv2d(reduced, channels, 1)
        self.gate = gate

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((2, 3), keepdim=True)  # (batch, channels, 1, 1)
        weight: Tensor = self.gate(self.expand(self.act(self.reduce(mean))))
        return x * weight


class SpatialTransformer(nn.Module):
    """The input sampled bilinearly on an affine grid that a network decides for each image; at first the identity."""

    def __init__(self, features: int, *localisation: nn.Module) -> None:
        super().__init__()
        self.localisation = nn.Sequential(*localisation)
        self.pose = nn.Parameter(torch.zeros(6, features))
        self.shift = nn.Parameter(torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]))

    def forward(self, x: Tensor) -> Tensor:
        matrices = functional.linear(self.localisation(x), self.pose, self.shift).float()  # (batch, 6)
        across, down = (
            (2 * torch.arange(side, device=x.device) + 1) / side - 1 for side in (x.shape[3], x.shape[2])
        )  # centres of pixels, in half sides from the middle
        a, b, c, d, e, f = matrices[:, :, None, None].unbind(1)  # (batch, 1, 1) each
        columns = a * across + b * down[:, None] + c  # (batch, height, width)
        rows = d * across + e * down[:, None] + f
        grid = torch.stack([columns, rows], 3)
        return functional.grid_sample(x.float(), grid, align_corners=False).to(x.dtype)


class StandardizedConv(nn.Conv2d):
    """A convolution with weights standardized per output channel and multiplied by a learnt gain."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.gain = nn.Parameter(torch.ones(self.out_channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        flat = self.weight.flatten(1)  # (output channels, fan-in)
        mean, var = flat.mean(1), flat.var(1, unbiased=False)
        scale = torch.rsqrt(torch.clamp(var * flat.shape[1], min=1e-4)).view(-1, 1, 1, 1) * self.gain
        weight = (self.weight - mean.view(-1, 1, 1, 1)) * scale
        return functional.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class LayerNorm2d(nn.LayerNorm):
    """Layer normalization over the channels of each pixel."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class GroupNorm(nn.GroupNorm):
    """Group normalization that does not crash: torch 2.13's does on a CPU, backward, on channels-last images."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if x.requires_grad else x.contiguous())


class ScaledActivation(nn.Module):
    """An activation times a constant."""

    def __init__(self, act: nn.Module, scale: float) -> None:
        super().__init__()
        self.act, self.scale = act, scale

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(x) * self.scale
        return out


class Multiply(nn.Module):
    """The input times a constant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


class Gain(nn.Module):
    """The input times one learnt number."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain


class DropConnect(nn.Linear):
    """A fully connected layer whose weights are set to zero at random during training; the others are scaled up."""

    generator: torch.Generator | None = None

    def __init__(self, features: int, width: int, rate: float, bias: bool = True) -> None:
        super().__init__(features, width, bias)
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        drawn = torch.rand(self.weight.shape, device=x.device, generator=self.generator)  # (width, features)
        kept = (drawn >= self.rate).to(self.weight.dtype) / max(1.0 - self.rate, 1e-8)
        return functional.linear(x, self.weight * kept, self.bias)


class Maxout(nn.Module):
    """The largest of each group of neighbouring channels."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:
        grouped: Tensor = x.unflatten(1, (-1, self.pieces))
        return grouped.amax(2)  # (batch, groups, pieces, ...) to (batch, groups, ...)


class Gate(nn.Module):
    """The first half of the channels times the sigmoid of the second."""

    def __init__(self, shift: float) -> None:
        super().__init__()
        self.shift = shift

    def forward(self, x: Tensor) -> Tensor:
        value, gate = x.chunk(2, 1)
        return value * torch.sigmoid(gate + self.shift)


class Zero(nn.Module):
    """Zeros of the input's shape, after a stride."""

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, :: self.stride, :: self.stride] * 0.0  # layers before it have gradients, of zero


class Slice(nn.Module):
    """The channels from `start` up to, but not including, `stop`."""

    def __init__(self, start: int, stop: int) -> None:
        super().__init__()
        self.start, self.stop = start, stop

    def forward(self, x: Tensor) -> Tensor:
        return x[:, self.start : self.stop]


class Pad(nn.Module):
    """Channels of zeros appended."""

    def __init__(self, more: int) -> None:
        super().__init__()
        self.more = more

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x, (0, 0, 0, 0, 0, self.more))


class Shift(nn.Module):
    """A shift by one pixel up and left; the last row and column are zero."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x[:, :, 1:, 1:], (0, 1, 0, 1))


class Graph(nn.Module):
    """Free wiring: each step takes earlier values; a value is freed after its last use. A source writes it out.

    Args:
        nodes: the module of each step; steps with shared weights have the same one.
        inputs: of each step, the numbers of the values it takes.
        joins: of each step, how its inputs become one: `sum`, `mean` or `concat`; `apart` leaves them several.
    """

    def __init__(self, nodes: Iterable[nn.Module], inputs: Sequence[Sequence[int]], joins: Sequence[str]) -> None:
        super().__init__()
        self.nodes = nn.ModuleList(nodes)
        self.inputs, self.joins = inputs, joins
        self.means = nn.ModuleDict(
            {str(index): PathMean(len(inputs[index])) for index, join in enumerate(joins) if join == "mean"}
        )
        last = {value: index for index, values in enumerate(inputs) for value in values}
        self.freed = [[value for value, used in last.items() if used == index] for index in range(len(inputs))]

    def forward(self, *given: Tensor) -> Tensor:
        values: dict[int, Tensor] = dict(enumerate(given))
        for index, node in enumerate(self.nodes):
            inputs = [values[value] for value in self.inputs[index]]
            values[len(given) + index] = node(*self._joined(index, inputs))
            for value in self.freed[index]:
                del values[value]
        return values[len(given) + len(self.nodes) - 1]

    def _joined(self, index: int, inputs: list[Tensor]) -> list[Tensor]:
        join = self.joins[index]
        if len(inputs) == 1 or join == "apart":
            return inputs
        if join == "concat":
            return [torch.cat(inputs, 1)]
        return [self.means[str(index)](inputs) if join == "mean" else added(inputs)]


# Modules that matter during training only.


class DropPath(nn.Module):
    """Stochastic depth: zeroes the input of whole images at random; the others are scaled up to keep the mean."""

    rate: float = 0.0
    generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return x
        keep = 1.0 - self.rate
        shape = (x.shape[0],) + (1,) * (x.ndim - 1)  # (batch, 1, 1, 1)
        mask = torch.rand(shape, device=x.device, generator=self.generator) < keep
        return x * mask.to(x.dtype) / keep

    def extra_repr(self) -> str:
        return f"rate={self.rate:.3f}"


class PathMean(nn.Module):
    """The mean of several values; during training, with `paths`, of those that drop-path keeps."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.inputs = inputs
        self.paths: JoinPaths | None = None
        self.place = 0  # among the joins of the network

    def forward(self, values: list[Tensor]) -> Tensor:
        if self.paths is None or not self.training:
            return added(values) / len(values)
        shares = self.paths.sample(self.place, values)
        return added([value * share for value, share in zip(values, shares, strict=True)])


class PathMeanBranches(Mean):
    """Branches on one input, averaged by a `PathMean`."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__(*branches)
        self.join = PathMean(len(branches))

    def forward(self, x: Tensor) -> Tensor:
        mean: Tensor = self.join(self.outputs(x))
        return mean


class JoinPaths:
    """FractalNet's drop-path (Larsson 2017, arXiv:1605.07648, sec. 3.1): joins average only the inputs that are kept.

    Half of the images lose each input of a join with probability `rate`, but never all of them (local); the others keep
    one column of the whole network, drawn uniformly (global). One departure: paths are sampled per image, where the
    paper samples per mini-batch.
    """

    generator: torch.Generator | None = None

    def __init__(self, joins: Sequence[PathMean], rate: float) -> None:
        self.rate, self.columns = rate, max(join.inputs for join in joins)
        self.column = torch.empty(0)  # (images,): the column that an image keeps, or -1 for local sampling
        self._passed: set[int] = set()  # joins that this pass through the network has come to
        for place, join in enumerate(joins):
            join.paths, join.place = self, place

    def sample(self, join: int, values: Sequence[Tensor]) -> Tensor:
        """Weights of the inputs of a join in its mean, per image; shape (inputs, images, 1, ...).

        A join that comes again begins another pass, for which the global columns are drawn. So it is the first one in
        the order of computing that draws them, whatever the order of modules and whichever joins are frozen.

        Args:
            join: its place among the joins of the network.
            values: its inputs, from the shallowest column on.
        """
        inputs, like = len(values), values[0]
        images, device, drawn = like.shape[0], like.device, self.generator
        if not self._passed or join in self._passed:
            self._passed.clear()
            columns = torch.randint(self.columns, (images,), device=device, generator=drawn)
            self.column = torch.where(torch.rand(images, device=device, generator=drawn) < 0.5, columns, -1)
        self._passed.add(join)
        left = torch.rand(inputs, images, device=device, generator=drawn) >= self.rate
        number = torch.arange(inputs, device=device)[:, None]  # (inputs, 1)
        left |= ~left.any(0) & (number == torch.randint(inputs, (images,), device=device, generator=drawn))
        chosen = (number == self.column) | (self.column >= inputs)  # a join beside the column: its value is not used
        kept = torch.where(self.column < 0, left, chosen).to(like.dtype)
        return (kept / kept.sum(0)).view(inputs, images, *(1,) * (like.ndim - 1))


class DrawnDropout(nn.Dropout):
    """Dropout from a generator of its own; torch's draws from the one that all trainings of a process share."""

    generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0.0:
            return x
        mask = torch.rand(x.shape, device=x.device, generator=self.generator) >= self.p
        return x * mask.to(x.dtype) / (1.0 - self.p) if self.p < 1.0 else torch.zeros_like(x)


class DroppingLinear(nn.Linear):
    """A linear layer that drops inputs and weights in training; made of another by `dropping`."""

    drop_inputs: nn.Module
    drop_weights: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(self.drop_inputs(x), self.drop_weights(self.weight), self.bias)


def dropping(layer: nn.Linear, inputs: float, weights: float) -> None:
    """Make a linear layer drop its inputs and its weights at these rates in training."""
    layer.__class__ = DroppingLinear
    layer.drop_inputs, layer.drop_weights = nn.Dropout(inputs), nn.Dropout(weights)


class FullPrecisionConv(nn.Conv2d):
    """A convolution in float32 under autocast."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


def depthwise_in_full_precision(model: nn.Module) -> None:
    """Keep grouped convolutions in float32 under autocast: CPUs multiply matrices in bfloat16, and these are none."""
    for each in model.modules():
        if type(each) is nn.Conv2d and each.groups > 1:
            each.__class__ = FullPrecisionConv


def draw_from(model: nn.Module, generator: torch.Generator) -> None:
    """Make all random layers of a network draw from a generator, on the network's device.

    Layers of a person's own are left as they are.
    """
    for each in model.modules():
        if type(each) is nn.Dropout:
            each.__class__ = DrawnDropout
        if isinstance(each, DropPath | DrawnDropout | DropConnect):
            each.generator = generator
        elif isinstance(each, PathMean) and each.paths is not None:
            each.paths.generator = generator


class Auxiliary(nn.Module):
    """The place of an auxiliary head; the identity without one."""

    def __init__(self) -> None:
        super().__init__()
        self.head: nn.Module | None = None
        self.logits: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.head is not None:
            self.logits = self.head(x)  # (batch, classes)
        return x


def heads_of(model: nn.Module) -> list[nn.Module]:
    """The auxiliary heads of a network."""
    return [each.head for each in model.modules() if isinstance(each, Auxiliary) and each.head is not None]


class WithAuxiliaries(nn.Module):
    """A network that gives the logits of its auxiliary heads too during training."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor | None, ...]:
        places = [each for each in self.network.modules() if isinstance(each, Auxiliary)]
        try:
            logits: Tensor = self.network(x)
            return (logits, *(place.logits for place in places)) if self.training else logits
        finally:
            for place in places:
                place.logits = None  # the graph of a step is freed with the step, also where memory ran out in it
