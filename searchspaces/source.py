"""The Python source of a network: readable code that needs torch alone and has the parameters of the built module.

The text is written from the same calls as the module is made from (`searchspaces.calls`), and computes the same, to the
last bit. Repeated pieces become functions, cells with free wiring become classes; what differs between their uses is a
parameter. Classes that torch does not have are copied from their file. Left out is what only training uses: stochastic
depth and auxiliary heads are `nn.Identity()` here.
"""

from __future__ import annotations

import ast
import importlib.util
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from searchspaces import layers
from searchspaces.calls import TRAINING_ONLY, Argument, Call, call_of, call_to
from searchspaces.layers import Node
from searchspaces.task import Shape

WIDTH: Final = 110
"""Most characters of a line that can be broken."""

_JOINS: Final = ("nn.Sequential", "Sum", "Mean", "Concat", "Cell")
"""Names of the calls that join layers; `Cell` stands for free wiring, which becomes a class of its own."""

_NAMED: Final = {
    "SqueezeExcite": "squeeze-excite",
    "nn.Linear": "linear",
    "nn.MaxPool2d": "max pool",
    "nn.AvgPool2d": "average pool",
}
"""Layers that the docstring of a piece names, beside convolutions."""

_DEFAULTS: Final = {"stride", "groups", "dilation"}
"""Parameters of pieces that are 1 by default."""


def source(network: Node, given: Shape) -> str:
    """Code that defines a function `network()`, which returns the module of a network.

    Its state dict has the names and shapes of the module that `searchspaces.modules.build` makes without auxiliary
    heads.

    Args:
        network: a whole network.
        given: channels, height and width of an input.

    Raises:
        ShapeError: the network cannot take that shape.

    >>> from searchspaces.layers import Act, Chain, Conv, Norm
    >>> print(source(Chain(Chain(Conv(8, 3), Norm(), Act(), label="stem")), (3, 32, 32)).split("def")[1])
     network() -> nn.Module:
        stages = OrderedDict()
        # (3, 32, 32) to (8, 32, 32)
        stages["stem"] = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        return nn.Sequential(stages)
    """
    return _Source(network, given).text()


@dataclass
class _Piece:
    """A function or class for a repeated piece.

    Attributes:
        name: of the function or class.
        example: one use of the piece.
        words: for each number, the text in its body: a parameter, an expression of one, or the number.
        parameters: names, with the position of a number that each stands for.
    """

    name: str
    example: Call
    words: list[str]
    parameters: dict[str, int] = field(default_factory=dict)

    def signature(self) -> str:
        """Its parameters, those with a default at the end."""
        numbers = self.example.numbers()
        kinds = {name: type(numbers[position].value).__name__ for name, position in self.parameters.items()}
        needed = [f"{name}: {kind}" for name, kind in kinds.items() if name not in _DEFAULTS]
        return ", ".join(needed + [f"{name}: {kind} = 1" for name, kind in kinds.items() if name in _DEFAULTS])

    def called_with(self, words: Sequence[str]) -> list[str]:
        """The arguments of a use with these numbers."""
        given = {name: words[position] for name, position in self.parameters.items()}
        needed = [word for name, word in given.items() if name not in _DEFAULTS]
        return needed + [f"{name}={word}" for name, word in given.items() if name in _DEFAULTS and word != "1"]


