"""A network of the literature, as a value of the layer algebra."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from searchspaces.cost import Cost
from searchspaces.latency import network_cost
from searchspaces.layers import Node
from searchspaces.scaling import Scaled
from searchspaces.space import Architecture
from searchspaces.stage import Scale
from searchspaces.task import Task

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class Classic:
    """One classic network.

    Attributes:
        name: timm's where it has the network, the paper's otherwise.
        paper: authors, year, arXiv number or venue, table or section.
        tree: the tree of layers for a task.
        task: the images and classes of its published numbers.
        architecture: the same network as a member of one of our spaces, where it is one.
    """

    name: str
    paper: str
    tree: Callable[[Task], Node]
    task: Task = Task()
    architecture: Architecture | None = None

    @staticmethod
    def member(
        architecture: Architecture, name: str, paper: str, task: Task = Task(), scale: Scale = Scale()
    ) -> Classic:
        """A classic that is an architecture of a space, or one scaled (which then is no member itself)."""
        scaled = Scaled(architecture, scale, task)
        return Classic(name, paper, scaled.network, task, architecture if scale == Scale() else None)

    def network(self, task: Task | None = None) -> Node:
        """The tree of layers, for its own task by default."""
        return self.tree(task or self.task)

    def cost(self, task: Task | None = None) -> Cost:
        """What it costs on one image, of its own task by default."""
        task = task or self.task
        return network_cost(self.tree(task), task)

    def build(self, task: Task | None = None, drop_path: float = 0.0, auxiliary: bool = False) -> nn.Module:
        """A fresh torch module from images (batch, channels, height, width) to logits (batch, classes).

        With `auxiliary`, its auxiliary heads are built too, and while training it gives (logits, *their logits).
        """
        from searchspaces.modules import build

        task = task or self.task
        return build(self.tree(task), task.shape, drop_path, auxiliary)
