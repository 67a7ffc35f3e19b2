"""Laws of what a network gets for its training only: initial weights, dropout of the classifier, clipped gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from estimators.regularization import clip_by_unit, clipper, drop_before_classifier, initialize
from estimators.schedules import SCHEDULES, rates
from searchspaces import Task, UserError, classic


def network(name="resnet20"):
    torch.manual_seed(0)
    return classic(name).build(Task(32, 3, 10))


def test_no_unit_moves_by_more_than_its_share_and_small_gradients_are_left_alone():
    model = network()
    for number, each in enumerate(model.parameters()):
        each.grad = torch.randn_like(each) * 10.0 ** (number % 5 - 4)
    before = {name: each.grad.clone() for name, each in model.named_parameters()}
    clip = clipper(model, 0.01, 0.0)
    assert clip is not None
    clip()
    classifier = next(name for name, each in model.named_modules() if isinstance(each, nn.Linear))
    clipped = 0
    for name, each in model.named_parameters():
        now, then = each.grad, before[name]
        if name.startswith(classifier):
            assert torch.equal(now, then)
            continue
        units = zip(each.detach(), now, then, strict=True) if each.ndim > 1 else [(each.detach(), now, then)]
        for weight, unit, was in units:
            bound = 0.01 * max(float(weight.norm()), 1e-3)
            assert float(unit.norm()) <= bound * 1.0001
            if float(was.norm()) <= bound:
                torch.testing.assert_close(unit, was)
            else:
                clipped += 1
                torch.testing.assert_close(unit / unit.norm(), was / was.norm())  # its direction stays
    assert clipped > 100


@pytest.mark.parametrize("name", ["resnet20", "squeezenet1_1", "nin", "all_cnn", "mobilenetv3_small_100"])
def test_the_layer_that_gives_the_logits_is_not_clipped_by_unit(name):
    model = network(name)
    for each in model.parameters():
        each.grad = torch.full_like(each, 10.0)
    clip = clipper(model, 0.01, 0.0)
    assert clip is not None
    clip()
    kept = {key.rpartition(".")[0] for key, each in model.named_parameters() if bool((each.grad == 10.0).all())}
    layers = {key: each for key, each in model.named_modules() if isinstance(each, nn.Linear | nn.Conv2d)}
    (last,) = kept
    assert last == [*layers][-1]
    assert layers[last].weight.shape[0] == 10  # classes


def test_the_gradient_of_all_weights_is_bounded():
    model = network()
    for each in model.parameters():
        each.grad = torch.randn_like(each)
    clip = clipper(model, 0.0, 0.5)
    assert clip is not None
    clip()
    assert math.hypot(*(float(each.grad.norm()) for each in model.parameters())) == pytest.approx(0.5, rel=1e-4)
    assert clipper(model, 0.0, 0.0) is None


def test_a_unit_of_zeros_can_move():
    weight = nn.Parameter(torch.zeros(2, 3))
    weight.grad = torch.ones(2, 3)
    clip_by_unit([weight], 0.1)
    torch.testing.assert_close(weight.grad.norm(dim=1), torch.full((2,), 1e-4))


@pytest.mark.parametrize(
    ("name", "deviation"),
    [("xavier", lambda into, out: math.sqrt(2 / (into + out))), ("he", lambda into, out: math.sqrt(2 / into))],
)
def test_initial_weights_have_the_deviation_of_their_paper(name, deviation):
    model = network("resnet56")
    initialize(model, name)
    for each in model.modules():
        if isinstance(each, nn.Conv2d) and each.weight.numel() > 5000:
            area = each.kernel_size[0] * each.kernel_size[1]
            expected = deviation(each.in_channels * area, each.out_channels * area)
            assert float(each.weight.detach().std()) == pytest.approx(expected, rel=0.05)
            assert abs(float(each.weight.detach().mean())) < expected / 10


@pytest.mark.parametrize("name", ["resnet20", "mobilenetv2_100", "alexnet"])
def test_what_is_dropped_is_dropped_in_training_alone(name):
    task = Task(64, 3, 10) if name != "alexnet" else Task(224, 3, 10)
    torch.manual_seed(0)
    model = classic(name).build(task).eval()
    images = torch.randn(2, *task.shape)
    names, logits = list(model.state_dict()), model(images)
    drop_before_classifier(model, 0.5, 0.25)
    assert list(model.state_dict()) == names
    assert torch.equal(model.eval()(images), logits)
    assert all(each.p in (0.5, 0.25, 0.0) for each in model.modules() if isinstance(each, nn.Dropout))
    last = [each for each in model.modules() if isinstance(each, nn.Linear)][-1].train()
    ones = torch.ones(400, last.in_features)
    with torch.no_grad():
        last.weight.fill_(1.0)
        last.bias.fill_(0.0)
        mean = float(last(ones).mean()) / last.in_features
    assert mean == pytest.approx(1.0, abs=0.1)  # what is left is scaled up
    assert last(ones).unique().numel() >= 10


def test_a_network_that_has_dropout_keeps_its_places():
    model = classic("mobilenetv2_100").build(Task(64, 3, 10))
    before = [name for name, each in model.named_modules() if isinstance(each, nn.Dropout)]
    drop_before_classifier(model, 0.4, 0.0)
    assert [name for name, each in model.named_modules() if isinstance(each, nn.Dropout)] == before
    with pytest.raises(UserError, match="this network has none"):
        drop_before_classifier(nn.Sequential(nn.Conv2d(3, 10, 1)), 0.4, 0.0)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_rate_rises_to_its_peak_and_never_above(schedule):
    found = rates(schedule, 1000, 10, 0.05)
    assert found.shape == (1000,)
    assert found.max() == pytest.approx(1.0)
    assert (found > 0).all()
    assert (found[1:50] > found[:49]).all()
    assert (found[51:] <= found[50:-1]).all()


def test_exponential_falls_as_printed():
    found = rates("exponential", 350 * 10, 10, 0.0)
    assert found[24 * 10] == pytest.approx(0.97**10)
    assert found[-1] == pytest.approx(0.97 ** (349.9 // 2.4))
