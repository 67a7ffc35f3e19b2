"""The adapter shows Optuna's samplers what was told, no more and no less, and takes what they propose."""

from __future__ import annotations

import inspect
import math

import numpy as np
import optuna
import pytest

from searchspaces import Architecture, Budget, Space, Stage, Task, UserError, choice, conv_head, mbconv, per_block
from strategies import Outcome, make_strategy
from strategies.optuna_samplers import OptunaStrategy

TASK = Task(image_size=32, channels=3, classes=10)
SPACE = Space(
    "conditional",
    stages=[
        Stage(mbconv, width=choice(8, 16, 24), depth=choice(1, 2), kernel=choice(3, 5, 7), stride=2),
        Stage(mbconv, width=24, depth=choice(0, 1, 2), kernel=per_block(3, 5), expansion=per_block(3, 6)),
    ],
    head=Stage(conv_head, width=64),
)
FEASIBLE = SPACE.under(Budget.parse("60%"), TASK)


class Wishes(optuna.samplers.BaseSampler):
    """Proposes given indices, and keeps what it was shown."""

    def __init__(self, indices: dict[str, int]) -> None:
        self.indices = indices
        self.shown: list[optuna.trial.FrozenTrial] = []

    def infer_relative_search_space(self, study, trial):  # type: ignore[no-untyped-def]
        return {}

    def sample_relative(self, study, trial, search_space):  # type: ignore[no-untyped-def]
        self.shown = study.get_trials()
        study.set_user_attr("left", "behind")
        return self.indices

    def sample_independent(self, study, trial, param_name, param_distribution):  # type: ignore[no-untyped-def]
        raise AssertionError(param_name)


def wishing(architecture: Architecture) -> tuple[OptunaStrategy, Wishes]:
    vector = SPACE.encode(architecture)
    sampler = Wishes({d.name: int(i) for d, i in zip(SPACE.decisions, vector, strict=True)})
    return OptunaStrategy(FEASIBLE, lambda seed: sampler, 0, {}), sampler


def test_a_proposal_that_fits_and_is_new_is_taken() -> None:
    for seed in range(20):
        wanted = FEASIBLE.sample(np.random.default_rng(seed))
        assert wishing(wanted)[0].ask(np.random.default_rng(0)) == wanted


def test_a_proposal_that_does_not_fit_is_replaced_by_a_near_one() -> None:
    over = [member for member in SPACE.enumerate() if member not in FEASIBLE][::20]
    assert over
    for wanted in over:
        found = wishing(wanted)[0].ask(np.random.default_rng(0))
        assert found in FEASIBLE
        apart = [name for name in found.choices if found.choices[name] != wanted.choices.get(name)]
        assert 1 <= len(apart) <= 3


def test_a_sampler_is_shown_what_was_told() -> None:
    draw = np.random.default_rng(0)
    a, b, c, d, e = (FEASIBLE.sample(draw) for _ in range(5))
    strategy, sampler = wishing(a)
    for architecture in (a, b, c, d):
        strategy.tell(architecture, Outcome("running"))
    strategy.tell(b, Outcome("complete", 0.7))
    strategy.tell(c, Outcome("pruned", 0.3))
    strategy.tell(d, Outcome("failed"))
    strategy.tell(e, Outcome("complete", 0.9))  # never said to have started
    for _ in range(2):  # the second ask is shown the same: the trial and the attribute of the first are gone
        strategy.ask(np.random.default_rng(0))
        *shown, asked = sampler.shown
        assert [trial.state.name for trial in shown] == ["RUNNING", "COMPLETE", "PRUNED", "PRUNED", "COMPLETE"]
        assert [trial.values for trial in shown if trial.state.name == "COMPLETE"] == [[0.7], [0.9]]
        assert [trial.intermediate_values for trial in shown[2:4]] == [{1: 0.3}, {}]
        assert asked.params == {}
        for trial, architecture in zip(shown, (a, b, c, d, e), strict=True):
            assert list(trial.params.values()) == SPACE.encode(architecture).tolist()


