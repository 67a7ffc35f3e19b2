"""A network at a size: an architecture with factors on its width and depth, and the images it is for.

How a family grows from one network (Tan & Le 2019, arXiv:1905.11946, sec. 3.3).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from searchspaces.cost import Cost
from searchspaces.errors import UserError
from searchspaces.layers import Node
from searchspaces.space import Architecture, SearchSpace
from searchspaces.stage import Scale
from searchspaces.task import Task

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class Scaled:
    """An architecture scaled, and the task that this size is for.

    Attributes:
        architecture: what is scaled; at factors of 1 the network is its own.
        scale: factors on width and depth.
        task: images and classes; the image size is the third dimension of scaling.

    Raises:
        UserError: a factor is not a number above 0.

    >>> from searchspaces import classic
    >>> b0 = classic("efficientnet_b0").architecture
    >>> b2 = Scaled(b0, Scale(width=1.1, depth=1.2), Task(260))
    >>> b2.cost().params, Scaled.from_json(b2.to_json()) == b2
    (9109994, True)
    """

    architecture: Architecture
    scale: Scale
    task: Task

    def __post_init__(self) -> None:
        for name in ("width", "depth"):
            factor = getattr(self.scale, name)
            number = isinstance(factor, int | float) and not isinstance(factor, bool)
            if not number or not 0 < factor < math.inf:
                raise UserError(f"scale: {name} must be a number above 0, got {factor!r}")

    def network(self, task: Task | None = None) -> Node:
        """The tree of layers, for its own task by default."""
        return self.architecture.network(task or self.task, self.scale)

    def cost(self, task: Task | None = None) -> Cost:
        """What it costs on one image, of its own task by default."""
        return self.architecture.cost(task or self.task, self.scale)

    def build(self, task: Task | None = None, drop_path: float = 0.0) -> nn.Module:
        """A fresh torch module from images (batch, channels, height, width) to logits (batch, classes)."""
        return self.architecture.build(task or self.task, self.scale, drop_path)

    def to_json(self) -> str:
        """Its text form: the architecture's, and `scale` and `task`."""
        size = {"width": self.scale.width, "depth": self.scale.depth}
        return json.dumps({**json.loads(self.architecture.to_json()), "scale": size, "task": str(self.task)})

    @staticmethod
    def from_json(text: str, space: SearchSpace | None = None) -> Scaled:
        """Read what `to_json` wrote; without `scale` nothing is scaled, without `task` it is the usual one.

        Args:
            text: the text form; more keys may be in it.
            space: where the architecture lives; by default the space of that name among our own.

        Raises:
            UserError: the text is no architecture, or what it says of the size cannot be.
        """
        architecture = Architecture.from_json(text, space)
        read: dict[str, Any] = json.loads(text)
        size, task = read.get("scale", {}), read.get("task", str(Task()))
        if not isinstance(size, dict) or not size.keys() <= {"width", "depth"}:
            raise UserError(f"scale: {json.dumps(size)[:80]} does not look like " + '{"width": 1.1, "depth": 1.2}')
        if not isinstance(task, str):
            raise UserError(f"task: {task!r} does not look like '224x224x3:1000'")
        return Scaled(architecture, Scale(**size), Task.parse(task))

    def words(self) -> str:
        """One line for a person."""
        said = self.architecture.words()
        if self.scale == Scale():
            return said
        return f"{said} | width x {self.scale.width:g}, depth x {self.scale.depth:g}"
