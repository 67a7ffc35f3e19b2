"""`nas tune-recipe`: the space of a network's recipes, what a trial of it is, and the study from command to command."""

from __future__ import annotations

import html
import itertools
import json
import re
import shlex
from dataclasses import replace

import numpy as np
import pytest
import typer

import nas
from estimators import Estimate, FullTraining, Pruned, TrialContext, load_data
from estimators.recipe import Recipe, make_recipe
from estimators.recipe_options import OPTIONS, options_of
from estimators.training import train
from nas import api
from nas.cli import COMMANDS, make_app
from nas.parsing import parse_values
from nas.training import recipe_for, training_job
from nas.tuning import parse_tuned, plan, settings_for, train_command
from searchspaces import RecipeSpace, Scale, Scaled, Task, UserError, architecture_from_json, classic, space_named
from strategies import STRATEGIES
from studies import Study
from studies.manifest import Manifest
from studies.settings import Settings

DIGITS = load_data("digits")
SMALL = Scaled(space_named("resnet-cifar").references["resnet20"], Scale(width=0.25, depth=0.34), Task(8, 1, 10))
FIXED = {"data_fraction": 0.2, "batch": 64}
SPACE = RecipeSpace(SMALL, {"lr": (0.02, 0.05, 0.1), "optimizer": ("sgd", "adam"), "nesterov": (False, True)})


class Stub:
    """Likes a high learning rate; seeds matter a little."""

    def describe(self):
        return {"name": "stub"}

    def estimate(self, architecture, context):
        accuracy = 0.5 + architecture.choices["lr"] + context.seed % 7 / 1000
        context.report(1, accuracy)
        return Estimate(accuracy, 0.0, (accuracy,))


class Untouchable:
    """Test images that a trial must not look at."""

    shape = DIGITS.test_images.shape

    def __len__(self):
        return len(DIGITS.test_images)

    def __getitem__(self, index):
        raise AssertionError("the test images were looked at")


@pytest.mark.parametrize("name", OPTIONS)
def test_every_usual_option_of_a_setting_is_one_that_a_recipe_takes(name):
    for recipe in ("auto", "sgd", "adamw"):
        for option in OPTIONS[name]:
            assert getattr(make_recipe(recipe, 1000, 32, **{name: option}), name) == option
    assert name in Recipe.__slots__


def test_every_combination_of_usual_options_is_a_recipe():
    space, rng = RecipeSpace(SMALL, OPTIONS), np.random.default_rng(0)
    for _ in range(300):
        make_recipe("auto", 1000, 8, **space.sample(rng).choices)


def test_a_recipe_space_holds_the_grid_and_its_members_are_drawn_mutated_encoded_and_written():
    members, rng = list(SPACE.enumerate()), np.random.default_rng(0)
    assert len(set(members)) == SPACE.size == 12
    grid = itertools.product(*(one.options for one in SPACE.decisions))
    assert [tuple(each.choices.values()) for each in members] == list(grid)
    for _ in range(50):
        parent = SPACE.sample(rng)
        child = SPACE.mutate(parent, rng)
        assert sum(child.choices[name] != value for name, value in parent.choices.items()) == 1
        assert child in SPACE
        assert SPACE.decode(SPACE.encode(child)) == child
        assert architecture_from_json(child.to_json()) == child
        assert child.network(SMALL.task) == SMALL.network()


@pytest.mark.parametrize(
    "base", [SMALL, classic("vgg16"), classic("resnet20"), space_named("resnet").sample(np.random.default_rng(0))]
)
def test_the_text_form_of_a_recipe_has_its_network(base):
    one = RecipeSpace(base, {"lr": (0.1, 0.2)}).architecture({"lr": 0.2})
    again = architecture_from_json(one.to_json())
    assert again == one
    assert again.space.base.to_json() == base.to_json()


@pytest.mark.parametrize("damaged", ['{"lr": 0.1}', '{"lr": [null]}', "[]", '{"lr": []}', "{}"])
def test_a_damaged_text_form_is_refused(damaged):
    text = json.loads(SPACE.sample(np.random.default_rng(0)).to_json())
    text["of"]["settings"] = json.loads(damaged)
    with pytest.raises(UserError):
        architecture_from_json(json.dumps(text))


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_tries_every_recipe_once_and_says_that_none_is_left(name):
    given = Settings(space=SPACE, task=SMALL.task, estimator=Stub(), strategy=name, trials=30, replicas=True)
    study = Study.create(None, given)
    assert study.run().kind == "exhausted"
    tried = [trial.architecture for trial in study.trials]
    assert len(tried) == SPACE.size
    assert set(tried) == set(SPACE.enumerate())
    assert study.best.architecture.choices["lr"] == 0.1


