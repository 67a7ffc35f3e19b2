"""Laws of the training core: recorded, interleaved, cut and resumed, a training ends the same to the last bit."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from layer_examples import MAP, everything
from recording import Replay
from test_estimators_training import FEW, SMALL, same, weights
from torch import nn

from estimators import (
    Estimate,
    ImageData,
    Pruned,
    ShortTraining,
    TrialContext,
    core,
    load_data,
    short_training,
    training,
)
from estimators.augmentation import Augmentation, augmented, draw
from estimators.batches import Batches, channel_statistics
from estimators.core import finished
from estimators.recipe import RECIPES, make_recipe
from estimators.steps import own_globals
from estimators.training import train
from searchspaces import Scale, Task, space_named
from searchspaces.modules import build

DIGITS = load_data("digits")
CPU = torch.device("cpu")
QUICK = {"epochs": 2, "batch": 32, "data_fraction": 0.1, "width": 0.25, "depth": 0.5}


class Every:
    """Stands for an architecture: one network of every layer with every value of its fields."""

    def build(self, task: Task, scale: Scale = Scale()) -> nn.Module:  # noqa: B008 - a frozen value
        return build(everything(), task.shape)

    def to_json(self) -> str:
        return '"everything"'


class Dropped:
    """Stands for an architecture that draws: dropout and stochastic depth."""

    def __init__(self, rate: float = 0.5) -> None:
        self.rate = rate

    def build(self, task: Task, scale: Scale = Scale()) -> nn.Module:  # noqa: B008 - a frozen value
        module = space_named("mbconv").references["efficientnet_b0"].build(task, Scale(0.25, 0.3))
        for number, each in enumerate(each for each in module.modules() if hasattr(each, "rate")):
            each.rate = 0.1 * number
        return nn.Sequential(module, nn.Dropout(self.rate))

    def to_json(self) -> str:
        return '"dropped"'


NETWORKS = {
    "mbconv": space_named("mbconv").references["mobilenetv2_100"],
    "resnet": space_named("resnet-cifar").references["resnet20"],
    "random layers": Dropped(),
    "every layer": Every(),
}
NOISE = ImageData.of(
    "noise",
    np.random.default_rng(0).integers(0, 256, (96, *MAP[1:], MAP[0]), np.uint8),
    np.arange(96) % 7,
    np.zeros((7, *MAP[1:], MAP[0]), np.uint8),
    np.arange(7),
)


def estimator(name: str, **settings) -> ShortTraining:
    if name == "every layer":
        return ShortTraining(NOISE, **{"epochs": 2, "batch": 16, "lr": 0.01, "width": 1.0, "depth": 1.0, **settings})
    return ShortTraining(DIGITS, **{**QUICK, **settings})


@pytest.fixture
def recorded(monkeypatch):
    """Steps are recorded and replayed by the stand-in; the recorders that were made."""
    monkeypatch.setattr(Replay, "made", [], raising=False)
    monkeypatch.setattr(core, "WORTH_RECORDING", 3)
    for module in (short_training, training):
        monkeypatch.setattr(module, "recorder_of", lambda device: Replay)
    return Replay.made


def outcome(estimate: Estimate) -> tuple:
    return estimate.curve, estimate.details["train_loss"]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_recorded_step_is_the_step(name, recorded, monkeypatch):
    replayed = estimator(name).estimate(NETWORKS[name], TrialContext(3, "cpu"))
    assert "cuda_graph" not in replayed.details
    assert [each.warmed for each in recorded] == [1]
    assert recorded[0].replays == 2 * (len(estimator(name).split()[0]) // estimator(name).batch)
    monkeypatch.setattr(short_training, "recorder_of", lambda device: None)
    assert outcome(replayed) == outcome(estimator(name).estimate(NETWORKS[name], TrialContext(3, "cpu")))


@pytest.mark.parametrize(
    ("name", "more", "replays"),
    [
        *((name, {}, [4, 14]) for name in RECIPES if name != "efficientnet"),
        ("efficientnet", {}, []),  # the rate of RMSProp is no tensor
        ("sgd", {"epochs": 3, "progressive": 3}, [4, 5, 9, 9]),  # recorded anew for each size
        ("sgd", {"adaptive_clip": 0.01, "clip_norm": 1.0, "dropout": 0.2, "drop_connect": 0.1}, [4, 14]),
    ],
)
def test_a_full_training_recorded_and_cut_ends_as_one_that_was_neither(
    name, more, replays, tmp_path, recorded, monkeypatch
):
    recipe = make_recipe(name, 300, **{"epochs": 2, "batch": 32, "randaugment_operations": 1, **more})

    def cut(moment):
        if moment.step == 4:  # in the first epoch, so that what goes on records with momentum already there
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(SMALL, FEW, recipe, tmp_path / "recorded", seed=4, on_moment=cut)
    train(SMALL, FEW, recipe, tmp_path / "recorded", seed=4)
    assert [each.replays for each in recorded] == replays
    monkeypatch.setattr(training, "recorder_of", lambda device: None)
    train(SMALL, FEW, recipe, tmp_path / "plain", seed=4)
    assert same(weights(tmp_path / "recorded"), weights(tmp_path / "plain"))


def test_what_cannot_be_recorded_runs_as_it_is_and_the_estimate_says_so(recorded, monkeypatch):
    monkeypatch.setattr(Replay, "refuses", "aten::index_select")
    found = estimator("random layers").estimate(NETWORKS["random layers"], TrialContext(3, "cpu"))
    assert found.details["cuda_graph"] == "not used: operation not permitted when stream is capturing"
    assert [each.replays for each in recorded] == [0]
    monkeypatch.setattr(short_training, "recorder_of", lambda device: None)
    plain = estimator("random layers").estimate(NETWORKS["random layers"], TrialContext(3, "cpu"))
    assert outcome(found) == outcome(plain)


def test_a_network_that_decides_in_python_shows_that_the_stand_in_records(recorded, monkeypatch):
    """The stand-in would be of no use if it called the step again; here the step is not a function of tensors."""

    class Counting(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner, self.count = inner, 0

        def forward(self, x):
            self.count += self.training
            return self.inner(x) * float(self.count)

    class Counted(Dropped):
        def build(self, task, scale=None):
            return Counting(NETWORKS["mbconv"].build(task, Scale(0.25, 0.3)))

    replayed = estimator("mbconv").estimate(Counted(), TrialContext(3, "cpu"))
    monkeypatch.setattr(short_training, "recorder_of", lambda device: None)
    assert outcome(replayed) != outcome(estimator("mbconv").estimate(Counted(), TrialContext(3, "cpu")))


def test_memory_that_runs_out_in_the_warm_up_halves_the_batch_that_is_recorded(recorded):
    class Full(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            if len(x) > 16:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return self.inner(x)

    class Fulled(Dropped):
        def build(self, task, scale=None):
            return Full(NETWORKS["mbconv"].build(task, Scale(0.25, 0.3)))

    found = estimator("mbconv").estimate(Fulled(), TrialContext(3, "cpu"))
    assert found.details["batch_halved"] is True
    assert recorded[0].replays == 2 * (len(estimator("mbconv").split()[0]) // 32)


def advancing(name: str, seed: int, **context):
    return estimator(name).advance(NETWORKS[name], TrialContext(seed, "cpu", **context))


def test_six_interleaved_trainings_are_what_each_is_alone():
    jobs = [*((name, 1) for name in NETWORKS), ("resnet", 2), ("random layers", 2)]
    under_way = {job: advancing(*job) for job in jobs}
    found = {}
    with own_globals(CPU, 1):
        for turn in itertools.count():
            for job in [each for each in jobs if each in under_way]:
                torch.manual_seed(turn)  # what others do with the global generator does not matter
                try:
                    next(under_way[job])
                except StopIteration as end:
                    found[job] = end.value
                    del under_way[job]
            if not under_way:
                break
    for name, seed in jobs:
        alone = estimator(name).estimate(NETWORKS[name], TrialContext(seed, "cpu"))
        assert outcome(found[name, seed]) == outcome(alone), name


@pytest.mark.parametrize("name", ["random layers", "every layer"])
def test_a_short_training_cut_between_epochs_ends_as_if_it_was_not(name, tmp_path):
    settings = {"epochs": 3, "save_after_s": 0.0}
    place = str(tmp_path / "checkpoint")
    whole = estimator(name, **settings).estimate(NETWORKS[name], TrialContext(5, "cpu"))
    cut = estimator(name, **settings).advance(NETWORKS[name], TrialContext(5, "cpu", checkpoint=place))
    steps = len(estimator(name).split()[0]) // estimator(name).batch
    with own_globals(CPU, 1):
        for _ in range(steps + 2):
            next(cut)
        cut.close()
    again = estimator(name, **settings).estimate(NETWORKS[name], TrialContext(5, "cpu", checkpoint=place))
    assert again.details["checkpoint"] == "continued after epoch 1"
    assert outcome(again) == outcome(whole)


def test_a_training_that_is_closed_between_two_steps_is_over():
    told = []
    begun = advancing("mbconv", 1, report=lambda step, accuracy: told.append(step) or step < 1)
    with own_globals(CPU, 1), pytest.raises(Pruned):
        finished(begun)
    assert told == [1]
    assert list(begun) == []


EVERYTHING = Augmentation(0.125, True, 0.25, 2, 9.0, 0.2, 1.0, 0.5)


def batches(how: Augmentation, buffer_images: int, monkeypatch, share: int = 8) -> Batches:
    import estimators.batches as module

    images = FEW.images
    monkeypatch.setattr(module, "BUFFER_BYTES", 4 * buffer_images * images[0].size)
    positions = np.arange(0, 240, 2)
    statistics = channel_statistics(images, positions)
    return Batches(images, FEW.labels, positions, how, 16, 10, lambda epoch: epoch, CPU, statistics, 0, 16 // share)


@pytest.mark.parametrize("how", [Augmentation(), Augmentation(crop=0.125, mirror=True), EVERYTHING])
def test_batches_do_not_depend_on_how_many_the_buffer_holds(how, monkeypatch):
    def taken(buffer_images):
        made, found = batches(how, buffer_images, monkeypatch), []
        for step in range(3 * made.steps):
            made.ready(step)
            rows = slice(int(made.row), int(made.row) + made.share)
            found.append((made.inputs[rows].clone(), made.targets[rows].clone()))
            made.row += made.share
        return found

    for one, other in zip(taken(1), taken(10**6), strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])


def test_an_epoch_has_each_image_at_most_once_and_processes_share_its_batches():
    positions = np.arange(100, 200)
    whole = draw(EVERYTHING, positions, 8, 16, 16, seed=1)
    assert len(set(whole.order)) == len(whole.order) == 96
    assert set(whole.order) <= set(positions)
    halves = draw(EVERYTHING, positions, 8, 16, 8, seed=1)
    assert np.array_equal(whole.order, halves.order)
    filled = draw(EVERYTHING, positions, 8, 16, 16, seed=1, fill=True)
    assert len(filled.order) == 112
    assert set(filled.order) == set(positions)
    assert np.array_equal(filled.order[100:], filled.order[:12])
    assert np.array_equal(halves.partners // 8, np.arange(96) // 8)  # mixed within a process's share
    assert not np.array_equal(draw(EVERYTHING, positions, 8, 16, 16, seed=2).order, whole.order)


def test_statistics_are_those_of_the_pixels():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3000, 5, 4, 3), np.uint8)
    positions = rng.permutation(3000)[:2500]
    mean, std = channel_statistics(images, positions)
    assert np.allclose(mean, images[positions].mean((0, 1, 2)), rtol=1e-12)
    assert np.allclose(std, images[positions].std((0, 1, 2), dtype=np.float64), rtol=1e-9)
    assert np.array_equal(channel_statistics(np.full((4, 2, 2, 1), 7, np.uint8), np.arange(4))[1], [1.0])


def test_targets_are_probabilities_where_images_are_mixed():
    draws = draw(EVERYTHING, np.arange(64), 8, 16, 16, seed=3)
    pixels, labels = torch.from_numpy(FEW.images[draws.order]), torch.from_numpy(FEW.labels[draws.order])
    _, targets = augmented(pixels, labels, draws, EVERYTHING, torch.zeros(1), torch.ones(1), 10)
    assert targets.shape == (64, 10)
    assert torch.allclose(targets.sum(1), torch.ones(64))
