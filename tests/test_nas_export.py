"""`nas export`: every file gives the logits of the torch module, is refused where it does not, and runs without nas.

All 135 classics and members of all spaces, in every format: `python -m benchmarks.exports --formats`.
"""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import runpy
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from layer_examples import CHANNELS, SIDE, side_by_side
from safetensors.torch import load_file

import nas
from benchmarks.exports import settled_exportable
from benchmarks.one_way import run_alone
from estimators import Estimate, load_data
from estimators.recipe import make_recipe
from estimators.trained import Trained
from estimators.training import train
from nas import exporting
from nas.exporting import BATCHES, TOLERANCE, check_reading, export, exportable
from nas.formats import FORMATS, Made, random_pixels, torch_predictor
from nas.model_card import model_card
from nas.predict_script import SCRIPT, predict_script
from nas.standalone import standalone
from searchspaces import Scale, Scaled, Task, UserError, classic, network_from_json

SMALL = Scaled(classic("efficientnet_b0").architecture, Scale(0.25, 0.3), Task(32, 1, 10))
DIGITS = load_data("digits", 16)
FILES = {
    "onnx": "model.onnx",
    "torchscript": "model.torchscript.pt",
    "torch-export": "model.pt2",
    "python": "model.py",
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a small network that saw a few digits."""
    folder = tmp_path_factory.mktemp("trained") / "b0"
    recipe = make_recipe("sgd", epochs=1, batch=64, data_fraction=0.3, randaugment_operations=0, ema=0.5)
    return train(SMALL, DIGITS, recipe, folder, found={"run": "first", "space": "mbconv", "trial": 7}).folder


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    """All that can be exported of it, and what was said of that."""
    out = tmp_path_factory.mktemp("all")
    return export(str(trained), list(FORMATS), out, int8=True)


def onnx_logits(path, pixels):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"pixels": pixels})[0]


def python_logits(path, pixels):
    """From a process that has torch and the standard library, and refuses whatever else is asked for."""
    raw, answer = path.with_name("pixels.bin"), path.with_name("logits.bin")
    raw.write_bytes(pixels.tobytes())
    done = subprocess.run(
        [sys.executable, "-I", "-W", "ignore", "-c", BARE, path.parent, raw, answer], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return np.frombuffer(answer.read_bytes(), np.float32).reshape(len(pixels), -1)


BARE = """
import sys
for name in ("numpy", "PIL"):
    sys.modules[name] = None  # torch can do without
import torch
known = {"torch", *sys.stdlib_module_names, *(name.partition(".")[0] for name in sys.modules)}
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in known | {"model"}:
            raise ImportError(f"{name} is more than torch")
sys.meta_path.insert(0, Refuse())
folder, raw, answer = sys.argv[1:]
sys.path.insert(0, folder)
import model
try:
    import safetensors
    sys.exit("nothing was refused")
except ImportError:
    pass
pixels = torch.frombuffer(bytearray(open(raw, "rb").read()), dtype=torch.uint8)
pixels = pixels.view(-1, model.SIZE, model.SIZE, model.CHANNELS)
with torch.inference_mode():
    logits = model.load()(model.scaled(pixels))
assert torch.equal(logits.softmax(1), model.predict(model.load(), pixels))
open(answer, "wb").write(bytes(logits.contiguous().view(torch.uint8).flatten().tolist()))
"""

READERS = {
    "onnx": onnx_logits,
    "torchscript": lambda path, pixels: torch.jit.load(path)(torch.from_numpy(pixels)).detach().numpy(),
    "torch-export": lambda path, pixels: torch.export.load(path).module()(torch.from_numpy(pixels)).detach().numpy(),
    "python": python_logits,
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.jit
@pytest.mark.parametrize("name", FORMATS)  # a new format is tested by being listed
def test_a_file_gives_the_logits_of_the_module(trained, exported, name):
    path = Path(exported["out"]) / FILES[name]
    opened = Trained.open(trained)
    for count in (7,) if name == "python" else (1, 7):  # a process each
        pixels = DIGITS.test_images[:count].copy()
        ours, theirs = opened.logits(pixels), READERS[name](path, pixels)
        assert ours.shape == theirs.shape == (count, 10)
        assert np.abs(ours - theirs).max() <= 1e-5 * np.abs(ours).max()
    assert np.ptp(ours, axis=0).max() > 0  # the images differ, and so do their logits


@pytest.mark.parametrize("name", FORMATS)
def test_every_layer_with_each_value_of_its_fields_is_exported(name):
    """Each compared by itself: what is wrong by a tenth, zero or turned round in any module of any example is seen.

    That no layer, field or value is left out is held by `test_searchspaces_layers`.
    """
    network, examples = side_by_side()
    found = settled_exportable(network, Task(SIDE, CHANNELS, sum(values for _, values in examples)))
    reference, exported = torch_predictor(found.from_pixels()), FORMATS[name](found).load()
    ends = np.cumsum([values for _, values in examples])[:-1]
    for count in BATCHES:
        pixels = random_pixels(found.task, count)
        ours, theirs = (np.split(each(pixels), ends, axis=1) for each in (reference, exported))
        for (example, _), one, other in zip(examples, ours, theirs, strict=True):
            assert np.abs(one - other).max() <= 1e-5 * np.abs(one).max(), example


def test_8_bits_are_smaller_and_about_as_accurate(exported):
    (small,) = [each for each in exported["exports"] if each["format"] == "onnx int8"]
    (whole,) = [each for each in exported["exports"] if each["format"] == "onnx"]
    assert small["files"][0]["bytes"] < 0.6 * whole["files"][0]["bytes"]
    assert small["same_class"] >= 0.8 * small["images"]
    assert abs(small["test_accuracy"] - whole["test_accuracy"]) < 0.15
    path = Path(small["files"][0]["file"])
    right = onnx_logits(path, DIGITS.test_images).argmax(1) == DIGITS.test_labels
    assert right.mean() == pytest.approx(small["test_accuracy"])
    import onnx

    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in onnx.load(path).graph.node}


def test_8_bits_never_see_a_test_image(trained):
    from nas.quantizing import calibration_pixels

    chosen = {image.tobytes() for image in calibration_pixels(exportable(str(trained)), DIGITS)}
    assert len(chosen) > 200
    assert chosen <= {image.tobytes() for image in DIGITS.images}
    unlike = {image.tobytes() for image in DIGITS.test_images} - {image.tobytes() for image in DIGITS.images}
    assert unlike
    assert not chosen & unlike


def test_a_file_says_what_it_is(trained, exported):
    import onnx

    model = onnx.load(Path(exported["out"]) / "model.onnx")
    said = {each.key: each.value for each in model.metadata_props}
    assert network_from_json(said["network"]).cost() == SMALL.cost(DIGITS.task)
    assert json.loads(said["class_names"]) == list("0123456789")
    assert tuple(json.loads(said["mean"])) == Trained.open(trained).mean
    assert "uint8 (batch, 16, 16, 1)" in said["input"]
    for name in ("model.onnx", "model.pt2", "model.py", "predict.py"):
        assert str(Path(nas.__file__).parent).encode() not in (Path(exported["out"]) / name).read_bytes()


def test_the_card_has_what_is_known(trained, exported):
    card = Path(exported["card"]).read_text()
    facts = Trained.open(trained).facts
    assert f"{100 * facts['test_accuracy']:.1f}%" in card
    assert f"{100 * facts['val_accuracy']:.1f}%" in card
    for known in (
        facts["data"]["fingerprint"],
        "| trial | 7 |",
        f"{exported['macs']:,}",
        "| Strides | left out in stem, stage2, stage3 (small-images) |",
        "Licence",
        "uint8",
        "pip install onnxruntime numpy pillow\npython predict.py photo.jpg\npython predict.py photos/ --top 3",
        "cropped to the centre square, resized to 16x16 (bilinear, antialiased), converted to grey",
        "| `predict.py` | onnx | ",
        '"ema": 0.5',
    ):
        assert known in card.replace("ema 0.5", '"ema": 0.5')
    assert "RANDOM" not in card


def test_names_are_escaped_once_on_the_model_card():
    facts = {
        "data": {"name": "a|b", "fingerprint": "1|2", "mirror": True, "mirror_reason": "x|y"},
        "recipe": {"distillation": 0.5, "temperature": 2},
        "teacher": [{"source": "t|u", "fingerprint": "3"}],
        "weights": {"inherited_share": 1.0, "source": "w|z", "fingerprint": "4", "frozen": {}},
    }
    found = replace(exportable("lenet5", Task(32, 1, 2)), class_names=("c|d", "<b>"), facts=facts)
    document = {**found.described(), "notes": [], "exports": [], "macs": 1, "params": 1}
    card = model_card(found, document)
    assert "| Classes | c\\|d, &lt;b> |" in card
    for known in ("a|b", "1|2", "x|y", "t|u", "w|z"):
        assert known.replace("|", "\\|") in card
    assert "\\\\|" not in card


def test_what_is_said_is_what_lies_there(nas_cli, trained, tmp_path):
    said = nas_cli(
        "export", trained, "--to", "python,torchscript", "--out", tmp_path, "--data", "digits", "--json"
    ).json()
    assert [each["format"] for each in said["exports"]] == ["python", "torchscript"]
    files = [file for each in said["exports"] for file in each["files"]]
    assert all(Path(file["file"]).stat().st_size == file["bytes"] for file in files)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["model.py", "model.safetensors", "model.torchscript.pt", "model_card.md"]
    )
    for each in said["exports"]:
        assert each["same_class"] == each["images"] == len(DIGITS.test_images)
        assert each["max_difference"] <= TOLERANCE
    said = nas_cli("export", trained, "--to", "python")
    assert said.code == 0
    assert (trained / "export" / "model.py").exists()
    assert "model_card.md" in said.out


def test_model_py_is_a_command_of_its_own(exported, tmp_path):
    raw = tmp_path / "three.raw"
    raw.write_bytes(DIGITS.test_images[:3].tobytes())
    from PIL import Image

    Image.fromarray(DIGITS.test_images[0, :, :, 0]).save(tmp_path / "one.png")
    done = subprocess.run(
        [sys.executable, Path(exported["out"]) / "model.py", raw, tmp_path / "one.png"], capture_output=True, text=True
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 4, done.stderr
    assert lines[0].split(":")[1] == lines[3].split(":")[1]  # the same image
    predicted = Trained.open(Path(exported["name"])).logits(DIGITS.test_images[:3]).argmax(1)
    assert [line.split(": ")[1].split(" ")[0] for line in lines[:3]] == [str(each) for each in predicted]
    scaled = runpy.run_path(str(Path(exported["out"]) / "model.py"), run_name="model")["scaled"]
    assert scaled(torch.zeros(2, 8, 8, 1, dtype=torch.uint8, device="meta")).is_meta  # as on any other device


def test_model_py_and_predict_py_print_any_name_and_stop_where_nobody_reads(exported, tmp_path):
    from PIL import Image

    file = os.fsencode(tmp_path) + b"/f\xe9.png"
    Image.fromarray(DIGITS.test_images[0, :, :, 0]).save(tmp_path / "one.png")
    os.rename(tmp_path / "one.png", file)
    for name in ("model.py", "predict.py"):
        command = [sys.executable, Path(exported["out"]) / name, file]
        done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "utf-8"})
        assert (done.returncode, done.stderr) == (0, b"")
        assert "/f\u00e9.png: " in done.stdout.decode()
        read, written = os.pipe()
        os.close(read)
        done = subprocess.run(command, stdout=written, stderr=subprocess.PIPE)
        os.close(written)
        assert (done.returncode, done.stderr) == (0, b"")


def pictures(at):
    """A folder of digits with much else beside and below them."""
    from PIL import Image

    for place, name in enumerate(("b.png", "a.bmp", "deeper/kä 1.png", "deeper/no suffix", ".hidden.png", "thumbs.db")):
        (at / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(DIGITS.test_images[place, :, :, 0]).save(at / name, format="png")
    (at / "notes.txt").write_text("no image")
    (at / "deeper" / "again").symlink_to(at)
    return at


def test_predict_py_answers_as_nas_predict_does_without_torch_and_nas(nas_cli, trained, exported, tmp_path):
    """All modes and orientations of files: `test_nas_photographs`."""
    script, folder = Path(exported["out"]) / "predict.py", pictures(tmp_path / "pictures")
    said = nas_cli("predict", trained, folder, folder / "b.png", "--top", 3, "--csv", tmp_path / "nas.csv", "--json")
    done = run_alone(script, folder, folder / "b.png", "--top", 3, "--csv", tmp_path / "own.csv")
    assert done.returncode == 0, done.stderr
    ours, own = ([*csv.DictReader((tmp_path / name).read_text().splitlines())] for name in ("nas.csv", "own.csv"))
    assert len(own) == 5
    assert [(row["file"], row["class"]) for row in own] == [(row["file"], row["class"]) for row in ours]
    for one, other in zip(ours, own, strict=True):
        assert float(one["probability"]) == pytest.approx(float(other["probability"]), abs=2e-6)
    for line, one in zip(done.stdout.splitlines(), said.json()["images"], strict=True):
        told = ", ".join(f"{each['class']} {100 * each['probability']:.1f}%" for each in one["classes"])
        assert line == f"{one['file']}: {told}"
    smaller = run_alone(script, folder, "--model", script.with_name("model.int8.onnx"))
    assert len(smaller.stdout.splitlines()) == 4
    assert smaller.stdout != done.stdout


@pytest.mark.parametrize("channels", [1, 3])
def test_scripts_of_a_network_trained_with_a_small_limit_of_pixels_are_checked_and_keep_it(channels):
    task, names = Task(16, channels, 2), ("cat", "dog")
    node = classic("resnet20").network(task)
    model = standalone(node, task, names, (0,) * channels, (1,) * channels, "a", "a.safetensors", "1", max_pixels=1000)
    for script, text in (
        ("model.py", model),
        (SCRIPT, predict_script(task, names, "a", "a.onnx", "1", max_pixels=1000)),
    ):
        assert check_reading(script, text, task) > 5
        assert "MAX_PIXELS = 1_000" in text


def test_predict_py_writes_its_table_into_a_pipe(exported, tmp_path):
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()
    done = run_alone(Path(exported["out"]) / "predict.py", pictures(tmp_path / "pictures"), "--csv", pipe)
    reader.join(timeout=10)
    assert (done.returncode, done.stderr) == (0, "")
    assert read[0].startswith("file,class,probability\n")
    assert len(read[0].splitlines()) == 5


def test_predict_py_says_which_file_it_cannot_read(exported, tmp_path):
    script, folder = Path(exported["out"]) / "predict.py", pictures(tmp_path / "pictures")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no more")
    kept = tmp_path / "kept.csv"
    kept.write_text("earlier")
    done = run_alone(script, folder, "--csv", kept)
    assert done.returncode == 2
    assert done.stderr.startswith(f"predict.py: '{folder / 'broken.jpg'}' cannot be read as an image")
    assert kept.read_text() == "earlier"
    run_alone(script, folder, "--csv", tmp_path / "new.csv")
    assert not (tmp_path / "new.csv").exists()
    done = run_alone(script, folder, "--csv", tmp_path / "nowhere" / "table.csv")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert "cannot write" in done.stderr
    photograph = (folder / "b.png").read_bytes()
    done = run_alone(script, folder, "--skip-bad", "--csv", folder / "b.png")
    assert (done.returncode, done.stdout) == (2, "")
    assert "an image would be overwritten" in done.stderr
    assert (folder / "b.png").read_bytes() == photograph
    done = run_alone(script, folder, "--skip-bad", "--csv", kept)
    assert kept.read_text().startswith("file,class,probability\n")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 4)
    assert "skipped" in done.stderr
    (tmp_path / "empty").mkdir()
    for words, message in (
        ([tmp_path / "empty"], "has no images"),
        ([folder, "--model", "no.onnx"], "does not exist"),
        ([folder, "--model", folder / "notes.txt"], "notes.txt' cannot be read as an ONNX file: "),
    ):
        done = run_alone(script, *words)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
        assert message in done.stderr


@pytest.mark.parametrize("name", ["python", "torchscript"])  # the quick ones: all are checked in one place
def test_an_export_that_is_not_the_network_is_refused_and_not_written(monkeypatch, trained, tmp_path, name):
    whole = FORMATS[name]

    def wrong(found):
        made = whole(found)
        return Made(made.files, lambda: lambda pixels: made.load()(pixels) * 1.01)

    monkeypatch.setitem(FORMATS, name, wrong)
    with pytest.raises(UserError, match=f"^{name}: its logits differ"):
        export(str(trained), name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_a_library_cannot_export_is_one_line(monkeypatch, nas_cli, trained, tmp_path):
    def failing(found):
        raise RuntimeError("[ShapeInferenceError] Inferred shape and existing shape differ\n\nin dimension 2")

    monkeypatch.setitem(FORMATS, "torchscript", failing)
    said = nas_cli("export", trained, "--to", "torchscript", "--out", tmp_path / "out")
    expected = "[ShapeInferenceError] Inferred shape and existing shape differ in dimension 2"
    assert (said.code, said.err) == (2, f"nas: torchscript: the network cannot be exported: {expected}\n")
    assert not (tmp_path / "out").exists()


def test_random_weights_are_said_loudly_and_the_same_each_time(tmp_path):
    contents = []
    for name in ("one", "two"):
        document = export("resnet20", "python", tmp_path / name, task="32x32x3:5")
        assert document["weights"] == "random"
        assert "RANDOM" in document["notes"][0]
        assert "RANDOM" in Path(document["card"]).read_text()
        contents.append(load_file(tmp_path / name / "model.safetensors"))
        torch.manual_seed(7)  # and nobody's generators matter
    assert all(torch.equal(contents[1][key], value) for key, value in contents[0].items())


class Instant:
    def describe(self):
        return {"name": "instant"}

    def estimate(self, architecture, context):
        return Estimate(architecture.cost(Task()).macs / 1e10, 0.01, (0.5,))


def test_a_run_folder_stands_for_its_best_at_the_task_of_the_study(tmp_path):
    mine = "examples/my_space.py:space"
    study = nas.search(mine, "20M", trials=2, estimator=Instant(), task="32x32x3:10", name="r", out=tmp_path)
    found = exportable(str(study.folder), space=mine)
    assert found.task == Task(32, 3, 10)
    assert sum(each.numel() for each in found.module.parameters()) == study.best.architecture.cost(found.task).params
    document = export(str(study.folder), "python", space=mine)
    assert document["out"] == str(study.folder / "export")


NASTY = ['"""', "\\", "a\nimport os", "'); import os #", "{size}", "ü|<b>"]


