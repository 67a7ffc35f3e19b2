"""Data augmentation, an epoch at a time: everything random is drawn before the steps, from the seed alone.

Random crops, random resized crops (Szegedy et al. 2015, arXiv:1409.4842, sec. 6, with torchvision's ranges), mirroring,
cutout (DeVries & Taylor 2017, arXiv:1708.04552), RandAugment or a policy of AutoAugment, mixup and CutMix. `draw` makes
the order and all draws of an epoch on the CPU in one piece, so they are the same on every device and need no state
between epochs; `augmented` applies any rows of them with a few large operations on the device of the images. An image
comes out the same whichever rows are processed with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from estimators import autoaugment
from estimators.steps import Range

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What is done to the training images; everything is off by default.

    A training has settings of the same names, which `of` takes; `AUGMENTATION_RANGES` are their values.

    Attributes:
        crop: random crops after padding by this share of the side; 0 is off.
        mirror: mirror half of the images left to right.
        cutout: side of the randomly placed hole, as a share of the image's side; 0 is off.
        randaugment_operations: RandAugment's operations on each image; 0 is off.
        randaugment_magnitude: their strength, see `operated`.
        auto_augment: a policy of AutoAugment in place of RandAugment, in `estimators.autoaugment`; None is off.
        mixup, cutmix: alpha of the Beta distribution of the mixing proportion; 0 is off.
        mix: share of the batches that are mixed, by either method, in [0, 1].
        resized_crop: smallest share of the area that a random crop takes, which is resized to the whole; 0 is off.
    """

    crop: float = 0.0
    mirror: bool = False
    cutout: float = 0.0
    randaugment_operations: int = 0
    randaugment_magnitude: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    mix: float = 0.0
    resized_crop: float = 0.0
    auto_augment: str | None = None

    @classmethod
    def of(cls, training: object, mirror: bool) -> Augmentation:
        """The augmentation of a training, which has settings of the same names; what it has none for is off."""
        given = {each.name: getattr(training, each.name) for each in fields(cls) if hasattr(training, each.name)}
        return cls(**{**given, "mirror": mirror})

    def at(self, strength: float) -> Augmentation:
        """The same, with RandAugment and mixing at a share of their strength, above 0."""
        return replace(
            self,
            randaugment_magnitude=self.randaugment_magnitude * strength,
            mixup=self.mixup * strength,
            cutmix=self.cutmix * strength,
        )

    @property
    def mixes(self) -> bool:
        """Whether targets are class probabilities, as they are where images are mixed."""
        return self.mix > 0 and (self.mixup > 0 or self.cutmix > 0)


AUGMENTATION_RANGES: Final[tuple[Range, ...]] = (
    ("crop", 0, 0.5, True, True),
    ("cutout", 0, 1, True, False),
    ("randaugment_operations", 0, math.inf, True, False),
    ("randaugment_magnitude", 0, 30, True, True),
    ("mixup", 0, math.inf, True, False),
    ("cutmix", 0, math.inf, True, False),
    ("mix", 0, 1, True, True),
    ("resized_crop", 0, 1, True, True),
)
"""What the settings of `Augmentation` may be."""


@dataclass(frozen=True, slots=True)
class Draws:
    """Everything random in rows of an epoch; a row is an image at its place in the order of training.

    Attributes:
        order: (rows,), the positions of the images.
        shifts: (rows, 2), the crop's top and left edge in the padded image, in pixels.
        frames: (rows, 4), centre (x, y) and half width and height of a resized crop, in half sides from the middle.
        mirrored: (rows,), whether the image is mirrored.
        corners: (rows, 2), the hole's top and left edge, in pixels; it may reach over the border.
        kinds, signs: (rows, operations), indices into `KINDS`, and 1 or -1.
        levels: (rows, operations), of AutoAugment; 0 elsewhere.
        partners: (rows,), the row that each is mixed with, of the same share of the same batch.
        keep: (rows,), the proportion of the image itself under mixup; 1 elsewhere.
        boxes: (rows, 4), top, bottom, left and right of what CutMix pastes; empty elsewhere.
    """

    order: NDArray[np.int64]
    shifts: NDArray[np.int64]
    frames: NDArray[np.float32]
    mirrored: NDArray[np.bool_]
    corners: NDArray[np.int64]
    kinds: NDArray[np.int64]
    signs: NDArray[np.float32]
    levels: NDArray[np.int64]
    partners: NDArray[np.int64]
    keep: NDArray[np.float32]
    boxes: NDArray[np.int64]

    def at(self, rows: NDArray[np.int64]) -> Draws:
        """Some of the rows; with each row its partner must be among them."""
        place = np.zeros(len(self.order), np.int64)
        place[rows] = np.arange(len(rows))
        return Draws(
            self.order[rows], self.shifts[rows], self.frames[rows], self.mirrored[rows], self.corners[rows],
            self.kinds[rows], self.signs[rows], self.levels[rows], place[self.partners[rows]], self.keep[rows],
            self.boxes[rows],
        )  # fmt: skip


