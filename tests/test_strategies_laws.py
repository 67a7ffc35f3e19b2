"""Laws that every strategy keeps; a new one is tested by being listed in STRATEGIES."""

from __future__ import annotations

import functools
import json
import math
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from searchspaces import Architecture, Budget, Feasible, Space, Stage, Task, UserError, choice, mbconv, per_block
from searchspaces import conv_head as head
from strategies import STRATEGIES, Exhausted, Outcome, Strategy, make_strategy, settings_of

TASK = Task(image_size=32, channels=3, classes=10)
NAMES = [*STRATEGIES, "optuna:NSGAIISampler", "optuna:RandomSampler"]
DRAWING_NOTHING = ("grid",)
TRIALS = 40

SPACE = Space(
    "conditional",
    stages=[
        Stage(mbconv, width=choice(8, 16, 24), depth=choice(1, 2), kernel=choice(3, 5, 7), stride=2),
        Stage(mbconv, width=24, depth=choice(0, 1, 2), kernel=per_block(3, 5), expansion=per_block(3, 6)),
        Stage(mbconv, width=choice(32, 48), depth=choice(1, 2, 3), se=choice(0, 0.25), stride=2),
    ],
    head=Stage(head, width=64),
)
SMALL = Space(
    "twenty",
    stages=Stage(mbconv, width=choice(8, 16, 24, 32, 40), kernel=choice(3, 5), depth=choice(1, 2)),
    head=Stage(head, width=16),
)


@functools.cache
def feasible_space() -> Feasible:
    return SPACE.under(Budget.parse("40%"), TASK)


@pytest.fixture(scope="module")
def feasible() -> Feasible:
    return feasible_space()


QUICK: dict[str, dict[str, int]] = {"guided": {"candidates": 30}}
"""Settings of what is slow by default; the laws hold for all settings."""


def make(name: str, space: Feasible | Space, trials: int) -> Strategy:
    return make_strategy(name, space, trials, **QUICK.get(name, {}))


def accuracy(architecture: Architecture) -> float:
    """Larger networks are better, with some noise that depends on the architecture alone."""
    macs = architecture.cost(TASK).macs
    return float(min(0.9, macs / 4e6) + 0.1 * np.random.default_rng(macs).random())


def propose(strategy: Strategy, seed: int, number: int) -> Architecture:
    return strategy.ask(np.random.default_rng([seed, number]))


Told = list[tuple[Architecture, Outcome]]


def search(strategy: Strategy, trials: int, workers: int = 1, seed: int = 0) -> tuple[list[Architecture], Told]:
    """Run trials on workers that end in random order, a third of them badly. Gives the proposals and all tells."""
    fate = np.random.default_rng([seed, 1 << 20])
    proposals: list[Architecture] = []
    told: Told = []
    running: list[Architecture] = []

    def tell(architecture: Architecture, outcome: Outcome) -> None:
        strategy.tell(architecture, outcome)
        told.append((architecture, outcome))

    while len(proposals) < trials or running:
        if len(proposals) < trials and len(running) < workers:
            proposals.append(propose(strategy, seed, len(proposals)))
            running.append(proposals[-1])
            tell(proposals[-1], Outcome("running"))
            continue
        ended = running.pop(int(fate.integers(len(running))))
        dice = fate.random()
        if dice < 0.15:
            tell(ended, Outcome("failed"))
        elif dice < 0.3:
            tell(ended, Outcome("pruned", accuracy(ended) / 2))
        elif dice < 0.35:
            tell(ended, Outcome("pruned"))
        else:
            tell(ended, Outcome("complete", accuracy(ended), ended.cost(TASK)))
    return proposals, told


@functools.cache
def searched(name: str, workers: int) -> tuple[list[Architecture], Told]:
    """What `search` gives, once for all laws that begin with it: it is the same each time."""
    return search(make(name, feasible_space(), TRIALS), TRIALS, workers)


@pytest.fixture
def shaken_globals() -> Iterator[None]:
    yield
    random.seed()
    np.random.seed()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("workers", [1, 8, 64])
def test_proposals_fit_and_never_repeat_however_far_asks_run_ahead(feasible: Feasible, name: str, workers: int) -> None:
    proposals, _ = search(make(name, feasible, TRIALS), TRIALS + workers, workers)
    assert len(set(proposals)) == len(proposals) == TRIALS + workers
    assert all(architecture in feasible for architecture in proposals)


