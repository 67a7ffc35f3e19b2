"""`nas train`, `nas evaluate`, `nas predict`: from a network's text form to what an image shows."""

from __future__ import annotations

import contextlib
import io
import json
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from studies_stand_ins import begin

from estimators import load_data
from estimators.recipe import make_recipe
from estimators.trained import _KINDS
from nas import api, cli
from nas.commands.training import show_training_plan
from nas.training import plan_document, recipe_for, trained_folder, training_job
from searchspaces import Scale, Scaled, Task, space_named

DIGITS = load_data("digits")
SMALL = Scaled(space_named("mbconv").references["mobilenetv2_100"], Scale(width=0.25, depth=0.3), Task(8, 1, 10))
QUICK = ["--set", "batch=64", "--set", "data_fraction=0.3", "--set", "randaugment_operations=0", "--set", "mix=0"]


def run(capsys, *arguments):
    """Exit code, standard output and standard error of a command."""
    with pytest.raises(SystemExit) as end:
        cli.main([str(each) for each in arguments])
    said = capsys.readouterr()
    return end.value.code or 0, said.out, said.err


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("networks") / "small.json"
    path.write_text(SMALL.to_json())
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory, network):
    folder = tmp_path_factory.mktemp("trained") / "one"
    with pytest.raises(SystemExit):
        cli.main(["train", str(network), "--data", "digits", "--epochs", "1", *QUICK, "--out", str(folder), "--quiet"])
    return folder


def test_each_epoch_is_told_and_the_end_has_the_test_accuracy(capsys, tmp_path, network):
    code, out, _ = run(capsys, "train", network, "--data", "digits", "--epochs", 2, *QUICK, "--out", tmp_path / "a")
    assert code == 0
    assert "epoch 1/2  loss" in out
    assert "epoch 2/2  loss" in out
    facts = json.loads((tmp_path / "a" / "training.json").read_text())
    assert f"{100 * facts['test_accuracy']:.1f}%" in out
    code, out, _ = run(capsys, "train", network, "--data", "digits", "--epochs", 2, *QUICK, "--out", tmp_path / "a",
                       "--json", "--quiet")  # fmt: skip
    assert code == 0
    assert json.loads(out)["test_accuracy"] == facts["test_accuracy"]  # it was finished: nothing is trained again


def test_a_member_of_a_family_is_trained_with_its_own_dropout_unless_the_recipe_has_another(tmp_path):
    job = training_job("efficientnet_b4", "digits", out=tmp_path)
    for settings, rates in (({}, [0.4]), ({"dropout": 0.1}, [0.1])):
        recipe = make_recipe("efficientnet", **settings)
        assert recipe.drop_path == 0.2  # drop connect of the authors' code, the same for B0 to B7
        document = plan_document(job, recipe, tmp_path, 0)
        assert document["dropout"] == rates
        screen = Console(file=io.StringIO(), width=80)
        show_training_plan(document, screen)
        assert f"dropout {rates[0]:g}" in " ".join(screen.file.getvalue().split())


def test_the_best_of_a_run_is_trained_on_the_runs_own_data_and_remembers_how_it_was_found(capsys, tmp_path):
    study = api.search(
        "mbconv", "100%", "digits", trials=1, strategy="random", name="run", out=tmp_path,
        estimator_settings={"epochs": 1, "data_fraction": 0.1},
    )  # fmt: skip
    code, out, _ = run(
        capsys, "train", tmp_path / "run", "--epochs", 1, *QUICK, "--set", "data_fraction=0.05", "--set", "batch=16",
        "--json", "--quiet",
    )  # fmt: skip
    assert code == 0
    document = json.loads(out)
    assert document["folder"] == str(tmp_path / "run-trained")
    assert document["found"]["trial"] == study.best.number
    assert document["found"]["strategy"] == "random"
    network = json.loads((tmp_path / "run-trained" / "network.json").read_text())
    assert network["choices"] == study.best.architecture.choices
    assert network["task"] == "8x8x1:10"


def test_evaluating_tells_what_training_told_and_each_class(capsys, trained):
    facts = json.loads((trained / "training.json").read_text())
    code, out, _ = run(capsys, "evaluate", trained, "--json")
    document = json.loads(out)
    assert code == 0
    assert document["accuracy"] == pytest.approx(facts["test_accuracy"])
    assert document["images"] == len(DIGITS.test_labels)
    right = sum(one["accuracy"] * one["images"] for one in document["classes"])
    assert right / document["images"] == pytest.approx(document["accuracy"])
    missed = document["images"] - right
    assert sum(one["images"] for one in document["confusions"]) <= missed + 1e-6
    code, out, _ = run(capsys, "evaluate", trained)
    assert code == 0
    assert "the test set of digits" in out


