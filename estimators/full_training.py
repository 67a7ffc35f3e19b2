"""Train a network by a recipe, as `nas train` does; its accuracy on the validation images is the estimate.

A member of a `RecipeSpace` says settings of the recipe: those of `nas tune-recipe`. Any other architecture is trained
by the recipe as it is, in full width and depth, which takes long: `short-training` is the proxy for searches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from estimators.data import ImageData
from estimators.estimator import Estimate, TrialContext
from estimators.recipe import FIT, Recipe, images_of, make_recipe
from estimators.steps import DEVICES, unknown_device
from searchspaces import RecipeSpace, UserError

if TYPE_CHECKING:
    from searchspaces import Architecture


@dataclass(frozen=True, eq=False, slots=True)
class FullTraining:
    """A training by a recipe. On a CPU, the estimate is a function of the architecture and the seed.

    Attributes:
        data: the images; only their search part is touched.
        recipe: `auto`, `sgd`, `adamw`, `resnet` or `efficientnet`; `auto` is fitted to the images.
        epochs: passes over the training images.
        settings: of the recipe, by name; those that an architecture decides take precedence.
        image_size: side of the training images in pixels; None keeps the size of the data.
        threads: CPU cores per training.
        device: one of `DEVICES`, used if the trial's context says `auto`. Not part of the description.

    Raises:
        UserError: a setting is unknown or out of range.
    """

    data: ImageData
    recipe: str = "auto"
    epochs: int = 30
    settings: Mapping[str, Any] = field(default_factory=dict)
    image_size: int | None = None
    threads: int = 1
    device: str = "auto"

    noisy: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise UserError(unknown_device(self.device))
        if isinstance(self.threads, bool) or not isinstance(self.threads, int) or self.threads < 1:
            raise UserError(f"full-training: threads must be a whole number of at least 1, got {self.threads!r}")
        if not isinstance(self.settings, Mapping):
            raise UserError(f"full-training: settings must be names and values, got {self.settings!r}")
        if self.image_size is None:
            object.__setattr__(self, "image_size", self.data.task.image_size)
        elif self.image_size != self.data.task.image_size:
            object.__setattr__(self, "data", self.data.resized(self.image_size))
        self.recipe_of({})

    def recipe_of(self, decided: Mapping[str, Any]) -> Recipe:
        """The recipe with settings that were decided."""
        side = self.data.task.image_size
        given = {"epochs": self.epochs, **self.settings, **decided}
        made = make_recipe(self.recipe, images_of(self.data, given), side, **given)
        return made if made.mirror is not None else replace(made, mirror=self.data.mirror)

    def describe(self) -> dict[str, Any]:
        """The settings, and the data, as plain JSON values."""
        from estimators.training import split

        train, val = split(self.data, self.recipe_of({}))
        return {
            "name": "full-training",
            "recipe": self.recipe,
            "epochs": self.epochs,
            "settings": dict(self.settings),
            **({"fit": FIT} if self.recipe == "auto" else {}),
            "image_size": self.image_size,
            "threads": self.threads,
            "train_images": len(train),
            "val_images": len(val),
            "data": self.data.describe(),
        }

    def estimate(self, architecture: Architecture, context: TrialContext) -> Estimate:
        """Train one architecture, or the network of a recipe space by the decided recipe.

        An interrupted training continues at the step of its last checkpoint, bit for bit on a CPU.

        Raises:
            Pruned: `context.report` returned False before the last epoch.
            Diverged: the loss or the logits are not finite.
            UserError: a setting is not allowed together with others, or the network cannot take the images.
        """
        from estimators.training import estimated

        space = architecture.space
        if isinstance(space, RecipeSpace):
            recipe = self.recipe_of(architecture.choices)
            return estimated(space.base, self.data, recipe, context, self.device, self.threads)
        return estimated(architecture, self.data, self.recipe_of({}), context, self.device, self.threads)