@pytest.mark.parametrize("name", NAMES)
def test_the_generator_is_the_only_randomness(feasible: Feasible, name: str, shaken_globals: None) -> None:
    random.seed(0)
    np.random.seed(0)
    first, _ = search(make(name, feasible, TRIALS), TRIALS, workers=3)
    random.seed(1)
    np.random.seed(1)
    state = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
    assert search(make(name, feasible, TRIALS), TRIALS, workers=3)[0] == first
    assert (random.getstate(), np.random.get_state()[1].tolist()) == state  # type: ignore[index]
    if name not in DRAWING_NOTHING:
        assert search(make(name, feasible, TRIALS), TRIALS, workers=3, seed=1)[0] != first


ALL_NAMES = [*NAMES, *(f"optuna:{name}Sampler" for name in ("TPE", "GP", "QMC", "BruteForce"))]


EARLY: dict[str, dict[str, int]] = {
    "evolution": {"population": 5, "tournament": 2},
    "guided": {"startup": 5, "candidates": 30},
    "pareto": {"population": 5},
    "rl": {"batch": 4},
    "tpe": {"startup": 5},
}
"""Settings by which strategies learn from a few trials already."""


def shown(name: str, trials: int = 12) -> list[str]:
    """The proposals of a short search in text form."""
    settings = EARLY.get(name, {"startup": 5} if name.startswith("optuna:") else {})
    strategy = make_strategy(name, feasible_space(), trials, **settings)
    return [each.to_json() for each in search(strategy, trials, workers=3)[0]]


@pytest.fixture(scope="module")
def shown_elsewhere() -> dict[str, list[str]]:
    """What all strategies propose in a process where hashes of texts differ."""
    code = (
        "import json, test_strategies_laws as laws;"
        "print(json.dumps({name: laws.shown(name) for name in laws.ALL_NAMES}))"
    )
    here = Path(__file__)
    paths = os.pathsep.join((str(here.parent), str(here.parents[1])))
    seeded = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": paths}
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=seeded, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    found: dict[str, list[str]] = json.loads(run.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("name", ALL_NAMES)
def test_proposals_are_the_same_in_another_process(shown_elsewhere: dict[str, list[str]], name: str) -> None:
    assert shown(name) == shown_elsewhere[name]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in DRAWING_NOTHING])
def test_different_generators_give_different_proposals(feasible: Feasible, name: str) -> None:
    strategy = make(name, feasible, TRIALS)
    for architecture, outcome in searched(name, 4)[1]:
        strategy.tell(architecture, outcome)
    assert len({propose(strategy, seed, TRIALS) for seed in range(10)}) > 3


@pytest.mark.parametrize("name", NAMES)
def test_asking_changes_nothing(feasible: Feasible, name: str) -> None:
    asked, actual = make(name, feasible, TRIALS), []
    expected, told = searched(name, 4)
    for architecture, outcome in told:
        if outcome.state == "running":
            number = len(actual)
            actual.append(propose(asked, 0, number))
            propose(asked, 77, number)  # other questions in between
            assert propose(asked, 0, number) == actual[-1]
        asked.tell(architecture, outcome)
    assert actual == expected


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("cut", [1, 9, 20, 39])
def test_telling_the_same_again_restores_the_state(feasible: Feasible, name: str, cut: int) -> None:
    told = searched(name, 4)[1][:cut]
    unbroken = make(name, feasible, TRIALS)
    for architecture, outcome in told:
        if outcome.state == "running":
            propose(unbroken, 5, len(told))
        unbroken.tell(architecture, outcome)
    resumed = make_strategy(name, feasible, 1, **settings_of(unbroken))
    for architecture, outcome in told:
        resumed.tell(architecture, outcome)
    for seed in range(3):
        assert propose(resumed, seed, cut) == propose(unbroken, seed, cut)


@pytest.mark.parametrize("name", NAMES)
def test_what_was_told_matters_only_through_tells(feasible: Feasible, name: str) -> None:
    # A trial that is started twice, as after a resume, is one trial.
    once, twice = (make(name, feasible, TRIALS) for _ in range(2))
    for architecture, outcome in searched(name, 4)[1]:
        once.tell(architecture, outcome)
        twice.tell(architecture, outcome)
        if outcome.state == "running":
            twice.tell(architecture, outcome)
    assert propose(once, 3, 0) == propose(twice, 3, 0)


