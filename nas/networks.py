"""What one network costs, stage by stage, and all those of the literature: documents as in `nas.documents`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nas.layer_types import layer_types, layer_words
from nas.references import on_images, title
from nas.wording import given_and_seen
from searchspaces import (
    CLASSICS,
    Budget,
    Buildable,
    Classic,
    Scale,
    Task,
    UserError,
    nearest,
)
from searchspaces.catalog import FAMILIES
from searchspaces.classics.accuracies import published_accuracies, published_on
from searchspaces.drawing import pieces
from searchspaces.files import write_whole
from searchspaces.layers import Chain, Conv, ShapeError, leaves
from searchspaces.receptive_field import seen
from searchspaces.strides import published

if TYPE_CHECKING:
    from nas.documents import Document
    from searchspaces import Cost, SearchSpace
    from searchspaces.drawing import Piece
    from searchspaces.latency import LatencyTable
    from searchspaces.layers import Node
    from searchspaces.receptive_field import Seen
    from searchspaces.task import Shape


CLASSIC_ORDERS: Final = ("family", "name", "macs", "params", "top1")


def classics_document(
    part: str = "", budget: Budget | None = None, task: Task | None = None, order: str = "family"
) -> Document:
    """Networks of the literature with their costs.

    All of them are costed in half a second, so that nothing needs to be left out. `top1` are the lowest and the highest
    published accuracy on ImageNet, of images of the size that costs are counted on; `accuracies` are all published.

    Args:
        part: text in their names, of any case.
        budget: what they may cost; everything by default.
        task: the images that costs are counted on; by default each network's own. Those that cannot take them are left
            out.
        order: one of `CLASSIC_ORDERS`; `family` begins with the network whose whole name `part` is; `top1` is by the
            highest published, and those without one come last.

    Raises:
        UserError: there is no such network or order, or the budget is in percent, which is of a space.
    """
    if order not in CLASSIC_ORDERS:
        raise UserError(f"unknown order {order!r}{nearest(order, CLASSIC_ORDERS)}")
    if budget is not None and any(bound.percent or bound.cost == "latency_ms" for bound in budget.bounds):
        raise UserError(
            f"budget {budget}: give numbers, as in 400M; percentages need a space, and latency has to be measured"
        )
    named_so = [
        (family, maker())
        for family, makers in FAMILIES.items()
        for name, maker in makers.items()
        if part.lower() in name.lower()
    ]
    if not named_so:
        raise UserError(f"no network has {part!r} in its name{nearest(part, CLASSICS)}")
    if order == "family":  # what is called exactly so comes first, with its family
        meant = next((family for family, each in named_so if each.name == part.lower()), None)
        named_so.sort(key=lambda one: (one[0] != meant, one[1].name != part.lower()))
    found: list[Document] = []
    for family, each in named_so:
        try:
            cost = each.cost(task or each.task)
        except ShapeError:
            continue
        if budget is None or budget.admits(cost):
            home = None if each.architecture is None else each.architecture.space.name
            found.append(
                {"name": each.name, "family": family, "paper": each.paper, "task": str(task or each.task),
                 **cost.told(), "space": home, **_accuracies(each.name, task or each.task)}
            )  # fmt: skip
    if not found:
        limits = [*([f"within {budget}"] if budget else []), *([f"takes images of {task}"] if task else [])]
        raise UserError(f"no network{f' with {part!r} in its name' if part else ''} is {' and '.join(limits)}")
    if order == "top1":
        found.sort(key=lambda one: (-one["top1"][1] if one["top1"] else 0.0, one["name"]))
    elif order != "family":
        found.sort(key=lambda one: (one[order], one["name"]))
    return {"classics": found, "order": order}


def _accuracies(name: str, task: Task) -> Document:
    """What is published of a network by name: the range of top-1 on a task's images, and all."""
    there = published_on(name, task)
    return {
        "top1": [there[0].top1, there[-1].top1] if there else None,
        "accuracies": [one.told() for one in published_accuracies(name)],
    }


