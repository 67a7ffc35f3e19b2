"""Law: a study whose trials inherit weights follows from its seed, cut or not, on every engine, and keeps few weights.

Run as a script, `python test_studies_inheritance.py RUN DIES`, it runs the study of real trainings and kills this
process once while its fourth trial is trained: `DIES` is a file that is made then.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from studies_stand_ins import SPACE, Known, Shuffled, begin, noise, story
from test_studies_resume import Cut, cut_at

from estimators import Estimate, Pruned, ShortTraining, TrialContext, load_data
from estimators.checkpoint import load, save
from nas.reporting import _belief
from searchspaces import Architecture, Space, Stage, UserError, choice, conv_head, mbconv
from studies import LocalEngine, Study, TrialEnded, TrialReported, TrialStarted, inheritance
from studies.comparison import Run
from studies.inheritance import BYTES, differing, leaders
from studies.lineage import FIRST, without_drift
from studies.pages import report
from studies.pages.pareto import told
from studies.results import accuracy_of, best_network, confirmed
from studies.study import Trial
from studies.trial import SHARE

TWO = Space("two", stages=[Stage(mbconv, width=choice(8, 16), kernel=3, expansion=1)], head=Stage(conv_head, width=32))
CURSED = 3
"""The trial that a process is killed in."""
ENGINES = {"local": LocalEngine(), "four ahead": Shuffled(4)}


class Heir(Known):
    """Its accuracy depends on all the parents before it, as the weights that it reads say."""

    inherits = True

    def estimate(self, architecture: Architecture, context: TrialContext) -> Estimate:
        lineage, epochs = "", 0
        if context.parent is not None:
            found = load(context.parent)
            assert found is not None, f"{context.parent} was removed too early"
            lineage, epochs = found[1]["lineage"], found[1]["epochs"]
        lineage += f"{noise(architecture.to_json(), context.seed, lineage):.6f} "
        curve: list[float] = []
        for step in (1, 2, 3):
            curve.append((0.5 + 0.3 * float(lineage.split()[-1]) + 0.2 * noise(lineage)) * (0.4 + 0.2 * step))
            if not context.report(step, curve[-1]) and step < 3:
                raise Pruned(tuple(curve), 0.25)
        kept = {}
        if context.weights is not None:
            save(context.weights, {}, {"lineage": lineage[-200:], "epochs": epochs + len(curve)})
            kept = {BYTES: 1, "inherited": {"epochs": epochs}}
        return Estimate(curve[-1], 0.25, tuple(curve), {"lineage": lineage[-200:], **kept})


def whole_story(study: Study) -> list[dict[str, Any]]:
    """`story` with the parents, and what was estimated from them."""
    more = [{"parent": trial.parent, "details": dict(trial.details)} for trial in study.trials]
    return [{**each, **other} for each, other in zip(story(study), more, strict=True)]


def kept(folder: Path) -> list[int]:
    """Numbers of the trials whose weights lie in a folder that one study was given for its checkpoints."""
    (place,) = folder.iterdir()
    return sorted(int(each.stem) for each in (place / "weights").iterdir())


def heirs(place: Path, **changes: Any) -> Study:
    """A study in memory whose trials inherit."""
    return begin(**{"estimator": Heir(), "inherit": True, "checkpoints": str(place), **changes})


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "changes",
    [
        {"strategy": "evolution", "pruner": "asha"},
        {"strategy": "random", "wave": 4},
        {"strategy": "pareto", "confirm": 2},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())),
)
def test_a_study_that_inherits_cut_anywhere_and_resumed_equals_the_unbroken_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str, changes: dict[str, Any]
) -> None:
    monkeypatch.setattr(inheritance, "KEPT", 3)  # so that files go while trials that need them are under way
    monkeypatch.setattr(inheritance, "FIRST", 3)
    whole = heirs(tmp_path / "whole", trials=20, **changes)
    whole.run(engine=ENGINES[engine])
    assert {trial.state for trial in whole.trials} <= {"complete", "pruned"}
    assert sum(trial.parent is not None for trial in whole.trials) >= 10

    broken = heirs(tmp_path / "cut", trials=20, **changes)
    for kind, count in [(TrialStarted, 1), (TrialEnded, 2), (TrialReported, 8), (TrialStarted, 7), (TrialEnded, 3)]:
        with pytest.raises(Cut):
            broken.run(engine=ENGINES[engine], on_event=cut_at(kind, count))
    broken.run(engine=ENGINES[engine])
    assert whole_story(broken) == whole_story(whole)
    assert kept(tmp_path / "cut") == kept(tmp_path / "whole") == sorted(trial.number for trial in leaders(whole.trials))


@pytest.mark.parametrize("engine", ENGINES)
def test_the_parent_is_the_nearest_of_the_most_accurate_that_had_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    monkeypatch.setattr(inheritance, "KEPT", 5)
    study = heirs(tmp_path, trials=30)
    study.run(engine=ENGINES[engine])

    def distance(one: Trial, other: Trial) -> int:
        names = {**one.architecture.choices, **other.architecture.choices}
        return sum(one.architecture.choices.get(n) != other.architecture.choices.get(n) for n in names)

    distances = set()
    for trial in study.trials:
        ended = [each for each in study.trials if each.rank is not None and each.rank < trial.told]
        best = sorted(without_drift(ended), key=lambda each: (-accuracy_of(each), each.number))[:5]
        order = [(distance(trial, each), -accuracy_of(each), each.number) for each in best]
        assert trial.parent == (min(order)[2] if order and trial.number >= FIRST else None)
        distances |= {min(order)[0]} if order else set()
    assert len(distances) > 2


def test_no_more_weights_lie_on_disk_than_can_be_started_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inheritance, "KEPT", 4)
    study = heirs(tmp_path, trials=30)
    counts: list[int] = []

    def count(event: object) -> None:
        if isinstance(event, TrialEnded):
            counts.append(len(kept(tmp_path)))

    study.run(engine=Shuffled(3), on_event=count)
    assert max(counts) <= 4 + 3  # and the parents of those under way
    assert counts[-1] == 4


def test_in_waves_parents_do_not_depend_on_the_order_of_the_ends(tmp_path: Path) -> None:
    found = []
    for salt in range(2):
        study = heirs(tmp_path / str(salt), trials=24, wave=6)
        study.run(engine=Shuffled(6, salt))
        found.append([(each["number"], each["parent"], each["accuracy"]) for each in whole_story(study)])
        orders = [trial.rank for trial in study.trials]
        assert orders != sorted(orders, key=lambda rank: rank or 0)
    assert found[0] == found[1]


def test_confirmations_are_trained_from_scratch_and_count_alone(tmp_path: Path) -> None:
    study = heirs(tmp_path, trials=20, confirm=2)
    study.run()
    again = [trial for trial in study.trials if trial.confirms is not None]
    assert len(again) == 6
    for trial in again:
        assert trial.parent is None
        assert len(str(trial.details["lineage"]).split()) == 1
        assert BYTES not in trial.details
    for leader in confirmed(study.trials):
        fresh = [accuracy_of(trial) for trial in again if trial.confirms == leader.trial.number]
        assert list(leader.accuracies) == fresh
    assert study.best.accuracy == max(leader.mean for leader in confirmed(study.trials))


def test_a_network_trained_alone_once_has_no_standard_error_and_pages_end_at_its_accuracy(tmp_path: Path) -> None:
    study = heirs(tmp_path, trials=24, confirm="auto")
    study.run()
    assert any(len(leader.accuracies) == 1 for leader in confirmed(study.trials))
    assert all(math.isfinite(error) for error in study.standard_errors.values())
    json.loads(best_network(study.trials, str(study.task)), parse_constant=pytest.fail)  # NaN is no JSON
    assert "nan" not in told(study.best, study)
    assert "nan" not in _belief(study, [])
    assert report._reached(study)[1][-1] == pytest.approx(study.best.accuracy) == Run.of(study).reached[-1]


def test_a_replica_does_not_go_on_with_its_own_training(tmp_path: Path) -> None:
    settings = {"strategy": "rl", "strategy_settings": {"repeat": True, "learning_rate": 0.5}, "replicas": True}
    study = heirs(tmp_path, space=TWO, budget=None, trials=16, **settings)
    study.run()
    assert len({trial.architecture for trial in study.trials}) == 2
    assert any(trial.parent is not None for trial in study.trials)
    for trial in study.trials:
        if trial.parent is not None:
            assert study.trials[trial.parent].architecture != trial.architecture


def test_distance_counts_the_decisions_that_have_an_effect_in_one_of_the_two_only() -> None:
    members = list(itertools.islice(SPACE.enumerate(), 200))
    for first, second in itertools.pairwise(members):
        mine, theirs = set(first.choices.items()), set(second.choices.items())
        assert differing(first, second) == differing(second, first) == len({name for name, _ in mine ^ theirs})


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an estimator that trains nothing": ({"estimator": "zero-cost"}, "'zero-cost' cannot start from trained weights"),
    "one of one's own": ({"estimator": Known()}, "'known' cannot start from trained weights; short-training can"),
    "no place": ({"estimator": Heir(), "checkpoints": "none"}, "there is nowhere to keep the weights"),
    "memory": ({"estimator": Heir(), "folder": None}, "there is nowhere to keep the weights"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_study_that_cannot_inherit_is_refused_before_anything_is_written(tmp_path: Path, why: str) -> None:
    changes, said = REFUSED[why]
    changes = {"folder": tmp_path / "run", "inherit": True, **changes}
    with pytest.raises(UserError, match="inherit: ") as refused:
        begin(**changes)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_whether_trials_inherit_cannot_change(tmp_path: Path) -> None:
    begin(tmp_path / "run", estimator=Heir(), trials=2).run()
    with pytest.raises(UserError, match="inherit was false when the study began and is true now"):
        begin(tmp_path / "run", estimator=Heir(), trials=2, inherit=True)


def test_weights_lie_where_checkpoints_do_and_stay_there(tmp_path: Path) -> None:
    study = begin(tmp_path / "run", estimator=Heir(), inherit=True, trials=6, checkpoints=str(tmp_path / "shared"))
    study.run(2)
    study.close()
    again = begin(tmp_path / "run", estimator=Heir(), inherit=True, trials=6, checkpoints=str(tmp_path / "shared"))
    again.run(4)
    again.close()
    resumed = Study.open(tmp_path / "run", space=SPACE, estimator=Heir(), checkpoints="none")
    resumed.run()
    (place,) = (tmp_path / "shared").iterdir()
    assert len(list((place / "weights").iterdir())) == 6
    assert not (tmp_path / "run" / "weights").exists()
    whole = heirs(tmp_path / "whole", trials=6)
    whole.run()
    assert whole_story(resumed) == whole_story(whole)


class Mortal(ShortTraining):
    """Short training; a process dies once in the middle of the trial with a certain seed."""

    dies: Path | None = None
    cursed = -1

    def estimate(self, architecture: Architecture, context: TrialContext) -> Estimate:
        def report(step: int, accuracy: float) -> bool:
            if context.seed == type(self).cursed and type(self).dies is not None:
                with contextlib.suppress(FileExistsError):
                    type(self).dies.touch(exist_ok=False)
                    os.kill(os.getpid(), signal.SIGKILL)
            return context.report(step, accuracy)

        watched = TrialContext(
            context.seed, context.device, report, context.checkpoint, context.parent, context.weights
        )
        return super().estimate(architecture, watched)


def trained(folder: Path, trials: int = 6, **changes: Any) -> Study:
    """A study of real trainings, of a second each."""
    settings = {"epochs": 4, "data_fraction": 0.1, "image_size": 8, "width": 0.5, "depth": 0.5, "save_after_s": 0.0}
    estimator = Mortal(load_data("digits"), device="cpu", **settings)
    return begin(folder, **{"estimator": estimator, "trials": trials, "inherit": True, "pruner": "median", **changes})


def test_a_study_killed_inside_a_training_from_a_parent_equals_the_unbroken_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inheritance, "FIRST", 1)
    command = [sys.executable, __file__, str(tmp_path / "run"), str(tmp_path / "dies")]
    assert subprocess.run(command, stdout=subprocess.DEVNULL).returncode == -signal.SIGKILL
    assert (tmp_path / "dies").exists()
    resumed = trained(tmp_path / "run")
    resumed.run(engine=LocalEngine("cpu"))
    resumed.close()
    whole = trained(tmp_path / "whole")
    whole.run()
    found = Study.open(tmp_path / "run", space=SPACE)

    def told(study: Study) -> list[dict[str, Any]]:
        return [{**each, "details": {**each["details"], "checkpoint": ""}} for each in whole_story(study)]

    assert told(found) == told(whole)
    assert found.trials[CURSED].parent is not None
    for trial in found.trials[1:]:
        assert trial.details["inherited"]["epochs"] >= 4
        assert [step for step, _ in trial.reports] == [3, 4][: len(trial.reports)]  # half of the epochs are left out


def test_two_trainings_at_once_give_what_the_same_order_gives_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inheritance, "FIRST", 1)
    study = trained(tmp_path / "run", trials=5, pruner="none", wave=2)
    study.run(engine=LocalEngine("cpu", at_once=2))
    alone = trained(tmp_path / "alone", trials=5, pruner="none", wave=2)
    alone.run(engine=LocalEngine("cpu", at_once=1))
    names, stories = ("number", "parent", "accuracy", "reports", "architecture"), []
    for each in (study, alone):
        details = [{key: value for key, value in trial.details.items() if key != SHARE} for trial in each.trials]
        told = [[trial[name] for name in names] for trial in whole_story(each)]
        stories.append([*zip(told, details, strict=True)])
    assert stories[0] == stories[1]


if __name__ == "__main__":
    inheritance.FIRST = 1  # type: ignore[misc]
    Mortal.cursed, Mortal.dies = begin(trials=1).seed_of(CURSED), Path(sys.argv[2])
    trained(Path(sys.argv[1])).run(engine=LocalEngine("cpu"))
