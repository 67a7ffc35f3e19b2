"""Photographs as people have them, through the command line: what is read is right, or is said in one line."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from photographs import CLASSES, in_mode, of_every_mode, photograph, photographs, pixels
from PIL import Image

from searchspaces import Scale, Scaled, Task, UserError, space_named

SMALL = Scaled(space_named("mbconv").references["mobilenetv2_100"], Scale(width=0.25, depth=0.3), Task(16, 3, 2))


@pytest.fixture
def searched(nas_cli, tmp_path, monkeypatch):
    """A search of one trial of one epoch; the screen in one line, since it is a panel, and the manifest."""
    monkeypatch.setenv("COLUMNS", "200")

    def search(data: object, *more: str):
        name = f"run{len(list(tmp_path.glob('runs/*')))}"
        words = ["search", "--budget", "400M", "--data", str(data), "--trials", "1", "--ledger", "journal"]
        settings = ["--set", "estimator.epochs=1", "--set", "estimator.image_size=16", "--strategy", "random"]
        said = nas_cli(*words, "--out", str(tmp_path / "runs"), "--name", name, *settings, *more)
        manifest = tmp_path / "runs" / name / "study.json"
        found = json.loads(manifest.read_text())["estimator"]["resolved"] if manifest.exists() else {}
        return said.code, " ".join(said.out.replace("│", " ").split()), said.err, found

    return search


@pytest.fixture
def refused(searched):
    """The one line of a search that cannot begin."""

    def search(data: object, *more: str) -> str:
        code, _, err, _ = searched(data, *more)
        assert code == 2
        assert err.count("\n") == 1
        return err

    return search


# Layouts


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [("train", "valid", "test"), ("Training", "Val", "Testing"), ("TRAIN", "validation", "test")],
)
def test_validation_and_test_parts_are_used_for_what_they_are(searched, tmp_path, train, val, test):
    for seed, (part, each) in enumerate(((train, 6), (val, 3), (test, 2))):
        photographs(tmp_path / "set" / part, each=each, seed=seed)
    code, out, _, found = searched(tmp_path / "set")
    assert code == 0
    assert (found["train_images"], found["val_images"]) == (12, 6)
    assert (found["data"]["test_images"], found["data"]["test_part"]) == (4, "own")
    assert "validation images: the 6 of the validation part" in out


def test_the_only_part_held_out_is_for_the_test(searched, tmp_path):
    photographs(tmp_path / "set" / "Training", each=6)
    photographs(tmp_path / "set" / "Testing", each=2, seed=1)
    code, _, _, found = searched(tmp_path / "set")
    assert code == 0
    assert (found["data"]["images"], found["data"]["test_images"]) == (12, 4)


def test_pictures_without_labels_are_said_and_not_used(searched, tmp_path):
    photographs(tmp_path / "set" / "train")
    for number in range(4):
        photograph(tmp_path / "set" / "test" / f"{number}.png", number + 50)
    code, out, _, found = searched(tmp_path / "set")
    assert code == 0
    assert "'test' has 4 images but no class folders and is not used" in out
    assert found["data"]["test_part"].startswith("held out")


def test_a_class_may_be_called_train(searched, tmp_path):
    code, _, _, found = searched(photographs(tmp_path / "set", ("bus", "car", "train")))
    assert code == 0
    assert found["data"]["task"] == "16x16x3:3"


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        (("valid/cat", "valid/dog", "test/cat", "test/dog"), "has the folders 'test', 'valid', but none named 'train'"),
        (("train/cat", "train/dog", "val/cat", "valid/cat", "valid/dog"), "has both 'val' and 'valid'"),
        (("train/cat", "train/dog", "test/cat", "more/cat"), "next to them 'more', which also has images"),
        (("cat/train", "cat/test", "dog/train", "dog/test"), "put the parts outside, as in train/CLASS"),
        (("train", "test"), "'train' has 3 images but no class folders"),
        (("train/cat", "train/dog", "test/emu"), "'test' has class 'emu', which 'train' does not have"),
    ],
)
def test_a_layout_that_is_not_understood_is_refused_by_what_was_seen(refused, tmp_path, folders, said):
    for seed, folder in enumerate(folders):
        for number in range(3):
            photograph(tmp_path / "set" / folder / f"{number}.png", 10 * seed + number)
    assert said in refused(tmp_path / "set")


def test_run_folders_are_never_data(nas_cli, tmp_path, monkeypatch):
    monkeypatch.chdir(photographs(tmp_path / "set"))
    quick = ["--set", "estimator.epochs=1", "--set", "estimator.image_size=16", "--strategy", "random", "--trials", "1"]
    for name in ("first", "second"):
        said = nas_cli("search", "--budget", "400M", "--data", ".", "--name", name, *quick)
        assert said.code == 0, said.err
    manifest = json.loads(Path("runs/second/study.json").read_text())
    assert manifest["estimator"]["resolved"]["data"]["task"] == "16x16x3:2"


# Junk, links, copies


def test_junk_is_skipped_at_every_depth_and_counted(searched, tmp_path):
    data = photographs(tmp_path / "set")
    for file in (".ipynb_checkpoints/1-checkpoint.png", "@eaDir/1.png", "more/.hidden/2.png", "._0.png", "Thumbs.db"):
        photograph(data / "cat" / f"{file}.png", 99).rename(data / "cat" / file)
    photograph(data / "__MACOSX" / "cat" / "0.png", 99)
    for file in ("labels.csv", "cat/0.xml", "dog/0.xml"):
        (data / file).write_text("x")
    (data / "annotations").mkdir()
    (data / "annotations" / "all.json").write_text("{}")
    code, out, _, found = searched(data)
    assert code == 0
    assert found["data"]["images"] + found["data"]["test_images"] == 12
    assert "skipped: .csv (1), .json (1), .xml (2), hidden or system files and folders (6)" in out
    assert "'annotations' has no images and is not a class" in out


def test_a_broken_image_is_one_line_with_its_name_and_can_be_skipped(searched, tmp_path):
    data = photographs(tmp_path / "set")
    for number in range(5):
        (data / "dog" / f"broken{number}.jpg").write_bytes(b"\xff\xd8\xff cut")
    code, _, err, _ = searched(data)
    assert code == 2
    assert err.count("\n") == 1
    assert "broken0.jpg' cannot be read as an image" in err
    assert "--skip-bad" in err
    code, out, _, found = searched(data, "--skip-bad")
    assert code == 0
    assert "skipped: 5 files that cannot be read as images: dog/broken0.jpg, dog/broken1.jpg" in out.replace("'", "")
    assert "and 2 more" in out
    assert found["data"]["images"] + found["data"]["test_images"] == 12


def test_a_run_that_skipped_bad_files_resumes_and_trains_without_saying_so_again(nas_cli, searched, tmp_path):
    data = photographs(tmp_path / "set")
    (data / "dog" / "broken.png").write_bytes(b"")
    assert searched(data, "--skip-bad")[0] == 0
    said = nas_cli("resume", tmp_path / "runs" / "run0", "--trials", "2", "--json", "--quiet")
    assert (said.code, said.json()["trials"]["complete"]) == (0, 2)
    trained = tmp_path / "trained"
    said = nas_cli("train", tmp_path / "runs" / "run0", "--epochs", "1", "--image-size", "16", "--out", trained)
    assert said.code == 0, said.err
    assert nas_cli("evaluate", trained).code == 0


def test_links_are_followed_but_not_in_circles(searched, tmp_path):
    data, elsewhere = photographs(tmp_path / "set", each=4), photographs(tmp_path / "elsewhere", each=5, seed=3)
    (data / "cat" / "linked").symlink_to(elsewhere / "cat")
    (data / "dog" / "one.png").symlink_to(elsewhere / "dog" / "0.png")
    (data / "cat" / "linked" / "up").symlink_to(data / "cat")
    (data / "dog" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    code, out, _, found = searched(data)
    assert code == 0
    assert found["data"]["images"] + found["data"]["test_images"] == 4 + 4 + 5 + 1
    assert "links to folders that were already read (1)" in out
    assert "broken links (1)" in out


def test_copies_of_test_images_are_kept_out_of_training(searched, tmp_path):
    photographs(tmp_path / "set" / "train", each=6)
    photographs(tmp_path / "set" / "test", each=2)  # the same seed: the same images
    code, out, _, found = searched(tmp_path / "set")
    assert code == 0
    assert "left out of the training part: 4 images that are also in the test part" in out
    assert (found["data"]["images"], found["data"]["test_images"]) == (8, 4)


def test_copies_within_a_class_are_never_in_training_and_test(searched, tmp_path):
    data = photographs(tmp_path / "set", each=8)
    for file in list(data.rglob("*.png")):
        (file.parent / f"copy of {file.name}").write_bytes(file.read_bytes())
    code, out, _, found = searched(data)
    assert code == 0
    assert "images that are also in the test part" in out
    assert found["data"]["images"] < 32 - found["data"]["test_images"]


def copied(data: Path, times: int = 1) -> Path:
    """Each image of a folder beside copies of it."""
    for file in list(data.rglob("*.png")):
        for number in range(times):
            (file.parent / f"copy {number} of {file.name}").write_bytes(file.read_bytes())
    return data


def test_copies_are_never_in_training_and_validation(searched, tmp_path):
    copied(photographs(tmp_path / "set" / "train", each=10))
    photographs(tmp_path / "set" / "test", each=2, seed=1)
    code, out, _, found = searched(tmp_path / "set")
    assert code == 0
    # 2 of 10 distinct images of each class are for validation, and their copies
    assert (found["train_images"], found["val_images"]) == (32, 8)
    said = "20 of 40 images are copies of others; no copy of a validation image is used for training"
    assert said in out
    assert said in found["data"]["notes"]


def test_a_set_without_an_image_to_validate_on_is_refused(refused, tmp_path):
    copied(photographs(tmp_path / "set" / "train", each=1), times=5)
    photographs(tmp_path / "set" / "test", each=2, seed=1)
    assert "all images of each class are copies of one; at least 2 different ones are needed" in refused(
        tmp_path / "set"
    )


# Names


def test_names_in_other_bytes_are_the_same_classes_and_work_everywhere(nas_cli, tmp_path):
    data = tmp_path / "set"
    photographs(data / "train", ("cafe\u0301", "dog"))
    photographs(data / "test", ("caf\u00e9", "dog"), each=2, seed=1)
    os.rename(data / "train" / "dog", os.fsencode(data / "train") + b"/d\xf6g")
    os.rename(data / "test" / "dog", os.fsencode(data / "test") + b"/d\xf6g")
    network = tmp_path / "small.json"
    network.write_text(SMALL.to_json())
    trained = tmp_path / "trained"
    assert nas_cli("train", network, "--data", data, "--epochs", "1", "--image-size", "16", "--out", trained).code == 0
    assert json.loads((trained / "training.json").read_text())["class_names"] == ["caf\u00e9", "d\u00f6g"]
    file = photograph(tmp_path / "one.png", 1)
    os.rename(file, os.fsencode(tmp_path) + b"/\xf6ne.png")
    for words in (
        ("evaluate", trained),
        ("predict", trained, os.fsdecode(os.fsencode(tmp_path) + b"/\xf6ne.png")),
        ("export", trained, "--to", "onnx,python", "--data", data),
    ):
        said = nas_cli(*words)
        assert said.code == 0, said.err


# Pixels


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small network that saw a few photographs."""
    from nas.cli import main

    at = tmp_path_factory.mktemp("trained")
    (at / "small.json").write_text(SMALL.to_json())
    words = ["train", str(at / "small.json"), "--data", str(photographs(at / "set")), "--epochs", "1"]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--image-size", "16", "--set", "batch=4", "--out", str(at / "one"), "--quiet"])
    assert not ended.value.code
    return at / "one"


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_images_of_many_bits_are_scaled(searched, tmp_path, mode):
    for label, name in enumerate(CLASSES):
        for number in range(8):
            file = tmp_path / "set" / name / f"{number}.tif"
            file.parent.mkdir(parents=True, exist_ok=True)
            in_mode(mode, pixels(100 * label + number, label)).save(file)
    code, _, _, found = searched(tmp_path / "set")
    assert code == 0
    assert found["data"]["task"] == "16x16x1:2"
    from estimators import load_data

    data = load_data(str(tmp_path / "set"), 24)
    want = np.asarray(Image.fromarray(pixels(0, 0)).convert("L"))
    assert any(np.abs(image[..., 0].astype(int) - want).max() <= 1 for image in [*data.images, *data.test_images])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.full((8, 8), 255_000, np.int32), "range from 255000 to 255000"),
        (np.full((8, 8), -3, np.int32), "range from -3 to -3"),
        (np.full((8, 8), np.nan, np.float32), "are not all finite"),
    ],
)
def test_numbers_without_a_usual_range_are_refused_with_the_files_name(refused, tmp_path, values, said):
    data = photographs(tmp_path / "set")
    Image.fromarray(values).save(data / "dog" / "odd.tif")
    err = refused(data)
    assert said in err
    assert "odd.tif' cannot be read as an image" in err


