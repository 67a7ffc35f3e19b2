"""Class activation maps, and `nas predict --explain`: which parts of an image a prediction comes from."""

from __future__ import annotations

import base64
import io
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from estimators.activation_maps import CAM, GRAD_CAM, activation_maps
from estimators.image_files import read_images
from estimators.trained import Trained, settled
from nas.explaining import beside
from searchspaces import Task, UserError, classic

POOLED_LINEAR = ("resnet20", "densenet121", "mobilenetv2_050", "regnetx_002")
"""Networks that end with global average pooling and one linear layer."""
OTHERS = ("mobilenetv3_small_100", "vgg11", "lenet5")
"""A convolution after pooling; several linear layers; no global pooling."""


def fresh(name, size=64):
    """Random weights, as a trained network gives them, and three images; the linear layers are no longer near 0."""
    task = Task(size, 3, 5)
    module = settled(lambda: classic(name).build(task), task)
    with torch.random.fork_rng([]), torch.no_grad():
        torch.manual_seed(0)
        for each in module.modules():
            if isinstance(each, torch.nn.Linear):
                each.weight.normal_(0, each.in_features**-0.5)
                each.bias.normal_()
    images = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), np.uint8)
    trained = SimpleNamespace(module=lambda which: module, scaled_images=scaled)
    with torch.no_grad():
        return trained, images, module, module(scaled(images))


def scaled(images):
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 128 - 1


@pytest.mark.parametrize("name", POOLED_LINEAR)
def test_the_mean_of_a_class_activation_map_is_the_logit_less_its_bias(name):
    trained, images, module, logits = fresh(name)
    bias = [each for each in module.modules() if isinstance(each, torch.nn.Linear)][-1].bias
    for classes in ([0, 1, 2], [4, 4, 0]):
        found = activation_maps(trained, images, classes)
        assert found.method == CAM
        want = (logits - bias)[range(3), classes].detach().numpy()
        assert found.maps.mean((1, 2)) == pytest.approx(want, rel=1e-3, abs=1e-4)
        assert want.std() > 1e-3  # else the law would hold for a map of nothing


@pytest.mark.parametrize("name", POOLED_LINEAR)
def test_grad_cam_is_the_positive_part_of_a_class_activation_map_over_its_pixels(name, monkeypatch):
    trained, images, _, _ = fresh(name)
    first = activation_maps(trained, images, [0, 1, 2]).maps
    monkeypatch.setattr("estimators.activation_maps._pooled_linear", lambda after: None)
    second = activation_maps(trained, images, [0, 1, 2])
    assert second.method == GRAD_CAM
    want = np.maximum(first, 0) / (first.shape[1] * first.shape[2])
    assert second.maps == pytest.approx(want, rel=1e-3, abs=1e-5)
    assert want.max() > 1e-3


@pytest.mark.parametrize("name", OTHERS)
def test_other_networks_have_grad_cam_of_the_class_that_is_asked_for(name):
    trained, images, _, _ = fresh(name, 32 if name == "lenet5" else 64)
    first, second = (activation_maps(trained, images, [at] * 3) for at in (0, 1))
    assert first.method == GRAD_CAM
    assert first.maps.min() >= 0
    assert first.maps.shape[1] * first.maps.shape[2] > 1
    assert not np.allclose(first.maps, second.maps)


def test_a_network_without_a_map_of_several_pixels_is_refused():
    only = SimpleNamespace(module=lambda which: torch.nn.Sequential(torch.nn.Flatten()), scaled_images=scaled)
    with pytest.raises(UserError, match="no feature maps larger than one pixel"):
        activation_maps(only, np.zeros((1, 8, 8, 3), np.uint8), [0])


