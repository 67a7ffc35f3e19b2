"""The strategies by name, and how a name and settings become one."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final

from searchspaces import UserError, nearest
from strategies.evolution import RegularizedEvolution
from strategies.grid import Grid
from strategies.guided import Guided
from strategies.pareto import ParetoEvolution
from strategies.random import RandomSearch

if TYPE_CHECKING:
    from collections.abc import Callable

    from searchspaces import SearchSpace
    from strategies.strategy import Strategy

OPTUNA: Final = "optuna:"  # before the class name of a sampler


def _rl(
    space: SearchSpace,
    *,
    trials: int = 200,
    algorithm: str = "ppo",
    batch: int | None = None,
    epochs: int | None = None,
    learning_rate: float | None = None,
    clip: float = 0.2,
    entropy: float = 0.01,
    baseline: float = 0.95,
    hidden: int = 64,
    seed: int = 0,
    reward: str = "accuracy",
    target: int | str | None = None,
    alpha: float = -0.07,
    beta: float = -0.07,
    repeat: bool = False,
) -> Strategy:
    from strategies.rl import RLController

    return RLController(
        space,
        trials=trials,
        algorithm=algorithm,
        batch=batch,
        epochs=epochs,
        learning_rate=learning_rate,
        clip=clip,
        entropy=entropy,
        baseline=baseline,
        hidden=hidden,
        seed=seed,
        reward=reward,
        target=target,
        alpha=alpha,
        beta=beta,
        repeat=repeat,
    )


def _tpe(
    space: SearchSpace,
    *,
    trials: int = 100,
    startup: int | None = None,
    candidates: int = 24,
    multivariate: bool = True,
) -> Strategy:
    """TPE; by default a tenth of the trials, at least 10 and at most 100, are uniform draws before it begins."""
    from strategies.optuna_samplers import tpe

    if startup is None:
        startup = min(max(trials // 10, 10), 100)
    return tpe(space, startup=startup, candidates=candidates, multivariate=multivariate)


STRATEGIES: Final[dict[str, Callable[..., Strategy]]] = {
    "evolution": RegularizedEvolution,
    "grid": Grid,
    "guided": Guided,
    "pareto": ParetoEvolution,
    "random": RandomSearch,
    "rl": _rl,
    "tpe": _tpe,
}


def make_strategy(name: str, space: SearchSpace, trials: int, **settings: Any) -> Strategy:
    """Make the strategy of that name for a study that plans `trials`.

    Args:
        name: a key of `STRATEGIES`, or `optuna:` and the class name of a sampler, as `optuna:GPSampler`.
        space: what may be proposed; usually `space.under(budget, task)`.
        trials: planned; some strategies derive defaults from it. A study that goes on for longer keeps the settings it
            began with: `make_strategy(name, space, any, **settings_of(strategy))` makes the same strategy again.
        settings: plain JSON values, as in `population=50`.

    Raises:
        UserError: unknown name or setting, or a value out of range.
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
    for setting in settings:
        if setting not in known:
            hint = nearest(setting, known) if known else "; it has none"
            raise UserError(f"{name} has no setting {setting!r}{hint}")
    if "trials" in parameters:
        settings["trials"] = trials
    try:
        return factory(space, **settings)
    except TypeError as error:  # a value of the wrong kind, as text for a number
        raise UserError(f"{name}: {error}") from error


def settings_of(strategy: Strategy) -> dict[str, Any]:
    """The resolved settings, for the manifest; empty for a strategy of one's own that tells none."""
    return dict(getattr(strategy, "settings", {}))
