"""`nas train --freeze`: layers that keep their trained weights to the last bit while others are trained."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from estimators import ImageData, load_data
from estimators.freezing import ALL_BUT_HEAD, FEW, MANY, Frozen, middle, proposed, stages, to_training_mode
from estimators.recipe import make_recipe
from estimators.starting_weights import StartingWeights
from estimators.steps import decayed
from estimators.trained import built
from estimators.training import _exchange, train
from nas.exporting import export
from searchspaces import Scale, Scaled, Task, UserError, classic, space_named
from searchspaces.torch_layers import PathMean

TASK = Task(8, 1, 10)
DIGITS = load_data("digits")
SPACE = space_named("mbconv")
NETWORK = Scaled(SPACE.references["mobilenetv2_100"], Scale(width=0.25, depth=0.3), TASK)
QUICK = {"epochs": 2, "batch": 64, "data_fraction": 0.2, "randaugment_operations": 0, "mix": 0}
OPTIONS = [each for name, value in QUICK.items() for each in ("--set", f"{name}={value}")]


def recipe(**settings):
    return make_recipe("sgd", len(DIGITS.labels), 8, **{**QUICK, **settings})


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parents") / "one"
    train(NETWORK, DIGITS, recipe(epochs=1), folder)
    return folder


def starting(parent, freeze, network=NETWORK, task=TASK):
    return StartingWeights.read(parent, network, task, freeze=freeze)


def frozen_names(name):
    """The tensors that are to keep their values, said here in another way than the code says it."""
    tensors = list(built(NETWORK, TASK).state_dict())
    if name == ALL_BUT_HEAD:
        return set(tensors[:-2])  # the weight and the bias of the classifier come last
    order = ["stem", *(f"stage{number}" for number in range(1, 8)), "head"]
    return {each for each in tensors if order.index(each.partition(".")[0]) <= order.index(name)}


@pytest.mark.parametrize("name", ["stage1", "stage2", ALL_BUT_HEAD])
def test_the_first_join_of_fractalnet_that_trains_draws_the_columns_of_all(name):
    fractal, task = classic("fractalnet"), Task(32, 3, 10)
    module = fractal.build(task, drop_path=0.15)
    joins = [each for each in module.modules() if isinstance(each, PathMean)]
    Frozen.of(name, fractal.network(task), task.shape, module, ()).freeze(module)
    learn = [each for each in joins if each.training]
    assert len(learn) < len(joins)
    for images in (4, 3):
        assert module(torch.randn(images, 3, 32, 32)).shape == (images, 10)
        assert joins[0].paths.column.shape == ((images,) if learn else (0,))


@pytest.mark.parametrize("name", [ALL_BUT_HEAD, "stem", "stage4"])
def test_frozen_tensors_keep_their_values_to_the_bit_and_all_others_learn(parent, tmp_path, name):
    train(NETWORK, DIGITS, recipe(), tmp_path / "x", weights=starting(parent, name))
    before, kept = load_file(parent / "best.safetensors"), frozen_names(name)
    for which in ("best", "last"):
        after = load_file(tmp_path / "x" / f"{which}.safetensors")
        assert {each for each in before if torch.equal(before[each], after[each])} == kept


def test_a_frozen_training_cut_at_any_step_ends_with_the_same_weights(parent, tmp_path):
    start = starting(parent, "stage4")
    train(NETWORK, DIGITS, recipe(), tmp_path / "whole", weights=start)

    def cut(moment):
        if moment.step in (2, 5):  # in an epoch, and after a validation, which leaves the network in evaluation mode
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train(NETWORK, DIGITS, recipe(), tmp_path / "cut", weights=start, on_moment=cut)
    train(NETWORK, DIGITS, recipe(), tmp_path / "cut", weights=start)
    whole, parts = (load_file(tmp_path / name / "last.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_no_gradient_is_computed_below_the_first_layer_that_is_trained(parent):
    model = built(NETWORK, TASK)
    starting(parent, "stage4").give(model, 0)
    outputs = {}
    for name, stage in model.named_children():
        stage.register_forward_hook(lambda _, __, out, name=name: outputs.setdefault(name, out))
    model(torch.randn(4, *TASK.shape)).sum().backward()
    kept = frozen_names("stage4")
    assert [name for name, out in outputs.items() if not out.requires_grad] == list(outputs)[:5]
    assert {name for name, each in model.named_parameters() if each.grad is None} == {
        name for name, _ in model.named_parameters() if name in kept
    }


def test_the_optimizer_has_the_trained_parameters_alone(parent):
    model = built(NETWORK, TASK)
    start = starting(parent, ALL_BUT_HEAD)
    start.give(model, 0)
    held = [each for group in decayed(model, 0.1) for each in group["params"]]
    classifier = [each for each in model.modules() if isinstance(each, torch.nn.Linear)][-1]
    assert sum(each.numel() for each in held) == start.frozen.trained == sum(p.numel() for p in classifier.parameters())
    assert start.frozen.params + start.frozen.trained == NETWORK.cost(TASK).params


def test_frozen_layers_are_in_evaluation_mode_while_others_train(parent):
    model = built(NETWORK, TASK, drop_path=0.5)
    starting(parent, "stage4").give(model, 0)
    for _ in range(2):  # at the beginning, and after a validation
        modes = {name: {each.training for each in stage.modules()} for name, stage in model.named_children()}
        assert list(modes.values()) == [{False}] * 5 + [{True}] * 4
        to_training_mode(model.eval())


def test_workers_exchange_no_frozen_statistics(parent):
    model = built(NETWORK, TASK)
    starting(parent, "stage4").give(model, 0)
    to_training_mode(model)
    before = {name: each.clone() for name, each in model.named_buffers()}
    group = SimpleNamespace(average=lambda tensors: [each.add_(1) for each in tensors])
    _exchange(group, model, torch.zeros(()))
    changed = {name for name, each in model.named_buffers() if not torch.equal(each, before[name])}
    statistics = {name for name in before if name.endswith(("running_mean", "running_var"))}
    assert changed == statistics - frozen_names("stage4")


def test_every_space_has_stages_that_its_tensors_belong_to():
    for name in ("mbconv", "resnet", "nasnet", "inception"):
        member, task = next(iter(space_named(name).references.values())), Task(96, 3, 10)
        with torch.device("meta"):
            tensors = [each for each, _ in built(member, task).named_parameters()]
        prefixes = [prefix for _, prefix in stages(member.network(task), task.shape)]
        assert all(sum(tensor.startswith(prefix) for prefix in prefixes) == 1 for tensor in tensors)
        assert middle(member.network(task), task.shape) in dict(stages(member.network(task), task.shape))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("stage44", "no stage 'stage44'; did you mean 'stage4'.*its stages are stem, stage1"),
        ("all-but-heads", "did you mean 'all-but-head'"),
        ("head", "leaves nothing to train"),
    ],
)
def test_what_cannot_be_frozen_is_refused_in_words(parent, name, message):
    with pytest.raises(UserError, match=message):
        starting(parent, name)


def test_random_weights_are_not_frozen(parent):
    choices = {**NETWORK.architecture.choices, "stage3.kernel": 5, "stage5.kernel": 5}
    wider = Scaled(SPACE.architecture(choices), Scale(width=0.25, depth=1.0), TASK)
    assert starting(parent, "stem", wider).frozen is not None
    other = classic("resnet20")
    with pytest.raises(UserError, match=r"would keep random weights: .* fewer stages"):
        starting(parent, ALL_BUT_HEAD, other)


def test_without_weights_nothing_is_frozen(nas_cli, tmp_path):
    said = nas_cli("train", "resnet20", "--data", "digits", "--freeze", "auto", "--out", tmp_path / "a")
    assert said.code == 2
    assert "--freeze auto needs --weights" in said.err
    assert not (tmp_path / "a").exists()


def test_what_is_frozen_is_on_the_screen_in_the_record_and_on_the_model_card(nas_cli, tmp_path, parent):
    network = tmp_path / "net.json"
    network.write_text(NETWORK.to_json())
    command = ["train", network, "--data", "digits", *OPTIONS, "--weights", parent, "--out", tmp_path / "a"]
    said = nas_cli(*command, "--freeze", "stage4")
    assert said.code == 0, said.err
    assert "up to stage4: " in said.out
    frozen = json.loads((tmp_path / "a" / "training.json").read_text())["weights"]["frozen"]
    assert frozen["name"] == "stage4"
    assert frozen["params"] + frozen["trained_params"] == NETWORK.cost(TASK).params
    export(str(tmp_path / "a"), "python")
    card = (tmp_path / "a" / "export" / "model_card.md").read_text()
    assert f"all layers up to stage stage4: {frozen['params']:,} parameters" in card
    said = nas_cli(*command, "--freeze", ALL_BUT_HEAD)
    assert said.code == 2
    assert 'freeze was "stage4" when the training began and is "all-but-head" now' in " ".join(said.err.split())


def few(images):
    rows = np.concatenate([np.flatnonzero(DIGITS.labels == label)[:images] for label in range(10)])
    test = DIGITS.test_images[:50], DIGITS.test_labels[:50]
    return ImageData.of("few", DIGITS.images[rows], DIGITS.labels[rows], *test)


def test_the_number_of_images_proposes_what_to_freeze(nas_cli, tmp_path, parent):
    tree = NETWORK.network(TASK)
    assert [proposed(each, tree, TASK.shape) for each in (FEW - 1, FEW, MANY - 1, MANY)] == [
        ALL_BUT_HEAD, "stage3", "stage3", None
    ]  # fmt: skip
    data, held = tmp_path / "few.npz", few(FEW + 4)
    arrays = {"train_images": held.images, "train_labels": held.labels}
    np.savez(data, **arrays, test_images=held.test_images, test_labels=held.test_labels)
    network = tmp_path / "net.json"
    network.write_text(NETWORK.to_json())
    command = ["train", network, "--data", data, "--epochs", "1", "--weights", parent]
    said = nas_cli(*command, "--out", tmp_path / "a")
    assert said.code == 0, said.err
    assert "--freeze stage3 is suggested" in " ".join(said.out.split())
    said = nas_cli(*command, "--freeze", "auto", "--out", tmp_path / "b", "--json")
    assert said.code == 0, said.err
    assert json.loads(said.out)["weights"]["frozen"]["name"] == "stage3"
