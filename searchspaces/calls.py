"""The torch module of each layer, as data: the class that is called and its arguments. One line of `CALLS` a layer.

`searchspaces.modules` makes the calls and `searchspaces.source` writes them, so a network and its source are the same.
Nothing here imports torch: classes are names, `nn.Conv2d` for torch's own; the others are in
`searchspaces.torch_layers`, or in another module with such classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from searchspaces import layers
from searchspaces.layers import Node
from searchspaces.task import Shape

TORCH_LAYERS: Final = "searchspaces.torch_layers"
"""The module with the classes that torch does not have."""

Literal = bool | int | float | str | tuple[int, ...]


@dataclass(frozen=True)
class Number:
    """A number that may differ between two uses of a piece of a network, and then becomes a parameter of its source.

    Attributes:
        value: the number.
        kind: only numbers of one kind may become one parameter: `channels`, `kernel`, `padding`, `stride`, `dilation`,
            `factor`.
        hint: a name for a parameter.
    """

    value: float
    kind: str
    hint: str


@dataclass(frozen=True)
class Argument:
    """An argument of a call.

    Attributes:
        value: another call, numbers (two for (height, width)), or a literal.
        keyword: its name; empty for a positional argument.
        default: of a number with a keyword, the value that is not written.
    """

    value: Call | tuple[Number, ...] | Literal
    keyword: str = ""
    default: float | None = None

    @property
    def numbers(self) -> tuple[Number, ...] | None:
        """The value, if it is numbers."""
        value = self.value
        return value if isinstance(value, tuple) and isinstance(value[0], Number) else None


@dataclass(frozen=True, eq=False)
class Call:
    """A call of a class.

    Attributes:
        name: of the class; `nn.` in front for those of torch.
        arguments: positional ones first.
        labels: of an `nn.Sequential`, the names of its parts; empty for positions.
        graph: of free wiring, its layer.
        home: the module that defines the class.
    """

    name: str
    arguments: tuple[Argument, ...] = ()
    labels: tuple[str, ...] = ()
    graph: layers.Graph | None = None
    home: str = TORCH_LAYERS

    def calls(self) -> Iterator[Call]:
        """The calls among its arguments."""
        for argument in self.arguments:
            if isinstance(argument.value, Call):
                yield argument.value

    def numbers(self) -> list[Number]:
        """All numbers in it, in the order in which they are written."""
        found: list[Number] = []
        for argument in self.arguments:
            if isinstance(argument.value, Call):
                found += argument.value.numbers()
            else:
                found += argument.numbers or ()
        return found


def call_to(name: str, *arguments: Argument | Call | Literal, **keywords: Literal) -> Call:
    """A call of a class: `nn.ReLU`, one of `torch_layers`, or one of another module as `my_layers:MyLayer`."""
    home, _, kind = name.rpartition(":")
    given = [each if isinstance(each, Argument) else Argument(each) for each in arguments]
    given += [Argument(value, keyword) for keyword, value in keywords.items()]
    return Call(kind, tuple(given), home=home or TORCH_LAYERS)


def call_of(leaf: Node, given: Shape) -> Call:
    """The call that makes the module of a leaf for an input shape.

    Raises:
        ShapeError: the leaf cannot take that shape.
        TypeError: `CALLS` has no line for it.
    """
    leaf.shape(given)
    for kind in type(leaf).__mro__:
        if kind in CALLS:
            return CALLS[kind](leaf, given)
    raise TypeError(f"no torch module is known for {type(leaf).__name__}: add a line to CALLS in searchspaces/calls.py")


def channels(value: int, hint: str) -> Argument:
    """A number of channels."""
    return Argument((Number(value, "channels", hint),))


def size(
    kind: str, value: float | tuple[int, int], hint: str = "", keyword: str = "", default: float | None = None
) -> Argument:
    """Another number, or two for (height, width) if they differ."""
    sides = value if isinstance(value, tuple) else (value,)
    sides = sides[:1] if len(set(sides)) == 1 else sides
    return Argument(tuple(Number(side, kind, hint or kind) for side in sides), keyword, default)


_ACTIVATIONS: Final = {
    "relu": call_to("nn.ReLU"),
    "relu6": call_to("nn.ReLU6"),
    "silu": call_to("nn.SiLU"),
    "hard_swish": call_to("nn.Hardswish"),
    "mish": call_to("nn.Mish"),
    "elu": call_to("nn.ELU"),
    "leaky_relu": call_to("nn.LeakyReLU", 0.1),
    "gelu": call_to("nn.GELU"),
    "sigmoid": call_to("nn.Sigmoid"),
    "hard_sigmoid": call_to("nn.Hardsigmoid"),
    "tanh": call_to("nn.Tanh"),
}


def _conv(node: layers.Conv, given: Shape) -> Call:
    return call_to(
        "StandardizedConv" if node.standardized else "nn.Conv2d",
        channels(given[0], "c_in"),
        channels(node.width, "width"),
        size("kernel", node.kernel_hw),
        size("stride", node.stride_hw, keyword="stride", default=1),
        size("padding", node.padding_hw, keyword="padding", default=0),
        size("dilation", node.dilation, keyword="dilation", default=1),
        size("channels", node.groups, "groups", "groups", 1),
        **_bias(node.bias),
    )


def _linear(node: layers.Linear, given: Shape) -> Call:
    sizes = channels(given[0], "features"), channels(node.width, "width")
    if not node.drop_connect:
        return call_to("nn.Linear", *sizes, **_bias(node.bias))
    return call_to("DropConnect", *sizes, size("factor", float(node.drop_connect), "rate"), **_bias(node.bias))


def _bias(bias: bool) -> dict[str, Literal]:
    return {} if bias else {"bias": False}


def _norm(node: layers.Norm, given: Shape) -> Call:
    if node.kind == "local_response":
        # Krizhevsky 2012, sec. 3.3: alpha is 1e-4 times the sum over 5 channels, where torch takes their mean
        return call_to("nn.LocalResponseNorm", 5, alpha=5e-4, beta=0.75, k=2.0)
    flat, usual = len(given) == 1, {"batch": 1e-5, "layer": 1e-6}[node.kind]
    names = {"batch": ("nn.BatchNorm2d", "nn.BatchNorm1d"), "layer": ("LayerNorm2d", "nn.LayerNorm")}
    eps = usual if node.eps is None else float(node.eps)
    return call_to(names[node.kind][flat], channels(given[0], "width"), **({} if eps == 1e-5 else {"eps": eps}))


def _act(node: layers.Act, given: Shape) -> Call:
    act = _ACTIVATIONS[node.kind]
    return act if node.scale == 1.0 else call_to("ScaledActivation", act, node.scale)


def _pool(node: layers.Pool, given: Shape) -> Call:
    kernel, stride, padding = node.kernel, node.stride, node.padding_side
    if node.is_in_two_steps(given):  # exact: a maximum is one of maxima, and all parts of a window have one size
        height, width = node.rounds_up(given)
        return call_to(
            "nn.Sequential",
            _pool2d(node.kind, (kernel, 1), (stride, 1), (padding, 0), height),
            _pool2d(node.kind, (1, kernel), (1, stride), (0, padding), width),
        )
    left_out = any(node.windows(side)[1] for side in given[1:])  # ONNX counts these windows, so ceil is not written
    return _pool2d(node.kind, kernel, stride, padding, node.ceil and not left_out)


def _pool2d(
    kind: str,
    kernel: int | tuple[int, int],
    stride: int | tuple[int, int],
    padding: int | tuple[int, int],
    ceil: bool,
) -> Call:
    sizes = size("kernel", kernel), size("stride", stride), size("padding", padding, keyword="padding", default=0)
    rounding: dict[str, Literal] = {"ceil_mode": True} if ceil else {}
    if kind == "max":
        return call_to("nn.MaxPool2d", *sizes, **rounding)
    return call_to("nn.AvgPool2d", *sizes, **rounding, count_include_pad=False)


def _squeeze_excite(node: layers.SqueezeExcite, given: Shape) -> Call:
    sizes = channels(given[0], "width"), channels(node.reduced, "reduced")
    return call_to("SqueezeExcite", *sizes, _ACTIVATIONS[node.act], _ACTIVATIONS[node.gate])


def _spatial_transformer(node: layers.SpatialTransformer, given: Shape) -> Call:
    parts = (call_of(part, shape) for part, shape in node.localisation.steps(given))
    return call_to("SpatialTransformer", channels(node.hidden, "features"), *parts)


CALLS: Final[dict[type[Node], Callable[[Any, Any], Call]]] = {
    layers.Conv: _conv,
    layers.Linear: _linear,
    layers.Norm: _norm,
    layers.GroupNorm: lambda node, given: call_to(
        "GroupNorm", size("channels", node.groups, "groups"), channels(given[0], "width")
    ),
    layers.PReLU: lambda node, given: call_to("nn.PReLU", channels(given[0], "width")),
    layers.Act: _act,
    layers.Pool: _pool,
    layers.GlobalPool: lambda node, given: call_to(f"nn.Adaptive{node.kind.capitalize()}Pool2d", 1),
    layers.SqueezeExcite: _squeeze_excite,
    layers.SpatialTransformer: _spatial_transformer,
    layers.Dropout: lambda node, given: call_to("nn.Dropout", size("factor", float(node.rate), "rate")),
    layers.DropPath: lambda node, given: call_to("DropPath"),
    layers.Multiply: lambda node, given: call_to("Multiply", size("factor", float(node.factor))),
    layers.Gain: lambda node, given: call_to("Gain"),
    layers.Flatten: lambda node, given: call_to("nn.Flatten"),
    layers.Identity: lambda node, given: call_to("nn.Identity"),
    layers.Auxiliary: lambda node, given: call_to("Auxiliary"),
    layers.Zero: lambda node, given: call_to("Zero", size("stride", node.stride, keyword="stride", default=1)),
    layers.Slice: lambda node, given: call_to("Slice", channels(node.start, "start"), channels(node.stop, "stop")),
    layers.Maxout: lambda node, given: call_to("Maxout", size("channels", node.pieces, "pieces")),
    layers.Gate: lambda node, given: call_to("Gate", size("factor", float(node.shift), "shift")),
    layers.Shuffle: lambda node, given: call_to("nn.ChannelShuffle", size("channels", node.groups, "groups")),
    layers.Pad: lambda node, given: call_to("Pad", channels(node.width - given[0], "more")),
    layers.Resize: lambda node, given: call_to(
        "nn.Upsample", size=node.shape(given)[1:], mode="bilinear", align_corners=False
    ),
    layers.Shift: lambda node, given: call_to("Shift"),
}
"""For each kind of leaf, the call that makes its module for an input shape."""

TRAINING_ONLY: Final = ("DropPath", "Auxiliary")
"""Classes that pass their input on outside training: a source has `nn.Identity()` in their place."""
