"""Laws of images that stay in their files: what is read is what is decoded, and a training goes on to the image."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from estimators import load_data
from estimators.batches import channel_statistics
from estimators.in_files import InFiles, frame
from estimators.recipe import make_recipe
from estimators.trained import Trained
from estimators.training import train
from nas.evaluating import evaluate
from searchspaces import Scale, Scaled, Task, UserError, space_named

SMALL = Scaled(space_named("resnet-cifar").references["resnet20"], Scale(width=0.25, depth=0.34), Task(32))
RECIPE = make_recipe("sgd", epochs=3, batch=8, resized_crop=0.35, crop=0.0, ema=0.5)


def photographs(folder: Path, grey: bool = False, parts: tuple[str, ...] = ("train",)) -> Path:
    """Forty JPEGs of two classes in each part, oblong, every third turned by EXIF."""
    rng = np.random.default_rng(3)
    exif = Image.Exif()
    exif[0x0112] = 6
    for part in parts:
        for number in range(40):
            pixels = rng.integers(0, 256, (30, 44) if grey else (30, 44, 3), np.uint8)
            place = folder / part / ("cat", "dog")[number % 2] / f"{number}.jpg"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(place, **({"exif": exif} if number % 3 == 0 else {}))
    return folder / "train" if parts == ("train",) else folder


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("parts", [("train",), ("train", "val", "test")])
def test_rows_are_the_decoded_images(tmp_path, grey, parts):
    folder = str(photographs(tmp_path / "photos", grey, parts))
    held, found = load_data(folder, 16, cache="none"), load_data(folder, 16, cache="none", in_files=True)
    assert found.fingerprint == held.fingerprint
    assert found.describe() == {**held.describe(), "in_files": True, "fingerprint": held.fingerprint}
    rows = np.array([5, 3, 3, 0])
    for one, other in ((found.images, held.images), (found.test_images, held.test_images)):
        assert isinstance(one, InFiles)
        assert one.shape == other.shape
        assert np.array_equal(one[:], other)
        assert np.array_equal(one[rows], other[rows])
        assert np.array_equal(one[2], other[2])
        assert np.array_equal(np.asarray(one), other)
        assert np.array_equal(pickle.loads(pickle.dumps(one))[rows], other[rows])
        assert np.array_equal(np.concatenate([pixels for _, pixels in one.parts(rows)]), other[rows])
        for exact, known in zip(channel_statistics(one, rows), channel_statistics(other, rows), strict=True):
            assert np.array_equal(exact, known)


def test_a_file_of_three_channels_is_read_in_one_as_elsewhere(tmp_path):
    from estimators.data import recoloured

    found = load_data(str(photographs(tmp_path / "photos")), 16, cache="none", in_files=True)
    assert np.array_equal(found.images.in_channels(1)[:], recoloured(found.images[:], 1))


def test_frames_are_inside_and_of_the_area_and_ratio_that_are_asked_for():
    rng = np.random.default_rng(0)
    drawn = np.array([(*frame(400, 300, 0.25, rng),) for _ in range(4000)])
    left, top, width, height = drawn.T
    assert (left >= 0).all()
    assert (top >= 0).all()
    assert (left + width <= 400).all()
    assert (top + height <= 300).all()
    ratios, areas = width / height, width * height / (400 * 300)
    assert ratios.min() >= 0.74
    assert ratios.max() <= 1.35
    assert areas.min() >= 0.245
    assert areas.max() <= 1
    # of areas uniform in 0.25 to 1 those that do not fit are drawn anew: fewer large ones, but many
    assert 0.45 < areas.mean() < 0.625
    assert frame(1000, 10, 0.9, rng) == (493, 0, 13, 10)  # nothing fits: the centre, at a ratio of 4 to 3


def test_a_crop_shows_what_its_frame_shows(tmp_path):
    # red falls from left to right and green from top to bottom, so that pixels say where they come from
    down, across = np.mgrid[:90, :120]
    for number in range(8):
        pixels = np.stack([across * 2, down * 2, np.full_like(down, number)], -1).astype(np.uint8)
        (tmp_path / "ab"[number % 2]).mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "ab"[number % 2] / f"{number}.png")
    images = load_data(str(tmp_path), 8, cache="none", in_files=True).images
    left, top, width, height = frame(120, 90, 0.3, np.random.default_rng((7, 1)))
    crop = images.crop(0, 0.3, (7, 1))
    step = width / 8
    assert abs(crop[0, :, 0] / 2 - (left + step * np.arange(8) + step / 2 - 0.5)).max() < 1.5
    step = height / 8
    assert abs(crop[:, 0, 1] / 2 - (top + step * np.arange(8) + step / 2 - 0.5)).max() < 1.5


def test_a_training_from_files_cut_at_any_step_ends_the_same(tmp_path):
    data = load_data(str(photographs(tmp_path / "photos")), 32, cache="none", in_files=True)
    train(SMALL, data, RECIPE, tmp_path / "whole", seed=2)
    seen = []

    def stop_after(steps):
        def on_moment(moment):
            seen.append(moment.step)
            if moment.step == steps:
                raise KeyboardInterrupt

        return on_moment

    for steps in (1, 6):  # within the first epoch and within the second
        with pytest.raises(KeyboardInterrupt):
            train(SMALL, data, RECIPE, tmp_path / "cut", seed=2, on_moment=stop_after(steps))
    train(SMALL, data, RECIPE, tmp_path / "cut", seed=2)
    assert seen == [*range(1, 7)]
    for file in ("best.safetensors", "last.safetensors"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "cut" / file).read_bytes()
    document = evaluate([Trained.open(tmp_path / "cut")], reading={"cache": "none"})
    assert document["accuracy"] == Trained.open(tmp_path / "cut").facts["test_accuracy"]


def test_it_does_not_depend_on_how_many_processes_decode(tmp_path, monkeypatch):
    from estimators import batches

    data = load_data(str(photographs(tmp_path / "photos")), 32, cache="none", in_files=True)
    for number in (1, 2):
        monkeypatch.setattr(batches, "cores", lambda number=number: number + 1)
        train(SMALL, data, RECIPE, tmp_path / str(number), seed=2)
    assert (tmp_path / "1" / "last.safetensors").read_bytes() == (tmp_path / "2" / "last.safetensors").read_bytes()


def test_a_file_that_is_lost_meanwhile_is_one_line_with_its_name(tmp_path):
    folder = photographs(tmp_path / "photos")
    data = load_data(str(folder), 32, cache="none", in_files=True)
    for file in folder.rglob("*.jpg"):
        file.write_bytes(b"gone")
    with pytest.raises(
        UserError, match=r"/\d+\.jpg' cannot be read as an image: it is not in a supported image format"
    ):
        train(SMALL, data, RECIPE, tmp_path / "x", seed=2)


def runs(pid: int) -> bool:
    """Whether there is such a process, and not one that has ended and nobody has asked how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_command_trains_from_files_and_killed_it_goes_on_to_the_same_weights(nas_cli, tmp_path):
    folder, network = photographs(tmp_path / "photos"), tmp_path / "small.json"
    network.write_text(SMALL.to_json())
    settings = ["--image-size", "96", "--set", "epochs=2", "--set", "batch=4", "--checkpoint-every", "0.001s"]
    words = ["train", str(network), "--data", str(folder), "--device", "cpu", *settings, "--quiet", "--out"]
    whole = nas_cli(*words, tmp_path / "whole")
    assert whole.code == 0, whole.err
    assert Trained.open(tmp_path / "whole").facts["data"]["in_files"] is True
    command = [sys.executable, "-m", "nas", *words, str(tmp_path / "cut")]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    while not (tmp_path / "cut" / "checkpoint.safetensors").exists():
        assert killed.poll() is None
        time.sleep(0.01)
    children = Path(f"/proc/{killed.pid}/task/{killed.pid}/children")
    loaders = [int(each) for each in children.read_text().split()] if children.exists() else []
    assert loaders or not children.exists()
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    resumed = nas_cli(*words, tmp_path / "cut")  # at once: no loader process still holds the folder
    assert resumed.code == 0, resumed.err
    until = time.monotonic() + 30
    while any(map(runs, loaders)) and time.monotonic() < until:  # it is told of the death of its parent
        time.sleep(0.05)
    assert not any(map(runs, loaders))
    assert (tmp_path / "whole" / "last.safetensors").read_bytes() == (
        tmp_path / "cut" / "last.safetensors"
    ).read_bytes()


def test_what_could_be_read_within_a_limit_of_pixels_can_be_cropped_within_it(tmp_path):
    for number in range(8):
        place = tmp_path / "set" / ("cat", "dog")[number % 2] / f"{number}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((2000, 1600), 40).convert("RGB").save(place)
    images = load_data(str(tmp_path / "set"), 128, cache="none", in_files=True, max_pixels=500_000).images
    for seed in range(20):  # of 3,200,000 pixels, of which a quarter of a side is enough for the whole
        assert images.crop(0, 0.08, (seed,)).shape == (128, 128, 3)