def of_floats(data: Path, white: float, each: int) -> Path:
    """A folder of images of floats up to a value, beside as many of 8 bits."""
    for label, name in enumerate(CLASSES):
        for number in range(each):
            shades = pixels(int(white) + 100 * label + number, label)[..., label] / 255  # up to 209 of 255
            image = Image.fromarray((shades * white).astype(np.float32))
            photograph(data / name / f"{number} to {white}.png", 5000 + int(white) + 100 * label + number)
            image.save(data / name / f"{number} to {white}.tif")
    return data


def test_the_range_of_floats_is_said(searched, tmp_path):
    data = of_floats(tmp_path / "set", 1, each=5)
    code, out, _, found = searched(data)
    assert code == 0
    note = "files of 32 bits or floats: 10 taken to lie in 0 to 1"
    assert note in found["data"]["notes"]
    assert note in out
    code, out, _, _ = searched(of_floats(data, 65535, each=1))
    assert code == 0
    mixed = f"{note}, 2 taken to lie in 0 to 65535; if all are meant on one scale, save them in 8 or 16 bits"
    assert mixed in out


def test_headers_of_some_files_are_enough_for_the_range(tmp_path, monkeypatch):
    from estimators import image_files

    monkeypatch.setattr(image_files, "LOOKED_AT", 3)
    files = sorted(of_floats(tmp_path, 255, each=4).rglob("*.tif"))
    notes = image_files.notes_on_ranges(files)
    assert notes == ["files of 32 bits or floats of 3 looked at: 3 taken to lie in 0 to 255"]
    assert image_files.notes_on_ranges(files, max_pixels=10) == []
    assert image_files.notes_on_ranges(sorted(tmp_path.rglob("*.png"))) == []


HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic\x00\x00\x00\x00"


@pytest.mark.parametrize("name", ["IMG_1.HEIC", "IMG_1.jpg"])
def test_heic_is_one_line_that_says_how_to_convert_it(refused, nas_cli, tmp_path, trained, name):
    data = photographs(tmp_path / "set")
    file = data / "dog" / name
    file.write_bytes(HEIC + bytes(100))
    said = f"'{file}' cannot be read as an image: it is HEIC, which is not supported; convert it to JPEG with"
    assert f"{said} `heif-convert" in refused(data)
    assert said in nas_cli("predict", trained, file).err
    assert nas_cli("export", trained, "--to", "python", "--out", tmp_path / "out").code == 0
    done = subprocess.run([sys.executable, tmp_path / "out" / "model.py", file], capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert said in done.stderr


def test_odd_exif_is_ignored_and_an_orientation_turns_the_pixels(nas_cli, tmp_path, trained):
    upright = photograph(tmp_path / "upright.png", 5)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = Image.open(upright).transpose(Image.Transpose.ROTATE_90)
    turned.save(tmp_path / "turned.png", exif=exif)
    text = b"\x01\x00" + b"\x12\x01\x02\x00\x04\x00\x00\x00abc\x00" + bytes(4)  # one tag: the orientation, as letters
    Image.open(upright).save(tmp_path / "odd.png", exif=b"Exif\x00\x00II*\x00\x08\x00\x00\x00" + text)
    Image.open(upright).save(tmp_path / "cut.png", exif=b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x05\x00\x12\x01")
    files = [tmp_path / f"{name}.png" for name in ("upright", "turned", "odd", "cut")]
    said = nas_cli("predict", trained, *files, "--json")
    assert (said.code, said.err) == (0, "")
    told = [one["classes"] for one in said.json()["images"]]
    assert told[0] == told[1] == told[2] == told[3]


def test_images_that_are_all_alike_are_said(searched, tmp_path):
    for name in CLASSES:
        for number in range(6):
            (tmp_path / "set" / name).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (20, 20)).save(tmp_path / "set" / name / f"{number}.png")
    code, out, _, _ = searched(tmp_path / "set")
    assert code == 0
    assert "all pixels of all images have the same value, 0" in out


def test_a_large_image_is_refused_with_a_way_round(searched, tmp_path, nas_cli, trained):
    data = photographs(tmp_path / "set")
    Image.new("L", (300, 200), 7).save(data / "dog" / "large.png")
    Image.new("L", (3000, 2000), 7).save(data / "dog" / "large.jpg")  # decoded at an eighth of its size
    code, _, err, _ = searched(data, "--max-pixels", "50000")
    assert code == 2
    assert "large.jpg' cannot be read as an image: it has 6,000,000 pixels, more than the limit of 50,000" in err
    (data / "dog" / "large.jpg").unlink()
    assert searched(data, "--max-pixels", "60000")[0] == 0
    said = nas_cli("predict", trained, data / "dog" / "large.png", "--max-pixels", "50000")
    assert (said.code, said.err.count("\n")) == (2, 1)
    said = nas_cli("predict", trained, data / "dog" / "large.png", data / "dog" / "0.png", "--max-pixels", "50000",
                   "--skip-bad", "--json")  # fmt: skip
    assert said.code == 0
    assert len(said.json()["images"]) == len(said.json()["skipped"]) == 1


@pytest.mark.parametrize(("channels", "centre"), [(1, 0.6), (3, 1.0)])
def test_every_way_from_a_file_to_a_class_agrees(nas_cli, tmp_path, channels, centre):
    """Eleven modes and nine orientations. 500 files, in grey uncut and in colours cut too: `benchmarks.one_way`."""
    from benchmarks.one_way import disagreements, made_network

    files = of_every_mode(tmp_path / "files", 99)
    assert set(disagreements(made_network(tmp_path, channels, centre, files), files).values()) == {0}


def test_a_turned_tiff_is_cropped_as_other_files_are(tmp_path):
    from estimators.image_files import upright_size

    exif = Image.Exif()
    exif[0x0112] = 6
    for ending in ("tif", "png", "jpg"):
        Image.new("RGB", (60, 30)).save(tmp_path / f"turned.{ending}", exif=exif)
        with (tmp_path / f"turned.{ending}").open("rb") as file:
            assert upright_size(file) == (30, 60)


def test_white_of_a_grey_map_of_16_bits_is_what_its_file_says(tmp_path):
    from estimators.image_files import in_rgb

    dark = tmp_path / "dark.pgm"
    dark.write_bytes(b"P5 4 1 65535\n" + np.array([0, 100, 200, 65535 // 4], ">u2").tobytes())
    with dark.open("rb") as file:
        assert np.asarray(in_rgb(file, 4, 10**6)[0])[0, :, 0].tolist() == [0, 0, 0, 63]
    dark.write_bytes(b"P5 4 1 65535\n" + np.array([0, 100, 200, 255], ">u2").tobytes())
    with dark.open("rb") as file:
        assert np.asarray(in_rgb(file, 4, 10**6)[0])[0, :, 0].tolist() == [0, 0, 0, 0]  # dark, not stretched


@pytest.mark.parametrize(
    ("bits", "colour", "values", "key"),
    [
        (1, 0, (1, 0), (0,)),
        (2, 0, (2, 1), (1,)),
        (4, 0, (5, 3), (3,)),
        (8, 0, (9, 10), (10,)),
        (16, 0, (0x1001, 0x1000), (0x1000,)),
        (8, 2, (9, 9, 9, 10, 11, 12), (10, 11, 12)),
        (16, 2, (0x3412, 0x3412, 0x3412, 0x1234, 0x1234, 0x1234), (0x1234, 0x1234, 0x1234)),
    ],
)
def test_the_transparent_value_of_a_png_is_white_and_no_other(bits, colour, values, key):
    """The chunk tRNS of each depth, of grey images (colour 0) and RGB (2): of two pixels the second is transparent."""
    from estimators.image_files import in_rgb

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    packed = sum(value << bits * (len(values) - 1 - index) for index, value in enumerate(values))
    unused = -bits * len(values) % 8  # bits of the last byte
    row = (packed << unused).to_bytes((bits * len(values) + unused) // 8, "big")
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, bits, colour, 0, 0, 0))
    content += chunk(b"tRNS", struct.pack(f">{len(key)}H", *key)) + chunk(b"IDAT", zlib.compress(b"\0" + row))
    image, _ = in_rgb(io.BytesIO(content + chunk(b"IEND", b"")), 2, 10**6)
    first = [round(255 * value / (2**bits - 1)) for value in values[: len(values) // 2]]
    assert np.abs(np.asarray(image)[0, 0].astype(int) - first).max() <= 1
    assert np.asarray(image)[0, 1].tolist() == [255, 255, 255]


@pytest.mark.parametrize(("bits", "white"), [(12, 1), (16, 1), (16, 0), (8, 1), (8, 0)])
def test_a_grey_tiff_is_as_bright_as_its_file_says(tmp_path, bits, white):
    """Of 8, 12 or 16 bits, where the largest value or, as in many X-rays (PhotometricInterpretation 0), 0 is white."""
    from estimators.image_files import in_rgb

    levels = np.array([[0, 60, 120, 255]])
    values = levels * (2**bits - 1) // 255 if white else (2**bits - 1) - levels * (2**bits - 1) // 255
    if bits == 12:
        one, two, three, four = values[0].tolist()
        pixels = b"".join(((a << 12) | b).to_bytes(3, "big") for a, b in ((one, two), (three, four)))
    else:
        pixels = values.astype(f"<u{bits // 8}").tobytes()
    tags = [(256, 4), (257, 1), (258, bits), (259, 1), (262, white), (273, 8), (277, 1), (278, 1), (279, len(pixels))]
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    file = tmp_path / "grey.tif"
    file.write_bytes(
        b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels + struct.pack("<H", len(tags)) + directory + bytes(4)
    )
    with file.open("rb") as opened:
        image, grey = in_rgb(opened, 4, 10**6)
    assert grey
    assert np.abs(np.asarray(image)[0, :, 0].astype(int) - levels[0]).max() <= 1


def test_a_file_of_every_format_is_an_image_by_its_name():
    from estimators.image_files import FORMATS
    from estimators.image_folders import _SUFFIXES

    Image.init()
    assert {suffix for suffix, known in Image.registered_extensions().items() if known in FORMATS} <= _SUFFIXES


def test_a_centre_crop_is_the_middle_of_the_shorter_side_and_another_set_of_images(tmp_path):
    from estimators import load_data

    rng = np.random.default_rng(0)
    for number in range(12):
        place = tmp_path / "set" / ("cat", "dog")[number % 2] / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8)).save(place)
    whole, centre = (load_data(str(tmp_path / "set"), 20, cache="none", centre=share) for share in (1.0, 0.5))
    # half of 40 pixels at 20: nothing is resized, and the square begins at (20, 10)
    files = sorted(tmp_path.rglob("*.png"), key=lambda file: file.parent.name)
    middles = {np.asarray(Image.open(file))[10:30, 20:40].tobytes() for file in files}
    assert {each.tobytes() for each in (*centre.images, *centre.test_images)} == middles
    assert centre.fingerprint != whole.fingerprint
    assert centre.describe()["centre"] == 0.5
    in_files = load_data(str(tmp_path / "set"), 20, cache="none", centre=0.5, in_files=True)
    assert in_files.fingerprint == centre.fingerprint
    assert np.array_equal(in_files.images[:], centre.images)
    for wrong in (0, 1.5, True):
        with pytest.raises(UserError, match="centre-crop must be above 0"):
            load_data(str(tmp_path / "set"), 20, centre=wrong)
    with pytest.raises(UserError, match="for image files"):
        load_data("digits", centre=0.5)


# Arrays


def npz(path: Path, **change: object) -> Path:
    images = np.random.default_rng(0).integers(0, 256, (40, 12, 12, 3), dtype=np.uint8)
    np.savez(path / "set.npz", **{"train_images": images, "train_labels": np.arange(40) % 2, **change})
    return path / "set.npz"


def test_channels_first_labels_in_a_column_and_names_as_bytes_are_taken(searched, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 3, 12, 12), dtype=np.uint8)
    names = np.array(["caf\u00e9".encode("latin-1"), b"dog"])
    file = npz(tmp_path, train_images=images, train_labels=(np.arange(40) % 2)[:, None], class_names=names)
    code, out, _, found = searched(file)
    assert code == 0
    assert found["data"]["task"] == "16x16x3:2"
    assert "train_images (40, 3, 12, 12) are read as (images, channels, height, width)" in out


def test_a_validation_part_among_arrays_is_used(searched, tmp_path):
    images = np.random.default_rng(1).integers(0, 256, (6, 12, 12, 3), dtype=np.uint8)
    code, _, _, found = searched(npz(tmp_path, val_images=images, val_labels=np.arange(6) % 2, test_images=images + 1,
                                     test_labels=np.arange(6) % 2))  # fmt: skip
    assert code == 0
    assert (found["train_images"], found["val_images"], found["data"]["test_images"]) == (40, 6, 6)


# Mirroring


@pytest.mark.parametrize(
    ("names", "mirror"),
    [
        (("b", "d"), False),
        (("b", "d", "space"), False),
        (("LeftTurn", "RightTurn"), False),
        (("turnleft", "turnright"), False),
        (("gauche", "droite"), False),
        (("digit_0", "digit_1"), False),
        (("Sample001", "Sample002"), False),
        (("n01440764", "n01443537"), True),
        (("bright", "dark"), True),
        (("cat", "dog"), True),
    ],
)
def test_mirroring_follows_from_the_names_and_is_said(searched, tmp_path, names, mirror):
    code, out, _, found = searched(photographs(tmp_path / "set", names))
    assert code == 0
    assert found["mirror"] is found["data"]["mirror"] is mirror
    assert ("mirroring images are randomly mirrored" if mirror else "mirroring off") in out
    assert f"--set estimator.mirror={'false' if mirror else 'true'} changes it" in out


def test_a_run_keeps_its_mirroring_where_names_are_judged_otherwise_by_now(nas_cli, searched, tmp_path, monkeypatch):
    from estimators import data

    assert searched(photographs(tmp_path / "set"))[3]["mirror"] is True
    monkeypatch.setattr(data, "mirroring", lambda names: (False, "judged otherwise"))
    said = nas_cli("resume", tmp_path / "runs" / "run0", "--trials", "2", "--json", "--quiet")
    assert (said.code, said.json()["trials"]["complete"]) == (0, 2)


def test_mirroring_is_on_the_screen_of_a_training_and_on_the_card(nas_cli, tmp_path, trained):
    assert nas_cli("export", trained, "--to", "python", "--out", tmp_path / "out").code == 0
    card = (tmp_path / "out" / "model_card.md").read_text()
    assert "| Mirrored left to right | at random (no class names look like characters" in card
    words = ["--epochs", "1", "--image-size", "16", "--set", "batch=4", "--set", "mirror=false"]
    said = nas_cli(
        "train", trained.parent / "small.json", "--data", trained.parent / "set", *words, "--out", tmp_path / "off"
    )
    assert "off: as set (--set mirror=true changes it)" in " ".join(said.out.split())


# Few images


@pytest.mark.parametrize("each", [3, 4])
def test_few_images_hold_out_at_least_one_of_each_class(nas_cli, tmp_path, each):
    data, network = photographs(tmp_path / "set", each=each), tmp_path / "small.json"
    network.write_text(SMALL.to_json())
    words = ["train", network, "--data", data, "--epochs", "1", "--image-size", "16", "--out", tmp_path / "out"]
    said = nas_cli(*words, "--json", "--quiet")
    assert said.code == 0, said.err
    assert said.json()["data"]["test_images"] == 2


def test_too_few_images_are_refused_before_the_training(refused, tmp_path):
    assert "too few images to hold any out for a test" in refused(photographs(tmp_path / "set", each=2))


# Evaluation


def test_what_is_there_is_evaluated(nas_cli, tmp_path, trained):
    photograph(tmp_path / "set" / "cat" / "only.png", 77)
    said = nas_cli("evaluate", trained, "--data", tmp_path / "set", "--json")
    assert said.code == 0
    assert [(one["class"], one["images"]) for one in said.json()["classes"]] == [("cat", 1), ("dog", 0)]
    photographs(tmp_path / "parts" / "test", each=1, seed=9)
    assert nas_cli("evaluate", trained, "--data", tmp_path / "parts", "--json").json()["images"] == 2
    photograph(tmp_path / "set" / "emu" / "1.png", 78)
    said = nas_cli("evaluate", trained, "--data", tmp_path / "set")
    assert said.code == 2
    assert "has class 'emu', which the network does not have" in said.err


def test_labels_beyond_the_classes_are_one_line(nas_cli, tmp_path, trained):
    for change in ({}, {"class_names": np.array(CLASSES)}):
        said = nas_cli("evaluate", trained, "--data", npz(tmp_path, train_labels=np.full(40, 2**62), **change))
        assert (said.code, said.err.count("\n")) == (2, 1)
        assert str(2**62) in said.err


def test_the_training_data_elsewhere_are_recognized(nas_cli, tmp_path, trained):
    (tmp_path / "moved").symlink_to(trained.parent / "set")
    said = nas_cli("evaluate", trained, "--data", tmp_path / "moved", "--json")
    assert (said.code, said.json()["part"]) == (0, "test")


def test_model_py_reads_no_broken_file(nas_cli, tmp_path, trained):
    assert nas_cli("export", trained, "--to", "python", "--out", tmp_path / "out").code == 0
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n")
    command = [sys.executable, tmp_path / "out" / "model.py", tmp_path / "broken.png"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "broken.png' cannot be read as an image" in done.stderr


# Kept decoded


def test_what_was_decoded_is_kept_shown_and_removed(nas_cli, searched, tmp_path, monkeypatch):
    from estimators import sources

    monkeypatch.setattr(sources, "SLOW_S", 0.0)
    data, cache = photographs(tmp_path / "set"), tmp_path / "cache"
    (data / "dog" / "broken.png").write_bytes(b"")
    first = searched(data, "--skip-bad", "--cache", str(cache))
    assert first[0] == 0
    said = nas_cli("cache", "--cache", cache, "--json").json()
    assert [(one["images"], one["image_size"], one["bad"]) for one in said["entries"]] == [(12, 16, 1)]
    assert said["entries"][0]["data"] == str(data)
    assert "of at most" in nas_cli("cache", "--cache", cache).out

    with monkeypatch.context() as patch:
        patch.setattr(sources, "decoded_bytes", lambda *given: pytest.fail("decoded again"))
        again = searched(data, "--skip-bad", "--cache", str(cache))
    assert again[3]["data"] == first[3]["data"]
    assert searched(data, "--cache", str(cache))[0] == 2  # a broken image is an error, kept or not

    for file in cache.glob("*.npy"):
        file.write_bytes(b"damaged")
    assert searched(data, "--skip-bad", "--cache", str(cache))[3]["data"] == first[3]["data"]
    os.utime(data / "cat" / "0.png", (1, 1))
    assert searched(data, "--skip-bad", "--cache", str(cache))[0] == 0
    assert len(nas_cli("cache", "--cache", cache, "--json").json()["entries"]) == 2
    assert nas_cli("cache", "--cache", cache, "--empty").code == 0
    assert list(cache.iterdir()) == []


def test_the_cache_is_bounded_and_what_was_used_last_stays(tmp_path, monkeypatch):
    from estimators import decoded_cache
    from estimators.decoded_cache import Decoded, entries, keep, read
    from estimators.image_facts import FACTS

    made = Decoded(np.zeros((10, 4, 4, 3), np.uint8), np.zeros(10, FACTS), {})
    monkeypatch.setattr(decoded_cache, "LIMIT_BYTES", 2 * (480 + 10 * FACTS.itemsize) + 100)  # of two and a bit
    for number, name in enumerate(("a", "b", "c")):
        keep(tmp_path, name, made, {})
        os.utime(tmp_path / f"{name}.json", (number, number))
        if name == "b":
            assert read(tmp_path, "a", 10) is not None  # used now, after b
    assert {each["name"] for each in entries(tmp_path)} == {"a", "c"}
