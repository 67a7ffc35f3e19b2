"""Frozen layers: those that keep their trained weights while the later ones are trained on other images.

    all-but-head  the last layer alone is trained, on the features of all others
    STAGE         that stage and those before it are frozen, by the names that `nas cost` shows
    auto          what `proposed` says for the number of images

A frozen layer is in evaluation mode: its batch norm keeps its running statistics and normalizes by them, and nothing is
dropped in it. No gradient is computed below the first layer that is trained.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from searchspaces import UserError, nearest
from searchspaces.drawing import pieces
from searchspaces.layers import Chain, Graph, Node
from searchspaces.task import Shape

if TYPE_CHECKING:
    from torch import nn

ALL_BUT_HEAD: Final = "all-but-head"
AUTO: Final = "auto"
FEW: Final = 10
"""Images of a class below which the last layer alone is trained."""
MANY: Final = 50
"""Images of a class from which the whole network is."""


@dataclass(frozen=True)
class Frozen:
    """The layers of a network that are not trained.

    Attributes:
        name: `all-but-head`, or the last frozen stage.
        prefixes: what the names of the frozen tensors begin with; None for all but those of the last layer.
        params, trained: parameters that are frozen, and parameters that are trained.
    """

    name: str
    prefixes: tuple[str, ...] | None
    params: int
    trained: int

    @staticmethod
    def of(name: str, network: Node, given: Shape, module: nn.Module, fresh: Collection[str]) -> Frozen:
        """Freeze a network up to a stage.

        Args:
            name: `all-but-head`, or a stage.
            network: its tree of layers.
            given: the shape of its images.
            module: built from it.
            fresh: names of the parameters that have not taken over trained weights.

        Raises:
            UserError: there is no such stage, nothing is left to be trained, or a frozen layer has random weights.
        """
        prefixes = None if name == ALL_BUT_HEAD else _up_to(name, list(stages(network, given)))
        names = set(_frozen(module, prefixes))
        sizes = {each: parameter.numel() for each, parameter in module.named_parameters()}
        trained = sum(size for each, size in sizes.items() if each not in names)
        if not trained:
            raise UserError(f"--freeze {name} leaves nothing to train; {ALL_BUT_HEAD} trains the last layer")
        if random := [each for each in sizes if each in names and each in fresh]:
            raise UserError(
                f"--freeze {name} would keep random weights: {random[0]} and perhaps others are not all in --weights; "
                "freeze fewer stages, or start from the weights of the same network"
            )
        return Frozen(name, prefixes, sum(sizes.values()) - trained, trained)

    def freeze(self, module: nn.Module) -> None:
        """Take the frozen layers of a module that is in training mode out of its training."""
        names = set(_frozen(module, self.prefixes))
        for name, parameter in module.named_parameters():
            if name in names:
                parameter.requires_grad_(False)
        to_training_mode(module)

    def told(self) -> dict[str, Any]:
        """What a training records of them."""
        return {"name": self.name, "params": self.params, "trained_params": self.trained}


def stages(network: Node, given: Shape) -> Iterator[tuple[str, str]]:
    """The name of each stage as `nas cost` shows it, and what the names of its tensors begin with."""
    prefixes: list[str] = []
    for name, node in (
        zip(network.names(), network.nodes, strict=True) if isinstance(network, Chain) else [("", network)]
    ):
        inside = [getattr(each.node, "label", "") for each in node.steps] if isinstance(node, Graph) else []
        if inside and all(inside):
            prefixes += [f"{name}.nodes.{index}." for index in range(len(inside))]
        else:
            prefixes.append(f"{name}." if name else "")
    for piece, prefix in zip(pieces(network, given), prefixes, strict=True):
        yield piece.label, prefix


def middle(network: Node, given: Shape) -> str:
    """The last stage of the first half of a network's stages, those with parameters, its head left out."""
    labels = [piece.label for piece in pieces(network, given) if piece.node.cost(piece.given).params]
    return labels[max(0, (len(labels) - 1) // 2 - 1)]


def proposed(images: float, network: Node, given: Shape) -> str | None:
    """What to freeze with so many training images of each class; None for nothing.

    The three regimes of transfer learning: few images train the last layer alone, more of them the later stages, many
    the whole network. The order is the lecture's, which has no numbers; the bounds are assumptions, as
    `docs/transfer.md` says, and `benchmarks/transfer.py` compares the three ways at any number of images.
    """
    if images >= MANY:
        return None
    return ALL_BUT_HEAD if images < FEW else middle(network, given)


def to_training_mode(model: nn.Module) -> None:
    """Put a network into training mode, but for the modules of which all parameters are frozen."""
    model.train()
    for each in model.modules():
        own = list(each.parameters())
        if own and not any(parameter.requires_grad for parameter in own):
            each.eval()


def _up_to(name: str, there: list[tuple[str, str]]) -> tuple[str, ...]:
    """The prefixes of a stage, the last of its name, and of those before it."""
    labels = [label for label, _ in there]
    if name not in labels:
        known = list(dict.fromkeys(label for label in labels if label != "auxiliary"))
        hint = nearest(name, [ALL_BUT_HEAD, *known])
        raise UserError(f"--freeze: no stage {name!r}{hint}; its stages are {', '.join(known)}")
    last = max(index for index, label in enumerate(labels) if label == name)
    return tuple(prefix for _, prefix in there[: last + 1])


def _frozen(module: nn.Module, prefixes: tuple[str, ...] | None) -> Iterator[str]:
    """The names of the parameters that are frozen; auxiliary heads are frozen with the layer that they are on."""
    last = f"{_last_layer(module)}." if prefixes is None else ""
    for name, _ in module.named_parameters():
        if name.startswith(prefixes) if prefixes is not None else not name.startswith(last):
            yield name


def _last_layer(module: nn.Module) -> str:
    """The name of the last convolution or linear layer: the one that gives the logits."""
    from torch import nn

    names: list[str] = [name for name, each in module.named_modules() if isinstance(each, nn.Linear | nn.Conv2d)]
    return names[-1]
