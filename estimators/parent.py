"""The parent of a trial: the trained weights that one trial leaves and that others start from.

The file is a checkpoint (`estimators.checkpoint`) of the weights alone. Its state has the architecture and the epochs
that are in the weights, those of the parent's own parents included. A failing file never fails a training: a child
whose parent cannot be read is trained from scratch, weights that cannot be written have no children, and the estimate
says so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from estimators.checkpoint import load, save
from estimators.inheritance import inherit
from searchspaces import UserError, architecture_from_json

if TYPE_CHECKING:
    from torch import Tensor, nn

    from searchspaces import Architecture, Scale, SearchSpace, Task


@dataclass(frozen=True)
class Parent:
    """What a trial left.

    Attributes:
        architecture: that was trained.
        epochs: of training in its weights, at least 1.
        tensors: the weights by name.
        fingerprint: of its training, in hex.
    """

    architecture: Architecture
    epochs: int
    tensors: Mapping[str, Tensor]
    fingerprint: str

    @staticmethod
    def read(place: str, space: SearchSpace) -> Parent:
        """The parent whose weights are at a place, a local path or a URL of fsspec.

        Args:
            place: the file.
            space: of its architecture.

        Raises:
            UserError: there is no such file, or it was not written by `leave` over this space.
        """
        found = load(place)
        if found is None:
            raise UserError(f"there is no file {place}")
        tensors, state = found
        try:
            architecture = architecture_from_json(state["whose"]["architecture"], space)
            fingerprint = hashlib.sha256(json.dumps(state["whose"], sort_keys=True).encode()).hexdigest()
            return Parent(architecture, int(state["epochs"]), tensors, fingerprint)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{place} does not say which network its weights belong to") from error

    def give(self, module: nn.Module, child: Architecture, task: Task, scale: Scale, seed: int) -> dict[str, Any]:
        """Give the weights to a fresh module, in place; what was inherited, for the estimate.

        Args:
            module: of the child, as it is trained.
            child: its architecture.
            task: of the images that both are trained on.
            scale: of both.
            seed: of the shares among copies of a channel.
        """
        network, parent = child.network(task, scale), self.architecture.network(task, scale)
        found = inherit(module, network, task.shape, self.tensors, parent, task.shape, seed)
        return {"epochs": self.epochs, "share": round(found.share, 4), "preserved": found.preserved}


def parent_at(place: str | None, child: Architecture) -> tuple[Parent | None, dict[str, Any]]:
    """The parent of a child, if it has one, and what there is to say of it if it cannot be read."""
    if place is None:
        return None, {}
    try:
        return Parent.read(place, child.space), {}
    except Exception as error:  # storage backends raise errors of any type; the training can always start from scratch
        return None, {"inherited": f"not used: {_line(error)}"}


def leave(place: str | None, module: nn.Module, epochs: int, whose: Mapping[str, Any]) -> dict[str, Any]:
    """Write what children start from; what there is to say of it, for the estimate.

    Args:
        place: a local path or a URL of fsspec; None writes nothing.
        module: the trained one.
        epochs: of training in its weights.
        whose: identifies the training, as plain JSON values; `architecture` is a text form.
    """
    if place is None:
        return {}
    tensors = module.state_dict()
    try:
        save(place, tensors, {"epochs": epochs, "whose": dict(whose)})
    except Exception as error:  # such as a full disk: no reason to lose the training
        return {"weights": f"not written: {_line(error)}"}
    return {"weights_bytes": sum(each.numel() * each.element_size() for each in tensors.values())}


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
