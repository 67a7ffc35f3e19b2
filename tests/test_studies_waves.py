"""Law: in waves, the same trials come out in whatever order they end, however many run at once, wherever it is cut."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from studies_stand_ins import SPACE, Known, Shuffled, begin
from test_studies_laws import some_fail
from test_studies_resume import SETTINGS, Cut, cut_at

from searchspaces import UserError
from strategies import STRATEGIES
from studies import LocalEngine, Study, StudyEnded, TrialEnded, TrialReported, TrialStarted

WAVE = 4
TRIALS = 26  # the last wave is not full
ORDERS = [LocalEngine(), Shuffled(2), Shuffled(WAVE), Shuffled(9, 1)]


def outcomes(study: Study) -> list[Mapping[str, Any]]:
    """All that must not depend on the order in which trials ended."""
    names = ("number", "state", "accuracy", "reports", "reason", "confirms")
    return [
        {**{name: getattr(trial, name) for name in names}, "architecture": trial.architecture.to_json()}
        for trial in study.trials
    ]


def made(engine: Any, **settings: Any) -> Study:
    study = begin(**{"trials": TRIALS, "wave": WAVE, **settings})
    study.run(engine=engine)
    return study


@pytest.mark.parametrize(
    ("strategy", "pruner"),
    [
        *((name, "asha") for name in STRATEGIES),
        ("evolution", "none"),
        ("evolution", "median"),
        ("evolution", "curves"),
        ("pareto", "curves"),
    ],
)
def test_the_same_trials_come_out_in_whatever_order_they_end(strategy: str, pruner: str) -> None:
    settings = {"strategy": strategy, "strategy_settings": SETTINGS.get(strategy, {}), "pruner": pruner}
    found = [made(engine, estimator=Known(fails=some_fail), **settings) for engine in ORDERS]
    assert len(found[0].trials) == TRIALS
    for other in found[1:]:
        assert outcomes(other) == outcomes(found[0])
    ranks = {tuple(trial.rank for trial in study.trials) for study in found}
    assert len(ranks) == len(ORDERS)


def test_without_waves_the_order_matters() -> None:
    # else the law above says nothing
    for pruner in ("none", "asha", "curves"):
        found = [outcomes(made(engine, wave=None, pruner=pruner)) for engine in ORDERS[1:]]
        assert all(one != other for number, one in enumerate(found) for other in found[:number]), pruner


@functools.cache
def unbroken(strategy: str, pruner: str) -> list[Mapping[str, Any]]:
    """The outcomes of a study, which are those of several cuts."""
    return outcomes(made(LocalEngine(), strategy=strategy, pruner=pruner))


@pytest.mark.parametrize(
    "cuts",
    [
        [(TrialStarted, 1), (TrialEnded, 2), (TrialReported, 8), (TrialStarted, 7), (TrialEnded, 3)],
        [(TrialEnded, WAVE), (TrialStarted, 1), (TrialEnded, WAVE - 1), (TrialEnded, 2)],
    ],
)
@pytest.mark.parametrize(
    ("strategy", "pruner"), [("evolution", "asha"), ("guided", "none"), ("rl", "median"), ("tpe", "curves")]
)
def test_cut_anywhere_it_goes_on_with_the_same_trials(strategy: str, pruner: str, cuts: list[Any]) -> None:
    settings = {"strategy": strategy, "pruner": pruner, "wave": WAVE, "trials": TRIALS}
    broken = begin(**settings)
    for number, (kind, count) in enumerate(cuts):
        with pytest.raises(Cut):
            broken.run(engine=Shuffled(WAVE, number), on_event=cut_at(kind, count))
    broken.run(engine=Shuffled(3, 7))
    assert outcomes(broken) == unbroken(strategy, pruner)


def test_a_wave_is_proposed_on_what_was_known_before_it() -> None:
    told: list[str] = []

    class Listening:
        def ask(self, rng: Any) -> Any:
            return SPACE.under(study.budget, study.task).sample(rng)

        def tell(self, architecture: Any, outcome: Any) -> None:
            told.append(outcome.state)

    study = begin(strategy=lambda space: Listening(), trials=9, wave=3)
    study.run(engine=Shuffled(3))
    assert told == (["running"] * 3 + ["complete"] * 3) * 2 + ["running"] * 3  # the last are told to nobody


@pytest.mark.parametrize(("confirm", "trials", "again"), [(2, TRIALS, 6), ("auto", 40, 5)])
def test_confirmations_know_all_proposals(confirm: Any, trials: int, again: int) -> None:
    found = [made(engine, strategy="guided", trials=trials, confirm=confirm) for engine in ORDERS]
    for other in found[1:]:
        assert outcomes(other) == outcomes(found[0])
        assert other.best.number == found[0].best.number
    assert sum(trial.confirms is not None for trial in found[0].trials) == again


@pytest.mark.parametrize(("confirm", "trials", "longer"), [(1, 9, 15), (2, 14, 34), ("auto", 18, 43)])
def test_trials_after_confirmations_do_not_depend_on_the_order_either(confirm: Any, trials: int, longer: int) -> None:
    found = []
    for engine in ORDERS:
        found.append(made(engine, trials=trials, confirm=confirm))
        found[-1].run(longer, engine=engine)
        assert outcomes(found[-1]) == outcomes(found[0])
    assert len(found[0].trials) == longer


def test_all_fail_alike_in_whatever_order() -> None:
    def broken(architecture: Any, seed: int) -> None:
        raise RuntimeError(f"no kernel for seed {seed}")

    ended = {begin(wave=3, estimator=Known(fails=broken)).run(engine=engine).reason for engine in ORDERS}
    assert len(ended) == 1
    assert ended.pop().startswith("all 6 trials failed in the same way: RuntimeError: no kernel for seed")
    cut = begin(wave=3, estimator=Known(fails=broken))
    cut.run(4)
    assert cut.run(engine=Shuffled(3)).kind == "failing"
    assert len(cut.trials) == 6
    assert cut.run(engine=Shuffled(3)).reason.startswith("all 12 ")  # going on is trying again, as without waves


def test_the_manifest_keeps_it_and_a_resume_too(tmp_path: Path) -> None:
    begin(tmp_path / "run", trials=9, wave=WAVE).run(5)
    study = Study.open(tmp_path / "run", space=SPACE, estimator=Known())
    assert study.manifest.wave == WAVE
    assert study.run(TRIALS, engine=Shuffled(3)) == StudyEnded("trials", f"all {TRIALS} trials are done")
    assert outcomes(study) == outcomes(made(LocalEngine()))
    with pytest.raises(
        UserError, match=r"batch \(--deterministic --workers\) was 4 trials when the study began and is 2 trials now"
    ):
        begin(tmp_path / "run", wave=2)
    with pytest.raises(UserError, match="wave must be a whole number of at least 1, got 0"):
        begin(wave=0)


def test_a_manifest_from_before_waves_has_none(tmp_path: Path) -> None:
    import json

    begin(tmp_path / "run", trials=3).run(1)
    path = tmp_path / "run" / "study.json"
    path.write_text(json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != "wave"}))
    study = begin(tmp_path / "run", trials=3)
    assert study.manifest.wave is None
    study.run()
    assert len(study.trials) == 3


def test_the_command_line_needs_a_number_of_workers_for_it(nas_cli: Any, tmp_path: Path) -> None:
    said = nas_cli("search", "--budget", "400M", "--out", tmp_path / "runs", "--deterministic", "--ray", "auto")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "--deterministic proposes in synchronous batches of --workers: add --workers N" in said.err
    assert not (tmp_path / "runs").exists()
