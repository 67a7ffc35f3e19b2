"""Progressive learning: smaller images and weaker augmentation first (Tan & Le 2021, arXiv:2104.00298, sec. 4, alg. 1).

A training is cut into stages of as many epochs each. The side of the images the network is trained on and the strength
of their augmentation rise linearly from stage to stage, to what the training says. The first stage has 0.43 of the side
(128 of 300 pixels) and a third of the strength (RandAugment 5 of 15), as EfficientNetV2-S has (table 6). Left out: the
paper's rising dropout.

Images are augmented at their full size and then made smaller, so the seconds saved are those of the network alone.
"""

from __future__ import annotations

from typing import Final

FIRST_SIDE: Final = 128 / 300
FIRST_STRENGTH: Final = 5 / 15


def share(epoch: int, epochs: int, stages: int) -> float:
    """How far the stages are at an epoch, counted from 0: 0 in the first, 1 in the last, and with fewer than two.

    There are no more stages than epochs.

    >>> [round(share(epoch, 8, 4), 2) for epoch in range(8)]
    [0.0, 0.0, 0.33, 0.33, 0.67, 0.67, 1.0, 1.0]
    """
    stages = min(stages, epochs)
    return 1.0 if stages < 2 else min(epoch * stages // epochs, stages - 1) / (stages - 1)


def side_of(side: int, at: float) -> int:
    """The side of the images, in pixels, at a share of the stages.

    >>> [side_of(300, each / 3) for each in range(4)]
    [128, 185, 243, 300]
    """
    return round(side * (FIRST_SIDE + (1 - FIRST_SIDE) * at))


def strength_of(at: float) -> float:
    """The strength of augmentation, relative to the training's, at a share of the stages."""
    return FIRST_STRENGTH + (1 - FIRST_STRENGTH) * at
