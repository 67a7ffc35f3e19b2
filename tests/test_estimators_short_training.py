"""Laws of short training: it learns, it repeats itself, it leaves nothing behind, and it survives what goes wrong."""

from __future__ import annotations

import itertools
import json
import math
import pickle
import random
import subprocess
import sys
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from garbage import no_collection
from torch import nn

from estimators import (
    Diverged,
    Estimate,
    Estimator,
    ImageData,
    Pruned,
    ShortTraining,
    TrialContext,
    load_data,
    short_training,
    steps,
)
from estimators.augmentation import Augmentation
from estimators.batches import Batches
from estimators.core import Core
from searchspaces import SPACES, Budget, Scale, Space, Stage, Task, UserError, choice, conv_head, mbconv
from searchspaces.layers import Conv, Node


class Tiny:
    """Stands for an architecture: a small network with what can go wrong with determinism (dropout, batch norm)."""

    def __init__(self, wrap=lambda module: module):
        self.wrap, self.built, self.asked = wrap, [], []

    def build(self, task: Task, scale: Scale = Scale()) -> nn.Module:  # noqa: B008 - a frozen value
        module = nn.Sequential(
            nn.Conv2d(task.channels, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(0.1),
            nn.Linear(32, task.classes),
        )
        self.built.append(weakref.ref(module))
        self.asked.append((task, scale))
        return self.wrap(module)


DIGITS = load_data("digits")
SMALL = Space("small", stages=Stage(mbconv, width=choice(8, 16, 24)), head=Stage(conv_head, width=16))
QUICK = {"epochs": 2, "batch": 64, "data_fraction": 0.3}


def train(seed: int = 0, architecture=None, report=lambda step, accuracy: True, data=DIGITS, **settings) -> Estimate:
    estimator = ShortTraining(data, **{**QUICK, **settings})
    return estimator.estimate(architecture or Tiny(), TrialContext(seed, "cpu", report))


def test_decent_mbconv_candidates_reach_95_percent_on_digits():
    reference = SPACES["mbconv"]().references["mobilenetv2_100"]
    estimate = ShortTraining(DIGITS).estimate(reference, TrialContext(seed=0, device="cpu"))
    assert estimate.accuracy > 0.95  # the promise of the first show: the best of a search is above it


def test_a_tiny_network_learns_and_its_curve_is_reported_step_by_step():
    seen = []
    estimate = train(epochs=12, data_fraction=1.0, report=lambda *step: seen.append(step) or True)
    assert estimate.accuracy > 0.7  # chance is 0.1
    assert seen == list(enumerate(estimate.curve, start=1))
    assert estimate.accuracy == estimate.curve[-1]
    assert estimate.details["device"] == "cpu"
    json.dumps(dict(estimate.details))


def globals_now() -> list[bytes | int]:
    return [
        torch.get_rng_state().numpy().tobytes(),
        repr(np.random.get_state()).encode(),
        repr(random.getstate()).encode(),
        torch.get_num_threads(),
    ]


def test_the_seed_is_the_only_randomness_and_the_globals_are_left_alone():
    torch.manual_seed(0)
    first = train(seed=5)
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        before = globals_now()
        again = train(seed=5)
        assert globals_now() == before
    finally:
        torch.set_num_threads(threads)
    assert again.curve == first.curve
    assert again.details == first.details  # the training loss, to the last bit
    assert train(seed=6).details != first.details


def test_another_process_trains_the_same_and_loads_neither_scikit_learn_nor_torchs_compiler():
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from test_estimators_short_training import train\n"
        "print(repr(train(seed=5).details['train_loss']), {'sklearn', 'torch._dynamo'} & sys.modules.keys())"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loss, loaded = said.stdout.split()
    assert float(loss) == train(seed=5).details["train_loss"]
    assert loaded == "set()"


def test_an_estimator_that_travelled_to_a_worker_trains_the_same():
    estimator = ShortTraining(DIGITS, **QUICK)
    travelled = pickle.loads(pickle.dumps(estimator))
    assert travelled.describe() == estimator.describe()
    assert travelled.estimate(Tiny(), TrialContext(3, "cpu")).details == train(seed=3).details
    pruned = pickle.loads(pickle.dumps(Pruned((0.1, 0.2), 1.5)))
    assert (pruned.curve, pruned.seconds) == ((0.1, 0.2), 1.5)


def test_the_globals_are_left_alone_when_a_trial_fails():
    before = globals_now()
    with pytest.raises(Pruned):
        train(report=lambda step, accuracy: False)
    assert globals_now() == before


def test_a_report_that_says_stop_prunes_at_once_except_after_the_last_epoch():
    with pytest.raises(Pruned) as pruned:
        train(epochs=4, report=lambda step, accuracy: step < 2)
    assert len(pruned.value.curve) == 2
    assert pruned.value.accuracy == pruned.value.curve[-1]
    assert pruned.value.seconds > 0
    assert "after epoch 2" in str(pruned.value)
    assert len(train(epochs=2, report=lambda step, accuracy: step < 2).curve) == 2


class Poisoned(nn.Module):
    """Gives NaN in training or in validation."""

    def __init__(self, module: nn.Module, when_training: bool):
        super().__init__()
        self.module, self.when = module, when_training

    def forward(self, x):
        logits = self.module(x)
        return logits * float("nan") if self.training is self.when else logits


@pytest.mark.parametrize(("when_training", "message"), [(True, "loss was nan in epoch 1"), (False, "logits were not")])
def test_what_is_not_finite_diverges(when_training, message):
    with pytest.raises(Diverged, match=message):
        train(architecture=Tiny(lambda module: Poisoned(module, when_training)))


class Full(nn.Module):
    """Runs out of memory on more than so many images at a time."""

    def __init__(self, module: nn.Module, room: int, error: Exception, sizes: list[int]):
        super().__init__()
        self.module, self.room, self.error, self.sizes = module, room, error, sizes

    def forward(self, x):
        self.sizes.append(len(x))
        if len(x) > self.room:
            raise self.error
        return self.module(x)


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory."),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
    RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
    MemoryError(),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
def test_out_of_memory_halves_the_batch_once_and_goes_on(error):
    sizes: list[int] = []
    reported: list[int] = []
    estimate = train(
        architecture=Tiny(lambda module: Full(module, 32, error, sizes)),
        report=lambda step, accuracy: reported.append(step) or True,
    )
    assert sizes[:3] == [64, 32, 32]
    assert max(sizes[1:]) == 32
    assert estimate.details["batch_halved"] is True
    assert reported == [1, 2]  # no epoch is told twice


def test_a_batch_that_is_too_large_to_be_judged_is_not_too_large_to_be_learned_from():
    class FullOnce(Full):
        """Has no room in its first validation."""

        def forward(self, x):
            self.room = 32 if not self.training and max(self.sizes) > 32 and 32 not in self.sizes else 64
            return super().forward(x)

    sizes: list[int] = []
    found = train(architecture=Tiny(lambda module: FullOnce(module, 64, MemoryError(), sizes)))
    assert 32 in sizes
    assert found.details["batch_halved"] is False
    assert found.accuracy == train(architecture=Tiny(lambda module: module)).accuracy


def test_out_of_memory_twice_and_other_errors_fail_the_trial():
    with pytest.raises(torch.OutOfMemoryError):
        train(architecture=Tiny(lambda module: Full(module, 31, OUT_OF_MEMORY[0], [])))
    with pytest.raises(RuntimeError, match="shapes"):
        train(architecture=Tiny(lambda module: Full(module, 32, RuntimeError("shapes differ"), [])))


def test_two_halves_give_the_gradient_of_the_whole():
    def after(micro):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))  # without batch norm, which sees halves
        statistics = np.full(1, 120.0), np.full(1, 60.0)
        images, labels, positions, cpu = DIGITS.images, DIGITS.labels, np.arange(7), torch.device("cpu")
        batches = Batches(images, labels, positions, Augmentation(), 7, 10, lambda epoch: 0, cpu, statistics)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=True)
        core = Core(model, optimizer, batches, np.array([0.1]), 0.1, lambda step: 0)
        core.memory.micro = micro
        core.step()
        return model[1].weight.detach(), core.take_loss()

    (whole, loss), (halves, again) = after(7), after(4)
    assert torch.allclose(whole, halves, atol=1e-6)
    assert loss == pytest.approx(again, rel=1e-6)


