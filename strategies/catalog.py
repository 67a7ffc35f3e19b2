"""The strategies by name. Importing this loads neither torch nor Optuna."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final

from searchspaces import Task, UserError, nearest
from strategies.evolution import RegularizedEvolution
from strategies.grid import Grid
from strategies.guided import Guided
from strategies.kinds import check_kind
from strategies.local_search import LocalSearch
from strategies.pareto import ParetoEvolution
from strategies.random import RandomSearch
from strategies.rl import RLController

if TYPE_CHECKING:
    from collections.abc import Callable

    from searchspaces import SearchSpace
    from strategies.strategy import Strategy

OPTUNA: Final = "optuna:"  # followed by the class name of a sampler


def _tpe(
    space: SearchSpace,
    *,
    trials: int = 100,
    startup: int | None = None,
    candidates: int = 24,
    multivariate: bool = True,
) -> Strategy:
    """Optuna's tree-structured Parzen estimator, as in `strategies.optuna_samplers`.

    Args:
        space: what may be proposed.
        trials: planned trials; used only for the default of `startup`.
        startup: uniform draws before the estimator is used; by default a tenth of `trials`, from 10 to 100.
        candidates: candidates sampled per proposal, of which the most promising is chosen.
        multivariate: model decisions jointly instead of one by one.
    """
    from strategies.optuna_samplers import tpe

    if startup is None:
        startup = min(max(trials // 10, 10), 100)
    return tpe(space, startup=startup, candidates=candidates, multivariate=multivariate)


STRATEGIES: Final[dict[str, Callable[..., Strategy]]] = {
    "evolution": RegularizedEvolution,
    "grid": Grid,
    "guided": Guided,
    "local-search": LocalSearch,
    "pareto": ParetoEvolution,
    "random": RandomSearch,
    "rl": RLController,
    "tpe": _tpe,
}


def settings_before(name: str, bounded: bool) -> dict[str, Any]:
    """Settings that a run does not have which began before there was a choice, and what its strategy did.

    Args:
        name: of the strategy.
        bounded: whether the run has a budget.
    """
    if name == "guided" and not bounded:  # with a budget, costs were counted on its task
        return {"task": str(Task())}
    return {"gae_lambda": 1.0, "ranked": False} if name == "rl" else {}


def make_strategy(name: str, space: SearchSpace, trials: int, **settings: Any) -> Strategy:
    """Make a strategy by its name.

    Args:
        name: a key of `STRATEGIES`, or `optuna:` and the class name of a sampler, as in `optuna:GPSampler`.
        space: what may be proposed; usually `space.under(budget, task)`.
        trials: planned trials, from which some strategies derive defaults. A study that is extended keeps its first
            settings: `make_strategy(name, space, any, **settings_of(strategy))` makes the same strategy again.
        settings: plain JSON values, as in `population=50`.

    Raises:
        UserError: the name or a setting is unknown, or a value is out of range.
    """
    if trials < 1:
        raise UserError(f"trials must be at least 1, got {trials}")
    if name.startswith(OPTUNA):
        from strategies.optuna_samplers import any_sampler

        return any_sampler(space, name.removeprefix(OPTUNA), **settings)
    if name not in STRATEGIES:
        raise UserError(f"unknown strategy {name!r}{nearest(name, [*STRATEGIES, 'optuna:GPSampler'])}")
    factory = STRATEGIES[name]
    parameters = {each: p for each, p in inspect.signature(factory).parameters.items() if p.kind is p.KEYWORD_ONLY}
    known = [each for each in parameters if each != "trials"]
    for setting, value in settings.items():
        if setting not in known:
            hint = nearest(setting, known) if known else "; it has no settings"
            raise UserError(f"{name} has no setting {setting!r}{hint}")
        check_kind(name, setting, value, parameters[setting].annotation)
    if "trials" in parameters:
        settings["trials"] = trials
    return factory(space, **settings)


def settings_of(strategy: Strategy) -> dict[str, Any]:
    """The resolved settings, for the manifest; empty for a user's strategy that has none."""
    return dict(getattr(strategy, "settings", {}))
