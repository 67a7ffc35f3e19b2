"""The rule for strides on small images, a choice of whoever uses a space.

Under `small-images`, the rule of a space as it is declared, the earliest strides are left out until the last maps keep
a few pixels a side (`smallest_map`). So a smaller image can cost more than a larger one: EfficientNet-B0, as a member
of `mbconv`, has 126M MACs at 64 pixels and 106M at 112. Under `published` a network keeps its strides on images of
every size, and its MACs fall with them. Classic networks, by their own names, are always as published.

A space under `published` is a space of its own, with `@published` at the end of its name: `mbconv@published`. So the
rule is part of whatever says the name, such as run folders and text forms of architectures.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from searchspaces.architecture import Architecture, SearchSpace
from searchspaces.errors import UserError, nearest
from searchspaces.nasnet import NASNetSpace
from searchspaces.scaling import ScalingSpace
from searchspaces.space import Space
from searchspaces.stage import PUBLISHED

SMALL_IMAGES: Final = "small-images"
RULES: Final = (SMALL_IMAGES, PUBLISHED)
SUFFIX: Final = f"@{PUBLISHED}"


def rule_of(space: SearchSpace) -> str | None:
    """The rule of a space, one of `RULES`; None for a space of a class of one's own, which nas knows nothing of."""
    whole = space.whole
    home = whole.base.architecture.space if isinstance(whole, ScalingSpace) else whole
    if not isinstance(home, Space | NASNetSpace):
        return None
    return PUBLISHED if home.name.endswith(SUFFIX) else SMALL_IMAGES


def with_strides(space: SearchSpace, rule: str) -> SearchSpace:
    """A whole space under a rule for strides; the space itself where it has that rule or never leaves out a stride.

    Raises:
        UserError: there is no such rule, or the space cannot have it.
    """
    if rule not in RULES:
        raise UserError(f"unknown rule for strides {rule!r}{nearest(rule, RULES)}")
    if rule == rule_of(space):
        return space
    if rule == SMALL_IMAGES and rule_of(space) == PUBLISHED:
        raise UserError(f"the space {space.name!r} keeps its published strides; leave out {SUFFIX!r} for {rule}")
    if isinstance(space, Space | NASNetSpace):
        return space.published
    if isinstance(space, ScalingSpace):
        base = replace(space.base, architecture=published(space.base.architecture))
        return ScalingSpace(base, space.target, space.step, space.band)
    raise UserError(f"the space {space.name!r} has a class of its own, whose strides cannot be chosen")


def stated(space: str | SearchSpace, rule: str | None) -> str | SearchSpace:
    """A space as `load_space` takes it, under the rule that a person chose; None leaves it as it is.

    Raises:
        UserError: as of `with_strides`.

    >>> stated("mbconv", "published")
    'mbconv@published'
    """
    if rule is None:
        return space
    if not isinstance(space, str):
        return with_strides(space, rule)
    if rule not in RULES:
        raise UserError(f"unknown rule for strides {rule!r}{nearest(rule, RULES)}")
    if rule == SMALL_IMAGES and space.endswith(SUFFIX):
        raise UserError(f"the space {space!r} keeps its published strides; leave out {SUFFIX!r} for {rule}")
    return space + SUFFIX if rule == PUBLISHED and not space.endswith(SUFFIX) else space


def published(architecture: Architecture) -> Architecture:
    """The same architecture with its published strides on images of every size."""
    return with_strides(architecture.space.whole, PUBLISHED).architecture(architecture.choices)