@pytest.mark.parametrize("ending", ["whole", "pruned", "failed"])
@no_collection()
def test_the_network_does_not_outlive_its_trial(ending):
    architecture = Tiny(lambda module: Full(module, 0, RuntimeError("broken"), []) if ending == "failed" else module)
    held = None
    try:
        train(architecture=architecture, report=lambda step, accuracy: ending == "whole")
    except (Pruned, RuntimeError) as error:
        held = error  # as an engine holds it while it writes the trial down
    assert (held is None) == (ending == "whole")
    assert architecture.built[0]() is None


def test_the_test_part_is_never_read():
    unreadable = object()
    data = ImageData(
        **{
            name: getattr(DIGITS, name) for name in ("name", "images", "labels", "class_names", "mirror", "fingerprint")
        },
        test_part="own",
        test_images=unreadable,  # type: ignore[arg-type]
        test_labels=unreadable,  # type: ignore[arg-type]
    )
    assert train(data=data).curve == train().curve


def test_training_and_validation_share_no_image_and_are_fixed_by_the_split_seed():
    estimator = ShortTraining(DIGITS, data_fraction=0.5, val_fraction=0.25)
    train_part, val_part = estimator.split()
    assert not set(train_part) & set(val_part)
    assert len(val_part) == pytest.approx(
        0.25 * 0.5 * len(DIGITS.labels), abs=10
    )  # half an image for each class, twice
    again, other = ShortTraining(DIGITS, **{**QUICK, "epochs": 9}), ShortTraining(DIGITS, **QUICK, split_seed=1)
    assert np.array_equal(again.split()[1], ShortTraining(DIGITS, **QUICK).split()[1])
    assert not np.array_equal(again.split()[1], other.split()[1])


