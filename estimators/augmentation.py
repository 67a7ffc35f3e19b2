"""Images altered at random before a network sees them, so that it learns what does not matter.

Crops, mirroring and cutout (DeVries & Taylor 2017, arXiv:1708.04552).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def augmented(images: Tensor, generator: torch.Generator, crop: float, mirror: bool, cutout: float) -> Tensor:
    """Crop, mirror and cut a hole, each image its own way; the shape stays.

    Args:
        images: float (batch, channels, height, width), normalised: the zeros of padding and hole are the mean colour.
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
