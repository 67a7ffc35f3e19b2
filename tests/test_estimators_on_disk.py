"""Laws of images that stay on disk: they, and what is trained on them, are what they would be in memory."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from estimators import ShortTraining, TrialContext, decoded_cache, load_data
from estimators.image_facts import FACTS
from estimators.on_disk import OnDisk
from estimators.recipe import make_recipe
from estimators.trained import Trained
from estimators.training import train
from nas.evaluating import evaluate
from searchspaces import Scale, Scaled, Task, UserError, space_named

SMALL = Scaled(space_named("resnet-cifar").references["resnet20"], Scale(width=0.25, depth=0.34), Task(32))


def photographs(folder: Path, grey: bool = False, parts: tuple[str, ...] = ("train",)) -> Path:
    """Forty images of two classes in each part."""
    rng = np.random.default_rng(3)
    for part in parts:
        for number in range(40):
            pixels = rng.integers(0, 256, (9, 12) if grey else (9, 12, 3), np.uint8)
            place = folder / part / ("cat", "dog")[number % 2] / f"{number}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(place)
    return folder / "train" if parts == ("train",) else folder


@pytest.fixture
def both(tmp_path, monkeypatch):
    """Loads data in memory and, with the bound lowered, from disk."""

    def load(folder: Path, size: int = 8):
        cache = str(tmp_path / "cache")
        held = load_data(str(folder), size, cache="none")
        monkeypatch.setenv("NAS_MEMORY_LIMIT", "1000")
        found = load_data(str(folder), size, cache=cache)
        assert isinstance(found.images, OnDisk)
        return held, found

    return load


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("parts", [("train",), ("train", "val", "test")])
def test_they_are_the_images_of_memory(tmp_path, both, grey, parts):
    held, found = both(photographs(tmp_path / "photos", grey, parts))
    assert found.fingerprint == held.fingerprint
    assert found.describe() | {"notes": []} == held.describe() | {"notes": []}
    assert found.images.shape == held.images.shape
    rows = np.array([5, 3, 3, 0])
    for one, other in ((found.images, held.images), (found.test_images, held.test_images)):
        assert np.array_equal(one[:], other)
        assert np.array_equal(one[rows], other[rows])
        assert np.array_equal(one[2], other[2])
        assert np.array_equal(one[1:5, 2:4, :, 0], other[1:5, 2:4, :, 0])
        assert np.array_equal(np.asarray(one), other)
        assert np.array_equal(pickle.loads(pickle.dumps(one))[rows], other[rows])
        assert len(pickle.dumps(one)) < 2000  # the pixels stay where they are
    assert found.resized(4).fingerprint == held.resized(4).fingerprint


def test_trainings_and_evaluations_are_the_same_to_the_last_bit(tmp_path, both):
    folder = photographs(tmp_path / "photos")
    held, found = both(folder)
    settings = {"epochs": 2, "batch": 8, "width": 1.0, "depth": 1.0, "data_fraction": 1.0}
    one, other = (ShortTraining(data, **settings).estimate(SMALL.architecture, TrialContext(1, "cpu"))
                  for data in (held, found))  # fmt: skip
    assert (one.curve, one.details["train_loss"]) == (other.curve, other.details["train_loss"])
    recipe = make_recipe("sgd", epochs=2, batch=8, randaugment_operations=1)
    for name, data in (("held", held), ("found", found)):
        train(SMALL, data, recipe, tmp_path / name, seed=2)
    files = [(tmp_path / name / "best.safetensors").read_bytes() for name in ("held", "found")]
    assert files[0] == files[1]
    documents = [evaluate([Trained.open(tmp_path / name)], reading={"cache": str(tmp_path / "cache")})
                 for name in ("held", "found")]  # fmt: skip
    assert documents[0]["accuracy"] == documents[1]["accuracy"]
    assert documents[0]["images"] == len(held.test_labels)


def test_the_second_start_decodes_nothing_and_a_broken_file_leaves_nothing_behind(tmp_path, both, monkeypatch):
    from estimators import sources

    folder = photographs(tmp_path / "photos")
    _, found = both(folder)

    def never(*given):
        raise AssertionError

    monkeypatch.setattr(sources, "decoded_bytes", never)
    assert load_data(str(folder), 8, cache=str(tmp_path / "cache")).fingerprint == found.fingerprint
    monkeypatch.undo()
    monkeypatch.setenv("NAS_MEMORY_LIMIT", "1000")
    (folder / "cat" / "broken.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"broken\.png"):
        load_data(str(folder), 8, cache=str(tmp_path / "other"))
    assert list((tmp_path / "other").iterdir()) == []
    skipping = load_data(str(folder), 8, cache=str(tmp_path / "other"), skip_bad=True)
    assert skipping.fingerprint == found.fingerprint


def test_two_processes_that_decode_the_same_do_not_write_into_one_file(tmp_path):
    facts = np.zeros(4, FACTS)
    one = decoded_cache.on_disk(tmp_path, "x", (4, 2, 2, 3))
    one[:2] = 7
    other = decoded_cache.on_disk(tmp_path, "x", (4, 2, 2, 3))
    one[2:] = 7
    assert (decoded_cache.finished(tmp_path, "x", one, facts, {}, {}).images[:] == 7).all()
    other[:] = 7
    assert (decoded_cache.finished(tmp_path, "x", other, facts, {}, {}).images[:] == 7).all()
    killed = decoded_cache.on_disk(tmp_path, "x", (4, 2, 2, 3))
    os.utime(killed.filename, (0, 0))
    decoded_cache.drop(decoded_cache.on_disk(tmp_path, "x", (4, 2, 2, 3)))
    assert {each.name for each in tmp_path.iterdir()} == {"x.images.npy", "x.facts.npy", "x.json"}
    decoded_cache.on_disk(tmp_path, "y", (4, 2, 2, 3))  # of a process that is killed now
    decoded_cache.remove_parts(tmp_path)
    assert {each.name for each in tmp_path.iterdir()} == {"x.images.npy", "x.facts.npy", "x.json"}


def test_without_a_place_on_disk_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("NAS_MEMORY_LIMIT", "1000")
    with pytest.raises(UserError, match="GiB that memory should hold: keep them in a cache on disk with --cache"):
        load_data(str(photographs(tmp_path / "photos")), 8, cache="none")