def test_the_brightest_place_is_where_the_map_is_largest_and_the_rest_is_grey():
    found = np.full((4, 4), -1.0, np.float32)
    found[0, 3] = 2.0
    picture = np.asarray(beside(np.full((16, 16, 1), 100, np.uint8), found))
    assert picture.shape == (224, 448, 3)
    assert (picture[:, :224] == 100).all()  # what the network saw
    over = picture[:, 224:].astype(int)
    assert np.unravel_index(over.sum(2).argmax(), (224, 224))[0] < 56
    assert np.unravel_index(over.sum(2).argmax(), (224, 224))[1] >= 168
    assert np.ptp(over[112:, :112], axis=2).max() <= 4  # no colour: 0.4 of the grey, and the darkest of the heat


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    from benchmarks.one_way import made_network

    return made_network(tmp_path_factory.mktemp("explain"), 3, 0.6)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """The same picture upright and on its side with an orientation, and another one."""
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(1)
    image = Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8))
    image.save(folder / "upright.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    (folder / "more").mkdir()
    image.transpose(Image.Transpose.ROTATE_90).save(folder / "more" / "upright.png", exif=exif)
    Image.fromarray(rng.integers(0, 256, (50, 50), np.uint8)).save(folder / "grey.png")
    return folder


def test_a_folder_has_a_picture_of_what_the_network_saw_for_each_file(nas_cli, trained, photographs, tmp_path):
    document = nas_cli("predict", trained, photographs, "--explain", tmp_path / "maps", "--json").json()
    files = document["explanation"]["files"]
    assert sorted(each.rpartition("/")[2] for each in files) == ["grey.png", "upright-2.png", "upright.png"]
    pictures = {each.rpartition("/")[2]: np.asarray(Image.open(each)) for each in files}
    assert np.array_equal(pictures["upright.png"], pictures["upright-2.png"])
    network = Trained.open(trained)
    seen, _ = read_images([photographs / "upright.png"], network.task.image_size, 3, centre=0.6)
    left = pictures["upright.png"][:, : pictures["upright.png"].shape[1] // 2]
    factor = left.shape[0] // network.task.image_size
    assert np.array_equal(left[::factor, ::factor], seen[0])


def test_predicting_crops_files_as_training_did(nas_cli, trained, photographs):
    (one,) = nas_cli("predict", trained, photographs / "upright.png", "--top", "99", "--json").json()["images"]
    network = Trained.open(trained)
    told = {each["class"]: each["probability"] for each in one["classes"]}
    at = [told[name] for name in network.class_names]
    for centre, same in ((0.6, True), (1.0, False)):
        seen, _ = read_images([photographs / "upright.png"], network.task.image_size, 3, centre=centre)
        logits = torch.from_numpy(network.logits(seen))
        assert (logits.softmax(1)[0].tolist() == pytest.approx(at, abs=1e-6)) is same


def test_a_page_has_all_images_inside_it(nas_cli, trained, photographs, tmp_path):
    said = nas_cli("predict", trained, photographs, "--explain", tmp_path / "maps.html")
    assert said.out.splitlines()[-1] == str(tmp_path / "maps.html")
    text = (tmp_path / "maps.html").read_text()
    assert not re.search(r'<(script|link|img|iframe)[^>]+(src|href)="(?!data:)', text)
    shown = re.findall(r'<img src="data:image/png;base64,([^"]+)"', text)
    sizes = {Image.open(io.BytesIO(base64.b64decode(each))).size for each in shown}
    assert len(shown) == 3
    assert {width / height for width, height in sizes} == {2}


def test_a_folder_may_have_a_point_in_its_name(nas_cli, trained, photographs, tmp_path):
    said = nas_cli("predict", trained, photographs, "--explain", tmp_path / "maps v1.0", "--json")
    assert said.code == 0
    assert len([*(tmp_path / "maps v1.0").iterdir()]) == len(said.json()["images"])


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--explain", "maps.html", "--views", "mirror"], "leave out --views mirror"),
        (["--explain", "maps.jpg"], "must be an HTML page (.html) or a folder"),
    ],
)
def test_what_cannot_be_explained_is_one_line(nas_cli, trained, photographs, words, why):
    said = nas_cli("predict", trained, photographs, *words)
    assert said.code == 2
    assert why in said.err


def test_the_filters_of_the_first_convolution_are_drawn(nas_cli, trained, tmp_path):
    from nas.filters import filters_picture

    said = nas_cli("show", trained, "--filters", tmp_path / "filters.png", "--json")
    assert said.json()["filters"] == str(tmp_path / "filters.png")
    module = Trained.open(trained).module()
    weights = next(each for each in module.modules() if isinstance(each, torch.nn.Conv2d)).weight.detach().numpy()
    picture = np.asarray(Image.open(tmp_path / "filters.png"))
    assert np.array_equal(picture, filters_picture(weights))
    factor = 48 // weights.shape[2]
    cell = picture[4 : 4 + 48 : factor, 4 : 4 + 48 : factor].astype(float)  # the first filter, a pixel a weight
    want = weights[0].transpose(1, 2, 0) / np.abs(weights[0]).max()
    assert cell / 127.5 - 1 == pytest.approx(want, abs=0.005)  # half a level of 127.5
    assert nas_cli("show", "resnet50", "--filters", tmp_path / "filters.png").code == 2
    assert "must end in .png" in nas_cli("show", trained, "--filters", tmp_path / "filters.jpg").err


@pytest.mark.parametrize("channels", [1, 3])
def test_a_weight_of_0_is_grey_and_filters_stand_apart(channels):
    from nas.filters import filters_picture

    weights = np.zeros((5, channels, 3, 3), np.float32)
    weights[4, :, 1, 1] = -2.0
    picture = filters_picture(weights)
    assert picture.shape == (2 * 52 + 4, 3 * 52 + 4, 3)  # rows of three, 16 pixels a weight and 4 between filters
    assert (picture[4:52, 4:52] == 128).all()
    assert (picture[:, :4] == 255).all()
    middle = picture[56 + 16 : 56 + 32, 56 + 16 : 56 + 32]  # of the fifth filter
    assert (middle == 0).all()
