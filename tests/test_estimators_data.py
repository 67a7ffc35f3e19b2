"""Laws of the images: what is read is what was there, the test part stays apart, and bad data are said in one line."""

from __future__ import annotations

import io
import logging
import pickle
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from estimators.data import ImageData, load_data, mirrors, stratified_split, train_and_validation
from searchspaces import Task, UserError

RNG = np.random.default_rng(0)


def arrays(count: int = 40, side: int = 6, classes: int = 2, channels: int = 3) -> dict[str, np.ndarray]:
    images = RNG.integers(0, 256, (count, side, side, channels), dtype=np.uint8)
    return {"train_images": images, "train_labels": np.arange(count) % classes}


def npz(folder: Path, **content: object) -> str:
    path = folder / "set.npz"
    np.savez(path, **content)
    return str(path)


def image_folder(path: Path, colours: dict[str, str], each: int = 4, size: tuple[int, int] = (40, 40)) -> str:
    for name, colour in colours.items():
        (path / name).mkdir(parents=True)
        for index in range(each):
            Image.new("RGB", size, colour).save(path / name / f"{index}.png")
    return str(path)


def test_digits_are_the_bundled_ones_with_15_percent_held_out():
    from sklearn.datasets import load_digits

    data, bundled = load_data("digits"), load_digits()
    whole = ImageData.of("digits", np.rint(bundled.images * 255 / 16).astype(np.uint8), bundled.target)
    for name in ("images", "labels", "test_images", "test_labels"):
        assert np.array_equal(getattr(data, name), getattr(whole, name))
    assert data.task == Task(8, 1, 10)
    assert len(data.images) + len(data.test_images) == 1797  # scikit-learn, load_digits
    assert data.images.dtype == np.uint8
    assert data.images.max() == 255
    held_out = np.bincount(data.test_labels) / (np.bincount(data.labels) + np.bincount(data.test_labels))
    assert np.all(abs(held_out - 0.15) < 0.004)  # within half an image of each class of about 180
    assert data.describe()["test_part"] == "held out 15 %, stratified"
    assert not data.mirror


def test_the_test_part_is_the_same_images_at_any_size_and_overlaps_nothing(tmp_path):
    content = arrays(count=60)
    content["train_images"][:, 0, 0, 0] = np.arange(60)  # every image carries its number
    small, large = load_data(npz(tmp_path, **content)), load_data(str(tmp_path / "set.npz"), image_size=12)
    assert sorted([*small.images[:, 0, 0, 0], *small.test_images[:, 0, 0, 0]]) == list(range(60))
    assert np.array_equal(small.test_labels, large.test_labels)
    assert large.images.shape[1:] == (12, 12, 3)
    assert small.resized(12).fingerprint == large.fingerprint != small.fingerprint


def test_a_test_part_of_its_own_is_kept_as_it_is(tmp_path):
    content = arrays()
    tests = arrays(count=10)
    data = load_data(npz(tmp_path, **content, test_images=tests["train_images"], test_labels=tests["train_labels"]))
    assert np.array_equal(data.images, content["train_images"])
    assert np.array_equal(data.test_images, tests["train_images"])
    assert data.test_part == "own"


def test_grey_arrays_get_a_channel_and_oblong_ones_lose_their_sides(tmp_path):
    images = np.zeros((20, 6, 10), dtype=np.uint8)
    images[:, :, 2:8] = 200  # the centre 6 of 10 columns
    images[:, 0, 0] = np.arange(20)  # no two images are the same
    data = load_data(npz(tmp_path, train_images=images, train_labels=np.arange(20) % 2))
    assert data.images.shape[1:] == (6, 6, 1)
    assert np.all(data.images == 200)


def test_the_fingerprint_changes_with_a_pixel_a_label_and_a_name_and_with_nothing_else():
    content = arrays()
    images, labels = content["train_images"], content["train_labels"]

    def print_of(images=images, labels=labels, names=("a dog", "a cat"), name="x"):
        return ImageData.of(name, images, labels, class_names=names).fingerprint

    other_pixel, other_label = images.copy(), labels.copy()
    other_pixel[0, 0, 0, 0] ^= 1
    other_label[0] ^= 1
    assert print_of() == print_of(name="elsewhere") == print_of(labels=labels.astype(np.uint8))
    assert len({print_of(), print_of(other_pixel), print_of(labels=other_label), print_of(names=("a", "b"))}) == 4


