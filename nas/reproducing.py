"""The command that makes a study again, from its manifest: `nas search`, `nas scale` or `nas tune-recipe`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from nas.next_commands import READING, budget_again
from searchspaces import RecipeSpace, ScalingSpace
from searchspaces.files import read_json
from strategies import make_strategy, settings_before
from studies.folder import FAMILY, LATENCY

if TYPE_CHECKING:
    from nas.documents import Document
    from studies import Study
    from studies.manifest import Manifest

_OF_SCALING: Final = ("target", "step", "band", "growth")
"""What the `of` of the space `scaling` has besides its network."""
_OF_RECIPE: Final = ("settings",)
"""What the `of` of the space `recipe` has besides its network."""


def study_command(study: Study) -> list[str]:
    """The command that makes a study again, as words; parts that were objects in memory are left out of it."""
    assert study.folder is not None
    if isinstance(study.space, ScalingSpace):
        words = ["nas", "scale", _network(study.manifest, _OF_SCALING), *_words(_scaling_options(study, study.space))]
    elif isinstance(study.space, RecipeSpace):
        return _recipe_command(study, study.space)
    else:
        manifest = study.manifest
        options = {"--space": _named(manifest.space), "--budget": budget_again(study), "--data": manifest.data}
        words = ["nas", "search", *_words(options)]
    return [*words, *_search_words(study)]


def _search_words(study: Study) -> Iterator[str]:
    """The options that `nas search` and `nas scale` have in common."""
    manifest, folder = study.manifest, study.folder
    assert folder is not None
    yield from _words(
        {
            "--task": manifest.task,
            "--strategy": _named(manifest.strategy),
            "--estimator": _named(manifest.estimator),
            "--prescreen": manifest.prescreen,
            **_common(study),
            "--latency": None if manifest.latency is None else folder / LATENCY,
            "--workers": manifest.wave,
        }
    )
    flags = {
        "--inherit": manifest.inherit,
        "--replicas": manifest.replicas,
        "--deterministic": manifest.wave is not None,
    }
    yield from (flag for flag, given in flags.items() if given)
    for target, one in (("strategy", manifest.strategy), ("estimator", manifest.estimator)):
        named = target == "strategy" and one["origin"] == "named"
        before = {*settings_before(one["name"], manifest.budget is not None), *_of_plan(study)} if named else set()
        for name, value in {**{each: one["resolved"][each] for each in sorted(before)}, **one["given"]}.items():
            yield from ("--set", f"{target}.{name}={_said(value)}")


def _of_plan(study: Study) -> Iterator[str]:
    """Settings of the strategy that it would not have by itself with as many trials as there are.

    Defaults go by the number of trials that are planned, and a search that only time limits planned none.
    """
    manifest, trials = study.manifest, len(study.trials)
    if manifest.trials is None and trials:
        usual = make_strategy(manifest.strategy["name"], study.feasible, trials, **manifest.strategy["given"]).settings
        yield from (name for name, value in manifest.strategy["resolved"].items() if usual.get(name, value) != value)


def _common(study: Study) -> dict[str, Any]:
    """The options that all three commands have, None where the default is meant."""
    manifest, folder = study.manifest, study.folder
    assert folder is not None
    return {
        "--pruner": manifest.pruner,
        "--seed": manifest.seed,
        "--confirm": manifest.confirm,
        "--trials": manifest.trials or len(study.trials),  # as planned: strategies go by it
        "--name": folder.name,
        "--out": None if folder.parent == Path("runs") else folder.parent,
        "--ledger": None if manifest.ledger == "sqlite" else manifest.ledger,
    }


def _scaling_options(study: Study, space: ScalingSpace) -> dict[str, Any]:
    """The options of `nas scale` that `nas search` does not have, the space of a person's own network, and the data."""
    return {
        "--target": _number(space.target),
        "--step": _number(space.step),
        "--band": _number(space.band),
        "--growth": study.manifest.space["of"].get("growth"),
        "--phi": _phi(study.folder),
        "--space": _own(study.manifest),
        "--data": study.manifest.data,
    }


def _recipe_command(study: Study, space: RecipeSpace) -> list[str]:
    """`nas tune-recipe`, whose settings are those of full training."""
    manifest = study.manifest
    given = dict(manifest.estimator["given"])
    tuned = [f"{one.name}={'/'.join(map(_said, one.options))}" for one in space.decisions]
    options: dict[str, Any] = {
        "--settings": ",".join(tuned),
        "--space": _own(manifest),
        "--data": manifest.data,
        "--image-size": given.get("image_size"),
        "--recipe": given.get("recipe"),
        "--epochs": given.get("epochs"),
        "--strategy": _named(manifest.strategy),
        **_common(study),
        **{option: given.get(setting) for setting, option in READING.items()},
    }
    words = ["nas", "tune-recipe", _network(manifest, _OF_RECIPE), *_words(options)]
    words += ["--skip-bad"] if given.get("skip_bad") else []
    for name, value in dict(given.get("settings") or {}).items():
        words += ["--set", f"{name}={_said(value)}"]
    return words


def _network(manifest: Manifest, more: tuple[str, ...]) -> str:
    """The text form of the network that a space is made of, without what else the space's `of` has."""
    return json.dumps({name: value for name, value in manifest.space["of"].items() if name not in more})


def _phi(folder: Path | None) -> str | None:
    """The members of the family in a run folder; None where there is none, for the default."""
    if folder is None or not (folder / FAMILY).exists():
        return None
    return ",".join(f"{phi:g}" for phi in family_phi(read_json(folder / FAMILY, "the family"))) or None


def family_phi(family: Document) -> list[float]:
    """The members of a family besides its base, of what `family.json` holds; none where that is damaged."""
    members = family.get("members") if isinstance(family, dict) else None
    found = [each.get("phi") for each in members if isinstance(each, dict)] if isinstance(members, list) else []
    return [phi for phi in found if isinstance(phi, int | float) and phi > 0]


def _own(manifest: Manifest) -> str | None:
    """Where a person's own space came from, if that can be typed."""
    return str(manifest.space["origin"]) if manifest.own_code("space") else None


def _words(options: Mapping[str, Any]) -> list[str]:
    return [word for name, value in options.items() if value is not None for word in (name, str(value))]


def _named(one: Mapping[str, Any]) -> str:
    """The name of a part of a manifest, or where it came from."""
    return str(one["name"] if one["origin"] == "named" else one["origin"])


def _said(value: Any) -> str:
    """A value as `--set` reads it."""
    return value if isinstance(value, str) else json.dumps(value)


def _number(value: float) -> str:
    """The shortest text of a number, without an exponent.

    >>> _number(2.0), _number(0.05), _number(1e-05)
    ('2', '0.05', '0.00001')
    """
    return np.format_float_positional(value, trim="-")
