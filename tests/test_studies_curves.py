"""Extrapolated learning curves: calibrated on curves they did not see; the pruner `curves` stops by them alone."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays
from hypothesis.strategies import floats, integers
from studies_stand_ins import SPACE, TASK, Known, begin, noise

import nas
from estimators import Estimate, Pruned, TrialContext
from searchspaces import Architecture, UserError
from studies import Study
from studies.curve_pruning import FIRST, STOP_BELOW
from studies.curves import Finished, Fitted, checked, extrapolate
from studies.extrapolating import NAMED, checked_on, expected_finals, may_exceed
from studies.pruning import Aim, Pruning
from studies.trial import Trial

STEPS = (1, 2, 3, 4)


def drawn(count: int, rng: np.random.Generator, last: int = 6) -> Any:
    """Noisy power laws of different heights and speeds, as networks of one study have; (count, last)."""
    height = rng.normal(0.6, 0.03, (count, 1))
    fall = rng.normal(0.4, 0.04, (count, 1))
    step = np.arange(1, last + 1)
    return height - fall * step ** -rng.normal(1.0, 0.05, (count, 1)) + rng.normal(0, 0.01, (count, last))


@pytest.mark.parametrize("known", [1, 2, 3, 5])
@pytest.mark.parametrize("finished", [8, 30])
def test_four_of_five_final_accuracies_lie_in_the_interval(known: int, finished: int) -> None:
    rng, inside, errors = np.random.default_rng(0), [], []
    for _ in range(500):  # a share of 0.8 has a standard deviation of 0.018
        curves = drawn(finished + 1, rng)
        found = extrapolate(curves[-1, :known], curves[:-1], curves[:-1, -1])
        low, high = found.interval
        inside.append(low <= curves[-1, -1] <= high)
        errors.append(abs(found.mean - curves[-1, -1]))
    assert 0.75 <= np.mean(inside) <= 0.85
    assert (
        np.mean(errors) < 0.024
    )  # guessing the mean of the finished ones errs by sqrt(2 / pi) * 0.032 = 0.025 or more


def test_more_of_the_curve_tells_more() -> None:
    rng = np.random.default_rng(1)
    errors = np.zeros(5)
    for _ in range(300):
        curves = drawn(21, rng)
        ends = [extrapolate(curves[-1, :known], curves[:-1], curves[:-1, -1]).mean for known in range(1, 6)]
        errors += np.abs(np.array(ends) - curves[-1, -1])
    assert all(later < earlier for earlier, later in itertools.pairwise(errors))


def test_a_line_through_the_finished_curves_is_found() -> None:
    present = np.linspace(0.2, 0.4, 9)
    finals = 0.3 + present  # the gain is 0.3 for each, and so is that of the line
    found = extrapolate([0.25], np.column_stack([present, finals]), finals)
    assert found.mean == pytest.approx(0.55)
    assert found.spread == pytest.approx(0.001)  # the least that is believed
    assert found.freedom == 8
    half = 1.397 * 0.001  # the 0.9 quantile of Student's t with 8 degrees of freedom
    assert found.interval == pytest.approx((0.55 - half, 0.55 + half), abs=1e-6)
    assert found.chance_above(0.55 + half) == pytest.approx(0.1, abs=1e-3)


def test_leave_one_out_errors_are_those_of_fits_without_the_curve() -> None:
    from studies.curves import _lines

    rng = np.random.default_rng(2)
    features, finals = rng.random((12, 4)), rng.random(12)
    features[:-1, 3] = 0.5  # varies only by one trial, and not without it
    slopes, errors = _lines(features, finals)
    assert slopes[0] == 1
    assert slopes[1] == pytest.approx(np.polyfit(features[:, 1], finals, 1)[0])
    for left in range(12):
        kept = np.arange(12) != left
        without, _ = _lines(features[kept], finals[kept])
        predicted = finals[kept].mean() + without * (features[left] - features[kept].mean(0))
        assert errors[left] == pytest.approx(finals[left] - predicted)


def test_models_fitted_once_say_the_same_of_every_curve() -> None:
    curves = drawn(20, np.random.default_rng(4))
    fitted = Fitted.of(curves[:12], curves[:12, -1], 3)
    for curve in curves[12:, :3]:
        alone = extrapolate(curve.tolist(), curves[:12], curves[:12, -1])
        assert fitted.at(curve.tolist()) == alone
        assert 0 < alone.mean < 1


@given(
    curves=arrays(float, (9, 5), elements=floats(0, 1)),
    known=integers(1, 5),
    bar=floats(0, 1),
)
def test_whatever_the_curves_are_it_is_a_distribution(curves: Any, known: int, bar: float) -> None:
    found = extrapolate(curves[0, :known], curves[1:], curves[1:, -1])
    low, high = found.interval
    assert 0 <= low <= found.mean <= high <= 1
    assert found.spread > 0
    assert 0 <= found.chance_above(bar) <= 1


@pytest.mark.parametrize("known", [1, 2, 3])
def test_constant_and_falling_curves(known: int) -> None:
    constant = np.full((8, 4), 0.1)
    found = extrapolate(constant[0, :known], constant, constant[:, -1])
    assert found.mean == pytest.approx(0.1)
    assert found.chance_above(0.1) == pytest.approx(0.5)
    falling = np.linspace(0.5, 0.9, 8)[:, None] * np.array([1.0, 0.9, 0.8, 0.7])
    found = extrapolate(0.6 * np.array([1.0, 0.9, 0.8, 0.7])[:known], falling, falling[:, -1])
    assert found.mean == pytest.approx(0.42, abs=0.005)  # 0.6 * 0.7


def test_finished_curves_of_other_steps_take_no_part() -> None:
    usual, other = {1: 0.1, 2: 0.2, 3: 0.3}, {1: 0.1, 2: 0.2}
    found = Finished.of([(usual, 0.3), (other, 0.2), (usual, 0.35)])
    assert found.steps == (1, 2, 3)
    assert found.finals.tolist() == [0.3, 0.35]
    assert found.begin((1, 2))
    assert not found.begin((2,))
    assert not found.begin(())
    assert Finished.of([]).curves.shape == (0, 0)


def test_what_is_checked_is_leave_one_out_from_every_step() -> None:
    curves = drawn(40, np.random.default_rng(3))
    found = checked(Finished((1, 2, 3, 4, 5, 6), curves, curves[:, -1]))
    assert [each.step for each in found] == [1, 2, 3, 4, 5]
    for each in found:
        alone = []
        for index, curve in enumerate(curves):
            others = np.arange(40) != index
            alone.append(extrapolate(curve[: each.step].tolist(), curves[others], curves[others, -1]))
        finals = curves[:, -1]
        inside = [low <= final <= high for (low, high), final in zip((a.interval for a in alone), finals, strict=True)]
        assert each.error == pytest.approx(np.mean([abs(a.mean - y) for a, y in zip(alone, finals, strict=True)]))
        assert each.coverage == np.mean(inside)
        assert 0.6 <= each.coverage <= 0.95  # 0.8 with a standard deviation of 0.063
    assert checked(Finished((1,), curves[:, :1], curves[:, 0])) == []
    assert checked(Finished(STEPS, curves[:4, :4], curves[:4, 3])) == []


def test_of_long_curves_eight_steps_are_checked_the_first_and_the_last_among_them() -> None:
    curves = drawn(12, np.random.default_rng(5), last=60)
    steps = tuple(range(2, 122, 2))
    found = [each.step for each in checked(Finished(steps, curves, curves[:, -1]))]
    assert len(found) == 8
    assert (found[0], found[-1]) == (2, 118)


ARCHITECTURES = sorted(
    (SPACE.sample(np.random.default_rng(seed)) for seed in range(40)), key=lambda each: each.cost(TASK).macs
)


def trial(number: int, size: int, state: Any = "running", curve: Sequence[float] = ()) -> Trial:
    """A trial of the network that is the `size`-th in MACs."""
    architecture, rank = ARCHITECTURES[size], None if state == "running" else number
    accuracy = curve[-1] if curve and state != "running" else None
    reports = tuple(zip(STEPS, curve, strict=False))
    return Trial(number, architecture, architecture.cost(TASK), state, 0, accuracy, reports, rank=rank)


def pruner(
    tops: Sequence[float],
    aim: Aim = Aim(),  # noqa: B008 - frozen
    sizes: Sequence[int] = (),
    below: float = STOP_BELOW,
) -> Pruning:
    """`curves`, which knows complete trials that reach so much, in curves of one shape."""
    pruning = Pruning(f"curves:{below!r}", aim)
    for number, top in enumerate(tops):
        curve = [top * share for share in (0.5, 0.8, 0.9, 1.0)]
        pruning.remember(trial(number, sizes[number] if sizes else 20, "complete", curve), {})
    return pruning


def goes_on(pruning: Pruning, curve: Sequence[float], size: int = 20) -> list[bool]:
    number = 99
    pruning.started(trial(number, size))
    return [pruning.goes_on(number, step, accuracy) for step, accuracy in zip(STEPS, curve, strict=False)]


TOPS = [0.60, 0.62, 0.64, 0.66, 0.68, 0.70, 0.72, 0.74]
HOPELESS, BETTER = [0.3, 0.48, 0.54, 0.60], [0.4, 0.64, 0.72, 0.80]


def test_a_trial_without_a_chance_stops_once_enough_curves_are_known() -> None:
    assert goes_on(pruner(TOPS), HOPELESS) == [False, False, False, True]  # the last report ends it anyway
    assert goes_on(pruner(TOPS), BETTER) == [True] * 4
    assert len(TOPS) == FIRST
    assert goes_on(pruner(TOPS[1:]), HOPELESS) == [True] * 4
    assert goes_on(pruner([]), HOPELESS) == [True] * 4


def test_a_small_network_is_judged_by_those_no_larger_where_costs_count() -> None:
    sizes = [2, 5, 8, 11, 14, 17, 20, 23]  # the larger the better
    macs = [ARCHITECTURES[size].cost(TASK).macs for size in (1, 2, 4, 5, 30)]
    assert sorted(set(macs)) == macs
    curve = [0.62 * share for share in (0.5, 0.8, 0.9, 1.0)]  # above the smallest, below all but one
    front = Aim(("macs",))
    assert goes_on(pruner(TOPS, front, sizes), curve, size=1) == [True] * 4  # there is none as small
    assert goes_on(pruner(TOPS, front, sizes), curve, size=4) == [True] * 4
    assert goes_on(pruner(TOPS, front, sizes), curve, size=30)[0] is False
    assert goes_on(pruner(TOPS, Aim(), sizes), curve, size=1)[0] is False


def test_as_many_leaders_as_are_confirmed_may_yet_be_entered() -> None:
    curve = [0.70 * share for share in (0.5, 0.8, 0.9, 1.0)]  # the third best
    assert goes_on(pruner(TOPS, Aim(leaders=1)), curve)[0] is False
    assert goes_on(pruner(TOPS, Aim(leaders=4)), curve) == [True] * 4
    assert begin(confirm=3).aim == Aim((), 3)
    assert begin(strategy="pareto").aim == Aim(("macs",), 1)


def test_the_chance_below_which_a_trial_stops_is_a_setting() -> None:
    chance = pruner(TOPS)
    chance.started(trial(99, 20))
    assert not chance.goes_on(99, 1, HOPELESS[0])
    note = chance.ended(trial(99, 20, "pruned", HOPELESS[:1]))["extrapolated"]
    assert note["chance"] < STOP_BELOW
    least = pruner(TOPS, below=note["chance"] / 2)
    assert goes_on(least, HOPELESS)[0] is True
    assert goes_on(pruner(TOPS, below=note["chance"] * 1.01), HOPELESS)[0] is False


def test_a_study_keeps_its_threshold(tmp_path: Path) -> None:
    assert begin(pruner="curves:0.10").manifest.pruner == "curves"
    begin(tmp_path / "run", trials=30, pruner="curves:.4", estimator=Noisy()).run()
    again = Study.open(tmp_path / "run", space=SPACE, estimator=Noisy())
    assert again.manifest.pruner == "curves:0.4"
    stopped = [found for each in again.trials if (found := again.extrapolated(each.number))]
    assert any(STOP_BELOW < each["chance"] < 0.4 for each in stopped)
    assert all(each["chance"] < 0.4 for each in stopped)
    cut = begin(trials=30, pruner="curves:0.4", estimator=Noisy())
    for trials in (11, 17, 30):
        cut.run(trials)
    assert [each.state for each in cut.trials] == [each.state for each in again.trials]
    with pytest.raises(UserError, match=r"pruner was 'curves:0\.4' when the study began and is 'curves' now"):
        begin(tmp_path / "run", trials=30, pruner="curves", estimator=Noisy())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("curve", "unknown pruner 'curve'; did you mean 'curves'?"),
        ("median:0.1", "pruner median takes no number, got 'median:0.1'"),
        *((f"curves:{each}", "must be above 0 and below 1") for each in ("", "0", "1", "-0.1", "nan", "some")),
    ],
)
def test_a_threshold_that_is_no_chance_is_refused(text: str, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        begin(pruner=text)


def test_trials_count_by_their_number_whatever_the_order_in_which_they_end() -> None:
    rng = np.random.default_rng(9)
    curves = drawn(40, rng, last=4)
    several = [trial(number, 20, "complete", curve) for number, curve in enumerate(curves.tolist())]
    notes = []
    for order in (range(40), rng.permutation(40)):
        pruning = Pruning("curves", Aim())
        for number in order:
            pruning.remember(several[number], {})
        pruning.started(trial(99, 20))
        assert not pruning.goes_on(99, 1, float(curves[:, 0].min()))
        notes.append(pruning.ended(trial(99, 20, "pruned", [curves[:, 0].min()])))
    assert notes[0] == notes[1]


def test_models_are_fitted_once_for_all_reports_at_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    fits: list[int] = []
    of = Fitted.of

    def counted(curves: Any, finals: Any, known: int) -> Fitted:
        fits.append(known)
        return of(curves, finals, known)

    monkeypatch.setattr(Fitted, "of", counted)
    pruning = pruner(TOPS)
    for number in range(100, 150):
        pruning.started(trial(number, 20))
        assert pruning.goes_on(number, 1, BETTER[0])
        assert pruning.goes_on(number, 2, BETTER[1])
    assert sorted(fits) == [1, 2]
    pruning.ended(trial(100, 20, "complete", BETTER))
    assert pruning.goes_on(101, 3, 1.0)
    assert pruning.goes_on(102, 3, 1.0)
    pruning.ended(trial(103, 20, "pruned", BETTER[:2]))  # tells nothing of how curves end
    assert pruning.goes_on(104, 3, 1.0)
    assert sorted(fits) == [1, 2, 3]


def test_curves_of_other_steps_are_not_judged() -> None:
    pruning = pruner(TOPS)
    pruning.started(trial(99, 20))
    assert pruning.goes_on(99, 2, 0.1)


class Noisy(Known):
    """Six epochs, each with luck of its own."""

    def estimate(self, architecture: Architecture, context: TrialContext) -> Estimate:
        top = 0.5 + 0.4 * (architecture.cost(TASK).macs / 1.5e6) ** 0.5
        curve: list[float] = []
        for step in range(1, 7):
            luck = 0.04 * noise(architecture.to_json(), context.seed, step)
            curve.append(min(top * (1 - 0.5 / step) + luck, 1.0))
            if not context.report(step, curve[-1]) and step < 6:
                raise Pruned(tuple(curve), 0.25)
        return Estimate(curve[-1], 0.25, tuple(curve))


def test_a_stopped_trial_keeps_what_it_was_expected_to_reach(tmp_path: Path) -> None:
    study = begin(tmp_path / "run", trials=30, pruner="curves", estimator=Noisy())
    study.run()
    stopped = [each for each in study.trials if each.state == "pruned"]
    kept = {each.number: study.extrapolated(each.number) for each in study.trials}
    assert len(stopped) > 3
    assert all((kept[each.number] is None) == (each.state != "pruned") for each in study.trials)
    again = Study.open(tmp_path / "run", space=SPACE, estimator=Noisy())
    assert {each.number: again.extrapolated(each.number) for each in again.trials} == kept
    assert again.extrapolation == study.extrapolation is not None
    for each in stopped:
        found = kept[each.number]
        assert found is not None
        assert found["low"] < found["accuracy"] < found["high"]
        assert found["chance"] < STOP_BELOW
        assert each.outcome.accuracy == each.curve[-1]  # what the strategy is told, as by the other pruners


def test_a_resumed_study_keeps_the_same_notes() -> None:
    def notes(*cuts: int) -> list[Any]:
        study = begin(trials=30, pruner="curves", estimator=Noisy())
        for trials in (*cuts, 30):
            study.run(trials)
        return [(each.state, study.extrapolated(each.number)) for each in study.trials]

    whole = notes()
    assert notes(7, 12, 13, 21) == whole
    assert sum(state == "pruned" for state, _ in whole) > 3


@pytest.mark.parametrize("pruner", ["none", "median", "asha"])
def test_curves_are_checked_whatever_the_pruner(pruner: str) -> None:
    study = begin(trials=30, pruner=pruner, estimator=Noisy())
    study.run()
    found = study.extrapolation
    assert found is not None
    ended = [each for each in study.trials if each.state == "complete"]
    assert (found.curves, found.steps) == (len(ended), 6)
    assert [each.step for each in found.at] == [1, 2, 3, 4, 5]
    assert found.standard_error == pytest.approx((0.16 / len(ended)) ** 0.5)
    assert all(study.extrapolated(each.number) is None for each in study.trials)  # no reason of their pruner


def test_without_enough_curves_nothing_is_checked() -> None:
    study = begin(trials=4, estimator=Noisy())
    study.run()
    assert study.extrapolation is None
    assert study.may_exceed == []
    assert (
        checked_on([ended(number, [0.5], last=1) for number in range(12)]) is None
    )  # there is no step before the last


def ended(number: int, curve: Sequence[float], last: int = 6) -> Trial:
    """A trial that is complete, or pruned after fewer than `last` reports."""
    state: Any = "complete" if len(curve) == last else "pruned"
    reports = tuple(enumerate(map(float, curve), start=1))
    architecture = ARCHITECTURES[number % 40]
    return Trial(number, architecture, architecture.cost(TASK), state, 0, curve[-1], reports, rank=number)


def test_what_a_pruned_trial_would_have_come_to() -> None:
    rng, errors, inside, deviations = np.random.default_rng(6), [], [], []
    for _ in range(100):
        curves = drawn(30, rng)
        trials = [ended(number, curve if number < 20 else curve[:3]) for number, curve in enumerate(curves)]
        found = expected_finals(trials)
        assert sorted(found) == list(range(20, 30))
        alone = extrapolate(curves[20, :3].tolist(), curves[:20], curves[:20, -1])
        assert found[20].mean == pytest.approx(alone.mean)
        for number, final in found.items():
            low, high = final.interval
            errors.append(final.mean - curves[number, -1])
            inside.append(low <= curves[number, -1] <= high)
            deviations.append(final.deviation)
    assert 0.75 <= np.mean(inside) <= 0.85
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.sqrt(np.mean(np.square(deviations))), rel=0.1)


def test_those_pruned_later_count_with_what_they_would_have_come_to() -> None:
    rng, biases = np.random.default_rng(10), []
    for _ in range(60):
        curves = drawn(50, rng)
        kept = curves[:40, 4] > np.median(curves[:40, 4])  # the better half at step 5 is complete
        later = [curve if good else curve[:5] for curve, good in zip(curves[:40], kept, strict=True)]
        trials = [ended(number, curve) for number, curve in enumerate([*later, *curves[40:, :1]])]
        complete = curves[:40][kept]
        alone = [extrapolate(curve[:1].tolist(), complete, complete[:, -1]).mean for curve in curves[40:]]
        found = expected_finals(trials)
        several = [found[number].mean for number in range(40, 50)]
        biases.append([np.mean(each) - curves[40:, -1].mean() for each in (alone, several)])
    by_complete, by_all = np.mean(biases, axis=0)
    assert by_complete > 0.01  # complete ones alone were lucky after their first epoch
    assert abs(by_all) < by_complete / 4


def test_few_complete_trials_name_none() -> None:
    curves = drawn(8, np.random.default_rng(11))
    complete = [ended(number, curve) for number, curve in enumerate(curves)]
    high = ended(20, curves.max(0)[:4] + 0.05)
    assert [each.number for each in may_exceed([*complete, high], 0.6)] == [20]
    assert may_exceed([*complete[1:], high], 0.6) == []


def test_what_would_have_come_of_a_trial_is_not_said_where_nothing_tells() -> None:
    curves = drawn(8, np.random.default_rng(7))
    complete = [ended(number, curve) for number, curve in enumerate(curves)]
    at_rung = replace(ended(8, [0.3]), reports=((0, 0.3),))
    elsewhere = replace(ended(9, [0.3]), reports=((2, 0.3),))
    again = replace(ended(10, curves[0, :2]), confirms=0)
    assert expected_finals([*complete, at_rung, elsewhere, again]) == {}
    assert expected_finals([*complete[:3], ended(3, curves[3, :2])]) == {}
    assert list(expected_finals([*complete, ended(8, curves[0, :2])])) == [8]


def test_pruned_trials_that_may_have_been_better_are_named() -> None:
    curves = drawn(20, np.random.default_rng(8))
    complete = [ended(number, curve) for number, curve in enumerate(curves)]
    best = max(float(each.curve[-1]) for each in complete)
    high, middling, low = (
        ended(20 + place, each[:4]) for place, each in enumerate((curves.max(0) + 0.05, curves.max(0), curves.min(0)))
    )
    named = may_exceed([*complete, middling, low, high], best)
    assert [each.number for each in named] == [20, 21]
    assert named[0].chance > 0.9
    assert NAMED <= named[1].chance < 0.9
    assert named[0].chance == named[0].final.chance_above(best)


def test_a_report_has_what_extrapolation_is_worth_and_whom_it_names(tmp_path: Path) -> None:
    from studies.pages.report import curves_section

    study = begin(tmp_path / "run", trials=40, pruner="asha", estimator=Noisy())
    study.run()
    found, named = study.extrapolation, study.may_exceed
    assert found is not None
    assert named == may_exceed(study.trials, float(study.best.accuracy or 0))
    page = curves_section(study, "macs")
    for each in found.at:
        assert f">{each.step} of 6<" in page
        assert f"{100 * each.error:.2f} points" in page
        assert f"{round(100 * each.coverage)}%" in page
    assert ("might have beaten the best" in page) == bool(named)
    assert "Extrapolated" not in curves_section(begin(tmp_path / "none", trials=3, estimator=Noisy()), "macs")


NOISY = """
import random
from estimators import Estimate, Pruned

