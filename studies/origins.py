"""Where spaces, strategies and estimators come from: a name in our tables, a person's file, or memory.

Only what has a name of ours can be made again from a run folder. The origin of anything else is kept as text for a
person to read, and is never loaded: it must be given again.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from estimators import ShortTraining, make_estimator
from searchspaces import RecipeSpace, ScalingSpace, UserError, load_object, load_space, space_named, space_of
from searchspaces.catalog import is_ours
from searchspaces.progress import doing
from strategies import make_strategy

if TYPE_CHECKING:
    from estimators import Estimator
    from searchspaces import Budget, SearchSpace, Task
    from strategies import Strategy

NAMED: Final = "named"
"""The origin of what is found by its name in our own tables."""
MEMORY: Final = "an object"
"""The origin of what was given as an object; any other origin is the `file.py:object` that a person typed."""


def under(space: SearchSpace, budget: Budget | None, task: Task) -> SearchSpace:
    """The part of a space that fits; the space itself where there is no budget."""
    if budget is None:
        return space
    doing("counting the networks within the budget")
    return space.under(budget, task)


def space_from(given: str | SearchSpace, home: str | None = None) -> tuple[str, SearchSpace]:
    """Where a space comes from, for the manifest, and the space.

    Args:
        given: a name, `file.py:object`, or a space.
        home: where the network's space comes from, of a space that is made of a network.

    Raises:
        UserError: the space cannot be found or loaded, or it is only the part of one that fits a budget.
    """
    space = load_space(given)
    if space.budget is not None:
        raise UserError("give a study the whole space and the budget, not the part of the space that fits")
    innermost: SearchSpace | None = space
    if isinstance(space, ScalingSpace | RecipeSpace):  # a classic network may be of no space, and is ours
        innermost = None if space.base.architecture is None else space.base.architecture.space
    if innermost is None or is_ours(innermost):
        return NAMED, space
    return given if isinstance(given, str) else home or MEMORY, space


def space_again(kept: Mapping[str, Any], home: SearchSpace | None = None) -> SearchSpace:
    """The space of a manifest; nothing but names and networks in text form is read from it.

    Args:
        kept: what the manifest keeps of the space.
        home: where the network lives that the space is made of, where that is no space of ours.

    Raises:
        UserError: there is no space of that name, or its network is of a space that is not given.
    """
    return space_of(kept["name"], kept["of"], home) if "of" in kept else space_named(kept["name"])


def manifest_of(space: SearchSpace, origin: str, fingerprints: Mapping[str, str]) -> dict[str, Any]:
    """What a manifest keeps of a space."""
    of = {"of": space.of} if space.of else {}
    return {"name": space.name, "origin": origin, **fingerprints, **of}


def strategy_from(
    given: str | Strategy | Callable[..., Strategy], space: SearchSpace, trials: int, settings: Mapping[str, Any]
) -> tuple[str, Callable[[], Strategy]]:
    """Where a strategy comes from, and a function that makes it afresh, with nothing told.

    Raises:
        UserError: a file or its object cannot be loaded, what was given is no strategy, or an object is given settings;
            of a name, only as the strategy is made: it is unknown, or takes no such settings.
    """
    if isinstance(given, str) and ".py:" not in given:
        name = given
        return NAMED, lambda: make_strategy(name, space, trials, **settings)
    origin = given if isinstance(given, str) else MEMORY
    found: Any = load_object(given) if isinstance(given, str) else given
    if makes(found):
        return origin, lambda: cast("Strategy", _made(found, origin, space, **settings))
    if not hasattr(found, "ask"):
        raise UserError(
            f"strategy {origin}: a {type(found).__name__} has no ask method, and neither does what it returns"
        )
    if settings:
        raise UserError(f"strategy {origin} is already an object and takes no settings")
    return origin, lambda: cast("Strategy", copy.deepcopy(found))


def estimator_from(
    given: str | Estimator | Callable[..., Estimator], data: str, device: str, settings: Mapping[str, Any]
) -> tuple[str, Estimator]:
    """Where an estimator comes from, and the estimator.

    Raises:
        UserError: the name is unknown, a file or its object cannot be loaded, what was given is no estimator, or it
            does not take the settings or the data.
    """
    if isinstance(given, str) and ".py:" not in given:
        for name in settings.keys() & {"name", "data", "device"}:  # which `make_estimator` is given otherwise
            raise UserError(f"{given}: {name!r} is not a setting; --data and --device choose what and where to train")
        return NAMED, make_estimator(given, data, device, **settings)
    origin = given if isinstance(given, str) else MEMORY
    found: Any = load_object(given) if isinstance(given, str) else given
    if makes(found):
        found = _made(found, origin, **settings)
    elif settings:
        raise UserError(f"estimator {origin} is already an object and takes no settings")
    if not hasattr(found, "estimate") or not hasattr(found, "describe"):
        raise UserError(f"estimator {origin}: a {type(found).__name__} has no estimate and describe methods")
    return origin, cast("Estimator", found)


def suited(estimator: Estimator, space: SearchSpace, given: Mapping[str, Any]) -> tuple[Estimator, dict[str, Any]]:
    """An estimator of ours made to suit a space where nobody said otherwise, and its settings with what was chosen.

    Only for a study that begins: one that is there has them in its manifest.

    Args:
        estimator: as made from what is given.
        space: what fits the budget.
        given: settings that a person chose, which stay; where they chose the width or the depth, both do.
    """
    doing("fitting the proxy to the space")
    chosen = estimator.suited(space) if isinstance(estimator, ShortTraining) else {}
    together = {"width", "depth"} if given.keys() & {"width", "depth"} else set()
    chosen = {name: value for name, value in chosen.items() if name not in given.keys() | together}
    return replace(cast(Any, estimator), **chosen) if chosen else estimator, {**given, **chosen}


def makes(given: Any) -> bool:
    """Whether it names or is what makes a strategy or an estimator, and so takes settings."""
    if isinstance(given, str | type):
        return True
    return callable(given) and not hasattr(given, "ask") and not hasattr(given, "estimate")


def _made(factory: Callable[..., Any], origin: str, *arguments: Any, **settings: Any) -> Any:
    try:
        return factory(*arguments, **settings)
    except TypeError as error:
        raise UserError(f"{origin}: {getattr(factory, '__name__', factory)} cannot be constructed: {error}") from error


def name_of(strategy: Any) -> str:
    """What the manifest calls a strategy."""
    if isinstance(strategy, str):
        return strategy.rpartition(":")[2] if ".py:" in strategy else strategy
    return str(getattr(strategy, "__name__", type(strategy).__name__))


def whole_path(given: str) -> str:
    """A path that another working directory understands too; what is no path stays as it is."""
    kind, _, file = given.partition(":") if given.startswith("table:") else ("", "", given)
    if file in ("", "digits") or ".py:" in file or not Path(file).expanduser().exists():
        return given
    whole = str(Path(file).expanduser().resolve())
    return f"{kind}:{whole}" if kind else whole


def again(origin: str, what: str, place: Path) -> UserError:
    """Law: nothing in a run folder may run code."""
    came = f"came from {origin}" if origin != MEMORY else "was an object in memory"
    flag = origin if origin != MEMORY else "FILE.py:OBJECT"
    return UserError(
        f"the {what} of {place} {came}, and opening a run folder never runs code; give it again: --{what} {flag}, or "
        f"in Python Study.open({str(place)!r}, {what}=...)"
    )
