"""What layers are called in tables, and what each type of them costs: "resource per layer type" of MobileNets.

Howard 2017, arXiv:1704.04861, table 2. One departure: that table counts weights alone, which are `weights` here; the
parameters of normalization and biases are in `params` besides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from searchspaces.layers import (
    Auxiliary,
    Conv,
    GlobalPool,
    GroupNorm,
    Linear,
    Norm,
    Pool,
    Resize,
    SpatialTransformer,
    SqueezeExcite,
    uses,
)

if TYPE_CHECKING:
    from nas.documents import Document
    from searchspaces.layers import Node
    from searchspaces.task import Shape


def layer_types(network: Node, given: Shape) -> list[Document]:
    """What each type of layer costs, those with most MACs first; types that cost nothing are left out.

    The kernel is part of the type, the stride and the dilation are not. Of layers that share their weights each counts
    in `layers`, and one in `params` and `weights`.

    Args:
        network: the tree.
        given: the shape of an image.

    >>> from searchspaces import classic
    >>> mobilenet = classic("mobilenetv1_100")
    >>> for one in layer_types(mobilenet.network(), mobilenet.task.shape)[:2]:
    ...     print(one["type"], f"{one['share_of_macs']:.2%}", f"{one['share_of_weights']:.2%}")
    conv 1x1 94.86% 74.59%
    conv dw 3x3 3.06% 1.06%
    """
    found: dict[str, Document] = {}
    for leaf, shape, own in uses(network, given):
        cost = leaf.cost(shape)
        if not cost.macs and not cost.params:
            continue
        said = _type(leaf, shape)
        one = found.setdefault(said, {"type": said, "layers": 0, **dict.fromkeys(_COUNTED, 0)})
        one["layers"] += 1
        one["macs"] += cost.macs
        one["activations"] += cost.activations
        if own:
            one["params"] += cost.params
            one["weights"] += _weights(leaf, shape)
    for name in ("macs", "params", "weights"):
        total = sum(one[name] for one in found.values())
        for one in found.values():
            one[f"share_of_{name}"] = one[name] / max(total, 1)
    return sorted(found.values(), key=lambda one: (-one["macs"], -one["params"], one["type"]))


_COUNTED: Final = ("macs", "params", "activations", "weights")


def _type(leaf: Node, given: Shape) -> str:
    match leaf:
        case Conv() if 1 < leaf.groups < given[0]:
            return "conv grouped {}x{}".format(*leaf.kernel_hw)
        case Conv():
            return f"conv {layer_words(leaf, given)[0]}"
        case Norm() | GroupNorm():
            return "norm"
        case SqueezeExcite() | SpatialTransformer() | Linear():
            return layer_words(leaf, given)[0]
        case _:
            return type(leaf).__name__


def _weights(leaf: Node, given: Shape) -> int:
    """Parameters of convolutions and linear layers that inputs are multiplied by, those inside of a layer too."""
    match leaf:
        case Conv():
            return leaf.width * (given[0] // leaf.groups) * leaf.kernel_hw[0] * leaf.kernel_hw[1]
        case Linear():
            return given[0] * leaf.width
        case SqueezeExcite():
            return 2 * given[0] * leaf.reduced
        case SpatialTransformer():
            return 6 * leaf.hidden + sum(_weights(part, shape) for part, shape in leaf.localisation.steps(given))
        case _:
            return 0


def layer_words(leaf: Node, given: Shape) -> list[str]:
    """What a layer is, then its stride and width; the first is empty for one that costs and reduces nothing."""
    match leaf:
        case Conv():
            height, width = leaf.kernel_hw
            depthwise = leaf.groups == given[0] > 1
            grouped = "dw " if depthwise else f"grouped({leaf.groups}) " if leaf.groups > 1 else ""
            stride = max(leaf.stride_hw)
            return [f"{grouped}{height}x{width}", *([f"/{stride}"] if stride > 1 else []), str(leaf.width)]
        case SqueezeExcite():
            return ["SE", str(leaf.reduced)]
        case SpatialTransformer():
            return ["spatial transformer", str(leaf.hidden)]
        case Linear():
            return ["linear", str(leaf.width)]
        case Pool():
            return ["pool", f"{leaf.kernel}x{leaf.kernel}", *([f"/{leaf.stride}"] if leaf.stride > 1 else [])]
        case GlobalPool():
            return ["global pool"]
        case Resize():
            return ["resize", f"x{leaf.factor:g}"]
        case Auxiliary():
            return ["for training only"]
        case _:
            return [""]
