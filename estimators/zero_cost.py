"""Zero-cost scores: what a network tells before it is trained, from one batch of images.

Each is a function of a module with its initial weights, images and, where it needs a loss, labels. Higher is better;
scores of different kinds cannot be compared, and none is an accuracy. They work on a copy, so that the module keeps its
weights and buffers, and draw no random numbers. In all of them dropout and drop-path are off, and batch norm takes the
statistics of the batch, as its running ones mean nothing before training; SynFlow does without it. `docs/proxies.md`
measures what they tell inside a budget.

`expressivity`, `progressivity` and `trainability` are the parts of AZ-NAS (Lee & Ham 2024, arXiv:2403.19232) that are
scores of one network; AZ-NAS itself adds up the logarithms of their ranks, and of that by MACs, within a population
(sec. 3.3), which `az_nas` does. Left out: scores that need Jacobians of single images (TE-NAS's condition number), and
Zen-score, which takes a network's residual connections out.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from estimators.estimator import Diverged
from searchspaces import UserError, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

T = TypeVar("T", "Tensor", "nn.Module")


def score(name: str, module: nn.Module, images: Tensor, labels: Tensor) -> float:
    """A network's score by its name in `SCORES`.

    Args:
        name: of the score.
        module: with its initial weights; it is not changed.
        images: float (batch, channels, side, side), normalized; at least 4, on the device of the module.
        labels: int64 (batch,).

    Raises:
        UserError: there is no such score.
        Diverged: the score is not finite, as NASWOT's where two images have the same code.
    """
    if name not in SCORES:
        raise UserError(f"unknown score {name!r}{nearest(name, SCORES)}")
    found = SCORES[name](module, images, labels)
    if not math.isfinite(found):
        raise Diverged(f"the score {name} of the untrained network is {found}")
    return found


def naswot(module: nn.Module, images: Tensor, labels: Tensor | None = None) -> float:
    """NASWOT: log-determinant of the Hamming kernel between the images' activation patterns.

    Mellor et al. 2021, arXiv:2006.04647, sec. 3: `K[i, j]` is the number of units that images i and j both switch on or
    both off, and the score is `log |det K|`. Departure: a unit of any activation that is linear for large
    inputs counts, not only a ReLU's, and is on where its input is above zero.
    """
    kernel = np.zeros((len(images), len(images)))
    for on in _patterns(module, images):
        units = on.flatten(1).float()  # (batch, units)
        kernel += (units @ units.T + (1 - units) @ (1 - units).T).cpu().numpy()
    return float(np.linalg.slogdet(kernel)[1])


def swap(module: nn.Module, images: Tensor, labels: Tensor | None = None) -> float:
    """SWAP-score: the number of different patterns that units show over the images.

    Peng et al. 2024, *SWAP-NAS*, arXiv:2403.04161: each unit has a pattern of one bit an image, and the score is the
    number of elements of their set; at most `min(units, 2**batch)`. Departures: activations as in `naswot`, and no
    regularization by the number of parameters, which needs two settings for each space.
    """
    seen = []
    for on in _patterns(module, images):
        bits = np.packbits(on.flatten(1).T.cpu().numpy(), axis=1)  # (units, ceil(batch / 8))
        seen.append(np.unique(np.ascontiguousarray(bits).view(f"V{bits.shape[1]}")))
    return float(len(np.unique(np.concatenate(seen)))) if seen else 0.0


def synflow(module: nn.Module, images: Tensor, labels: Tensor | None = None) -> float:
    """SynFlow: the sum of `|w * dR/dw|`, R being the output for an image of ones through the weights' absolute values.

    Tanaka et al. 2020, arXiv:2006.05467, as a score: Abdelfattah et al. 2021, arXiv:2101.08134, sec. 3.2, over the
    weights of convolutions and linear layers, in float64, and without batch norm, as in the authors' code. Departures:
    no other normalization either, nor weights standardized; ReLU6 does not saturate, since all of them would, and leave
    no gradient.
    """
    import torch
    from torch import nn

    from searchspaces.torch_layers import StandardizedConv

    network = _in_float64(_ready(module))
    normalization = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm)
    for each in network.modules():
        if isinstance(each, normalization):
            each.eval().register_forward_hook(lambda _, given, made: given[0])  # training norms refuse a single pixel
        elif isinstance(each, nn.ReLU6):
            each.register_forward_hook(lambda _, given, made: given[0].relu())
        elif isinstance(each, StandardizedConv):
            each.forward = partial(nn.Conv2d.forward, each)  # type: ignore[method-assign]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
    where = next(network.parameters()).device
    output = network(torch.ones_like(images[:1], dtype=torch.float64, device=where)).sum()
    return _saliency(_weights(network), output)


def snip(module: nn.Module, images: Tensor, labels: Tensor) -> float:
    """SNIP: the sum of `|w * dL/dw|` over the weights of convolutions and linear layers; L is the cross-entropy.

    Lee et al. 2019, arXiv:1810.02340, as a score: Abdelfattah et al. 2021, arXiv:2101.08134, sec. 3.2.
    """
    network = _ready(module)
    return _saliency(_weights(network), _loss(network, images, labels))


def grad_norm(module: nn.Module, images: Tensor, labels: Tensor) -> float:
    """GradNorm: the sum, over convolutions and linear layers, of the Euclidean norm of the loss's gradient.

    Abdelfattah et al. 2021, arXiv:2101.08134, sec. 3.2.
    """
    network = _ready(module)
    gradients = _gradients(_weights(network), _loss(network, images, labels))
    return sum(float(each.norm()) for each in gradients if each is not None)


def zico(module: nn.Module, images: Tensor, labels: Tensor) -> float:
    """ZiCo: the sum over layers of the log of the sum over weights of `mean |g| / std g`, over two batches.

    Li et al. 2023, arXiv:2301.11300, for convolutions and linear layers. As in the authors' code, the deviation is
    that of the gradients, not of their absolute values, and weights where it is 0 are left out. The two batches are
    the halves of the images.
    """
    network, total = _ready(module), 0.0
    weights, halves = _weights(network), zip(images.chunk(2), labels.chunk(2), strict=True)
    gradients = [_gradients(weights, _loss(network, *half)) for half in halves]
    for first, second in zip(*gradients, strict=True):
        if first is None or second is None:
            continue
        deviation = (first - second).abs() / 2  # of two numbers
        varies = deviation > 0
        ratio = float(_in_float64((first.abs() + second.abs())[varies] / 2 / deviation[varies]).sum())
        total += math.log(ratio) if ratio > 0 else 0.0
    return total


def meco(module: nn.Module, images: Tensor, labels: Tensor | None = None) -> float:
    """MeCo: the sum over feature maps of the smallest eigenvalue of the correlation matrix of their channels.

    Jiang et al. 2023, NeurIPS, *MeCo: Zero-Shot NAS with One Data and Single Forward Pass via Minimum Eigenvalue of
    Correlation*, for one image. A map with no more pixels than channels has the eigenvalue 0, and so has one with a
    constant channel. Departures: the image is the first of the batch, where the authors draw noise, and batch norm sees
    the whole batch; the map of an `nn.Sequential` is that of its last layer and does not count twice.
    """
    import torch
    from torch import nn

    found: list[float] = []

    def look(_: nn.Module, given: Any, made: Any) -> None:
        if not isinstance(made, torch.Tensor) or made.ndim != 4:
            return
        channels = _in_float64(made[0].flatten(1))  # (channels, pixels)
        if channels.shape[1] <= len(channels) or len(channels) < 2 or not bool((channels.std(1) > 0).all()):
            return
        found.append(float(torch.linalg.eigvalsh(torch.corrcoef(channels))[0]))

    network = _ready(module)
    for each in network.modules():
        if not isinstance(each, nn.Sequential):
            each.register_forward_hook(look)
    with torch.no_grad():
        network(images)
    return sum(found)


def expressivity(module: nn.Module, images: Tensor, labels: Tensor | None = None) -> float:
    """Expressivity of AZ-NAS: over all blocks, the summed entropy of the shares of their feature maps' principal axes.

    Lee & Ham 2024, arXiv:2403.19232, sec. 3.2: each position of each image's map is a sample of as many features as
    there are channels; the shares are the eigenvalues of their covariance, over their sum. Departure, in this and the
    next two: the input is the batch of images, where the authors draw noise, which their code allows too.
    """
    import torch

    with torch.no_grad():
        return sum(_isotropy(found) for found in _block_maps(module, images))


def progressivity(module: nn.Module, images: Tensor, labels: Tensor | None = None) -> float:
    """Progressivity of AZ-NAS: how much the entropy of `expressivity` grows from block to block, where least.

    Lee & Ham 2024, arXiv:2403.19232, sec. 3.2. 0 of a network of one block.
    """
    import torch

    with torch.no_grad():
        entropies = [_isotropy(found) for found in _block_maps(module, images)]
    return min((after - before for before, after in itertools.pairwise(entropies)), default=0.0)


def trainability(module: nn.Module, images: Tensor, labels: Tensor | None = None) -> float:
    """Trainability of AZ-NAS: how near the largest singular value of the blocks' Jacobians is to 1, as their mean of
    `2 - s - 1 / s`.

    Lee & Ham 2024, arXiv:2403.19232, sec. 3.2: the Jacobian is estimated from random signs that are sent back through
    the block, of which each position of each image gives a sample; a block that halves the map has the four positions
    that became one as channels. Departures: the signs are of one seed; a map whose side is no multiple of the next
    one's is filled up with zeros; a block that hands its gradient on unchanged is as good as any, not infinitely bad.
    """
    import torch
    from torch.nn import functional

    signs, found = torch.Generator().manual_seed(0), []
    maps = _block_maps(module, images)
    for before, after in reversed([*itertools.pairwise(maps)]):
        out = torch.randint(2, after.shape, generator=signs).to(after).mul_(2).sub_(1)
        (back,) = torch.autograd.grad(after, before, out)
        sides = [(-(-old // new), new) for old, new in zip(back.shape[2:], out.shape[2:], strict=True)]
        stride = max(factor for factor, _ in sides)
        fill = [stride * new - old for old, (_, new) in zip(back.shape[2:], sides, strict=True)]
        back = functional.pixel_unshuffle(functional.pad(back, (0, fill[1], 0, fill[0])), stride)
        samples, gradients = (_in_float64(each.movedim(1, -1).flatten(0, 2)) for each in (out, back))
        largest = float(torch.linalg.matrix_norm(gradients.T @ samples / len(samples), 2))
        found.append(2 - largest - 1 / max(largest, 1e-6))
    return sum(found) / len(found) if found else 0.0


def az_nas(parts: Sequence[Sequence[float]]) -> list[float]:
    """What AZ-NAS makes of a population: the sum of the logarithms of ranks, each divided by their number.

    Lee & Ham 2024, arXiv:2403.19232, sec. 3.3: one bad rank costs more than several middling ones. Equals share a rank.

    Args:
        parts: for each score, of each network; with `expressivity`, `progressivity` and `trainability` the MACs.

    >>> [round(each, 2) for each in az_nas([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]])]
    [-2.2, -0.81, 0.0]
    """
    from scipy.stats import rankdata

    ranks = np.array([rankdata(each) for each in parts])  # (scores, networks), from 1
    return [float(each) for each in np.log(ranks / ranks.shape[1]).sum(0)]


Score = Callable[["nn.Module", "Tensor", "Tensor"], float]

SCORES: Final[dict[str, Score]] = {
    "naswot": naswot,
    "swap": swap,
    "synflow": synflow,
    "snip": snip,
    "grad-norm": grad_norm,
    "zico": zico,
    "meco": meco,
    "expressivity": expressivity,
    "progressivity": progressivity,
    "trainability": trainability,
}
"""The scores by name."""


def _in_float64(held: T) -> T:
    """A tensor or a module in float64: on its device or, since MPS has none, on the CPU."""
    from torch import nn

    first = next(held.parameters()) if isinstance(held, nn.Module) else held
    return (held.cpu() if first.device.type == "mps" else held).double()


def _ready(module: nn.Module) -> nn.Module:
    """A copy in which nothing is random and batch norm takes the statistics of the batch."""
    from torch import nn

    network = copy.deepcopy(module).eval()
    for each in network.modules():
        if isinstance(each, nn.modules.batchnorm._BatchNorm):
            each.train()
    return network


def _block_maps(module: nn.Module, images: Tensor) -> list[Tensor]:
    """The feature maps (batch, channels, height, width) of all blocks, in order, with the graph that made them.

    A block is a part with weights of a part of the network, as in `stage2.0`; a whole graph of cells is one.
    """
    import torch
    from torch import nn

    found: list[Tensor] = []

    def look(_: nn.Module, given: Any, made: Any) -> None:
        if isinstance(made, torch.Tensor) and made.ndim == 4:
            found.append(made)

    network = _ready(module)
    for part in network.children():
        for block in part.children() if isinstance(part, nn.Sequential) else (part,):
            if any(True for _ in block.parameters()):
                block.register_forward_hook(look)
    network(images)
    return found


def _isotropy(found: Tensor) -> float:
    """The entropy of the shares of a map's principal axes, in nats."""
    import torch

    features = _in_float64(found.movedim(1, -1).flatten(0, 2))  # (samples, channels)
    spectrum = torch.linalg.eigvalsh(torch.cov(features.T, correction=0).reshape(features.shape[1], -1)).clamp(min=0)
    whole = float(spectrum.sum())
    return float(torch.special.entr(spectrum / whole).sum()) if whole > 0 else 0.0