def test_big_sets_are_cut_to_4000_images_unless_told_otherwise():
    labels = np.arange(9000) % 3
    data = ImageData.of("big", np.zeros((9000, 4, 4), np.uint8), labels, np.zeros((3, 4, 4), np.uint8), np.arange(3))
    described = ShortTraining(data).describe()
    assert described["train_images"] + described["val_images"] == pytest.approx(4000, abs=3)
    assert ShortTraining(data, data_fraction=1.0).describe()["train_images"] == 7200


def test_the_proxy_shrinks_the_candidate_and_says_so():
    architecture = Tiny()
    estimator = ShortTraining(DIGITS, **QUICK, image_size=12, width=0.5, depth=0.25)
    estimator.estimate(architecture, TrialContext(0, "cpu"))
    assert architecture.asked == [(Task(12, 1, 10), Scale(0.5, 0.25))]
    described = estimator.describe()
    assert isinstance(estimator, Estimator)
    assert json.loads(json.dumps(described)) == described
    assert {
        "image_size": 12,
        "width": 0.5,
        "depth": 0.25,
        "epochs": 2,
        "data_fraction": 0.3,
    }.items() <= described.items()
    assert described["data"]["fingerprint"] == DIGITS.resized(12).fingerprint


@pytest.mark.parametrize(
    "change", [{"lr": 0.2}, {"split_seed": 1}, {"mirror": True}, {"image_size": 12}, {"threads": 2}]
)
def test_a_changed_setting_changes_the_description_and_the_device_does_not(change):
    assert ShortTraining(DIGITS, **change).describe() != ShortTraining(DIGITS).describe()
    assert ShortTraining(DIGITS, device="cpu").describe() == ShortTraining(DIGITS).describe()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be a whole number at least 1, got 0"),
        ({"epochs": 1.5}, "epochs must be a whole number"),
        ({"epochs": True}, "epochs must be a whole number"),
        ({"lr": 0.0}, "lr must be a number above 0"),
        ({"lr": float("nan")}, "lr must be a number above 0"),
        ({"width": "0.5"}, "width must be a number"),
        ({"val_fraction": 0.6}, "above 0 and at most 0.5, got 0.6"),
        ({"data_fraction": 0.0}, "data_fraction"),
        ({"crop": 0.6}, "at least 0 and at most 0.5"),
        ({"device": "gpu"}, "unknown device 'gpu'; did you mean 'cuda'"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        ShortTraining(DIGITS, **settings)


def test_a_device_that_is_not_there_is_refused():
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    for name in (name for name, is_there in there.items() if not is_there):
        elsewhere = ShortTraining(DIGITS, **QUICK, device=name)  # where it may be
        with pytest.raises(UserError, match=f"no device '{name}' here; available: .*cpu"):
            elsewhere.estimate(Tiny(), TrialContext(0))
        with pytest.raises(UserError, match=f"no device '{name}' here; available: .*cpu"):
            ShortTraining(DIGITS, **QUICK).estimate(Tiny(), TrialContext(0, name))
    with pytest.raises(UserError, match="unknown device 'gpu'"):
        steps.find_device("gpu")


def test_weight_decay_is_for_convolution_and_linear_weights_only():
    module = Tiny().build(Task(8, 1, 10))
    decayed, rest = steps.decayed(module, 5e-4)
    assert [decayed["weight_decay"], rest["weight_decay"]] == [5e-4, 0.0]
    assert {id(each) for each in decayed["params"]} == {id(module[index].weight) for index in (0, 3, 8)}
    assert len(decayed["params"]) + len(rest["params"]) == len(list(module.parameters()))


def test_the_learning_rate_rises_linearly_to_its_peak_and_falls_on_a_cosine():
    rates = list(steps.learning_rates(100, 0.2))
    assert np.allclose(np.diff(rates[:20]), 0.05)
    assert max(rates) == rates[19] == rates[20] == 1.0
    assert all(earlier > later for earlier, later in itertools.pairwise(rates[20:]))
    assert rates[60] == pytest.approx(0.5)
    assert 0 < rates[-1] < 0.001
    assert steps.learning_rates(10, 0.0)[0] == 1.0
    assert list(steps.learning_rates(2, 1.0)) == [0.5, 1.0]


def test_candidates_are_shrunken_only_as_far_as_they_must_be():
    """Small networks are trained whole; of mbconv's under 400M MACs at 224 pixels, half cost more than 8M at 8 pixels
    at half of their width and depth, and no smaller factors are offered than a quarter and a half."""
    estimator = ShortTraining(DIGITS, device="cpu")
    assert estimator.suited(SMALL) == {"width": 1.0, "depth": 1.0, "adjusted": True}
    large = SPACES["mbconv"]().under(Budget.parse("400M"), Task(224))
    assert estimator.suited(large) == {"width": 0.25, "depth": 0.5, "adjusted": True}
    rng = np.random.default_rng(1)
    halves = [large.sample(rng).cost(DIGITS.task, Scale(0.5, 0.5)).macs for _ in range(50)]
    assert np.median(halves) > short_training.ENOUGH_MACS


def test_on_a_gpu_the_same_seconds_buy_whole_candidates_and_more_images(monkeypatch):
    large = SPACES["mbconv"]().under(Budget.parse("400M"), Task(224))
    labels = np.arange(20_000) % 3
    data = ImageData.of("big", np.zeros((20_000, 8, 8), np.uint8), labels, np.zeros((3, 8, 8), np.uint8), np.arange(3))
    chosen = ShortTraining(data, device="cuda").suited(large)
    assert chosen == {"width": 1.0, "depth": 1.0, "adjusted": True, "batch": 64, "data_fraction": 0.4}
    assert ShortTraining(data, **chosen).describe()["train_images"] == pytest.approx(6400, abs=3)


def test_a_training_that_ends_or_diverges_while_bfloat16_is_measured_says_nothing_of_it(monkeypatch):
    few = ImageData.of("few", DIGITS.images[:60], DIGITS.labels[:60], DIGITS.test_images[:9], DIGITS.test_labels[:9])
    drawn = [SMALL.sample(np.random.default_rng(0))]
    short = ShortTraining(few, device="cpu", width=1.0, depth=1.0, data_fraction=1.0, epochs=1)
    assert short._gain_of_bf16(drawn, Scale()) == 0.0

    def diverges(*given):
        yield
        raise Diverged("the training loss was nan")

    monkeypatch.setattr(ShortTraining, "advance", diverges)
    assert short._gain_of_bf16(drawn, Scale()) == 0.0


def test_bfloat16_is_chosen_where_a_cpu_has_it_and_is_faster_with_it(monkeypatch):
    estimator = ShortTraining(DIGITS, device="cpu")
    for there, gain, chosen in ((True, 1.5, {"precision": "bf16"}), (True, 1.1, {}), (False, 1.5, {})):
        monkeypatch.setattr(short_training, "has_bf16", lambda there=there: there)
        monkeypatch.setattr(ShortTraining, "_gain_of_bf16", lambda *given, gain=gain: gain)
        assert estimator.suited(SMALL) == {"width": 1.0, "depth": 1.0, "adjusted": True, **chosen}
    monkeypatch.undo()
    drawn = [SMALL.sample(np.random.default_rng(0))]
    assert estimator._gain_of_bf16(drawn, Scale()) > 0  # it would be 0 if the steps could not be taken
    clock = [0.0]

    def advance(training, architecture, context):
        while True:
            clock[0] += {"fp32": 3.0, "bf16": 2.0}[training.precision]
            yield

    monkeypatch.setattr(ShortTraining, "advance", advance)
    monkeypatch.setattr(short_training, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    assert estimator._gain_of_bf16(drawn, Scale()) == 1.5


def test_in_bfloat16_grouped_convolutions_stay_in_float32_and_accuracies_are_those_of_float32():
    seen = []

    class Watched(Tiny):
        def build(self, task, scale=None):
            module = nn.Sequential(
                nn.Conv2d(task.channels, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                nn.Linear(8, task.classes),
            )  # fmt: skip
            for name, each in module.named_children():
                each.register_forward_hook(lambda _, given, out, name=name: seen.append((name, out.dtype)))
            return module

    one = train(architecture=Watched(), precision="bf16")
    first, last = dict(seen[:5]), dict(seen[-5:])  # a step of training, and a batch of validation images
    assert (first["0"], first["1"], first["4"]) == (torch.bfloat16, torch.float32, torch.bfloat16)
    assert set(last.values()) == {torch.float32}
    other = train(architecture=Watched(), precision="fp32")
    assert one.details["train_loss"] == pytest.approx(other.details["train_loss"], rel=0.02)
    assert one.details != other.details
    with pytest.raises(UserError, match="unknown precision 'bf61'; did you mean 'bf16'"):
        ShortTraining(DIGITS, precision="bf61")


def test_balanced_accuracy_counts_each_class_alike():
    """A class of 300 images and one of 30, and a network that always says the first."""

    class First(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            logits = self.inner(x)
            return logits if self.training else logits * 0 + torch.tensor([1.0, 0.0])

    labels = np.array([0] * 300 + [1] * 30)
    data = ImageData.of("uneven", DIGITS.images[:330], labels, DIGITS.images[:20], np.arange(20) % 2)
    first = (data.labels[ShortTraining(data, data_fraction=1.0).split()[1]] == 0).mean()
    assert first > 0.85
    assert train(architecture=Tiny(First), data=data, data_fraction=1.0).accuracy == pytest.approx(first)
    balanced = train(architecture=Tiny(First), data=data, data_fraction=1.0, metric="balanced", adjusted=True)
    assert balanced.accuracy == 0.5
    judged = np.bincount(data.labels[ShortTraining(data, data_fraction=1.0).split()[1]])
    assert balanced.details["balanced_images"] == balanced.details["val_images"]
    assert balanced.details["balanced_images"] == pytest.approx(4 / (1 / judged).sum(), abs=1)
    assert "metric" not in ShortTraining(data).describe()
    assert ShortTraining(data, metric="balanced").describe()["metric"] == "balanced"
    with pytest.raises(UserError, match="unknown metric 'balance'; did you mean 'balanced'"):
        ShortTraining(data, metric="balance")


def test_the_training_loss_as_the_estimate_is_that_of_the_same_training():
    """It is of the last epoch's steps, and the validation accuracy at the end is known besides."""
    usual, reports = train(epochs=3), []
    found = train(epochs=3, metric="training-loss", report=lambda step, value: reports.append((step, value)) is None)
    assert found.accuracy == math.exp(-usual.details["train_loss"]) == found.curve[-1]
    assert found.details == {**usual.details, "likelihood": found.accuracy, "val_accuracy": usual.accuracy}
    assert reports == list(enumerate(found.curve, start=1))
    assert sorted(found.curve) == list(found.curve)  # digits are learned in three epochs
    settings = ShortTraining(DIGITS, metric="training-loss").describe()
    assert settings == {
        **ShortTraining(DIGITS).describe(),
        "metric": "training-loss",
        "estimates": "training likelihood, not accuracy",
    }


def test_images_too_small_for_most_networks_shrink_nothing_away():
    """Where a network cannot be built its trial says why; what is chosen here must not be what fails."""
    few = Space("few", stages=Stage(large_steps, width=choice(8, 16)), head=Stage(conv_head, width=16), smallest_map=1)
    assert ShortTraining(DIGITS, device="cpu").suited(few) == {
        **dict(zip(("width", "depth"), short_training.SHRUNKEN[-1], strict=True)),
        "adjusted": True,
    }


def large_steps(c_in: int, width: int, stride: int) -> Node:
    """Takes no image of 8 pixels."""
    return Conv(width, 16, stride=stride, padding=0)


@pytest.mark.parametrize("name", ["SGD", "AdamW"])
def test_an_optimizer_that_is_quick_to_load_takes_the_steps_of_torchs_own(name):
    def weights(kind):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Linear(7, 3))
        optimizer = kind(model.parameters(), lr=0.1, weight_decay=0.01)
        for step in range(4):
            if step == 2:
                state = optimizer.state_dict()
                optimizer = kind(model.parameters(), lr=0.1, weight_decay=0.01)
                optimizer.load_state_dict(state)
            optimizer.zero_grad()
            model(torch.randn(2, 5)).square().mean().backward()
            optimizer.step()
        return [each.detach() for each in model.parameters()]

    theirs = getattr(torch.optim, name)
    for one, other in zip(weights(theirs), weights(steps.quick_to_load(theirs)), strict=True):
        assert torch.equal(one, other)
