"""Laws of rungs: the trial's own training is not touched by them, and cut, resumed or interleaved they end the same."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import numpy as np
import pytest

from estimators import Estimate, Pruned, ShortTraining, TrialContext, load_data, short_training
from estimators.core import Core
from estimators.rungs import parse_rungs, step_of
from estimators.steps import find_device, own_globals
from searchspaces import Space, Stage, Task, UserError, choice, conv_head, conv_stem, load_space, mbconv
from strategies import Outcome, make_strategy
from studies import Engine, LocalEngine, Study
from studies.pruning import PRUNERS, Aim, Pruning
from studies.ray.cluster import connected, settings_of_ray
from studies.ray.engine import RayEngine
from studies.settings import Settings
from studies.trial import Trial

DIGITS = load_data("digits")
QUICK = {"epochs": 3, "data_fraction": 0.1, "width": 0.125, "depth": 0.2, "save_after_s": 0.0}
SPACE = Space(
    "small",
    stem=Stage(conv_stem, width=8),
    stages=[Stage(mbconv, width=choice(64, 128), depth=2, kernel=choice(3, 5), stride=2)],
    head=Stage(conv_head, width=64),
)
NETWORK = SPACE.sample(np.random.default_rng(1))
MANY = load_space("mbconv")
RUNGS = ["images:0.5", "image_size:4", "epochs:2", "image_size:4+images:0.5", "image_size:4,images:0.5"]


class Cut(BaseException):
    """Stands for the death of the process."""


def go_on(step: int, accuracy: float) -> bool:
    return True


def train(
    rungs: str, place: Path | None = None, report: Callable[[int, float], bool] = go_on, seed: int = 0
) -> Estimate:
    context = TrialContext(seed, "cpu", report, None if place is None else str(place))
    return ShortTraining(DIGITS, **QUICK, rungs=rungs).estimate(NETWORK, context)


Reports = list[tuple[int, float]]


def into(told: Reports) -> Callable[[int, float], bool]:
    """A report that goes into a list, and on."""

    def report(step: int, accuracy: float) -> bool:
        told.append((step, accuracy))
        return True

    return report


@pytest.mark.parametrize("rungs", ["", "images:0.5"])
def test_a_training_at_a_rung_is_no_other_beside_neighbours(rungs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of memory beside others, a trial fails and is run again; alone, its batch is halved."""
    steps, gradient = itertools.count(), Core._gradient

    def full(core: Core) -> object:
        if next(steps) == 1:
            raise MemoryError
        return gradient(core)

    monkeypatch.setattr(Core, "_gradient", full)
    context = TrialContext(0, "cpu", go_on, shared=lambda: True)
    with pytest.raises(MemoryError):
        ShortTraining(DIGITS, **QUICK, rungs=rungs).estimate(NETWORK, context)


def told_of(rungs: str) -> tuple[Estimate, list[tuple[int, float]]]:
    told: Reports = []
    found = train(rungs, report=into(told))
    return found, told


@pytest.mark.parametrize("rungs", RUNGS)
def test_rungs_report_first_and_leave_the_training_as_it_is(rungs: str) -> None:
    (alone, epochs), (found, told) = told_of(""), told_of(rungs)
    count = ShortTraining(DIGITS, **QUICK, rungs=rungs).climbs
    assert (found.accuracy, found.curve, found.details) == (alone.accuracy, alone.curve, alone.details)
    assert [step for step, _ in told] == [*range(1 - count, 1), 1, 2, 3]
    assert told[count:] == epochs


@pytest.mark.parametrize("name", ["image_size", "epochs"])
def test_a_rung_is_the_training_with_these_settings(name: str) -> None:
    value = {"image_size": 4, "epochs": 2}[name]
    alone = ShortTraining(DIGITS, **{**QUICK, name: value}).estimate(NETWORK, TrialContext(0, "cpu"))
    assert told_of(f"{name}:{value}")[1][0] == (0, alone.accuracy)