def _patterns(module: nn.Module, images: Tensor) -> list[Tensor]:
    """Which units are on: for each activation, bool (batch, ...)."""
    import torch
    from torch import nn

    rectifiers = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish, nn.Mish, nn.ELU, nn.LeakyReLU, nn.PReLU, nn.GELU)
    network, found = _ready(module), []
    for each in network.modules():
        if isinstance(each, rectifiers):
            each.register_forward_hook(lambda _, given, made: found.append(given[0] > 0))
    with torch.no_grad():
        network(images)
    return found


def _weights(network: nn.Module) -> list[Tensor]:
    """Those of convolutions and linear layers."""
    from torch import nn
    from torch.nn.modules.conv import _ConvNd

    return [each.weight for each in network.modules() if isinstance(each, (_ConvNd, nn.Linear))]


def _loss(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    from torch.nn import functional

    return functional.cross_entropy(network(images), labels)


def _gradients(weights: Sequence[Tensor], output: Tensor) -> Sequence[Tensor | None]:
    """Of a number by the weights; None for those that it does not depend on."""
    import torch

    return torch.autograd.grad(output, weights, allow_unused=True)


def _saliency(weights: Sequence[Tensor], output: Tensor) -> float:
    """The sum of `|w * d output / dw|`."""
    pairs = zip(weights, _gradients(weights, output), strict=True)
    return sum(
        float(_in_float64((weight.detach() * gradient).abs()).sum())
        for weight, gradient in pairs
        if gradient is not None
    )
