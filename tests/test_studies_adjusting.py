"""Accuracies corrected with the training loss: nearer to the truth where it tells, as observed elsewhere."""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from studies_stand_ins import SPACE, TASK, begin, noise, story

from estimators import Estimate, TrialContext
from estimators.estimator import binomial_error
from nas.commands.study_screens import show_trial, show_trials
from nas.documents import study_document, trial_document, trials_document
from nas.wording import within
from searchspaces import Architecture
from studies import Event, Study, Trial, TrialEnded, results
from studies.adjusting import FEWEST, Line, Training, adjusted
from studies.belief import FEWEST as BELIEVED
from studies.comparison import Run
from studies.fidelity import read_as
from studies.pages.pareto import hovers


@dataclass
class Told:
    """Networks of 50 to 60 %, judged on 400 images, with losses that tell the truth but for a tenth of that noise.

    Args:
        tells: what of it details say.
    """

    tells: tuple[str, ...] = ("train_loss", "val_images")
    noisy: bool = True

    def describe(self) -> dict[str, Any]:
        return {"name": "told", "val_images": 400}

    def estimate(self, architecture: Architecture, context: TrialContext) -> Estimate:
        true, rng = truth(architecture), np.random.default_rng(context.seed)
        loss = -math.log(true - 0.1 + rng.normal(0, 0.0025))
        told = {"train_loss": loss, "val_images": 400}
        accuracy = float(rng.binomial(400, true) / 400)
        return Estimate(accuracy, 0.1, (accuracy,), {name: told[name] for name in self.tells})


def truth(architecture: Architecture) -> float:
    return 0.5 + 0.1 * noise(architecture.to_json())


def run(tells: tuple[str, ...] = ("train_loss", "val_images"), folder: Any = None, **changes: Any) -> Study:
    study = begin(folder, **{"estimator": Told(tells), "strategy": "random", "trials": 24, "confirm": 0, **changes})
    study.run()
    return study


@pytest.fixture(scope="module")
def study() -> Study:
    return run()


def drawn(
    networks: int, images: int, apart: float, off: float, rng: np.random.Generator
) -> Iterator[tuple[float, Training]]:
    """True accuracies and trainings.

    Args:
        apart: deviation of the networks' true accuracies.
        off: that of what the likelihood tells of them; infinite where it tells nothing.
    """
    for _ in range(networks):
        true = float(np.clip(rng.normal(0.6, apart), 0.05, 0.95))
        likelihood = rng.uniform(0.2, 0.6) if math.isinf(off) else 0.7 * true + rng.normal(0, off)
        yield true, Training(rng.binomial(images, true) / images, float(np.clip(likelihood, 0.01, 1)), images)


@pytest.mark.parametrize("networks", [8, 20, 60])
@pytest.mark.parametrize("images", [200, 800, 20_000])
@pytest.mark.parametrize(("off", "most"), [(0.002, 0.9), (0.02, 1.02), (math.inf, 1.1)])
def test_adjusted_accuracies_are_nearer_to_the_truth_or_as_near(
    networks: int, images: int, off: float, most: float
) -> None:
    """Mean squared errors, over 300 studies whose networks deviate by two points; of 20,000 images there is no luck."""
    rng, observed, after = np.random.default_rng(0), [], []
    for _ in range(300):
        found = list(drawn(networks, images, 0.02, off, rng))
        line = Line([training for _, training in found])
        observed += [(training.accuracy - true) ** 2 for true, training in found]
        after += [(line.adjusted(training) - true) ** 2 for true, training in found]
    share = np.mean(after) / np.mean(observed)
    assert share < (most if images < 20_000 else 1.05)
    if off < 0.01 and images == 200 and networks > 8:
        assert share < 0.35  # most of it is luck, and the loss knows


def test_what_the_loss_does_not_predict_is_the_networks_own_and_stays() -> None:
    rng = np.random.default_rng(1)
    found = [Training(float(rng.uniform(0.3, 0.9)), float(rng.uniform(0.2, 0.6)), 2000) for _ in range(200)]
    line = Line(found)
    assert max(abs(line.adjusted(each) - each.accuracy) for each in found) < 0.01


@pytest.mark.parametrize("trials", [FEWEST - 1, FEWEST])
def test_a_few_trials_are_as_they_were_observed(trials: int) -> None:
    study = run(trials=trials)
    assert bool(study.adjusted) == (trials == FEWEST)
    trials_of = study.trials
    assert (adjusted(trials_of) is trials_of) == (trials < FEWEST)


