"""A user-defined torch network, to be costed by tracing: `nas cost examples/my_net.py:net --task 32x32x3:10`.

`net` may be a module, or a function without arguments that returns one.
"""

from __future__ import annotations

from torch import nn


def net() -> nn.Module:
    """A small residual-free network for 32 x 32 images in ten classes."""
    return nn.Sequential(
        nn.Conv2d(3, 32, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 64, kernel_size=3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )
