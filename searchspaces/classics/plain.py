"""Plain networks, without shortcuts: LeNet-5, AlexNet, ZFNet, VGG, Network in Network, All-CNN, and ResNets without.

Their classifiers are built for one image size and grow with it, where other libraries pool to a fixed size. They cannot
be built for images so small that the last feature map would have no pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from searchspaces.classics.classic import Classic
from searchspaces.layers import (
    Act,
    Chain,
    Concat,
    Conv,
    Dropout,
    Flatten,
    GlobalPool,
    Linear,
    Node,
    Norm,
    Pool,
    Slice,
)
from searchspaces.mbconv import conv_norm_act
from searchspaces.task import Task

_MAPS_OF_C3: Final = (
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (4, 5, 0), (5, 0, 1)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (3, 4, 5, 0), (4, 5, 0, 1), (5, 0, 1, 2)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (2, 3, 5, 0)),
    (0, 1, 2, 3, 4, 5),
)
"""The maps of S2 that are inputs of each map of C3 (LeCun 1998, table I)."""


def lenet5(task: Task) -> Node:
    """LeNet-5 (LeCun 1998, Proc. IEEE 86(11), fig. 2), with its partly connected C3 and its learnt subsampling.

    Departure: the classifier is linear, in place of distances to ten fixed bitmaps.
    """
    squash = Act("tanh", 1.7159)  # the slope of 2/3 inside it is left to the weights

    def subsampled(width: int) -> list[Node]:
        return [Pool("avg", 2, 2, padding=0), Conv(width, 1, groups=width, bias=True), squash]

    def mapped(seen: Sequence[int]) -> Chain:
        return Chain(Concat(*(Slice(index, index + 1) for index in seen)), Conv(1, 5, bias=True, padding=0))

    return Chain(
        Chain(Conv(6, 5, bias=True, padding=0), squash, *subsampled(6), label="stage1"),
        Chain(Concat(*map(mapped, _MAPS_OF_C3)), squash, *subsampled(16), label="stage2"),
        Chain(Conv(120, 5, bias=True, padding=0), squash, label="stage3"),
        Chain(Flatten(), Linear(84), squash, Linear(task.classes), label="head"),
    )


def _relu(width: int, kernel: int, stride: int = 1, padding: int | None = None, groups: int = 1) -> Chain:
    return Chain(Conv(width, kernel, stride, groups, bias=True, padding=padding), Act())


def _classifier(classes: int, dropout_first: bool = False) -> Chain:
    """Two hidden layers of 4096 with dropout, and the logits."""
    hidden: list[Node] = [Linear(4096), Act(), Dropout(0.5)]
    if dropout_first:  # torchvision's order
        hidden = [Dropout(0.5), Linear(4096), Act()]
    return Chain(Flatten(), *hidden, *hidden, Linear(classes), label="head")


def alexnet(task: Task) -> Node:
    """AlexNet as in torchvision: one tower, no local response normalization (Krizhevsky 2014, arXiv:1404.5997)."""
    pool = Pool("max", 3, 2, padding=0)
    return Chain(
        Chain(_relu(64, 11, 4, 2), pool, label="stage1"),
        Chain(_relu(192, 5), pool, label="stage2"),
        Chain(_relu(384, 3), _relu(256, 3), _relu(256, 3), pool, label="stage3"),
        _classifier(task.classes, dropout_first=True),
    )


def alexnet_2012(task: Task) -> Node:
    """AlexNet as in its paper: two groups, local response normalization (Krizhevsky 2012, NeurIPS, fig. 2).

    The paper's 224 pixels give its 55x55 maps with 2 pixels of padding.
    """
    pool, norm = Pool("max", 3, 2, padding=0), Norm("local_response")
    return Chain(
        Chain(_relu(96, 11, 4, 2), norm, pool, label="stage1"),
        Chain(_relu(256, 5, groups=2), norm, pool, label="stage2"),
        Chain(_relu(384, 3), _relu(384, 3, groups=2), _relu(256, 3, groups=2), pool, label="stage3"),
        _classifier(task.classes),
    )


def alexnet_tower(task: Task) -> Node:
    """AlexNet as it is often drawn: the widths of its paper in one tower, without the two groups."""
    pool, norm = Pool("max", 3, 2, padding=0), Norm("local_response")
    return Chain(
        Chain(_relu(96, 11, 4, 2), norm, pool, label="stage1"),
        Chain(_relu(256, 5), norm, pool, label="stage2"),
        Chain(_relu(384, 3), _relu(384, 3), _relu(256, 3), pool, label="stage3"),
        _classifier(task.classes),
    )


def zfnet(task: Task, widths: Sequence[int] = (384, 384, 256)) -> Node:
    """ZFNet: AlexNet in one tower with smaller kernels and strides at first (Zeiler & Fergus 2014, fig. 3).

    Args:
        task: images and classes.
        widths: of the last three convolutions; 512, 1024 and 512 in the network of ILSVRC 2013 (table 2).
    """
    pool, norm = Pool("max", 3, 2, padding=0, ceil=True), Norm("local_response")
    return Chain(
        Chain(_relu(96, 7, 2, 1), norm, pool, label="stage1"),
        Chain(_relu(256, 5, 2, 0), norm, pool, label="stage2"),
        Chain(*(_relu(width, 3) for width in widths), pool, label="stage3"),
        _classifier(task.classes),
    )


def vgg(task: Task, depths: Sequence[int]) -> Node:
    """VGG: 3x3 convolutions and pooling (Simonyan & Zisserman 2015, arXiv:1409.1556, table 1).

    The hidden layers are convolutions, as in the paper's dense evaluation (sec. 3.2): on larger images their logits are
    averaged over the image; on smaller ones the kernel of the first is the whole feature map.

    Args:
        task: images and classes.
        depths: convolutions in each of the five stages.
    """
    widths = (64, 128, 256, 512, 512)
    stages = [
        Chain(*[_relu(width, 3)] * depth, Pool("max", 2, 2, padding=0), label=f"stage{index}")
        for index, (width, depth) in enumerate(zip(widths, depths, strict=True), start=1)
    ]
    side = min(7, max(1, task.image_size >> len(depths)))
    hidden = [_relu(4096, side, padding=0), Dropout(0.5), _relu(4096, 1), Dropout(0.5)]
    return Chain(*stages, Chain(*hidden, GlobalPool(), Flatten(), Linear(task.classes), label="head"))


def nin(task: Task) -> Node:
    """Network in Network for small images: 1x1 convolutions and a global average (Lin 2014, arXiv:1312.4400, sec. 4).

    Widths are those of the authors' published CIFAR-10 network.
    """
    return Chain(
        Chain(_relu(192, 5), _relu(160, 1), _relu(96, 1), Pool("max", 3, 2), Dropout(0.5), label="stage1"),
        Chain(_relu(192, 5), _relu(192, 1), _relu(192, 1), Pool("avg", 3, 2), Dropout(0.5), label="stage2"),
        Chain(_relu(192, 3), _relu(192, 1), label="stage3"),
        Chain(_relu(task.classes, 1), GlobalPool(), Flatten(), label="head"),
    )


def all_cnn(task: Task) -> Node:
    """All-CNN-C: strided convolutions in place of pooling (Springenberg 2015, arXiv:1412.6806, table 2)."""
    return Chain(
        Chain(Dropout(0.2), _relu(96, 3), _relu(96, 3), _relu(96, 3, 2), Dropout(0.5), label="stage1"),
        Chain(_relu(192, 3), _relu(192, 3), _relu(192, 3, 2), Dropout(0.5), label="stage2"),
        Chain(_relu(192, 3), _relu(192, 1), label="stage3"),
        Chain(_relu(task.classes, 1), GlobalPool(), Flatten(), label="head"),
    )


def plain_resnet(task: Task, depths: Sequence[int], widths: Sequence[int]) -> Node:
    """A ResNet without its shortcuts: 3x3 convolutions with norm (He 2016, arXiv:1512.03385, sec. 3.3 and 4.2).

    Args:
        task: images and classes.
        depths: pairs of convolutions in each stage.
        widths: of each stage; with four of them the stem is ImageNet's, 7x7 and pooled.
    """
    large = len(widths) == 4
    stem = Chain(conv_norm_act(64, 7, 2), Pool("max", 3, 2)) if large else conv_norm_act(16, 3)
    stages = []
    for index, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        convs = [conv_norm_act(width, 3, 2 if index else 1), *[conv_norm_act(width, 3)] * (2 * depth - 1)]
        stages.append(Chain(*convs, label=f"stage{index + 1}"))
    return Chain(Chain(stem, label="stem"), *stages, Chain(GlobalPool(), Flatten(), Linear(task.classes), label="head"))


def _network(name: str, paper: str, tree: Callable[[Task], Node], task: Task = Task()) -> Callable[[], Classic]:
    return lambda: Classic(name, paper, tree, task)


def _vgg(depth: int, letter: str, *depths: int) -> Callable[[], Classic]:
    paper = f"Simonyan & Zisserman 2015, arXiv:1409.1556, table 1 {letter}"
    return _network(f"vgg{depth}", paper, partial(vgg, depths=depths))


def _plain(depth: int) -> tuple[str, Callable[[], Classic]]:
    name, depths = f"plain{depth}", [(depth - 2) // 6] * 3
    tree = partial(plain_resnet, depths=depths, widths=(16, 32, 64))
    return name, _network(name, "He 2016, arXiv:1512.03385, sec. 4.2", tree, Task(32, 3, 10))


def _large_plain(depth: int, *depths: int) -> tuple[str, Callable[[], Classic]]:
    name, tree = f"plain{depth}", partial(plain_resnet, depths=depths, widths=(64, 128, 256, 512))
    return name, _network(name, "He 2016, arXiv:1512.03385, fig. 3 and table 2", tree)


NETWORKS: Final[dict[str, Callable[[], Classic]]] = {
    "lenet5": _network("lenet5", "LeCun 1998, Proc. IEEE 86(11), fig. 2", lenet5, Task(32, 1, 10)),
    "alexnet": _network("alexnet", "Krizhevsky 2014, arXiv:1404.5997", alexnet),
    "alexnet_2012": _network("alexnet_2012", "Krizhevsky 2012, NeurIPS, fig. 2", alexnet_2012),
    "alexnet_tower": _network("alexnet_tower", "Krizhevsky 2012, NeurIPS, fig. 2, without groups", alexnet_tower),
    "zfnet": _network("zfnet", "Zeiler & Fergus 2014, arXiv:1311.2901, fig. 3", zfnet),
    "zfnet_ilsvrc": _network(
        "zfnet_ilsvrc", "Zeiler & Fergus 2014, arXiv:1311.2901, table 2", partial(zfnet, widths=(512, 1024, 512))
    ),
    "vgg11": _vgg(11, "A", 1, 1, 2, 2, 2),
    "vgg13": _vgg(13, "B", 2, 2, 2, 2, 2),
    "vgg16": _vgg(16, "D", 2, 2, 3, 3, 3),
    "vgg19": _vgg(19, "E", 2, 2, 4, 4, 4),
    "nin": _network("nin", "Lin 2014, arXiv:1312.4400, sec. 4", nin, Task(32, 3, 10)),
    "all_cnn": _network("all_cnn", "Springenberg 2015, arXiv:1412.6806, table 2", all_cnn, Task(32, 3, 10)),
    **dict(map(_plain, (20, 32, 44, 56))),
    **dict((_large_plain(18, 2, 2, 2, 2), _large_plain(34, 3, 4, 6, 3))),
}
