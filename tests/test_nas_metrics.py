"""What an evaluation reports, checked by hand, and the views that it averages over."""

from __future__ import annotations

import numpy as np
import pytest

from estimators import ImageData, load_data
from estimators.estimator import binomial_error
from estimators.recipe import make_recipe
from estimators.training import train
from estimators.views import VIEWS, probabilities
from nas.commands.console import console
from nas.commands.evaluating import show_evaluation
from nas.metrics import balanced_error, calibration_error, interval, metrics
from searchspaces import Scale, Scaled, Task, UserError, classic, space_named
from studies.pages.training import _classes

DIGITS = load_data("digits")
FEW = ImageData.of("few", DIGITS.images[:300], DIGITS.labels[:300], DIGITS.test_images[:60], DIGITS.test_labels[:60])
SMALL = Scaled(space_named("resnet-cifar").references["resnet20"], Scale(width=0.25, depth=0.34), Task(32))

# ten images of three classes: 0 0 0 0 0 0 of which five are right, 1 1 1 of which one is, and 2, which is not
LABELS = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 2])
PREDICTED = np.array([0, 0, 0, 0, 0, 1, 1, 0, 0, 0])


def sure(predicted, classes=3, confidence=0.8):
    found = np.full((len(predicted), classes), (1 - confidence) / (classes - 1))
    found[np.arange(len(predicted)), predicted] = confidence
    return found


def test_ten_images_by_hand():
    found = metrics(sure(PREDICTED), LABELS, ["cat", "dog", "owl"])
    assert found["images"] == 10
    assert found["accuracy"] == pytest.approx(0.6)
    assert found["top5_accuracy"] is None  # there are no more than five classes
    assert found["balanced_accuracy"] == pytest.approx((5 / 6 + 1 / 3 + 0) / 3)
    shares = [(5 + 1.2) / (6 + 2.4), (1 + 0.6) / (3 + 1.2), (0 + 0.2) / (1 + 0.4)]  # two more right, two more wrong
    by_hand = sum(share * (1 - share) / of for share, of in zip(shares, [6, 3, 1], strict=True)) ** 0.5 / 3
    assert found["balanced_standard_error"] == pytest.approx(by_hand)
    assert found["top5_standard_error"] is None
    assert found["calibration_error"] == pytest.approx(0.2)  # sure of 0.8, right in 0.6
    assert [each["precision"] for each in found["classes"]] == [5 / 8, 1 / 2, None]
    assert [each["accuracy"] for each in found["classes"]] == [5 / 6, 1 / 3, 0.0]
    assert found["confusion_matrix"] == [[5, 1, 0], [2, 1, 0], [1, 0, 0]]
    assert found["confusions"][0] == {"class": "dog", "taken_for": "cat", "images": 2, "share": 2 / 3}
    # Wilson's interval of 6 in 10, by its formula
    low, high = found["interval"]
    for bound in (low, high):
        assert (0.6 - bound) ** 2 == pytest.approx(1.959964**2 * bound * (1 - bound) / 10, rel=1e-6)


def test_a_class_without_images_and_one_never_predicted_have_no_figure():
    found = metrics(sure(np.array([0, 0])), np.array([0, 0]), ["a", "b", "c"])
    assert [each["accuracy"] for each in found["classes"]] == [1.0, None, None]
    assert found["balanced_accuracy"] == 1.0
    assert found["interval"][1] == 1.0


@pytest.mark.parametrize(
    ("known", "screen", "page"),
    [
        (25, "and 5 more classes with higher recall; 1 class has no images", "The 20 classes of 25 with the lowest"),
        (18, "8 classes have no images", "<span>Classes; 8 classes have no images</span>"),
    ],
)
def test_classes_without_images_are_not_counted_among_those_of_higher_recall(known, screen, page, capsys):
    labels = np.arange(known).repeat(2)
    found = metrics(sure(labels, 26), labels, [f"c{n}" for n in range(26)])
    told = {"part": "test", "data": "few", "notes": [], "folders": ["a"], "views": "one"}
    show_evaluation({**found, **told}, console(json=False))
    assert screen in capsys.readouterr().out.splitlines()
    assert page in _classes(found)


