"""What a network is for: the size of its images, their channels, and the classes to tell apart."""

from __future__ import annotations

import re
from dataclasses import dataclass

from searchspaces.errors import UserError

Shape = tuple[int, ...]
"""Channels, height and width of a feature map, or the number of features of a flat vector; without the batch."""


@dataclass(frozen=True, slots=True)
class Task:
    """Square images to be classified.

    The *deployment* task is what budgets are counted on; the *proxy* task is what candidates are trained on.

    Attributes:
        image_size: side of the image in pixels.
        channels: 3 for colour, 1 for grey.
        classes: size of the last layer.

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
        match = re.fullmatch(r"(\d+)x(\d+)x(\d+):(\d+)", text.strip())
        if not match:
            raise UserError(f"task: {text!r} does not look like '224x224x3:1000' (height x width x channels : classes)")
        height, width, channels, classes = map(int, match.groups())
        if height != width:
            raise UserError(f"task: images must be square, got {height}x{width}")
        return Task(height, channels, classes)

    @property
    def shape(self) -> Shape:
        """Channels, height, width of one image."""
        return (self.channels, self.image_size, self.image_size)

    def __str__(self) -> str:
        return f"{self.image_size}x{self.image_size}x{self.channels}:{self.classes}"
