"""Tuning the recipe of a network's training: a study whose decisions are settings of the recipe."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nas.api import checked_name
from nas.parsing import parse_values
from nas.training import TrainingJob, training_job
from searchspaces import RecipeSpace, UserError, Value, load_space
from studies.confirming import confirm_from, with_confirmations
from studies.results import accuracy_of, complete, merit
from studies.settings import Settings

if TYPE_CHECKING:
    from nas.documents import Document
    from searchspaces import SearchSpace
    from studies import Study

TUNED: Final = "lr,weight_decay"
"""Settings that are tuned where nobody names any."""
TRIALS: Final = 20
"""Trials where nobody gives a number; the grid takes all recipes."""
EPOCHS: Final = 30
"""Epochs of each trial where nobody gives a number."""


@dataclass(frozen=True)
class TuningPlan:
    """What is tuned, and how each recipe is tried.

    Attributes:
        what: the network, as typed.
        job: the network and its images.
        space: the network's recipes.
        folder: the run folder.
        recipe: the name of the recipe that all trials start from.
        epochs: of each trial.
        fixed: settings of the recipe that are the same in all trials.
        home: the `file.py:object` of the network's space, if it is a person's own and was given so.
    """

    what: str
    job: TrainingJob
    space: RecipeSpace
    folder: Path
    recipe: str
    epochs: int
    fixed: Mapping[str, Any]
    home: str | None = None


def parse_tuned(text: str) -> dict[str, tuple[Value, ...]]:
    """Settings to tune, each with its options if it names any.

    Raises:
        UserError: a setting has no name, or is there twice.

    >>> parse_tuned("lr=0.05/0.1,weight_decay")
    {'lr': (0.05, 0.1), 'weight_decay': ()}
    """
    found: dict[str, tuple[Value, ...]] = {}
    for each in map(str.strip, text.split(",")):
        name, _, options = each.partition("=")
        if not name or name in found or (_ and not options):
            raise UserError(f"--settings {text!r} does not look like 'lr=0.05/0.1,weight_decay'")
        found[name] = tuple(parse_values([f"{name}={one}"])[name] for one in options.split("/")) if options else ()
    return found


def plan(
    what: str,
    tuned: str = TUNED,
    data: str | None = None,
    *,
    recipe: str = "auto",
    epochs: int = EPOCHS,
    fixed: Mapping[str, Any] | None = None,
    image_size: int | None = None,
    space: str | SearchSpace | None = None,
    reading: Mapping[str, Any] | None = None,
    name: str | None = None,
    out: str | Path = "runs",
) -> TuningPlan:
    """What is tuned, and where the study is kept.

    Args:
        what, data, image_size, reading: as of `nas.training.training_job`.
        space: of the network, if it is a person's own: `file.py:object` or the space.
        tuned: settings of the recipe, as `parse_tuned` reads them.
        recipe: the name of the recipe that all trials start from; `auto` is the one that a study tuned, if `what` is
            its best network.
        epochs: of each trial.
        fixed: settings of the recipe that are the same in all trials.
        name, out: of the run folder.

    Raises:
        UserError: there is no such network, data, recipe or setting, or an option is not allowed.
    """
    from estimators.recipe import images_of
    from estimators.recipe_options import options_of

    if name is None:
        stem = "architecture" if what.lstrip().startswith("{") else Path(what.rstrip("/")).name.removesuffix(".json")
        of_data = "" if data is None else f"-{Path(data.removeprefix('hub:').rstrip('/')).stem}"
        name = re.sub(r"[^A-Za-z0-9_.]+", "-", f"tune-{stem}{of_data}").strip("-")
    folder, fixed = Path(out) / checked_name(name), dict(fixed or {})
    if "epochs" in fixed:
        raise UserError("--set epochs: give the epochs of each trial with --epochs")
    whole = load_space(space) if isinstance(space, str) else space
    job = training_job(what, data, image_size, whole, reading, folder)
    asked = parse_tuned(tuned)
    if recipe == "auto" and job.tuned is not None:  # trained by what was tuned, as `nas train` does
        recipe, before = job.tuned
        fixed = {key: value for key, value in before.items() if key != "epochs" and key not in asked} | fixed
    images, side = images_of(job.data, fixed), job.data.task.image_size
    options = options_of(asked, recipe, images, side, {**fixed, "epochs": epochs})
    home = space if isinstance(space, str) else None
    return TuningPlan(what, job, RecipeSpace(job.network, options), folder, recipe, epochs, fixed, home)


def settings_for(plan: TuningPlan, given: Mapping[str, Any]) -> Settings:
    """The settings of the study that tunes a recipe.

    The network is the same in all trials, so replicas are allowed; strategies propose no recipe twice.

    Args:
        plan: what is tuned.
        given: settings of a search, by name; None stands for the default.

    Raises:
        UserError: a setting is wrong.
    """
    found = {name: value for name, value in given.items() if value is not None}
    confirm = confirm_from(found.get("confirm", 0))
    proposals = plan.space.size if found.get("strategy") == "grid" else min(TRIALS, plan.space.size)
    estimator = {
        "recipe": plan.recipe, "epochs": plan.epochs, "settings": dict(plan.fixed),
        "image_size": plan.job.data.task.image_size, **plan.job.reading,
    }  # fmt: skip
    return Settings.parse(
        {
            "trials": with_confirmations(proposals, confirm),
            **found,
            "space": plan.space,
            "task": plan.job.data.task,
            "data": plan.job.source,
            "estimator": "full-training",
            "estimator_settings": estimator,
            "replicas": True,
        }
    )


def tuning_document(plan: TuningPlan, study: Study, typed: Sequence[str] = ()) -> Document:
    """What a study of recipes has found: all recipes with their accuracies, the best first, and how to train with it.

    Args:
        plan: what was tuned.
        study: of it.
        typed: further words of the command that trains.
    """
    errors, trainings = study.standard_errors, {one.trial.number: len(one.accuracies) for one in study.confirmed}
    trials: list[Document] = [
        {
            "trial": each.number,
            "settings": each.architecture.choices,
            "accuracy": accuracy_of(each),
            "standard_error": errors.get(each.number),
            "trainings": trainings.get(each.number, 1),
            "seconds": each.seconds,
        }
        for each in complete(study.trials)
    ]
    best = study.best.number if trials else None
    trials.sort(key=lambda one: (one["trial"] != best, merit(one["accuracy"], 0, one["trial"])))
    return {
        "run": str(study.folder),
        "network": plan.job.title,
        "data": plan.job.data.name,
        "task": str(plan.job.data.task),
        "recipe": plan.recipe,
        "epochs": plan.epochs,
        "fixed": dict(plan.fixed),
        "options": {one.name: list(one.options) for one in plan.space.decisions},
        "size": plan.space.size,
        "done": sum(trial.rank is not None for trial in study.trials),
        "planned": study.manifest.total,
        "failures": [trial.reason for trial in study.trials if trial.state == "failed"],
        "near_best": [trial.number for trial in study.near_best] if trials else [],
        "recipes": trials,
        "command": train_command(plan, trials[0]["settings"], typed) if trials else None,
    }


def train_command(plan: TuningPlan, decided: Mapping[str, Value], typed: Sequence[str] = ()) -> str:
    """The command that trains the network by a recipe that was decided."""
    words = ["nas", "train", plan.what, "--data", plan.job.source]
    words += [] if plan.recipe == "auto" else ["--recipe", plan.recipe]
    words += ["--epochs", str(plan.epochs), *typed]
    for name, value in {**plan.fixed, **decided}.items():
        words += ["--set", f"{name}={_said(value)}"]
    return shlex.join(words)


def _said(value: Value | None) -> str:
    """A value as `--set` reads it.

    >>> _said(True), _said(None), _said("adam"), _said(1e-05)
    ('true', 'null', 'adam', '1e-05')
    """
    return value if isinstance(value, str) else json.dumps(value)
