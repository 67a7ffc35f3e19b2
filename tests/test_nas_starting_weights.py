"""`nas train --weights`: a training that starts from the trained weights of another one."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load, load_file, save_file

from estimators import ImageData, load_data
from estimators.recipe import make_recipe
from estimators.starting_weights import StartingWeights, logits_by_name
from estimators.trained import Trained, built
from estimators.training import train
from nas.exporting import export
from nas.wording import human
from searchspaces import Scale, Scaled, Task, UserError, space_named

TASK = Task(8, 1, 10)
DIGITS = load_data("digits")
QUICK = {"epochs": 1, "batch": 64, "data_fraction": 0.2, "randaugment_operations": 0, "mix": 0}
OPTIONS = [each for name, value in QUICK.items() for each in ("--set", f"{name}={value}")]


def network(expansion, kernel=3):
    space = space_named("mbconv")
    choices = {**space.references["mobilenetv2_100"].choices, "stage4.expansion": expansion, "stage5.kernel": kernel}
    return Scaled(space.architecture(choices), Scale(width=0.25, depth=0.3), TASK)


SMALL, LARGE = network(3), network(6, kernel=5)
"""A network, and one that is wider inside a stage and has larger kernels in another."""


def recipe(**settings):
    return make_recipe("sgd", len(DIGITS.labels), 8, **{**QUICK, **settings})


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parents") / "one"
    train(SMALL, DIGITS, recipe(), folder)
    return folder


@pytest.fixture
def large(tmp_path):
    path = tmp_path / "large.json"
    path.write_text(LARGE.to_json())
    return path


def starting(source, network=SMALL, task=TASK, class_names=None):
    return StartingWeights.read(source, network, task, class_names=class_names)


def test_a_training_starts_from_the_weights_as_a_folder_and_as_a_file(tmp_path, parent):
    before = load_file(parent / "best.safetensors")
    for index, source in enumerate((parent, parent / "best.safetensors")):
        folder = tmp_path / str(index)
        # a learning rate of almost nothing leaves the weights where they start
        train(SMALL, DIGITS, recipe(lr=1e-9), folder, weights=starting(source))
        after = load_file(folder / "last.safetensors")
        names = [name for name in before if not name.endswith(("running_mean", "running_var", "tracked"))]
        assert all(torch.allclose(after[name], before[name], atol=1e-6) for name in names)


def test_a_larger_network_begins_with_the_function_of_the_smaller_one(parent):
    start = starting(parent, LARGE)
    assert (start.inherited.share, start.inherited.preserved) == (1.0, True)
    child = built(LARGE, TASK).eval()
    start.give(child, seed=3)
    images = torch.randn(5, *TASK.shape)
    with torch.no_grad():
        assert torch.allclose(child(images), Trained.open(parent).module()(images), atol=1e-5)


def test_a_head_for_another_number_of_classes_is_fresh(parent):
    start = starting(parent, task=Task(8, 1, 7))
    features = [value.shape[1] for value in start.tensors.values() if value.dim() == 2]
    assert start.inherited.params - start.inherited.inherited == features[-1] * 7 + 7


LETTERS = tuple("abcdefghij")


@pytest.fixture(scope="module")
def lettered(tmp_path_factory):
    """A network trained on digits whose classes have letters for names."""
    folder = tmp_path_factory.mktemp("lettered") / "one"
    images = ImageData.of(
        "letters", DIGITS.images, DIGITS.labels, DIGITS.test_images, DIGITS.test_labels, LETTERS
    )  # fmt: skip
    train(SMALL, images, recipe(), folder)
    return folder


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (LETTERS, range(10)),
        (LETTERS[::-1], range(9, -1, -1)),
        (tuple("hijklmnopq"), [7, 8, 9, *[-1] * 7]),
        (tuple("klmnopqrst"), [-1] * 10),
        (tuple("jax"), [9, 0, -1]),
        (tuple("0123456789"), range(10)),  # without names
        (tuple("012"), [-1] * 3),
    ],
)
def test_a_head_is_taken_over_class_by_class_by_name(lettered, names, taken):
    task = Task(8, 1, len(names))
    for source in (lettered, lettered / "best.safetensors"):
        start = starting(source, task=task, class_names=names)
        torch.manual_seed(1)
        module = built(SMALL, task)
        head = list(module.state_dict())[-2]
        fresh = module.state_dict()[head].clone()
        start.give(module, seed=0)
        child = module.state_dict()[head]
        for own, of in enumerate(taken):
            assert torch.equal(child[own], fresh[own] if of < 0 else start.tensors[head][of])
        assert start.inherited.preserved == (list(taken) == list(range(10)))


@pytest.mark.parametrize(
    ("theirs", "own", "taken"),
    [
        ("01234", "56789", (-1,) * 5),  # names that are numbers
        ("0123456789", "5678", (5, 6, 7, 8)),
        ("01234", "0123456789", None),  # classes without names
        ("01234", "abcde", None),
    ],
)
def test_names_that_are_numbers_are_matched_where_they_are_not_those_of_all_classes(theirs, own, taken):
    assert logits_by_name(theirs, own) == taken


def test_classes_in_another_order_are_predicted_as_before_from_the_first_step(nas_cli, tmp_path, lettered):
    arrays = {"train_images": DIGITS.images, "train_labels": 9 - DIGITS.labels, "class_names": LETTERS[::-1]}
    np.savez(tmp_path / "other.npz", **arrays, test_images=DIGITS.test_images, test_labels=9 - DIGITS.test_labels)
    (tmp_path / "net.json").write_text(SMALL.to_json())
    words = ["train", tmp_path / "net.json", "--data", tmp_path / "other.npz", "--set", "lr=1e-9", "--weights"]
    said = nas_cli(*words, lettered, *OPTIONS, "--out", tmp_path / "a")
    assert said.code == 0, said.err
    assert "100.0% of" in said.out
    assert "starts out computing the same function" not in said.out
    facts = json.loads((tmp_path / "a" / "training.json").read_text())
    assert facts["test_accuracy"] == pytest.approx(Trained.open(lettered).facts["test_accuracy"], abs=0.1)


def test_class_names_that_do_not_fit_the_weights_are_refused(tmp_path, lettered):
    shutil.copytree(lettered, tmp_path / "copy")
    facts = json.loads((tmp_path / "copy" / "training.json").read_text())
    (tmp_path / "copy" / "training.json").write_text(json.dumps({**facts, "class_names": ["a", "b"]}))
    with pytest.raises(UserError, match="2 class names for the task"):
        starting(tmp_path / "copy", class_names=LETTERS)


def test_what_was_inherited_is_on_the_screen_in_the_record_and_on_the_model_card(nas_cli, tmp_path, parent, large):
    said = nas_cli("train", large, "--data", "digits", *OPTIONS, "--weights", parent, "--out", tmp_path / "a")
    assert said.code == 0, said.err
    params = human(LARGE.cost(TASK).params)
    assert f"100.0% of {params} parameters from {parent}" in " ".join(said.out.split())
    facts = json.loads((tmp_path / "a" / "training.json").read_text())["weights"]
    assert facts["fingerprint"] == starting(parent).fingerprint
    assert (facts["source"], facts["inherited_share"], facts["preserved"]) == (str(parent), 1.0, True)
    export(str(tmp_path / "a"), "python")
    assert facts["fingerprint"] in (tmp_path / "a" / "export" / "model_card.md").read_text()


def test_a_training_cut_and_resumed_equals_the_unbroken_one(tmp_path, parent):
    start = starting(parent, LARGE)
    train(LARGE, DIGITS, recipe(), tmp_path / "whole", weights=start)

    def cut(moment):
        if moment.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(LARGE, DIGITS, recipe(), tmp_path / "cut", weights=start, on_moment=cut)
    train(LARGE, DIGITS, recipe(), tmp_path / "cut", weights=start)
    whole, parts = (load_file(tmp_path / name / "last.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_other_weights_are_refused_where_a_training_is_resumed(nas_cli, tmp_path, parent, large):
    command = ["train", large, "--data", "digits", *OPTIONS, "--out", tmp_path / "a", "--quiet"]
    assert nas_cli(*command).code == 0
    said = nas_cli(*command, "--weights", parent)
    fingerprint = starting(parent).fingerprint
    assert said.code == 2
    assert f"weights was null when the training began and is {fingerprint[:8]} now" in said.err.replace("\n", " ")


def damaged(parent, folder, how):
    shutil.copytree(parent, folder)
    path = folder / "best.safetensors"
    if how == "missing":
        path.unlink()
    elif how == "without its network":
        (folder / "network.json").unlink()
    elif how == "cut short":
        path.write_bytes(path.read_bytes()[:1000])
    elif how == "a pickle":
        torch.save(load(path.read_bytes()), path)
    elif how == "of another network":
        (folder / "network.json").write_text(json.dumps({**json.loads(LARGE.to_json()), "task": str(TASK)}))
    elif how == "without a task":
        (folder / "network.json").write_text(SMALL.architecture.to_json())
    else:
        tensors = load(path.read_bytes())  # not mapped: the file is written anew
        tensors[min(tensors)][0] = float("nan")
        save_file(tensors, path)
    return folder


WRONG = {
    "missing": "there is no finished training",
    "without its network": "network.json",
    "cut short": "cannot use the weights",
    "a pickle": "cannot use the weights",
    "of another network": "cannot use the weights",
    "without a task": "does not say the task",
    "not a number": "not finite",
}


@pytest.mark.parametrize("how", WRONG)
def test_weights_that_cannot_be_used_are_one_line_and_nothing_is_trained(nas_cli, tmp_path, parent, large, how):
    folder = damaged(parent, tmp_path / "copy", how)
    said = nas_cli("train", large, "--data", "digits", *OPTIONS, "--weights", folder, "--out", tmp_path / "a")
    assert said.code == 2
    assert WRONG[how] in " ".join(said.err.split())
    assert "Traceback" not in said.err
    assert not (tmp_path / "a").exists()