def cost_document(
    text: str,
    task: Task | None = None,
    space: SearchSpace | None = None,
    latency: LatencyTable | None = None,
    image_size: int | None = None,
) -> Document:
    """What a network costs, stage by stage and by type of layer, and what each stage sees of the image.

    Args:
        text: what `nas.references.named` understands; a torch module is counted by tracing one run, and the document
            then has how often each operator ran that is not counted, and fvcore's count, None where it has none.
        task: the images it is for; by default the network's own, or 224 x 224 x 3 and 1000 classes.
        space: of an architecture's text form, where it is no space of ours.
        latency: a table that has the network's parts.
        image_size: height and width of the images in pixels; by default those of the task.

    Raises:
        UserError: the text is none of these, the network cannot take the task's images, or the table is of others.
    """
    found, given, task = on_images(text, space, task, image_size)
    task = task if latency is None else latency.on(task)
    document: Document = {"name": title(text), **given_and_seen(given, task), "paper": None, "architecture": None}
    if isinstance(found, Buildable):
        try:
            cost = found.cost(task)
            network = found.network(task)
            stages = [_stage(piece, cost) for piece in pieces(network, task.shape)]
        except ShapeError as error:
            raise UserError(f"{title(text)} cannot take images of {given}: {error}") from error
        from nas.documents import strides_document

        document["strides"] = strides_document(found, task)
        architecture, scaled = found.architecture, found.scale != Scale()
        if isinstance(found, Classic) and architecture is not None and cost != architecture.cost(task):
            architecture = published(architecture)  # its text form stands for the network that is counted here
        if architecture is not None:
            document["architecture"] = {"space": architecture.space.name, "choices": architecture.choices}
            document["words"] = (found if scaled else architecture).words()
        if scaled:
            document["architecture"] |= {"scale": found.scale.told()}
        document["paper"] = found.paper
        if isinstance(found, Classic):
            document |= _accuracies(found.name, task)
        document["receptive_field"] = stages[-1]["receptive_field"]
        document |= {"stages": stages, "types": layer_types(network, task.shape)}
        return {**document, "counted": "exactly", **cost.told()}
    from searchspaces.counting import counted

    made = counted(found, task)
    theirs = None if made.fvcore_macs is None else {"macs": made.fvcore_macs, "unknown": made.fvcore_unknown}
    # a trace does not tell the peak
    costs = {**made.cost.told(), "peak_activation_bytes": None}
    parts: Document = {
        "receptive_field": None,
        "stages": [],
        "types": [],
        "uncounted": made.uncounted,
        "fvcore": theirs,
    }
    return {**document, "counted": "by tracing", **costs, **parts}


def draw(found: Buildable, task: Task, name: str, path: Path) -> None:
    """Draw a network as an SVG file.

    Raises:
        UserError: it is a torch module, cannot take the task's images, or the file cannot be written.
    """
    from searchspaces.drawing import svg

    if path.suffix.lower() != ".svg":
        raise UserError(f"the drawing {str(path)!r} must end in .svg")
    if not isinstance(found, Buildable):
        raise UserError(f"{name} is a torch module; only networks made of the layers of searchspaces can be drawn")
    try:
        drawn = svg(found.network(task), task, name)
    except ShapeError as error:
        raise UserError(f"{name} cannot take images of {task}: {error}") from error
    write_whole(path, drawn)


def _stage(piece: Piece, total: Cost) -> Document:
    """One row: a stage, and the blocks in it."""
    cost = piece.node.cost(piece.given)
    blocks = list(_blocks(piece.node, piece.given))
    return {
        "name": piece.label,
        "blocks": sum(times for _, _, times in blocks),
        "layers": _layers(piece.node, piece.given),
        "output": list(piece.node.shape(piece.given)),
        "receptive_field": _sides(seen(piece.node, piece.given, piece.before)),
        **cost.told(),
        "share_of_macs": cost.macs / max(total.macs, 1),
        "share_of_params": cost.params / max(total.params, 1),
        "opened": list(_opened(blocks, piece.before, total)),
    }


