"""Laws of full training: what is cut goes on to the last bit, the test part is seen once, a folder opens again."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from processes import run_two
from safetensors.torch import load_file, save_file

from estimators import ImageData, checkpoint, load_data, training
from estimators.averaging import WeightAverage
from estimators.estimator import Diverged
from estimators.progressive import share
from estimators.recipe import RECIPES, Recipe, images_of, make_recipe, why_fitted
from estimators.schedules import kept
from estimators.trained import Trained
from estimators.training import train
from estimators.views import probabilities
from searchspaces import Scale, Scaled, Task, UserError, classic, space_named

DIGITS = load_data("digits")
FEW = ImageData.of("few", DIGITS.images[:300], DIGITS.labels[:300], DIGITS.test_images[:60], DIGITS.test_labels[:60])
QUICK = {"epochs": 2, "batch": 64, "data_fraction": 0.8, "randaugment_operations": 1}
SMALL = Scaled(space_named("resnet-cifar").references["resnet20"], Scale(width=0.25, depth=0.34), Task(32))
"""With stochastic depth; a step takes an eighth of the time that one of `DEPTHWISE` takes."""
DEPTHWISE = Scaled(space_named("mbconv").references["mobilenetv2_100"], Scale(width=0.25, depth=0.3), Task(224))
"""With a dropout layer of its own and depthwise convolutions, too."""


ALL = {"adaptive_clip": 0.01, "clip_norm": 1.0, "dropout": 0.3, "drop_connect": 0.2, "initialization": "xavier"}
WAYS = {
    **{name: make_recipe(name, 300, **QUICK) for name in RECIPES},
    "all of regularization": make_recipe("sgd", **QUICK, **ALL),
    **{name: make_recipe("sgd", **QUICK, optimizer=name, lr=0.01) for name in ("adam", "adagrad", "adadelta")},
    "progressive": make_recipe("sgd", **{**QUICK, "epochs": 3}, progressive=3),
    "plateau": make_recipe("sgd", **{**QUICK, "epochs": 4}, lr=1e-6, ema=0.0, schedule="plateau", patience=1),
    "ends early": make_recipe("sgd", **{**QUICK, "epochs": 9}, lr=1e-6, ema=0.0, stop_after=2),
}


def network_of(name):
    return DEPTHWISE if name == "all of regularization" else SMALL


def weights(folder):
    return {name: load_file(folder / f"{name}.safetensors") for name in ("best", "last")}


def same(one, other):
    return all(torch.equal(one[which][name], other[which][name]) for which in one for name in one[which])


class Cut(Exception):  # noqa: N818
    """Stands for a kill: nothing after it is done."""


def cut_after(step):
    def on_moment(moment):
        if moment.step == step:
            raise Cut

    return on_moment


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """Each recipe trained in one go: the folder and what was opened from it."""
    folders = {name: tmp_path_factory.mktemp("way") / "whole" for name in WAYS}
    return {name: train(network_of(name), FEW, WAYS[name], folder, seed=4) for name, folder in folders.items()}


@pytest.mark.parametrize("name", WAYS)
def test_a_training_cut_at_any_step_ends_with_the_same_weights(unbroken, tmp_path, name):
    network, recipe, folder = network_of(name), WAYS[name], tmp_path / "cut"
    for step in (1, 2, 4, 7):  # of 8, 4 an epoch: mid-epoch, between two, and before anything was kept
        with pytest.raises(Cut):
            train(network, FEW, recipe, folder, seed=4, checkpoint_s=0 if step > 1 else 1e9, on_moment=cut_after(step))
        np.random.seed(step)  # and nobody's generators matter
        torch.manual_seed(step)
    trained = train(network, FEW, recipe, folder, seed=4)
    assert same(weights(folder), weights(unbroken[name].folder))
    for key in ("test_accuracy", "val_accuracy", "best_epoch"):
        assert trained.facts[key] == unbroken[name].facts[key]
    assert trained.facts["curve"][-1]["train_loss"] == unbroken[name].facts["curve"][-1]["train_loss"]
    assert not (folder / "checkpoint.safetensors").exists()


def test_a_training_that_no_longer_improves_ends_and_a_rate_falls_where_its_schedule_says(unbroken):
    curve = unbroken["ends early"].facts["curve"]
    assert 3 <= len(curve) < 9
    assert max(each["val_accuracy"] for each in curve[:-2]) >= max(each["val_accuracy"] for each in curve[-2:])
    assert len(unbroken["plateau"].facts["curve"]) == 4


def test_what_is_kept_is_of_the_last_epoch_within_a_standard_error_of_the_best(unbroken):
    for name, trained in unbroken.items():
        curve = trained.facts["curve"]
        _, val = training.split(FEW, WAYS[name])
        place = kept(curve, len(val))
        assert (trained.facts["best_epoch"], trained.facts["val_accuracy"]) == (place + 1, curve[place]["val_accuracy"])
        found = trained.logits(FEW.images[val]).argmax(1)
        assert (found == FEW.labels[val]).mean() == pytest.approx(trained.facts["val_accuracy"])
    curves = np.random.default_rng(0).uniform(0.3, 1.0, (50, 9))
    for images in (10, 100, 10**9):
        for values in curves:
            place = kept([{"val_accuracy": each} for each in values], images)
            assert place >= values.argmax()
            assert values[place] >= values.max() - 0.5 / images**0.5 - 1e-9  # no error of a share is larger
            assert place == values.argmax() or images < 10**9


def test_a_checkpoint_from_before_goes_on_with_the_weights_that_it_holds(tmp_path):
    """It has those of the epoch that validated best, and does not say so."""
    recipe = make_recipe("sgd", **{**QUICK, "epochs": 4}, ema=0.0)
    with pytest.raises(Cut):
        train(SMALL, FEW, recipe, tmp_path, seed=4, checkpoint_s=0, on_moment=cut_after(4 * 2))
    tensors, state = checkpoint.load(str(tmp_path / "checkpoint.safetensors"))
    assert len(state["curve"]) == 2
    state.pop("kept")
    state["curve"][0]["val_accuracy"] = 1.0  # so that nothing later is within an error of it
    checkpoint.save(str(tmp_path / "checkpoint.safetensors"), tensors, state)
    trained = train(SMALL, FEW, recipe, tmp_path, seed=4)
    assert trained.facts["best_epoch"] == 1
    best = {name.removeprefix("best."): value for name, value in tensors.items() if name.startswith("best.")}
    assert all(torch.equal(value, best[name]) for name, value in weights(tmp_path)["best"].items())


TOGETHER = """
import sys, torch.distributed as dist
from test_estimators_training import FEW, QUICK, SMALL, Cut, cut_after, make_recipe, train
rank, place = sys.argv[1:]
dist.init_process_group("gloo", init_method=f"file://{place}/meet", rank=int(rank), world_size=2)
for folder, cut in (("whole", 0), ("cut", 2), ("cut", 0)):
    try:
        train(SMALL, FEW, make_recipe("sgd", **QUICK), f"{place}/{folder}", 4, checkpoint_s=0, on_moment=cut_after(cut))
    except Cut:
        dist.barrier()