def test_generations_of_nsga_advance_with_what_was_told() -> None:
    strategy = make_strategy("optuna:NSGAIISampler", FEASIBLE, 100, population_size=5, startup=0)
    assert isinstance(strategy, OptunaStrategy)
    for number in range(20):
        architecture = strategy.ask(np.random.default_rng(number))
        strategy.tell(architecture, Outcome("running"))
        strategy.tell(architecture, Outcome("complete", architecture.cost(TASK).macs / 1e9))
    generations = [trial.system_attrs["NSGAIISampler:generation"] for trial in strategy._study.get_trials()]
    assert generations == [0] * 5 + [1] * 5 + [2] * 5 + [3] * 5
    # parents are chosen when a generation begins, not again whenever an outcome of the one before comes late
    parents = [f"NSGAIISampler:parent:{generation}" for generation in (1, 2, 3)]
    assert set(parents) <= set(strategy._study._storage.get_study_system_attrs(0))


@pytest.mark.parametrize("name", ["GPSampler", "TPESampler", "NSGAIIISampler", "QMCSampler"])
def test_optunas_samplers_work_by_name(name: str) -> None:
    settings = {"n_startup_trials": 4} if name in ("GPSampler", "TPESampler") else {}
    strategy = make_strategy(f"optuna:{name}", FEASIBLE, 7, startup=4, **settings)
    tried: set[Architecture] = set()
    for number in range(7):
        architecture = strategy.ask(np.random.default_rng(number))
        assert architecture in FEASIBLE
        assert architecture not in tried
        tried.add(architecture)
        strategy.tell(architecture, Outcome("complete", architecture.cost(TASK).macs / 1e9))


def test_settings_reach_the_sampler() -> None:
    draw = np.random.default_rng(1)
    told = [(FEASIBLE.sample(draw), float(draw.random())) for _ in range(30)]

    def proposals(**settings: bool) -> list[Architecture]:
        strategy = make_strategy("tpe", FEASIBLE, 100, **settings)
        for architecture, accuracy in told:
            strategy.tell(architecture, Outcome("complete", accuracy))
        return [strategy.ask(np.random.default_rng(seed)) for seed in range(5)]

    assert proposals(multivariate=False) != proposals()
    assert proposals(multivariate=True) == proposals()


def test_a_strategy_leaves_optunas_logging_alone(capfd: pytest.CaptureFixture[str]) -> None:
    before = optuna.logging.get_verbosity()
    strategy = make_strategy("tpe", FEASIBLE, 100, startup=1)
    for number in range(3):
        architecture = strategy.ask(np.random.default_rng(number))
        strategy.tell(architecture, Outcome("complete", 0.5))
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr() == ("", "")


@pytest.mark.filterwarnings("ignore:.*deprecated:FutureWarning", "ignore:divide by zero")  # of prior_weight=0
@pytest.mark.parametrize("name", ["TPESampler", "NSGAIISampler", "NSGAIIISampler", "BruteForceSampler"])
def test_a_setting_that_is_not_refused_can_be_asked_with(name: str) -> None:
    draw = np.random.default_rng(0)
    told = dict.fromkeys(FEASIBLE.sample(draw) for _ in range(12))
    small = {"population_size": 3} if name.startswith("NSGA") else {}
    for setting in inspect.signature(getattr(optuna.samplers, name)).parameters:
        for value in ("x", -1, 0, True, [1], math.nan, math.inf):
            try:
                strategy = make_strategy(f"optuna:{name}", FEASIBLE, 7, **{**small, setting: value})
            except UserError:
                continue
            for architecture in told:
                strategy.tell(architecture, Outcome("complete", float(draw.random())))
            assert strategy.ask(np.random.default_rng(0)) in FEASIBLE


@pytest.mark.filterwarnings("ignore:.*deprecated:FutureWarning")
def test_a_function_of_python_reaches_the_sampler() -> None:
    asked = []
    strategy = make_strategy("optuna:TPESampler", FEASIBLE, 7, n_startup_trials=1, gamma=lambda n: asked.append(n) or 1)
    draw = np.random.default_rng(0)
    for _ in range(10):
        strategy.tell(strategy.ask(draw), Outcome("complete", 0.5))
    strategy.ask(draw)
    assert asked == [10]