class _Source:
    """Writes one network."""

    def __init__(self, network: Node, given: Shape) -> None:
        self._network, self._given = network, given
        self._root = _call_of(network, given)
        self._form_numbers: dict[object, int] = {}
        self._forms: dict[Call, int] = {}  # calls that differ in numbers only have one form
        self._uses: dict[int, list[list[float]]] = {}  # of each form, the numbers of each use
        self._examples: dict[int, Call] = {}
        self._gather(self._root)
        self._pieces = self._find_pieces()

    def text(self) -> str:
        """The whole source."""
        parts = [self._piece_text(piece) for piece in self._pieces.values()]
        parts.append(self._network_text())
        return "\n\n\n".join([*_classes(self._root), *parts])

    # from calls to functions and classes

    def _gather(self, call: Call) -> list[float]:
        """The numbers of a call, added to those of the other calls of its form."""
        numbers: list[float] = []
        for argument in call.arguments:
            if isinstance(argument.value, Call):
                numbers += self._gather(argument.value)
            else:
                numbers += [each.value for each in argument.numbers or ()]
        wiring = () if call.graph is None else (call.graph.inputs, *(each._values()[1:] for each in call.graph.steps))
        key = (call.name, tuple(map(self._argument_form, call.arguments)), call.labels, wiring)
        form = self._forms[call] = self._form_numbers.setdefault(key, len(self._form_numbers))
        self._uses.setdefault(form, []).append(numbers)
        self._examples.setdefault(form, call)
        return numbers

    def _argument_form(self, argument: Argument) -> object:
        """What two arguments that differ in numbers only have in common."""
        if isinstance(argument.value, Call):
            return argument.keyword, self._forms[argument.value]
        if argument.numbers is not None:
            return argument.keyword, tuple(each.kind for each in argument.numbers)
        return argument.keyword, _literal(argument.value)

    def _find_pieces(self) -> dict[int, _Piece]:
        """The pieces that occur more than once, even where repeated pieces count once; inner pieces first."""
        written: Counter[int] = Counter()
        order: list[int] = []

        def visit(call: Call) -> None:
            form = self._forms[call]
            written[form] += 1
            if written[form] == 1:
                for each in call.calls():
                    visit(each)
                order.append(form)

        stages = {self._forms[each] for each in (self._root, *self._root.calls())}  # they are written in `network`
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
            pieces[form] = self._parametrized(name, call)
        return pieces

    def _parametrized(self, name: str, call: Call) -> _Piece:
        """Numbers that differ between uses become parameters, one for all numbers that are always equal."""
        numbers = call.numbers()
        columns = list(zip(*self._uses[self._forms[call]], strict=True))
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
        taken = piece.signature()
        if call.graph is None:
            head = [f"def {piece.name}({taken}) -> nn.Module:", f'    """{self._summary(call, piece.words)}"""']
            return "\n".join(_wrapped_head(head) + self._lines(call, piece.words, 4, "return ", opened=True))
        lines = [f"class {piece.name}(nn.Module):", f'    """{self._summary(call, piece.words)}"""', ""]
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
        self, call: Call, words: Sequence[str], indent: int, before: str = "", after: str = "", opened: bool = False
    ) -> list[str]:
        """The text of a call, broken if it is too long; a piece is called by its name, unless it is `opened`."""
        pad = " " * indent
        line = f"{pad}{before}{self._line(call, words, opened)}{after}"
        piece = None if opened else self._pieces.get(self._forms[call])
        arguments = list(_written_arguments(call, words))
        if not call.labels and (len(line) <= WIDTH or call.name not in _JOINS or piece is not None):
            return [line]
        if piece is not None or not call.labels:
            inner = [f"{pad}    {keyword}{part}," for keyword, part, _ in arguments if isinstance(part, str)]
            for _, part, part_words in arguments:
                if isinstance(part, Call):
                    inner += self._lines(part, part_words, indent + 4, "", ",")
            return [f"{pad}{before}{call.name}(", *inner, f"{pad}){after}"]
        inner = []
        for label, (_, part, part_words) in zip(call.labels, arguments, strict=True):
            assert isinstance(part, Call)
            inner += self._lines(part, part_words, indent + 8, f'"{label}": ', ",")
        opening, closing = (
            [f"{pad}{before}{call.name}(", f"{pad}    OrderedDict({{"],
            [f"{pad}    }})", f"{pad}){after}"],
        )
        return [*opening, *inner, *closing]

    def _line(self, call: Call, words: Sequence[str], opened: bool = False) -> str:
        """The text of a call in one line."""
        piece = None if opened else self._pieces.get(self._forms[call])
        if piece is not None:
            return f"{piece.name}({', '.join(piece.called_with(words))})"
        texts = []
        for keyword, part, part_words in _written_arguments(call, words):
            texts.append(keyword + (part if isinstance(part, str) else self._line(part, part_words)))
        if call.labels:
            texts = [f'"{label}": {text}' for label, text in zip(call.labels, texts, strict=True)]
            return f"{call.name}(OrderedDict({{{', '.join(texts)}}}))"
        return f"{call.name}({', '.join(texts)})"

    def _summary(self, call: Call, words: Sequence[str]) -> str:
        """The layers of a piece in one line."""
        found: list[str] = []

        def name(call: Call, words: Sequence[str]) -> None:
            if call.name in ("nn.Conv2d", "StandardizedConv"):
                arguments = {hint: str(text) for hint, text, _ in _written_arguments(call, words, every=True)}
                sides = arguments["kernel"].strip("()").split(", ")
                sides = sides * 2 if len(sides) == 1 else sides
                joined = "x".join(sides) if all(side.isdigit() for side in sides) else " x ".join(sides)
                found.append(f"{'depthwise ' if arguments['groups'] == arguments['c_in'] else ''}{joined}")
            elif call.name in _NAMED:
                found.append(_NAMED[call.name])
            for part, part_words in _parts(call, words):
                name(part, part_words)

        name(call, words)
        if len(found) > 8:
            found = [*found[:7], f"and {len(found) - 7} more layers"]
        added = call.name == "Sum" and any(each.name == "nn.Identity" for each in call.calls())
        return f"Layers: {', '.join(found) or 'none with weights'}{'; added to its input' if added else ''}."


