"""The torch module that each node is; the only file of this package that imports torch.

Weights start as in the literature: He's normal initialisation, fan-out, for convolutions (arXiv:1502.01852), 1 and 0
for norms, N(0, 0.01) for linear layers. Activations never work in place here: a value may have several readers.
Left out: bit-equality with other libraries' weights.
"""

from __future__ import annotations

import math
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from searchspaces import layers
from searchspaces.cost import Cost
from searchspaces.errors import UserError
from searchspaces.layers import Node
from searchspaces.task import Shape, Task

ACTIVATION_MODULES: Final[Mapping[str, Callable[[], nn.Module]]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "silu": nn.SiLU,
    "hard_swish": nn.Hardswish,
    "mish": nn.Mish,
    "elu": nn.ELU,
    "leaky_relu": lambda: nn.LeakyReLU(0.1),
    "gelu": nn.GELU,
    "sigmoid": nn.Sigmoid,
    "hard_sigmoid": nn.Hardsigmoid,
    "tanh": nn.Tanh,
}


def build(node: Node, given: Shape, drop_path: float = 0.0, auxiliary: bool = False) -> nn.Module:
    """The module of a node for inputs of one shape.

    Args:
        node: the network or a piece of it.
        given: channels, height and width (or features) of one input.
        drop_path: rate of the last `DropPath`; those before it rise linearly towards it. Joins that average drop each
            of their inputs at that rate (FractalNet).
        auxiliary: whether its auxiliary heads are built.

    Returns:
        A module from (batch, *given) to (batch, *node.shape(given)); with auxiliary heads, while training, to a tuple
        of that and each head's logits.

    Raises:
        ShapeError: if the node cannot take that shape.
    """
    module = _build(node, given)
    paths = [each for each in module.modules() if isinstance(each, _DropPath)]
    for index, path in enumerate(paths, start=1):
        path.rate = drop_path * index / len(paths)
    joins = [each for each in module.modules() if isinstance(each, _Mean)]
    if drop_path and joins:
        _JoinPaths(joins, drop_path)
    if auxiliary:
        module = _WithAuxiliaries(module)
    _initialise(module)
    return module


def _build(node: Node, given: Any) -> nn.Module:
    for kind in type(node).__mro__:
        if kind in _MODULES:
            return _MODULES[kind](node, given)
    raise TypeError(f"no module is known for {type(node).__name__}")


def _initialise(module: nn.Module) -> None:
    for each in module.modules():
        if isinstance(each, nn.Conv2d):
            fan_out = math.prod(each.kernel_size) * each.out_channels // each.groups
            nn.init.normal_(each.weight, 0.0, math.sqrt(2.0 / fan_out))
            if each.bias is not None:
                nn.init.zeros_(each.bias)
        elif isinstance(each, nn.Linear):
            nn.init.normal_(each.weight, 0.0, 0.01)
            if each.bias is not None:
                nn.init.zeros_(each.bias)


class _Activation(nn.Module):
    """An activation times a constant."""

    def __init__(self, kind: str, scale: float) -> None:
        super().__init__()
        self.act, self.scale = ACTIVATION_MODULES[kind](), scale

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(x) * self.scale
        return out


class _StandardizedConv(nn.Conv2d):
    """Weights standardized per output channel, times a learnt gain (Brock 2021, arXiv:2102.06171, eq. 1)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.gain = nn.Parameter(torch.ones(self.out_channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        fan_in = self.weight[0].numel()
        flat = self.weight.flatten(1)  # (out channels, fan in)
        mean, var = flat.mean(1), flat.var(1, unbiased=False)
        scale = torch.rsqrt(torch.clamp(var * fan_in, min=1e-4)).view(-1, 1, 1, 1) * self.gain
        weight = (self.weight - mean.view(-1, 1, 1, 1)) * scale
        return functional.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class _DropPath(nn.Module):
    """Drops whole images' branches while training; what stays is scaled up to keep the mean."""

    rate: float = 0.0

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return x
        keep = 1.0 - self.rate
        mask = torch.rand((x.shape[0],) + (1,) * (x.ndim - 1), device=x.device) < keep  # (batch, 1, 1, 1)
        return x * mask.to(x.dtype) / keep

    def extra_repr(self) -> str:
        return f"rate={self.rate:.3f}"


