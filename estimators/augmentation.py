"""Data augmentation on tensors.

Random crops, mirroring and cutout (DeVries & Taylor 2017, arXiv:1708.04552), RandAugment, mixup and CutMix. Operations
run on the device of the images; the randomness comes from one generator on the CPU, so it is the same on all devices.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def augmented(images: Tensor, generator: torch.Generator, crop: float, mirror: bool, cutout: float) -> Tensor:
    """Crop, mirror and cut a hole at random, independently for each image; the shape does not change.

    Args:
        images: float (batch, channels, height, width), normalized: the zeros of padding and hole are the mean colour.
        generator: on the CPU; the only randomness.
        crop, cutout: shares of the side; see `ShortTraining`.
    """
    import torch

    count, channels, height, width = images.shape
    device = images.device
    pad = math.ceil(crop * height)
    shifts = torch.randint(0, 2 * pad + 1, (2, count, 1), generator=generator)
    rows = shifts[0] + torch.arange(height)  # (batch, height), into the padded image
    columns = shifts[1] + torch.arange(width)
    if mirror:
        turned = torch.rand(count, 1, generator=generator) < 0.5
        columns = torch.where(turned, columns.flip(1), columns)
    padded = torch.nn.functional.pad(images, (pad, pad, pad, pad))
    which = torch.arange(count, device=device)[:, None, None, None]
    channel = torch.arange(channels, device=device)[:, None, None]
    images = padded[which, channel, rows.to(device)[:, None, :, None], columns.to(device)[:, None, None, :]]
    hole = round(cutout * height)
    if hole:
        corner = torch.randint(0, height, (2, count, 1), generator=generator) - hole // 2
        # The hole may reach beyond the border, as in the paper's sec. 3.2.
        inside = (torch.arange(height) >= corner) & (torch.arange(height) < corner + hole)  # (2, batch, side)
        images = images.masked_fill((inside[0][:, None, :, None] & inside[1][:, None, None, :]).to(device), 0.0)
    return images.contiguous(memory_format=torch.channels_last)


OPERATIONS: Final = (
    "identity", "auto_contrast", "equalize", "rotate", "solarize", "color", "posterize", "contrast", "brightness",
    "sharpness", "shear_x", "shear_y", "translate_x", "translate_y",
)  # fmt: skip
"""The 14 operations of RandAugment (arXiv:1909.13719, table 1)."""

STRONGEST: Final = 10
"""The magnitude of AutoAugment's strongest operations (arXiv:1805.09501, table 6)."""


def randaugmented(
    images: Tensor, generator: torch.Generator, operations: int, magnitude: float, fill: Tensor
) -> Tensor:
    """RandAugment (Cubuk et al. 2020, arXiv:1909.13719): random operations for each image, all of one magnitude.

    Two departures: operations run on tensors, on many images at a time, and warps interpolate bilinearly instead of
    taking the nearest pixel. The colour operation only changes images with three channels.

    Args:
        images: uint8 (batch, channels, side, side).
        generator: on the CPU; the only randomness.
        operations: number of operations on each image, in sequence (N in the paper).
        magnitude: at least 0; `STRONGEST` is AutoAugment's maximum, and larger values are allowed (M in the paper).
        fill: (channels,), the colour of pixels that a warp leaves empty.

    Returns:
        float (batch, channels, side, side), whole numbers in 0 to 255.
    """
    import torch

    pixels = images.float()
    for _ in range(operations):
        kinds = torch.randint(len(OPERATIONS), (len(images),), generator=generator)
        signs = torch.randint(2, (len(images),), generator=generator) * 2.0 - 1.0
        pixels = operated(pixels, kinds, signs, magnitude, fill)
    return pixels


def operated(pixels: Tensor, kinds: Tensor, signs: Tensor, magnitude: float, fill: Tensor) -> Tensor:
    """Apply one operation to each image, batched by operation.

    Args:
        pixels: float (batch, channels, side, side) in 0 to 255.
        kinds: (batch,) on the CPU, indices into `OPERATIONS`.
        signs: (batch,) on the CPU, 1 or -1: the direction of operations that have one.
        magnitude, fill: as in `randaugmented`.
    """
    import torch

    pixels = pixels.clone()
    share = magnitude / STRONGEST
    for kind, operation in enumerate(OPERATIONS):
        which = torch.nonzero(kinds == kind)[:, 0]
        if not len(which) or operation == "identity":
            continue
        some, sign = pixels[which.to(pixels.device)], signs[which].to(pixels.device)
        match operation:
            case "auto_contrast":
                some = _auto_contrast(some)
            case "equalize":
                some = _equalize(some)
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


def mixed(
    images: Tensor, labels: Tensor, classes: int, generator: torch.Generator, mixup: float, cutmix: float, share: float
) -> tuple[Tensor, Tensor]:
    """Mix each image of a batch with another: blended (mixup) or one pasted into the other (CutMix).

    Zhang et al. 2018, arXiv:1710.09412; Yun et al. 2019, arXiv:1905.04899, algorithm A1. If both are on, each batch is
    mixed by one of the two with equal probability. The proportion is drawn once per batch, as in the code of both
    papers.

    Args:
        images: float (batch, channels, side, side).
        labels: int64 (batch,).
        generator: on the CPU; the only randomness.
        mixup, cutmix: alpha of the Beta distribution of the proportion; 0 is off.
        share: share of the batches that are mixed, in [0, 1].

    Returns:
        Images and targets: the labels, or probabilities (batch, classes) if the batch was mixed.
    """
    import torch

    rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
    partner = torch.randperm(len(images), generator=generator).to(images.device)
    if not (mixup or cutmix) or rng.random() >= share:
        return images, labels
    cuts = bool(cutmix) and (not mixup or rng.random() < 0.5)
    keep = float(rng.beta(cutmix, cutmix) if cuts else rng.beta(mixup, mixup))
    if cuts:
        side = images.shape[2]
        half = side * math.sqrt(1 - keep) / 2
        (top, bottom), (left, right) = (
            (max(0, round(centre - half)), min(side, round(centre + half))) for centre in rng.uniform(0, side, 2)
        )
        images = images.clone()
        images[:, :, top:bottom, left:right] = images[partner, :, top:bottom, left:right]
        keep = 1 - (bottom - top) * (right - left) / side**2  # without the part beyond the border
    else:
        images = keep * images + (1 - keep) * images[partner]
    exact = torch.nn.functional.one_hot(labels, classes).float()  # (batch, classes)
    return images, keep * exact + (1 - keep) * exact[partner]


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
    """Affine matrices (batch, 2, 3) from output to input, in units of half a side; strength 1 is AutoAugment's."""
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