dist.destroy_process_group()
"""


def test_two_processes_that_train_together_are_cut_and_end_the_same(tmp_path):
    run_two(TOGETHER, tmp_path)
    whole, cut = Trained.open(tmp_path / "whole"), Trained.open(tmp_path / "cut")
    assert same(weights(whole.folder), weights(cut.folder))
    assert whole.facts["workers"] == 2
    assert [each["train_loss"] for each in whole.facts["curve"]] == [each["train_loss"] for each in cut.facts["curve"]]
    told = whole.logits(FEW.test_images).argmax(1)
    assert (told == FEW.test_labels).mean() == pytest.approx(whole.facts["test_accuracy"])
    unfinished = json.loads((whole.folder / "training.json").read_text()) | {"finished": False}
    (whole.folder / "training.json").write_text(json.dumps(unfinished))
    with pytest.raises(UserError, match="workers was 2 when the training began and is 1 now"):
        train(SMALL, FEW, make_recipe("sgd", **QUICK), whole.folder, 4)


def test_an_interrupt_between_two_steps_loses_none(unbroken, tmp_path):
    def interrupt(moment):
        if moment.step == 2:
            raise KeyboardInterrupt

    done = []
    with pytest.raises(KeyboardInterrupt):
        train(SMALL, FEW, make_recipe("sgd", **QUICK), tmp_path / "x", seed=4, on_moment=interrupt)
    train(SMALL, FEW, make_recipe("sgd", **QUICK), tmp_path / "x", seed=4, on_moment=lambda at: done.append(at.step))
    assert done == [3, 4, 5, 6, 7, 8]
    assert same(weights(tmp_path / "x"), weights(unbroken["sgd"].folder))


def test_a_seed_is_the_only_randomness(tmp_path):
    recipe, found = make_recipe("sgd", **QUICK | {"epochs": 1, "data_fraction": 0.4}), []
    for shaken, seed in enumerate((4, 4, 5)):
        for shake in (random.seed, np.random.seed, torch.manual_seed):
            shake(shaken)
        found.append(weights(train(SMALL, FEW, recipe, tmp_path / str(shaken), seed).folder))
    assert same(found[0], found[1])
    assert not same(found[0], found[2])


def test_a_finished_training_is_opened_and_not_trained_again(unbroken):
    def never(moment):
        raise AssertionError

    whole = unbroken["sgd"]
    again = train(SMALL, FEW, make_recipe("sgd", **QUICK), whole.folder, seed=4, on_moment=never)
    assert again.facts == whole.facts


def test_what_was_trained_opens_again_and_does_what_its_facts_say(unbroken):
    whole = unbroken["sgd"]
    opened = Trained.open(whole.folder)
    assert opened.network.architecture == SMALL.architecture
    assert opened.network.scale == SMALL.scale
    assert opened.task == FEW.task
    assert opened.class_names == FEW.class_names
    told = opened.logits(FEW.test_images).argmax(1)
    assert (told == FEW.test_labels).mean() == pytest.approx(opened.facts["test_accuracy"])
    assert not opened.module("last").training
    val = FEW.images[training.split(FEW, make_recipe("sgd", **QUICK))[1]]
    scaled = opened.scaled_images(val)
    assert scaled.shape == (len(val), 1, 8, 8)
    assert torch.allclose(scaled * opened.std[0] + opened.mean[0], torch.from_numpy(val).permute(0, 3, 1, 2).float())


def test_it_learns(tmp_path):
    recipe = make_recipe(
        "sgd", epochs=4, batch=32, lr=0.05, mixup=0, cutmix=0, randaugment_operations=0, data_fraction=0.6
    )
    trained = train(SMALL, DIGITS, recipe, tmp_path / "x")
    assert trained.facts["test_accuracy"] > 0.3  # chance is 0.1
    assert trained.facts["curve"][-1]["train_loss"] < trained.facts["curve"][0]["train_loss"]


def test_the_test_part_changes_nothing_but_the_test_accuracy(unbroken, tmp_path):
    wrong = ImageData.of("few", FEW.images, FEW.labels, FEW.test_images, (FEW.test_labels + 1) % 10)
    trained = train(SMALL, wrong, make_recipe("sgd", **QUICK), tmp_path / "wrong", seed=4)
    assert same(weights(trained.folder), weights(unbroken["sgd"].folder))
    assert trained.facts["curve"][0]["val_accuracy"] == unbroken["sgd"].facts["curve"][0]["val_accuracy"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 5}, "seed was 4 when the training began and is 5 now"),
        ({"recipe": make_recipe("sgd", **QUICK | {"epochs": 3})}, "epochs was 2 .* and is 3 now"),
        ({"network": SMALL.architecture}, "network was"),
        ({"data": FEW.resized(9)}, "task was .8x8x1:10. .* and is .9x9x1:10."),
    ],
)
def test_a_folder_of_another_training_is_refused(unbroken, change, message):
    given = {"network": SMALL, "data": FEW, "recipe": make_recipe("sgd", **QUICK), "seed": 4} | change
    with pytest.raises(UserError, match=message):
        train(folder=unbroken["sgd"].folder, **given)


@pytest.mark.parametrize(
    "change",
    [
        {"mean": ["x"]}, {"std": [None]}, {"std": [[1.0]]}, {"task": "x"}, {"class_names": ["one"]}, {"data": {}},
        {"data": {"centre": 1e308}}, {"data": {"centre": None}}, {"data": {"skip_bad": "x", "fingerprint": "y"}},
        {"data": {"fingerprint": 7}}, {"std": [0.0]}, {"std": [-1.0]}, {"mean": [float("nan")]},
        {"std": [float("inf")]},
    ],
)  # fmt: skip
def test_facts_that_no_training_wrote_are_refused_by_their_file(tmp_path, unbroken, change):
    facts = json.loads((unbroken["sgd"].folder / "training.json").read_text())
    shutil.copytree(unbroken["sgd"].folder, tmp_path / "changed")
    (tmp_path / "changed" / "training.json").write_text(json.dumps(facts | change))
    with pytest.raises(UserError, match=r"training\.json is damaged"):
        Trained.open(tmp_path / "changed")


def test_weights_that_give_no_finite_answer_are_said(tmp_path, unbroken):
    shutil.copytree(unbroken["sgd"].folder, tmp_path / "changed")
    file = tmp_path / "changed" / "best.safetensors"
    held = load_file(file)
    save_file({name: each / 0 if each.is_floating_point() else each for name, each in held.items()}, file)
    with pytest.raises(UserError, match="outputs of the network are not finite"):
        probabilities(Trained.open(tmp_path / "changed"), FEW.test_images)


def test_a_folder_that_is_none_is_said(tmp_path, unbroken):
    with pytest.raises(UserError, match="is not a trained network"):
        Trained.open(tmp_path)
    (tmp_path / "training.json").write_text("{")
    with pytest.raises(UserError, match="it is not JSON"):
        Trained.open(tmp_path)
    facts = json.loads((unbroken["sgd"].folder / "training.json").read_text())
    (tmp_path / "training.json").write_text(json.dumps(facts | {"finished": False}))
    with pytest.raises(UserError, match="is not finished"):
        Trained.open(tmp_path)
    (tmp_path / "training.json").write_text(json.dumps(facts))
    (tmp_path / "network.json").write_text((unbroken["sgd"].folder / "network.json").read_text())
    with pytest.raises(UserError, match="cannot use the weights"):
        Trained.open(tmp_path).module()


def test_a_training_that_diverges_says_so(tmp_path):
    with pytest.raises(Diverged, match="try a smaller lr"):
        train(SMALL, FEW, make_recipe("sgd", **QUICK | {"lr": 1e30}), tmp_path / "x")


def test_a_network_that_cannot_take_the_images_is_a_persons_mistake(tmp_path):
    with pytest.raises(UserError, match="cannot take images of 8x8x1:10"):
        train(classic("alexnet"), FEW, make_recipe("sgd", **QUICK), tmp_path / "x")


def test_the_average_is_the_mean_that_its_decay_says():
    from torch import nn

    model = nn.BatchNorm1d(1)
    average, by_hand = WeightAverage(model, 0.9), torch.ones(())
    for step in range(200):
        with torch.no_grad():
            model.weight.fill_(float(step))
            model.num_batches_tracked.fill_(step)
        average.take(step)
        decay = min(0.9, (1 + step) / (10 + step))
        by_hand = decay * by_hand + (1 - decay) * step
    assert average.module.weight.item() == pytest.approx(by_hand.item(), rel=1e-5)
    assert average.module.num_batches_tracked.item() == 199


def test_a_weight_that_is_used_twice_is_averaged_once_a_step():
    from torch import nn

    layer = nn.Linear(1, 1, bias=False)
    model = nn.Sequential(layer, nn.Sequential(layer))
    layer.weight.data.fill_(0.0)
    average = WeightAverage(model, 0.9)
    layer.weight.data.fill_(1.0)
    average.take(1000)
    assert average.module[0].weight is average.module[1][0].weight
    assert average.module[0].weight.item() == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be a whole number at least 1, got 0"),
        ({"ema": 1.0}, "ema must be a number at least 0 and below 1"),
        ({"optimizer": "adamv"}, "unknown optimizer 'adamv'; did you mean 'adam'"),
        ({"schedule": "cosin"}, "unknown schedule 'cosin'; did you mean 'cosine'"),
        ({"initialization": "xaver"}, "unknown initialization 'xaver'; did you mean 'xavier'"),
        ({"nesterov": 1}, "nesterov must be true or false"),
        ({"dropout": 1.0}, "dropout must be a number at least 0 and below 1"),
        ({"patience": 0}, "patience must be a whole number at least 1"),
        ({"mirror": "yes"}, "mirror must be"),
        ({"mixup": -1}, "mixup must be a number at least 0"),
        ({"batch": True}, "batch must be a whole number"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        Recipe(**settings)


def test_names_nobody_knows_are_refused():
    with pytest.raises(UserError, match="unknown recipe 'adam'; did you mean 'adamw'"):
        make_recipe("adam")
    with pytest.raises(UserError, match="unknown setting 'epoch'; did you mean 'epochs'"):
        make_recipe("sgd", epoch=3)


@pytest.mark.parametrize(
    ("images", "epochs", "found"),
    [
        (227, 100, {"batch": 32, "randaugment_operations": 1, "mixup": 0.0, "cutmix": 0.0, "drop_path": 0.0}),  # 700
        (227, 300, {"batch": 32, "randaugment_operations": 1, "mix": 0.25, "mixup": 0.2, "drop_path": 0.1}),  # 2,100
        (20, 100, {"batch": 18, "mixup": 0.0}),
        (5_000, 100, {"batch": 64, "randaugment_operations": 1, "mix": 0.25, "mixup": 0.2}),  # 7,100
        (50_000, 100, {"batch": 128, "randaugment_operations": 2, "mix": 0.5, "drop_path": 0.2}),  # 35,200
        (227, 20, {"batch": 32, "randaugment_operations": 0, "mixup": 0.0, "drop_path": 0.0}),  # 140
        (5_000, 20, {"batch": 32, "randaugment_operations": 0, "mixup": 0.0, "drop_path": 0.0}),  # 1,420 of 64 are few
        (5_000, 21, {"batch": 32, "randaugment_operations": 1, "mixup": 0.2}),
        (50_000, 5, {"batch": 64, "mixup": 0.0}),
        (10**6, 100, {"batch": 128, "ema": 0.9999}),
    ],
)
def test_the_default_recipe_is_fitted_to_the_number_of_images_and_steps(images, epochs, found):
    recipe = make_recipe("auto", images, epochs=epochs)
    assert {name: getattr(recipe, name) for name in found} == found
    steps = epochs * -(-round(0.9 * images) // recipe.batch)
    assert 1 / (1 - recipe.ema) < 0.06 * steps  # what is averaged is the end of the training
    kept = make_recipe("auto", images, epochs=epochs, batch=48, mixup=0.3, ema=0.5)
    assert (kept.batch, kept.mixup, kept.ema) == (48, 0.3, 0.5)  # what a person says stands
    assert why_fitted(kept, images, 32) is None
    assert why_fitted(replace(recipe, optimizer="adamw"), images, 32) is None
    assert f"{steps:,} steps" in str(why_fitted(recipe, images, 32))
    assert make_recipe("auto", images, epochs=epochs, batch=recipe.batch) == recipe
    whole = make_recipe("auto", images, epochs=epochs, batch=round(0.9 * images))  # a step an epoch
    assert (whole.randaugment_operations, whole.mixup, whole.drop_path) == (int(epochs >= 300), 0.0, 0.0)
    assert f"{epochs:,} steps" in str(why_fitted(whole, images, 32))
    for name in RECIPES:
        given = make_recipe(name, images, side=96, crop=0.1)
        assert (given.crop, given.resized_crop > 0) == (0.1, True)
        assert make_recipe(name, images, side=96, resized_crop=0.0).resized_crop == 0.0
        assert (make_recipe(name, images, side=96).crop, make_recipe(name, images, side=95).resized_crop) == (0.0, 0.0)
    large = make_recipe("auto", images, side=224, epochs=epochs)
    assert (large.crop, large.resized_crop > 0, recipe.resized_crop) == (0.0, True, 0.0)
    with pytest.raises(UserError, match="which is not known here"):
        make_recipe("auto")


def test_a_recipe_is_fitted_to_training_images_where_data_have_validation_images_of_their_own():
    own = replace(DIGITS, validation=np.arange(0, len(DIGITS.labels), 2))
    recipe = make_recipe("auto", images_of(own, {}), 8, epochs=40)
    train_images = len(training.split(own, recipe)[0])
    assert f"fitted to {train_images:,} images" in str(why_fitted(recipe, images_of(own, {}), 8))
    assert "fitted to 45 images" in str(why_fitted(recipe, images_of(own, {}), 8, training=45))
    assert images_of(DIGITS, {}) == len(DIGITS.labels)
    for wrong in (1, "x", None):
        with pytest.raises(UserError, match="val_fraction must be a number above 0 and at most"):
            images_of(own, {"val_fraction": wrong})


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("lenet5", {"progressive": 2}, "made for images of 32 pixels and cannot take those of 14 pixels"),
        ("highway_10", {"progressive": 3}, "made for images of 32 pixels and cannot take those of 14 pixels"),
        ("mobilenetv2_100", {"batch": 1}, "a batch of 1 is too small for this network on one worker"),
    ],
)
def test_what_a_network_cannot_be_trained_with_is_refused_in_words(tmp_path, name, settings, message):
    recipe = make_recipe("sgd", **{**QUICK, **settings})
    with pytest.raises(UserError, match=message):
        train(classic(name), FEW.resized(32), recipe, tmp_path / "refused")


@pytest.mark.parametrize("stages", [2, 3, 4])
@pytest.mark.parametrize("epochs", [1, 2, 3, 8])
def test_progressive_learning_ends_at_the_full_size(epochs, stages):
    assert share(epochs - 1, epochs, stages) == 1.0
    assert [share(each, epochs, stages) for each in range(epochs)] == sorted(
        share(e, epochs, stages) for e in range(epochs)
    )


@pytest.mark.parametrize(
    ("images", "epochs", "why"),
    [
        (20, 100, "no RandAugment, nothing mixed below 300 steps"),
        (5_000, 20, "no RandAugment, nothing mixed up to 20 epochs"),
        (500, 40, "little RandAugment, nothing mixed below 2,000 steps"),
        (5_000, 100, "half the strength below 25,000 steps"),
        (50_000, 100, "full strength from 25,000 steps on"),
    ],
)
def test_the_default_recipe_says_why_it_is_as_strong_as_it_is(images, epochs, why):
    recipe = make_recipe("auto", images, epochs=epochs)
    assert str(why_fitted(recipe, images, 32)).endswith(f" steps: {why}")
    assert bool(recipe.randaugment_operations) == ("no RandAugment" not in why)
    assert bool(recipe.mixup) == ("nothing mixed" not in why)


def test_every_image_is_trained_on_in_every_epoch(tmp_path):
    seen = []
    train_it = training.Batches._pixels

    def watched(self, order):
        seen.extend(order.tolist())
        return train_it(self, order)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.Batches, "_pixels", watched)
        trained = train(SMALL, FEW, make_recipe("sgd", epochs=1, batch=64, data_fraction=0.8), tmp_path / "x")
    assert len(seen) == 4 * 64
    assert len(set(seen)) == trained.facts["train_images"]
