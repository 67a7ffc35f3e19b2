"""What a network is for: the size of its images, their channels, and the classes to tell apart."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from searchspaces.cost import COSTS, Cost
from searchspaces.errors import UserError

if TYPE_CHECKING:
    from searchspaces.latency import LatencyTable

Shape = tuple[int, ...]
"""Channels, height and width of a feature map, or the number of features of a flat vector; without the batch."""


def enlarged(side: int, factor: float) -> int:
    """A side in pixels times a factor, to the nearest even number; as it is where the factor is 1.

    The first stride, of 2, then divides it. Later strides need not: what is over at an edge is padded, and counted in
    MACs. So it is with the published sizes of EfficientNet, of which most are no multiple of its 32 pixels a stride.

    >>> enlarged(224, 1.15), enlarged(28, 1.05), enlarged(75, 1)
    (258, 30, 75)
    """
    return side if factor == 1 else 2 * int(round(side * factor / 2, 9) + 0.5)


@dataclass(frozen=True, slots=True)
class Task:
    """Square images to be classified.

    The *deployment* task is what budgets are counted on; the *proxy* task is what candidates are trained on.

    Attributes:
        image_size: side of the image in pixels.
        channels: 3 for colour, 1 for grey.
        classes: size of the last layer.
        latency: what parts of networks take on a device, where that is a cost too; no part of the text form.

    Raises:
        UserError: if one of them is below 1.

    >>> Task.parse("32x32x3:10")
    Task(image_size=32, channels=3, classes=10)
    >>> str(Task())
    '224x224x3:1000'
    """

    image_size: int = 224
    channels: int = 3
    classes: int = 1000
    latency: LatencyTable | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name in ("image_size", "channels", "classes"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UserError(f"task: {name} must be a whole number of at least 1, got {value!r}")

    @staticmethod
    def parse(text: str) -> Task:
        """Read `HEIGHTxWIDTHxCHANNELS:CLASSES`.

        Raises:
            UserError: if the text has another form or the image is not square.
        """
        match = re.fullmatch(r"(\d{1,9})x(\d{1,9})x(\d{1,9}):(\d{1,9})", text.strip())
        if not match:
            shown = text if len(text) <= 80 else f"{text[:79]}…"
            raise UserError(
                f"task: {shown!r} does not look like '224x224x3:1000' (height x width x channels : classes)"
            )
        height, width, channels, classes = map(int, match.groups())
        if height != width:
            raise UserError(f"task: images must be square, got {height}x{width}")
        return Task(height, channels, classes)

    @property
    def shape(self) -> Shape:
        """Channels, height, width of one image."""
        return (self.channels, self.image_size, self.image_size)

    @property
    def costs(self) -> tuple[str, ...]:
        """Names of the costs that are known on it: latency only where a table tells."""
        return tuple(name for name in COSTS if name != "latency_ms" or self.latency is not None)

    @property
    def nothing(self) -> Cost:
        """What no layer at all costs."""
        return Cost(latency_us=None if self.latency is None else 0)

    def enlarged(self, factor: float) -> Task:
        """The same task on images of `enlarged` side."""
        return Task(enlarged(self.image_size, factor), self.channels, self.classes)

    def at(self, image_size: int | None) -> Task:
        """The same task on images of another side; as it is where that is None."""
        return self if image_size is None else replace(self, image_size=image_size)

    def __str__(self) -> str:
        return f"{self.image_size}x{self.image_size}x{self.channels}:{self.classes}"


def check_sizes(task: Task | None, image_size: int | None) -> None:
    """Refuse an image size that is not the task's, where both are given.

    Raises:
        UserError: they differ.
    """
    if task is not None and image_size is not None and task.image_size != image_size:
        raise UserError(f"--image-size {image_size} and --task {task} differ: give one of them")