def draw(
    how: Augmentation, positions: NDArray[np.int64], side: int, batch: int, share: int, seed: int, fill: bool = False
) -> Draws:
    """The draws of one epoch.

    Args:
        how: what is drawn.
        positions: (images,), of the training images.
        side: of the images, in pixels.
        batch: images per step.
        share: images of a batch that one process trains on, and mixes with one another; divides `batch`.
        seed: of all draws; another one for each epoch.
        fill: whether the last incomplete batch is filled with images of the first; otherwise it is left out.
    """
    rng = np.random.default_rng(seed)
    rows = batches_in(len(positions), batch, fill) * batch
    order = np.resize(rng.permutation(positions), rows)
    pad = math.ceil(how.crop * side)
    shifts = rng.integers(0, 2 * pad + 1, (rows, 2))
    mirrored = rng.random(rows) < 0.5
    corners = rng.integers(0, side, (rows, 2)) - round(how.cutout * side) // 2  # beyond the border too, as in sec. 3.2
    if how.auto_augment is None:
        kinds = rng.integers(0, len(OPERATIONS), (rows, how.randaugment_operations))
        signs = rng.integers(0, 2, (rows, how.randaugment_operations)).astype(np.float32) * 2 - 1
        levels = np.zeros_like(kinds)
    else:
        kinds, levels, signs = autoaugment.drawn(how.auto_augment, rows, KINDS, rng)

    partners, keep, boxes = np.arange(rows), np.ones(rows, np.float32), np.zeros((rows, 4), np.int64)
    if how.mixes:
        shares = rows // share
        partners = rng.random((shares, share)).argsort(1).reshape(-1) + np.repeat(np.arange(shares) * share, share)
        for start in range(0, rows, share):
            proportion, box = _mixture(how, side, rng)
            keep[start : start + share] = proportion
            boxes[start : start + share] = box
    whole = np.tile(np.array([0, 0, 1, 1], np.float32), (rows, 1))
    frames = _frames(rows, how.resized_crop, rng) if how.resized_crop else whole
    return Draws(order, shifts, frames, mirrored, corners, kinds, signs, levels, partners, keep, boxes)


def batches_in(images: int, batch: int, fill: bool) -> int:
    """The number of batches in an epoch.

    >>> batches_in(100, 32, fill=False), batches_in(100, 32, fill=True)
    (3, 4)
    """
    return math.ceil(images / batch) if fill else images // batch


def _frames(rows: int, smallest: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Resized crops: an area uniform in [smallest, 1] of the image, a ratio of sides log-uniform in 3/4 to 4/3.

    A crop that is longer than the image is cut to it; torchvision draws up to ten times and then takes the middle.
    """
    area, ratio = rng.uniform(smallest, 1, rows), np.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3), rows))
    half = np.stack([np.sqrt(area * ratio), np.sqrt(area / ratio)], 1).clip(max=1.0)
    centre = rng.uniform(-1, 1, (rows, 2)) * (1 - half)
    return np.concatenate([centre, half], 1).astype(np.float32)


def _mixture(how: Augmentation, side: int, rng: np.random.Generator) -> tuple[float, tuple[int, int, int, int]]:
    """How a batch is mixed: mixup's proportion and CutMix's box; 1 and an empty box where it is not.

    Zhang et al. 2018, arXiv:1710.09412; Yun et al. 2019, arXiv:1905.04899, algorithm A1. If both are on, each batch is
    mixed by one of the two with equal probability. The proportion is drawn once per batch, as in the code of both
    papers.
    """
    nowhere = (0, 0, 0, 0)
    if rng.random() >= how.mix:
        return 1.0, nowhere
    if not how.cutmix or (how.mixup and rng.random() < 0.5):
        return float(rng.beta(how.mixup, how.mixup)), nowhere
    half = side * math.sqrt(1 - rng.beta(how.cutmix, how.cutmix)) / 2
    (top, bottom), (left, right) = (
        (max(0, round(centre - half)), min(side, round(centre + half))) for centre in rng.uniform(0, side, 2)
    )
    return 1.0, (top, bottom, left, right)


def augmented(
    pixels: Tensor, labels: Tensor, draws: Draws, how: Augmentation, mean: Tensor, std: Tensor, classes: int
) -> tuple[Tensor, Tensor]:
    """Images as a network sees them during training, and what it is to learn of them.

    Args:
        pixels: uint8 (rows, side, side, channels), in the order of the draws.
        labels: int64 (rows,).
        draws: of these rows.
        how: what was drawn.
        mean, std: (channels,), by which pixels are normalized; padding and hole have the mean colour.
        classes: in all.

    Returns:
        float (rows, side, side, channels), and targets: the labels, or probabilities (rows, classes) where `how.mixes`.
    """
    device, side = pixels.device, pixels.shape[1]
    images = pixels.float()
    for step in range(draws.kinds.shape[1]):
        planes = images.permute(0, 3, 1, 2)
        kinds, signs = _sent(draws.kinds[:, step]), _sent(draws.signs[:, step])
        if how.auto_augment is None:
            planes = operated(planes, kinds, signs, how.randaugment_magnitude, mean)
        else:
            planes = _at_levels(planes, kinds, signs, draws.levels[:, step], mean)
        images = planes.permute(0, 2, 3, 1)
    images = images.sub_(mean).div_(std)  # neither is the caller's
    if how.resized_crop:
        images = _resized(images, _sent(draws.frames, device))
    if how.crop or how.mirror:
        images = _moved(images, draws, how)
    hole = round(how.cutout * side)
    if hole:
        corners = _sent(draws.corners, device)
        inside = _within(corners, corners + hole, side)  # (rows, 2, side)
        images = images.masked_fill((inside[:, 0, :, None] & inside[:, 1, None, :])[..., None], 0.0)
    if not how.mixes:
        return images, labels
    return _mixed(images, labels, draws, classes)


def _moved(images: Tensor, draws: Draws, how: Augmentation) -> Tensor:
    """Cropped at random after padding with zeros, and half of them mirrored."""
    import torch

    device, side = images.device, images.shape[1]
    pad = math.ceil(how.crop * side)
    places = _sent(draws.shifts, device)[:, :, None] + torch.arange(side, device=device)  # (rows, 2, side)
    across = places[:, 1]
    if how.mirror:
        across = torch.where(_sent(draws.mirrored, device)[:, None], across.flip(1), across)
    padded = torch.nn.functional.pad(images, (0, 0, pad, pad, pad, pad))
    which = torch.arange(len(images), device=device)[:, None, None]
    return padded[which, places[:, 0, :, None], across[:, None, :]]


def _resized(images: Tensor, frames: Tensor) -> Tensor:
    """The parts of the images in their frames, at the size of the whole (bilinear)."""
    import torch

    matrices = torch.zeros(len(frames), 2, 3, device=frames.device)
    matrices[:, 0, 0], matrices[:, 1, 1], matrices[:, :, 2] = frames[:, 2], frames[:, 3], frames[:, :2]
    planes = images.permute(0, 3, 1, 2)
    grid = torch.nn.functional.affine_grid(matrices, list(planes.shape), align_corners=False)
    found = torch.nn.functional.grid_sample(planes, grid, "bilinear", "border", align_corners=False)
    return found.permute(0, 2, 3, 1)


def _mixed(images: Tensor, labels: Tensor, draws: Draws, classes: int) -> tuple[Tensor, Tensor]:
    """Each image blended with its partner (mixup), or with a part of it pasted in (CutMix)."""
    import torch

    device, side = images.device, images.shape[1]
    partners, keep = _sent(draws.partners, device), _sent(draws.keep, device)[:, None]
    boxes = _sent(draws.boxes, device)
    down = _within(boxes[:, 0:1], boxes[:, 1:2], side)[:, 0, :, None]
    across = _within(boxes[:, 2:3], boxes[:, 3:4], side)[:, 0, None, :]
    theirs = images[partners]
    whole = keep[..., None, None]
    images = torch.where((down & across)[..., None], theirs, whole * images + (1 - whole) * theirs)
    area = (boxes[:, 1] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 2])
    keep = keep * (1 - area[:, None] / side**2)  # without the part of the box beyond the border
    exact = torch.nn.functional.one_hot(labels, classes).float()  # (rows, classes)
    return images, keep * exact + (1 - keep) * exact[partners]


def _within(low: Tensor, high: Tensor, side: int) -> Tensor:
    """Which of the pixels of a side lie in [low, high); one more dimension, of that side."""
    import torch

    pixel = torch.arange(side, device=low.device)
    return (pixel >= low[..., None]) & (pixel < high[..., None])


def _sent(array: NDArray[Any], device: torch.device | str = "cpu") -> Tensor:
    import torch

    on_gpu = torch.device(device).type == "cuda"  # MPS may read memory after it was freed, where it does not wait
    return torch.from_numpy(np.ascontiguousarray(array)).to(device, non_blocking=on_gpu)


OPERATIONS: Final = (
    "identity", "auto_contrast", "equalize", "rotate", "solarize", "color", "posterize", "contrast", "brightness",
    "sharpness", "shear_x", "shear_y", "translate_x", "translate_y",
)  # fmt: skip
"""The 14 operations of RandAugment (arXiv:1909.13719, sec. 3)."""

KINDS: Final = (*OPERATIONS, "invert")
"""These, and the one that only AutoAugment's policies have."""

STRONGEST: Final = 10
"""The magnitude of the far end of torchvision's ranges, which are not the authors': see `operated`."""


def _at_levels(pixels: Tensor, kinds: Tensor, signs: Tensor, levels: NDArray[np.int64], fill: Tensor) -> Tensor:
    """One operation of AutoAugment on each image, by the level of its magnitude."""
    pixels = pixels.clone()
    for level in np.unique(levels).tolist():
        which = _sent(np.flatnonzero(levels == level))
        there, magnitude = which.to(pixels.device), STRONGEST * level / autoaugment.LEVELS
        pixels[there] = operated(pixels[there], kinds[which], signs[which], magnitude, fill)
    return pixels


def operated(pixels: Tensor, kinds: Tensor, signs: Tensor, magnitude: float, fill: Tensor) -> Tensor:
    """One operation on each image, batched by operation (Cubuk et al. 2020, arXiv:1909.13719).

    Magnitudes mean what they mean in torchvision's AutoAugment: 0 leaves an image as it is (but for solarize, which
    inverts pure white even then), and from there each operation grows stronger. Departures from the authors' code
    (tensorflow/tpu, efficientnet/autoaugment.py):

    - Colour, contrast, brightness and sharpness have the factor 1 + 0.09 M or 1 - 0.09 M, each half of the time; there
      0.1 + 0.18 M, without a sign: M = 0 takes nearly all of the colour and M = 5 changes nothing.
    - Posterize takes 0.4 M bits away, and solarize inverts what is at least 255 - 25.5 M; there posterize keeps 0.4 M
      bits and solarize inverts what is above 25.6 M, so that both are weaker the larger M is.
    - Translations are up to 150/331 of the side; there up to 100 pixels for RandAugment, 250 for AutoAugment.
    - These are the 14 operations of the paper's list; the code has 16, without the identity.
    - They come before crops and mirroring; in that code after both.
    - They run on tensors, on many images at a time, and warps interpolate bilinearly. The colour operation only changes
      images with three channels.

    Args:
        pixels: float (batch, channels, side, side) in 0 to 255.
        kinds: (batch,) on the CPU, indices into `KINDS`.
        signs: (batch,) on the CPU, 1 or -1: the direction of operations that have one.
        magnitude: at least 0 (M in the paper); values above `STRONGEST` are allowed.
        fill: (channels,), the colour of pixels that a warp leaves empty.

    Returns:
        float (batch, channels, side, side), whole numbers in 0 to 255.
    """
    import torch

    pixels = pixels.clone()
    share = magnitude / STRONGEST
    for kind, operation in enumerate(KINDS):
        which = torch.nonzero(kinds == kind)[:, 0]
        if not len(which) or operation == "identity":
            continue
        some, sign = pixels[which.to(pixels.device)], signs[which].to(pixels.device)
        match operation:
            case "auto_contrast":
                some = _auto_contrast(some)
            case "equalize":
                some = _equalize(some)
            case "invert":
                some = 255 - some
            case "solarize":
                some = torch.where(some >= max(255 * (1 - share), 0), 255 - some, some)
            case "posterize":
                lost = 2 ** min(round(4 * share), 7)  # half of the 8 bits at most, up to STRONGEST
                some = torch.div(some, lost, rounding_mode="floor") * lost
            case "color" | "contrast" | "brightness" | "sharpness":
                factor = (1 + 0.9 * share * sign).clamp(min=0)[:, None, None, None]
                without = _without(operation, some)
                some = without + factor * (some - without)
            case _:
                some = _warped(some, _matrices(operation, share * sign), fill)
        pixels[which.to(pixels.device)] = some.clamp(0, 255).round()
    return pixels


def _auto_contrast(pixels: Tensor) -> Tensor:
    """Stretch each channel to the whole range; a constant channel does not change."""
    import torch

    low, high = pixels.amin((2, 3), keepdim=True), pixels.amax((2, 3), keepdim=True)
    return torch.where(high > low, (pixels - low) * (255 / (high - low).clamp(min=1)), pixels)


def _equalize(pixels: Tensor) -> Tensor:
    """Equalize each channel's histogram, exactly as Pillow does."""
    import torch

    count, channels, height, width = pixels.shape
    values = pixels.long().reshape(count * channels, height * width)
    rows = torch.arange(len(values), device=values.device)[:, None]
    histogram = torch.bincount((rows * 256 + values).flatten(), minlength=256 * len(values)).reshape(-1, 256)
    step = (height * width - histogram.gather(1, values.amax(1, keepdim=True))) // 255  # without the brightest value
    before = histogram.cumsum(1) - histogram
    table = ((before + step // 2) // step.clamp(min=1)).clamp(max=255)
    return torch.where(step > 0, table.gather(1, values), values).reshape(pixels.shape).float()


def _without(operation: str, pixels: Tensor) -> Tensor:
    """The degenerate image that an enhancement interpolates from: black, smooth, grey or of constant colour."""
    import torch

    channels = pixels.shape[1]
    if operation == "brightness":
        return torch.zeros_like(pixels)
    if operation == "sharpness":
        kernel = torch.ones(3, 3, device=pixels.device)
        kernel[1, 1] = 5
        kernel = (kernel / 13).expand(channels, 1, 3, 3)
        smooth = pixels.clone()  # the border stays
        smooth[:, :, 1:-1, 1:-1] = torch.nn.functional.conv2d(pixels, kernel, groups=channels).round()
        return smooth
    if channels == 3:  # ITU-R 601-2, as Pillow has it
        grey = (pixels * torch.tensor([0.299, 0.587, 0.114], device=pixels.device)[:, None, None]).sum(1, keepdim=True)
    else:
        grey = pixels.mean(1, keepdim=True)
    if operation == "contrast":
        return grey.round().mean((2, 3), keepdim=True).round().expand_as(pixels)
    return grey.round().expand_as(pixels) if channels == 3 else pixels


def _matrices(operation: str, strength: Tensor) -> Tensor:
    """Affine matrices (batch, 2, 3) from output to input, in units of half a side; strength 1 is torchvision's most."""
    import torch

    matrices = torch.eye(2, 3, device=strength.device).repeat(len(strength), 1, 1)
    if operation == "rotate":
        angle = strength * math.radians(30)
        matrices[:, 0, 0] = matrices[:, 1, 1] = angle.cos()
        matrices[:, 0, 1], matrices[:, 1, 0] = -angle.sin(), angle.sin()
    else:
        row, column = {"shear_x": (0, 1), "shear_y": (1, 0), "translate_x": (0, 2), "translate_y": (1, 2)}[operation]
        matrices[:, row, column] = strength * (0.3 if column < 2 else 2 * 150 / 331)  # 150 of 331 pixels
    return matrices


def _warped(pixels: Tensor, matrices: Tensor, fill: Tensor) -> Tensor:
    from torch.nn import functional

    empty = fill.to(pixels.device)[:, None, None]
    grid = functional.affine_grid(matrices, list(pixels.shape), align_corners=False)
    return functional.grid_sample(pixels - empty, grid, mode="bilinear", align_corners=False) + empty
