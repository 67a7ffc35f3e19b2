"""NAS-Bench-Macro as a space: `nas space examples/nas_bench_macro.py:space --task 32x32x3:10`.

Su et al. 2021, *Prioritized Architecture Sampling with Monto-Carlo Tree Search*, arXiv:2103.11922, sec. 5. The
benchmark trained 3**8 = 6,561 networks on CIFAR-10, one for each key of eight digits: layers in stages of 2, 3 and 3,
each an identity (0), a small (1) or a large (2) inverted residual. An identity that is not the first of its stage does
nothing, so only 9 * 21 * 21 = 3,969 of them are different networks, and only those are members here: the first layer
of a stage is one of three cells, and up to one or two further blocks follow.
"""

from __future__ import annotations

from searchspaces import Architecture, Space, Stage, Value, choice, conv_head, conv_stem, mbconv, per_block
from searchspaces.layers import Chain, Conv, Node, Norm

_LAYERS = (2, 3, 3)  # of each stage, its first included


def shortcut(c_in: int, width: int, stride: int) -> Node:
    """Digit 0 where the shape changes: a 1x1 convolution and batch norm."""
    return Chain(Conv(width, stride=stride), Norm())


def small(c_in: int, width: int, stride: int) -> Node:
    """Digit 1."""
    return mbconv(c_in, width, stride, expansion=3, kernel=3)


def large(c_in: int, width: int, stride: int) -> Node:
    """Digit 2."""
    return mbconv(c_in, width, stride, expansion=6, kernel=5)


_CELLS = (shortcut, small, large)  # by digit

space = Space(
    "nas-bench-macro",
    doc="the 3,969 networks of NAS-Bench-Macro, for images of 32x32 pixels",
    stem=Stage(conv_stem, width=32),
    stages=[
        stage
        for index, (layers, width) in enumerate(zip(_LAYERS, (64, 128, 256), strict=True), start=1)
        for stage in (
            Stage(choice(*_CELLS), width=width, stride=2, name=f"stage{index}"),
            Stage(per_block(small, large), width=width, depth=choice(*range(layers)), name=f"more{index}"),
        )
    ],
    head=Stage(conv_head, width=1280),
)


def key(architecture: Architecture) -> str:
    """The benchmark's key, identities last in each stage; '00000000' is the smallest network."""
    digits = {cell.__name__: str(digit) for digit, cell in enumerate(_CELLS)}
    chosen = architecture.choices
    found = ""
    for index, layers in enumerate(_LAYERS, start=1):
        cells = [chosen[f"stage{index}.cell"]]
        cells += [chosen[f"more{index}.block{block}.cell"] for block in range(1, int(chosen[f"more{index}.depth"]) + 1)]
        found += "".join(digits[str(cell)] for cell in cells).ljust(layers, "0")
    return found


def architecture(text: str) -> Architecture:
    """The network of any of the 6,561 keys; several keys have the same one."""
    choices: dict[str, Value] = {}
    digits = iter(text)
    for index, layers in enumerate(_LAYERS, start=1):
        first, *rest = [_CELLS[int(next(digits))].__name__ for _ in range(layers)]
        rest = [cell for cell in rest if cell != "shortcut"]
        choices |= {f"stage{index}.cell": first, f"more{index}.depth": len(rest)}
        choices |= {f"more{index}.block{block}.cell": cell for block, cell in enumerate(rest, start=1)}
    return space.architecture(choices)