def test_what_a_folder_says_never_becomes_code(trained, exported, tmp_path, monkeypatch):
    """Class names, and the name of the folder, stand in scripts as literals and in the card as text.

    Its weights are the ones that torch has exported already.
    """
    import onnx

    made = SimpleNamespace(model_proto=onnx.load(Path(exported["out"]) / "model.onnx"))
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: made)
    folder = tmp_path / 'x"""; raise SystemExit(7) #'
    folder.mkdir()
    for each in ("network.json", "best.safetensors"):
        (folder / each).write_bytes((trained / each).read_bytes())
    facts = json.loads((trained / "training.json").read_text())
    names = [*(NASTY * 2)[:9], "last"]
    (folder / "training.json").write_text(
        json.dumps({**facts, "class_names": [f"{i}{n}" for i, n in enumerate(names)]})
    )
    export(str(folder), "python,onnx", tmp_path / "out")
    for script in ("model", "predict"):
        defined = {"__name__": script, "__file__": str(tmp_path / "out" / f"{script}.py")}
        exec((tmp_path / "out" / f"{script}.py").read_text(), defined)
        assert defined["CLASSES"] == tuple(f"{i}{n}" for i, n in enumerate(names))
    assert "<b>" not in (tmp_path / "out" / "model_card.md").read_text()