def test_data_that_moved_are_the_same_data(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    npz(here, **arrays())
    described = load_data(str(here / "set.npz")).describe()
    here.rename(there)
    assert load_data(str(there / "set.npz")).describe() == described


def test_a_split_is_stratified_and_a_function_of_its_seed():
    labels = np.repeat([0, 1, 2], [100, 50, 10])
    rest, part = stratified_split(labels, 0.2, seed=3)
    assert sorted([*rest, *part]) == list(range(160))
    assert np.bincount(labels[part]).tolist() == [20, 10, 2]
    assert np.array_equal(part, stratified_split(labels, 0.2, seed=3)[1])
    assert not np.array_equal(part, stratified_split(labels, 0.2, seed=4)[1])
    assert np.bincount(labels[stratified_split(labels, 0.01, seed=3, least=2)[1]]).tolist() == [2, 2, 2]


@pytest.mark.parametrize(("fraction", "val_fraction", "seed"), [(1.0, 0.2, 0), (0.5, 0.1, 3)])
def test_without_copies_the_choice_of_validation_images_is_that_of_all_images(fraction, val_fraction, seed):
    data = load_data("digits")
    assert data.copies is None
    _, used = stratified_split(data.labels, fraction, seed, least=2)
    train, val = stratified_split(data.labels[used], val_fraction, seed, least=1)
    found = train_and_validation(data, fraction, val_fraction, seed)
    assert np.array_equal(found[0], used[train])
    assert np.array_equal(found[1], used[val])


@pytest.mark.parametrize("fraction", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_no_copy_of_a_validation_image_is_trained_on(fraction, seed):
    rng = np.random.default_rng(seed)
    content = arrays(count=60, classes=3)
    drawn = np.concatenate([np.arange(60), rng.integers(0, 60, 60)])  # some twice or more, also in other classes
    content = {"train_images": content["train_images"][drawn], "train_labels": rng.permutation(np.arange(120) % 3)}
    data = ImageData.of("x", *content.values(), *(each[:6] for each in arrays(count=6, classes=3).values()))
    train, val = train_and_validation(data, fraction, 0.2, seed)
    pixels = data.images.reshape(len(data.images), -1)
    assert not {each.tobytes() for each in pixels[train]} & {each.tobytes() for each in pixels[val]}
    used = np.concatenate([train, val])
    assert len(np.unique(used)) == len(used)
    assert set(used) == set(range(120)) or fraction < 1
    assert len(val) > 0


def test_a_class_whose_images_are_copies_of_one_is_trained_on():
    images = np.concatenate([arrays(count=10)["train_images"], arrays(count=1)["train_images"].repeat(5, 0)])
    test = arrays(count=4).values()
    data = ImageData.of("x", images, np.repeat([0, 1], [10, 5]), *test)
    train, val = train_and_validation(data, 1.0, 0.2, 0)
    assert np.bincount(data.labels[train]).tolist() == [8, 5]
    assert np.bincount(data.labels[val], minlength=2).tolist() == [2, 0]
    assert "4 of 15 images are copies of others; no copy of a validation image is used for training" in data.notes


@pytest.mark.parametrize(
    ("names", "allowed"),
    [
        (["cat", "dog"], True),
        (["3", "7"], False),
        (["seven", "three"], False),
        (["A", "b"], False),
        (["arrow left", "arrow_right"], False),
        (["1 euro", "b"], True),
    ],
)
def test_what_may_be_mirrored_is_decided_by_the_names(names, allowed):
    assert mirrors(names) is allowed


def test_classes_without_names_are_not_mirrored(tmp_path):
    assert not load_data(npz(tmp_path, **arrays())).mirror
    assert load_data(npz(tmp_path, **arrays(), class_names=np.array(["cat", "dog"]))).mirror


def test_a_folder_is_decoded_resized_and_cropped_at_its_centre(tmp_path):
    path = Path(image_folder(tmp_path / "set", {"night": "black", "noon": "white"}))
    wide = np.zeros((20, 60, 3), dtype=np.uint8)
    wide[:, 20:40] = (255, 0, 0)  # only the centre square is red
    Image.fromarray(wide).save(path / "noon" / "wide.png")
    (path / "noon" / ".hidden").write_text("not an image, and not to be read")
    data = load_data(str(path), image_size=10)
    assert data.class_names == ("night", "noon")
    assert data.task == Task(10, 3, 2)
    everything = np.concatenate([data.images, data.test_images])
    assert len(everything) == 9
    assert any(np.all(image[1:-1, 1:-1] == (255, 0, 0)) for image in everything)
    assert load_data(str(path)).task.image_size == 32


def test_files_are_grey_where_all_of_them_are_and_keep_16_bits_upright_and_opaque(tmp_path):
    for name in ("a dog", "a cat"):
        (tmp_path / name).mkdir()
        for index in range(4):
            Image.fromarray(np.full((8, 8), 256 * 100, dtype=np.uint16)).save(tmp_path / name / f"{index}.png")
    data = load_data(str(tmp_path), image_size=4)
    assert data.task == Task(4, 1, 2)
    assert np.all(data.images == 100)  # 25,600 of 65,535 in 8 bits
    Image.new("RGBA", (8, 8), (9, 9, 9, 0)).save(tmp_path / "a cat" / "clear.png")
    assert np.unique(load_data(str(tmp_path), image_size=4).images).tolist() == [100, 255]  # clear is white, not 9


def test_train_and_test_folders_are_understood(tmp_path):
    image_folder(tmp_path / "train", {"cat": "black", "dog": "white"}, each=3)
    image_folder(tmp_path / "test", {"dog": "white"}, each=2)
    data = load_data(str(tmp_path))
    assert (len(data.images), len(data.test_images), data.test_part) == (6, 2, "own")
    assert data.test_labels.tolist() == [1, 1]
    image_folder(tmp_path / "test", {"emu": "grey"})
    with pytest.raises(UserError, match="'emu', which 'train' does not have"):
        load_data(str(tmp_path))


def broken(**change: object) -> dict[str, object]:
    return {**arrays(), **change}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"images": np.zeros(3)}, "no array 'train_images'; it has: images"),
        (broken(train_labels=np.zeros(39, int)), "39 labels for 40 images"),
        (broken(train_labels=np.arange(40) - 1), "train_labels must lie in 0 to 38, got -1"),
        (broken(train_labels=np.arange(40) % 2 / 1.0), "whole numbers"),
        (broken(train_labels=np.zeros((40, 2), int)), "whole numbers"),
        (broken(train_labels=np.zeros(40, int)), "at least 2 classes"),
        (broken(train_labels=np.arange(40) % 2 * 2), "class '1' has 0 images"),
        (broken(train_labels=np.arange(40) % 2 * 10**15), "1000000000000001 classes, but only"),
        (broken(class_names=np.array(["a", "b", "c"])), "class 'c' has 0 images"),
        (broken(class_names=np.array(["a", "a"])), "names repeat"),
        (broken(class_names=np.array([1, 2])), "list of strings"),
        (broken(train_images=np.zeros((40, 6, 6, 3))), "train_images must be uint8"),
        (broken(train_images=np.zeros((40, 6), np.uint8)), r"\(images, height, width"),
        (broken(train_images=np.zeros((40, 0, 6), np.uint8)), r"\(images, height, width"),
        (broken(test_images=np.zeros((4, 6, 6, 3), np.uint8)), "test_labels is missing"),
        (broken(test_images=np.zeros((1, 6, 6, 3), np.uint8), test_labels=np.array([7])), "test_labels must lie in 0"),
        (broken(test_images=np.zeros((1, 6, 6), np.uint8), test_labels=np.array([1])), "3 channels, test_images 1"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_by_name(tmp_path, content, message):
    with pytest.raises(UserError, match=message) as refused:
        load_data(npz(tmp_path, **content))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("damaged", ["train_images", "train_labels", "test_images", "test_labels", "class_names"])
def test_a_member_that_is_not_an_array_is_refused_by_name(tmp_path, damaged):
    whole = {**arrays(), "test_images": arrays(4)["train_images"], "test_labels": np.arange(4) % 2}
    path = Path(npz(tmp_path, **whole, class_names=np.array(["a", "b"])))
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, b"no signature" if name == f"{damaged}.npy" else content)
    with pytest.raises(UserError, match=f"plain arrays: {damaged} is not an array"):
        load_data(str(path))


