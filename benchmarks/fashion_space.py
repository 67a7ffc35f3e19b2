"""Networks for Fashion-MNIST at 14x14 pixels, few enough for each to be trained: the space of `fashion.json`.

    nas bench-strategies --space benchmarks/fashion_space.py:space --key benchmarks/fashion_space.py:key \\
        --table benchmarks/fashion.json --task 14x14x1:10 --budget 90K

`benchmarks/record.py` made the table: each of the networks under that budget trained three times from scratch, for 7
epochs on 600 images, and validated on 600 others. Unlike NAS-Bench-Macro it is made of decisions of many kinds:
width, depth, kernel, expansion, squeeze-excite. The images are Fashion-MNIST (Xiao et al. 2017, arXiv:1708.07747; MIT
licence); the table holds none of them.
"""

from __future__ import annotations

from searchspaces import Architecture, Budget, Space, Stage, Task, choice, conv_head, conv_stem, mbconv

TASK = Task(image_size=14, channels=1, classes=10)
BUDGET = Budget.parse("90K")

space = Space(
    "fashion",
    doc="two stages of inverted residuals for images of 14x14 pixels",
    stem=Stage(conv_stem, width=8, stride=2),
    stages=[
        Stage(mbconv, width=choice(4, 8, 16), kernel=choice(3, 5), expansion=choice(1, 4)),
        Stage(
            mbconv,
            width=choice(8, 16, 32),
            depth=choice(1, 2),
            kernel=choice(3, 5),
            expansion=choice(1, 4),
            se=choice(0, 0.25),
            stride=2,
        ),
    ],
    head=Stage(conv_head, width=64, dropout=0.0),
)


def key(architecture: Architecture) -> str:
    """One digit for each decision, in the space's order: the place of the option chosen."""
    return "".join(map(str, space.encode(architecture)))