class _Mean(nn.Module):
    """The mean of several values; while training, of those that drop-path leaves where it is asked for."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.inputs = inputs
        self.paths: _JoinPaths | None = None
        self.first = False  # whether the joins of the network begin with it

    def forward(self, values: list[Tensor]) -> Tensor:
        if self.paths is None or not self.training:
            return _sum(values) / len(values)
        shares = self.paths.sample(len(values), values[0], anew=self.first)
        return _sum([value * share for value, share in zip(values, shares, strict=True)])


class _JoinPaths:
    """FractalNet's drop-path (Larsson 2017, arXiv:1605.07648, sec. 3.1): joins average only the inputs that are left.

    Half of the images lose each input of a join with probability `rate`, but never all (local); the others keep one
    column of the whole network, drawn uniformly (global). One departure: each image is sampled by itself, where the
    paper samples for a mini-batch.
    """

    def __init__(self, joins: Sequence[_Mean], rate: float) -> None:
        self.rate, self.columns = rate, max(join.inputs for join in joins)
        self.column = torch.empty(0)  # (images,): what is kept globally, or -1
        for index, join in enumerate(joins):
            join.paths, join.first = self, index == 0

    def sample(self, inputs: int, like: Tensor, anew: bool) -> Tensor:
        """What each input counts in the mean, of each image; shape (inputs, images, 1, ...).

        Args:
            inputs: of the join, from the shallowest column on.
            like: one of them.
            anew: whether to draw what is kept globally.
        """
        images, device = like.shape[0], like.device
        if anew:
            drawn = torch.randint(self.columns, (images,), device=device)
            self.column = torch.where(torch.rand(images, device=device) < 0.5, drawn, -1)
        left = torch.rand(inputs, images, device=device) >= self.rate
        number = torch.arange(inputs, device=device)[:, None]  # (inputs, 1)
        left |= ~left.any(0) & (number == torch.randint(inputs, (images,), device=device))
        chosen = (number == self.column) | (self.column >= inputs)  # a join that the column passes by: nobody reads it
        kept = torch.where(self.column < 0, left, chosen).to(like.dtype)
        return (kept / kept.sum(0)).view(inputs, images, *(1,) * (like.ndim - 1))


class _Scaled(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


class _Gain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain


class _SqueezeExcite(nn.Module):
    """Channels reweighted by the mean over the image."""

    def __init__(self, channels: int, reduced: int, act: str, gate: str) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, reduced, 1)
        self.act = ACTIVATION_MODULES[act]()
        self.expand = nn.Conv2d(reduced, channels, 1)
        self.gate = ACTIVATION_MODULES[gate]()

    def forward(self, x: Tensor) -> Tensor:
        weight: Tensor = self.gate(self.expand(self.act(self.reduce(x.mean((2, 3), keepdim=True)))))  # (batch, c, 1, 1)
        return x * weight


class _Slice(nn.Module):
    def __init__(self, start: int, stop: int) -> None:
        super().__init__()
        self.start, self.stop = start, stop

    def forward(self, x: Tensor) -> Tensor:
        return x[:, self.start : self.stop]


class _Pad(nn.Module):
    def __init__(self, more: int) -> None:
        super().__init__()
        self.more = more

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x, (0, 0, 0, 0, 0, self.more))


class _Resize(nn.Module):
    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.size = height, width

    def forward(self, x: Tensor) -> Tensor:
        return functional.interpolate(x, self.size, mode="bilinear", align_corners=False)


class _Shift(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x[:, :, 1:, 1:], (0, 1, 0, 1))


class _Auxiliary(nn.Module):
    """The place of an auxiliary head; without the head, nothing."""

    def __init__(self, node: Node, given: Shape) -> None:
        super().__init__()
        self.node, self.given = node, given
        self.head: nn.Module | None = None
        self.logits: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.head is not None:
            self.logits = self.head(x)  # (batch, classes)
        return x


class _WithAuxiliaries(nn.Module):
    """A network that gives the logits of its auxiliary heads too, while training."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        for place in self._places():
            place.head = _build(place.node, place.given)

    def _places(self) -> list[_Auxiliary]:
        return [each for each in self.network.modules() if isinstance(each, _Auxiliary)]

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor | None, ...]:
        logits: Tensor = self.network(x)
        if not self.training:
            return logits
        heads = [place.logits for place in self._places()]
        for place in self._places():
            place.logits = None  # the graph of a step is freed with the step
        return (logits, *heads)


