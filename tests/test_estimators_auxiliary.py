"""Auxiliary heads: where they are, what training them changes, and that nothing is left of them afterwards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from processes import run_two
from rich.console import Console
from safetensors.torch import load_file

from estimators import ImageData, load_data
from estimators.freezing import ALL_BUT_HEAD
from estimators.objective import Objective, auxiliary_heads
from estimators.recipe import make_recipe
from estimators.regularization import drop_before_classifier
from estimators.starting_weights import StartingWeights
from estimators.trained import Trained
from estimators.training import train
from nas.commands.training import show_training_plan
from nas.exporting import export
from nas.training import plan_document, training_job
from searchspaces import Scale, Scaled, Task, UserError, classic, space_named
from searchspaces.auxiliary_heads import heads, with_heads
from searchspaces.nasnet import NASNetSpace
from searchspaces.torch_layers import Auxiliary

DIGITS = load_data("digits")
FEW = ImageData.of("few", DIGITS.images[:200], DIGITS.labels[:200], DIGITS.test_images[:60], DIGITS.test_labels[:60])
IMAGES = FEW.resized(16)
TINY = NASNetSpace("tiny", pairs=1, operations=("identity", "sep3x3"), width=(8,), repeats=(1,), stem_width=(8,))
NETWORK = TINY.sample(np.random.default_rng(0))
QUICK = {"epochs": 2, "batch": 60, "mix": 0, "randaugment_operations": 0}


def recipe(**settings):
    return make_recipe("sgd", len(IMAGES.labels), 16, **{**QUICK, "auxiliary": 0.3, **settings})


def weights(folder):
    return {name: load_file(Path(folder) / f"{name}.safetensors") for name in ("best", "last")}


def same(one, other):
    return all(torch.equal(one[which][name], other[which][name]) for which in one for name in one[which])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train(NETWORK, IMAGES, recipe(), tmp_path_factory.mktemp("auxiliary") / "whole", seed=3)


# By hand, NASNet-A mobile's on 528 channels of 14x14: 528 * 128 + 2 * 128 + 768 * 128 * 4 * 4 + 2 * 768 + 769,000; the
# average of 5x5 at every third pixel leaves 4x4. PNASNet's has 540 channels, AmoebaNet's 400.
@pytest.mark.parametrize(
    ("name", "params"),
    [("nasnetamobile", 2_411_240), ("pnasnet5mobile", 2_412_776), ("amoebanet_a_mobile", 2_394_856)],
)
def test_a_network_of_cells_has_one_head_before_its_second_reduction_and_the_same_names(name, params):
    network = classic(name)
    with torch.random.fork_rng():
        without, module = network.build(), network.build(auxiliary=True)
    assert sum(each.numel() for each in module.parameters()) - sum(e.numel() for e in without.parameters()) == params
    assert set(without.state_dict()) <= set(module.network.state_dict())
    assert with_heads(network.network(), network.task.shape, 1000).cost(network.task.shape) == network.cost()


def test_a_searched_network_has_the_heads_of_its_family():
    for space, size, count in (("nasnet", 32, 1), ("inception", 96, 2), ("mbconv", 32, 0)):
        member, task = next(iter(space_named(space).references.values())), Task(size, 3, 10)
        tree = with_heads(member.network(task), task.shape, 10)
        assert len(list(heads(tree))) == count
        assert with_heads(tree, task.shape, 10) == tree


def test_the_loss_is_that_of_the_network_and_the_weighted_ones_of_its_heads():
    torch.manual_seed(0)
    module = NETWORK.build(IMAGES.task, auxiliary=True)
    images, labels = torch.randn(8, *IMAGES.task.shape), torch.arange(8)
    for each in module.modules():
        if isinstance(each, torch.nn.Dropout):
            each.p = 0.0
    logits, head = module(images)
    by_hand = [torch.nn.functional.cross_entropy(each, labels, label_smoothing=0.1) for each in (logits, head)]
    assert torch.allclose(Objective(module, recipe())(images, labels), by_hand[0] + 0.3 * by_hand[1])


def test_heads_keep_their_own_dropout_and_no_graph_of_a_step_that_failed():
    module = classic("googlenet").build(Task(224, 3, 10), auxiliary=True).train()
    rates = {name: each.p for name, each in module.network.named_modules() if isinstance(each, torch.nn.Dropout)}
    drop_before_classifier(module.network, 0.25, 0.0)
    for name, each in module.network.named_modules():
        if isinstance(each, torch.nn.Dropout):
            assert each.p == (rates[name] if ".head." in name else 0.25)
    assert sorted(rates.values())[-2:] == [0.7, 0.7]

    def full(*given):
        raise RuntimeError("out of memory")

    list(module.network.children())[-1].register_forward_pre_hook(full)
    with pytest.raises(RuntimeError, match="out of memory"):
        module(torch.zeros(2, 3, 224, 224))
    assert [each.logits for each in module.modules() if isinstance(each, Auxiliary)] == [None, None]


def test_the_gradient_of_a_head_reaches_the_layers_below_it_and_none_above():
    torch.manual_seed(0)
    module = NETWORK.build(IMAGES.task, auxiliary=True)
    _, head = module(torch.randn(8, *IMAGES.task.shape))
    head.sum().backward()
    cells = list(module.network.cells.nodes)
    reached = [any(each.grad is not None for each in cell.parameters()) for cell in cells]
    assert reached == [True] * (len(cells) - 2) + [False] * 2  # the second reduction and the cell after it


def test_a_training_with_heads_cut_at_any_step_ends_with_the_same_weights(trained, tmp_path):
    class Cut(Exception):  # noqa: N818
        pass

    def cut(moment):
        raise Cut

    for _ in range(2):
        with pytest.raises(Cut):
            train(NETWORK, IMAGES, recipe(), tmp_path / "cut", seed=3, checkpoint_s=0, on_moment=cut)
    again = train(NETWORK, IMAGES, recipe(), tmp_path / "cut", seed=3)
    assert same(weights(tmp_path / "cut"), weights(trained.folder))
    assert again.facts["test_accuracy"] == trained.facts["test_accuracy"]


def test_what_is_saved_and_exported_has_no_heads_and_does_what_the_facts_say(trained):
    names = set(NETWORK.build(IMAGES.task).state_dict())
    assert all(set(tensors) == names for tensors in weights(trained.folder).values())
    told = Trained.open(trained.folder, TINY).logits(IMAGES.test_images).argmax(1)
    assert (told == IMAGES.test_labels).mean() == pytest.approx(trained.facts["test_accuracy"])
    document = export(str(trained.folder), "python", space=TINY)
    assert document["params"] == NETWORK.cost(IMAGES.task).params


def test_another_weight_is_another_training(trained, tmp_path):
    other = train(NETWORK, IMAGES, recipe(auxiliary=0.6), tmp_path / "other", seed=3)
    assert not same(weights(other.folder), weights(trained.folder))
    with pytest.raises(UserError, match=r"auxiliary was 0.3 when the training began and is 0.0 now"):
        train(NETWORK, IMAGES, recipe(auxiliary=0.0), trained.folder, seed=3)


TOGETHER = """
import sys, torch, torch.distributed as dist
from estimators import training
from test_estimators_auxiliary import IMAGES, NETWORK, Objective, recipe, train
rank, place = sys.argv[1:]

