"""Zero-cost scores as an estimator: a network with its initial weights on one batch of images, and no training.

An estimate lies in [0, 1] and a score anywhere, so `in_unit` maps it there in its order. The mapped value serves to
rank and to nothing else: it is no accuracy. The estimator describes its estimates as such, screens show scores, and
`details` of a trial has the score itself.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from estimators.batches import channel_statistics
from estimators.data import ImageData, train_and_validation
from estimators.estimator import Estimate, TrialContext
from estimators.steps import DEVICES, check_ranges, find_device, give_back, own_globals, seed_of, unknown_device
from estimators.zero_cost import SCORES, score
from searchspaces import UserError, nearest

if TYPE_CHECKING:
    from torch import Tensor

    from searchspaces import Architecture

SCORED: Final = "score, not accuracy"
"""`estimates` in the description of an estimator whose estimates only rank."""
_HALF: Final = 20.0
"""At this inverse hyperbolic sine of a score, a mapped value is half-way from the middle to the end."""


def in_unit(value: float) -> float:
    """A score as a number in (0, 1), in the same order; `from_unit` maps it back.

    The inverse hyperbolic sine, as scores span many powers of ten, and then a sigmoid with tails heavy enough to keep
    apart what differs by a millionth at 1e100.

    >>> in_unit(0.0), round(in_unit(300.0), 3), round(in_unit(301.0), 3), round(in_unit(1e100), 3)
    (0.5, 0.621, 0.621, 0.96)
    """
    magnitude = math.asinh(value)
    return 0.5 + 0.5 * magnitude / (_HALF + abs(magnitude))


def from_unit(value: float) -> float:
    """The score that `in_unit` maps to this value.

    >>> round(from_unit(in_unit(-123.456)), 6)
    -123.456
    """
    share = 2 * value - 1
    if abs(share) >= 1:
        return math.copysign(math.inf, share)
    return math.sinh(_HALF * share / (1 - abs(share)))


@dataclass(frozen=True)
class ZeroCost:
    """Estimates by a zero-cost score.

    Args:
        data: images; their training part is used.
        score: `naswot`, `swap`, `synflow`, `snip`, `grad-norm`, `zico`, `meco`, or one of the parts of AZ-NAS:
            `expressivity`, `progressivity`, `trainability`.
        batch: number of images, at least 4; the same ones for all networks. Papers use 64 or 128.
        image_size: of the images in pixels; None keeps theirs.
        draw: seed for choosing the images.
        threads: CPU cores per estimate.
        device: one of `DEVICES`, used if the trial's context says `auto`. Not part of the description.

    Raises:
        UserError: a setting is out of range.
    """

    data: ImageData
    score: str = "zico"
    batch: int = 64
    image_size: int | None = None
    draw: int = 0
    threads: int = 1
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.score not in SCORES:
            raise UserError(f"unknown score {self.score!r}{nearest(self.score, SCORES)}")
        ranges = (
            ("batch", 4, math.inf, True, False),
            ("image_size", 1, math.inf, True, False),
            ("draw", 0, math.inf, True, False),
            ("threads", 1, math.inf, True, False),
        )
        whole = {each[0] for each in ranges}
        check_ranges("zero-cost", self, ranges, whole, left_open={"image_size"})
        if self.device not in DEVICES:
            raise UserError(unknown_device(self.device))
        size = self.data.task.image_size
        if self.image_size is not None and self.image_size != size:
            object.__setattr__(self, "data", self.data.resized(self.image_size))
        object.__setattr__(self, "image_size", self.data.task.image_size)

    def describe(self) -> dict[str, Any]:
        """The settings with defaults resolved, and the data, as plain JSON values."""
        settings = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in ("data", "device")}
        return {"name": "zero-cost", **settings, "estimates": SCORED, "data": self.data.describe()}

    def estimate(self, architecture: Architecture, context: TrialContext) -> Estimate:
        """The score of one architecture, in [0, 1]; the score itself is in the details.

        Raises:
            Diverged: the score is not finite.
            UserError: the device is unknown or not available.
        """
        began = time.perf_counter()
        device = find_device(self.device if context.device == "auto" else context.device).type
        found = self.of(architecture, context.seed, device)
        return Estimate(in_unit(found), time.perf_counter() - began, details={"score": found, "device": device})

    def of(self, architecture: Architecture, seed: int, device: str = "cpu") -> float:
        """The score of an architecture with the initial weights of a seed; torch's generators stay as they are.

        Raises:
            Diverged: it is not finite.
        """
        import torch

        where = find_device(device)
        with own_globals(where, self.threads):
            try:
                torch.manual_seed(seed_of(seed, "weights"))
                module = architecture.build(self.data.task).to(where)
                images, labels = self._images
                return score(self.score, module, images.to(where), labels.to(where))
            finally:
                give_back(where)

    @cached_property
    def _images(self) -> tuple[Tensor, Tensor]:
        """Normalized images float (batch, channels, side, side) and labels int64 (batch,)."""
        import torch

        train, _ = train_and_validation(self.data, 1.0, 0.2, 0)
        rng = np.random.default_rng(self.draw)
        chosen = np.sort(rng.choice(train, min(self.batch, len(train)), replace=False))
        mean, std = channel_statistics(self.data.images, train)
        pixels = (self.data.images[chosen] - mean) / std
        images = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), dtype=np.float32))
        order = torch.from_numpy(rng.permutation(len(chosen)))  # files lie class by class: halves should be alike
        return images[order], torch.from_numpy(self.data.labels[chosen])[order]


def score_text(estimate: float) -> str:
    """A mapped score as the score that it stands for, in four digits.

    >>> score_text(in_unit(487.91)), score_text(in_unit(1.616e36))
    ('487.9', '1.616e+36')
    """
    return f"{from_unit(estimate):.4g}"