def _opened(blocks: list[tuple[Node, Any, int]], sees: Any, total: Cost) -> Iterator[Document]:
    """A row for equal blocks that follow one another; costs are those of all of them.

    Args:
        blocks: of a stage.
        sees: the field of its input.
        total: of the network.
    """
    for node, given, times in blocks:
        cost = node.cost(given)
        for _ in range(times):
            sees = seen(node, given, sees)
        yield {
            "times": times,
            "operators": _operators(node, given),
            "output": list(node.shape(given)),
            "receptive_field": _sides(sees),
            "macs": times * cost.macs,
            "params": times * cost.params,
            "share_of_macs": times * cost.macs / max(total.macs, 1),
            "share_of_params": times * cost.params / max(total.params, 1),
        }


def _sides(field: Seen) -> list[int] | None:
    """Height and width of a receptive field; None where it is not known."""
    return None if field is None else list(field.size)


def _blocks(node: Node, given: Any) -> Iterator[tuple[Node, Any, int]]:
    """The blocks of a stage and how many equal ones there are in a row; layers between two blocks are one block."""
    if not isinstance(node, Chain):
        yield node, given, 1
        return
    found: list[tuple[Node, Shape, int]] = []
    loose: list[Node] = []
    start = given
    for child, shape in node.steps(given):
        if not child.children():
            start = start if loose else shape
            loose.append(child)
            continue
        if loose:
            found.append((Chain(*loose), start, 1))
            loose = []
        if found and found[-1][:2] == (child, shape):
            found[-1] = child, shape, found[-1][2] + 1
        else:
            found.append((child, shape, 1))
    if loose:
        found.append((Chain(*loose), start, 1))
    yield from found


def _layers(node: Node, given: Any) -> list[str]:
    """The kinds of layers inside that cost something or reduce the map, each once, in order.

    In a block with a depthwise convolution, the 1x1 convolution before it that has more channels than it is given is
    called `expand`, and the one after it that has fewer `project`.

    >>> from searchspaces.layers import Chain, Conv, Norm
    >>> _layers(Chain(Conv(8), Norm(), Conv(8, 3, groups=8), Conv(4)), (4, 4, 4))
    ['expand 1x1', 'dw 3x3', 'project 1x1']
    """
    found: dict[str, None] = {}
    for block, shape, _ in _blocks(node, given):
        inside = list(leaves(block, shape))
        kinds = [layer_words(leaf, at)[0] for leaf, at in inside]
        depthwise = [index for index, kind in enumerate(kinds) if kind.startswith("dw ")]
        for index, (leaf, at) in enumerate(inside):
            role = ""
            if kinds[index] == "1x1" and depthwise and isinstance(leaf, Conv):
                role = "expand " if index < depthwise[0] and leaf.width > at[0] else role
                role = "project " if index > depthwise[-1] and leaf.width < at[0] else role
            if kinds[index]:
                found[role + kinds[index]] = None
    return list(found)


def _operators(node: Node, given: Any) -> list[str]:
    """The same layers with their strides and widths; how often, where one comes again.

    >>> from searchspaces.layers import Chain, Conv, Norm
    >>> _operators(Chain(Conv(8, 3, stride=2, groups=8), Norm(), Conv(16), Conv(16)), (8, 4, 4))
    ['dw 3x3 /2 8', '2 x (1x1 16)']
    """
    said = (layer_words(leaf, shape) for leaf, shape in leaves(node, given))
    told = Counter(" ".join(words) for words in said if words[0])
    return [each if times == 1 else f"{times} x ({each})" for each, times in told.items()]
