"""Networks as torch modules: the calls of `searchspaces.calls`, made.

Weights are initialized as in the literature: convolutions by He's normal initialization, fan-out (arXiv:1502.01852),
norms with 1 and 0, linear layers from N(0, 0.01). Activations never work in place, as a value may have several readers.
Departure: batch norm has torch's momentum 0.1, and its eps 1e-5 where a layer says no other, in MBConv blocks too;
EfficientNet's code has 0.01 and 1e-3. Left out: bit-equality with the weights of other libraries.
"""

from __future__ import annotations

import importlib
import math
from collections import OrderedDict
from typing import Any

from torch import nn

from searchspaces import joins, layers, torch_layers
from searchspaces.calls import Call, call_of
from searchspaces.node import Node
from searchspaces.task import Shape


def build(node: Node, given: Shape, drop_path: float = 0.0, auxiliary: bool = False) -> nn.Module:
    """The module of a node for one input shape.

    Args:
        node: a network or a piece of one.
        given: channels, height and width (or features) of an input.
        drop_path: rate of the last `DropPath`; those before it rise linearly towards it: the i-th of n has i/n of it
            (Huang 2016, arXiv:1603.09382, sec. 3). They are counted over the residual blocks, from 1; EfficientNet's
            code counts over all blocks, from 0. Joins by a mean drop each of their inputs at that rate (FractalNet).
        auxiliary: whether to build the auxiliary heads.

    Returns:
        A module from (batch, *given) to (batch, *node.shape(given)); with auxiliary heads, during training, to a tuple
        of that and the logits of each head.

    Raises:
        ShapeError: the node cannot take that shape.
    """
    builder = _Builder()
    module = builder.module(node, given)
    paths = [each for each in module.modules() if isinstance(each, torch_layers.DropPath)]
    for index, path in enumerate(paths, start=1):
        path.rate = drop_path * index / len(paths)
    means = [each for each in module.modules() if isinstance(each, torch_layers.PathMean)]
    if drop_path and means:
        torch_layers.JoinPaths(means, drop_path)
    if auxiliary:
        builder.add_heads()
        module = torch_layers.WithAuxiliaries(module)
    _initialize(module)
    return module


class _Builder:
    """Makes modules, and remembers the places of auxiliary heads."""

    def __init__(self) -> None:
        self._places: list[tuple[torch_layers.Auxiliary, Node, Shape]] = []

    def module(self, node: Node, given: Any) -> nn.Module:
        """The module of a node, without auxiliary heads."""
        match node:
            case joins.Chain():
                steps = zip(node.names(), node.steps(given), strict=True)
                return nn.Sequential(OrderedDict((name, self.module(child, shape)) for name, (child, shape) in steps))
            case joins.Sum() | joins.Concat():
                node.shape(given)
                return self._joined(node)(*(self.module(branch, given) for branch in node.branches))
            case joins.Graph():
                return self._graph(node, given)
        made = _made(call_of(node, given))
        if isinstance(node, layers.Auxiliary) and isinstance(made, torch_layers.Auxiliary):
            self._places.append((made, node.head, given))
        return made

    def add_heads(self) -> None:
        """Build the auxiliary heads at their places."""
        for place, head, given in list(self._places):
            place.head = self.module(head, given)

    def _joined(self, node: joins.Sum | joins.Concat) -> type[torch_layers.Branches]:
        if isinstance(node, joins.Concat):
            return torch_layers.Concat
        return torch_layers.PathMeanBranches if isinstance(node, joins.Mean) else torch_layers.Sum

    def _graph(self, graph: joins.Graph, given: Any) -> nn.Module:
        nodes: list[nn.Module] = []
        for step, shape in zip(graph.steps, graph.shapes(given)[1], strict=True):
            shared = step.weights_of
            nodes.append(self.module(step.node, shape) if shared is None else nodes[shared - graph.inputs])
        return torch_layers.Graph(nodes, [step.inputs for step in graph.steps], [step.join for step in graph.steps])


def _made(call: Call) -> nn.Module:
    """The module that a call gives."""
    if call.name.startswith("nn."):
        kind = getattr(nn, call.name.removeprefix("nn."))
    else:
        kind = getattr(importlib.import_module(call.home), call.name)
    arguments: list[Any] = []
    keywords: dict[str, Any] = {}
    for argument in call.arguments:
        value: Any = argument.value
        if isinstance(value, Call):
            value = _made(value)
        elif argument.numbers is not None:
            numbers = tuple(each.value for each in argument.numbers)
            value = numbers if len(numbers) > 1 else numbers[0]
        if argument.keyword:
            keywords[argument.keyword] = value
        else:
            arguments.append(value)
    made: nn.Module = kind(*arguments, **keywords)
    return made


def _initialize(module: nn.Module) -> None:
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