def test_an_ensemble_has_the_mean_probabilities_of_its_networks_and_its_confusions_are_drawn(capsys, tmp_path, trained):
    from estimators.trained import Trained
    from estimators.views import probabilities

    other = tmp_path / "other"
    assert (
        run(capsys, "train", "resnet20", "--data", "digits", "--epochs", 1, *QUICK, "--out", other, "--quiet")[0] == 0
    )
    page = tmp_path / "confusion.html"
    given = ("--views", "ten-crop", "--confusion", page)
    code, out, _ = run(capsys, "evaluate", trained, other, *given, "--json")
    assert code == 0
    document = json.loads(out)
    means = sum(probabilities(Trained.open(each), DIGITS.test_images, "ten-crop") for each in (trained, other)) / 2
    assert document["accuracy"] == pytest.approx((means.argmax(1) == DIGITS.test_labels).mean())
    assert document["folders"] == [str(trained), str(other)]
    assert sum(map(sum, document["confusion_matrix"])) == len(DIGITS.test_labels)
    assert "Confusion matrix" in page.read_text()
    code, out, _ = run(capsys, "evaluate", trained, other, *given)
    assert code == 0
    assert "mean probabilities of 2 networks" in out
    assert "balanced accuracy" in out
    assert "is given twice; an ensemble needs different networks" in run(capsys, "evaluate", trained, trained)[2]
    code, _, err = run(capsys, "evaluate", trained, "--views", "ten-corp")
    assert code == 2
    assert "did you mean 'ten-crop'" in err


def test_other_images_of_the_same_classes_are_all_looked_at(capsys, tmp_path, trained):
    for label in range(10):
        (tmp_path / "in colour" / str(label)).mkdir(parents=True)
        for index in np.flatnonzero(DIGITS.test_labels == label)[:4]:
            grey = DIGITS.test_images[index, ..., 0]
            Image.fromarray(np.stack([grey] * 3, -1)).save(tmp_path / "in colour" / str(label) / f"{index}.png")
    code, out, _ = run(capsys, "evaluate", trained, "--data", tmp_path / "in colour", "--json")
    assert code == 0
    document = json.loads(out)
    assert document["part"] == "all"
    assert document["images"] == 40
    (tmp_path / "in colour" / "9").rename(tmp_path / "in colour" / "nine")
    code, _, err = run(capsys, "evaluate", trained, "--data", tmp_path / "in colour")
    assert code == 2
    assert "has class 'nine', which the network does not have" in err
    code, _, err = run(capsys, "evaluate", trained, "--data", tmp_path / "in colour" / "0")
    assert (code, err.count("\n")) == (2, 1)
    assert "in a folder of its class; seen: skipped: images outside the class folders (4)" in err


def test_predicting_files_says_what_the_network_says_of_their_pixels(capsys, tmp_path, trained):
    from estimators.trained import Trained

    files = [tmp_path / f"{index}.png" for index in range(3)]
    for file, image in zip(files, DIGITS.test_images, strict=False):
        Image.fromarray(image[..., 0]).save(file)
    code, out, _ = run(capsys, "predict", trained, *files, "--top", 10, "--json")
    assert code == 0
    logits = Trained.open(trained).logits(DIGITS.test_images[:3])
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    for one, row in zip(json.loads(out)["images"], shares, strict=True):
        told = {each["class"]: each["probability"] for each in one["classes"]}
        assert [told[name] for name in DIGITS.class_names] == pytest.approx(row.tolist(), abs=1e-5)
        assert list(told.values()) == sorted(told.values(), reverse=True)
    code, out, _ = run(capsys, "predict", trained, files[0], "--top", 1)
    assert code == 0
    assert "0.png" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "resnet18"], "--data is needed"),
        (["train", "resnet81", "--data", "digits"], "unknown network 'resnet81'; did you mean 'resnet18'"),
        (["train", "resnet18", "--data", "digits", "--recipe", "adam"], "unknown recipe 'adam'; did you mean 'adamw'"),
        (
            ["train", "resnet18", "--data", "digits", "--set", "epoch=3"],
            "unknown setting 'epoch'; did you mean 'epochs'",
        ),
        (["train", "resnet18", "--data", "digits", "--set", "epochs"], "does not look like 'lr=0.05'"),
        (["train", "resnet18", "--data", "digits", "--epochs", "0"], "epochs must be a whole number at least 1"),
        (["train", "resnet18", "--data", "digits", "--gpus", "2"], "--gpus is for training on Ray: add --ray"),
        (["train", "resnet18", "--data", "digits", "--workers", "0"], "--workers must be at least 1, got 0"),
        (["train", "resnet18", "--data", "digits", "--ray", "--gpus", "0"], "--gpus must be at least 1, got 0"),
        (["train", "resnet18", "--data", "digits", "--ray=foo"], "'foo' is not an address; write --ray or --ray local"),
        (["train", "resnet18", "--data", "digits", "--checkpoint-every", "soon"], "--checkpoint-every: 'soon' is not"),
        (["evaluate", "nowhere"], "no folder 'nowhere'; nas train makes one"),
    ],
)
def test_a_mistake_is_one_line(capsys, arguments, message):
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


