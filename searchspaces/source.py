"""The Python source of a network: readable code that needs torch alone and has the parameters of the built module.

The text is made from the layers, as the module is, and computes the same, to the last bit. Pieces that come again
become functions, cells with free wiring become classes; what differs between their uses is a parameter. Left out is
what only training uses: stochastic depth and auxiliary heads, in whose place stands `nn.Identity()`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from searchspaces import layers
from searchspaces.layers import Node
from searchspaces.task import Shape

WIDTH: Final = 110
"""Characters of a line at most, where it can be broken."""

ACTIVATIONS: Final[Mapping[str, str]] = {
    "relu": "nn.ReLU()",
    "relu6": "nn.ReLU6()",
    "silu": "nn.SiLU()",
    "hard_swish": "nn.Hardswish()",
    "mish": "nn.Mish()",
    "elu": "nn.ELU()",
    "leaky_relu": "nn.LeakyReLU(0.1)",
    "gelu": "nn.GELU()",
    "sigmoid": "nn.Sigmoid()",
    "hard_sigmoid": "nn.Hardsigmoid()",
    "tanh": "nn.Tanh()",
}

_TOLD: Final = {
    "SqueezeExcite": "squeeze-excite",
    "nn.Linear": "linear",
    "nn.MaxPool2d": "max pool",
    "nn.AvgPool2d": "average pool",
}
"""What is told of a piece, convolutions aside."""

_DEFAULTS: Final = {"stride", "groups", "dilation"}
"""Parameters that are 1 where nothing is said."""

CLASSES: Final[Mapping[str, str]] = {
    "Sum": '''
class Sum(nn.Module):
    """Branches on one input, added."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        first, *others = [branch(x) for branch in self.branches]
        for other in others:
            first = first + other
        return first
''',
    "Mean": '''
class Mean(nn.Module):
    """Branches on one input, averaged."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        first, *others = [branch(x) for branch in self.branches]
        for other in others:
            first = first + other
        return first / len(self.branches)
''',
    "Concat": '''
class Concat(nn.Module):
    """Branches on one input, side by side in channels."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)
''',
    "SqueezeExcite": '''
class SqueezeExcite(nn.Module):
    """Channels reweighted by their means over the image."""

    def __init__(self, channels: int, reduced: int, act: nn.Module, gate: nn.Module) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, reduced, 1)
        self.act = act
        self.expand = nn.Conv2d(reduced, channels, 1)
        self.gate = gate

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((2, 3), keepdim=True)  # (batch, channels, 1, 1)
        return x * self.gate(self.expand(self.act(self.reduce(mean))))
''',
    "StandardizedConv": '''
class StandardizedConv(nn.Conv2d):
    """A convolution with weights standardized per output channel, times a learnt gain."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.gain = nn.Parameter(torch.ones(self.out_channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        flat = self.weight.flatten(1)  # (out channels, fan in)
        mean, var = flat.mean(1), flat.var(1, unbiased=False)
        scale = torch.rsqrt(torch.clamp(var * flat.shape[1], min=1e-4)).view(-1, 1, 1, 1) * self.gain
        weight = (self.weight - mean.view(-1, 1, 1, 1)) * scale
        return functional.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
''',
    "ScaledActivation": '''
class ScaledActivation(nn.Module):
    """An activation times a constant."""

    def __init__(self, act: nn.Module, scale: float) -> None:
        super().__init__()
        self.act, self.scale = act, scale

    def forward(self, x: Tensor) -> Tensor:
        return self.act(x) * self.scale
''',
    "Scaled": '''
class Scaled(nn.Module):
    """Its input times a constant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor
''',
    "Gain": '''
class Gain(nn.Module):
    """Its input times one learnt number."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain
''',
    "Slice": '''
class Slice(nn.Module):
    """The channels from `start` up to, not including, `stop`."""

    def __init__(self, start: int, stop: int) -> None:
        super().__init__()
        self.start, self.stop = start, stop

    def forward(self, x: Tensor) -> Tensor:
        return x[:, self.start : self.stop]
''',
    "Pad": '''
class Pad(nn.Module):
    """So many channels of zeros appended."""

    def __init__(self, more: int) -> None:
        super().__init__()
        self.more = more

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x, (0, 0, 0, 0, 0, self.more))
''',
    "Shift": '''
class Shift(nn.Module):
    """Moved one pixel up and left; the row and column at the end become zero."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x[:, :, 1:, 1:], (0, 1, 0, 1))
