"""The searches of packages that may be installed beside `nas`: Optuna's TPE and pyglove's regularized evolution."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from searchspaces import Budget, Cost


@dataclass(frozen=True)
class Observed:
    """The answer to a proposal.

    Attributes:
        accuracy: in [0, 1]; 0 for what does not fit the budget.
        excess: by how much each bound is exceeded, as a share of the bound; what fits has none above 0. Empty where
            there is no budget.
    """

    accuracy: float
    excess: Mapping[str, float] = field(default_factory=dict)


Observe = Callable[[Sequence[int]], Observed]


def excess(budget: Budget, cost: Cost) -> dict[str, float]:
    """By how much each bound of a budget is exceeded, as a share of the bound; at most 0 where it is kept.

    >>> from searchspaces import Budget, Cost
    >>> excess(Budget.parse("40..50"), Cost(macs=60))
    {'macs': 0.2, 'least macs': -0.5}
    """
    found = {}
    for bound in budget.bounds:
        value, upper, lower = getattr(cost, bound.cost), float(bound.upper), float(bound.lower)
        found[bound.cost] = (value - upper) / upper
        if lower:
            found[f"least {bound.cost}"] = (lower - value) / lower
    return found


def optuna_tpe(observe: Observe, sizes: Sequence[int], trials: int, seed: int, *, multivariate: bool) -> None:
    """Optuna's TPE at its defaults but for `multivariate`, told by `set_constraint` how much the budget is exceeded."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(seed=seed, multivariate=multivariate)
            study = optuna.create_study(direction="maximize", sampler=sampler)
            for _ in range(trials):
                trial = study.ask()
                observed = observe([trial.suggest_categorical(f"digit{i}", range(n)) for i, n in enumerate(sizes)])
                for bound, excess in observed.excess.items():
                    trial.set_constraint(bound, excess)
                study.tell(trial, observed.accuracy)
    finally:
        optuna.logging.set_verbosity(verbosity)


def pyglove_evolution(
    observe: Observe,
    sizes: Sequence[int],
    trials: int,
    seed: int,
    *,
    population_size: int = 100,
    tournament_size: int = 10,
) -> None:
    """pyglove's regularized evolution with its uniform mutator, by default at its own settings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pyglove

    hyper = pyglove.Dict(digits=pyglove.List([pyglove.oneof(list(range(n))) for n in sizes]))
    evolution = pyglove.evolution.regularized_evolution(
        mutator=pyglove.evolution.mutators.Uniform(seed=seed),
        population_size=population_size,
        tournament_size=tournament_size,
        seed=seed,
    )
    for example, feedback in pyglove.sample(hyper, evolution, num_examples=trials):
        feedback(observe([int(digit) for digit in example.digits]).accuracy)