class _Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("exploded"),))


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04 cut", pickle.dumps(_Bomb())])
def test_a_file_that_is_no_npz_is_refused(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    Path("set.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"cannot be read as an \.npz"):
        load_data("set.npz")
    assert not Path("exploded").exists()


def test_an_npz_never_runs_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("set.npz", train_images=np.array([_Bomb()] * 4, dtype=object), train_labels=np.arange(4) % 2)
    with pytest.raises(UserError, match="plain arrays"):
        load_data("set.npz")
    assert not Path("exploded").exists()


def test_a_bare_array_is_no_npz(tmp_path):
    with (tmp_path / "set.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(UserError, match=r"cannot be read as an \.npz"):
        load_data(str(tmp_path / "set.npz"))


def test_paths_that_hold_no_data_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"no data at '.*digit'; give 'digits'"):
        load_data(str(tmp_path / "digit"))
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UserError, match="neither a folder"):
        load_data(str(tmp_path / "notes.txt"))
    with pytest.raises(UserError, match="at least 2 subfolders"):
        load_data(str(tmp_path))
    with pytest.raises(UserError, match="image size must be at least 1"):
        load_data("digits", image_size=0)


def test_a_folder_with_one_class_or_an_empty_class_is_refused(tmp_path):
    image_folder(tmp_path, {"cat": "black"})
    with pytest.raises(UserError, match="there are 1"):
        load_data(str(tmp_path))
    (tmp_path / "dog").mkdir()
    with pytest.raises(UserError, match="class 'dog' has no image; --skip-bad skips such folders"):
        load_data(str(tmp_path))
    image_folder(tmp_path, {"cow": "white"})
    without = load_data(str(tmp_path), skip_bad=True)
    assert without.class_names == ("cat", "cow")
    assert "skipped: class folders without images (1)" in without.notes
    shutil.rmtree(tmp_path / "cow")
    Image.new("RGB", (9, 9)).save(tmp_path / "dog" / "only.png")
    with pytest.raises(UserError, match="class 'dog' has 1 image in its training part"):
        load_data(str(tmp_path))


def _png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("content", [b"", b"not an image", _png()[:200]])
def test_a_file_that_is_not_an_image_is_named(tmp_path, content):
    image_folder(tmp_path, {"cat": "black", "dog": "white"})
    (tmp_path / "dog" / "bad.png").write_bytes(content)
    with pytest.raises(UserError, match=r"dog/bad\.png' cannot be read as an image") as refused:
        load_data(str(tmp_path))
    assert "\n" not in str(refused.value)


def test_the_hub_without_its_extra_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)  # an import of it fails
    with pytest.raises(UserError, match=r"pip install 'nas-toolkit\[hub\]'"):
        load_data("hub:mnist")


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The library, kept from the network and from the caches of the person who runs the tests."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    datasets = pytest.importorskip("datasets", reason="the extra 'hub' is not installed")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()
    return datasets