def test_a_rung_has_fewer_images_of_each_class_and_the_same_validation_images() -> None:
    whole = ShortTraining(DIGITS, **QUICK, rungs="images:0.5")
    train_images, val = whole.split()
    [(_, rung, smaller)] = whole._smaller
    part = rung.part(train_images, DIGITS.labels, 0)
    counts, all_counts = (np.bincount(DIGITS.labels[each], minlength=10) for each in (part, train_images))
    assert set(part) < set(train_images)
    assert np.abs(counts - all_counts / 2).max() <= 0.5
    assert (smaller.split()[1] == val).all()


@pytest.mark.parametrize("rungs", RUNGS)
def test_cut_at_any_report_and_resumed_it_is_the_same(
    rungs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("estimators.epoch_checkpoints.SHARE", 0)
    trained: list[int] = []
    validate = short_training.accuracy
    monkeypatch.setattr(short_training, "accuracy", lambda *given: (trained.append(1), validate(*given))[1])
    whole, told = told_of(rungs)
    epochs = len(trained)
    for cut, _ in told:

        def dies(step: int, accuracy: float, cut: int = cut) -> bool:
            if step == cut:
                raise Cut
            return True

        with pytest.raises(Cut):
            train(rungs, tmp_path / "a", dies)
    again: Reports = []
    trained.clear()
    found = train(rungs, tmp_path / "a", into(again))
    assert (found.accuracy, found.curve, again) == (whole.accuracy, whole.curve, told)
    assert found.details["train_loss"] == whole.details["train_loss"]
    assert len(trained) < epochs  # the rungs are not climbed again


def test_cut_within_a_rung_it_goes_on_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("estimators.epoch_checkpoints.SHARE", 0)
    whole, told = told_of("images:0.5,epochs:2")
    estimator = ShortTraining(DIGITS, **QUICK, rungs="images:0.5,epochs:2")
    device = find_device("cpu")
    for steps in (5, 9, 14, 17):
        with own_globals(device, 1):
            begun = estimator.advance(NETWORK, TrialContext(0, "cpu", checkpoint=str(tmp_path / "a")))
            list(itertools.islice(begun, steps))
            begun.close()
    again: Reports = []
    found = train("images:0.5,epochs:2", tmp_path / "a", into(again))
    assert (found.accuracy, found.curve, again) == (whole.accuracy, whole.curve, told)


def test_a_checkpoint_of_another_trial_tells_nothing_of_its_rungs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("estimators.epoch_checkpoints.SHARE", 0)

    def dies(step: int, accuracy: float) -> bool:
        if step == 3:
            raise Cut
        return True

    with pytest.raises(Cut):
        train("images:0.5", tmp_path / "a", dies, seed=1)
    again: Reports = []
    train("images:0.5", tmp_path / "a", into(again))
    assert again == told_of("images:0.5")[1]


def test_interleaved_trainings_end_as_each_alone() -> None:
    estimators = [ShortTraining(DIGITS, **QUICK, rungs=rungs) for rungs in RUNGS[:4]]
    alone = [each.estimate(NETWORK, TrialContext(seed, "cpu")) for seed, each in enumerate(estimators)]
    told: list[Reports] = [[] for _ in estimators]
    ends: dict[int, Estimate] = {}

    def kept(number: int, training: Generator[int, None, Estimate]) -> Generator[int, None, None]:
        ends[number] = yield from training

    with own_globals(find_device("cpu"), 1):
        under_way = [
            kept(number, each.advance(NETWORK, TrialContext(number, "cpu", into(told[number]))))
            for number, each in enumerate(estimators)
        ]
        while len(ends) < len(estimators):
            for each in under_way:
                next(each, None)
    assert [(ends[number].accuracy, ends[number].curve) for number in range(4)] == [
        (each.accuracy, each.curve) for each in alone
    ]
    assert [reports[0][0] for reports in told] == [0] * 4


@pytest.mark.parametrize("last", [-1, 0])
def test_a_trial_is_stopped_at_a_rung(last: int) -> None:
    with pytest.raises(
        Pruned, match=f"stopped at rung {'image_size:4' if last else 'images:0.5'} at accuracy"
    ) as stopped:
        train("image_size:4,images:0.5", report=lambda step, accuracy: step < last)
    assert len(stopped.value.curve) == 2 + last


def test_without_rungs_the_description_is_as_before() -> None:
    described = ShortTraining(DIGITS, **QUICK).describe()
    assert not any("rungs" in name or name.startswith("_") for name in described)
    assert ShortTraining(DIGITS, **QUICK, rungs="images:0.5").describe() == {**described, "rungs": "images:0.5"}


@pytest.mark.parametrize(
    ("rungs", "message"),
    [
        (0.25, "rungs must be a string such as images:0.25"),
        ("0.25", "'0.25' does not look like images:0.25"),
        ("images:1", "images must be a number above 0 and below 1, which the training itself uses, got 1"),
        ("images:nan", "below 1"),
        ("images:many", "images must be a number above 0 and below 1, got 'many'"),
        (
            "image_size:8",
            "image_size must be a whole number at least 1 and below 8, which the training itself uses, got 8",
        ),
        ("image_size:64", "below 8"),
        ("image_size:4.5", "whole number at least 1 and below 8, got '4.5'"),
        ("epochs:0", "epochs must be a whole number at least 1 and below 3"),
        ("image:0.5", "unknown fidelity 'image'; did you mean 'images'"),
        ("images:0.5+images:0.2", "images is given twice in 'images:0.5\\+images:0.2'"),
        (
            "images:0.5,images:0.25",
            "rungs must grow: 'images:0.5' trains on no fewer pixels than 'images:0.25' after it",
        ),
        ("images:0.5,", "'' does not look like"),
    ],
)
def test_rungs_that_are_none_are_refused_in_words(rungs: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        ShortTraining(DIGITS, **QUICK, rungs=rungs)  # type: ignore[arg-type]


def test_the_last_rung_is_step_0() -> None:
    assert [step_of(index, len(parse_rungs("images:0.1,images:0.2,epochs:3", 32, 6))) for index in range(3)] == [
        -2,
        -1,
        0,
    ]


@pytest.mark.parametrize("pruner", [name for name in PRUNERS if name != "none"])
@pytest.mark.parametrize("step", [-1, 0, 1, 2])
def test_every_pruner_stops_what_is_bad_at_a_rung_and_what_is_bad_after_it(pruner: str, step: int) -> None:
    pruning, cost = Pruning(pruner, Aim()), NETWORK.cost(DIGITS.task)
    for number, level in enumerate(np.random.default_rng(0).uniform(0.5, 0.8, 12)):
        reports = [(-1, level - 0.1), (0, level), *((epoch, level - 0.3 + 0.1 * epoch) for epoch in (1, 2, 3))]
        pruning.started(Trial(number, NETWORK, cost, "running", 0))
        for report in reports:
            pruning.goes_on(number, *report)
        pruning.ended(Trial(number, NETWORK, cost, "complete", 0, level, tuple(reports), rank=number))
    pruning.started(Trial(12, NETWORK, cost, "running", 0))
    for report in ((-1, 0.9), (0, 0.95), (1, 0.7)):  # better than all, until it is worse than all
        if report[0] < step:
            assert pruning.goes_on(12, *report)
    assert pruning.goes_on(12, step, 0.1) == (pruner == "median" and step == 2)  # which judges the best epoch so far


def test_without_rungs_pruners_are_shown_epochs_as_they_are() -> None:
    pruning = Pruning("asha", Aim())
    pruning.started(Trial(0, NETWORK, NETWORK.cost(DIGITS.task), "running", 0))
    for epoch in (1, 2, 3):
        pruning.goes_on(0, epoch, 0.5)
    assert pruning._storage.get_trial(pruning._ids[0]).intermediate_values == {1: 0.5, 2: 0.5, 3: 0.5}


def test_curves_are_the_epochs_alone() -> None:
    trial = Trial(
        0, NETWORK, NETWORK.cost(DIGITS.task), "complete", 0, 0.7, ((-1, 0.4), (0, 0.5), (1, 0.3), (2, 0.7)), rank=0
    )
    assert (trial.rungs, trial.curve) == ((0.4, 0.5), (0.3, 0.7))


def searched(
    folder: Path,
    trials: tuple[int, ...] = (10,),
    strategy: str = "guided",
    engine: Engine | None = None,
    confirm: int = 0,
) -> Study:
    """A study of trainings with a rung, run as far as each of `trials`, opened anew in between."""
    estimator = ShortTraining(DIGITS, **{**QUICK, "epochs": 2}, rungs="images:0.25")
    study = Study.create(folder, Settings(
        space=MANY, task=Task(8, 1, 10), strategy=strategy, estimator=estimator, seed=4, trials=10, pruner="asha",
        confirm=confirm,
    ))  # fmt: skip
    for count in trials:
        study.run(count, engine=engine)
        study = Study.open(folder, space=MANY, estimator=estimator)
    return study


def trials_of(study: Study) -> list[object]:
    return [(each.architecture, each.state, each.accuracy, each.reports, each.reason) for each in study.trials]


@pytest.fixture(scope="module")
def on_ray() -> Iterator[Engine]:
    """One trial at a time, on a Ray that is started once."""
    with settings_of_ray(), connected(None):
        yield RayEngine(workers=1)


def test_a_study_with_rungs_is_the_same_cut_and_resumed_and_on_ray(tmp_path: Path, on_ray: Engine) -> None:
    whole = searched(tmp_path / "whole")
    assert trials_of(searched(tmp_path / "cut", (3, 7, 10))) == trials_of(whole)
    assert trials_of(searched(tmp_path / "ray", engine=on_ray)) == trials_of(whole)
    stopped = [each for each in whole.trials if each.state == "pruned" and each.reports[-1][0] == 0]
    assert stopped
    assert all(
        each.reason == f"pruned: stopped at rung images:0.25 at accuracy {each.accuracy:.4f}" for each in stopped
    )
    assert all(not each.curve and each.rungs == (each.accuracy,) for each in stopped)


@pytest.mark.parametrize("where", ["in one process", "on_ray"])
def test_a_confirmation_which_nothing_stops_climbs_no_rungs(
    tmp_path: Path, request: pytest.FixtureRequest, where: str
) -> None:
    engine = request.getfixturevalue(where) if where == "on_ray" else None
    study = searched(tmp_path / "confirmed", strategy="random", engine=engine, confirm=1)
    again = [each for each in study.trials if each.confirms is not None]
    assert again
    for trial in again:
        found = ShortTraining(DIGITS, **{**QUICK, "epochs": 2}).estimate(
            trial.architecture, TrialContext(study.seed_of(trial.number), "cpu")
        )
        assert (trial.state, trial.rungs, trial.curve) == ("complete", (), found.curve)
    assert all(len(each.rungs) == 1 for each in study.trials if each.confirms is None)


def test_several_trials_at_once_report_what_each_alone_does(tmp_path: Path) -> None:
    alone = searched(tmp_path / "alone", strategy="random")
    several = searched(tmp_path / "several", strategy="random", engine=LocalEngine(at_once=3))
    for one, other in zip(alone.trials, several.trials, strict=True):  # they are stopped by others, so at other steps
        shared = min(len(one.reports), len(other.reports))
        assert (one.architecture, one.reports[:shared]) == (other.architecture, other.reports[:shared])
        assert shared


def test_a_trial_that_is_stopped_at_a_rung_teaches_guided() -> None:
    beliefs = []
    for reports in ((), ((0, 0.1),)):
        strategy = make_strategy("guided", MANY, 40)
        rng = np.random.default_rng(0)
        for number in range(12):
            level = 0.3 + 0.02 * number
            strategy.tell(MANY.sample(rng), Outcome("complete", level + 0.4, reports=((0, level), (1, level + 0.4))))
        stopped = MANY.sample(rng)
        strategy.tell(stopped, Outcome("pruned", 0.1, reports=reports))
        beliefs.append(strategy.believed([stopped])[0])
    assert beliefs[1] < beliefs[0] - 0.02
