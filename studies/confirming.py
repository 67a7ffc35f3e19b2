"""Which network is trained again: so many leaders in turn, or whichever training changes the choice most.

`auto` takes leader and challenger from Jourdan et al. 2022, *Top Two Algorithms Revisited*, arXiv:2206.05979 (EB-TC):
the leader is the network of the highest mean, its challenger the one whose mean is the fewest standard errors of the
difference below. The trainings of all networks are taken to be equally noisy, so how noisy they are cancels out and
need not be known. Departure, so that it is not that algorithm, and its guarantees are not shown for it: of the two the
one with fewer trainings is trained again, the leader of equals, and nothing is drawn. In the paper the leader is
sampled with a fixed probability, and else the challenger.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from searchspaces import UserError
from studies.results import accuracy_of

if TYPE_CHECKING:
    from studies.trial import Trial

AUTO: Final = "auto"
CONFIRMATIONS: Final = 3
"""Fresh trainings of each leader, where their number is given."""
AUTO_LEADERS: Final = 10
"""Leaders among which `auto` divides its trainings."""
AUTO_SHARE: Final = 8
"""`auto` takes one of so many trials."""
ENOUGH: Final = 50
"""Trials from which on `auto` is the default: `docs/strategies.md` has what it costs and saves."""

Confirm = int | Literal["auto"]


def confirm_from(given: int | str) -> Confirm:
    """A number of leaders, or `auto`, as a person gives it.

    Raises:
        UserError: it is neither.

    >>> confirm_from("auto"), confirm_from("3"), confirm_from(0)
    ('auto', 3, 0)
    """
    if given == AUTO:
        return AUTO
    if isinstance(given, str) and given.isdecimal():
        return int(given)
    if isinstance(given, bool) or not isinstance(given, int) or given < 0:
        raise UserError(f"confirm must be a whole number of at least 0, or auto, got {given!r}")
    return given


def usual(noisy: bool, strategy: object, pruner: str, trials: int | None) -> Confirm:
    """What a study does where nobody says: `auto` where estimates are noisy and enough trials are planned, else 0.

    Not with the strategy `pareto`, which wants a front and not one network, nor with `grid`, which wants every network
    once; nor with the pruner `curves`, which would stop only what has no chance to be among the `AUTO_LEADERS` best.

    Args:
        noisy: whether the estimates of a network differ from seed to seed, as the estimator says (`noisy`).

    >>> usual(True, "guided", "none", 60), usual(True, "guided", "none", 20)
    ('auto', 0)
    """
    one_is_wanted = strategy not in ("pareto", "grid") and not pruner.startswith("curves")
    return AUTO if noisy and one_is_wanted and (trials or 0) >= ENOUGH else 0


def most_leaders(confirm: Confirm) -> int:
    """How many of the best networks may be trained again."""
    return AUTO_LEADERS if confirm == AUTO else confirm


def confirmations(confirm: Confirm, trials: int) -> int:
    """How many of the trials train a network again, at most.

    >>> confirmations(2, 60), confirmations("auto", 60)
    (6, 7)
    """
    return trials // AUTO_SHARE if confirm == AUTO else CONFIRMATIONS * confirm


def with_confirmations(proposals: int, confirm: Confirm) -> int:
    """Trials that hold so many proposals beside their confirmations: no more than one above the fewest.

    >>> with_confirmations(54, 2), with_confirmations(54, "auto")
    (60, 61)
    """
    return proposals + (proposals // (AUTO_SHARE - 1) if confirm == AUTO else CONFIRMATIONS * confirm)


def lacking(confirm: Confirm, leaders: Sequence[Trial], again: Sequence[Trial], trials: int, more: int = 0) -> int:
    """How many confirmations are still to come; of a given number of leaders, those that were had may be of others.

    Args:
        confirm: as of the study.
        leaders: proposals that may be trained again.
        again: all trainings that confirm a network, those under way included.
        trials: planned in all.
        more: proposals that may yet become leaders.
    """
    if confirm == AUTO:
        return max(0, confirmations(AUTO, trials) - len(again)) if len(leaders) + more > 1 else 0
    had = Counter(each.confirms for each in again)
    lack = sum(max(0, CONFIRMATIONS - had[leader.number]) for leader in leaders)
    return lack + CONFIRMATIONS * min(more, confirm - len(leaders))


def next_confirmed(
    confirm: Confirm, leaders: Sequence[Trial], again: Sequence[Trial], before: int, alone: bool = False
) -> Trial | None:
    """The leader that is trained again next; None if there is none, or with `auto` nothing to be told apart.

    Args:
        confirm: as of the study.
        leaders: proposals that may be trained again, the best first.
        again: all trainings that confirm a network, those under way included.
        before: how `auto` is to know their accuracies: those of trials with a lower number.
        alone: whether fresh trainings alone count, where a network has one; the others began from weights of parents.
    """
    several = []
    for leader in leaders:
        own = [each for each in again if each.confirms == leader.number]
        known = [each for each in own if each.number < before and each.state == "complete"]
        first = [] if alone and known and confirm == AUTO else [leader]
        several.append(Trained(tuple(map(accuracy_of, [*first, *known])), len(first) + len(own)))
    chosen = contested(several) if confirm == AUTO else in_turn(several)
    return None if chosen is None else leaders[chosen]


@dataclass(frozen=True, slots=True)
class Trained:
    """A network that may be trained again.

    Attributes:
        accuracies: of its trainings, as far as they are known, in [0, 1]; the first is that of its proposal.
        trainings: in all. What is not known, as it is under way or failed, is believed to be the mean.
    """

    accuracies: tuple[float, ...]
    trainings: int

    @property
    def mean(self) -> float:
        """Over the trainings that are known."""
        return sum(self.accuracies) / len(self.accuracies)


def in_turn(several: Sequence[Trained]) -> int | None:
    """The one that was trained least, the first of equals; None if there is none."""
    return min(range(len(several)), key=lambda index: several[index].trainings, default=None)


def contested(several: Sequence[Trained]) -> int | None:
    """The one whose next training tells most about which is best; None if there is nothing to be told apart.

    >>> contested([Trained((0.93,), 1), Trained((0.91,), 1), Trained((0.90,), 1)])  # the first may have been lucky
    0
    >>> contested([Trained((0.93, 0.89), 2), Trained((0.91,), 1), Trained((0.90,), 1)])
    1
    """
    if len(several) < 2:
        return None
    best = max(range(len(several)), key=lambda index: several[index].mean)

    def apart(index: int) -> float:
        """How far it is below the best, in standard errors of the difference, where one training deviates by 1."""
        variance = 1 / several[best].trainings + 1 / several[index].trainings
        return (several[best].mean - several[index].mean) / math.sqrt(variance)

    challenger = min((index for index in range(len(several)) if index != best), key=apart)
    return min(best, challenger, key=lambda index: several[index].trainings)
