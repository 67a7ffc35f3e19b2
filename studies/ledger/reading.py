"""A trial as an Optuna study keeps it, read back as ours.

A run folder may be anybody's, so nothing in it is believed.
"""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from searchspaces import COSTS, Cost
from searchspaces.cost import WHOLES
from studies.trial import Trial

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial, TrialState

    from searchspaces import SearchSpace
    from strategies.strategy import TrialState as State


def states() -> dict[State, TrialState]:
    """What Optuna calls the states of a trial."""
    from optuna.trial import TrialState

    return {
        "running": TrialState.RUNNING,
        "complete": TrialState.COMPLETE,
        "pruned": TrialState.PRUNED,
        "failed": TrialState.FAIL,
    }


def read_trial(frozen: FrozenTrial, space: SearchSpace, in_tables: bool) -> Trial:
    """A trial as it was written.

    Args:
        frozen: as Optuna reads it.
        space: of the study.
        in_tables: whether `Rows` wrote it.

    Raises:
        LookupError, TypeError, AttributeError, ValueError, UserError: no study over this space wrote it.
    """
    attributes = frozen.user_attrs
    state = {theirs: ours for ours, theirs in states().items()}[frozen.state]
    architecture = space.architecture(frozen.params)
    known = {name: attributes[name] for name in COSTS if name in attributes or name != "latency_ms"}
    cost = Cost.of({name: round(value * WHOLES.get(name, 1)) for name, value in known.items()})
    confirms = None if "confirms" not in attributes else int(attributes["confirms"])
    parent = None if "parent" not in attributes else int(attributes["parent"])
    told, driver = int(attributes["told"]), attributes.get("driver")
    if "started" in attributes:
        started: datetime | None = datetime.fromisoformat(attributes["started"])
    elif (started := frozen.datetime_start) is not None and in_tables:  # the first studies wrote local times as UTC
        started = started.astimezone(UTC).replace(tzinfo=None)
    trial = Trial(
        frozen.number,
        architecture,
        cost,
        state,
        told,
        started=None if started is None else started.astimezone(),
        confirms=confirms,
        parent=parent,
        driver=None if driver is None else str(driver),
        twins=tuple(space.architecture(each) for each in attributes.get("twins", ())),
    )
    if state == "running":
        return trial
    outcome = attributes["outcome"]
    (accuracy,) = frozen.values or (None,)
    ended = replace(
        trial,
        accuracy=accuracy,
        reports=tuple((int(step), frozen.intermediate_values[step]) for step in outcome["steps"]),
        seconds=float(outcome["seconds"]),
        reason=outcome["reason"],
        details=outcome["details"],
        rank=int(outcome["rank"]),
        ended=datetime.fromisoformat(outcome["ended"]).astimezone(),
    )
    _check(ended)
    return ended


def _check(trial: Trial) -> None:
    """Refuse what no study wrote of a trial that ended, before anything computes with it.

    Raises:
        TypeError: as said.
    """
    accuracies: list[object] = [accuracy for _, accuracy in trial.reports]
    accuracies += [] if trial.state == "failed" else [trial.accuracy]
    sound = {
        "accuracies": all(isinstance(each, (int, float)) and 0 <= each <= 1 for each in accuracies),
        "seconds": trial.seconds is not None and 0.0 <= trial.seconds < math.inf,
        "reason": trial.reason is None or isinstance(trial.reason, str),
        "details": isinstance(trial.details, dict),
        "the confirmed trial": trial.confirms is None or 0 <= trial.confirms < trial.number,
        "the parent": trial.parent is None or 0 <= trial.parent < trial.number,
    }
    for what, is_sound in sound.items():
        if not is_sound:
            raise TypeError(f"{what} cannot be what is there")
