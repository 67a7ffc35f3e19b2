"""A network of the literature, as a value of the layer algebra."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from searchspaces.architecture import Architecture
from searchspaces.cost import Cost
from searchspaces.errors import UserError, nearest
from searchspaces.latency import network_cost
from searchspaces.layers import Node
from searchspaces.scaling import Scaled, last_dropout
from searchspaces.stage import PUBLISHED, Scale
from searchspaces.strides import RULES, published
from searchspaces.task import Task

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class Classic:
    """One classic network, with its published strides on images of every size.

    Attributes:
        name: the name in timm where timm has the network, the name in the paper otherwise.
        paper: authors, year, arXiv number or venue, table or section.
        tree: the tree of layers for a task.
        task: the images and classes of its published numbers.
        architecture: the same network as a member of one of our spaces, but for the rate of dropout before the
            classifier, which is the space's own there; None where it is a member of none.
        for_small_images: its tree under the other rule for strides (`searchspaces.strides`), which trained networks of
            earlier versions have; None where it is the same.
        strides: the rule that `tree` follows.
    """

    name: str
    paper: str
    tree: Callable[[Task], Node]
    task: Task = Task()
    architecture: Architecture | None = None
    for_small_images: Callable[[Task], Node] | None = None
    strides: str = PUBLISHED

    @staticmethod
    def member(
        architecture: Architecture, name: str, paper: str, task: Task = Task(), scale: Scale = Scale()
    ) -> Classic:
        """A classic that is an architecture of a space, or a scaled one, which is no member itself; dropout alone does
        not make it another one."""
        small, scaled = (Scaled(each, scale, task) for each in (architecture, published(architecture)))
        member = architecture if replace(scale, dropout=None) == Scale() else None
        return Classic(name, paper, scaled.network, task, member, small.network)

    def under(self, strides: str) -> Classic:
        """The same network under a rule for strides.

        Raises:
            UserError: there is no such rule.
        """
        if strides not in RULES:
            raise UserError(f"unknown rule for strides {strides!r}{nearest(str(strides), RULES)}")
        if strides == self.strides:
            return self
        return replace(self, tree=self.for_small_images or self.tree, strides=strides)

    @property
    def scale(self) -> Scale:
        """A classic is not scaled."""
        return Scale()

    @property
    def dropout(self) -> float:
        """The rate of its last layer of dropout, before the classifier; 0 where it has none."""
        return last_dropout(self.network(), self.task)

    def words(self) -> str:
        """Its name."""
        return self.name

    def to_json(self) -> str:
        """Its text form: the name, the images and classes, and the strides where they are as published."""
        strides = {"strides": self.strides} if self.strides == PUBLISHED else {}
        return json.dumps({"classic": self.name, "task": str(self.task), **strides})

    def network(self, task: Task | None = None) -> Node:
        """The tree of layers, for its own task by default."""
        return self.tree(task or self.task)

    def cost(self, task: Task | None = None) -> Cost:
        """The cost of one image, of its own task by default."""
        task = task or self.task
        return network_cost(self.tree(task), task)

    def build(self, task: Task | None = None, drop_path: float = 0.0, auxiliary: bool = False) -> nn.Module:
        """A new torch module from images (batch, channels, height, width) to logits (batch, classes).

        With `auxiliary`, its auxiliary heads are built too, and in training mode it returns (logits, *their logits).
        """
        from searchspaces.auxiliary_heads import with_heads
        from searchspaces.modules import build

        task = task or self.task
        tree = with_heads(self.tree(task), task.shape, task.classes) if auxiliary else self.tree(task)
        return build(tree, task.shape, drop_path, auxiliary)
