"""Any Optuna sampler as a strategy, through one adapter; the only file of this package that imports Optuna.

The sampler sees an in-memory Optuna study that holds the outcomes and nothing else. Each `ask` gives a copy of that
study to a fresh sampler, seeded from the generator, and discards what the sampler writes there. So `ask` is pure, and
replaying the outcomes restores the same state, whatever a sampler keeps in a study.

A sampler knows neither the budget nor what was tried before, and spending trials to teach it would be too expensive.
Instead, a proposal is replaced by the nearest member that has not been tried (all samplers), and TPE draws its
candidates from the density of the good trials *conditioned on fitting the budget and being new*.

**Encoding.** Each decision is one categorical parameter. Its choices are the indices of the options and, if it can be
inactive, -1, as in `Space.encode`. An inactive decision is thus neither missing, which would make samplers fall back to
independent draws, nor filled with a value that had no effect. If a proposal has -1 for a decision that turns out to be
active, any option may take its place. A decision that is active in each of `DRAWS` uniform draws has no -1, to which a
sampler would give a share of the probability; should it be inactive after all, its first option stands for that.
"""

from __future__ import annotations

import copy
import functools
import inspect
import math
import warnings
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.samplers._ga import BaseGASampler
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState, create_trial

from searchspaces import UserError, nearest
from strategies.kinds import check_kind
from strategies.novelty import nearest_new, sample_new

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from searchspaces import Architecture, SearchSpace
    from strategies.strategy import Outcome

DRAWS: Final = 256
"""Uniform draws that show which decisions can be inactive."""

_INACTIVE: Final = -1  # as in Space.encode
_LEAST: Final = {"n_startup_trials": 0, "n_ei_candidates": 1, "prior_weight": 0, "dividing_parameter": 1}
"""Bounds that Optuna checks late, or not at all."""
_BATCHES: Final = 20  # batches of candidates that TPE draws, at most, until enough of them fit and are new