class Noisy:
    def describe(self):
        return {"name": "noisy", "epochs": 6}

    def estimate(self, architecture, context):
        luck = random.Random(context.seed)
        top, curve = luck.uniform(0.6, 0.8), []
        for step in range(1, 7):
            curve.append(top * (1 - 0.5 / step) + luck.uniform(0, 0.03))
            if not context.report(step, curve[-1]) and step < 6:
                raise Pruned(tuple(curve), 0.25)
        return Estimate(curve[-1], 0.25, tuple(curve))

estimator = Noisy
"""


def test_the_screens_say_what_was_extrapolated_and_how_well(tmp_path: Path, nas_cli: Any) -> None:
    (tmp_path / "noisy.py").write_text(NOISY)
    own = ["--estimator", f"{tmp_path / 'noisy.py'}:estimator"]
    where = ["--out", str(tmp_path / "runs"), "--name", "demo"]
    how = ["--strategy", "random", "--workers", "1", "--pruner", "curves"]
    said = nas_cli("search", "--budget", "400M", "--trials", 24, *how, *own, *where)
    assert said.code == 0
    run = tmp_path / "runs" / "demo"
    found = json.loads(nas_cli("show", run, "--json").out)
    checked = found["extrapolation"]
    assert [each["step"] for each in checked["at"]] == [1, 2, 3, 4, 5]
    assert checked["curves"] == found["trials"]["complete"] < 24
    flat = re.sub(r"\s+", " ", nas_cli("show", run).out)
    for each in (checked["at"][0], checked["at"][2], checked["at"][4]):
        assert f"{round(100 * each['coverage'])}% " in flat
        assert f"{100 * each['error']:.2f}" in flat
    assert f"of {checked['curves']} trials from epoch 1 of 6 (mean error" in flat

    study = nas.open_study(run)
    stopped = next(each.number for each in study.trials if each.state == "pruned")
    one = json.loads(nas_cli("show", run, "--trial", stopped, "--json").out)
    assert one["extrapolated"] == study.extrapolated(stopped)
    flat = re.sub(r"\s+", " ", nas_cli("show", run, "--trial", stopped).out)
    assert f"{100 * one['extrapolated']['accuracy']:.1f}% at the end, 80% interval" in flat
    assert json.loads(nas_cli("show", run, "--trial", 0, "--json").out)["extrapolated"] is None
