"""`nas train --teacher`: a network learns the probabilities of trained ones besides the labels."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from estimators import ImageData, load_data
from estimators.objective import Objective
from estimators.recipe import make_recipe
from estimators.teacher import Teacher
from estimators.trained import Trained, built
from estimators.training import train
from nas.exporting import export
from searchspaces import Scale, Scaled, Task, UserError, space_named

DIGITS = load_data("digits")
NAMES = tuple("abcdefghij")
TASK = Task(8, 1, 10)
NETWORK = Scaled(space_named("resnet-cifar").references["resnet20"], Scale(width=0.25, depth=0.34), TASK)
QUICK = {"epochs": 2, "batch": 60, "randaugment_operations": 1, "mix": 0.5}


def data(names=NAMES, size=8, images=200, test=60):
    """Digits whose classes have letters for names, in any order of these."""
    place = np.array([names.index(each) for each in NAMES])
    return ImageData.of(
        "letters", DIGITS.images[:images], place[DIGITS.labels[:images]], DIGITS.test_images[:test],
        place[DIGITS.test_labels[:test]], names, size,
    )  # fmt: skip


IMAGES, OTHER_ORDER = data(), data(NAMES[::-1], size=12)


def recipe(**settings):
    return make_recipe("sgd", len(IMAGES.labels), 8, **{**QUICK, **settings})


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    """Two trained networks: one on these images, one on larger ones, with the classes in another order."""
    folder = tmp_path_factory.mktemp("teachers")
    train(NETWORK, IMAGES, recipe(), folder / "one", seed=1)
    train(NETWORK, OTHER_ORDER, recipe(), folder / "other", seed=2)
    return folder / "one", folder / "other"


def softened(folders, temperature=2.0):
    """What a teacher says of the test images as they come to a student of another normalization, (images, classes)."""
    mean, std = torch.tensor([100.0]), torch.tensor([50.0])
    inputs = (torch.tensor(IMAGES.test_images).permute(0, 3, 1, 2).float() - 100) / 50
    return Teacher.read(folders, IMAGES).on(torch.device("cpu"), mean, std, temperature)(inputs)


def test_a_teacher_says_of_a_students_images_what_its_own_folder_says(teachers):
    by_hand = torch.from_numpy(Trained.open(teachers[0]).logits(IMAGES.test_images))
    assert torch.allclose(softened(teachers[:1]), (by_hand / 2).softmax(1), atol=1e-4)


def test_a_teacher_has_its_own_image_size_and_its_own_order_of_classes(teachers):
    trained = Trained.open(teachers[1])
    images = torch.tensor(IMAGES.test_images).permute(0, 3, 1, 2).float()
    resize = torch.nn.functional.interpolate
    larger = resize(images, (12, 12), mode="bilinear", align_corners=False, antialias=True)
    with torch.no_grad():
        logits = trained.module()((larger - trained.mean[0]) / trained.std[0])
    assert torch.allclose(softened(teachers[1:]), (logits / 2).softmax(1).flip(1), atol=1e-4)


def test_several_teachers_are_the_mean_of_their_probabilities(teachers):
    both, one, other = softened(teachers), softened(teachers[:1]), softened(teachers[1:])
    assert torch.allclose(both, (one + other) / 2, atol=1e-6)
    assert torch.allclose(both.sum(1), torch.ones(len(both)))


def test_the_loss_is_the_one_of_the_paper():
    torch.manual_seed(0)
    model, logits = torch.nn.Linear(6, 4), torch.randn(5, 4)
    inputs, labels = torch.randn(5, 6), torch.tensor([0, 1, 2, 3, 0])
    settings = recipe(distillation=0.75, temperature=3.0, label_smoothing=0.0)
    loss = Objective(model, settings, lambda images: (logits / 3).softmax(1))(inputs, labels)
    own, hard = (model(inputs) / 3).softmax(1), torch.nn.functional.cross_entropy(model(inputs), labels)
    theirs = (logits / 3).softmax(1)
    soft = (theirs * (theirs / own).log()).sum(1).mean()
    assert torch.allclose(loss, 0.25 * hard + 0.75 * 9 * soft)


def test_the_gradient_of_the_soft_targets_is_that_of_matched_logits_where_it_is_hot():
    # sec. 2.1: at a high temperature, for logits of mean zero, it is the difference of logits over the classes
    logits, theirs = torch.tensor([[1.0, -1.0, 0.0]], requires_grad=True), torch.tensor([[-2.0, 1.0, 1.0]])
    settings = recipe(distillation=1.0, temperature=1e3)
    objective = Objective(torch.nn.Identity(), settings, lambda images: (theirs / 1e3).softmax(1))
    objective(logits.double().float(), torch.tensor([0])).backward()
    assert torch.allclose(logits.grad, (logits - theirs).detach() / 3, atol=1e-2)


def test_a_student_of_soft_targets_alone_comes_nearer_to_its_teacher(teachers):
    (expected,) = Teacher.read(teachers[:1], IMAGES).members
    taught = expected.on(torch.device("cpu"), torch.tensor([100.0]), torch.tensor([50.0]))
    inputs = (torch.tensor(IMAGES.images[:60]).permute(0, 3, 1, 2).float() - 100) / 50
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    objective = Objective(model, recipe(distillation=1.0), lambda images: (taught(images) / 2).softmax(1))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for _ in range(100):
        loss = objective(inputs, torch.zeros(60, dtype=torch.int64))  # labels count nothing
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


def test_a_taught_training_cut_at_any_step_ends_with_the_same_weights(tmp_path, teachers):
    teacher = Teacher.read(teachers, IMAGES)
    train(NETWORK, IMAGES, recipe(), tmp_path / "whole", teacher=teacher)

    def cut(moment):
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train(NETWORK, IMAGES, recipe(), tmp_path / "cut", teacher=teacher, on_moment=cut)
    train(NETWORK, IMAGES, recipe(), tmp_path / "cut", teacher=teacher)
    whole, parts = (load_file(tmp_path / name / "last.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    with pytest.raises(UserError, match=r"teacher was .* when the training began and is .* now"):
        train(NETWORK, IMAGES, recipe(), tmp_path / "whole", teacher=Teacher.read(teachers[:1], IMAGES))


def test_a_teacher_starts_no_other_student(teachers):
    def first_weights():
        torch.manual_seed(3)
        Teacher.read(teachers[:1], IMAGES).on(torch.device("cpu"), torch.ones(1), torch.ones(1), 2.0)
        return built(NETWORK, TASK).stem.state_dict()

    torch.manual_seed(3)
    alone = built(NETWORK, TASK).stem.state_dict()
    assert all(torch.equal(each, alone[name]) for name, each in first_weights().items())


def test_a_teacher_of_other_classes_or_channels_is_refused_in_words(teachers):
    with pytest.raises(UserError, match=r"has different classes from the data: '0', '1', .*only in one of them"):
        Teacher.read(teachers[:1], DIGITS)
    pixels = np.repeat(IMAGES.images, 3, 3), np.repeat(IMAGES.test_images, 3, 3)
    colours = ImageData.of("rgb", pixels[0], IMAGES.labels, pixels[1], IMAGES.test_labels, NAMES)
    with pytest.raises(UserError, match="takes images of 1 channels, and the data have 3"):
        Teacher.read(teachers[:1], colours)
    with pytest.raises(UserError, match="is not a trained network"):
        Teacher.read([teachers[0].parent], IMAGES)


def test_the_teacher_is_on_the_screen_in_the_record_and_on_the_model_card(nas_cli, tmp_path, teachers):
    source, network = tmp_path / "letters.npz", tmp_path / "net.json"
    np.savez(
        source, train_images=IMAGES.images, train_labels=IMAGES.labels, test_images=IMAGES.test_images,
        test_labels=IMAGES.test_labels, class_names=np.array(NAMES),
    )  # fmt: skip
    network.write_text(NETWORK.to_json())
    said = nas_cli(
        "train", network, "--data", source, "--epochs", "1", "--teacher", f"{teachers[0]},{teachers[1]}", "--set",
        "temperature=4", "--out", tmp_path / "a",
    )  # fmt: skip
    assert said.code == 0, said.err
    assert "67.0% of the loss at temperature 4" in " ".join(said.out.split())
    recorded = json.loads((tmp_path / "a" / "training.json").read_text())["teacher"]
    assert [each["source"] for each in recorded] == [str(each) for each in teachers]
    export(str(tmp_path / "a"), "python")
    card = (tmp_path / "a" / "export" / "model_card.md").read_text()
    assert all(each["fingerprint"] in card for each in recorded)