def test_a_hub_set_in_parquet_is_read(tmp_path, hub):
    features = hub.Features({"img": hub.Image(), "label": hub.ClassLabel(names=["cat", "dog"])})
    (tmp_path / "set").mkdir()
    for split, count in (("train", 8), ("test", 4)):
        images = [Image.new("RGB", (50, 40), (index, 0, 0)) for index in range(count)]
        rows = hub.Dataset.from_dict({"img": images, "label": [i % 2 for i in range(count)]}, features=features)
        rows.to_parquet(str(tmp_path / "set" / f"{split}.parquet"))
    data = load_data(f"hub:{tmp_path / 'set'}", image_size=16)
    assert data.class_names == ("cat", "dog")
    assert (data.task, data.test_part) == (Task(16, 3, 2), "own")
    assert data.images[:, 8, 8, 0].tolist() == list(range(8))
    assert data.labels.tolist() == [0, 1] * 4


def test_a_hub_set_with_validation_and_test_splits_uses_both(tmp_path, hub):
    features = hub.Features({"img": hub.Image(), "label": hub.ClassLabel(names=["cat", "dog"])})
    (tmp_path / "set").mkdir()
    for split, count in (("train", 8), ("validation", 4), ("test", 2)):
        images = [Image.new("RGB", (50, 40), (index, 0, 0)) for index in range(count)]
        rows = hub.Dataset.from_dict({"img": images, "label": [i % 2 for i in range(count)]}, features=features)
        rows.to_parquet(str(tmp_path / "set" / f"{split}.parquet"))
    data = load_data(f"hub:{tmp_path / 'set'}", image_size=16)
    assert (len(data.images), len(data.test_images)) == (12, 2)
    train, val = train_and_validation(data, 1.0, 0.2, 0)
    assert (train.tolist(), val.tolist()) == (list(range(8)), list(range(8, 12)))


def test_a_hub_set_of_image_files_is_read_as_the_folder_is(tmp_path, hub):
    path = image_folder(tmp_path / "set", {"cat": "black", "dog": "white"}, each=6)
    ours, theirs = load_data(path), load_data(f"hub:{path}")
    assert ours.fingerprint == theirs.fingerprint


def hub_set(hub, folder, labels, feature, column="label", missing=None):
    """A data set of the hub, in parquet, with these labels for each split."""
    features = hub.Features({"img": hub.Image(), column: feature})
    folder.mkdir()
    for split, known in labels.items():
        images = [None if index == missing else Image.new("RGB", (9, 9), (index, 0, 0)) for index in range(len(known))]
        rows = hub.Dataset.from_dict({"img": images, column: known}, features=features)
        rows.to_parquet(str(folder / f"{split}.parquet"))
    return f"hub:{folder}"


