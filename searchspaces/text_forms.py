"""Reading networks from their text forms, which are JSON: of an architecture, scaled or not, and of a classic network.

    {"space": "mbconv", "choices": {...}}                                    an architecture
    {"space": "scaling", "of": {...}, "choices": {...}}                      one of a space made of a network
    {"space": "mbconv", "choices": {...}, "task": "32x32x3:10"}              for certain images and classes
    {"space": "mbconv", "choices": {...}, "scale": {"width": 1.1}, ...}      and scaled
    {"classic": "resnet18", "task": "32x32x3:10", "strides": "published"}    a classic network

A classic without `strides`, as earlier versions wrote it, leaves out strides on small images. Other keys are ignored,
so that a file can say more about its network. A text never loads a person's file: an architecture of a space that is
not among our own needs that space. `to_json` of each kind of network writes its form.
"""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from searchspaces.architecture import Architecture
from searchspaces.catalog import SPACES, classic, space_named
from searchspaces.errors import UserError, nearest
from searchspaces.files import read_text
from searchspaces.recipe import RECIPE, RecipeSpace
from searchspaces.scaling import Scaled, ScalingSpace
from searchspaces.stage import PUBLISHED, Scale
from searchspaces.strides import SMALL_IMAGES, SUFFIX, with_strides
from searchspaces.task import Task

if TYPE_CHECKING:
    from searchspaces.architecture import Buildable, SearchSpace


def network_from_file(path: Path, space: SearchSpace | None = None) -> Buildable:
    """The network whose text form a file holds; `space` as of `network_from_json`.

    Raises:
        UserError: the file cannot be read, or holds no network; the message has its path.
    """
    text = read_text(path, "the network")
    try:
        return network_from_json(text, space)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def network_from_json(text: str, space: SearchSpace | None = None) -> Buildable:
    """The network of a text form, for the task and at the size in it.

    Args:
        text: the text form.
        space: of its architecture; by default the space of that name among our own.

    Raises:
        UserError: the text is not the form of a network.

    >>> network_from_json('{"classic": "resnet18", "task": "32x32x3:10"}').task
    Task(image_size=32, channels=3, classes=10)
    """
    form = _form(text, "a network")
    if "classic" in form:
        found = classic(str(form["classic"])).under(form.get("strides", SMALL_IMAGES))
        return replace(found, task=_task(form["task"])) if "task" in form else found
    if "scale" in form or "task" in form:
        return scaled_from_json(text, space)
    return architecture_from_json(text, space)


def architecture_from_json(text: str, space: SearchSpace | None = None) -> Architecture:
    """The architecture of a text form, without the task and the scale in it.

    Args:
        text: the text form.
        space: that it is a member of; by default the space of that name among our own. Where the text has an `of`, the
            space of the network there.

    Raises:
        UserError: the text is not the form of an architecture, or not of one in that space.
    """
    form = _form(text, "an architecture")
    name, choices, of = form.get("space"), form.get("choices"), form.get("of")
    if not isinstance(name, str) or not isinstance(choices, dict):
        raise UserError(f"not an architecture: {text!r}; it needs a space's name and choices")
    if space is None or (of is not None and space.name != name):
        space = _ours(name) if of is None else space_of(name, of, space)
    if name == space.name + SUFFIX:
        space = with_strides(space, PUBLISHED)
    if space.name != name:
        raise UserError(f"this architecture belongs to space {name!r}, not to {space.name!r}")
    own = getattr(space, "of", None)
    if of is not None and own is not None and json.loads(json.dumps(own)) != of:
        raise UserError(
            f"this architecture belongs to a space {name!r} made from a different network than the one given"
        )
    return space.architecture(choices)


def _ours(name: str) -> SearchSpace:
    """The space of that name among our own.

    Raises:
        UserError: there is none; a person's own must be given.
    """
    plain = name.removesuffix(SUFFIX)
    if plain not in SPACES:
        raise UserError(
            f"unknown space {name!r}: if the space is your own, add --space FILE.py:OBJECT{nearest(plain, SPACES)}"
        )
    return space_named(name)