class _Branches(nn.Module):
    """Modules on one input, joined."""

    def __init__(self, branches: list[nn.Module], join: Callable[[list[Tensor]], Tensor]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.join = join

    def forward(self, x: Tensor) -> Tensor:
        return self.join([branch(x) for branch in self.branches])


class _Graph(nn.Module):
    """Free wiring; values are dropped after their last use."""

    def __init__(self, graph: layers.Graph, given: Shape) -> None:
        super().__init__()
        joined = graph.shapes(given)[1]
        self.nodes = nn.ModuleList()
        for step, shape in zip(graph.steps, joined, strict=True):
            shared = step.weights_of
            self.nodes.append(_build(step.node, shape) if shared is None else self.nodes[shared - graph.inputs])
        self.inputs = [step.inputs for step in graph.steps]
        self.joins = [_Mean(len(step.inputs)) if step.join == "mean" else _JOINS.get(step.join) for step in graph.steps]
        self.means = nn.ModuleList(join for join in self.joins if isinstance(join, _Mean))
        last = {value: index for index, inputs in enumerate(self.inputs) for value in inputs}
        self.freed = [[v for v, used in last.items() if used == index] for index in range(len(self.inputs))]

    def forward(self, *given: Tensor) -> Tensor:
        values: dict[int, Tensor] = dict(enumerate(given))
        for index, (node, join) in enumerate(zip(self.nodes, self.joins, strict=True)):
            inputs = [values[value] for value in self.inputs[index]]
            values[len(given) + index] = node(join(inputs)) if join and len(inputs) > 1 else node(*inputs)
            for value in self.freed[index]:
                del values[value]
        return values[len(given) + len(self.nodes) - 1]


def _sum(values: list[Tensor]) -> Tensor:
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


def _concat(values: list[Tensor]) -> Tensor:
    return torch.cat(values, dim=1)


_JOINS: Final[Mapping[str, Callable[[list[Tensor]], Tensor]]] = {"sum": _sum, "concat": _concat}


def _conv(node: layers.Conv, given: Shape) -> nn.Module:
    node.shape(given)
    kind = _StandardizedConv if node.standardized else nn.Conv2d
    return kind(
        given[0], node.width, node.kernel_hw, node.stride, node.padding_hw, node.dilation, node.groups, bias=node.bias
    )


def _linear(node: layers.Linear, given: Shape) -> nn.Module:
    node.shape(given)
    return nn.Linear(given[0], node.width, bias=node.bias)


def _norm(node: layers.Norm, given: Shape) -> nn.Module:
    if node.kind == "local_response":
        return nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0)
    kind = nn.BatchNorm2d if len(given) == 3 else nn.BatchNorm1d
    return kind(given[0], eps=1e-5 if node.eps is None else node.eps)


def _act(node: layers.Act, given: Shape) -> nn.Module:
    return ACTIVATION_MODULES[node.kind]() if node.scale == 1.0 else _Activation(node.kind, node.scale)