def head(network):
    return torch.cat([each.flatten() for name, each in network.named_parameters() if ".head." in name]).detach()

def watched(network, *given):
    seen.append((network, head(network)))
    return Objective(network, *given)

seen, training.Objective = [], watched
dist.init_process_group("gloo", init_method=f"file://{place}/meet", rank=int(rank), world_size=2)
train(NETWORK, IMAGES, recipe(epochs=1), f"{place}/two", 4)
dist.destroy_process_group()
((network, before),) = seen
torch.save([before, head(network)], f"{place}/heads{rank}.pt")
"""


def test_two_processes_train_the_heads_together(tmp_path):
    run_two(TOGETHER, tmp_path)
    assert Trained.open(tmp_path / "two", TINY).facts["workers"] == 2
    (before, after), (_, elsewhere) = (torch.load(tmp_path / f"heads{rank}.pt") for rank in range(2))
    assert torch.equal(after, elsewhere)  # each saw images of its own
    assert not torch.equal(after, before)


@pytest.mark.parametrize(
    ("network", "images", "message"),
    [
        (
            Scaled(space_named("mbconv").references["mobilenetv2_100"], Scale(0.25, 0.3), Task()),
            FEW,
            "has no auxiliary",
        ),
        (NETWORK, FEW, "cannot take maps of 8x8x1:10"),
    ],
)
def test_heads_that_cannot_be_trained_are_refused_in_words(tmp_path, network, images, message):
    with pytest.raises(UserError, match=message):
        train(network, images, recipe(), tmp_path / "x")


def test_heads_that_are_all_frozen_are_refused_in_words(trained, tmp_path):
    frozen = StartingWeights.read(trained.folder, NETWORK, IMAGES.task, space=TINY, freeze=ALL_BUT_HEAD)
    with pytest.raises(UserError, match="auxiliary: --freeze freezes every layer that has an auxiliary head"):
        train(NETWORK, IMAGES, recipe(), tmp_path / "x", weights=frozen)


def test_the_plan_says_whether_heads_are_trained(nas_cli, tmp_path):
    network = tmp_path / "net.json"
    network.write_text(Scaled(space_named("nasnet").references["nasnetamobile"], Scale(0.1, 0.3), Task()).to_json())
    options = ["--data", "digits", "--image-size", "16", "--epochs", "1", "--set", "data_fraction=0.05"]
    said = nas_cli("train", network, *options, "--set", "auxiliary=0.3", "--out", tmp_path / "a")
    assert said.code == 0, said.err
    assert "1 auxiliary, trained with weight 0.3, dropped at the end" in " ".join(said.out.split())
    assert nas_cli("evaluate", tmp_path / "a").code == 0
    job = training_job(str(network), "digits", 16)
    console, plan = Console(width=80, record=True), make_recipe(epochs=1)
    show_training_plan(plan_document(job, plan, tmp_path / "b", 0), console)
    assert "1 auxiliary, not trained; --set auxiliary=0.3 trains them" in console.export_text()


def test_images_that_are_too_small_for_the_heads_are_refused_before_anything_begins(nas_cli, tmp_path):
    options = ["--data", "digits", "--image-size", "32", "--set", "auxiliary=0.3", "--out", tmp_path / "a"]
    said = nas_cli("train", "googlenet", *options)
    assert (said.code, said.out) == (2, "")
    assert "the auxiliary heads cannot take maps of 32x32x1:10" in said.err
    assert not (tmp_path / "a").exists()
    assert auxiliary_heads(space_named("inception").references["googlenet"], Task(32)) == 0
    assert auxiliary_heads(space_named("inception").references["googlenet"], Task(224)) == 2
