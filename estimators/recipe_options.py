"""The values among which `nas tune-recipe` decides each setting of a recipe, where nobody names others.

Rates lie as 1, 2, 5, 10, so that each optimizer has its own among them (0.1 for SGD, 0.001 for Adam). RandAugment's are
a grid over N and M, as its paper has it (Cubuk et al. 2020, arXiv:1909.13719, sec. 4): decided together by the strategy
`grid`, they are that search.

Left out: the number of epochs, which is how much each trial is given; what chooses the validation images, by which
trials are compared; and what needs more than a recipe, a teacher or auxiliary heads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from estimators.autoaugment import POLICIES
from estimators.optimizers import OPTIMIZERS
from estimators.recipe import Recipe, make_recipe
from estimators.schedules import SCHEDULES
from searchspaces import UserError, Value, nearest

OPTIONS: Final[Mapping[str, tuple[Value, ...]]] = {
    "optimizer": OPTIMIZERS,
    "batch": (16, 32, 64, 128, 256, 512),
    "lr": (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
    "schedule": SCHEDULES,
    "momentum": (0.8, 0.9, 0.95, 0.99),
    "nesterov": (False, True),
    "warmup": (0.0, 0.05, 0.1, 0.2),
    "weight_decay": (0.0, 1e-5, 5e-5, 1e-4, 5e-4, 1e-3, 5e-3, 0.05),
    "adaptive_clip": (0.0, 0.01, 0.02, 0.05, 0.1),
    "clip_norm": (0.0, 1.0, 5.0),
    "initialization": ("he", "xavier"),
    "dropout": (0.0, 0.1, 0.2, 0.3, 0.5),
    "drop_connect": (0.0, 0.2, 0.5),
    "label_smoothing": (0.0, 0.05, 0.1, 0.2),
    "randaugment_operations": (1, 2, 3),
    "randaugment_magnitude": (1.0, 3.0, 5.0, 7.0, 9.0, 12.0, 15.0),
    "auto_augment": tuple(POLICIES),
    "mixup": (0.0, 0.1, 0.2, 0.4, 0.8),
    "cutmix": (0.0, 0.5, 1.0),
    "mix": (0.25, 0.5, 1.0),
    "ema": (0.0, 0.9, 0.99, 0.999, 0.9999),
    "progressive": (0, 2, 4),
    "drop_path": (0.0, 0.1, 0.2, 0.3),
    "crop": (0.0, 0.0625, 0.125, 0.25),
    "resized_crop": (0.0, 0.08, 0.2, 0.35, 0.6),
    "mirror": (False, True),
    "cutout": (0.0, 0.25, 0.5),
}
"""For each setting that can be tuned, its usual options."""

_NEEDED: Final = {"randaugment_magnitude": ("randaugment_operations",), "mix": ("mixup", "cutmix")}
"""Settings without effect where all of these are 0."""


def options_of(
    given: Mapping[str, Sequence[Value]], recipe: str, images: int, side: int, fixed: Mapping[str, Any]
) -> dict[str, tuple[Value, ...]]:
    """The options of settings that are to be tuned: those that a person gave, or those of `OPTIONS` where these are
    empty.

    Args:
        given: by setting.
        recipe, images, side: as of `make_recipe`.
        fixed: other settings of the recipe, which are not tuned.

    Raises:
        UserError: a setting is unknown, cannot be tuned, is set besides or has no effect, or an option is not allowed.
    """
    found: dict[str, tuple[Value, ...]] = {}
    for name, several in given.items():
        if name not in OPTIONS:
            why = "cannot be tuned" if hasattr(Recipe, name) else f"is unknown{nearest(name, OPTIONS)}"
            raise UserError(f"tune-recipe: the setting {name!r} {why}")
        if name in fixed:
            raise UserError(f"tune-recipe: {name} is either tuned or set to {fixed[name]!r}, not both")
        found[name] = tuple(several) or OPTIONS[name]
    base = make_recipe(recipe, images, side, **fixed)
    for name, options in found.items():
        needed = _NEEDED.get(name, ())
        if needed and not any(each in found or getattr(base, each) for each in needed):
            raise UserError(
                f"tune-recipe: {name} has no effect where {' and '.join(needed)} are 0: set or tune these too"
            )
        for option in options:
            make_recipe(recipe, images, side, **{**fixed, name: option})
    return found