def unfinished(at, trained):
    (at / "t").mkdir()
    facts = json.loads((trained / "training.json").read_text())
    (at / "t" / "training.json").write_text(json.dumps({**facts, "finished": False}))
    return [at / "t"]


def pickled(at, trained):
    (at / "t").mkdir()
    for each in ("network.json", "training.json"):
        (at / "t" / each).write_text((trained / each).read_text())
    buffer = io.BytesIO()
    torch.save({"weight": torch.zeros(1)}, buffer)
    (at / "t" / "best.safetensors").write_bytes(buffer.getvalue())
    return [at / "t", "--to", "python"]


def blocked(at, trained):
    (at / "file").write_text("")
    return [trained, "--to", "python", "--out", at / "file" / "out"]


MISTAKES = {
    "an unknown format": (lambda at, trained: [trained, "--to", "onx"], "unknown format 'onx'; did you mean 'onnx'?"),
    "no format": (lambda at, trained: [trained, "--to", ""], "unknown format ''"),
    "a file for a folder": (lambda at, trained: [trained, "--out", at / "my.onnx"], "--out must be a folder"),
    "no such network": (lambda at, trained: ["resnet2"], "unknown network 'resnet2'; did you mean"),
    "no such folder": (
        lambda at, trained: ["runs/mine"],
        "no run folder or network 'runs/mine'",
    ),
    "an empty folder": (lambda at, trained: [at], "is not a run folder"),
    "not finished": (unfinished, "is not finished"),
    "a pickle": (pickled, "cannot use the weights"),
    "8 bits of what": (lambda at, trained: [trained, "--to", "python", "--int8"], "int8 is ONNX in 8 bits"),
    "other data": (lambda at, trained: [trained, "--data", other_data(at)], "does not hold the images that"),
    "data of random weights": (lambda at, trained: ["resnet20", "--data", "digits"], "was not trained on any"),
    "a task of trained ones": (lambda at, trained: [trained, "--task", "8x8x1:10"], "--task is for networks without"),
    "a task too small": (lambda at, trained: ["alexnet", "--task", "8x8x3:10"], "cannot take images of 8x8x3:10"),
    "nowhere to write": (blocked, "cannot create the folder"),
}