def test_a_trial_is_the_training_of_nas_train_by_the_decided_recipe_without_its_test_images(tmp_path):
    estimator = FullTraining(replace(DIGITS, test_images=Untouchable()), epochs=2, settings=FIXED, device="cpu")
    member = SPACE.architecture({"lr": 0.05, "optimizer": "adam", "nesterov": True})
    found = estimator.estimate(member, TrialContext(seed=5))
    recipe = make_recipe("auto", len(DIGITS.labels), 8, epochs=2, **FIXED, **member.choices)
    trained = train(SMALL, DIGITS, recipe, tmp_path / "trained", seed=5, device="cpu")
    assert [one["val_accuracy"] for one in trained.facts["curve"]] == list(found.curve)
    assert found.accuracy == found.curve[-1]


@pytest.mark.parametrize("last", [2, 3])
def test_a_trial_that_is_killed_goes_on_from_its_checkpoint_to_the_same_end(tmp_path, last):
    estimator = FullTraining(DIGITS, epochs=3, settings=FIXED, device="cpu")
    member, place = SPACE.sample(np.random.default_rng(1)), str(tmp_path / "kept.safetensors")
    whole = estimator.estimate(member, TrialContext(seed=1))

    def killed(step, accuracy):
        if step == last:
            raise RuntimeError("killed")
        return True

    with pytest.raises(RuntimeError, match="killed"):
        estimator.estimate(member, TrialContext(1, report=killed, checkpoint=place))
    steps = []
    again = estimator.estimate(
        member, TrialContext(1, report=lambda step, accuracy: steps.append(step) or True, checkpoint=place)
    )
    assert (again.curve, steps) == (whole.curve, [1, 2, 3])
    (tmp_path / "kept.safetensors").write_bytes(b"damaged")
    assert estimator.estimate(member, TrialContext(1, checkpoint=place)).curve == whole.curve


def test_a_pruned_trial_says_how_far_it_came():
    estimator = FullTraining(DIGITS, epochs=3, settings=FIXED, device="cpu")
    with pytest.raises(Pruned) as stopped:
        estimator.estimate(SPACE.sample(np.random.default_rng(1)), TrialContext(1, report=lambda step, _: step < 2))
    assert len(stopped.value.curve) == 2


@pytest.fixture
def words(tmp_path):
    (tmp_path / "small.json").write_text(SMALL.to_json())
    fixed = ["--set", "data_fraction=0.1", "--set", "batch=64", "--seed", "3", "--device", "cpu"]
    tuned = ["--settings", "lr=0.02/0.1,randaugment_magnitude=3/9", "--set", "randaugment_operations=1"]
    return ["tune-recipe", str(tmp_path / "small.json"), "--data", "digits", "--epochs", "1", *fixed, *tuned, "--out",
            str(tmp_path / "runs"), "--quiet"]  # fmt: skip


def told(document):
    return [(one["trial"], one["settings"], one["accuracy"]) for one in document["recipes"]]


def test_a_study_that_was_cut_ends_as_an_unbroken_one_and_its_best_recipe_trains(nas_cli, words, tmp_path):
    whole = nas_cli(*words, "--trials", "4", "--name", "whole", "--json").json()
    assert nas_cli(*words, "--trials", "2", "--name", "cut", "--json").json()["done"] == 2
    run = tmp_path / "runs" / "cut"
    again = nas_cli(*words, "--trials", "4", "--name", "cut", "--json").json()
    assert told(again) == told(whole)
    accuracies = [one["accuracy"] for one in whole["recipes"]]
    assert accuracies == sorted(accuracies, reverse=True)
    assert all(one["standard_error"] > 0 for one in whole["recipes"])

    typed = shlex.split(whole["command"])[1:]
    trained = nas_cli(*typed, "--out", str(tmp_path / "trained"), "--quiet", "--json", "--device", "cpu").json()
    best = whole["recipes"][0]["settings"]
    assert {name: trained["recipe"][name] for name in best} == best
    assert (trained["recipe"]["epochs"], trained["recipe"]["data_fraction"]) == (1, 0.1)
    of_run = nas_cli("train", str(run), "--out", str(tmp_path / "other"), "--quiet", "--json", "--device", "cpu").json()
    assert of_run["recipe"] == trained["recipe"]
    assert of_run["found"]["decided"] == best
    assert nas_cli("cost", str(run), "--json").json()["macs"] == SMALL.cost().macs
    assert nas_cli("resume", str(run), "--trials", "4", "--json").json()["trials"]["complete"] == 4
    assert "lr=" in nas_cli("show", str(run)).out
    assert api.open_study(run).plot().exists()

    page = nas.report(tmp_path / "runs" / "whole").read_text()
    said = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert "among 4 recipes that differ in lr, randaugment_magnitude. All trials train one network" in said
    typed = shlex.split(html.unescape(re.search(r'<pre class="commands">(.*)', page)[1]))
    assert typed[:2] == ["nas", "tune-recipe"]
    typed[typed.index("--out") + 1] = str(tmp_path / "again")
    given = typer.main.get_command(make_app(COMMANDS)).commands[typed[1]].make_context(typed[1], typed[2:]).params
    planned = plan(
        given["network"], given["tuned"], given["data"], recipe=given["recipe"], epochs=given["epochs"],
        fixed=parse_values(given["settings"]), image_size=given["image_size"], name=given["name"], out=given["out"],
    )  # fmt: skip
    made = Study.create(planned.folder, settings_for(planned, given)).manifest
    first = Manifest.read(tmp_path / "runs" / "whole")
    assert replace(made, created=first.created) == first