def _call_of(node: Node, given: Any) -> Call:
    """The call that a node is written as."""
    match node:
        case layers.Chain():
            parts = [_call_of(child, shape) for child, shape in node.steps(given)]
            names = tuple(node.names())
            labels = names if names != tuple(map(str, range(len(names)))) else ()
            return Call("nn.Sequential", tuple(map(Argument, parts)), labels)
        case layers.Sum() | layers.Concat():
            return call_to(type(node).__name__, *(_call_of(branch, given) for branch in node.branches))
        case layers.Graph():
            steps = zip(node.steps, node.shapes(given)[1], strict=True)
            return Call("Cell", tuple(Argument(_call_of(step.node, shape)) for step, shape in steps), graph=node)
    made = call_of(node, given)
    return call_to("nn.Identity") if made.name in TRAINING_ONLY else made


def _classes(root: Call) -> list[str]:
    """The text of the classes that a call needs and torch does not have, each after those that it needs."""
    needed: dict[tuple[str, str], None] = {}

    def visit(call: Call) -> None:
        if not call.name.startswith("nn.") and call.name != "Cell":
            needed[call.home, call.name] = None
        for each in call.calls():
            visit(each)

    visit(root)
    texts: list[str] = []
    for home in dict.fromkeys(home for home, _ in needed):
        definitions = _definitions(home)
        wanted = {name for where, name in needed if where == home}
        while more := {each for name in wanted for each in definitions[name][1]} - wanted:
            wanted |= more
        texts += [text for name, (text, _) in definitions.items() if name in wanted]
    return texts


@cache
def _definitions(home: str) -> dict[str, tuple[str, frozenset[str]]]:
    """The classes and functions of a Python module, which is not imported: their text, and which of them it uses."""
    spec = importlib.util.find_spec(home)
    text = spec.loader.get_source(home) if spec is not None and spec.loader is not None else None  # type: ignore[attr-defined]
    if text is None:
        raise TypeError(f"the source of {home} cannot be found")
    found = {each.name: each for each in ast.parse(text).body if isinstance(each, ast.ClassDef | ast.FunctionDef)}
    lines = text.splitlines()
    return {
        name: (
            "\n".join(lines[each.lineno - 1 : each.end_lineno]),
            frozenset(part.id for part in ast.walk(each) if isinstance(part, ast.Name) and part.id in found),
        )
        for name, each in found.items()
    }


def _literal(value: object) -> str:
    return json.dumps(value) if isinstance(value, str) else repr(value)


def _words(call: Call) -> list[str]:
    """The numbers of a call as text."""
    return [str(each.value) for each in call.numbers()]


def _leaves(call: Call) -> int:
    return sum(map(_leaves, call.calls())) or 1 if call.name in _JOINS else 1


def _word(call: Call) -> str:
    """A name for a piece."""
    if call.graph is not None:
        return "Cell"
    if call.name == "Sum":
        return "residual" if any(each.name == "nn.Identity" for each in call.calls()) else "branches_added"
    return {"Concat": "branches_side_by_side", "Mean": "branches_averaged"}.get(call.name, "block")


def _parts(call: Call, words: Sequence[str]) -> Iterator[tuple[Call, Sequence[str]]]:
    """The calls in a call, each with the words for its numbers."""
    position = 0
    for argument in call.arguments:
        if isinstance(argument.value, Call):
            count = len(argument.value.numbers())
            yield argument.value, words[position : position + count]
            position += count
        else:
            position += len(argument.numbers or ())


def _written_arguments(
    call: Call, words: Sequence[str], every: bool = False
) -> Iterator[tuple[str, Call | str, Sequence[str]]]:
    """Keyword with its equals sign, argument, and the words for its numbers; without arguments at their defaults.

    With `every`, all arguments, each with the name of a parameter in place of the keyword.
    """
    position = 0
    for argument in call.arguments:
        keyword = f"{argument.keyword}=" if argument.keyword else ""
        if isinstance(argument.value, Call):
            count = len(argument.value.numbers())
            yield keyword, argument.value, words[position : position + count]
            position += count
        elif argument.numbers is None:
            yield keyword, _literal(argument.value), ()
        else:
            here = words[position : position + len(argument.numbers)]
            position += len(argument.numbers)
            text = here[0] if len(here) == 1 else f"({', '.join(here)})"
            if every:
                yield argument.numbers[0].hint, text, ()
            elif argument.default is None or text != str(argument.default):
                yield keyword, text, ()


def _step(step: layers.GraphStep, index: int, part: Call) -> str:
    """The expression for the value of one step of a graph."""
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
    """The head of a function, its parameters on a line of their own if it is too long."""
    head, *rest = lines
    if len(head) <= WIDTH:
        return lines
    before, _, after = head.partition("(")
    parameters, _, end = after.rpartition(")")
    pad = " " * (len(head) - len(head.lstrip()))
    return [f"{before}(", f"{pad}    {parameters}", f"{pad}){end}", *rest]