def test_top_five_counts_what_is_among_the_five_most_probable():
    rows = np.array([np.arange(7) / 21, np.arange(7)[::-1] / 21, np.arange(7) / 21])
    found = metrics(rows, np.array([2, 2, 1]), list("abcdefg"))
    assert found["top5_accuracy"] == pytest.approx(2 / 3)
    assert found["top5_standard_error"] == pytest.approx((4 / 7 * 3 / 7 / 3) ** 0.5)  # with two more right and wrong


@pytest.mark.parametrize("images", [1, 24, 1000])
def test_an_error_is_never_zero_nor_below_that_of_the_share_itself(images):
    for right in range(images + 1):
        share = right / images
        assert binomial_error(share, images) > max(0, (share * (1 - share) / images) ** 0.5 - 1e-12)


def test_of_many_images_an_error_is_that_of_the_share_itself():
    assert binomial_error(0.7, 50_000) == pytest.approx((0.7 * 0.3 / 50_000) ** 0.5, rel=1e-4)


@pytest.mark.parametrize(("classes", "images", "right"), [(2, 10, 7), (5, 40, 39), (100, 50, 25)])
def test_the_error_of_the_balanced_accuracy_is_binomial_where_classes_are_alike(classes, images, right):
    found = balanced_error(np.full(classes, right), np.full(classes, images))
    assert found == pytest.approx(binomial_error(right / images, classes * images))


def test_the_error_of_the_balanced_accuracy_is_how_far_it_varies():
    rng, recall, of = np.random.default_rng(0), np.array([0.9, 0.5, 0.7]), np.array([400, 30, 100])
    balanced = (rng.binomial(of, recall, (20_000, 3)) / of).mean(1)
    assert balanced_error(recall * of, of) == pytest.approx(balanced.std(), rel=0.03)


@pytest.mark.parametrize(("right", "images"), [(0, 5), (5, 5), (400, 1000)])
def test_an_interval_holds_the_accuracy(right, images):
    low, high = interval(right, images)
    assert 0 <= low <= right / images <= high <= 1


def test_calibration_is_perfect_where_confidence_is_accuracy():
    labels = np.array([0] * 8 + [1] * 2)
    assert calibration_error(sure(np.zeros(10, int), 2), labels) == pytest.approx(0, abs=1e-9)
    assert calibration_error(sure(np.zeros(10, int), 2, 1.0), labels) == pytest.approx(0.2)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    recipe = make_recipe("sgd", epochs=2, batch=64, randaugment_operations=0)
    return train(SMALL, FEW, recipe, tmp_path_factory.mktemp("trained") / "x", seed=4)


@pytest.mark.parametrize("views", VIEWS)
def test_probabilities_are_the_mean_over_views(trained, views):
    import torch

    found = probabilities(trained, FEW.test_images, views)
    assert found.shape == (60, 10)
    assert np.allclose(found.sum(1), 1, atol=1e-5)
    module, pixels = trained.module(), trained.scaled_images(FEW.test_images[:3])
    with torch.inference_mode():
        several = [module(each).softmax(1) for each in VIEWS[views](pixels)]
    assert len(several) == {"one": 1, "mirror": 2, "ten-crop": 10, "scales": 6}[views]
    assert np.allclose(found[:3], torch.stack(several).mean(0).numpy(), atol=1e-6)


def test_ten_crops_are_the_corners_and_the_middle():
    import torch

    images = torch.arange(64.0 * 64).reshape(1, 1, 64, 64)
    crops = list(VIEWS["ten-crop"](images))
    corners = [images[:, :, top : top + 56, left : left + 56] for top, left in ((0, 0), (0, 8), (8, 0), (8, 8), (4, 4))]
    for crop, mirrored, corner in zip(crops[::2], crops[1::2], corners, strict=True):
        assert crop.shape == images.shape
        assert torch.equal(mirrored, crop.flip(3))
        assert float(crop.mean()) == pytest.approx(float(corner.mean()), rel=0.01)


def test_unknown_views_and_networks_of_one_size_are_refused(trained, tmp_path):
    with pytest.raises(UserError, match="unknown views 'mirorr'; did you mean 'mirror'"):
        probabilities(trained, FEW.test_images, "mirorr")
    recipe = make_recipe("sgd", epochs=1, batch=64)
    one_size = train(classic("lenet5"), FEW.resized(32), recipe, tmp_path / "x")
    with pytest.raises(UserError, match="views scales: the network takes images of one size only"):
        probabilities(one_size, FEW.resized(32).test_images, "scales")
