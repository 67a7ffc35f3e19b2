"""The Inception family: GoogLeNet, Inception-v3 and -v4, Inception-ResNet-v1 and -v2, Xception.

Layers and parameter counts are those of timm 1.0 and, for GoogLeNet, torchvision 0.29; both follow the authors' code.
In Inception-v3 their average pooling counts padding and ours does not, which has no effect on costs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cache
from typing import Final

from searchspaces.architecture import Architecture
from searchspaces.auxiliary_heads import with_heads
from searchspaces.classics.classic import Classic
from searchspaces.inception import conv, inception_space, pooled_head
from searchspaces.layers import (
    Act,
    Auxiliary,
    Chain,
    Concat,
    Conv,
    Dropout,
    Flatten,
    GlobalPool,
    Identity,
    Linear,
    Multiply,
    Node,
    Norm,
    Pool,
    Sum,
)
from searchspaces.scaling import Scaled
from searchspaces.space import Space
from searchspaces.stage import Scale
from searchspaces.strides import published
from searchspaces.task import Task

Kernel = int | tuple[int, int]


def _path(*convs: tuple[int, Kernel] | tuple[int, Kernel, int]) -> Chain:
    """Convolutions given by width and kernel; those with a stride have no padding."""
    return Chain(*(conv(width, kernel, *((*stride, 0) if stride else ())) for width, kernel, *stride in convs))


def _pooled(width: int) -> Chain:
    return Chain(Pool("avg", 3, 1), conv(width))


_HALVE: Final = Pool("max", 3, 2, padding=0)
_STEM: Final = _path((32, 3, 2), (32, 3, 1), (64, 3))
_STEM_V3: Final = Chain(_STEM, _HALVE, _path((80, 1), (192, 3, 1)), _HALVE, label="stem")


def _labelled(**stages: Node) -> Chain:
    return Chain(*(Chain(stage, label=name) for name, stage in stages.items()))


def _inception_v3(task: Task) -> Node:
    """Szegedy 2016, arXiv:1512.00567, table 1; its auxiliary head (sec. 4) as in torchvision."""

    def a(pooled: int) -> Node:
        return Concat(_path((64, 1)), _path((48, 1), (64, 5)), _path((64, 1), (96, 3), (96, 3)), _pooled(pooled))

    def c(inside: int) -> Node:
        rows, columns = (inside, (1, 7)), (inside, (7, 1))
        return Concat(
            _path((192, 1)),
            _path((inside, 1), rows, (192, (7, 1))),
            _path((inside, 1), columns, rows, columns, (192, (1, 7))),
            _pooled(192),
        )

    def split(*before: tuple[int, Kernel]) -> Node:
        return Chain(_path(*before), Concat(conv(384, (1, 3)), conv(384, (3, 1))))

    auxiliary = Chain(Pool("avg", 5, 3, padding=0), _path((128, 1), (768, 5, 1)))
    e = Concat(conv(320), split((384, 1)), split((448, 1), (384, 3)), _pooled(192))
    return _labelled(
        stem=_STEM_V3,
        mixed5=Chain(a(32), a(64), a(64)),
        mixed6=Chain(
            Concat(_path((384, 3, 2)), _path((64, 1), (96, 3), (96, 3, 2)), _HALVE), c(128), c(160), c(160), c(192),
            Auxiliary(Chain(auxiliary, pooled_head(768, 1, 1, classes=task.classes, dropout=0.0))),
        ),
        mixed7=Chain(
            Concat(
                _path((192, 1), (320, 3, 2)),
                _path((192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3, 2)),
                _HALVE,
            ), e, e,
        ),
        head=pooled_head(2048, 1, 1, classes=task.classes),
    )  # fmt: skip


def _inception_v4(task: Task) -> Node:
    """Szegedy 2017, arXiv:1602.07261, figures 3 to 9."""
    stem = Chain(
        _STEM,
        Concat(_HALVE, _path((96, 3, 2))),
        Concat(_path((64, 1), (96, 3, 1)), _path((64, 1), (64, (1, 7)), (64, (7, 1)), (96, 3, 1))),
        Concat(_path((192, 3, 2)), _HALVE),
    )
    a = Concat(conv(96), _path((64, 1), (96, 3)), _path((64, 1), (96, 3), (96, 3)), _pooled(96))
    to_b = Concat(_path((384, 3, 2)), _path((192, 1), (224, 3), (256, 3, 2)), _HALVE)
    b = Concat(
        conv(384),
        _path((192, 1), (224, (1, 7)), (256, (7, 1))),
        _path((192, 1), (192, (7, 1)), (224, (1, 7)), (224, (7, 1)), (256, (1, 7))),
        _pooled(128),
    )
    to_c = Concat(_path((192, 1), (192, 3, 2)), _path((256, 1), (256, (1, 7)), (320, (7, 1)), (320, 3, 2)), _HALVE)
    both = Concat(conv(256, (1, 3)), conv(256, (3, 1)))
    c = Concat(
        conv(256),
        Chain(conv(384), both),
        Chain(_path((384, 1), (448, (3, 1)), (512, (1, 3))), both),
        _pooled(256),
    )
    return _labelled(
        stem=stem,
        a=Chain(*[a] * 4),
        b=Chain(to_b, *[b] * 7),
        c=Chain(to_c, *[c] * 3),
        head=pooled_head(1536, 1, 1, classes=task.classes),
    )  # fmt: skip


def _added(width: int, scale: float, *branches: Node) -> Node:
    return Sum(Identity(), Chain(Concat(*branches), Conv(width, bias=True), Multiply(scale)))


def _residual(width: int, scale: float, *branches: Node) -> Node:
    return Chain(_added(width, scale, *branches), Act("relu"))


def _inception_resnet_v1(task: Task) -> Node:
    """Szegedy 2017, arXiv:1602.07261, figures 10 to 15: 5, 10 and 5 blocks.

    As in FaceNet and imgclsmob, a sixth C block follows, without an activation, and the end has two linear layers.
    """
    a = _residual(256, 0.17, conv(32), _path((32, 1), (32, 3)), _path((32, 1), (32, 3), (32, 3)))
    b = _residual(896, 0.1, conv(128), _path((128, 1), (128, (1, 7)), (128, (7, 1))))
    inside = conv(192), _path((192, 1), (192, (1, 3)), (192, (3, 1)))
    to_c = Concat(
        _path((256, 1), (384, 3, 2)), _path((256, 1), (256, 3, 2)), _path((256, 1), (256, 3), (256, 3, 2)), _HALVE
    )
    return _labelled(
        stem=Chain(_STEM, _HALVE, _path((80, 1), (192, 3, 1), (256, 3, 2))),
        a=Chain(*[a] * 5),
        b=Chain(Concat(_path((384, 3, 2)), _path((192, 1), (192, 3), (256, 3, 2)), _HALVE), *[b] * 10),
        c=Chain(to_c, *[_residual(1792, 0.2, *inside)] * 5, _added(1792, 1.0, *inside)),
        head=Chain(
            GlobalPool(), Flatten(), Dropout(0.6), Linear(512, bias=False), Norm(eps=0.001), Linear(task.classes)
        ),
    )


def _inception_resnet_v2(task: Task) -> Node:
    """The authors' code for Szegedy 2017, arXiv:1602.07261, as in timm.

    It is not the paper's network (figures 3 and 15 to 19): its stem is Inception-v3's and a module of four branches,
    its blocks are 10, 20 and 10, where figure 15 has 5, 10 and 5, and the last of them has no activation.
    """
    a = _residual(320, 0.17, conv(32), _path((32, 1), (32, 3)), _path((32, 1), (48, 3), (64, 3)))
    b = _residual(1088, 0.1, conv(192), _path((128, 1), (160, (1, 7)), (192, (7, 1))))
    inside = conv(192), _path((192, 1), (224, (1, 3)), (256, (3, 1)))
    return _labelled(
        stem=_STEM_V3,
        a=Chain(
            Concat(conv(96), _path((48, 1), (64, 5)), _path((64, 1), (96, 3), (96, 3)), _pooled(64)), *[a] * 10
        ),
        b=Chain(Concat(_path((384, 3, 2)), _path((256, 1), (256, 3), (384, 3, 2)), _HALVE), *[b] * 20),
        c=Chain(
            Concat(
                _path((256, 1), (384, 3, 2)),
                _path((256, 1), (288, 3, 2)),
                _path((256, 1), (288, 3), (320, 3, 2)),
                _HALVE,
            ),
            *[_residual(2080, 0.2, *inside)] * 9,
            _added(2080, 1.0, *inside),
        ),
        head=Chain(conv(1536), pooled_head(1536, 1, 1, classes=task.classes)),
    )  # fmt: skip


def _xception(task: Task) -> Node:
    """Chollet 2017, arXiv:1610.02357, figure 5."""

    def separable(c_in: int, width: int) -> Chain:
        return Chain(Conv(c_in, 3, groups=c_in), Conv(width), Norm())

    def block(widths: tuple[int, ...], stride: int = 1, starts: bool = True) -> Node:
        convs = [Chain(Act("relu"), separable(*pair)) for pair in itertools.pairwise(widths)]
        if not starts:
            convs[0] = separable(*widths[:2])
        if stride == 1:
            return Sum(Identity(), Chain(*convs))
        return Sum(Chain(Conv(widths[-1], 1, stride), Norm()), Chain(*convs, Pool("max", 3, stride)))

    stem = Chain(Conv(32, 3, 2, padding=0), Norm(), Act("relu"), Conv(64, 3, padding=0), Norm(), Act("relu"))
    return _labelled(
        stem=stem,
        entry=Chain(block((64, 128, 128), 2, starts=False), block((128, 256, 256), 2), block((256, 728, 728), 2)),
        middle=Chain(*[block((728, 728, 728, 728))] * 8),
        exit=Chain(
            block((728, 728, 1024), 2), separable(1024, 1536), Act("relu"), separable(1536, 2048), Act("relu")
        ),
        head=pooled_head(2048, 1, 1, classes=task.classes, dropout=0.5),  # sec. 4.3, on ImageNet
    )  # fmt: skip


@cache
def _space() -> Space:
    return inception_space()


def _googlenet(name: str, paper: str, dropout: float) -> Callable[[], Classic]:
    def made() -> Classic:
        member = _space().references[name]

        def tree(member: Architecture, task: Task) -> Node:
            """The member of `inception`, with its dropout and GoogLeNet's two auxiliary heads."""
            return with_heads(Scaled(member, Scale(dropout=dropout), task).network(), task.shape, task.classes)

        return Classic(
            name,
            paper,
            lambda task: tree(published(member), task),
            architecture=member,
            for_small_images=lambda task: tree(member, task),
        )

    return made


