"""What a full training minimizes: cross-entropy, with auxiliary heads and with a teacher where there are any.

auxiliary  weight of each auxiliary head's loss (Szegedy et al. 2015, arXiv:1409.4842, sec. 5: 0.3; the code of
           NASNet: 0.4). Heads are there during training alone: they are left out of what is saved at its end.
distillation, temperature
           what a teacher's soft targets weigh, the labels having the rest, and what its logits and the network's are
           divided by; the soft loss is multiplied by the temperature's square (Hinton et al. 2015, arXiv:1503.02531,
           sec. 2), so that its gradient stays as large. Labels are smoothed, soft targets are not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from estimators.recipe import Recipe
from searchspaces import UserError
from searchspaces.auxiliary_heads import with_heads
from searchspaces.joins import leaves
from searchspaces.layers import Auxiliary, ShapeError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from searchspaces import Buildable, Task


class Objective:
    """The loss of a batch.

    Args:
        network: what gives logits; with auxiliary heads, a tuple with theirs after its own.
        recipe: the weights of the parts.
        teacher: gives the softened probabilities (images, classes) of images, if there is one.
    """

    def __init__(self, network: nn.Module, recipe: Recipe, teacher: Callable[[Tensor], Tensor] | None = None) -> None:
        self._network, self._recipe, self._teacher = network, recipe, teacher

    def __call__(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """The mean loss (), of normalized images (images, channels, side, side).

        Args:
            inputs: the images.
            targets: int64 (images,) or probabilities (images, classes).
        """
        outputs = self._network(inputs)
        logits, *others = outputs if isinstance(outputs, tuple) else (outputs,)
        loss = self._cross_entropy(logits, targets)
        if self._teacher is not None:
            weight = self._recipe.distillation
            loss = (1 - weight) * loss + weight * self._distilled(logits, self._teacher(inputs))
        for head in (each for each in others if each is not None):  # a frozen head gives nothing
            loss = loss + self._recipe.auxiliary * self._cross_entropy(head, targets)
        return loss

    def _distilled(self, logits: Tensor, softened: Tensor) -> Tensor:
        """The Kullback-Leibler divergence from the teacher's softened probabilities, times the temperature's square."""
        from torch.nn import functional

        heat = self._recipe.temperature
        found: Tensor = functional.kl_div((logits.float() / heat).log_softmax(1), softened, reduction="batchmean")
        return found * heat**2

    def _cross_entropy(self, logits: Tensor, targets: Tensor) -> Tensor:
        from torch.nn import functional

        loss: Tensor = functional.cross_entropy(logits, targets, label_smoothing=self._recipe.label_smoothing)
        return loss


def auxiliary_heads(network: Buildable, task: Task) -> int:
    """How many auxiliary heads a network has; 0 where the maps of these images are too small for them."""
    try:
        return _count(network, task)
    except ShapeError:
        return 0


def _count(network: Buildable, task: Task) -> int:
    places = leaves(with_heads(network.network(task), task.shape, task.classes), task.shape)
    return sum(each.head.shape(given) == (task.classes,) for each, given in places if isinstance(each, Auxiliary))


def check_heads_fit(network: Buildable, task: Task) -> None:
    """Refuse to train auxiliary heads that are not there, or that cannot take the network's maps.

    Raises:
        UserError: the network has no auxiliary heads, or they need larger images.
    """
    try:
        if _count(network, task):
            return
    except ShapeError as error:
        raise UserError(
            f"auxiliary: the auxiliary heads cannot take maps of {task}: {error}; train with auxiliary=0, or on larger "
            "images"
        ) from error
    raise UserError(f"auxiliary: {network.words()} has no auxiliary heads; train it with auxiliary=0")


def with_auxiliary_heads(network: Buildable, task: Task, drop_path: float) -> nn.Module:
    """A fresh `WithAuxiliaries`, whose `network` is the module with its heads.

    Raises:
        UserError: as `check_heads_fit`.
    """
    check_heads_fit(network, task)
    return network.build(task, drop_path=drop_path, auxiliary=True)


def check_heads_learn(model: nn.Module) -> None:
    """Refuse to train with auxiliary heads of which each is frozen.

    Raises:
        UserError: no parameter of an auxiliary head is trained.
    """
    from searchspaces.torch_layers import heads_of

    if not any(parameter.requires_grad for head in heads_of(model) for parameter in head.parameters()):
        raise UserError(
            "auxiliary: --freeze freezes every layer that has an auxiliary head, and the heads with them; train with "
            "auxiliary=0, or freeze fewer stages"
        )


def without_heads(model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a network by name, without those of its auxiliary heads."""
    from searchspaces.torch_layers import Auxiliary

    places = [f"{name}.head." for name, each in model.named_modules() if isinstance(each, Auxiliary)]
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(tuple(places))}
