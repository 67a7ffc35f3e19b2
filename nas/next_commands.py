"""The commands that a study leads to: resume it, look at what it found, measure its proxy, search with it.

A person's own code and a password in the ledger's URL are never read from a run folder; options that give them again
are among the words. `nas.reproducing` has the command that makes a study again.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from nas.wording import path_here
from searchspaces import SPACES, Budget, Feasible, UserError
from searchspaces.strides import SUFFIX

if TYPE_CHECKING:
    from studies import Study


def resume_command(study: Study, trials: int | None = None) -> str:
    """The command that resumes a study.

    Args:
        study: one with a folder.
        trials: in all; by default as many as were planned.
    """
    words = ["nas", "resume", str(study.folder)]
    if trials is not None and trials != study.manifest.total:
        words += ["--trials", str(trials)]
    return shlex.join(
        [*words, *study.manifest.own_code("space", "strategy", "estimator"), *study.manifest.ledger_again]
    )


def budget_again(study: Study) -> str:
    """The budget for a command that does the same again: as it was typed, where that gives the study's own budget now.

    Otherwise as it was resolved; `WHOLE` for a study without one.
    """
    recorded, typed = study.manifest.budget, study.manifest.budget_typed
    if recorded is None:
        return WHOLE
    if typed is not None and isinstance(study.feasible, Feasible):
        with contextlib.suppress(UserError):  # a damaged text is not typed again
            budget, most = Budget.parse(typed), study.feasible.largest
            largest = {each.cost: most.whole(each.cost) for each in budget.bounds if each.cost in study.task.costs}
            if len(largest) == len(budget.bounds) and budget.resolved(largest) == study.budget:
                return typed
    return recorded if "," in recorded else recorded.removeprefix("macs=")


WHOLE: Final = "100%"
"""The budget of a study without one, for a command that needs one."""


def look_commands(study: Study, files: Mapping[str, str]) -> list[str]:
    """The commands that show the best network of a study.

    Args:
        study: one with a folder and a complete trial.
        files: of its folder, as in `study_document`.
    """
    space = study.manifest.own_code("space")
    words = [
        ["nas", "show", str(study.folder), "--trial", str(study.best.number), *space, *study.manifest.ledger_again]
    ]
    if isinstance(study.manifest.data, str) and "data" in study.manifest.estimator["resolved"]:
        train = ["nas", "train", str(study.folder)]
        if "shared weights" in files:  # whether they are a better start than none depends on how far they were trained
            words.insert(0, [*train, "--weights", str(study.folder), *space])
        words.insert(0, [*train, *space])
    if "network" in files:
        words.append(["nas", "cost", files["network"], *space])
    return [shlex.join(each) for each in words]


def proxy_command(study: Study) -> str | None:
    """The command that measures how well a study's proxy ranks networks; None where it has none that can be typed."""
    found = _question(study)
    if found is None:
        return None
    words, given = found
    given.pop("rungs", None)  # they are there for a pruner, and the comparison has none
    estimator = study.manifest.estimator
    score = given.pop("score", None) or estimator["resolved"].get("score")
    first = {"zero-cost": [str(score)], "supernet": ["supernet"]}.get(estimator["name"], [])
    return shlex.join(["nas", "proxy", *words, "--proxies", "+".join([*first, *_typed(given)]) or "short"])


def search_command(study: Study, more: Mapping[str, Any] | None = None) -> str | None:
    """The command that searches with the proxy of a study of `nas proxy`; None where it cannot be typed.

    Args:
        study: of the proxy.
        more: settings of the estimator that the study did not have.
    """
    found = _question(study)
    if found is None:
        return None
    words, given = found
    name = study.manifest.estimator["name"]
    other = ["--estimator", name] if name != "short-training" else []
    settings = [word for each in _typed({**given, **(more or {})}) for word in ("--set", f"estimator.{each}")]
    return shlex.join(["nas", "search", *words, *other, *settings])


def more_networks(typed: Sequence[str], networks: int) -> str:
    """The command that continues a comparison of `nas proxy` with more networks.

    Args:
        typed: the words of the comparison, without `nas`.
        networks: in all.

    >>> more_networks(["proxy", "--budget", "2M", "--networks", "8", "--quiet"], 16)
    'nas proxy --budget 2M --quiet --networks 16'
    """
    kept = [
        word
        for before, word in itertools.pairwise(["", *typed])
        if "--networks" not in (before, word) and not word.startswith("--networks=")
    ]
    return shlex.join(["nas", *kept, "--networks", str(networks)])


READING: Final = {"max_pixels": "--max-pixels", "centre": "--centre-crop", "cache": "--cache"}
"""Settings of how image files are read, and the options that give them to everything a command trains."""


def _question(study: Study) -> tuple[list[str], dict[str, Any]] | None:
    """Space, budget, data and task as options, and the other settings of the estimator; None where they are no text."""
    manifest, name = study.manifest, study.manifest.estimator["name"]
    space = manifest.space["name"] if manifest.space["origin"] == "named" else manifest.space["origin"]
    known = space.removesuffix(SUFFIX) in SPACES or ".py:" in space
    typed = isinstance(manifest.data, str) and "of" not in manifest.space and known
    if name not in ("short-training", "supernet", "zero-cost") or not typed or manifest.latency is not None:
        return None
    given = dict(manifest.estimator["given"])
    words = ["--space", space, "--budget", budget_again(study)]
    words += ["--data", path_here(str(manifest.data))]
    images = manifest.estimator["resolved"].get("data")
    if not (isinstance(images, dict) and images.get("task") == manifest.task and "image_size" in given):
        words += ["--task", manifest.task]  # else it follows from the images at their size
    if given.get("adjusted") is True:  # as a study that begins has it
        del given["adjusted"]
    if given.get("image_size") == study.task.image_size:
        words += ["--image-size", str(given.pop("image_size"))]
    if given.pop("skip_bad", False):
        words.append("--skip-bad")
    for setting, option in READING.items():
        if setting in given:
            words += [option, str(given.pop(setting))]
    return words, given


def _typed(settings: Mapping[str, Any]) -> list[str]:
    """Settings as they are typed."""
    return [f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in settings.items()]