@pytest.mark.parametrize(
    ("trials", "tells", "ways"),
    [
        (FEWEST - 1, ("train_loss", "val_images"), None),
        (FEWEST, ("train_loss", "val_images"), "the training loss"),
        (BELIEVED, ("train_loss", "val_images"), "the training loss and a predictor"),
        (BELIEVED - 1, ("val_images",), None),
        (BELIEVED, ("val_images",), "a predictor"),
        (BELIEVED, ("train_loss",), None),
    ],
)
def test_it_is_said_what_accuracies_are_corrected_with(trials: int, tells: tuple[str, ...], ways: str | None) -> None:
    said = [words for words in read_as(run(tells, trials=trials)) if "corrected" in words]
    assert said == ([] if ways is None else [f"accuracies are corrected for noise with {ways}"])


def altered(trial: Trial, **details: Any) -> Trial:
    return replace(trial, details={**trial.details, **details})


@pytest.mark.parametrize(
    "change",
    [
        {"train_loss": None}, {"train_loss": math.nan}, {"train_loss": "0.3"}, {"val_images": None}, {"val_images": 0},
        {"val_images": "400"}, {"score": 1.0}, {"likelihood": 0.3},
    ],
    ids=str,
)  # fmt: skip
def test_one_trial_that_does_not_say_how_it_was_trained_leaves_all_as_they_are(study: Study, change: Any) -> None:
    trials = [altered(each, **(change if each.number == 5 else {})) for each in study.trials]
    assert adjusted(trials) is trials


def test_trials_that_start_from_others_and_losses_that_are_all_equal_are_as_they_are(study: Study) -> None:
    for trials in (
        [replace(each, parent=0 if each.number == 5 else None) for each in study.trials],
        [altered(each, train_loss=0.5) for each in study.trials],
    ):
        assert adjusted(trials) is trials


def test_a_trial_that_failed_or_was_stopped_changes_nothing(study: Study) -> None:
    more = [*study.trials, *(replace(study.trials[0], number=24 + i, state=state, accuracy=None, details={})
                             for i, state in enumerate(("failed", "running", "pruned")))]  # fmt: skip
    assert adjusted(more)[:24] == adjusted(study.trials)
    assert adjusted(more)[24:] == more[24:]


def test_everything_that_says_which_network_is_best_goes_by_adjusted_accuracies(study: Study) -> None:
    known, observed = study.adjusted, {each.number: results.accuracy_of(each) for each in study.trials}
    best = max(known, key=lambda number: known[number])
    assert best != max(observed, key=lambda number: observed[number])  # else this tells nothing
    assert (study.best.number, study.best.accuracy) == (best, known[best])
    assert {each.number: each.accuracy for each in results.complete(study.trials)} == known
    assert all(each.accuracy == known[each.number] for each in study.pareto())
    error = study.standard_errors[best]
    assert {each.number for each in study.near_best} == {
        number for number in known if number != best and known[number] >= known[best] - error
    }
    document = study_document(study)
    assert (document["best"]["accuracy"], document["best"]["observed"]) == (known[best], observed[best])
    assert [one["observed"] for one in document["pareto"]] == [observed[each.number] for each in study.pareto()]
    listed = {one["number"]: (one["accuracy"], one["adjusted"]) for one in trials_document(study)["trials"]}
    by_accuracy = [one["number"] for one in trials_document(study, "accuracy")["trials"]]
    assert by_accuracy == sorted(known, key=lambda number: (-known[number], number))
    assert listed == {number: (observed[number], known[number]) for number in known}
    network = json.loads(results.best_network(study.trials, str(TASK)))
    assert (network["trial"], network["accuracy"], network["observed"]) == (best, known[best], observed[best])
    assert Run.of(study).reached[-1] == known[best]
    assert f"<b>{known[best]:.2%} ±" in hovers(study)[best]
    assert f"observed {observed[best]:.2%}" in hovers(study)[best]


