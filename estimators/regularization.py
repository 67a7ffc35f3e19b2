"""What a network gets for its training only: other initial weights, dropout before the classifier, clipped gradients.

None of it is in the trained network: weights have the same names and shapes, and a network in evaluation mode does what
it did.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from searchspaces import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn

INITIALIZATIONS: Final = ("xavier", "he")


def initialize(model: nn.Module, name: str) -> None:
    """Draw the weights of convolutions and linear layers anew, and set their biases to zero.

    Args:
        name: `xavier`, uniform, Glorot & Bengio 2010, eq. 16; or `he`, normal, by the number of inputs, He et al. 2015,
            arXiv:1502.01852, eq. 10.
    """
    from torch.nn import init
    from torch.nn.modules.conv import _ConvNd
    from torch.nn.modules.linear import Linear

    he = functools.partial(init.kaiming_normal_, nonlinearity="relu")
    draw: Callable[[Tensor], object] = init.xavier_uniform_ if name == "xavier" else he
    for each in model.modules():
        if isinstance(each, _ConvNd | Linear):
            draw(each.weight)
            if each.bias is not None:
                init.zeros_(each.bias)


def drop_before_classifier(model: nn.Module, dropout: float | None, drop_connect: float) -> None:
    """Set the rate of dropout, and drop weights of the classifier, the last linear layer.

    Args:
        dropout: the rate of all dropout layers of the network, but for those of auxiliary heads; where it has none, of
            the classifier's inputs (Srivastava et al. 2014). None leaves the network as it is.
        drop_connect: the rate at which weights of the classifier are zero, drawn for each batch (Wan et al. 2013, sec.
            3; there for each image, with a Gaussian approximation at evaluation; here weights are scaled up in
            training).

    Raises:
        UserError: the network has neither a dropout layer nor a linear one.
    """
    from torch import nn

    from searchspaces.torch_layers import dropping, heads_of

    in_heads = {id(each) for head in heads_of(model) for each in head.modules()}
    places = [each for each in model.modules() if isinstance(each, nn.Dropout) and id(each) not in in_heads]
    for place in places if dropout is not None else ():
        place.p = float(dropout or 0)
    before = 0.0 if dropout is None or places else dropout
    if not before and not drop_connect:
        return
    classifier = _classifier(model)
    if classifier is None:
        raise UserError("dropout and drop_connect need a linear layer to classify with, and this network has none")
    dropping(classifier, before, drop_connect)


def clipper(model: nn.Module, adaptive: float, norm: float) -> Callable[[], None] | None:
    """What clips the gradients in place before a step of the optimizer; None if nothing does.

    Args:
        adaptive: the largest ratio of a unit's gradient to its weights, in norm (Brock et al. 2021, arXiv:2102.06171,
            eq. 3), for all but the classifier; 0 is off. A unit is an output channel, or a whole vector.
        norm: the largest norm of the gradient of all weights together (Pascanu et al. 2013, arXiv:1211.5063); 0 is off.
    """
    from torch import nn
    from torch.nn.utils import clip_grad_norm_

    layers = [each for each in model.modules() if isinstance(each, nn.Linear | nn.Conv2d)]
    last = {id(each) for layer in layers[-1:] for each in layer.parameters()}  # a convolution in some networks
    bounded = [each for each in model.parameters() if id(each) not in last]

    def clip() -> None:
        if adaptive:
            clip_by_unit(bounded, adaptive)
        if norm:
            clip_grad_norm_(model.parameters(), norm, foreach=True)

    return clip if adaptive or norm else None


def _classifier(model: nn.Module) -> nn.Linear | None:
    """The last linear layer of a network, if it has any."""
    from torch import nn

    return next((each for each in reversed([*model.modules()]) if isinstance(each, nn.Linear)), None)


EPSILON: Final = 1e-3
"""The least norm that a unit's weights are taken to have, so that weights of zero can move (sec. 4 there)."""


def clip_by_unit(parameters: Iterable[nn.Parameter], ratio: float) -> None:
    """Scale down the gradient of each unit that is above `ratio` times the norm of its weights."""
    for each in parameters:
        if each.grad is not None:
            most = _unit_norms(each.detach()).clamp(min=EPSILON) * ratio
            norms = _unit_norms(each.grad)
            each.grad.mul_((most / norms.clamp(min=1e-6)).clamp(max=1.0))


def _unit_norms(values: Tensor) -> Tensor:
    """Norms that broadcast with the values: of each output channel, or of all of a vector."""
    import torch

    dims = tuple(range(1, values.ndim)) or None
    norms: Tensor = torch.linalg.vector_norm(values, dim=dims, keepdim=True)
    return norms