def test_what_is_no_image_is_said(capsys, trained, network):
    code, _, err = run(capsys, "predict", trained, network)
    assert code == 2
    assert "cannot be read as an image" in err
    code, _, err = run(capsys, "evaluate", trained, "--weights", "beast")
    assert code == 2
    assert "unknown weights 'beast'; did you mean 'best'" in err


# `nas`, which gets a signal when it has done so many steps more than an epoch has. One from here could come too late.
STRUCK = """
import os, signal, sys
from estimators.core import Core
from nas.cli import main

signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background of a shell it would be ignored
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # and this one under nohup
step, done, by, more = Core.step, [], getattr(signal, sys.argv.pop(1)), int(sys.argv.pop(1))

def struck(self):
    if len(done) == self.batches.steps + more:
        os.kill(os.getpid(), by)
    done.append(step(self))

Core.step = struck
main()
"""


@pytest.mark.parametrize(("name", "ends"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_ctrl_c_and_other_ends_say_how_and_the_same_command_goes_on(capsys, tmp_path, network, name, ends):
    command = ["train", network, "--data", "digits", "--epochs", 3, *QUICK, "--out", tmp_path / "a"]
    command = [str(each) for each in command]
    struck = [sys.executable, "-c", STRUCK, name, "0", *command]
    process = subprocess.run(struck, capture_output=True, text=True)
    assert process.returncode == ends
    said = process.stderr.splitlines()
    assert said[0].startswith("nas: stopping… waiting for the checkpoint; press Ctrl-C again to quit")
    assert said[-1] == f"nas: interrupted; resume with: nas {' '.join(command)}"
    assert (tmp_path / "a" / "checkpoint.safetensors").exists()
    code, _, err = run(capsys, *command, "--epochs", 4)
    assert (code, err.count("\n")) == (2, 1)
    assert f"give the old value to resume it, or start another one with --out {tmp_path / 'a-2'}" in err
    code, out, _ = run(capsys, *command)
    assert code == 0
    assert "resumes after step" in out
    assert "epoch 3/3" in out
    assert "epoch 1/3" not in out


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal here")
def test_killed_it_ends_with_the_weights_of_one_that_was_not(capsys, tmp_path, network):
    def command(folder):
        arguments = ["train", network, "--data", "digits", "--epochs", 3, *QUICK, "--out", tmp_path / folder]
        return [str(each) for each in (*arguments, "--checkpoint-every", "0.01s", "--json", "--quiet")]

    assert run(capsys, *command("whole"))[0] == 0
    # One step more than an epoch has, so that there is a checkpoint. Cut again and again: test_estimators_training;
    # killed again and again: benchmarks/kill_training.py.
    dead = subprocess.run([sys.executable, "-c", STRUCK, "SIGKILL", "1", *command("killed")])
    assert dead.returncode == -signal.SIGKILL
    assert (tmp_path / "killed" / "checkpoint.safetensors").exists()
    assert run(capsys, *command("killed"))[0] == 0
    for name in ("best.safetensors", "last.safetensors"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_training_goes_on_by_the_recipe_that_it_began_with(tmp_path, network):
    settings = {"epochs": 3, "batch": 16}
    job = training_job(str(network), "digits", out=tmp_path)
    earlier = {**recipe_for(job, tmp_path, "auto", settings).describe(), "randaugment_operations": 1}
    # of a version that fitted it otherwise
    facts = {name: kind() for name, kind in _KINDS.items()} | {"format": 1, "recipe": earlier}
    (tmp_path / "training.json").write_text(json.dumps(facts))
    assert recipe_for(job, tmp_path, "auto", settings).describe() == earlier
    assert recipe_for(job, tmp_path, "auto", {**settings, "batch": 32}).describe() != earlier


def test_where_a_trained_network_goes_follows_from_what_it_is(tmp_path):
    assert str(trained_folder("resnet18", "../data/pets.npz")) == "runs/resnet18-pets"
    assert str(trained_folder("runs/first", "digits")) == "runs/first-trained"
    assert str(trained_folder("examples/my_net.py:net", "digits")) == "examples/my_net-trained"
    assert str(trained_folder("net.json", "d six.v1")) == "runs/net-d six.v1"
    for title in ("runs/v1.1", "runs/v1.2"):
        begin(tmp_path / title).run(1)
        assert trained_folder(str(tmp_path / title), "digits") == tmp_path / f"{title}-trained"
    assert trained_folder(str(tmp_path / "runs" / "v1.1:0"), "digits") == tmp_path / "runs" / "v1.1-trial-0-trained"
    with contextlib.chdir(tmp_path / "runs" / "v1.1"):
        assert trained_folder(".", "digits") == tmp_path / "runs" / "v1.1-trained"
