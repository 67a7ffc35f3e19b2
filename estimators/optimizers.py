"""The optimizers of full training: torch's own, with the settings of the papers that made them known for images.

    sgd       momentum; Nesterov's by default (Sutskever et al. 2013, sec. 2)
    adam      Kingma & Ba 2015, arXiv:1412.6980
    adamw     Loshchilov & Hutter 2019, arXiv:1711.05101
    rmsprop   Tieleman & Hinton 2012, with decay 0.9 and epsilon 0.001 as in EfficientNet (arXiv:1905.11946, sec. 5.2,
              and its code). torch adds epsilon after the root and TensorFlow before it.
    adagrad   Duchi et al. 2011
    adadelta  Zeiler 2012, arXiv:1212.5701; its rate is usually 1

Weight decay is added to the gradient, but for `adamw`. Left out: LAMB, which torch does not have and which is for
batches of tens of thousands of images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from estimators.steps import decayed, quick_to_load

if TYPE_CHECKING:
    import torch
    from torch import nn

OPTIMIZERS: Final = ("sgd", "adam", "adamw", "rmsprop", "adagrad", "adadelta")


def make_optimizer(
    model: nn.Module, name: str, lr: float, momentum: float, nesterov: bool, weight_decay: float
) -> torch.optim.Optimizer:
    """An optimizer of a network's weights, on the network's device; fused where torch can.

    Args:
        name: in `OPTIMIZERS`.
        momentum: of `sgd` and `rmsprop`.
        nesterov: of `sgd` with momentum.
        weight_decay: on the weights of convolutions and linear layers.
    """
    from torch import optim

    device = next(model.parameters()).device
    fused: dict[str, Any] = {"fused": device.type != "mps"}
    adam: dict[str, Any] = {**fused, "capturable": device.type == "cuda"}
    kind, settings = {
        "sgd": (optim.SGD, {"momentum": momentum, "nesterov": nesterov and momentum > 0, **fused}),
        "adam": (optim.Adam, adam),
        "adamw": (optim.AdamW, adam),
        "rmsprop": (optim.RMSprop, {"momentum": momentum, "alpha": 0.9, "eps": 1e-3}),
        "adagrad": (optim.Adagrad, {}),
        "adadelta": (optim.Adadelta, {}),
    }[name]
    made: optim.Optimizer = quick_to_load(kind)(decayed(model, weight_decay), lr=lr, **settings)
    return made
