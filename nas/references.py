"""The networks and trials that a person means by a text: a name, a text form, a file, a run folder or a trial of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from searchspaces import (
    CLASSICS,
    Buildable,
    Scale,
    Scaled,
    ScalingSpace,
    Task,
    UserError,
    classic,
    load_object,
    nearest,
    network_from_file,
    network_from_json,
)
from searchspaces.task import check_sizes
from searchspaces.text_forms import at_own_size, seen_task

if TYPE_CHECKING:
    from searchspaces import SearchSpace
    from studies import Study, Trial

TRAINED: Final = "network.json"
"""The network in the folder of a trained one."""


def in_run(text: str) -> tuple[Path, int | None] | None:
    """The run folder that a text means, and its trial: `runs/first`, whose best it stands for, or `runs/first:7`."""
    from studies.manifest import Manifest

    if text.lstrip().startswith("{"):
        return None
    folder, _, number = text.rpartition(":")
    if number.isdecimal() and folder and Manifest.is_in(Path(folder)):
        return Path(folder), int(number)
    return (Path(text), None) if Manifest.is_in(Path(text)) else None


def with_trial(text: str, number: int | None) -> str:
    """The text of a trial of a run, as `in_run` reads it; unchanged without a number.

    Raises:
        UserError: the text is not that of a run folder, or is that of another trial.
    """
    if number is None:
        return text
    if (there := in_run(text)) is None:
        kind = "a network" if names_network(text) else "none"
        raise UserError(f"--trial is for a run folder, and {title(text)} is {kind}")
    if there[1] not in (None, number):
        raise UserError(f"--trial {number}: {text} is trial {there[1]} of {there[0]}; give one of the two")
    return f"{there[0]}:{number}"


def chosen(study: Study, number: int | None) -> Trial:
    """A trial of a study by its number, or the best one.

    Raises:
        UserError: there is no such trial, or none is complete.
    """
    if number is None:
        return study.best
    trials = {trial.number: trial for trial in study.trials}
    if number not in trials:
        raise UserError(f"{study.folder} has no trial {number}; it has {len(trials)}, numbered from 0")
    return trials[number]


def names_network(text: str) -> bool:
    """Whether a text means a network, and not a run folder."""
    if text.lstrip().startswith("{"):
        return True
    if (Path(text) / "study.json").exists():
        return False
    return text.endswith(".json") or ".py:" in text or text in CLASSICS or (Path(text) / TRAINED).exists()


def named(text: str, space: SearchSpace | None = None) -> Any:
    """The network that a text means: a `Buildable` or a torch module.

    Args:
        text: a classic's name; a network's text form or a file of it; a run folder, which stands for its best, or one
            of its trials (`in_run`); the folder of a trained network; or `file.py:object`: one of these values, or a
            torch module (or a function that returns one).
        space: of an architecture, where it is no space of ours.

    Raises:
        UserError: the text is none of these.
    """
    found = _as_given(text, space)
    return at_own_size(found) if isinstance(found, Buildable) else found


def on_images(
    text: str, space: SearchSpace | None = None, task: Task | None = None, image_size: int | None = None
) -> tuple[Any, Task, Task]:
    """The network that a text means, the images that it is given, and those that its costs are counted on.

    They differ where the network enlarges its images, as one of the space `scaling` does.

    Args:
        text, space: as of `named`.
        task: the images; by default the network's own, or 224 x 224 x 3 and 1000 classes.
        image_size: height and width of the images in pixels; by default those of the task.

    Raises:
        UserError: the text is no network, or the task and the image size differ.
    """
    check_sizes(task, image_size)
    found = _as_given(text, space)
    home = None if not isinstance(found, Buildable) or found.architecture is None else found.architecture.space
    if not isinstance(home, ScalingSpace) or found.scale != Scale():
        found = at_own_size(found) if isinstance(found, Buildable) else found
        given = (task or own_task(found)).at(image_size)
        return found, given, given
    given = (task or found.task or home.base.task).at(image_size)
    return at_own_size(found, given), given, seen_task(found, given)


def _as_given(text: str, space: SearchSpace | None) -> Any:
    """As `named`, of the space `scaling` as for any images."""
    if text.lstrip().startswith("{"):
        return network_from_json(text, space)
    if ".py:" in text:
        made = load_object(text)
        if isinstance(made, Buildable):
            return made
        from torch import nn

        module = made() if callable(made) and not isinstance(made, nn.Module) else made
        if not isinstance(module, nn.Module):
            raise UserError(f"{text} is {type(module).__name__}; not a torch module or a function that returns one")
        return module
    if text.endswith(".json"):
        return network_from_file(Path(text), space)
    if (Path(text) / TRAINED).exists():
        return network_from_file(Path(text) / TRAINED, space)
    run, number = in_run(text) or (Path(text), None)
    if text not in CLASSICS and run.is_dir():
        from studies import Study

        study = Study.open(run, space=space)
        return Scaled(chosen(study, number).architecture, Scale(), study.task)
    if text.endswith(".py"):
        raise UserError(f"no network {text!r}{nearest(text, CLASSICS)}")
    if "/" in text:
        raise UserError(f"no run folder or network {text!r}")
    if text not in CLASSICS and "did you mean" not in nearest(text, CLASSICS):
        raise UserError(f"no folder or network {text!r}; nas classics lists the known networks")
    return classic(text)


def own_task(found: Any) -> Task:
    """The images of a classic's published numbers, or those a text form says; 224 x 224 x 3 and 1000 classes else."""
    return (found.task if isinstance(found, Buildable) else None) or Task()


def title(text: str) -> str:
    """What a network is called that was given as `text`."""
    return "architecture" if text.lstrip().startswith("{") else text
