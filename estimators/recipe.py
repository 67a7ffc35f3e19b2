"""Recipes of full training: every setting, its default and the source of the default.

    sgd     He et al. 2016, arXiv:1512.03385, sec. 4.2: batch 128, rate 0.1, momentum 0.9; Nesterov's, and weight decay
            5e-4, after Zagoruyko & Komodakis 2016, arXiv:1605.07146, sec. 3.
    adamw   Loshchilov & Hutter 2019, arXiv:1711.05101: rate 0.001; weight decay 0.05 after Touvron et al. 2021,
            arXiv:2012.12877, table 9, which also has mixup 0.8.
    resnet  He et al. 2016, sec. 4.2, as it is there: rate 0.1 divided by 10 at half and three quarters of the steps, no
            Nesterov momentum, weight decay 1e-4, crops and mirroring, and nothing of what is shared below but the
            weight decay on convolution and linear weights only, of which the paper says nothing, and the crops of large
            images.
    efficientnet
            Tan & Le 2019, arXiv:1905.11946, sec. 5.2, and its code: RMSProp, rate 0.016 for each 256 images of a batch,
            times 0.97 every 2.4 epochs, weight decay 1e-5, no mixing. There AutoAugment (`auto_augment=imagenet`); here
            RandAugment, with which EfficientNet-B7 has 85.0 % instead of 84.4 % (arXiv:1909.13719). The rates of
            dropout, 0.2 for B0 to 0.5 for B7, are those of the networks; stochastic depth is 0.2 for all. Departures:
            stochastic depth grows over residual blocks alone, and batch norm has torch's eps and momentum
            (`searchspaces.modules`).

Shared: rates up linearly for a twentieth of the steps (Goyal et al. 2017, arXiv:1706.02677, 5 of 90 epochs), then down
a cosine (Loshchilov & Hutter 2017, arXiv:1608.03983); weight decay on convolution and linear weights only (He et al.
2019, arXiv:1812.01187, sec. 3.1); label smoothing 0.1 (Szegedy et al. 2016, arXiv:1512.00567, sec. 7); RandAugment with
2 operations of magnitude 9 (Cubuk et al. 2020, arXiv:1909.13719, sec. 4.4, ResNet-50; magnitudes are torchvision's, see
`estimators.augmentation`); mixup 0.2 (Zhang et al. 2018,
arXiv:1710.09412, sec. 3.1); CutMix 1, half of the batches mixed (Yun et al. 2019, arXiv:1905.04899, sec. 4.1 and its
code); weights averaged with decay 0.9999 and stochastic depth 0.2 (Tan & Le 2019, arXiv:1905.11946, sec. 5.2 and its
code; for networks that have places for it); crops by an eighth of the side and mirroring (arXiv:1512.03385, sec. 4.2);
for images of 96 pixels and more, random resized crops from 8 % of the area (Szegedy et al. 2015, arXiv:1409.4842,
sec. 6, and torchvision's references), from image files at full resolution (`estimators.in_files`).

Auxiliary heads are off: GoogLeNet and Inception-v3 have batch norm here, with which they help convergence no more and
only regularize (Szegedy et al. 2016, sec. 4: 0.4 points); `auxiliary=0.3` trains them as in arXiv:1409.4842, sec. 5.

With a teacher (`estimators.teacher`): temperature 2, and labels of half the weight of the soft targets, which is a
third of the loss (Hinton et al. 2015, arXiv:1503.02531, sec. 4.1).

These are recipes for hundreds of thousands of steps. On few images the same number of epochs is few steps: batches of
128 from 200 images are one or two an epoch, an average that forgets at 0.9999 still holds the initial weights after a
thousand, and mixed images are not yet learned. So the default, `auto`, is `sgd` fitted to the number of training images
by `fitted`. With it a small network had a test accuracy of 91.7 ± 0.8 % on 256 made photographs of four classes (60
epochs, three seeds; `benchmarks/recipes.py`), 89.4 ± 3.3 % without any distortion, and 47.7 ± 1.3 % by `sgd`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

from estimators.augmentation import AUGMENTATION_RANGES
from estimators.autoaugment import POLICIES
from estimators.in_files import LARGE
from estimators.optimizers import OPTIMIZERS
from estimators.regularization import INITIALIZATIONS
from estimators.schedules import SCHEDULES
from estimators.steps import Range, check_ranges
from searchspaces import UserError, nearest

if TYPE_CHECKING:
    from estimators.data import ImageData


@dataclass(frozen=True, slots=True)
class Recipe:
    """Settings of a full training.

    Attributes:
        optimizer: `sgd`, `adam`, `adamw`, `rmsprop`, `adagrad` or `adadelta`.
        epochs: passes over the training images.
        batch: images per step, over all workers; the last batch of an epoch is filled up with images from its first.
        lr: learning rate at its peak.
        schedule: how the learning rate decays: `cosine`, `step`, `exponential`, `plateau` or `constant`.
        patience: epochs without a better validation accuracy before `plateau` lowers the learning rate, at least 1.
        stop_after: early stopping: epochs without a better validation accuracy before training ends; 0 is off.
        momentum: of SGD and RMSProp, in [0, 1).
        nesterov: whether SGD uses Nesterov momentum.
        warmup: share of all steps in which the learning rate rises linearly to its peak, in [0, 1).
        weight_decay: on the weights of convolutions and linear layers only, not on biases and norms.
        adaptive_clip: maximum norm of a unit's gradient relative to that of its weights (NFNet: 0.01); 0 is off.
        clip_norm: maximum norm of the whole gradient; 0 is off.
        initialization: `xavier` or `he`; by default each layer's own.
        dropout: rate of the network's dropout, or before its classifier if it has none, in [0, 1); by default its own.
        drop_connect: rate at which weights of the classifier are dropped, in [0, 1).
        label_smoothing: probability mass spread over all classes, in [0, 1).
        auxiliary: weight of the loss of each auxiliary head, if the network has any; 0 trains without them.
        distillation: weight of a teacher's soft targets in the loss, in (0, 1]; labels get the rest. No effect without
            a teacher.
        temperature: divides the logits for soft targets.
        crop: random crops after padding by this share of the side; 0 is off.
        resized_crop: minimum share of the area of a random crop, which is resized to full size; 0 is off.
        cutout: side of the randomly placed hole, as a share of the image's side; 0 is off.
        randaugment_operations: number of RandAugment operations per image; 0 is off.
        randaugment_magnitude: their strength; 10 is torchvision's strongest.
        mixup, cutmix: alpha of the Beta distribution of the mixing proportion; 0 is off.
        mix: share of the batches that are mixed, by either method, in [0, 1].
        auto_augment: a policy of AutoAugment in place of RandAugment: `cifar10`, `svhn` or `imagenet`; by default
            RandAugment.
        mirror: mirror half of the images left to right; by default if the names of the classes allow it.
        ema: decay of the averaged weights, in [0, 1); after t steps it is at most (1 + t) / (10 + t).
        progressive: number of stages in which image size and augmentation grow (4 in EfficientNetV2); 0 trains at full
            size and strength from the first epoch.
        drop_path: rate of stochastic depth in the last block, in [0, 1); it rises linearly from the first block.
        data_fraction: share of the images to use, stratified, before splitting, in (0, 1].
        val_fraction: share of the used images that are validation images, stratified, in (0, 0.5].
        split_seed: seed for choosing the used images and the validation images.

    Raises:
        UserError: a setting is out of range.
    """

    optimizer: str = "sgd"
    epochs: int = 100
    batch: int = 128
    lr: float = 0.1
    schedule: str = "cosine"
    patience: int = 5
    stop_after: int = 0
    momentum: float = 0.9
    nesterov: bool = True
    warmup: float = 0.05
    weight_decay: float = 5e-4
    adaptive_clip: float = 0.0
    clip_norm: float = 0.0
    initialization: str | None = None
    dropout: float | None = None
    drop_connect: float = 0.0
    label_smoothing: float = 0.1
    auxiliary: float = 0.0
    distillation: float = 0.67
    temperature: float = 2.0
    randaugment_operations: int = 2
    randaugment_magnitude: float = 9.0
    auto_augment: str | None = None
    mixup: float = 0.2
    cutmix: float = 1.0
    mix: float = 0.5
    ema: float = 0.9999
    progressive: int = 0
    drop_path: float = 0.2
    crop: float = 0.125
    resized_crop: float = 0.0
    mirror: bool | None = None
    cutout: float = 0.0
    data_fraction: float = 1.0
    val_fraction: float = 0.1
    split_seed: int = 0

    def __post_init__(self) -> None:
        named: tuple[tuple[str, tuple[str | None, ...]], ...] = (
            ("optimizer", OPTIMIZERS),
            ("schedule", SCHEDULES),
            ("initialization", (None, *INITIALIZATIONS)),
            ("auto_augment", (None, *POLICIES)),
        )
        for name, known in named:
            value = getattr(self, name)
            if value not in known:
                raise UserError(f"recipe: unknown {name} {value!r}{nearest(str(value), filter(None, known))}")
        if not isinstance(self.nesterov, bool):  # 1 == True, but a card that says 1 would be another recipe
            raise UserError(f"recipe: nesterov must be true or false, got {self.nesterov!r}")
        if self.mirror is not None and not isinstance(self.mirror, bool):
            raise UserError(f"recipe: mirror must be true, false or null, got {self.mirror!r}")
        check_ranges("recipe", self, _RANGES, _WHOLE, left_open={"dropout"})
        if self.auxiliary and self.progressive > 1:
            raise UserError("recipe: auxiliary heads are made for one image size; set progressive=0 or auxiliary=0")

    def describe(self) -> dict[str, Any]:
        """Every setting, as plain JSON values."""
        return asdict(self)


PLAIN: Final[dict[str, Any]] = {
    "label_smoothing": 0.0, "randaugment_operations": 0, "mixup": 0.0, "cutmix": 0.0, "ema": 0.0, "drop_path": 0.0,
}  # fmt: skip
"""Without what came after 2015."""

RECIPES: Final[dict[str, dict[str, Any]]] = {
    "auto": {},
    "sgd": {},
    "adamw": {"optimizer": "adamw", "lr": 1e-3, "weight_decay": 0.05, "mixup": 0.8},
    "resnet": {"nesterov": False, "schedule": "step", "warmup": 0.0, "weight_decay": 1e-4, **PLAIN},
    "efficientnet": {
        "optimizer": "rmsprop",
        "lr": 0.008,
        "schedule": "exponential",
        "weight_decay": 1e-5,
        "mixup": 0.0,
        "cutmix": 0.0,
    },
}
"""The recipes by name, as differences from the defaults of `Recipe`; `auto` also has what `fitted` says."""

FIT: Final = 2
"""Raised when `auto` becomes another recipe for the same settings and images."""
BATCHES: Final = ((4_000, 32), (16_000, 64))
"""Training images below which a batch is so large; 128 from there on."""
FEW_STEPS: Final = 2_000
"""Steps in all below which batches are halved, to 32 images at least: in so short a training, steps are worth more."""
GENTLE_STEPS: Final = 300
"""Steps below which nothing is mixed, left out or distorted."""
SHORT_EPOCHS: Final = 20
"""Epochs up to which nothing is either: images that are seen so rarely are not learned by heart."""
LIGHT_STEPS: Final = 2_000
"""Steps below which images are distorted, but nothing is mixed or left out."""
STRONG_STEPS: Final = 25_000
"""Steps from which everything is; in between, half of it."""
AVERAGED: Final = 0.05
"""Share of all steps over which weights are averaged."""


def make_recipe(name: str = "sgd", images: int | None = None, side: int = 32, **settings: Any) -> Recipe:
    """A recipe by its name, with some settings changed.

    Args:
        name: in `RECIPES`.
        images: training and validation images together, which `auto` is fitted to.
        side: of the images in pixels; from 96 on, crops are resized ones.
        settings: of `Recipe`, by name.

    Raises:
        UserError: the name or a setting is unknown (the message has the nearest one), or a value is out of range.

    >>> make_recipe("adamw", epochs=30).lr
    0.001
    """
    if name not in RECIPES:
        raise UserError(f"unknown recipe {name!r}{nearest(name, RECIPES)}")
    known = list(inspect.signature(Recipe).parameters)
    for each in settings:
        if each not in known:
            raise UserError(f"recipe {name}: unknown setting {each!r}{nearest(each, known)}")
    crops = {"crop": 0.0, "resized_crop": 0.08} if side >= LARGE else {}
    recipe = Recipe(**{**RECIPES[name], **crops, **settings})
    if name != "auto":
        return recipe
    if images is None:
        raise UserError("recipe auto depends on the number of images, which is not known here; use sgd or adamw")
    found = fitted(recipe, images, side, settings.get("batch"))
    return replace(recipe, **{key: value for key, value in found.items() if key not in settings})


def images_of(data: ImageData, settings: Mapping[str, Any]) -> int:
    """What recipes are fitted to: training and validation images together, or, where data have validation images of
    their own, as many as would leave their training images.

    Args:
        data: the images.
        settings: of the recipe, of which `val_fraction` matters.

    Raises:
        UserError: that one is out of range.
    """
    if data.validation is None:
        return len(data.labels)
    share = Recipe(**{name: value for name, value in settings.items() if name == "val_fraction"}).val_fraction
    return round((len(data.labels) - len(data.validation)) / (1 - share))


def fitted(recipe: Recipe, images: int, side: int, batch: int | None = None) -> dict[str, Any]:
    """The settings that suit a number of images and their size: batch size, averaging, strength of augmentation, crops.

    - The batch is such that an epoch is a few dozen steps where there are few images, and smaller where there are few
      epochs.
    - Weights are averaged over the last twentieth of the steps or so.
    - Mixing, RandAugment and stochastic depth slow learning down at first. In trainings of a few hundred steps or a few
      epochs all are off; up to two thousand steps there is one operation of RandAugment alone; up to some ten thousand
      all are at half of their strength.

    `docs/recipes.md` has what was measured.

    Args:
        recipe: with the number of epochs, and the shares of the images that are used and validated on.
        images: training and validation images together.
        side: of the images, in pixels.
        batch: images per step, where they are not to be fitted.
    """
    _, batch, steps = _sizes(recipe, images, batch)
    found: dict[str, Any] = {"batch": batch, "ema": round(min(0.9999, max(0.0, 1 - 1 / (AVERAGED * steps))), 4)}
    if side >= LARGE:
        found |= {"crop": 0.0, "resized_crop": 0.35 if steps < STRONG_STEPS else 0.08}
    return found | _strength(recipe.epochs, steps)[1]


def why_fitted(recipe: Recipe, images: int, side: int, training: int | None = None) -> str | None:
    """Why a recipe distorts and mixes images as it does, in words; None if it is not what `fitted` says.

    Args:
        recipe, images, side: as of `fitted`.
        training: images that are trained on, as they were split; by default what the shares come to.
    """
    found = {"optimizer": Recipe().optimizer, **fitted(recipe, images, side, recipe.batch)}
    if any(getattr(recipe, name) != value for name, value in found.items()):
        return None
    train, _, steps = _sizes(recipe, images, recipe.batch)
    train = train if training is None else training
    return f"fitted to {train:,} images and {steps:,} steps: {_strength(recipe.epochs, steps)[0]}"


def _sizes(recipe: Recipe, images: int, batch: int | None = None) -> tuple[int, int, int]:
    """Training images, the batch, by default the one that suits them, and steps in all."""
    train = max(1, round(images * recipe.data_fraction * (1 - recipe.val_fraction)))
    if batch is None:
        batch = next((size for below, size in BATCHES if train < below), 128)
        while batch > BATCHES[0][1] and recipe.epochs * math.ceil(train / batch) < FEW_STEPS:
            batch //= 2
    batch = min(batch, train)
    return train, batch, recipe.epochs * math.ceil(train / batch)


def _strength(epochs: int, steps: int) -> tuple[str, dict[str, Any]]:
    """How strongly images are distorted and mixed, in words and as settings of a recipe."""
    unmixed = {"mixup": 0.0, "cutmix": 0.0, "drop_path": 0.0}
    one = {"randaugment_operations": 1, "randaugment_magnitude": 5.0}
    if steps < GENTLE_STEPS:
        return f"no RandAugment, nothing mixed below {GENTLE_STEPS} steps", {"randaugment_operations": 0, **unmixed}
    if epochs <= SHORT_EPOCHS:
        return f"no RandAugment, nothing mixed up to {SHORT_EPOCHS} epochs", {"randaugment_operations": 0, **unmixed}
    if steps < LIGHT_STEPS:
        return f"little RandAugment, nothing mixed below {LIGHT_STEPS:,} steps", {**one, **unmixed}
    if steps < STRONG_STEPS:
        return f"half the strength below {STRONG_STEPS:,} steps", {**one, "mix": 0.25, "drop_path": 0.1}
    return f"full strength from {STRONG_STEPS:,} steps on", {}


_RANGES: Final[tuple[Range, ...]] = (
    ("epochs", 1, math.inf, True, False),
    ("batch", 1, math.inf, True, False),
    ("lr", 0, math.inf, False, False),
    ("patience", 1, math.inf, True, False),
    ("stop_after", 0, math.inf, True, False),
    ("momentum", 0, 1, True, False),
    ("warmup", 0, 1, True, False),
    ("weight_decay", 0, math.inf, True, False),
    ("adaptive_clip", 0, math.inf, True, False),
    ("clip_norm", 0, math.inf, True, False),
    ("dropout", 0, 1, True, False),
    ("drop_connect", 0, 1, True, False),
    ("label_smoothing", 0, 1, True, False),
    ("auxiliary", 0, math.inf, True, False),
    ("distillation", 0, 1, False, True),
    ("temperature", 0, math.inf, False, False),
    *AUGMENTATION_RANGES,
    ("ema", 0, 1, True, False),
    ("progressive", 0, math.inf, True, False),
    ("drop_path", 0, 1, True, False),
    ("data_fraction", 0, 1, False, True),
    ("val_fraction", 0, 0.5, False, True),
    ("split_seed", 0, math.inf, True, False),
)
_WHOLE: Final = {"epochs", "batch", "patience", "stop_after", "progressive", "randaugment_operations", "split_seed"}
_NAMED: Final = {"optimizer", "schedule", "initialization", "auto_augment", "nesterov", "mirror"}
assert {each.name for each in fields(Recipe)} == _NAMED | {name for name, *_ in _RANGES}