''',
}
"""Layers that torch does not have; a source holds those that its network uses."""


def source(network: Node, given: Shape) -> str:
    """Code that defines `network()`, which makes the module that `network` is.

    The module's state dict has the names and shapes of the one that `searchspaces.modules.build` makes without
    auxiliary heads.

    Args:
        network: a whole network.
        given: channels, height and width of one input.

    Raises:
        ShapeError: if it cannot take that shape.

    >>> from searchspaces.layers import Act, Chain, Conv, Norm
    >>> print(source(Chain(Chain(Conv(8, 3), Norm(), Act(), label="stem")), (3, 32, 32)).split("def")[1])
     network() -> nn.Module:
        stages = OrderedDict()
        # (3, 32, 32) to (8, 32, 32)
        stages["stem"] = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        return nn.Sequential(stages)
    """
    return _Source(network, given).text()


@dataclass(frozen=True)
class _Number:
    """A number that may differ between two uses of one piece.

    Attributes:
        value: here.
        kind: only numbers of one kind may become one parameter: `channels`, `kernel`, `padding`, `stride`, `dilation`,
            `factor`.
        hint: what a parameter that stands for it may be called.
    """

    value: float
    kind: str
    hint: str


@dataclass(frozen=True, eq=False)
class _Call:
    """A constructor's call.

    Attributes:
        name: of the class or function; `Cell` for free wiring, which is a class of its own.
        arguments: keyword (or nothing), then a call, numbers (two for a side that differs from the other) or text;
            with what a keyword is by default, at which it is not written.
        labels: of a chain whose parts have names.
        graph: the free wiring.
        form: a number that two calls have in common which differ in nothing but numbers.
    """

    name: str
    arguments: tuple[_Argument, ...]
    labels: tuple[str, ...]
    graph: layers.Graph | None
    form: int

    def calls(self) -> Iterator[_Call]:
        """The calls that are its arguments."""
        for argument in self.arguments:
            if isinstance(argument.value, _Call):
                yield argument.value

    def numbers(self) -> list[_Number]:
        """All numbers in it, in the order in which they are written."""
        found: list[_Number] = []
        for argument in self.arguments:
            if isinstance(argument.value, _Call):
                found += argument.value.numbers()
            elif not isinstance(argument.value, str):
                found += argument.value
        return found


@dataclass(frozen=True)
class _Argument:
    value: _Call | tuple[_Number, ...] | str
    keyword: str = ""
    default: str = ""


@dataclass
class _Piece:
    """A function or class: what is written instead of a piece that comes again.

    Attributes:
        name: of it.
        example: one of its uses.
        words: for each of its numbers, the parameter, the number, or what follows from a parameter.
        parameters: names, with the position of a number that each stands for.
    """

    name: str
    example: _Call
    words: list[str]
    parameters: dict[str, int] = field(default_factory=dict)

    def taken(self) -> str:
        """Its parameters, those that need not be given at the end."""
        numbers = self.example.numbers()
        kinds = {name: type(numbers[position].value).__name__ for name, position in self.parameters.items()}
        needed = [f"{name}: {kind}" for name, kind in kinds.items() if name not in _DEFAULTS]
        return ", ".join(needed + [f"{name}: {kind} = 1" for name, kind in kinds.items() if name in _DEFAULTS])

    def called_with(self, words: Sequence[str]) -> list[str]:
        """What is written in its brackets where the numbers are these."""
        given = {name: words[position] for name, position in self.parameters.items()}
        needed = [word for name, word in given.items() if name not in _DEFAULTS]
        return needed + [f"{name}={word}" for name, word in given.items() if name in _DEFAULTS and word != "1"]


class _Source:
    """Writes one network."""

    def __init__(self, network: Node, given: Shape) -> None:
        self._forms: dict[object, int] = {}
        self._network, self._given = network, given
        self._root = self._write(network, given)
        self._uses: dict[int, list[list[float]]] = {}  # of each form, the numbers of each of its uses
        self._examples: dict[int, _Call] = {}
        self._gather(self._root)
        self._pieces = self._find_pieces()

    def text(self) -> str:
        """The whole source."""
        parts = [self._piece_text(piece) for piece in self._pieces.values()]
        parts.append(self._network_text())
        body = "\n\n".join(parts)
        classes = [text.strip("\n") for name, text in CLASSES.items() if f"{name}(" in body]
        return "\n\n\n".join([*classes, *parts])

    # from layers to calls

    def _call(
        self,
        name: str,
        *arguments: _Argument | _Call | str,
        labels: tuple[str, ...] = (),
        graph: layers.Graph | None = None,
    ) -> _Call:
        given = tuple(each if isinstance(each, _Argument) else _Argument(each) for each in arguments)
        wiring = () if graph is None else (graph.inputs, *(each._values()[1:] for each in graph.steps))
        key = (name, tuple(map(_form, given)), labels, wiring)
        return _Call(name, given, labels, graph, self._forms.setdefault(key, len(self._forms)))

    def _write(self, node: Node, given: Any) -> _Call:
        match node:
            case layers.Chain():
                return self._chain(node, given)
            case layers.Sum() | layers.Concat():
                kind = type(node).__name__
                return self._call(kind, *(self._write(branch, given) for branch in node.branches))
            case layers.Graph():
                shapes = node.shapes(given)[1]
                steps = zip(node.steps, shapes, strict=True)
                return self._call("Cell", *(self._write(step.node, shape) for step, shape in steps), graph=node)
            case layers.Conv():
                return self._conv(node, given)
            case layers.Linear():
                bias = () if node.bias else (_Argument("False", "bias", "True"),)
                return self._call("nn.Linear", _channels(given[0], "features"), _channels(node.width, "width"), *bias)
            case layers.Norm() if node.kind == "local_response":
                return self._call("nn.LocalResponseNorm", "5", "alpha=1e-4", "beta=0.75", "k=2.0")
            case layers.Norm():
                name = "nn.BatchNorm2d" if len(given) == 3 else "nn.BatchNorm1d"
                eps = () if node.eps in (None, 1e-5) else (f"eps={node.eps!r}",)
                return self._call(name, _channels(given[0], "width"), *eps)
            case layers.Act() if node.scale == 1.0:
                return self._leaf(ACTIVATIONS[node.kind])
            case layers.Act():
                return self._call("ScaledActivation", ACTIVATIONS[node.kind], repr(node.scale))
            case layers.Pool():
                size, stride = _one("kernel", "kernel", node.kernel), _one("stride", "stride", node.stride)
                padding = _one("padding", "padding", node.padding_side, "padding", "0")
                more = ["ceil_mode=True"] if node.ceil else []
                more += [] if node.kind == "max" else ["count_include_pad=False"]
                return self._call(
                    "nn.MaxPool2d" if node.kind == "max" else "nn.AvgPool2d", size, stride, padding, *more
                )
            case layers.GlobalPool():
                return self._leaf(f"nn.Adaptive{'Avg' if node.kind == 'avg' else 'Max'}Pool2d(1)")
            case layers.SqueezeExcite():
                act, gate = ACTIVATIONS[node.act], ACTIVATIONS[node.gate]
                return self._call(
                    "SqueezeExcite", _channels(given[0], "width"), _channels(node.reduced, "reduced"), act, gate
                )
            case layers.Dropout():
                return self._call("nn.Dropout", _Argument((_Number(float(node.rate), "factor", "rate"),)))
            case layers.Scaled():
                return self._call("Scaled", _Argument((_Number(float(node.factor), "factor", "factor"),)))
            case layers.Gain():
                return self._leaf("Gain()")
            case layers.Flatten():
                return self._leaf("nn.Flatten()")
            case layers.Slice():
                return self._call("Slice", _channels(node.start, "start"), _channels(node.stop, "stop"))
            case layers.Shuffle():
                return self._call("nn.ChannelShuffle", _one("channels", "groups", node.groups))
            case layers.Pad():
                return self._call("Pad", _channels(node.width - given[0], "more"))
            case layers.Resize():
                _, height, width = node.shape(given)
                return self._leaf(f'nn.Upsample(size=({height}, {width}), mode="bilinear", align_corners=False)')
            case layers.Shift():
                return self._leaf("Shift()")
            case layers.Identity() | layers.DropPath():
                return self._leaf("nn.Identity()")
        raise TypeError(f"no source is known for {type(node).__name__}")

    def _leaf(self, text: str) -> _Call:
        """A call without anything that may differ."""
        name, _, arguments = text.removesuffix(")").partition("(")
        return self._call(name, *([arguments] if arguments else []))

    def _chain(self, node: layers.Chain, given: Shape) -> _Call:
        parts = [self._write(child, shape) for child, shape in node.steps(given)]
        names = node.names()
        labels = tuple(names) if names != [str(index) for index in range(len(names))] else ()
        return self._call("nn.Sequential", *parts, labels=labels)

    def _conv(self, node: layers.Conv, given: Shape) -> _Call:
        return self._call(
            "StandardizedConv" if node.standardized else "nn.Conv2d",
            _channels(given[0], "c_in"),
            _channels(node.width, "width"),
            _one("kernel", "kernel", node.kernel_hw),
            _one("stride", "stride", node.stride_hw, "stride", "1"),
            _one("padding", "padding", node.padding_hw, "padding", "0"),
            _one("dilation", "dilation", node.dilation, "dilation", "1"),
            _one("channels", "groups", node.groups, "groups", "1"),
            *(() if node.bias else (_Argument("False", "bias", "True"),)),
        )

    # from calls to functions and classes

    def _gather(self, call: _Call) -> list[float]:
        """The numbers of a call, noted with those of all other calls of its form."""
        numbers: list[float] = []
        for argument in call.arguments:
            if isinstance(argument.value, _Call):
                numbers += self._gather(argument.value)
            elif not isinstance(argument.value, str):
                numbers += [each.value for each in argument.value]
        self._uses.setdefault(call.form, []).append(numbers)
        self._examples.setdefault(call.form, call)
        return numbers

    def _find_pieces(self) -> dict[int, _Piece]:
        """What is written more than once where all that repeats is written once; inner pieces first."""
        written: Counter[int] = Counter()
        order: list[int] = []

        def visit(call: _Call) -> None:
            written[call.form] += 1
            if written[call.form] == 1:
                for each in call.calls():
                    visit(each)
                order.append(call.form)

        stages = {self._root.form, *(call.form for call in self._root.calls())}  # stages stand in `network` itself
        visit(self._root)
        pieces: dict[int, _Piece] = {}
        taken: Counter[str] = Counter()
        for form in order:
            call = self._examples[form]
            again = written[form] > 1 and _leaves(call) > 2 and form not in stages
            if call.graph is None and not again:
                continue
            word = _word(call)
            taken[word] += 1
            name = word if taken[word] == 1 else f"{word}{taken[word]}"
            pieces[form] = self._parametrised(name, call)
        return pieces

    def _parametrised(self, name: str, call: _Call) -> _Piece:
        """What differs between the uses of a form becomes a parameter; what always is the same number, one of them."""
        numbers = call.numbers()
        columns = list(zip(*self._uses[call.form], strict=True))
        names: dict[tuple[str, tuple[float, ...]], str] = {}
        piece = _Piece(name, call, [])
        last = max((i for i, each in enumerate(numbers) if each.hint == "width"), default=None)
        for position, (number, column) in enumerate(zip(numbers, columns, strict=True)):
            if len(set(column)) == 1:
                piece.words.append(str(column[0]))
                continue
            halves = tuple(2 * value + 1 for value in column)
            if number.kind == "padding" and ("kernel", halves) in names:
                piece.words.append(f"{names['kernel', halves]} // 2")
                continue
            key = number.kind, column
            if key not in names:
                ends = last is not None and columns[last] == column and number.kind == "channels"
                hint = ("channels" if number.hint == "c_in" else "c_out") if ends else number.hint
                same = sum(each.rstrip("0123456789") == hint for each in piece.parameters)
                names[key] = hint if not same else f"{hint}{same + 1}"
                piece.parameters[names[key]] = position
            piece.words.append(names[key])
        return piece

    # from functions and classes to text

    def _network_text(self) -> str:
        head = "def network() -> nn.Module:"
        if not isinstance(self._network, layers.Chain):
            return "\n".join([head, *self._lines(self._root, _words(self._root), 4, "return ")])
        lines = [head, "    stages = OrderedDict()"]
        for label, call, (node, shape) in zip(
            self._network.names(), self._root.calls(), self._network.steps(self._given), strict=True
        ):
            lines.append(f"    # {shape} to {node.shape(shape)}")
            lines += self._lines(call, _words(call), 4, f'stages["{label}"] = ')
        return "\n".join([*lines, "    return nn.Sequential(stages)"])

    def _piece_text(self, piece: _Piece) -> str:
        call = piece.example
        taken = piece.taken()
        if call.graph is None:
            head = [f"def {piece.name}({taken}) -> nn.Module:", f'    """{self._told(call, piece.words)}"""']
            return "\n".join(_wrapped_head(head) + self._lines(call, piece.words, 4, "return ", opened=True))
        lines = [f"class {piece.name}(nn.Module):", f'    """{self._told(call, piece.words)}"""', ""]
        lines += _wrapped_head([f"    def __init__(self{', ' if taken else ''}{taken}) -> None:"])
        lines += ["        super().__init__()", "        self.nodes = nn.ModuleList(", "            ["]
        for index, (part, words) in enumerate(_parts(call, piece.words)):
            if call.graph.steps[index].weights_of is None:
                lines += self._lines(part, words, 16, "", ",")
            else:
                lines.append("                nn.Identity(),  # until below")
        lines += ["            ]", "        )"]
        first = call.graph.inputs
        for index, step in enumerate(call.graph.steps):
            if step.weights_of is not None:
                lines.append(f"        self.nodes[{index}] = self.nodes[{step.weights_of - first}]  # the same weights")
        inputs = ", ".join(f"v{index}: Tensor" for index in range(first))
        lines += ["", f"    def forward(self, {inputs}) -> Tensor:", "        nodes = self.nodes"]
        for index, (step, part) in enumerate(zip(call.graph.steps, call.calls(), strict=True)):
            lines.append(f"        v{first + index} = {_step(step, index, part)}")
        return "\n".join([*lines, f"        return v{first + len(call.graph.steps) - 1}"])

    def _lines(
        self, call: _Call, words: Sequence[str], indent: int, before: str = "", after: str = "", opened: bool = False
    ) -> list[str]:
        """A call's text, broken where it is too long; a piece is called by its name, unless it is being `opened`."""
        pad = " " * indent
        line = f"{pad}{before}{self._line(call, words, opened)}{after}"
        piece = None if opened else self._pieces.get(call.form)
        arguments = list(_written_arguments(call, words))
        plain = not any(isinstance(part, _Call) for _, part, _ in arguments)
        if not call.labels and (len(line) <= WIDTH or plain or piece is not None):
            return [line]
        if piece is not None or not call.labels:
            inner = [f"{pad}    {keyword}{part}," for keyword, part, _ in arguments if isinstance(part, str)]
            for _, part, part_words in arguments:
                if isinstance(part, _Call):
                    inner += self._lines(part, part_words, indent + 4, "", ",")
            return [f"{pad}{before}{call.name}(", *inner, f"{pad}){after}"]
        inner = []
        for label, (_, part, part_words) in zip(call.labels, arguments, strict=True):
            assert isinstance(part, _Call)
            inner += self._lines(part, part_words, indent + 8, f'"{label}": ', ",")
        opening, closing = (
            [f"{pad}{before}{call.name}(", f"{pad}    OrderedDict({{"],
            [f"{pad}    }})", f"{pad}){after}"],
        )
        return [*opening, *inner, *closing]

    def _line(self, call: _Call, words: Sequence[str], opened: bool = False) -> str:
        """A call's text in one line."""
        piece = None if opened else self._pieces.get(call.form)
        if piece is not None:
            return f"{piece.name}({', '.join(piece.called_with(words))})"
        texts = []
        for keyword, part, part_words in _written_arguments(call, words):
            texts.append(keyword + (part if isinstance(part, str) else self._line(part, part_words)))
        if call.labels:
            texts = [f'"{label}": {text}' for label, text in zip(call.labels, texts, strict=True)]
            return f"{call.name}(OrderedDict({{{', '.join(texts)}}}))"
        return f"{call.name}({', '.join(texts)})"

    def _told(self, call: _Call, words: Sequence[str]) -> str:
        """One line about what a piece does."""
        told: list[str] = []

        def tell(call: _Call, words: Sequence[str]) -> None:
            if call.name in ("nn.Conv2d", "StandardizedConv"):
                arguments = {hint: str(text) for hint, text, _ in _written_arguments(call, words, every=True)}
                sides = arguments["kernel"].strip("()").split(", ")
                sides = sides * 2 if len(sides) == 1 else sides
                joined = "x".join(sides) if all(side.isdigit() for side in sides) else " x ".join(sides)
                told.append(f"{'depthwise ' if arguments['groups'] == arguments['c_in'] else ''}{joined}")
            elif call.name in _TOLD:
                told.append(_TOLD[call.name])
            for part, part_words in _parts(call, words):
                tell(part, part_words)

        tell(call, words)
        if len(told) > 8:
            told = [*told[:7], f"and {len(told) - 7} more layers"]
        added = call.name == "Sum" and any(each.name == "nn.Identity" for each in call.calls())
        return f"Layers: {', '.join(told) or 'none with weights'}{'; added to its input' if added else ''}."


def _form(argument: _Argument) -> object:
    """What two arguments have in common that differ in nothing but numbers."""
    if isinstance(argument.value, _Call):
        return argument.keyword, argument.value.form
    if isinstance(argument.value, str):
        return argument.keyword, argument.value
    return argument.keyword, tuple(each.kind for each in argument.value)


def _channels(value: int, hint: str) -> _Argument:
    return _Argument((_Number(value, "channels", hint),))


def _one(kind: str, hint: str, value: int | tuple[int, int], keyword: str = "", default: str = "") -> _Argument:
    """One number, or two where the sides differ."""
    sides = (value,) if isinstance(value, int) else value[:1] if value[0] == value[1] else value
    return _Argument(tuple(_Number(side, kind, hint) for side in sides), keyword, default)


def _words(call: _Call) -> list[str]:
    """The numbers of a call as they are."""
    return [str(each.value) for each in call.numbers()]


def _leaves(call: _Call) -> int:
    return sum(map(_leaves, call.calls())) or 1


def _word(call: _Call) -> str:
    """What kind of piece it is."""
    if call.graph is not None:
        return "Cell"
    if call.name == "Sum":
        return "residual" if any(each.name == "nn.Identity" for each in call.calls()) else "branches_added"
    return {"Concat": "branches_side_by_side", "Mean": "branches_averaged"}.get(call.name, "block")


def _parts(call: _Call, words: Sequence[str]) -> Iterator[tuple[_Call, Sequence[str]]]:
    """The calls in a call, each with the words for its numbers."""
    position = 0
    for argument in call.arguments:
        if isinstance(argument.value, _Call):
            count = len(argument.value.numbers())
            yield argument.value, words[position : position + count]
            position += count
        elif not isinstance(argument.value, str):
            position += len(argument.value)


def _written_arguments(
    call: _Call, words: Sequence[str], every: bool = False
) -> Iterator[tuple[str, _Call | str, Sequence[str]]]:
    """Keyword with its equals sign, argument, and the words for its numbers; those at their defaults left out.

    With `every`, all of them, keyed by what a parameter would be called.
    """
    position = 0
    for argument in call.arguments:
        keyword = f"{argument.keyword}=" if argument.keyword else ""
        if isinstance(argument.value, _Call):
            count = len(argument.value.numbers())
            yield keyword, argument.value, words[position : position + count]
            position += count
        elif isinstance(argument.value, str):
            yield keyword, argument.value, ()
        else:
            here = words[position : position + len(argument.value)]
            position += len(argument.value)
            text = here[0] if len(here) == 1 else f"({', '.join(here)})"
            if every:
                yield argument.value[0].hint, text, ()
            elif not argument.default or text != argument.default:
                yield keyword, text, ()


def _step(step: layers.Step, index: int, part: _Call) -> str:
    """The value of one step of a free wiring."""
    values = [f"v{value}" for value in step.inputs]
    if len(values) == 1 or step.join == "apart":
        joined = ", ".join(values)
    elif step.join == "concat":
        joined = f"torch.cat([{', '.join(values)}], 1)"
    elif step.join == "mean":
        joined = f"({' + '.join(values)}) / {len(values)}"
    else:
        joined = " + ".join(values)
    return joined if part.name == "nn.Identity" else f"nodes[{index}]({joined})"


def _wrapped_head(lines: list[str]) -> list[str]:
    """The head of a function, its parameters on a line of their own where there are too many."""
    head, *rest = lines
    if len(head) <= WIDTH:
        return lines
    before, _, after = head.partition("(")
    parameters, _, end = after.rpartition(")")
    pad = " " * (len(head) - len(head.lstrip()))
    return [f"{before}(", f"{pad}    {parameters}", f"{pad}){end}", *rest]