def test_each_accuracy_of_a_trial_has_its_own_standard_error_and_the_one_that_decides_says_so() -> None:
    study = run(trials=40, confirm=3)
    means, errors, known = {each.trial.number: each for each in study.confirmed}, study.standard_errors, study.adjusted
    document = trials_document(study, "accuracy")
    assert means
    decides = []
    for one in document["trials"]:
        number = one["number"]
        again = means.get(number)
        assert one["observed_standard_error"] == binomial_error(study.trials[number].accuracy, 400)
        assert (one["adjusted"], one["mean"]) == (known.get(number), None if again is None else again.mean)
        assert one["standard_error"] == (errors.get(number) if again is None else again.standard_error)
        decides.append(again.mean if again else known.get(number, one["accuracy"]))
        said = printed(partial(show_trial, trial_document(study, study.trials[number])))
        assert within(one["accuracy"], one["observed_standard_error"]) in said
        told = [within(known[number], None if again else errors[number]) + " adjusted"] if number in known else []
        told += [within(again.mean, again.standard_error) + " mean over its trainings"] if again else []
        assert all(each in said for each in told)
        assert said.count("which decides") == bool(told)
        assert not told or f"{told[-1]}, which decides" in said
    assert decides == sorted(decides, reverse=True)
    rows = printed(partial(show_trials, document)).split("curve")[1]
    for one, decisive in zip(document["trials"], decides, strict=True):
        cells = f"{one['number']} {within(one['accuracy'], one['observed_standard_error'])} "
        if one["number"] in known:
            cells += within(decisive, one["standard_error"])
        assert f" {cells}" in rows


def printed(show: Any) -> str:
    screen = Console(width=200, file=io.StringIO())
    show(screen)
    return " ".join(screen.file.getvalue().split())


def test_a_comparison_after_so_many_trials_knows_nothing_of_later_ones(study: Study) -> None:
    fewer = run(trials=16)
    after = Run.of(study, trials=16)
    assert after.reached.tolist() == Run.of(fewer).reached.tolist()
    assert after.reached.tolist() != Run.of(study).reached[:16].tolist()  # else this tells nothing
    assert after.reached[-1] == fewer.best.accuracy


def test_what_is_chosen_is_better_by_the_truth() -> None:
    """Forty seeds of 24 trials, of networks that deviate by three points, as one training of them does."""
    chosen = [(run(seed=seed), run((), seed=seed)) for seed in range(40)]
    assert all([each.architecture for each in one.trials] == [each.architecture for each in other.trials]
               for one, other in chosen)  # fmt: skip
    gain = [truth(one.best.architecture) - truth(other.best.architecture) for one, other in chosen]
    assert np.mean(gain) > 3 * np.std(gain, ddof=1) / 40**0.5


@pytest.mark.parametrize("strategy", ["random", "evolution"])
@pytest.mark.parametrize("confirm", [3, "auto"])
def test_of_a_network_that_was_trained_again_the_first_training_alone_is_adjusted(strategy: str, confirm: Any) -> None:
    """It was chosen for being high, as the others were not."""
    study = run(strategy=strategy, trials=40, confirm=confirm)
    known = study.adjusted
    again = {each.number for each in study.trials if each.confirms is not None}
    assert again
    assert known.keys().isdisjoint(again)
    assert study.confirmed
    for each in study.confirmed:
        fresh = [one.accuracy for one in study.trials if one.confirms == each.trial.number]
        assert each.mean == pytest.approx(np.mean([known[each.trial.number], *fresh]))
        assert each.accuracies == (study.trials[each.trial.number].accuracy, *fresh)
    assert study.best.accuracy == max(each.mean for each in study.confirmed)


@pytest.mark.parametrize("cut", [6, 30, 37])
def test_a_study_cut_and_resumed_is_the_unbroken_one(cut: int, tmp_path: Path) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, TrialEnded) and event.trial.number == cut:
            raise KeyboardInterrupt

    whole = run(trials=40, confirm="auto", strategy="evolution")
    first = begin(tmp_path / "cut", estimator=Told(), strategy="evolution", trials=40, confirm="auto")
    with contextlib.suppress(KeyboardInterrupt):
        first.run(on_event=stop)
    first.close()
    again = Study.open(tmp_path / "cut", space=SPACE, estimator=Told())
    again.run()
    assert story(again) == story(whole)
    assert again.adjusted == whole.adjusted != {}
    assert again.best == replace(whole.best, started=again.best.started, ended=again.best.ended)


def test_short_training_tells_unless_it_is_told_not_to_or_gives_no_accuracy(nas_cli: Any, tmp_path: Path) -> None:
    common = ("search", "--space", "mbconv", "--budget", "400M", "--data", "digits", "--trials", "1", "--quiet",
              "--json", "--workers", "1", "--set", "estimator.epochs=1", "--set",
              "estimator.data_fraction=0.2", "--device", "cpu")  # fmt: skip
    for number, (more, tells) in enumerate((
        ((), True), (("--set", "estimator.adjusted=false"), False), (("--metric", "training-loss"), False),
        (("--metric", "balanced"), True),
    )):  # fmt: skip
        document = nas_cli(*common, *more, "--out", tmp_path / str(number)).json()
        assert document["estimator"].get("adjusted", False) == tells, more
        assert ("val_images" in document["best"]["details"]) == tells, more
