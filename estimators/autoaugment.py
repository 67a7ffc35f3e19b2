"""AutoAugment's policies, as they were published for CIFAR-10, SVHN and ImageNet (Cubuk et al. 2019, arXiv:1805.09501,
tables 7 to 9).

A policy is 25 sub-policies of two operations, each with the probability that it is applied and a level from 0 to 9 of
its magnitude. An image gets one sub-policy, drawn uniformly.

Departure: what a level means is torchvision's, not the paper's. Here 0 leaves an image as it is, and level 9 is the
strongest of each operation: `operated` in `estimators.augmentation` has the ranges at 10/9 of the level, and how the
authors' code differs. In the paper's table 6 levels run from the low to the high end of a range. So level 0 of colour,
contrast, brightness and sharpness takes nearly all of it (0.1; here nothing), a middle one changes nothing and 9 is
1.9, without a sign, where here either direction has equal probability; and high levels of solarize (a threshold up to
256) and of posterize (up to 8 bits) are the weak ones there and the strong ones here.

Left out: the search for a policy; and stronger or weaker ones: progressive learning leaves a policy as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVELS: Final = 9
"""The highest level, which is the strongest magnitude."""

SubPolicy = tuple[tuple[str, float, int], tuple[str, float, int]]
"""Two operations, each with its probability and its level."""

_CIFAR10: Final = """
invert .1 0         contrast .2 6
rotate .7 2         translate_x .3 9
sharpness .8 1      sharpness .9 3
shear_y .5 8        translate_y .7 9
auto_contrast .5 0  equalize .9 0
shear_y .2 7        posterize .3 7
color .4 3          brightness .6 7
sharpness .3 9      brightness .7 9
equalize .6 0       equalize .5 0
contrast .6 7       sharpness .6 5
color .7 7          translate_x .5 8
equalize .3 0       auto_contrast .4 0
translate_y .4 3    sharpness .2 6
brightness .9 6     color .2 8
solarize .5 2       invert .0 0
equalize .2 0       auto_contrast .6 0
equalize .2 0       equalize .6 0
color .9 9          equalize .6 0
auto_contrast .8 0  solarize .2 8
brightness .1 3     color .7 0
solarize .4 5       auto_contrast .9 0
translate_y .9 9    translate_y .7 9
auto_contrast .9 0  solarize .8 3
equalize .8 0       invert .1 0
translate_y .7 9    auto_contrast .9 0
"""

_SVHN: Final = """
shear_x .9 4        invert .2 0
shear_y .9 8        invert .7 0
equalize .6 0       solarize .6 6
invert .9 0         equalize .6 0
equalize .6 0       rotate .9 3
shear_x .9 4        auto_contrast .8 0
shear_y .9 8        invert .4 0
shear_y .9 5        solarize .2 6
invert .9 0         auto_contrast .8 0
equalize .6 0       rotate .9 3
shear_x .9 4        solarize .3 3
shear_y .8 8        invert .7 0
equalize .9 0       translate_y .6 6
invert .9 0         equalize .6 0
contrast .3 3       rotate .8 4
invert .8 0         translate_y .0 2
shear_y .7 6        solarize .4 8
invert .6 0         rotate .8 4
shear_y .3 7        translate_x .9 3
shear_x .1 6        invert .6 0
solarize .7 2       translate_y .6 7
shear_y .8 4        invert .8 0
shear_x .7 9        translate_y .8 3
shear_y .8 5        auto_contrast .7 0
shear_x .7 2        invert .1 0
"""

_IMAGENET: Final = """
posterize .4 8      rotate .6 9
solarize .6 5       auto_contrast .6 0
equalize .8 0       equalize .6 0
posterize .6 7      posterize .6 6
equalize .4 0       solarize .2 4
equalize .4 0       rotate .8 8
solarize .6 3       equalize .6 0
posterize .8 5      equalize 1 0
rotate .2 3         solarize .6 8
equalize .6 0       posterize .4 6
rotate .8 8         color .4 0
rotate .4 9         equalize .6 0
equalize .0 0       equalize .8 0
invert .6 0         equalize 1 0
color .6 4          contrast 1 8
rotate .8 8         color 1 2
color .8 8          solarize .8 7
sharpness .4 7      invert .6 0
shear_x .6 5        equalize 1 0
color .4 0          equalize .6 0
equalize .4 0       solarize .2 4
solarize .6 5       auto_contrast .6 0
invert .6 0         equalize 1 0
color .6 4          contrast 1 8
equalize .8 0       equalize .6 0
"""


def _read(table: str) -> tuple[SubPolicy, ...]:
    rows = (line.split() for line in table.strip().splitlines())
    return tuple(((a, float(p), int(m)), (b, float(q), int(n))) for a, p, m, b, q, n in rows)


POLICIES: Final[dict[str, tuple[SubPolicy, ...]]] = {
    "cifar10": _read(_CIFAR10),
    "svhn": _read(_SVHN),
    "imagenet": _read(_IMAGENET),
}
"""The policies by the data that they were found on."""


def drawn(
    policy: str, rows: int, kinds: tuple[str, ...], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """A sub-policy for each of some images.

    Args:
        policy: in `POLICIES`.
        rows: images.
        kinds: names of operations, with `identity` for one that is not applied.
        rng: of all draws.

    Returns:
        Indices into `kinds` (rows, 2), levels (rows, 2), and directions (rows, 2), 1 or -1.
    """
    table = POLICIES[policy]
    which = rng.integers(0, len(table), rows)
    operations = np.array([[kinds.index(kind) for kind, _, _ in pair] for pair in table])
    chances = np.array([[chance for _, chance, _ in pair] for pair in table])
    levels = np.array([[level for _, _, level in pair] for pair in table])
    applied = rng.random((rows, 2)) < chances[which]
    signs = rng.integers(0, 2, (rows, 2)).astype(np.float32) * 2 - 1
    return np.where(applied, operations[which], kinds.index("identity")), levels[which], signs