@pytest.mark.parametrize("name", NAMES)
def test_a_used_up_space_is_exhausted_after_its_last_member(name: str) -> None:
    strategy = make(name, SMALL, 50)
    proposals, _ = search(strategy, 20)
    assert set(proposals) == set(SMALL.enumerate())
    for seed in range(3):
        with pytest.raises(Exhausted, match="20 architectures of twenty"):
            propose(strategy, seed, 20)


@pytest.mark.parametrize("name", NAMES)
def test_a_search_goes_on_where_nothing_near_what_is_known_fits(
    name: str, feasible: Feasible, monkeypatch: pytest.MonkeyPatch
) -> None:
    def alone(space: Feasible, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        raise UserError(f"{architecture.words()} is the only architecture found that fits")

    monkeypatch.setattr(Feasible, "mutate", alone)
    proposals, _ = search(make(name, feasible, TRIALS), TRIALS)
    assert len(set(proposals)) == TRIALS


def test_a_grid_looks_each_member_up_a_few_times_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    space = Space("many", stages=Stage(mbconv, width=choice(*range(8, 2408, 8))), head=Stage(head, width=16))
    looked, hashed = list[int](), Architecture.__hash__
    monkeypatch.setattr(Architecture, "__hash__", lambda member: looked.append(1) or hashed(member))
    strategy = make("grid", space, 300)
    for number in range(300):
        strategy.tell(propose(strategy, 0, number), Outcome("failed"))
    assert len(looked) < 4 * 300  # not a multiple of its square


@pytest.mark.parametrize("name", NAMES)
def test_a_search_goes_on_when_all_trials_fail(feasible: Feasible, name: str) -> None:
    strategy = make(name, feasible, TRIALS)
    tried: set[Architecture] = set()
    for number in range(TRIALS):
        architecture = propose(strategy, 0, number)
        assert architecture not in tried
        tried.add(architecture)
        strategy.tell(architecture, Outcome("running"))
        strategy.tell(architecture, Outcome("failed"))


@pytest.mark.parametrize("name", ["evolution", "guided", "local-search", "pareto", "rl", "tpe"])
def test_where_half_of_the_networks_fail_later_trials_fail_no_more_often(feasible: Feasible, name: str) -> None:
    """The accuracy rises with the MACs, so that what fails, the larger half, is where all that is known leads."""
    macs = sorted(member.cost(TASK).macs for member in feasible.enumerate())
    most, late = macs[len(macs) // 2], []
    for seed in range(2):
        strategy = make(name, feasible, 60)
        for number in range(60):
            architecture = propose(strategy, seed, number)
            cost = architecture.cost(TASK)
            strategy.tell(architecture, Outcome("running", cost=cost))
            failed = cost.macs > most
            accuracy = 0.3 + 0.5 * cost.macs / macs[-1]
            strategy.tell(architecture, Outcome("failed", cost=cost) if failed else Outcome("complete", accuracy, cost))
            if number >= 30:
                late.append(failed)
    assert np.mean(late) < 0.65  # half of them, give or take luck; nearly all, where failures teach nothing


@pytest.mark.parametrize("name", [*NAMES, "optuna:GPSampler"])
def test_settings_are_plain_and_make_the_same_strategy_again(feasible: Feasible, name: str) -> None:
    settings = settings_of(make_strategy(name, feasible, 123))
    assert settings_of(make_strategy(name, feasible, 7, **settings)) == settings
    assert all(isinstance(value, int | float | bool | str | list) for value in settings.values())


NOT_FOR_ACCURACY_ALONE = ("random", "grid", "pareto", "optuna:RandomSampler")


LEARNING = [name for name in NAMES if name not in NOT_FOR_ACCURACY_ALONE]


def late_scores(feasible: Feasible, name: str, seeds: int) -> list[float]:
    """Scores of the last 20 of 60 proposals, for each seed; scores are ranks in [0, 1]."""
    members = list(feasible.enumerate())
    score = dict(zip(members, _smooth(members), strict=True))
    settings = {"population_size": 10} if name == "optuna:NSGAIISampler" else {}
    late = []
    for seed in range(seeds):
        strategy = make_strategy(name, feasible, 60, **settings)
        for number in range(60):
            architecture = propose(strategy, seed, number)
            strategy.tell(architecture, Outcome("complete", score[architecture]))
            if number >= 40:
                late.append(score[architecture])
    return late


def random_at_most(scores: int) -> float:
    """What the mean of so many random scores exceeds once in 3,500,000 times.

    A random score is 0.5 in the mean, with deviation sqrt(1 / 12) = 0.289; the bound is 5 deviations of the mean.
    """
    return 0.5 + 5 * math.sqrt(1 / 12 / scores)


@pytest.mark.parametrize("name", LEARNING)
def test_late_proposals_are_better_than_random_ones(feasible: Feasible, name: str) -> None:
    late = late_scores(feasible, name, 2)  # twenty in `benchmarks.proofs`
    assert np.mean(late) > random_at_most(len(late))  # 0.728 for 40


def _smooth(members: Sequence[Architecture]) -> np.ndarray:
    """Ranks in [0, 1] of a sum of effects, one for each option."""
    effects = np.random.default_rng(5).normal(size=(len(SPACE.decisions), 5))
    value = [sum(effects[i, j] for i, j in enumerate(SPACE.encode(member)) if j >= 0) for member in members]
    return np.argsort(np.argsort(value)) / (len(members) - 1)


def test_importing_strategies_imports_neither_optuna_nor_torch() -> None:
    code = "import sys, strategies; assert not {'optuna', 'torch', 'ray'} & set(sys.modules), 'heavy'"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("evolutoin", {}, "unknown strategy 'evolutoin'; did you mean 'evolution'"),
        ("evolution", {"populaton": 3}, "evolution has no setting 'populaton'; did you mean 'population'"),
        ("evolution", {"population": 1}, "population must be at least 2, got 1"),
        ("evolution", {"tournament": 50, "population": 20}, "tournament must be from 1 to the population"),
        ("evolution", {"identity": 1.5}, r"identity is a probability in \[0, 1\], got 1.5"),
        ("evolution", {"start_from": ["efficientnet_b9"]}, "efficientnet_b9"),
        ("pareto", {"objectives": ["accuracy", "mac"]}, "unknown objective 'mac'; did you mean 'macs'"),
        ("pareto", {"objectives": ["accuracy"]}, "objectives must be two or more different ones, got accuracy"),
        ("pareto", {"crossover": -1}, r"crossover is a probability in \[0, 1\], got -1"),
        ("grid", {"population": 3}, "grid has no setting 'population'; it has no settings"),
        ("random", {"amnog": []}, "random has no setting 'amnog'; did you mean 'among'"),
        ("random", {"among": []}, "among is empty"),
        ("random", {"among": [1]}, r"random: among must be a list of names or null, got \[1\]"),
        ("random", {"among": ["efficientnet_b9"]}, "among: 'efficientnet_b9' is not a member"),
        ("tpe", {"candidates": 0}, "candidates must be at least 1, got 0"),
        ("tpe", {"startup": -1}, "startup must not be negative, got -1"),
        ("optuna:GPSamplr", {}, "no sampler 'GPSamplr' .*; did you mean 'GPSampler'"),
        ("optuna:GridSampler", {}, "no sampler 'GridSampler'"),
        ("optuna:CmaEsSampler", {}, "optuna:CmaEsSampler samples numbers only, .* choose 'tpe'"),
        ("optuna:NSGAIISampler", {"popsize": 3}, "optuna:NSGAIISampler has no setting 'popsize'"),
        (
            "optuna:TPESampler",
            {"n_ei_candidates": 0},
            "TPESampler: n_ei_candidates must be a number of at least 1, got 0",
        ),
        ("optuna:TPESampler", {"prior_weight": math.nan}, "TPESampler: prior_weight must be a number of .* 0, got nan"),
        ("optuna:TPESampler", {"gamma": 3}, "optuna:TPESampler: gamma must be null, got 3"),
        ("optuna:TPESampler", {"startup": 1.5}, "optuna:TPESampler: startup must be a whole number, got 1.5"),
        ("optuna:GPSampler", {"startup": True}, "optuna:GPSampler: startup must be a whole number, got True"),
        ("optuna:GPSampler", {"n_startup_trials": "x"}, "GPSampler: n_startup_trials must be a whole number, got 'x'"),
        ("optuna:QMCSampler", {"independent_sampler": "x"}, "QMCSampler: independent_sampler must be null, got 'x'"),
        ("optuna:NSGAIISampler", {"population_size": 1}, "optuna:NSGAIISampler: `population_size` must be"),
    ],
)
def test_mistakes_are_told_in_one_line(name: str, settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        make_strategy(name, SMALL, 10, **settings)
    assert "\n" not in str(caught.value)


def test_random_draws_uniformly_among_what_is_listed_and_keeps_the_list() -> None:
    listed = [each.to_json() for each in list(SMALL.enumerate())[:8:2]]
    strategy = make_strategy("random", SMALL, 10, among=listed)
    drawn = [strategy.ask(np.random.default_rng(seed)).to_json() for seed in range(400)]
    # 100 each, sd sqrt(400 * 1/4 * 3/4) = 8.7; the band is 5 sd
    assert all(abs(drawn.count(each) - 100) < 44 for each in listed)
    assert settings_of(strategy) == {"among": listed}
    assert settings_of(make_strategy("random", SMALL, 10)) == {}  # as in the manifests of studies begun before
    rng = np.random.default_rng(0)
    for _ in listed:
        strategy.tell(strategy.ask(rng), Outcome("running"))
    with pytest.raises(Exhausted, match="all 4 listed architectures"):
        strategy.ask(rng)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_setting_of_another_kind_is_refused_with_the_kind_that_it_must_be(name: str) -> None:
    for setting, value in settings_of(make_strategy(name, SMALL, 10)).items():
        lists = [[1], [["x"]], [None], ["accuracy", 1]] if isinstance(value, list) else []
        for wrong in ({}, True if not isinstance(value, bool) else 1, *lists):
            got = re.escape(repr(wrong))
            with pytest.raises(UserError, match=rf"^{name}: {setting} must be (a|true) .*, got {got}$"):
                make_strategy(name, SMALL, 10, **{setting: wrong})
    with pytest.raises(UserError, match=r"^evolution: population must be a whole number or null, got 'many'$"):
        make_strategy("evolution", SMALL, 10, population="many")


@pytest.mark.parametrize("trials", [0, -3])
def test_no_trials_are_refused(trials: int) -> None:
    with pytest.raises(UserError, match="trials must be at least 1"):
        make_strategy("random", SMALL, trials)


@pytest.mark.parametrize(
    ("state", "value"),
    [("complete", None), ("running", 0.5), ("failed", 0.5), ("complete", 93.1), ("complete", math.nan), ("done", 0.5)],
)
def test_an_outcome_is_checked_at_birth(state: str, value: float | None) -> None:
    with pytest.raises(ValueError, match=r"accuracy|state"):
        Outcome(state, value)  # type: ignore[arg-type]


SOON = {
    "tpe": {"startup": 2},
    "evolution": {"startup": 1, "tournament": 1},
    "local-search": {"starts": 1},
    "guided": {"startup": 2},
}
"""Settings with which a strategy draws at random no longer than for a trial or two."""


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kernels", [(3, 5, 7), (3,)])
def test_a_decision_of_one_option_is_none_and_every_network_is_tried_once(name: str, kernels: tuple[int, ...]) -> None:
    space = Space(
        "one option",
        stages=Stage(mbconv, width=choice(16), kernel=choice(*kernels), expansion=choice(*kernels)),
        head=Stage(head, width=16),
    )
    strategy = make_strategy(name, space, 20, **SOON.get(name, {}))
    tried = set[Architecture]()
    for number in range(len(kernels) ** 2):
        member = propose(strategy, 0, number)
        assert member not in tried
        tried.add(member)
        strategy.tell(member, Outcome("running"))
        strategy.tell(member, Outcome("complete", accuracy(member)))
    with pytest.raises(Exhausted):
        propose(strategy, 0, len(tried))


@pytest.mark.parametrize("name", NAMES)
def test_a_space_without_a_decision_is_one_trial(name: str) -> None:
    space = Space("one", stages=[Stage(mbconv, width=16)], head=Stage(head, width=16))
    strategy = make_strategy(name, space, 20, **SOON.get(name, {}))
    member = propose(strategy, 0, 0)
    for outcome in (Outcome("running"), Outcome("complete", 0.5)):
        strategy.tell(member, outcome)
        with pytest.raises(Exhausted):
            propose(strategy, 0, 1)
