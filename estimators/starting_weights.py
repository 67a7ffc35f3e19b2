"""Trained weights that a training starts from, read from the folder of another training or from a file.

A file of weights has its network's text form beside it, as `network.json`. Nothing read from either can run code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from estimators.freezing import Frozen
from estimators.inheritance import Inherited, inherit
from estimators.trained import FACTS, NETWORK, WEIGHTS, built, read_facts
from searchspaces import UserError, network_from_json
from searchspaces.files import read_json

if TYPE_CHECKING:
    from torch import Tensor, nn

    from searchspaces import Buildable, SearchSpace, Task
    from searchspaces.layers import Node
    from searchspaces.task import Shape


@dataclass(frozen=True)
class StartingWeights:
    """Weights for one network, by place (`estimators.inheritance`).

    Attributes:
        source: the folder or the file, as it was given; the run folder of a search, of the weights that networks share.
        fingerprint: SHA-256 of the file of weights, in hex.
        tensors: by name.
        parent, taken: the tree of layers that they are of, and the shape of its images.
        network, given: the tree of layers that starts from them, and the shape of its images.
        inherited: what it takes over.
        frozen: its layers that are not trained; None where all are.
        logits: which of their logits each class takes over, as `inherit` takes it.
    """

    source: str
    fingerprint: str
    tensors: Mapping[str, Tensor]
    parent: Node
    taken: Shape
    network: Node
    given: Shape
    inherited: Inherited
    frozen: Frozen | None = None
    logits: tuple[int, ...] | None = None

    @staticmethod
    def read(
        source: str | Path,
        network: Buildable,
        task: Task,
        space: SearchSpace | None = None,
        freeze: str | None = None,
        class_names: Sequence[str] | None = None,
    ) -> StartingWeights:
        """Read the weights that a network starts from.

        Args:
            source: the folder of a finished training, of which the best weights are taken, or a safetensors file.
            network: what is to be trained.
            task: its images and classes.
            space: of the network of the weights, where it is no space of ours.
            freeze: what keeps its weights, as `Frozen.of` takes it; None trains all layers.
            class_names: of the task, to match with those that `training.json` beside the weights has; if either is
                not known, logits are taken over by their number.

        Raises:
            UserError: there are no weights or no network, they do not fit one another, one is damaged, or the layers
                cannot be frozen.
        """
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import load

        path = Path(source)
        path = path / WEIGHTS["best"] if path.is_dir() else path
        if not path.is_file():
            what = "finished training" if path.name == WEIGHTS["best"] else "file"
            raise UserError(f"--weights: there is no {what} {str(source)!r}; nas train makes the folder of one")
        form = read_json(path.with_name(NETWORK), "the network of the weights")
        own = isinstance(form, dict) and space is not None and form.get("space") == space.name
        parent = network_from_json(json.dumps(form), space if own else None)
        if parent.task is None:
            raise UserError(f"--weights: {path.with_name(NETWORK)} does not say the task of its network")
        with torch.random.fork_rng([]):
            module = built(parent, parent.task)
        try:
            content = path.read_bytes()
            module.load_state_dict(load(content))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise UserError(f"cannot use the weights {path}: {str(error).splitlines()[0]}") from error
        tree, shape = parent.network(parent.task), parent.task.shape
        facts = read_facts(path.parent)
        names = None if facts is None else tuple(map(str, facts["class_names"]))
        if names is not None and len(names) != parent.task.classes:
            raise UserError(f"{path.with_name(FACTS)} is damaged: {len(names)} class names for the task {parent.task}")
        logits = None if names is None or class_names is None else logits_by_name(names, class_names)
        return StartingWeights.of(str(source), content, module.state_dict(), tree, shape, network, task, freeze, logits)

    @staticmethod
    def of(
        source: str,
        content: bytes,
        tensors: Mapping[str, Tensor],
        parent: Node,
        taken: Shape,
        network: Buildable,
        task: Task,
        freeze: str | None = None,
        logits: tuple[int, ...] | None = None,
    ) -> StartingWeights:
        """Those of a network that is there.

        Args:
            source: as it was given.
            content: the file of weights.
            tensors, parent, taken: as attributes.
            network, task, freeze: as in `read`.
            logits: as the attribute.

        Raises:
            UserError: a number is not finite, or the layers cannot be frozen.
        """
        import torch

        for name, tensor in tensors.items():
            if not torch.isfinite(tensor).all():
                raise UserError(f"cannot use the weights of {source}: {name} has numbers that are not finite")
        with torch.random.fork_rng([]):
            fresh = built(network, task)
        tree = network.network(task)
        found = inherit(fresh, tree, task.shape, tensors, parent, taken, 0, logits)
        frozen = None if freeze is None else Frozen.of(freeze, tree, task.shape, fresh, found.fresh)
        fingerprint = hashlib.sha256(content).hexdigest()
        return StartingWeights(source, fingerprint, tensors, parent, taken, tree, task.shape, found, frozen, logits)

    def give(self, module: nn.Module, seed: int) -> None:
        """Give them to the fresh module of the network, in place, and freeze its frozen layers."""
        inherit(module, self.network, self.given, self.tensors, self.parent, self.taken, seed, self.logits)
        if self.frozen is not None:
            self.frozen.freeze(module)

    def told(self) -> dict[str, Any]:
        """What a training records of them."""
        found = self.inherited
        return {
            "source": self.source,
            "fingerprint": self.fingerprint,
            "inherited_params": found.inherited,
            "inherited_share": round(found.share, 4),
            "preserved": found.preserved,
            "frozen": None if self.frozen is None else self.frozen.told(),
        }


def logits_by_name(theirs: Sequence[str], own: Sequence[str]) -> tuple[int, ...] | None:
    """For each class the number of the logit of the same name, -1 where there is none; None if names do not say.

    Classes without names are called by their numbers, from 0, which say nothing beside names, or beside other numbers
    from 0.

    Args:
        theirs: names of the classes of the weights.
        own: names of the classes that are to be learned.

    >>> logits_by_name(["cat", "dog"], ["bird", "dog", "cat"])
    (-1, 1, 0)
    >>> logits_by_name(["0", "1"], ["cat", "dog"])
    """
    counted = [list(names) == [str(number) for number in range(len(names))] for names in (theirs, own)]
    numbers = [all(map(str.isdecimal, names)) for names in (theirs, own)]
    if all(counted) or (any(counted) and not all(numbers)):
        return None
    places = {name: number for number, name in enumerate(theirs)}
    return tuple(places.get(name, -1) for name in own)
