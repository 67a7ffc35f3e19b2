"""Zero-cost scores: each equals its definition computed by hand or in another way, and leaves everything as it was."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from estimators import Diverged
from estimators.zero_cost import (
    SCORES,
    az_nas,
    expressivity,
    grad_norm,
    meco,
    naswot,
    progressivity,
    score,
    snip,
    swap,
    synflow,
    trainability,
    zico,
)
from searchspaces import SPACES, Scale, Task, UserError, space_named
from searchspaces.torch_layers import StandardizedConv

TASK = Task(32, 3, 10)


def batch(images: int = 8, channels: int = 3, side: int = 32) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randn(images, channels, side, side, generator=draw)
    return pixels, torch.arange(images) % 10


def two_layers(first: list[list[float]], second: list[list[float]]) -> nn.Sequential:
    """Linear, ReLU, linear, without biases, on images of one pixel."""
    layers = [nn.Linear(len(each[0]), len(each), bias=False) for each in (first, second)]
    for layer, weights in zip(layers, (first, second), strict=True):
        layer.weight.data = torch.tensor(weights)
    return nn.Sequential(nn.Flatten(), layers[0], nn.ReLU(), layers[1])


def pixels(rows: list[list[float]]) -> Tensor:
    return torch.tensor(rows)[:, :, None, None]  # (batch, channels, 1, 1)


def test_naswot_is_the_log_determinant_of_the_hamming_kernel() -> None:
    # Units are on for x > 0, y > 0, x + y > 0. Codes of (1, 1), (1, -2), (-2, 1): 111, 100, 010.
    # Agreements: 3 with itself; 111-100: 1; 111-010: 1; 100-010: 1. det [[3,1,1],[1,3,1],[1,1,3]] = 20.
    network = two_layers([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [[1.0, 1.0, 1.0]])
    assert naswot(network, pixels([[1.0, 1.0], [1.0, -2.0], [-2.0, 1.0]])) == pytest.approx(math.log(20))


def test_images_of_one_code_have_no_naswot_score() -> None:
    network = two_layers([[1.0, 0.0]], [[1.0]])
    with pytest.raises(Diverged, match="naswot of the untrained network is -inf"):
        score("naswot", network, pixels([[1.0, 1.0]] * 4), torch.zeros(4, dtype=torch.int64))


@pytest.mark.parametrize("kind", [nn.PReLU, nn.LeakyReLU, nn.SiLU, nn.GELU, nn.ELU, nn.Hardswish, nn.Mish])
def test_units_of_every_activation_count_as_those_of_relu(kind: type[nn.Module]) -> None:
    relu = two_layers([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [[1.0, 1.0, 1.0]])
    other, images = nn.Sequential(relu[0], relu[1], kind(), relu[3]), pixels([[1.0, 1.0], [1.0, -2.0], [-2.0, 1.0]])
    assert (naswot(other, images), swap(other, images)) == (naswot(relu, images), swap(relu, images))


def test_swap_counts_the_different_patterns_of_units() -> None:
    # Over the images (1, 1), (1, -2), (-2, 1): x > 0 is 110, y > 0 is 101, x + y > 0 is 100, and 2 x > 0 is 110 again.
    network = two_layers([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, 0.0]], [[1.0] * 4])
    assert swap(network, pixels([[1.0, 1.0], [1.0, -2.0], [-2.0, 1.0]])) == 3


@pytest.mark.parametrize("images", [4, 8, 19])
def test_swap_equals_a_count_with_sets(images: int) -> None:
    torch.manual_seed(0)
    first, second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3)
    inputs, _ = batch(images, side=8)
    with torch.no_grad():
        before = first(inputs)
        units = [each.flatten(1) > 0 for each in (before, second(before.relu()))]
    patterns = {tuple(unit) for on in units for unit in on.T.tolist()}
    assert swap(nn.Sequential(first, nn.ReLU(), second, nn.ReLU()), inputs) == len(patterns)


def test_synflow_is_the_flow_through_absolute_weights_once_a_layer() -> None:
    # R = 1^T |B| |A| 1 with |A| = [[1, 2], [3, 4]] and |B| = [[5, 6]]: 5 * 3 + 6 * 7 = 57. Each layer's sum of
    # |w dR/dw| is R itself, since R is linear in each: 2 * 57.
    network = two_layers([[1.0, -2.0], [-3.0, 4.0]], [[5.0, -6.0]])
    assert synflow(network, pixels([[0.3, 0.7]])) == pytest.approx(2 * 57)


def test_synflow_grows_in_proportion_to_a_linear_layer_and_does_not_see_batch_norm() -> None:
    draw = torch.Generator().manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU6(), nn.Flatten(), nn.Linear(4 * 4, 5, bias=False)
    )
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=draw)
    images = torch.zeros(1, 3, 4, 4)
    before = synflow(network, images)
    network[4].weight.data *= -7
    network[1].running_var.fill_(100.0)
    assert synflow(network, images) == pytest.approx(7 * before)


def test_synflow_is_conserved_from_layer_to_layer_also_where_weights_are_standardized() -> None:
    layers = [StandardizedConv(3, 4, 3, bias=False), nn.ReLU(), StandardizedConv(4, 2, 2, bias=False), nn.Flatten()]
    plain = [nn.Conv2d(3, 4, 3, bias=False), nn.ReLU(), nn.Conv2d(4, 2, 2, bias=False), nn.Flatten()]
    for one, other in zip(layers, plain, strict=True):
        if isinstance(one, StandardizedConv):
            other.weight.data = one.weight.data.clone()
    images = torch.zeros(1, 3, 4, 4)
    assert synflow(nn.Sequential(*layers), images) == pytest.approx(synflow(nn.Sequential(*plain), images))
    kinds = [type(each) for each in layers]
    assert kinds == [StandardizedConv, nn.ReLU, StandardizedConv, nn.Flatten]
    assert "forward" not in vars(layers[0])  # the network that was scored is as it was


def by_hand(network: nn.Module, images: Tensor, labels: Tensor) -> list[Tensor]:
    """Gradients of the mean cross-entropy by central differences, in float64."""
    network.double()
    weights = [each.weight for each in network.modules() if isinstance(each, nn.Linear)]
    found = []
    with torch.no_grad():
        for weight in weights:
            slope, step = torch.zeros_like(weight), 1e-6
            for index in itertools.product(*map(range, weight.shape)):
                losses = []
                for sign in (1, -1):
                    weight[index] += sign * step
                    logits = network(images.double())
                    losses.append(float((logits.logsumexp(1) - logits.gather(1, labels[:, None])[:, 0]).mean()))
                    weight[index] -= sign * step
                slope[index] = (losses[0] - losses[1]) / (2 * step)
            found.append(slope)
    network.float()
    return found


def three_classes() -> tuple[nn.Sequential, Tensor, Tensor]:
    network = two_layers([[1.0, -0.5], [0.3, 0.8]], [[0.5, -1.0], [1.0, 0.2], [-0.7, 0.4]])
    return network, pixels([[1.0, 0.4], [0.2, -1.0], [0.7, 0.9], [-0.3, 1.1]]), torch.tensor([0, 1, 2, 0])


def test_snip_and_grad_norm_equal_finite_differences() -> None:
    network, images, labels = three_classes()
    slopes = by_hand(network, images, labels)
    weights = [network[1].weight.detach(), network[3].weight.detach()]
    saliency = sum(float((w * slope).abs().sum()) for w, slope in zip(weights, slopes, strict=True))
    assert snip(network, images, labels) == pytest.approx(saliency, rel=1e-4)
    assert grad_norm(network, images, labels) == pytest.approx(
        sum(float(slope.square().sum().sqrt()) for slope in slopes), rel=1e-4
    )


def test_zico_equals_the_ratio_of_means_to_deviations_over_two_batches() -> None:
    network, images, labels = three_classes()
    halves = [by_hand(network, images[part], labels[part]) for part in (slice(0, 2), slice(2, 4))]
    expected = 0.0
    for layer in range(2):
        gradients = np.stack([half[layer].numpy().ravel() for half in halves])  # (batches, weights)
        deviation = gradients.std(0)
        there = deviation > 1e-9
        expected += math.log((np.abs(gradients).mean(0)[there] / deviation[there]).sum())
    assert zico(network, images, labels) == pytest.approx(expected, rel=1e-3)


def test_meco_is_the_smallest_eigenvalue_of_the_channels_correlation() -> None:
    # Two channels: x and x + 2 y, with x and y uncorrelated and of equal variance over the four pixels. Their
    # correlation is 1 / sqrt(5), and the eigenvalues of [[1, r], [r, 1]] are 1 - r and 1 + r.
    network = nn.Sequential(nn.Conv2d(2, 2, 1, bias=False))
    network[0].weight.data = torch.tensor([[1.0, 0.0], [1.0, 2.0]])[:, :, None, None]
    image = torch.tensor([[[1.0, 1.0], [-1.0, -1.0]], [[1.0, -1.0], [1.0, -1.0]]])[None]
    assert meco(network, image) == pytest.approx(1 - 1 / math.sqrt(5))


def test_channels_that_are_many_or_constant_add_nothing_to_meco() -> None:
    image = batch(1, side=2)[0]
    assert meco(nn.Sequential(nn.Conv2d(3, 4, 1)), image) == 0.0  # as many channels as pixels: the matrix is singular
    dead = nn.Sequential(nn.Conv2d(3, 2, 1))
    dead[0].weight.data[0] = 0.0
    assert meco(dead, image) == 0.0


def test_expressivity_is_the_entropy_of_the_principal_axes_of_each_block() -> None:
    # Of images with independent channels of variances 4, 4 and 1 the shares are 4/9, 4/9 and 1/9; the second block
    # scales channels to one variance, shares of 1/3, and the third one keeps a single channel.
    signs = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=3)))  # uncorrelated, each of variance 1
    images = (signs * torch.tensor([2.0, 2.0, 1.0]))[:, :, None, None].expand(-1, -1, 2, 2)
    blocks = [nn.Conv2d(3, width, 1, bias=False) for width in (3, 3, 1)]
    for block, weights in zip(
        blocks, (torch.eye(3), torch.diag(torch.tensor([0.5, 0.5, 1.0])), torch.eye(3)[:1]), strict=True
    ):
        block.weight.data = weights[:, :, None, None]
    entropies = [-2 * 4 / 9 * math.log(4 / 9) - 1 / 9 * math.log(1 / 9), math.log(3), 0.0]
    assert expressivity(nn.Sequential(*blocks), images) == pytest.approx(sum(entropies))
    assert progressivity(nn.Sequential(*blocks), images) == pytest.approx(-math.log(3))
    assert progressivity(nn.Sequential(*blocks[:2]), images) == pytest.approx(entropies[1] - entropies[0])
    assert progressivity(nn.Sequential(blocks[0]), images) == 0.0


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("factor", "expected"), [(1.0, 0.0), (2.0, -0.5), (0.25, -2.25)])
def test_trainability_goes_by_the_largest_singular_value(factor: float, expected: float, stride: int) -> None:
    # 2 - s - 1 / s. Of an orthogonal matrix all singular values are the factor; a stride takes one pixel of four.
    turned, _ = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(1)))
    blocks = [nn.Conv2d(3, 4, 1, bias=False), nn.Conv2d(4, 4, 1, stride=stride, bias=False)]
    blocks[1].weight.data = factor * turned[:, :, None, None]
    images, _ = batch(64, side=33 - stride % 2)
    assert trainability(nn.Sequential(*blocks), images) == pytest.approx(expected, abs=0.06)  # of 18,000 samples


def test_the_parts_of_az_nas_look_at_the_blocks_of_a_network() -> None:
    from estimators.zero_cost import _block_maps

    network = space_named("resnet-cifar").references["resnet20"].build(TASK)
    shapes = [tuple(each.shape[1:]) for each in _block_maps(network, batch(4)[0])]
    assert shapes == [*[(16, 32, 32)] * 4, *[(32, 16, 16)] * 3, *[(64, 8, 8)] * 3]  # the stem, and nine of two layers


def test_az_nas_adds_up_logarithms_of_ranks() -> None:
    first, second = [3.0, 1.0, 2.0, 1.0], [1.0, 2.0, 3.0, 4.0]  # ranks 4, 1.5, 3, 1.5 and 1, 2, 3, 4
    assert az_nas([first, second]) == pytest.approx(
        [math.log(4 / 4 * 1 / 4), math.log(1.5 / 4 * 2 / 4), math.log(3 / 4 * 3 / 4), math.log(1.5 / 4 * 4 / 4)]
    )


@pytest.mark.parametrize("space", SPACES)
def test_a_score_is_finite_in_every_space_and_changes_nothing(space: str) -> None:
    rng, threads = np.random.default_rng(0), torch.get_num_threads()
    drawn, small = [space_named(space).sample(rng) for _ in range(20)], Scale(0.25, 0.25)
    torch.manual_seed(3)
    module = min(drawn, key=lambda each: each.cost(TASK, small).macs).build(TASK, small)
    images, labels = batch(4)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    generator, training = torch.get_rng_state(), module.training
    for name in SCORES:
        assert math.isfinite(score(name, module, images, labels)), name
        assert all(torch.equal(before[key], value) for key, value in module.state_dict().items()), name
        assert all(parameter.grad is None for parameter in module.parameters()), name
        assert not any(each._forward_hooks for each in module.modules()), name
    assert torch.equal(torch.get_rng_state(), generator)
    assert (module.training, torch.get_num_threads()) == (training, threads)


@pytest.mark.parametrize("name", SCORES)
def test_a_score_is_the_same_again(name: str) -> None:
    found = []
    for noise in range(2):
        torch.manual_seed(3)
        module = space_named("resnet-cifar").references["resnet20"].build(TASK)
        torch.manual_seed(noise)
        found.append(score(name, module, *batch(4)))
    assert found[0] == found[1]


def test_dropout_does_not_enter_a_score() -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 10)]
    images, labels = batch(side=8)
    plain, dropped = nn.Sequential(*layers), nn.Sequential(*layers[:3], nn.Dropout(0.9), layers[3])
    assert all(score(name, plain, images, labels) == score(name, dropped, images, labels) for name in SCORES)


def test_an_unknown_score_is_refused() -> None:
    with pytest.raises(UserError, match="unknown score 'zicco'; did you mean 'zico'"):
        score("zicco", nn.Sequential(), *batch())
