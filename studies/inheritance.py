"""Trained weights within a study: which earlier trial a new one starts from, and which weights are kept for that.

The first trials have none (`studies.lineage`). Of a later one it is the nearest complete trial: that with the fewest
decisions that differ, of equals the more accurate one, then the earlier. It is chosen as the trial is proposed, from
what the strategy knows then, and written with it: a study cut and resumed chooses the same, and a trial that is run
again has the parent that it had. Confirmations have none.

Left out: the strategy's own parent, since most strategies have none, and a mutant's is among the nearest where its
weights are kept; and the weights of trials that were pruned.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from searchspaces import UserError
from studies.checkpoints import NOWHERE, Checkpoints
from studies.folder import WEIGHTS
from studies.lineage import FIRST, without_drift
from studies.results import accuracy_of

if TYPE_CHECKING:
    from pathlib import Path

    from estimators import Estimator
    from searchspaces import Architecture
    from studies.manifest import Manifest
    from studies.trial import Trial

KEPT: Final = 16
"""Networks whose weights are kept, the most accurate ones: a trial starts from one of these."""
BYTES: Final = "weights_bytes"
"""In the details of a trial that left its weights."""


class Inheritance:
    """The weights of a study's trials.

    Args:
        store: one file for each trial.
        wave: as in the manifest: the parents of a wave ended before it.
    """

    def __init__(self, store: Checkpoints, wave: int | None) -> None:
        self._store, self._wave = store, wave
        self._there: set[int] = set()

    @classmethod
    def of(cls, folder: Path | None, manifest: Manifest) -> Inheritance | None:
        """That of a study; None where trials do not inherit.

        Weights stay where the study began to keep them, wherever a later run keeps its checkpoints.
        """
        return cls(Checkpoints.of(folder, manifest, None, WEIGHTS), manifest.wave) if manifest.inherit else None

    def begin(self, trials: Sequence[Trial]) -> None:
        """Make the folder, and remove what nobody can start from any more.

        Args:
            trials: all of the study, by number.

        Raises:
            UserError: nothing can be kept there.
        """
        needed = self._needed(trials)
        self._there = {trial.number for trial in leaders(trials)} | needed
        self._store.begin(trial.number for trial in trials if trial.state != "running" and trial.number not in needed)

    def parent_of(self, architecture: Architecture, trials: Sequence[Trial]) -> int | None:
        """The number of the trial that a new one starts from; None for the first ones, and if there is none yet.

        Args:
            architecture: of the new one. A replica does not go on with its own training: it has another parent.
            trials: all before it.
        """
        if len(trials) < FIRST:
            return None
        found = [trial for trial in leaders(self._known(trials)) if trial.architecture != architecture]
        nearest = min(
            found,
            key=lambda each: (differing(architecture, each.architecture), -accuracy_of(each), each.number),
            default=None,
        )
        return None if nearest is None else nearest.number

    def place(self, number: int | None) -> str | None:
        """Where the weights of a trial are."""
        return None if number is None else self._store.place(number)

    def ended(self, trial: Trial, trials: Sequence[Trial]) -> None:
        """A trial ended: remove what nobody can start from any more."""
        if trial.confirms is None:
            self._there.add(trial.number)
        needed = self._needed(trials)
        for number in sorted(self._there - needed):
            self._store.remove(number)
        self._there &= needed

    def _known(self, trials: Sequence[Trial]) -> Sequence[Trial]:
        """What the strategy knows as the next trial is proposed: in waves, what is before its wave."""
        return trials if self._wave is None else trials[: len(trials) - len(trials) % self._wave]

    def _needed(self, trials: Sequence[Trial]) -> set[int]:
        """Trials whose weights somebody starts from, or may yet."""
        under_way = {trial.parent for trial in trials if trial.state == "running" and trial.parent is not None}
        known, ended = leaders(self._known(trials)), leaders(trials)
        return under_way | {trial.number for trial in known} | {trial.number for trial in ended}


def leaders(trials: Iterable[Trial]) -> list[Trial]:
    """The trials whose weights are kept: the most accurate that left any, less what their ancestors' epochs add."""
    proposed = (each for each in without_drift([*trials]) if each.state == "complete" and each.confirms is None)
    left = [trial for trial in proposed if BYTES in trial.details]
    return sorted(left, key=lambda each: (-accuracy_of(each), each.number))[:KEPT]


def differing(one: Architecture, other: Architecture) -> int:
    """How many decisions differ, those that have an effect in one of the two only among them."""
    mine, theirs = one.choices, other.choices
    return sum(mine.get(name) != theirs.get(name) for name in mine.keys() | theirs.keys())


def check_inherits(estimator: Estimator, name: object, folder: Path | None, checkpoints: str | None) -> None:
    """Refuse a study whose trials could not inherit.

    Args:
        estimator, name: of the study.
        folder: of the run, if any.
        checkpoints: as in `Settings`.

    Raises:
        UserError: the estimator cannot start from weights, or there is no place for them.
    """
    if not getattr(estimator, "inherits", False):
        raise UserError(f"inherit: the estimator {name!r} cannot start from trained weights; short-training can")
    if checkpoints == NOWHERE or (folder is None and checkpoints is None):
        raise UserError("inherit: there is nowhere to keep the weights; give a run folder or a checkpoints location")