@pytest.mark.parametrize(("kind", "hidden"), [("ClassLabel", None), ("ClassLabel", -1), ("Value", None), ("Value", -1)])
def test_a_hub_split_with_hidden_labels_is_not_used(tmp_path, hub, kind, hidden):
    feature = hub.ClassLabel(names=["0", "1"]) if kind == "ClassLabel" else hub.Value("int64")
    data = load_data(hub_set(hub, tmp_path / "set", {"train": [0, 1] * 8, "test": [hidden] * 4}, feature), 8)
    assert data.notes[0] == "the split 'test' has no labels and is not used"
    assert data.class_names == ("0", "1")
    given = {"train": [*[0, 1] * 8, hidden]}
    if (kind, hidden) == ("Value", -1):  # of numbers, a class as any other
        assert load_data(hub_set(hub, tmp_path / "all", {"train": [-1, 0, 1] * 6}, feature), 8).class_names[0] == "-1"
        return
    with pytest.raises(UserError, match="some images of 'train' have no label in column 'label'"):
        load_data(hub_set(hub, tmp_path / "some", given, feature), 8)


def test_hub_images_that_are_missing_or_have_several_labels_are_refused_in_words(tmp_path, hub):
    from estimators.image_sizes import file_sizes

    spec = hub_set(hub, tmp_path / "missing", {"train": ["a", "b"] * 8}, hub.Value("string"), missing=3)
    assert file_sizes(spec).files == 15
    with pytest.raises(UserError, match=r"image 3 of 'train' in data .* is missing"):
        load_data(spec, 8)
    several = hub.Sequence(hub.ClassLabel(names=["a", "b"]))
    with pytest.raises(UserError, match="column 'labels' does not hold one label per image"):
        load_data(hub_set(hub, tmp_path / "several", {"train": [[0], [1]] * 8}, several, "labels"), 8)


def test_a_hub_set_without_images_and_one_that_is_not_there_are_refused(tmp_path, hub):
    (tmp_path / "set").mkdir()
    hub.Dataset.from_dict({"text": ["a"], "label": [0]}).to_parquet(str(tmp_path / "set" / "train.parquet"))
    with pytest.raises(UserError, match="its columns are text, label"):
        load_data(f"hub:{tmp_path / 'set'}")
    with pytest.raises(UserError, match=r"could not be loaded from the hub: .* an \.npz file$"):
        load_data("hub:nobody/nothing")
    with pytest.raises(UserError, match="has no name; give hub:NAME"):
        load_data("hub:")


def _config(name: str) -> str:
    return f"- config_name: {name}\n  data_files: {name}.csv\n"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            {"README.md": f"---\nconfigs:\n{_config('cats')}{_config('dogs')}---\n", "cats.csv": "a\n1"},
            "it has several configurations; give one, as hub:{path}:CONFIG, of: 'cats', 'dogs'",
        ),
        ({"train.parquet": "no parquet"}, r"{path}/train\.parquet.*not a parquet file"),
        ({"train-0.csv": "a,label\n1,2", "train-1.csv": "b,label\n1,2"}, "generating the dataset: .*b: int64"),
    ],
)  # fmt: skip
def test_what_the_hubs_library_says_over_many_lines_is_one_with_what_to_do(tmp_path, hub, files, said):
    path = tmp_path / "set"
    path.mkdir()
    for name, text in files.items():
        (path / name).write_text(text)
    with pytest.raises(UserError, match=said.format(path=path)) as refused:
        load_data(f"hub:{path}")
    assert "\n" not in str(refused.value)


def test_attempts_to_reach_the_hub_are_not_logged_beside_the_error(hub, monkeypatch, caplog):
    def load(name, config):
        logging.getLogger("huggingface_hub").warning("Retrying in 1s [Retry 1/5].")
        raise ConnectionError(f"Couldn't reach {name!r}\non the Hub")

    monkeypatch.setattr(hub, "load_dataset", load)
    with pytest.raises(UserError, match=r"Couldn't reach 'mnist' on the Hub; check the connection"):
        load_data("hub:mnist")
    assert caplog.records == []


def test_the_hubs_library_shows_no_progress_bars_without_a_terminal(tmp_path, hub, capfd):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.csv").write_text("text,label\na,0\n")
    hub.enable_progress_bars()
    with pytest.raises(UserError, match="its columns are text, label"):
        load_data(f"hub:{tmp_path / 'set'}")
    assert capfd.readouterr().err == ""
    assert not hub.utils.are_progress_bars_disabled()  # others of the process have theirs
