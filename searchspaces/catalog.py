"""The names people type: spaces and classic networks. A new one is a line here."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Final

from searchspaces.architecture import SearchSpace, checked_space
from searchspaces.classics import (
    dense,
    fractal,
    inception,
    mobile,
    nfnet,
    plain,
    polynet,
    regnet,
    residual,
    very_deep,
    wired,
)
from searchspaces.classics.classic import Classic
from searchspaces.densenet import densenet_space
from searchspaces.errors import UserError, nearest
from searchspaces.inception import inception_space
from searchspaces.mbconv import efficientnetv2_space, mbconv_blocks_space, mbconv_space, mobilenetv3_space
from searchspaces.mixed import mixed_space
from searchspaces.nasnet import nasnet_space
from searchspaces.own_code import keep_typed, load_object
from searchspaces.resnet import resnet_cifar_space, resnet_space
from searchspaces.scaling import scaling_space
from searchspaces.shufflenet import shufflenet_space
from searchspaces.stage import PUBLISHED
from searchspaces.strides import SUFFIX, with_strides

SPACES: Final[dict[str, Callable[[], SearchSpace]]] = {
    "mbconv": mbconv_space,
    "mbconv-blocks": mbconv_blocks_space,
    "mobilenetv3": mobilenetv3_space,
    "efficientnetv2": efficientnetv2_space,
    "resnet": resnet_space,
    "resnet-cifar": resnet_cifar_space,
    "densenet": densenet_space,
    "shufflenet": shufflenet_space,
    "inception": inception_space,
    "mixed": mixed_space,
    "nasnet": nasnet_space,
    "scaling": scaling_space,
}

RANGES: Final = {
    "mbconv": (93_737_904, 1_007_544_960),
    "mbconv-blocks": (49_951_896, 771_845_344),
    "mobilenetv3": (31_307_824, 483_015_456),
    "efficientnetv2": (41_379_248, 114_481_349_632),
    "resnet": (25_193_472, 667_521_785_856),
    "resnet-cifar": (52_849_152, 4_907_554_900_992),
    "densenet": (190_889_044, 17_510_290_176),
    "shufflenet": (15_996_144, 2_210_758_464),
    "inception": (153_995_264, 3_480_704_512),
    "mixed": (45_396_464, 14_207_989_952),
    "nasnet": (6_601_936, 22_074_196_640),
    "scaling": (385_814_752, 3_917_704_704),
}
"""The fewest and the most MACs of each space on 224 x 224 x 3 images and 1000 classes. Kept here, as counting all of
them takes seconds; a law compares them. Of nasnet they are those of 400 draws."""

FAMILIES: Final[dict[str, dict[str, Callable[[], Classic]]]] = {
    "plain": plain.NETWORKS,
    "inception": inception.NETWORKS,
    "residual": {
        **residual.NETWORKS,
        **very_deep.NETWORKS,
        **nfnet.NETWORKS,
        **polynet.NETWORKS,
        **fractal.NETWORKS,
    },
    "dense": dense.NETWORKS,
    "mobile": mobile.NETWORKS,
    "regnet": regnet.NETWORKS,
    "wired cells": wired.NETWORKS,
}
"""The classics as they are listed, roughly from the oldest idea to the newest."""

CLASSICS: Final = {name: make for networks in FAMILIES.values() for name, make in networks.items()}


@cache
def space_named(name: str) -> SearchSpace:
    """One of our own spaces, by name, such as `mbconv` or `mbconv@published`; never loads a file.

    Raises:
        UserError: there is none of that name.
    """
    plain = name.removesuffix(SUFFIX)
    if plain not in SPACES:
        raise UserError(f"unknown space {name!r}{nearest(plain, SPACES)}")
    return SPACES[name]() if plain == name else with_strides(space_named(plain), PUBLISHED)


def is_ours(space: SearchSpace) -> bool:
    """Whether `space_named` finds a space by its name."""
    return space.name.removesuffix(SUFFIX) in SPACES and space == space_named(space.name)


def load_space(given: str | SearchSpace) -> SearchSpace:
    """A space by name, by `file.py:object`, or as it is; `@published` after either is the rule for its strides.

    Raises:
        UserError: there is no such space, file or object, or the object lacks a part of `SearchSpace`.
    """
    if not isinstance(given, str):
        return checked_space(given, "the space")
    if ".py:" not in given:
        return space_named(given)
    plain = given.removesuffix(SUFFIX)
    found = load_object(plain)
    if callable(found) and not isinstance(found, type):
        found = _made(plain, found)
    space = checked_space(found, plain)
    space = space if plain == given else with_strides(space, PUBLISHED)
    keep_typed(space.name, given)
    return space


def _made(given: str, make: Callable[[], object]) -> object:
    """What a person's function without arguments returns.

    Raises:
        UserError: it needs arguments, or fails.
    """
    try:
        inspect.signature(make).bind()
    except TypeError as error:
        raise UserError(
            f"{given} needs arguments ({error}): name a space, or a function without arguments that makes one"
        ) from error
    try:
        return make()
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{given} fails: {type(error).__name__}: {error}") from error


def classic(name: str) -> Classic:
    """A network of the literature, by timm's name or the paper's.

    Raises:
        UserError: there is none of that name.
    """
    if name not in CLASSICS:
        raise UserError(f"unknown network {name!r}{nearest(name, CLASSICS)}")
    return CLASSICS[name]()
