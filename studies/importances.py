"""How much each decision of a space matters for the accuracy of the networks that a study tried.

Functional ANOVA (Hutter et al. 2014, ICML) as Optuna has it: the share of a random forest's variance that a decision
explains by itself. What is left of 1 decisions explain only together: interactions, and noise that the forest has
learned, which looks like them. A decision without effect in a network, such as the kernel of a block that is not
there, has an option of its own for that. It is what the trials show: a strategy that tried few options of a decision
shows little of it.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Final

from studies import results

if TYPE_CHECKING:
    from studies.study import Study

FEWEST: Final = 10
"""Complete networks below which nothing is said."""
MOST: Final = 400
"""Networks that are looked at, spread over the study: the forest's time grows with the square of them."""
_NONE: Final = "no effect"


def decision_importances(study: Study, seed: int = 0) -> dict[str, float]:
    """The importance of each decision with several options, the largest first: its share of the variance, by itself.

    The shares add up to 1 at most; where interactions matter, to less. Empty where fewer than `FEWEST` networks are
    complete, or all of them have one accuracy.

    Args:
        study: its complete trials, a confirmed network with its mean.
        seed: of the forest.
    """
    complete = results.complete(study.trials)
    if len(complete) < FEWEST or len({trial.accuracy for trial in complete}) < 2:
        return {}
    import optuna
    from optuna.distributions import BaseDistribution, CategoricalDistribution

    looked_at = complete[:: -(-len(complete) // MOST)]
    names = [one.name for one in study.space.decisions if len(one.options) > 1]
    chosen = [{name: repr(trial.architecture.choices.get(name, _NONE)) for name in names} for trial in looked_at]
    options: dict[str, BaseDistribution] = {
        name: CategoricalDistribution(sorted({each[name] for each in chosen})) for name in names
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            made = optuna.create_study(direction="maximize")
            for params, trial in zip(chosen, looked_at, strict=True):
                made.add_trial(optuna.trial.create_trial(params=params, distributions=options, value=trial.accuracy))
            evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
            found = optuna.importance.get_param_importances(made, evaluator=evaluator, normalize=False)
        finally:
            optuna.logging.set_verbosity(verbosity)
    return {name: float(value) for name, value in found.items()}
