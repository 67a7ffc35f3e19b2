"""Exponential moving averages of weights, which often generalize better than the last weights.

Polyak & Juditsky 1992; in training as in EfficientNet (Tan & Le 2019, arXiv:1905.11946, and its code).
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


class WeightAverage:
    """A copy of a network that holds the moving averages of its weights and running statistics.

    Args:
        model: the network that is trained.
        decay: of the averages, in [0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(model).eval().requires_grad_(False)
        self._decay = decay
        # not of their state dicts, which have a weight that is used in several places once for each
        self._own, self._theirs = (
            [each.detach() for each in (*one.parameters(), *one.buffers())] for one in (self.module, model)
        )  # they stay where they are, and collecting them takes long

    def take(self, step: int) -> None:
        """Update after a step, counted from 0. As in TensorFlow, the decay is smaller in the first steps."""
        import torch

        decay = min(self._decay, (1 + step) / (10 + step))
        now = self._theirs
        smooth = [index for index, each in enumerate(now) if each.is_floating_point()]
        torch._foreach_lerp_([self._own[i] for i in smooth], [now[i] for i in smooth], 1 - decay)
        for own, theirs in zip(self._own, now, strict=True):
            if not theirs.is_floating_point():
                own.copy_(theirs)