@final
class OptunaStrategy:
    """An Optuna sampler behind `ask` and `tell`.

    Args:
        space: what may be proposed.
        sampler: makes a sampler from a seed.
        startup: trials with an accuracy before the sampler is used; until then proposals are uniform over what fits.
        settings: for the manifest.
    """

    def __init__(
        self, space: SearchSpace, sampler: Callable[[int], BaseSampler], startup: int, settings: Mapping[str, Any]
    ) -> None:
        if startup < 0:
            raise UserError(f"startup must not be negative, got {startup}")
        self._space = space
        self._sampler = sampler
        self._startup = startup
        self._settings = dict(settings)
        self._names = [decision.name for decision in space.decisions]
        draw, whole = np.random.default_rng(0), space.whole
        drawn = [whole.encode(whole.sample(draw)) for _ in range(DRAWS)]
        self._lowest = np.min(drawn, axis=0).clip(max=0)  # (decisions,); -1 where a decision can be inactive
        self._distributions: dict[str, BaseDistribution] = {
            decision.name: CategoricalDistribution(range(lowest, len(decision.options)))
            for decision, lowest in zip(space.decisions, self._lowest.tolist(), strict=True)
        }
        self._known: set[Architecture] = set()
        self._numbers: dict[Architecture, int] = {}  # of running trials, in the inner study
        self._learned = 0  # number of trials with an accuracy
        self._study = _memory_study()
        self._shape = _memory_study()  # one trial, from which samplers infer the search space
        first = {decision.name: 0 for decision in space.decisions}
        self._shape.add_trial(create_trial(params=first, distributions=self._distributions, value=0.0))
        self._bookkeeper = sampler(0)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings of the factory, defaults included."""
        return self._settings

    def ask(self, rng: np.random.Generator) -> Architecture:
        """The sampler's proposal, or the nearest architecture that fits and has not been tried.

        Raises:
            Exhausted: every architecture of the space has been tried.
        """
        if self._learned < self._startup:
            return sample_new(self._space, self._known, rng)
        sampler = self._sampler(int(rng.integers(2**32)))
        if isinstance(sampler, TPESampler) and sampler._is_multivariate(self._study):
            _condition(sampler, self._space, self._known, self._lowest)
        study = _copy(self._study)
        proposal = self._propose(sampler, study)
        wish = {
            decision.name: decision.options[proposal[decision.name]]
            for decision in self._space.decisions
            if proposal[decision.name] != _INACTIVE
        }
        return nearest_new(self._space, wish, self._known, rng)

    def tell(self, architecture: Architecture, outcome: Outcome) -> None:
        """Write the trial into the inner study.

        A failed one counts as pruned without a report, which TPE takes to be worse than all others: failed trials it
        would ignore, and propose what cannot be trained again and again.
        """
        self._known.add(architecture)
        if architecture not in self._numbers:
            self._start(architecture)
        if outcome.state == "running":
            return
        number = self._numbers.pop(architecture)
        if outcome.accuracy is None:
            self._study.tell(number, state=TrialState.PRUNED)
            return
        self._learned += 1
        if outcome.state == "pruned":
            self._study._storage.set_trial_intermediate_value(number, 1, outcome.accuracy)
            self._study.tell(number, state=TrialState.PRUNED)
        else:
            self._study.tell(number, outcome.accuracy)

    def _start(self, architecture: Architecture) -> None:
        vector = self._space.encode(architecture).clip(self._lowest)  # (decisions,)
        params = {name: int(index) for name, index in zip(self._names, vector, strict=True)}
        trial = create_trial(state=TrialState.RUNNING, params=params, distributions=self._distributions)
        number = self._numbers[architecture] = len(self._study._storage.get_all_trials(0, deepcopy=False))
        self._study.add_trial(trial)
        if isinstance(self._bookkeeper, BaseGASampler):  # keeps generations in the study, whose copy an ask discards
            started = self._study._storage.get_trial(number)
            generation = self._bookkeeper.get_trial_generation(self._study, started)
            self._bookkeeper.get_parent_population(self._study, generation)

    def _propose(self, sampler: BaseSampler, study: optuna.Study) -> dict[str, int]:
        """Indices of options by decision, as `study.ask` would get them."""
        storage = study._storage
        trial = storage.get_trial(storage.create_new_trial(study._study_id))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler.before_trial(study, trial)
            search_space = sampler.infer_relative_search_space(self._shape, trial)
            proposal = dict(sampler.sample_relative(study, trial, search_space))
            for name, distribution in self._distributions.items():
                if name not in proposal:
                    proposal[name] = sampler.sample_independent(study, trial, name, distribution)
                trial.params[name], trial.distributions[name] = proposal[name], distribution  # some samplers read them
        return proposal


def tpe(space: SearchSpace, *, startup: int = 10, candidates: int = 24, multivariate: bool = True) -> OptunaStrategy:
    """The tree-structured Parzen estimator (TPE) of Optuna.

    Bergstra et al. 2011, *Algorithms for Hyper-Parameter Optimization*, sec. 4; Watanabe 2023, arXiv:2304.11127, for
    Optuna's implementation. One departure: candidates are drawn from the density of the good trials *conditioned on
    fitting the budget and being new*.

    Args:
        space: what may be proposed.
        startup: trials with an accuracy before the densities are used; until then proposals are uniform.
        candidates: draws from the density of the good trials at each ask; the one with the largest ratio is proposed.
        multivariate: one joint density over all decisions. Otherwise each decision has its own density, and a proposal
            is replaced by the nearest one that fits and is new.

    Raises:
        UserError: there are no candidates.
    """
    if candidates < 1:
        raise UserError(f"candidates must be at least 1, got {candidates}")

    def sampler(seed: int) -> BaseSampler:
        return TPESampler(seed=seed, n_startup_trials=startup, n_ei_candidates=candidates, multivariate=multivariate)

    settings = {"startup": startup, "candidates": candidates, "multivariate": multivariate}
    return OptunaStrategy(space, sampler, startup, settings)


def any_sampler(space: SearchSpace, name: str, *, startup: int = 10, **settings: Any) -> OptunaStrategy:
    """A sampler of `optuna.samplers` by its class name; other settings go to its constructor.

    Raises:
        UserError: there is no such sampler, it samples numbers only, or a setting is unknown, of another kind than its
            annotation, or refused.
    """
    names = [each for each in optuna.samplers.__all__ if _needs_only_settings(getattr(optuna.samplers, each))]
    if name not in names:
        raise UserError(f"Optuna has no sampler {name!r} that can be created from settings alone{nearest(name, names)}")
    kind: type[BaseSampler] = getattr(optuna.samplers, name)
    parameters = inspect.signature(kind).parameters
    allowed = [each for each in parameters if each != "seed"]
    check_kind(f"optuna:{name}", "startup", startup, "int")
    for setting, value in settings.items():
        if setting not in allowed:
            raise UserError(f"optuna:{name} has no setting {setting!r}{nearest(setting, [*allowed, 'startup'])}")
        check_kind(f"optuna:{name}", setting, value, parameters[setting].annotation)
        if setting in _LEAST and value is not None and not _LEAST[setting] <= value < math.inf:
            raise UserError(f"optuna:{name}: {setting} must be a number of at least {_LEAST[setting]}, got {value}")

    def sampler(seed: int) -> BaseSampler:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return kind(seed=seed, **settings)  # type: ignore[call-arg]

    try:
        if _samples_numbers_only(sampler(0)):
            raise UserError(
                f"optuna:{name} samples numbers only, and every decision of a space is categorical: all would be drawn "
                "at random; choose 'tpe', 'optuna:GPSampler' or 'optuna:NSGAIISampler', for example"
            )
        return OptunaStrategy(space, sampler, startup, {"startup": startup, **settings})
    except (TypeError, ValueError, ImportError) as error:
        raise UserError(f"optuna:{name}: {' '.join(str(error).split())}") from error


def _needs_only_settings(kind: Any) -> bool:
    """Whether this is a concrete sampler with a seed and no other required argument."""
    if not (inspect.isclass(kind) and issubclass(kind, BaseSampler)) or inspect.isabstract(kind):
        return False
    parameters = inspect.signature(kind).parameters
    needed = [each for each in parameters.values() if each.default is each.empty and each.kind is not each.VAR_KEYWORD]
    return "seed" in parameters and not needed


def _samples_numbers_only(sampler: BaseSampler) -> bool:
    """Whether the sampler would leave a categorical parameter, but not a number, to independent random draws."""
    study, distributions = (
        _memory_study(),
        {"number": IntDistribution(0, 9), "category": CategoricalDistribution([0, 1])},
    )
    study.add_trial(create_trial(params={"number": 0, "category": 0}, distributions=distributions, value=0.0))
    trial = study._storage.get_trial(study._storage.create_new_trial(study._study_id))
    sampled = sampler.infer_relative_search_space(study, trial)
    return "number" in sampled and "category" not in sampled


class _NewThatFits(_ParzenEstimator):
    """Optuna's estimator conditioned on architectures that fit and are new; TPE draws only from that of good trials."""

    def __init__(
        self, space: SearchSpace, known: set[Architecture], lowest: np.ndarray, *args: Any, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._space = space
        self._known = known
        self._lowest = lowest  # the index of each decision that its first choice stands for

    def sample(self, rng: np.random.RandomState, size: int) -> dict[str, np.ndarray]:
        """`size` candidates, or fewer if they are rare; the first draws if there are none."""
        decisions = self._space.decisions
        kept: dict[Architecture, np.ndarray] = {}
        first = drawn = super().sample(rng, size)
        for _ in range(_BATCHES):
            alone = np.zeros(size)  # Optuna draws nothing where there is a single option
            table = np.stack([drawn.get(each.name, alone) for each in decisions], axis=1).astype(int)
            for row in (table + self._lowest).tolist():
                architecture = self._completed(row, rng)
                if architecture is not None and architecture not in self._known:
                    kept[architecture] = self._space.encode(architecture).clip(self._lowest)
            if len(kept) >= size:
                break
            drawn = super().sample(rng, size)
        if not kept:
            return first
        candidates = np.stack(list(kept.values())[:size]) - self._lowest + 0.0  # (candidates, decisions)
        return {each.name: candidates[:, i] for i, each in enumerate(decisions) if each.name in first}

    def _completed(self, row: list[int], rng: np.random.RandomState) -> Architecture | None:
        """The architecture of a row of option indices, with any option for -1; None if it does not fit."""
        choices = {
            decision.name: decision.options[rng.randint(len(decision.options)) if index == _INACTIVE else index]
            for decision, index in zip(self._space.decisions, row, strict=True)
        }
        try:
            return self._space.architecture(choices)
        except UserError:
            return None


def _condition(sampler: TPESampler, space: SearchSpace, known: set[Architecture], lowest: np.ndarray) -> None:
    # "Users can overwrite _ParzenEstimator to customize the TPE behavior", says TPESampler where this is set.
    estimator: Any = functools.partial(_NewThatFits, space, known, lowest)
    sampler._parzen_estimator_cls = estimator


def _memory_study() -> optuna.Study:
    """An empty in-memory study, created without a log message."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(
            study_name="told", storage=InMemoryStorage(), sampler=RandomSampler(seed=0), direction="maximize"
        )
    finally:
        optuna.logging.set_verbosity(verbosity)


def _copy(study: optuna.Study) -> optuna.Study:
    """A copy of a study that shares its trials, which Optuna never changes in place."""
    storage = copy.copy(study._storage)
    assert isinstance(storage, InMemoryStorage)
    info = copy.copy(storage._studies[study._study_id])
    info.trials = list(info.trials)
    info.param_distribution = dict(info.param_distribution)
    storage._studies = {study._study_id: info}
    storage._trial_id_to_study_id_and_number = dict(storage._trial_id_to_study_id_and_number)
    twin = copy.copy(study)
    twin._storage = storage
    return twin