def other_data(at):
    np.savez(at / "d.npz", train_images=DIGITS.images[:200], train_labels=DIGITS.labels[:200])
    return at / "d.npz"


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(nas_cli, trained, tmp_path, mistake):
    words, message = MISTAKES[mistake]
    said = nas_cli("export", *words(tmp_path, trained))
    assert (said.code, said.out) == (2, "")
    assert message in said.err
    assert len(said.err.splitlines()) == 1


@pytest.mark.parametrize("library", ["onnx", "onnxruntime", "onnxscript"])
def test_a_library_that_is_missing_is_named_with_what_to_type(monkeypatch, nas_cli, trained, library):
    monkeypatch.setitem(sys.modules, library, None)
    said = nas_cli("export", trained, "--to", "onnx")
    assert said.code == 2
    assert said.err == f"nas: ONNX needs {library}; install it with: pip install 'nas-toolkit[onnx]'\n"


def test_a_full_disk_leaves_nothing_half(monkeypatch, nas_cli, trained, tmp_path):
    def full(handle):  # the bytes lie in a part file, and cannot all be kept
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setattr(exporting, "checked", lambda *_: {})  # it writes too, elsewhere
    said = nas_cli("export", trained, "--to", "torchscript", "--out", tmp_path / "out")
    assert (said.code, said.err) == (
        2,
        f"nas: cannot write to {tmp_path / 'out' / 'model.torchscript.pt'}: No space left on device\n",
    )
    assert list((tmp_path / "out").iterdir()) == []


def test_help_of_export_needs_no_torch():
    code = (
        "import atexit, os, sys; from nas.cli import main;"
        "atexit.register(lambda: os._exit('torch' in sys.modules)); main(['export', '-h'])"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