def _pool(node: layers.Pool, given: Shape) -> nn.Module:
    node.shape(given)
    if node.kind == "max":
        return nn.MaxPool2d(node.kernel, node.stride, node.padding_side, ceil_mode=node.ceil)
    return nn.AvgPool2d(node.kernel, node.stride, node.padding_side, ceil_mode=node.ceil, count_include_pad=False)


def _chain(node: layers.Chain, given: Shape) -> nn.Module:
    steps = zip(node.names(), node.steps(given), strict=True)
    return nn.Sequential(OrderedDict((name, _build(child, shape)) for name, (child, shape) in steps))


def _branches(node: layers.Sum | layers.Concat, given: Shape) -> nn.Module:
    node.shape(given)
    averaged = _Mean(len(node.branches)) if isinstance(node, layers.Mean) else _sum
    join = _concat if isinstance(node, layers.Concat) else averaged
    return _Branches([_build(branch, given) for branch in node.branches], join)


_MODULES: Final[Mapping[type[Node], Callable[[Any, Shape], nn.Module]]] = {
    layers.Conv: _conv,
    layers.Linear: _linear,
    layers.Norm: _norm,
    layers.Act: _act,
    layers.Pool: _pool,
    layers.GlobalPool: lambda node, given: (nn.AdaptiveAvgPool2d if node.kind == "avg" else nn.AdaptiveMaxPool2d)(1),
    layers.SqueezeExcite: lambda node, given: _SqueezeExcite(given[0], node.reduced, node.act, node.gate),
    layers.Dropout: lambda node, given: nn.Dropout(node.rate),
    layers.DropPath: lambda node, given: _DropPath(),
    layers.Scaled: lambda node, given: _Scaled(node.factor),
    layers.Gain: lambda node, given: _Gain(),
    layers.Flatten: lambda node, given: nn.Flatten(),
    layers.Identity: lambda node, given: nn.Identity(),
    layers.Auxiliary: lambda node, given: _Auxiliary(node.head, given),
    layers.Slice: lambda node, given: _Slice(node.start, node.stop),
    layers.Shuffle: lambda node, given: nn.ChannelShuffle(node.groups),
    layers.Pad: lambda node, given: _Pad(node.width - given[0]),
    layers.Resize: lambda node, given: _Resize(*node.shape(given)[1:]),
    layers.Shift: lambda node, given: _Shift(),
    layers.Chain: _chain,
    layers.Sum: _branches,
    layers.Concat: _branches,
    layers.Graph: _Graph,
}


def traced_cost(module: nn.Module, task: Task) -> Cost:
    """The cost of any torch module, counted by fvcore on one traced run; exact only for what fvcore knows.

    Counts the sum of fvcore's `conv`, `linear`, `matmul`, `addmm`, `bmm` and `einsum`, and trained parameters.
    Activations are those of convolutions; the peak of memory is not told by a trace and is given as 0.

    Args:
        module: takes (1, channels, height, width).
        task: the images it is for.

    Raises:
        UserError: if the module cannot run on such images.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from fvcore.nn import ActivationCountAnalysis, FlopCountAnalysis

    images = torch.zeros(1, *task.shape)
    training = module.training
    module.eval()
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # fvcore still traces with torch.jit, which torch deprecates
            flops = FlopCountAnalysis(module, images).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
            by_operator = flops.by_operator()
            counted = ActivationCountAnalysis(module, images).unsupported_ops_warnings(False)
            activations = counted.uncalled_modules_warnings(False).by_operator()
    except (RuntimeError, TypeError, ValueError) as error:
        reason = str(error).strip().splitlines()
        raise UserError(
            f"{type(module).__name__} does not run on {task}: {reason[0] if reason else error!r}"
        ) from error
    finally:
        module.train(training)
    macs = sum(int(by_operator[name]) for name in ("conv", "linear", "matmul", "addmm", "bmm", "einsum"))
    params = sum(each.numel() for each in module.parameters() if each.requires_grad)
    return Cost(macs, params, int(activations["conv"]), 0)
