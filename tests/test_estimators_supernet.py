"""Laws of the weights that all networks of a space share, over every space, and of the estimator that trains them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from layer_examples import EXAMPLES, FLAT, MAP, OBLONG, takes_flat
from torch import nn

from estimators import ImageData, TrialContext, load_data, make_estimator
from estimators.core import Core
from estimators.shared_weights import NOTHING_NEW, SharedWeights, part, places
from estimators.steps import decayed
from estimators.supernet import Supernet
from searchspaces import (
    SPACES,
    Budget,
    Scale,
    Space,
    Stage,
    Task,
    UserError,
    choice,
    conv_head,
    conv_stem,
    mbconv,
    space_named,
)  # fmt: skip
from searchspaces.modules import build
from searchspaces.progress import watched
from searchspaces.task import Shape

SMALL = Task(image_size=32, channels=3, classes=10)
TINY = Space(
    "tiny",
    stem=Stage(conv_stem, width=choice(4, 8)),
    stages=[Stage(mbconv, width=choice(8, 16), depth=choice(1, 2), kernel=choice(3, 5), expansion=choice(1, 2))],
    head=Stage(conv_head, width=16, dropout=0.1),
).under(Budget.parse("100%"), Task(8, 1, 10))
DIGITS = load_data("digits")
FEW = ImageData.of("few", DIGITS.images[:400], DIGITS.labels[:400], DIGITS.test_images[:60], DIGITS.test_labels[:60])
SETTINGS: dict[str, Any] = {"epochs": 4, "batch": 32, "statistics": 64}


def built(network: Any) -> nn.Module:
    module = network.build(SMALL, Scale(width=0.25, depth=0.34))
    assert isinstance(module, nn.Module)
    return module


def drawn(name: str, count: int) -> list[Any]:
    rng = np.random.default_rng(0)
    return [space_named(name).sample(rng) for _ in range(count)]


@pytest.mark.parametrize("name", sorted(SPACES))
def test_a_network_computes_what_its_slice_of_the_weights_says(name: str) -> None:
    check_slices(built, drawn(name, 3), SMALL.shape)


@pytest.mark.parametrize("kind", EXAMPLES)
def test_every_layer_with_each_value_of_its_fields_has_its_slice_of_the_weights(kind: str) -> None:
    """On maps, oblong ones too, and on flat vectors where it takes them; all values share one set of weights."""
    for given in (MAP, OBLONG, FLAT):
        if given == FLAT:
            taken = [node for node in EXAMPLES[kind] if kind != "joins" and takes_flat(node)]
        else:
            taken = [] if kind == "Linear" else EXAMPLES[kind]
        if taken:
            check_slices(functools.partial(build, given=given), taken, given)


def check_slices(make: Callable[[Any], nn.Module], networks: Sequence[Any], given: Shape) -> None:
    """All parameters of each network are slices of shared weights that decay as they do, and it computes the same.

    Args:
        make: the module of a network.
        networks: what shares its weights.
        given: the shape of an input.
    """
    weights = SharedWeights(make, networks, 0)
    assert not any(each.isnan().any() for each in weights.tensors)
    of_weights = {id(each) for each in weights.decayed(0.1)[0]["params"]}
    decaying = {place for place, each in zip(weights.places, weights.tensors, strict=True) if id(each) in of_weights}
    for network in networks:
        torch.manual_seed(1)
        module = make(network).eval()
        named = places(module)
        assert set(named) == {each for each, _ in module.named_parameters()}
        assert len(set(named.values())) == len(named)  # no two parameters of a network are one weight
        alone = {id(each) for each in decayed(module, 0.1)[0]["params"]}
        assert decaying & set(named.values()) == {
            named[n] for n, each in module.named_parameters() if id(each) in alone
        }
        slices = weights.slices(module)
        images = torch.randn(2, *given)
        said = torch.func.functional_call(module, slices, (images,))
        torch.manual_seed(1)
        module = make(network).eval()  # anew: torch leaves a module that stands in two places without its parameters
        slices = weights.slices(module)
        assert weights.give(module) == (1.0 if named else 0.0)
        assert torch.equal(said, module(images))
        for parameter, own in module.named_parameters():
            assert torch.equal(own, slices[parameter])


@pytest.mark.parametrize("name", ["mbconv", "resnet", "inception", "nasnet", "shufflenet"])
def test_a_step_changes_the_slice_of_its_network_and_nothing_else(name: str) -> None:
    first, second = drawn(name, 2)
    weights = SharedWeights(built, (first, second), 0)
    module = built(first)
    torch.func.functional_call(module, weights.slices(module), (torch.randn(4, 3, 32, 32),)).square().sum().backward()
    inside = {place: module.get_parameter(parameter).shape for parameter, place in places(module).items()}
    moved = 0
    for place, tensor in zip(weights.places, weights.tensors, strict=True):
        if place not in inside:
            assert tensor.grad is None
            continue
        assert tensor.grad is not None
        outside = tensor.grad.clone()
        outside[part(tensor.shape, inside[place])] = 0
        assert not outside.any()
        moved += int(tensor.grad.any())
    assert moved > 0.5 * len(inside)


def test_wider_networks_and_larger_kernels_have_the_weights_of_smaller_ones_in_them() -> None:
    def pair(width: int, kernel: int) -> nn.Module:
        return nn.Sequential(nn.Sequential(nn.Conv2d(3, width, kernel), nn.BatchNorm2d(width), nn.Conv2d(width, 2, 1)))

    small, large = pair(4, 3), pair(8, 5)
    weights = SharedWeights(lambda each: pair(*each), [(4, 3), (8, 5)], 0)
    weights.give(small)
    weights.give(large)
    assert torch.equal(small[0][0].weight, large[0][0].weight[:4, :, 1:4, 1:4])
    assert torch.equal(small[0][1].bias, large[0][1].bias[:4])
    assert torch.equal(small[0][2].weight, large[0][2].weight[:, :4])


def test_what_no_network_has_is_drawn_and_what_comes_late_is_not_shared() -> None:
    def layer(channels: int, width: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(channels, width, 1, bias=False))

    weights = SharedWeights(lambda each: layer(*each), [(2, 8), (8, 2)], 0)
    (tensor,) = weights.tensors
    assert tensor.shape == (8, 8, 1, 1)
    assert tensor[2:, 2:].std() > 0  # the corner that neither has
    assert weights.give(layer(8, 8)) == 1.0
    assert weights.give(layer(9, 8)) == 0.0
    looked: list[int] = []
    SharedWeights(lambda each: looked.append(each) or layer(2, 2), range(1000), 0)  # type: ignore[func-returns-value]
    assert len(looked) == 1 + NOTHING_NEW


def weights_of(estimator: Supernet) -> list[torch.Tensor]:
    assert estimator._weights is not None
    return [each.detach() for each in estimator._weights.tensors]


def equal(one: Supernet, other: Supernet) -> bool:
    return all(map(torch.equal, weights_of(one), weights_of(other)))


def test_a_training_that_is_cut_ends_with_the_same_weights_and_is_done_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = str(tmp_path / "weights.safetensors")
    estimator = Supernet(FEW, **SETTINGS, save_after_s=0.0)
    whole = estimator.prepared(TINY)

    def cut(words: str) -> None:
        if "epoch 3" in words:
            raise KeyboardInterrupt

    with watched(cut), pytest.raises(KeyboardInterrupt):
        estimator.prepared(TINY, place)
    said: list[str] = []
    with watched(said.append):
        continued = estimator.prepared(TINY, place)
    epochs = [words.partition(": ")[2] for words in said if "epoch" in words]
    assert epochs[-2:] == ["epoch 3 of 4", "epoch 4 of 4"]
    assert "epoch 1 of 4" not in epochs  # it went on after a checkpoint
    assert equal(whole, continued)

    other = Supernet(FEW, **{**SETTINGS, "epochs": 1}).prepared(TINY, str(tmp_path / "other.safetensors"))
    assert not equal(whole, other)
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"no weights")
    assert equal(whole, estimator.prepared(TINY, str(damaged)))
    monkeypatch.setattr(Core, "step", None)  # nothing is trained from here on
    assert equal(whole, estimator.prepared(TINY, place))
    with pytest.raises(TypeError):
        Supernet(FEW, **{**SETTINGS, "draw": 1}).prepared(TINY, place)  # of other settings


def test_estimates_follow_from_the_weights_alone_and_are_no_accuracies() -> None:
    estimator = Supernet(FEW, **SETTINGS)
    network = TINY.sample(np.random.default_rng(0))
    with pytest.raises(UserError, match="trained by a study, or by `prepared`"):
        estimator.estimate(network, TrialContext(0))
    estimator = estimator.prepared(TINY)
    reports: list[tuple[int, float]] = []
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    found = estimator.estimate(network, TrialContext(1, report=lambda *said: reports.append(said) or True))  # type: ignore[func-returns-value]
    assert torch.equal(before, torch.random.get_rng_state())
    assert found.accuracy == estimator.estimate(network, TrialContext(2)).accuracy
    assert reports == [(1, found.accuracy)]
    assert found.curve == (found.accuracy,)
    assert found.details["shared_weights"] == 1.0
    assert found.details["prepared_s"] > 0
    assert estimator.describe()["estimates"] == "supernet accuracy, with shared weights"


def test_it_learns() -> None:
    estimator = Supernet(load_data("digits"), epochs=15).prepared(TINY)
    rng = np.random.default_rng(0)
    accuracies = [estimator.estimate(TINY.sample(rng), TrialContext(0)).accuracy for _ in range(4)]
    assert min(accuracies) > 0.4  # by chance 0.1; 0.69 to 0.75 after 30 epochs


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": 0}, "supernet: epochs must be a whole number at least 1, got 0"),
        ({"statistics": 1}, "supernet: statistics must be a whole number at least 2, got 1"),
        ({"lr": 0}, "supernet: lr must be a number above 0, got 0"),
        ({"epoch": 3}, "supernet: unknown setting 'epoch'; did you mean 'epochs'"),
    ],
)
def test_a_wrong_setting_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_estimator("supernet", FEW, **wrong)


def test_a_loss_that_is_not_finite_is_said_with_what_to_try() -> None:
    with pytest.raises(UserError, match=r"the loss of the supernet was .* try a lower --set estimator\.lr than 1e\+20"):
        Supernet(FEW, **SETTINGS, lr=1e20).prepared(TINY)