def scaled_from_json(text: str, space: SearchSpace | None = None) -> Scaled:
    """The scaled architecture of a text form; without `scale` not scaled, without `task` for the default task.

    Args:
        text: the text form.
        space: as in `architecture_from_json`.

    Raises:
        UserError: the text is not the form of an architecture, or its scale or task is malformed.
    """
    architecture, form = architecture_from_json(text, space), _form(text, "an architecture")
    size = form.get("scale", {})
    if not isinstance(size, dict) or not size.keys() <= {each.name for each in fields(Scale)}:
        raise UserError(f"scale: {json.dumps(size)!r} does not look like " + '{"width": 1.1, "depth": 1.2}')
    return Scaled(architecture, Scale(**size), _task(form.get("task", str(Task()))))


def space_of(name: str, of: Any, home: SearchSpace | None = None) -> SearchSpace:
    """A space that is made of a network, from its `of`.

    Args:
        name: of the space.
        of: the `of` of the space, as JSON values.
        home: the space of the network; by default the space of that name among our own.

    Raises:
        UserError: no space of that name is made of a network, or the network or a setting is malformed.
    """
    text = json.dumps(of)
    if name == RECIPE:
        return RecipeSpace(network_from_json(text, home), _settings(_form(text, "a network").get("settings")))
    if name != "scaling":
        raise UserError(f"space {name!r} is not made from a network, as 'scaling' is")
    base, form = scaled_from_json(text, home), _form(text, "an architecture")
    return ScalingSpace(base, **{name: form[name] for name in ("target", "step", "band", "growth") if name in form})


def at_own_size(network: Buildable, task: Task | None = None) -> Buildable:
    """A network as it is built for images of its own size.

    An architecture of the space `scaling` resizes the images of any task. At its own size it becomes the scaled network
    that it stands for, on a task of enlarged images. One of the space `recipe` becomes the network that it trains. Any
    other network stays as it is.

    Args:
        network: the network.
        task: before scaling; by default the network's own, or that of the base of its space.
    """
    home = None if network.architecture is None else network.architecture.space
    if isinstance(home, RecipeSpace):
        return home.base
    if not isinstance(home, ScalingSpace) or network.scale != Scale():
        return network
    base = replace(home.base, task=task or network.task or home.base.task)
    assert network.architecture is not None
    return base.larger(home.factors(network.architecture))


def seen_task(network: Buildable, task: Task) -> Task:
    """The images of a task as the network's own layers see them: enlarged, where it is one of the space `scaling`."""
    home = None if network.architecture is None else network.architecture.space
    if not isinstance(home, ScalingSpace):
        return task
    assert network.architecture is not None
    return task.enlarged(home.factors(network.architecture).resolution)


def _form(text: str, what: str) -> dict[str, Any]:
    try:
        form = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"not {what}: {text!r} ({error})") from error
    if not isinstance(form, dict):
        raise UserError(f"not {what}: {text!r}; it needs a space's name and choices")
    return form


def _settings(given: Any) -> dict[str, tuple[Any, ...]]:
    """The options of a recipe's settings."""
    if not isinstance(given, dict) or not all(isinstance(options, list) for options in given.values()):
        raise UserError(f"settings: {json.dumps(given)!r} does not look like " + '{"lr": [0.05, 0.1]}')
    options = [option for several in given.values() for option in several]
    if not all(isinstance(option, int | float | str | bool) for option in options):
        raise UserError(f"settings: options must be numbers, strings, true or false, got {json.dumps(given)}")
    return {name: tuple(several) for name, several in given.items()}


def _task(text: Any) -> Task:
    if not isinstance(text, str):
        raise UserError(f"task: {text!r} does not look like '224x224x3:1000'")
    return Task.parse(text)