def _classic(name: str, tree: Callable[[Task], Node], paper: str) -> Callable[[], Classic]:
    return lambda: Classic(name, paper, tree, Task(299))


NETWORKS: Final[dict[str, Callable[[], Classic]]] = {
    "googlenet": _googlenet("googlenet", "Szegedy 2015, arXiv:1409.4842, table 1, with batch norm", 0.4),
    "googlenet_torchvision": _googlenet(
        "googlenet_torchvision", "Szegedy 2015, arXiv:1409.4842, with 3x3 in place of 5x5, as torchvision has it", 0.2
    ),
    "inception_v3": _classic("inception_v3", _inception_v3, "Szegedy 2016, arXiv:1512.00567, table 1"),
    "inception_v4": _classic("inception_v4", _inception_v4, "Szegedy 2017, arXiv:1602.07261, fig. 9"),
    "inception_resnet_v1": _classic(
        "inception_resnet_v1", _inception_resnet_v1, "Szegedy 2017, arXiv:1602.07261, fig. 15, with a sixth C block"
    ),
    "inception_resnet_v2": _classic(
        "inception_resnet_v2", _inception_resnet_v2, "Szegedy 2017, arXiv:1602.07261, the authors' code, as in timm"
    ),
    "xception": _classic("xception", _xception, "Chollet 2017, arXiv:1610.02357, fig. 5"),
}
