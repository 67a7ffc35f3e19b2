"""An SVG diagram of a network: stages side by side with their layers, consecutive equal blocks drawn once.

The layout follows the tree: a chain is a column, branches are columns side by side, a graph is rows of values with
curves between them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from html import escape
from typing import Any, Final

from searchspaces.cost import human
from searchspaces.layers import Auxiliary, Chain, Concat, Conv, Graph, GraphStep, Identity, Mean, Node, Sum
from searchspaces.receptive_field import IMAGE, Seen, given_to, of_values, seen
from searchspaces.task import Shape, Task

GAP: Final = 14
"""Pixels between neighbouring boxes."""

WIDEST: Final = 1200
"""Largest width of a row of stages in pixels: that of a window on a laptop."""

_ROW: Final = 24  # height of a layer's box
_HEADING: Final = 70  # height above a stage's first block
_LETTER: Final = 6.6  # width of a letter at 11 px
_COLOURS: Final = {
    "Conv": "#cfe2f3", "Linear": "#d9d2e9", "Norm": "#f3f3f3", "GroupNorm": "#f3f3f3",
    "Act": "#fff2cc", "PReLU": "#fff2cc", "Maxout": "#fff2cc", "Pool": "#d9ead3",
    "GlobalPool": "#d9ead3", "SqueezeExcite": "#fce5cd",
}  # fmt: skip
_DARK: Final = {
    "#ffffff": "#14181d", "#fafafa": "#1b2027", "#eeeeee": "#333b45", "#f3f3f3": "#333b45", "#cfe2f3": "#25476a",
    "#d9d2e9": "#433a63", "#fff2cc": "#54481f", "#d9ead3": "#2c4a30", "#fce5cd": "#5b3f22", "#555555": "#98a3af",
    "#666666": "#98a3af", "#888888": "#7f8b97", "#999999": "#6b7784", "#cccccc": "#3a434d", "#dddddd": "#2e363f",
    "#b45f06": "#f0b95a",
}  # fmt: skip
"""What each colour is where `prefers-color-scheme` is dark."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stage of a network, or a cell of a graph of cells: a row of tables, a column of diagrams.

    Attributes:
        label: its name.
        node: its layers.
        given: its input shape; a tuple of shapes for a cell with several inputs.
        takes: labels of its inputs in order, for a cell of a graph.
        before: what its input sees of the image (`searchspaces.receptive_field`), or each of several inputs.
    """

    label: str
    node: Node
    given: Any
    takes: tuple[str, ...] = ()
    before: Any = IMAGE


def pieces(network: Node, given: Shape) -> Iterator[Piece]:
    """The parts of the outermost chain; a graph of labelled cells in it counts as those cells."""
    steps = network.steps(given) if isinstance(network, Chain) else iter([(network, given)])
    before = "image"
    sees: Seen = IMAGE
    for index, (node, shape) in enumerate(steps):
        if isinstance(node, Graph) and all(
            getattr(step.node, "label", "") and step.weights_of is None for step in node.steps
        ):
            labels, seen_by = [before], of_values(node, shape, sees)
            for step, joined in zip(node.steps, node.shapes(shape)[1], strict=True):
                labels.append(getattr(step.node, "label"))  # noqa: B009
                takes = tuple(labels[value] for value in step.inputs)
                yield Piece(labels[-1], step.node, joined, takes, given_to(step, seen_by))
            before = labels[-1]
        else:
            name = "auxiliary" if isinstance(node, Auxiliary) else f"part{index + 1}"
            before = getattr(node, "label", "") or name
            yield Piece(before, node, shape, before=sees)
        sees = seen(node, shape, sees)


@dataclass(frozen=True)
class _Box:
    """A part of the diagram: its size, and its SVG elements for a top left corner."""

    width: float
    height: float
    draw: Callable[[float, float], Iterator[str]]


def svg(network: Node, task: Task, title: str = "") -> str:
    """The text of an SVG file with the diagram of a network.

    Args:
        network: drawn as a column for each of its `pieces`.
        task: the images it is for.
        title: the heading.
    """
    runs: list[list[Piece]] = []
    for piece in pieces(network, task.shape):
        if piece.takes and runs and (runs[-1][0].node, runs[-1][0].given) == (piece.node, piece.given):
            runs[-1].append(piece)
        elif not isinstance(piece.node, Auxiliary):
            runs.append([piece])
    columns = [_stage(run[0], len(run)) for run in runs]
    cost = network.cost(task.shape)
    lines = [
        title or "network",
        f"{task} · {human(cost.macs)} MACs, {human(cost.params)} parameters, {human(cost.activations)} activations",
    ]
    rows: list[list[_Box]] = [[]]
    for column in columns:
        if rows[-1] and sum(box.width + 2 * GAP for box in (*rows[-1], column)) > WIDEST:
            rows.append([])
        rows[-1].append(column)
    widest = max(sum(box.width + 2 * GAP for box in row) for row in rows)
    width = max(widest, 7 * max(map(len, lines))) + 2 * GAP
    height = sum(max((box.height for box in row), default=0) + 2 * GAP for row in rows) + 56
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="network" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="DejaVu Sans, Helvetica, sans-serif" font-size="11">',
        f"<style>{_style()}</style>",
        '<defs><marker id="arrow" viewBox="0 0 6 6" refX="5.5" refY="3" markerWidth="6" markerHeight="6" '
        'markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L6 3L0 6z" fill="#888888"/></marker></defs>',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        _text(2 * GAP, 24, lines[0], "font-size='15' font-weight='bold'"),
        _text(2 * GAP, 42, lines[1], "fill='#555555'"),
    ]
    top, last = 56.0, (len(rows) - 1, len(rows[-1]) - 1)
    for number, row in enumerate(rows):
        left = 2.0 * GAP
        for place, column in enumerate(row):
            parts += column.draw(left, top)
            left += column.width + 2 * GAP
            if (number, place) != last:  # to the next stage, beside it or at the beginning of the next row
                parts.append(_line(left - 2 * GAP, top + 30, left - 1, top + 30, arrow=True))
        if number:
            parts.append(_line(GAP, top + 30, 2 * GAP - 1, top + 30, arrow=True))
        top += max((box.height for box in row), default=0) + 2 * GAP
    return "\n".join([*parts, "</svg>", ""])


def _stage(piece: Piece, times: int) -> _Box:
    """A column: name, output shape and cost of a stage, and its blocks, consecutive equal ones drawn once."""
    node, given = piece.node, piece.given
    out, cost = node.shape(given), node.cost(given)
    heading = [
        piece.label + (f" x {times}" if times > 1 else ""),
        " x ".join(map(str, (*out[1:], out[0]))),  # height x width x channels, as tasks are written
        f"{human(cost.macs)} MACs, {human(cost.params)} par." + (" each" if times > 1 else ""),
    ]
    if piece.takes:
        heading.append("of " + " and ".join(dict.fromkeys(piece.takes)) + (", ..." if times > 1 else ""))
    rows: list[tuple[_Box, int]] = []
    before: tuple[Node, Shape] | None = None
    for block, shape in node.steps(given) if isinstance(node, Chain) else [(node, given)]:
        if before == (block, shape):
            rows[-1] = rows[-1][0], rows[-1][1] + 1
        else:
            rows.append((_layout(block, shape), 1))
        before = block, shape
    width = max(max((box.width for box, _ in rows), default=0) + 2 * GAP, 7 * max(map(len, heading)))
    height = _HEADING + sum(box.height + 3 * GAP for box, _ in rows) - GAP

    def draw(x: float, y: float) -> Iterator[str]:
        yield f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" fill="#fafafa" stroke="#cccccc"/>'
        for line, text in enumerate(heading):
            style = "font-weight='bold'" if line == 0 else "fill='#555555'"
            yield _text(x + width / 2, y + 16 + 14 * line, text, f"text-anchor='middle' {style}")
        top = y + _HEADING
        for index, (box, times) in enumerate(rows):
            if index:
                yield _line(x + width / 2, top - 3 * GAP + 8, x + width / 2, top - 9, arrow=True)
            yield (
                f'<rect x="{x + width / 2 - box.width / 2 - 8:.1f}" y="{top - 8:.1f}" width="{box.width + 16:.1f}" '
                f'height="{box.height + 16:.1f}" rx="6" fill="#ffffff" stroke="#dddddd"/>'
            )
            yield from box.draw(x + width / 2 - box.width / 2, top)
            if times > 1:
                yield _text(
                    x + width - 8, top - 12, f"x {times}", "text-anchor='end' font-weight='bold' fill='#b45f06'"
                )
            top += box.height + 3 * GAP

    return _Box(width, height, draw)


def _layout(node: Node, given: Any) -> _Box:
    if isinstance(node, Chain):
        return _column([_layout(child, shape) for child, shape in node.steps(given)])
    if isinstance(node, (Sum, Concat)):
        sign = "concat" if isinstance(node, Concat) else "mean" if isinstance(node, Mean) else "+"
        return _branches([_layout(branch, given) for branch in node.branches], sign)
    if isinstance(node, Graph):
        return _wiring(node, given)
    return _wire() if isinstance(node, Identity) else _layer(node, given)


def _layer(node: Node, given: Shape) -> _Box:
    text, colour = _words(node, given), _COLOURS.get(type(node).__name__, "#eeeeee")
    width = len(text) * _LETTER + 12

    def draw(x: float, y: float) -> Iterator[str]:
        yield (
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{_ROW}" rx="4" '
            f'fill="{colour}" stroke="#999999" stroke-width="0.7"/>'
        )
        yield _text(x + width / 2, y + 16, text, "text-anchor='middle'")

    return _Box(width, _ROW, draw)


def _words(node: Node, given: Shape) -> str:
    """The text in the box of a layer.

    >>> _words(Conv(672, 5, stride=2, groups=672), (672, 14, 14)), _words(Conv(64, (1, 3), (1, 2), 32), (64, 8, 8))
    ('dwconv 5x5 /2 672', 'conv 1x3 /1x2 64 g32')
    """
    if isinstance(node, Conv):
        (kernel_h, kernel_w), (down, right) = node.kernel_hw, node.stride_hw
        depthwise = node.groups == given[0] > 1
        stride = "" if down == right == 1 else f" /{down}" if down == right else f" /{down}x{right}"
        groups = f" g{node.groups}" if node.groups > 1 and not depthwise else ""
        return f"{'dwconv' if depthwise else 'conv'} {kernel_h}x{kernel_w}{stride} {node.width}{groups}"
    name = type(node).__name__
    values = {each.name: getattr(node, each.name) for each in fields(node)}  # type: ignore[arg-type]
    if name == "Pool":
        return f"{values['kind']} pool {values['kernel']}x{values['kernel']} /{values['stride']}"
    if name == "GlobalPool":
        return f"global {values['kind']} pool"
    if name == "Act":
        return str(values["kind"]).replace("_", " ")
    if name == "SqueezeExcite":
        return f"squeeze-excite {values['reduced']}"
    if name == "Norm":
        return f"{values['kind']} norm".replace("_", " ")
    if name == "Linear":
        rate = values["drop_connect"]
        return f"linear {values['width']}" + (f", DropConnect {rate:g}" if rate else "")
    if name == "Zero":
        return "zero" if values["stride"] == 1 else f"zero /{values['stride']}"
    said = " ".join(str(value) for value in values.values() if not isinstance(value, (bool, type(None))))
    words = re.sub("(?<=[a-z])([A-Z][a-z])", r" \1", name).lower()
    return f"{words} {said}".strip()


def _wire() -> _Box:
    def draw(x: float, y: float) -> Iterator[str]:
        yield _line(x + 4, y, x + 4, y + 2)

    return _Box(8, 2, draw)


def _column(boxes: list[_Box]) -> _Box:
    """Boxes one below the other."""
    if not boxes:
        return _wire()
    width = max(box.width for box in boxes)

    def draw(x: float, y: float) -> Iterator[str]:
        for index, box in enumerate(boxes):
            if index:
                yield _line(x + width / 2, y - GAP / 2, x + width / 2, y, arrow=True)
            yield from box.draw(x + (width - box.width) / 2, y)
            y += box.height + GAP / 2

    return _Box(width, sum(box.height for box in boxes) + GAP / 2 * (len(boxes) - 1), draw)


def _branches(boxes: list[_Box], sign: str) -> _Box:
    """Boxes side by side, from one point to the sign of their join."""
    width = sum(box.width for box in boxes) + GAP * (len(boxes) - 1)
    tallest = max(box.height for box in boxes)
    height = tallest + 2 * GAP + 18

    def draw(x: float, y: float) -> Iterator[str]:
        middle, below = x + width / 2, y + GAP + tallest
        left = x
        for box in boxes:
            centre = left + box.width / 2
            yield _line(middle, y, centre, y + GAP, arrow=box.height > 2)
            yield from box.draw(left, y + GAP)
            yield _line(centre, y + GAP + box.height, centre, below)
            yield _line(centre, below, middle, below + GAP, arrow=True)
            left += box.width + GAP
        pill = _sign(sign)
        yield from pill.draw(middle - pill.width / 2, below + GAP)

    return _Box(max(width, 60), height, draw)


def _wiring(graph: Graph, given: Any) -> _Box:
    """Values in rows, each below its inputs, with curves between them."""
    joined, first = graph.shapes(given)[1], graph.inputs
    boxes = [_joined(step, shape) for step, shape in zip(graph.steps, joined, strict=True)]
    depth = [0] * first
    for step in graph.steps:
        depth.append(1 + max(depth[value] for value in step.inputs))
    rows = [[index for index in range(len(boxes)) if depth[index + first] == row] for row in range(1, max(depth) + 1)]
    widths = [sum(boxes[index].width for index in row) + GAP * (len(row) - 1) for row in rows]
    width = max([*widths, 20.0])
    named = 14.0 if first > 1 else 0.0  # height of the names of several inputs
    height = named + sum(max(boxes[index].height for index in row) + 2 * GAP for row in rows)

    def draw(x: float, y: float) -> Iterator[str]:
        ends = {value: (x + width * (value + 1) / (first + 1), y + named) for value in range(first)}
        for value, (end_x, end_y) in ends.items() if first > 1 else ():
            yield _text(end_x, end_y - 3, f"input {value + 1}", "text-anchor='middle' fill='#555555'")
        places, top = {}, y + named + 2 * GAP
        for row, row_width in zip(rows, widths, strict=True):
            left = x + (width - row_width) / 2
            for index in row:
                box = boxes[index]
                places[index] = left, top
                ends[index + first] = left + box.width / 2, top + box.height
                left += box.width + GAP
            top += max(boxes[index].height for index in row) + 2 * GAP
        for index, (left, top) in places.items():  # curves first: they pass behind the boxes
            centre = left + boxes[index].width / 2
            for value in graph.steps[index].inputs:
                from_x, from_y = ends[value]
                yield (
                    f'<path d="M{from_x:.1f} {from_y:.1f} C{from_x:.1f} {from_y + GAP:.1f} {centre:.1f} '
                    f'{top - GAP:.1f} {centre:.1f} {top:.1f}" fill="none" stroke="#888888" stroke-width="0.8" '
                    'marker-end="url(#arrow)"/>'
                )
        for index, place in places.items():
            yield from boxes[index].draw(*place)

    return _Box(width, height, draw)


def _joined(step: GraphStep, given: Any) -> _Box:
    """A step of a graph, below the sign for the join of its inputs."""
    if len(step.inputs) == 1 or step.join == "apart":
        return _layout(step.node, given)
    sign = _sign({"sum": "+", "mean": "mean", "concat": "concat"}[step.join])
    return sign if isinstance(step.node, Identity) else _column([sign, _layout(step.node, given)])


def _sign(text: str) -> _Box:
    width = _LETTER * len(text) + 14

    def draw(x: float, y: float) -> Iterator[str]:
        yield (
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="18" rx="9" fill="#ffffff" stroke="#666666"/>'
        )
        yield _text(x + width / 2, y + 13, text, "text-anchor='middle'")

    return _Box(width, 18, draw)


def _line(x1: float, y1: float, x2: float, y2: float, arrow: bool = False) -> str:
    head = ' marker-end="url(#arrow)"' if arrow else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#888888" stroke-width="0.8"{head}/>'


def _style() -> str:
    """Fitted into a narrow window, and on a dark page in its colours."""
    dark = "".join(
        f'.network [{part}="{light}"]{{{part}:{colour}}}'
        for light, colour in _DARK.items()
        for part in ("fill", "stroke")
    )
    return (
        "svg.network{max-width:100%;height:auto;background:#ffffff}"
        f"@media screen and (prefers-color-scheme:dark){{{dark}svg.network{{background:#14181d}}"
        ".network text:not([fill]){fill:#e6e9ed}}"
    )


def _text(x: float, y: float, text: str, style: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'
