"""One image size and one task, from a person's own images to what is searched, trained, counted and measured."""

from __future__ import annotations

import json

import numpy as np
import pytest
from latency_stand_ins import made_up, measured_quickly
from photographs import pixels
from PIL import Image

from estimators.image_sizes import file_sizes
from searchspaces import Scale, Scaled, Task, classic, space_named
from studies import Study
from studies.settings import Settings

CLASSES = ("apple", "boat", "cat", "door")
SIDES = [(60 + 7 * number, 50 + 3 * number) for number in range(10)]
"""Widths and heights of ten oblong photographs: the shorter sides have a median of 63.5, the usual size below is 32."""
LARGER = [(width + 40, height + 20) for width, height in SIDES]
"""Their median is 83.5; the usual size below is 64."""


def photos(at, sides=LARGER):
    """Ten oblong photographs in each of four classes."""
    for label, name in enumerate(CLASSES):
        (at / name).mkdir(parents=True)
        for number, (width, height) in enumerate(sides):
            square = Image.fromarray(pixels(100 * label + number, label, max(width, height)))
            square.crop((0, 0, width, height)).save(at / name / f"{number}.jpg")
    return at


@pytest.fixture
def search(nas_cli, tmp_path, monkeypatch):
    """A search of one trial of one epoch: its screen in one line, its error and its manifest."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(data: object, *more: object, name: str = "run"):
        words = ["search", "--budget", "400M", "--trials", "1", "--ledger", "journal", "--strategy", "random"]
        words += ["--set", "estimator.epochs=1", "--device", "cpu", "--data", data, "--name", name]
        said = nas_cli(*map(str, [*words, "--out", tmp_path / "runs", *more]))
        path = tmp_path / "runs" / name / "study.json"
        manifest = json.loads(path.read_text()) if path.exists() else {}
        return " ".join(said.out.replace("│", " ").split()), said.err, manifest

    return run


def trained_at(manifest):
    return manifest["estimator"]["resolved"]["image_size"]


@pytest.mark.parametrize(("sides", "size"), [(SIDES, 32), (LARGER, 64), ([(3000, 400), (300, 800)], 224)])
def test_the_size_of_files_is_the_usual_one_below_the_median_of_their_shorter_sides(tmp_path, sides, size):
    found = file_sizes(str(photos(tmp_path / "photos", sides)))
    assert found is not None
    assert found.usual == size
    assert found.files == 4 * len(sides)


def test_costs_are_counted_on_the_images_as_they_are_and_smaller_trainings_say_so(nas_cli, search, tmp_path):
    out, _, manifest = search(photos(tmp_path / "photos"))
    assert manifest["task"] == "64x64x3:4"
    assert trained_at(manifest) == 32
    reason = "64 px: the shorter side of 40 image files has a median of 83 px (--image-size or --task changes it)"
    assert f"image size {reason}" in out
    assert "400M MACs, counted on 64x64x3:4" in out
    factors = {1.0: "", 0.5: " 1/2", 0.25: " 1/4"}
    width, depth = (manifest["estimator"]["resolved"][name] for name in ("width", "depth"))
    shrunken = "".join(f", {name}{factors[one]}" for name, one in (("width", width), ("depth", depth)) if one != 1)
    words = f"trained at 32 px{shrunken}; counted at 64 px"
    assert out.count(words) == 2  # in the header and in the table
    strides = "strides left out in stem (small-images)"
    assert out.count(strides) == 1  # the header has it in more words
    for screen in ([], ["--trial", "0"]):
        shown = " ".join(nas_cli("show", str(tmp_path / "runs" / "run"), *screen).out.split())
        assert f"{words} {strides}" in shown
    page = (tmp_path / "runs" / "run" / "pareto.html").read_text()
    assert f"T{words[1:]}. S{strides[1:]}." in page
    again, _, now = search(tmp_path / "photos")
    assert now == manifest
    assert "changes it" not in again.replace("estimator.mirror=false changes it", "")  # it was said


def test_an_image_size_is_what_costs_are_counted_at_and_candidates_trained_at(search, tmp_path):
    out, _, manifest = search(photos(tmp_path / "photos"), "--image-size", 48)
    assert (manifest["task"], trained_at(manifest)) == ("48x48x3:4", 48)
    assert "image size 48" not in out
    _, err, _ = search(tmp_path / "photos", "--image-size", 40)
    assert "task was '48x48x3:4' when the study began and is '40x40x3:4' now" in err
    assert search(tmp_path / "photos")[1:] == ("", manifest)


def test_the_estimator_s_image_size_is_what_candidates_are_trained_at_alone(search, tmp_path):
    _, _, manifest = search(photos(tmp_path / "photos"), "--set", "estimator.image_size=40")
    assert (manifest["task"], trained_at(manifest)) == ("64x64x3:4", 40)


def test_a_task_that_is_given_stays(search, tmp_path):
    out, _, manifest = search(photos(tmp_path / "photos"), "--task", "96x96x3:7")
    assert (manifest["task"], trained_at(manifest)) == ("96x96x3:7", 32)
    assert "image size 96" not in out


def test_a_run_that_began_on_another_task_resumes_on_it(nas_cli, search, tmp_path):
    _, _, before = search(photos(tmp_path / "photos"), "--task", "224x224x3:1000")
    out, err, after = search(tmp_path / "photos")
    assert (after, err) == (before, "")
    assert "counted on 224x224x3:1000" in out
    assert nas_cli("resume", str(tmp_path / "runs" / "run"), "--trials", "2").code == 0


def test_digits_are_counted_on_the_task_of_imagenet(search):
    out, _, manifest = search("digits", "--set", "estimator.data_fraction=0.1")
    assert (manifest["task"], trained_at(manifest)) == ("224x224x3:1000", 8)
    assert "image size" not in out
    _, _, manifest = search("digits", "--set", "estimator.data_fraction=0.1", "--image-size", 16, name="larger")
    assert (manifest["task"], trained_at(manifest)) == ("16x16x3:1000", 16)


@pytest.mark.parametrize(("more", "trained"), [((), 20), (("--set", "estimator.image_size=16"), 16)])
def test_arrays_keep_their_size(search, tmp_path, more, trained):
    images = np.random.default_rng(0).integers(0, 256, (40, 20, 28), dtype=np.uint8)
    np.savez(tmp_path / "set.npz", train_images=images, train_labels=np.arange(40) % 3)
    out, _, manifest = search(tmp_path / "set.npz", *more)
    assert (manifest["task"], trained_at(manifest)) == ("20x20x1:3", trained)
    assert "image size 20 px: the size of the arrays (--image-size or --task changes it)" in out


def test_the_size_of_a_set_of_the_hub_is_that_of_its_files(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets", reason="the extra 'hub' is not installed")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    images = [Image.fromarray(pixels(number, number, 100)).crop((0, 0, 100, 70)) for number in range(6)]
    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    rows = datasets.Dataset.from_dict({"img": images, "label": [0, 1] * 3}, features=features)
    (tmp_path / "set").mkdir()
    rows.to_parquet(tmp_path / "set" / "train.parquet")
    found = file_sizes(f"hub:{tmp_path / 'set'}")
    assert found is not None
    assert (found.shorter, found.files, found.usual) == (70, 6, 64)


def trained(nas_cli, tmp_path, *words: object):
    """The screen of a training of one epoch, in one line, and the task that it was trained on."""
    settings = ["--epochs", 1, "--set", "batch=8", "--device", "cpu", "--out", tmp_path / "trained"]
    said = nas_cli(*map(str, ["train", *words, *settings]))
    assert said.code == 0, said.err
    return " ".join(said.out.split()), json.loads((tmp_path / "trained" / "training.json").read_text())["task"]


def test_the_best_of_a_run_is_trained_at_the_size_that_costs_were_counted_at(nas_cli, search, tmp_path):
    search(photos(tmp_path / "photos"))
    out, task = trained(nas_cli, tmp_path / "1", tmp_path / "runs" / "run")
    assert task == "64x64x3:4"
    assert "image size 64 px: the size at which the run counted costs (--image-size changes it)" in out
    assert "the search counted costs on" not in out
    out, task = trained(nas_cli, tmp_path / "2", tmp_path / "runs" / "run", "--image-size", 32)
    assert task == "32x32x3:4"
    assert "the search counted costs on 64x64x3:4" in out
    out, task = trained(nas_cli, tmp_path / "2", tmp_path / "runs" / "run")  # it was begun there, and is finished
    assert task == "32x32x3:4"
    assert "started with it (--image-size changes it)" in out


def test_a_network_without_a_run_is_trained_at_the_size_of_the_files(nas_cli, tmp_path):
    out, task = trained(nas_cli, tmp_path, "mobilenetv3_small_100", "--data", photos(tmp_path / "photos"))
    assert task == "64x64x3:4"
    assert "64 px: the shorter side of 40 image files has a median of 83 px (--image-size changes it)" in out


def test_costs_and_latency_are_those_of_the_image_size(nas_cli):
    by_size = nas_cli("cost", "efficientnet_b0", "--image-size", "96", "--json").json()
    assert by_size == nas_cli("cost", "efficientnet_b0", "--task", "96x96x3:1000", "--json").json()
    quick = ["--runtime", "torch", "--json", "--quiet"]
    with measured_quickly():
        measured = nas_cli("measure", "mobilenetv3_small_100", "--image-size", "32", *quick).json()
    assert measured["networks"][0]["task"] == "32x32x3:1000"


def test_a_space_is_counted_at_the_image_size(nas_cli):
    small = nas_cli("space", "mbconv", "--image-size", "64", "--budget", "100M", "--json").json()
    assert small["task"] == "64x64x3:1000"
    assert small == nas_cli("space", "mbconv", "--task", "64x64x3:1000", "--budget", "100M", "--json").json()


def scaled(nas_cli, tmp_path, *words: object):
    """A family of one member by given factors: its screen in one line, and its grid and members."""
    given = ["scale", *words, "--phi", "1", "--out", tmp_path / "runs", "--name", "family"]
    said, document = nas_cli(*map(str, given)), nas_cli(*map(str, [*given, "--json"])).json()
    return " ".join(said.out.split()), document["grid"]["base"], document["family"]["members"]


def test_a_classic_is_scaled_for_the_images_as_they_are(nas_cli, tmp_path):
    given = ["efficientnet_b0", "--coefficients", "1.2,1.1,1.15", "--data", photos(tmp_path / "photos")]
    out, base, members = scaled(nas_cli, tmp_path, *given)
    assert base["task"] == "64x64x3:4"
    assert [one["task"] for one in members] == ["64x64x3:4", "74x74x3:4"]  # 64 * 1.15, to an even number
    reason = "64 px: the shorter side of 40 image files has a median of 83 px (--image-size or --task changes it)"
    assert f"image size {reason} strides as published" in out
    out, base, _ = scaled(nas_cli, tmp_path, *given, "--image-size", 48)
    assert (base["task"], "changes it" in out) == ("48x48x3:4", False)
    out, base, _ = scaled(nas_cli, tmp_path, *given, "--task", "96x96x3:7")
    assert (base["task"], "changes it" in out) == ("96x96x3:7", False)


def test_published_factors_keep_the_published_size(nas_cli, tmp_path):
    given = ["efficientnet_b0", "--coefficients", "published", "--data", photos(tmp_path / "photos")]
    assert [one["task"] for one in scaled(nas_cli, tmp_path, *given)[2]] == ["224x224x3:4", "240x240x3:4"]


def test_a_network_that_has_a_task_is_scaled_on_it_and_a_classic_with_digits_on_its_own(nas_cli, tmp_path):
    factors = ["--coefficients", "1.2,1.1,1.15"]
    text = Scaled(classic("resnet20").architecture, Scale(), Task(48, 3, 5)).to_json()
    (tmp_path / "net.json").write_text(text)
    given = [tmp_path / "net.json", *factors, "--data", photos(tmp_path / "photos")]
    assert scaled(nas_cli, tmp_path, *given)[1]["task"] == "48x48x3:5"
    assert scaled(nas_cli, tmp_path, "resnet20", *factors)[1]["task"] == "32x32x3:10"


def test_a_study_of_factors_resumes_on_the_task_that_it_began_on(nas_cli, tmp_path):
    given = ["scale", "resnet20", "--trials", 1, "--confirm", 0, "--set", "estimator.epochs=1", "--device", "cpu"]
    given += ["--data", photos(tmp_path / "photos"), "--out", tmp_path / "runs", "--name", "a", "--workers", 1]
    began = nas_cli(*map(str, given))
    assert "base resnet20" in " ".join(began.out.split())
    path = tmp_path / "runs" / "a" / "study.json"
    assert json.loads(path.read_text())["task"] == "64x64x3:4"
    for file in (tmp_path / "photos").rglob("*.jpg"):
        with Image.open(file) as image:
            image.resize((200, 200)).save(file)
    again = nas_cli(*map(str, given))
    assert "data" in again.err  # other images are refused, and no other size
    assert "task" not in again.err


def test_a_family_is_scaled_from_the_image_size(nas_cli, tmp_path):
    words = ["scale", "efficientnet_b0", "--coefficients", "1.2,1.1,1.15", "--phi", "1", "--out", str(tmp_path)]
    members = nas_cli(*words, "--image-size", "96", "--json").json()["family"]["members"]
    assert [one["image_size"] for one in members] == [96, 110]  # 96 * 1.15, to an even number


def timed(search, tmp_path, task, data, *more):
    """A search of a space of few parts with a latency table of a task: screen, error and manifest."""
    (tmp_path / "latency.json").write_text(made_up(space_named("mbconv-blocks"), Task.parse(task)).text())
    given = ["--space", "mbconv-blocks", "--latency", tmp_path / "latency.json"]
    return search(data, *given, "--set", "estimator.data_fraction=0.5", *more)


def test_a_latency_table_of_the_same_classes_says_the_image_size(search, tmp_path):
    out, err, manifest = timed(search, tmp_path, "48x48x3:4", photos(tmp_path / "photos"))
    assert (manifest["task"], trained_at(manifest), err) == ("48x48x3:4", 32, "")
    assert "image size 48 px: that of the latency table (--image-size or --task changes it)" in out


def test_a_latency_table_of_other_classes_is_refused_with_what_to_type(search, tmp_path):
    _, err, _ = timed(search, tmp_path, "48x48x3:10", photos(tmp_path / "photos"))
    assert err == (
        "nas: the latency table is of networks on 48x48x3:10, and costs are counted on 64x64x3:4: give --task "
        "48x48x3:10, or measure again: nas measure --space mbconv-blocks --task 64x64x3:4 --out latency.json\n"
    )
    assert timed(search, tmp_path, "48x48x3:10", tmp_path / "photos", "--task", "48x48x3:10")[1] == ""


def test_where_the_images_say_no_task_a_latency_table_does(nas_cli, search, tmp_path):
    assert timed(search, tmp_path, "48x48x3:10", "digits")[2]["task"] == "48x48x3:10"
    words = ["space", "mbconv-blocks", "--latency", str(tmp_path / "latency.json"), "--json"]
    assert nas_cli(*words).json()["task"] == "48x48x3:10"
    assert "costs are counted on 64x64x3:1000" in nas_cli(*words, "--image-size", "64").err


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("space mbconv --task 64x64x3:4 --image-size 96", "--image-size 96 and --task 64x64x3:4 differ"),
        ("search --budget 400M --task 64x64x3:4 --image-size 96", "--image-size 96 and --task 64x64x3:4 differ"),
        (
            "search --budget 400M --image-size 96 --set estimator.image_size=32",
            "--image-size 96 and estimator.image_size=32 differ: to count costs at 96 px and train candidates at 32 "
            "px, give --task 96x96xCHANNELS:CLASSES instead of --image-size",
        ),
        ("search --budget 400M --image-size 0", "image size must be at least 1 pixel, in whole numbers, got 0"),
        ("cost resnet18 --image-size 0", "image_size must be a whole number of at least 1, got 0"),
        ("scale efficientnet_b0 --task 64x64x3:4 --image-size 96", "--image-size 96 and --task 64x64x3:4 differ"),
        ("cost resnet18 --task 64x64x3:4 --image-size 96", "--image-size 96 and --task 64x64x3:4 differ"),
        ("measure resnet18 --task 64x64x3:4 --image-size 96", "--image-size 96 and --task 64x64x3:4 differ"),
    ],
)
def test_sizes_that_contradict_each_other_are_one_line_and_leave_nothing(nas_cli, tmp_path, command, said):
    out = ["--out", str(tmp_path / "runs")] if command.split()[0] in ("search", "scale") else []
    result = nas_cli(*command.split(), *out)
    assert result.code == 2
    assert said in result.err
    assert result.err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_it_is_a_setting_of_a_study(tmp_path):
    study = Study.create(None, Settings(data=str(photos(tmp_path / "photos")), image_size=40))
    assert str(study.task) == "40x40x3:4"
    assert trained_at({"estimator": study.manifest.estimator}) == 40
    assert study.size_from is None