def test_a_recipe_that_was_tuned_is_tuned_further_and_the_command_trains_what_was_tried(tmp_path):
    study = {"epochs": 1, "fixed": {"data_fraction": 0.1}, "out": tmp_path}
    first = plan(SMALL.to_json(), "lr=0.5/0.02", "digits", recipe="adamw", name="first", **study)
    Study.create(first.folder, settings_for(first, {"trials": 1, "strategy": "grid"})).run()
    second = plan(str(first.folder), "weight_decay=0.0001/0.05", "digits", name="second", **study)
    space, estimator = settings_for(second, {}).space, settings_for(second, {}).estimator_settings
    assert isinstance(space, RecipeSpace)
    assert "lr" in estimator["settings"]
    member = space.architecture({"weight_decay": 0.05})
    tried = FullTraining(DIGITS, **{key: estimator[key] for key in ("recipe", "epochs", "settings")}).recipe_of(
        member.choices
    )
    words = shlex.split(train_command(second, member.choices))
    given = typer.main.get_command(make_app(COMMANDS)).commands["train"].make_context("train", words[2:]).params
    settings = {"epochs": given["epochs"], **parse_values(given["settings"])}
    trained = recipe_for(training_job(words[2], "digits"), tmp_path / "none", given["recipe"], settings)
    assert (trained.optimizer, trained.lr, trained.weight_decay) == ("adamw", first_lr(first), 0.05)
    assert replace(trained, mirror=tried.mirror) == tried  # which follows from the names of the classes
    again = plan(str(first.folder), "lr=0.3/0.1", "digits", name="again", **study)  # what was tuned is tuned anew
    assert "lr" not in again.fixed


def first_lr(planned):
    return Study.open(planned.folder).best.architecture.choices["lr"]


def test_the_grid_tries_every_recipe_and_the_screen_has_errors_and_the_command(nas_cli, words, tmp_path):
    said = nas_cli(*words, "--strategy", "grid", "--name", "grid")
    flat = " ".join(said.out.split())
    assert said.code == 0
    assert flat.count(" ± ") == 4
    assert "nas train" in flat
    assert "--set lr=" in flat
    assert len(nas_cli("show", str(tmp_path / "runs" / "grid"), "--all", "--json").json()["trials"]) == 4


def test_options_are_read_as_values_or_left_to_the_table():
    assert parse_tuned("lr=0.1/0.2, optimizer=sgd/adam,mixup") == {
        "lr": (0.1, 0.2), "optimizer": ("sgd", "adam"), "mixup": (),
    }  # fmt: skip
    assert options_of({"mixup": ()}, "sgd", 100, 8, {}) == {"mixup": OPTIONS["mixup"]}


WRONG = {
    "lrr": "the setting 'lrr' is unknown; did you mean 'lr'",
    "epochs": "'epochs' cannot be tuned",
    "batch": "batch is either tuned or set to 64",
    "lr=0": "lr must be a number above 0",
    "lr=0.1/0.1": "the options of lr must be different",
    "optimizer=sdg/adam": "did you mean 'sgd'",
    "lr=": "does not look like",
    "lr,lr": "does not look like",
}


@pytest.mark.parametrize("tuned", WRONG)
def test_what_cannot_be_tuned_is_refused_in_a_line(nas_cli, words, tuned):
    said = nas_cli(*words, "--settings", tuned)
    assert said.code == 2
    assert WRONG[tuned] in said.err
    assert said.err.count("\n") == 1


def test_a_setting_without_effect_is_refused():
    with pytest.raises(UserError, match="randaugment_magnitude has no effect where randaugment_operations are 0"):
        options_of({"randaugment_magnitude": ()}, "resnet", 100, 8, {})
    options_of({"randaugment_magnitude": (), "randaugment_operations": ()}, "resnet", 100, 8, {})
