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
from searchspaces.drawing import Piece, pieces
from searchspaces.errors import UserError, nearest
from searchspaces.nasnet import NASNetSpace
from searchspaces.scaling import ScalingSpace
from searchspaces.space import Space
from searchspaces.stage import PUBLISHED
from searchspaces.task import Task

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
        return ScalingSpace(base, space.target, space.step, space.band, space.of.get("growth"))
    raise UserError(f"the space {space.name!r} is a class of its own and does not let you choose strides")


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


def strides_left_out(space: SearchSpace, task: Task) -> list[str]:
    """Stages that halve large images, but not those of a task, which are too small to be halved as often."""
    if rule_of(space) == PUBLISHED:
        return []
    if isinstance(space, Space):
        declared = ((label, int(fixed["stride"])) for label, fixed in space.describe()["fixed"].items())
        return [label for (label, stride), kept in zip(declared, space.strides(task), strict=True) if kept < stride]
    if not space.references:
        return []
    any_member = next(iter(space.references.values()))
    large, small = (
        {piece.label for piece in pieces(any_member.network(of), of.shape) if halves(piece)} for of in (Task(), task)
    )
    return sorted(large - small)


def halves(piece: Piece) -> bool:
    """Whether a stage, or a cell of several inputs, gives a smaller map than the one before it."""
    given, out = piece.given[0] if piece.takes[1:] else piece.given, piece.node.shape(piece.given)
    return len(out) == 3 and bool(out[1] <= given[1] // 2 + 1)


def strides_note(rule: str | None, left_out: list[str], task: Task) -> str | None:
    """The strides of networks in a few words, beside their costs; None on images where they are the same by each rule.

    Args:
        rule: one of `RULES`; None is none that is known.
        left_out: stages whose strides it leaves out.
        task: the images; on those of ImageNet's size no stride is left out.

    >>> strides_note("small-images", ["stem", "stage2"], Task(32)), strides_note("published", [], Task(32))
    ('strides left out in stem, stage2 (small-images)', 'strides as published')
    """
    if left_out:
        return f"strides left out in {', '.join(left_out)} ({rule})"
    return "strides as published" if rule == PUBLISHED and task.image_size < Task().image_size else None
