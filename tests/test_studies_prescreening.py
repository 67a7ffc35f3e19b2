"""Screened proposals: the best of several by a score, the same after a resume, never infeasible and never twice."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from studies_stand_ins import BUDGET, SPACE, TASK, Known, begin, story

from estimators import ShortTraining, TrialContext, ZeroCost, load_data
from estimators.scoring import from_unit, in_unit
from searchspaces import Architecture, UserError
from strategies import STRATEGIES, Exhausted, Outcome, make_strategy
from strategies.prescreen import Prescreened
from studies import Study
from studies.manifest import Manifest
from studies.prescreening import parse_prescreen
from studies.settings import Settings

FEASIBLE = SPACE.under(BUDGET, TASK)
NAMES = [*STRATEGIES, "optuna:RandomSampler"]


def macs(architecture: Architecture) -> float:
    return float(architecture.cost(TASK).macs)


def searched(name: str, trials: int, make: Callable[[], Any], seed: int = 0) -> list[Architecture]:
    strategy, found = make(), []
    for number in range(trials):
        found.append(strategy.ask(np.random.default_rng([seed, number])))
        strategy.tell(found[-1], Outcome("running"))
        strategy.tell(found[-1], Outcome("complete", min(macs(found[-1]) / 4e6, 1.0), found[-1].cost(TASK)))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_screened_proposals_fit_differ_and_follow_from_the_generator(name: str) -> None:
    def make() -> Prescreened:
        return Prescreened(make_strategy(name, FEASIBLE, 8), macs, 3)

    first = searched(name, 8, make)
    assert len(set(first)) == 8
    assert all(each in FEASIBLE for each in first)
    assert searched(name, 8, make) == first


@pytest.mark.parametrize("name", NAMES)
def test_of_what_the_strategy_proposes_the_highest_merit_is_chosen(name: str) -> None:
    plain, screened = make_strategy(name, FEASIBLE, 15), Prescreened(make_strategy(name, FEASIBLE, 15), macs, 4)
    rng = np.random.default_rng(5)
    proposed = [plain.ask(rng) for _ in range(4)]
    assert screened.ask(np.random.default_rng(5)) == max(proposed, key=macs)


def test_a_screen_of_random_draws_raises_the_merit() -> None:
    plain = searched("random", 30, lambda: make_strategy("random", FEASIBLE, 30))
    best = searched("random", 30, lambda: Prescreened(make_strategy("random", FEASIBLE, 30), macs, 8))
    assert np.mean([macs(each) for each in best]) > np.quantile([macs(each) for each in plain], 0.75)


def test_what_was_tried_takes_part_only_if_there_is_nothing_else() -> None:
    class Stubborn:
        def __init__(self) -> None:
            self.settings: dict[str, Any] = {}
            self.turn = 0

        def ask(self, rng: np.random.Generator) -> Architecture:
            self.turn += 1
            return members[self.turn % 2]

        def tell(self, architecture: Architecture, outcome: Outcome) -> None:
            pass

    members = sorted((FEASIBLE.sample(np.random.default_rng(seed)) for seed in (0, 1)), key=macs)
    screened = Prescreened(Stubborn(), macs, 2)
    assert screened.ask(np.random.default_rng(0)) == members[1]
    screened.tell(members[1], Outcome("failed"))
    assert screened.ask(np.random.default_rng(0)) == members[0]
    screened.tell(members[0], Outcome("failed"))
    assert screened.ask(np.random.default_rng(0)) in members


def test_an_exhausted_strategy_is_exhausted_behind_a_screen() -> None:
    screened = Prescreened(make_strategy("random", FEASIBLE, 10), macs, 2)
    for each in FEASIBLE.enumerate():
        screened.tell(each, Outcome("failed"))
    with pytest.raises(Exhausted):
        screened.ask(np.random.default_rng(0))


class Imaged(Known):
    """A stand-in that has images, and looks at none."""

    data = load_data("digits")


SCREENED: dict[str, Any] = {"estimator": Imaged(), "prescreen": "naswot:3", "trials": 8}
PREDICTED: dict[str, Any] = {
    "estimator": Imaged(), "strategy": "guided", "trials": 10,
    "strategy_settings": {"score": "naswot", "startup": 4, "candidates": 6},  # each is scored
}  # fmt: skip


@pytest.fixture(scope="module")
def screened() -> Study:
    """Unbroken."""
    study = begin(**SCREENED)
    study.run()
    return study


@pytest.fixture(scope="module")
def predicted() -> Study:
    """Unbroken."""
    study = begin(**PREDICTED)
    study.run()
    return study


@pytest.mark.parametrize("cut", [1, 5])
def test_a_screened_study_cut_and_resumed_equals_an_unbroken_one(tmp_path: Path, screened: Study, cut: int) -> None:
    begin(tmp_path / "cut", **SCREENED).run(cut)
    resumed = Study.open(tmp_path / "cut", space=SPACE, estimator=Imaged())
    resumed.run()
    assert story(resumed) == story(screened)
    assert screened.manifest.prescreen == "naswot:3" == Manifest.read(tmp_path / "cut").prescreen


def test_the_images_of_a_score_may_move_where_the_estimator_has_none(tmp_path: Path) -> None:
    before, after = tmp_path / "before.npz", tmp_path / "after.npz"
    digits = Imaged.data
    np.savez(
        before,
        train_images=digits.images[:200],
        train_labels=digits.labels[:200],
        test_images=digits.test_images[:50],
        test_labels=digits.test_labels[:50],
    )
    members = [SPACE.sample(np.random.default_rng(seed)) for seed in range(30)]
    table = tmp_path / "table.json"
    table.write_text(json.dumps({member.to_json(): {"test_acc": 0.5} for member in members}))
    study = begin(
        tmp_path / "run", estimator=f"table:{table}", data=str(before), strategy="random", prescreen="naswot:2",
        budget=None, trials=1,
    )  # fmt: skip
    study.close()
    before.rename(after)
    with pytest.raises(UserError, match=r"before\.npz"):
        Study.open(tmp_path / "run", space=SPACE).run()
    again = Study.open(tmp_path / "run", space=SPACE, data=str(after))
    again.run()
    assert len(again.trials) == 1


def test_a_study_without_a_screen_tries_others(screened: Study) -> None:
    plain = begin(**{**SCREENED, "prescreen": None})
    plain.run()
    assert story(plain) != story(screened)


def test_a_study_chooses_by_the_score_of_its_own_seed() -> None:
    study = begin(None, estimator=Imaged(), strategy="random", prescreen="synflow:4", trials=1, seed=11)
    study.run()
    scorer, rng = ZeroCost(Imaged.data, "synflow"), np.random.default_rng([11, 0])
    plain = make_strategy("random", study.feasible, 1)
    proposed = [plain.ask(rng) for _ in range(4)]
    assert study.trials[0].architecture == max(proposed, key=lambda each: scorer.of(each, 11))


@pytest.mark.parametrize("cut", [2, 7])
def test_a_study_whose_predictor_has_a_score_cut_and_resumed_equals_an_unbroken_one(
    tmp_path: Path, predicted: Study, cut: int
) -> None:
    begin(tmp_path / "cut", **PREDICTED).run(cut)
    resumed = Study.open(tmp_path / "cut", space=SPACE, estimator=Imaged())
    resumed.run()
    assert story(resumed) == story(predicted)
    assert Manifest.read(tmp_path / "cut").strategy["resolved"]["score"] == "naswot"
    with pytest.raises(UserError, match="score"):
        begin(tmp_path / "cut", **PREDICTED | {"strategy_settings": PREDICTED["strategy_settings"] | {"score": "swap"}})


def test_the_predictor_is_given_the_score_of_the_study_s_seed_and_asks_for_each_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[Architecture, int]] = []

    def of(self: ZeroCost, architecture: Architecture, seed: int, device: str = "cpu") -> float:
        asked.append((architecture, seed))
        return macs(architecture)

    monkeypatch.setattr(ZeroCost, "of", of)
    own = {"score": "synflow", "startup": 4}
    begin(None, estimator=Imaged(), strategy="guided", strategy_settings=own, trials=8, seed=11).run()
    assert {seed for _, seed in asked} == {11}
    assert len(asked) == len({each for each, _ in asked}) > 25
    assert all(each in FEASIBLE for each, _ in asked)


def test_a_score_of_the_predictor_that_cannot_be_is_refused() -> None:
    common: dict[str, Any] = {"strategy": "guided", "trials": 9}
    with pytest.raises(UserError, match=r"strategy.score: unknown score 'naswto'; did you mean 'naswot'"):
        begin(None, estimator=Imaged(), strategy_settings={"score": "naswto"}, **common)
    study = begin(None, strategy_settings={"score": "naswot", "startup": 3}, **common)
    with pytest.raises(UserError, match="scores need images"):
        study.run()


def test_another_screen_is_another_study(tmp_path: Path) -> None:
    begin(tmp_path / "a", estimator=Imaged(), prescreen="zico")
    with pytest.raises(UserError, match=r"prescreen was .zico:8. .* is none now"):
        begin(tmp_path / "a", estimator=Imaged())
    old = json.loads((tmp_path / "a" / "study.json").read_text())
    del old["prescreen"]  # as studies began before there was one
    (tmp_path / "a" / "study.json").write_text(json.dumps(old))
    assert Manifest.read(tmp_path / "a").prescreen is None


def test_a_screen_without_images_says_so() -> None:
    with pytest.raises(UserError, match="scores need images"):
        begin(None, prescreen="zico").run()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("zicco:8", "unknown score 'zicco'; did you mean 'zico'"),
        ("zico:1", "at least 2"),
        ("zico:many", "whole number"),
    ],
)
def test_a_screen_that_makes_no_sense_is_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_prescreen(text)
    with pytest.raises(UserError, match=message):
        Settings(prescreen=text)


def test_the_estimator_gives_the_score_of_the_trials_seed_and_touches_no_generator() -> None:
    estimator, network = ZeroCost(load_data("digits"), "zico", batch=16), FEASIBLE.sample(np.random.default_rng(0))
    one, again, other = (estimator.estimate(network, TrialContext(seed, "cpu")) for seed in (3, 3, 4))
    assert one.accuracy == again.accuracy != other.accuracy
    assert one.details["score"] == pytest.approx(from_unit(one.accuracy))
    assert estimator.describe()["estimates"] == "score, not accuracy"
    assert "estimates" not in ShortTraining(load_data("digits")).describe()


def test_scores_keep_their_order_in_the_unit_interval() -> None:
    scores = [-1e200, -3.0, 0.0, 1e-3, 54.68, 487.9, 487.91, 1.6e36, 1.6001e36, 1e200]
    mapped = [in_unit(each) for each in scores]
    assert mapped == sorted(set(mapped))
    assert mapped[0] > 0
    assert mapped[-1] < 1
    assert [from_unit(each) for each in mapped] == pytest.approx(scores)


def test_a_search_by_score_says_that_it_is_no_accuracy(nas_cli: Any, tmp_path: Path) -> None:
    command = ["search", "--space", "mbconv", "--budget", "40M", "--estimator", "zero-cost", "--set",
               "estimator.score=naswot", "--set", "estimator.batch=8", "--strategy", "random", "--trials", "2",
               "--task", "32x32x3:10", "--name", "a", "--out", str(tmp_path)]  # fmt: skip
    said = nas_cli(*command).out
    assert "score, not accuracy" in said
    assert "%" not in said.split("Pareto front")[1].split("trials")[0]
    best = json.loads((tmp_path / "a" / "best.json").read_text())
    assert "accuracy" not in best
    assert best["score"] > 1
    assert "score, not accuracy" in (tmp_path / "a" / "pareto.html").read_text()
    assert "score, not accuracy" in nas_cli("show", str(tmp_path / "a")).out
    refused = nas_cli("compare", str(tmp_path / "a"), str(tmp_path / "a"))
    assert refused.code == 2
    assert "its estimates are a score, not accuracy" in refused.err


def test_a_search_by_the_training_loss_shows_no_likelihood_as_an_accuracy(
    nas_cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = nas_cli("search", "--space", "mbconv", "--budget", "400M", "--data", "digits", "--trials", "3", "--name",
                   "a", "--metric", "training-loss", "--set", "estimator.epochs=1", "--set",
                   "estimator.data_fraction=0.2", "--workers", "1", "--quiet", "--json").json()  # fmt: skip
    best = made["best"]
    likelihood, accuracy = best["details"]["likelihood"], best["details"]["val_accuracy"]
    assert best["accuracy"] == likelihood == math.exp(-best["details"]["train_loss"])
    for arguments in ((), ("--trial", str(best["number"])), ("--all",)):
        out = nas_cli("show", "runs/a", *arguments).out
        assert f"{likelihood:.4f}" in out
        assert f"{likelihood:.1%}" not in out
    assert f"{accuracy:.1%} on the validation images" in nas_cli("show", "runs/a", "--trial", str(best["number"])).out
    assert nas_cli("runs", "--json").json()["runs"][0]["accuracy"] is None
    network = json.loads(Path("runs/a/best.json").read_text())
    assert (network["likelihood"], network["val_accuracy"], "accuracy" in network) == (likelihood, accuracy, False)
    page = Path("runs/a/pareto.html").read_text()
    assert f"training likelihood {likelihood:.4f}" in page
    refused = nas_cli("compare", "runs/a", "runs/a")
    assert "its estimates are a training likelihood, not accuracy" in refused.err
