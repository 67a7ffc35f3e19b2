"""Law: a study cut anywhere and resumed equals the unbroken one; SIGKILL loses no finished trial and repeats none."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from studies_stand_ins import BUDGET, SPACE, TASK, TWINS, Known, Shuffled, begin, story
from test_strategies_laws import NAMES

from estimators import ShortTraining, load_data
from searchspaces import Architecture, Space, Stage, Task, choice, conv_head, mbconv
from strategies import Outcome
from studies import LocalEngine, Study, StudyEnded, StudyStarted, TrialEnded, TrialReported, TrialStarted
from studies.pages.report import cost_section
from studies.record import replay
from studies.settings import Settings

TRIALS = 24  # evolution's first 10 are random; TPE's too, unless told otherwise
SETTINGS = {"tpe": {"startup": 5}}
ENGINES = {"local": LocalEngine(), "four ahead": Shuffled(4)}


class Cut(BaseException):
    """Stands for the death of the process: nothing catches it."""


def cut_at(wanted: type[object], count: int) -> Any:
    """An observer that kills the run at its `count`-th event of a kind."""
    left = count

    def watch(event: object) -> None:
        nonlocal left
        left -= isinstance(event, wanted)
        if left == 0:
            raise Cut

    return watch


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("strategy", "pruner"),
    [
        *((name, "asha") for name in NAMES),
        ("random", "none"),
        ("evolution", "median"),
        ("evolution", "curves"),
        ("pareto", "curves"),
    ],
)
def test_a_study_cut_anywhere_and_resumed_equals_the_unbroken_one(strategy: str, engine: str, pruner: str) -> None:
    settings = {
        "strategy": strategy,
        "strategy_settings": SETTINGS.get(strategy, {}),
        "pruner": pruner,
        "trials": TRIALS,
    }
    whole = begin(**settings)
    whole.run(engine=ENGINES[engine])
    assert len(whole.trials) == TRIALS

    broken = begin(**settings)
    for kind, count in [(TrialStarted, 1), (TrialEnded, 2), (TrialReported, 8), (TrialStarted, 7), (TrialEnded, 3)]:
        with pytest.raises(Cut):
            broken.run(engine=ENGINES[engine], on_event=cut_at(kind, count))
    broken.run(engine=ENGINES[engine])
    assert story(broken) == story(whole)


TURNS: dict[
    str, tuple[dict[str, int], int]
] = {  # of so many outcomes a strategy becomes another: a population is full, a model begins, a policy is updated
    "evolution": ({"population": 8, "tournament": 3}, 8),
    "pareto": ({"population": 8}, 8),
    "tpe": ({"startup": 8}, 8),
    "guided": ({"startup": 8}, 8),
    "rl": ({"batch": 4}, 8),  # the second update
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("strategy", TURNS)
def test_cuts_around_the_turns_of_a_strategy_change_nothing(strategy: str, engine: str) -> None:
    settings, turn = TURNS[strategy]
    changes = {"strategy": strategy, "strategy_settings": settings, "trials": 2 * turn}
    whole = begin(**changes)
    whole.run(engine=ENGINES[engine])
    for cut in (turn - 1, turn, turn + 1):
        broken = begin(**changes)
        with pytest.raises(Cut):
            broken.run(engine=ENGINES[engine], on_event=cut_at(TrialEnded, cut))
        assert sum(trial.ended is not None for trial in broken.trials) == cut
        broken.run(engine=ENGINES[engine])
        assert story(broken) == story(whole), cut


@pytest.mark.parametrize("wave", [None, 4])
@pytest.mark.parametrize("ledger", ["sqlite", "journal"])
@pytest.mark.parametrize("strategy", ["evolution", "guided", "rl"])
def test_a_study_that_met_twins_cut_and_resumed_equals_the_unbroken_one(
    strategy: str, ledger: str, wave: int | None, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"space": TWINS, "budget": None, "strategy": strategy, "wave": wave, "trials": 14}
    whole = begin(**settings)
    whole.run()
    assert any(trial.twins for trial in whole.trials)
    broken = begin(tmp_path / "run", ledger=ledger, **settings)
    for kind, count in [(TrialEnded, 6), (TrialStarted, 2), (TrialEnded, 3)]:
        with pytest.raises(Cut):
            broken.run(on_event=cut_at(kind, count))
        broken = Study.open(tmp_path / "run", space=TWINS, estimator=Known())
    broken.run()
    assert [trial.twins for trial in broken.trials] == [trial.twins for trial in whole.trials]
    assert story(broken) == story(whole)


def test_asks_run_ahead_of_tells_and_ends_come_out_of_order() -> None:
    # else the law above says nothing about them
    study = begin(trials=TRIALS)
    study.run(engine=ENGINES["four ahead"])
    assert [trial.rank for trial in study.trials] != list(range(TRIALS))
    assert all(trial.told < trial.number for trial in study.trials if trial.number > 1)


def test_pruners_stop_some_trials_and_not_all() -> None:
    for pruner in ("asha", "median", "curves"):
        study = begin(trials=TRIALS, pruner=pruner)
        study.run()
        states = [trial.state for trial in study.trials]
        assert 0 < states.count("pruned") < TRIALS - 3, pruner
        for trial in study.trials:
            if trial.state == "pruned":
                assert len(trial.reports) < 3
                assert trial.accuracy == trial.curve[-1]
                assert trial.reason is not None
                assert trial.reason.startswith("pruned: ")


@pytest.mark.parametrize("prepares", [False, True])
def test_replay_tells_what_was_told(prepares: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studies.run.WORTH", 0)
    told: list[tuple[str, str]] = []

    class Listening:
        def ask(self, rng):
            return SPACE.under(study.budget, study.task).sample(rng)

        def tell(self, architecture, outcome):
            told.append((architecture.to_json(), outcome.state))

    study = begin(strategy=lambda space: Listening(), trials=20)
    study.run(engine=Shuffled(3, prepares=prepares))
    assert [(trial.architecture.to_json(), outcome.state) for trial, outcome in replay(study.trials)] == told


@pytest.mark.parametrize(
    ("strategy", "ledger"), [*((name, "sqlite") for name in NAMES), ("evolution", "journal"), ("evolution", "memory")]
)
def test_what_is_prepared_follows_from_what_the_ledger_says_that_it_knew(
    strategy: str, ledger: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in a study that was cut while a proposal waited for its start: that one is lost, and leaves no trace."""
    monkeypatch.setattr("studies.run.WORTH", 0)
    settings = {"strategy": strategy, "strategy_settings": SETTINGS.get(strategy, {}), "trials": TRIALS}
    study = begin(None if ledger == "memory" else tmp_path / "run", ledger=ledger, **settings)
    for kind, count in [(TrialEnded, 3), (TrialReported, 20)]:
        with pytest.raises(Cut):
            study.run(engine=Shuffled(4, prepares=True), on_event=cut_at(kind, count))
    study.run(engine=Shuffled(4, prepares=True))
    trials = study.trials
    assert ledger == "memory" or Study.open(tmp_path / "run", space=SPACE).trials == trials
    assert [trial.number for trial in trials] == list(range(TRIALS))
    assert all(trial.state == "complete" for trial in trials)
    prepared = 0
    for trial in trials[4:]:
        known = [
            each if (each.rank or 0) < trial.told else replace(each, rank=None, state="running")
            for each in trials[: trial.number]
        ]
        assert trial.started is not None
        prepared += trial.told < sum(each.ended is not None and each.ended <= trial.started for each in trials)
        fresh = study._strategy()
        for each, outcome in replay(known):
            fresh.tell(each.architecture, outcome)
        assert fresh.ask(np.random.default_rng([study.manifest.seed, trial.number])) == trial.architecture
    assert prepared > TRIALS // 2


class Thinks:
    """A strategy that counts its asks."""

    def __init__(self) -> None:
        self.asked = 0

    def ask(self, rng: np.random.Generator) -> Architecture:
        self.asked += 1
        return SPACE.under(BUDGET, TASK).sample(rng)

    def tell(self, architecture: Architecture, outcome: Outcome) -> None: ...


@pytest.mark.parametrize(
    ("worth", "width", "changes", "ahead"),
    [
        (0, 3, {}, 1),
        (0, 3, {"trials": 15, "confirm": 1}, 1),  # the same proposals, and then confirmations
        (1e9, 3, {}, 0),  # a trial takes 0.25 seconds, as it says, and an ask far less
        (0, 1, {}, 0),  # a seed repeats itself
        (0, 3, {"wave": 3}, 0),
    ],
)
def test_one_proposal_is_prepared_where_it_pays(
    worth: float, width: int, changes: Mapping[str, Any], ahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studies.run.WORTH", worth)
    strategy = Thinks()
    study = begin(strategy=lambda space: strategy, **{"trials": 12, **changes})
    with pytest.raises(Cut):
        study.run(engine=Shuffled(width, prepares=True), on_event=cut_at(TrialEnded, 5))
    assert strategy.asked == len(study.trials) + ahead
    study.run(engine=Shuffled(width, prepares=True))
    assert strategy.asked == 12 + ahead  # that of the cut study was lost; no more are thought of than there are trials
    assert [trial.state for trial in study.trials] == ["complete"] * study.manifest.trials


@pytest.mark.parametrize("ledger", ["sqlite", "journal"])
def test_a_folder_is_all_that_a_resume_needs(tmp_path: Path, ledger: str) -> None:
    whole = begin(trials=12)
    whole.run()
    begin(tmp_path / "run", trials=12, ledger=ledger).run(5)
    part = Study.open(tmp_path / "run", space=SPACE, estimator=Known())
    assert story(part) == story(whole)[:5]
    with pytest.raises(Cut):
        part.run(on_event=cut_at(TrialReported, 9))
    events: list[object] = []
    again = Study.open(tmp_path / "run", space=SPACE, estimator=Known())
    ended = again.run(on_event=events.append)
    assert story(again) == story(whole)
    assert events[0] == StudyStarted(ended=7, again=1, trials=12, limit_s=None)  # the ninth report is trial 7's third
    assert events[-1] == ended == StudyEnded("trials", "all 12 trials are done")
    assert again.trials == Study.open(tmp_path / "run", space=SPACE).trials


def test_a_journal_with_half_a_line_goes_on(tmp_path: Path) -> None:
    begin(tmp_path / "run", trials=6, ledger="journal").run(3)
    with (tmp_path / "run" / "ledger.log").open("ab") as file:
        file.write(b'{"op_code": 4, "wor')  # as a full disk leaves it
    begin(tmp_path / "run", trials=6, ledger="journal").run()
    whole = begin(trials=6)
    whole.run()
    assert story(Study.open(tmp_path / "run", space=SPACE)) == story(whole)


def test_begun_again_with_the_same_settings_it_goes_on(tmp_path: Path) -> None:
    begin(tmp_path / "run", trials=8).run(4)
    again = begin(tmp_path / "run", trials=100)  # planning more is not another study
    assert len(again.trials) == 4
    again.run(8)
    whole = begin(trials=8)
    whole.run()
    assert story(again) == story(whole)


@pytest.mark.parametrize(("setting", "before"), [("gae_lambda", 1.0), ("ranked", False)])
def test_a_controller_from_before_it_had_a_setting_goes_on_as_it_began(
    tmp_path: Path, setting: str, before: Any
) -> None:
    given = {"strategy": "rl", "strategy_settings": {"batch": 4, setting: before}, "trials": 16}
    whole = begin(**given)
    whole.run()
    begin(tmp_path / "run", **given).run(8)
    older = json.loads((tmp_path / "run" / "study.json").read_text())
    del older["strategy"]["resolved"][setting], older["strategy"]["given"][setting]
    (tmp_path / "run" / "study.json").write_text(json.dumps(older))
    begin(tmp_path / "run", strategy="rl", trials=16).run(12)
    again = Study.open(tmp_path / "run", space=SPACE, estimator=Known())
    again.run()
    assert story(again) == story(whole)
    newer = begin(strategy="rl", strategy_settings={"batch": 4}, trials=16)
    newer.run()
    assert story(newer) != story(whole)


def test_a_study_whose_costs_were_counted_on_the_usual_task_goes_on_as_it_began(tmp_path: Path) -> None:
    """`guided` without a budget, from before its features had costs on the study's task."""
    given = {"strategy": "guided", "budget": None, "trials": 20}
    whole = begin(**given, strategy_settings={"task": "224x224x3:1000"})
    whole.run()
    begin(tmp_path / "run", **given, strategy_settings={"task": "224x224x3:1000"}).run(8)
    older = json.loads((tmp_path / "run" / "study.json").read_text())
    del older["strategy"]["resolved"]["task"], older["strategy"]["given"]["task"]
    (tmp_path / "run" / "study.json").write_text(json.dumps(older))
    begin(tmp_path / "run", **given).run(14)
    again = Study.open(tmp_path / "run", space=SPACE, estimator=Known())
    again.run()
    assert story(again) == story(whole)
    newer = begin(tmp_path / "newer", **given)
    assert newer.manifest.strategy["resolved"]["task"] == str(TASK)
    assert "task" not in newer.manifest.strategy["given"]
    newer.run()
    assert story(newer) != story(whole)
    assert Study.open(tmp_path / "newer", space=SPACE, estimator=Known()).manifest == newer.manifest


def test_a_proxy_that_suits_the_space_is_chosen_once_and_kept(tmp_path: Path) -> None:
    """Unless a person chose it; a folder from before candidates were suited to their space goes on as it began."""
    few = Space("few", stages=Stage(mbconv, width=choice(8, 16, 24)), head=Stage(conv_head, width=16))
    plain = Settings(space=few, task=Task(32), strategy="random")

    def begun(name: str, **settings: Any) -> Mapping[str, Any]:
        study = Study.create(tmp_path / name, replace(plain, estimator_settings=settings))
        again = Study.create(tmp_path / name, plain)
        assert Study.open(tmp_path / name, space=few).manifest == again.manifest == study.manifest
        return study.manifest.estimator["resolved"]

    chosen = begun("chosen", epochs=1)
    assert (chosen["epochs"], chosen["width"], chosen["depth"]) == (1, 1.0, 1.0)
    given = begun("given", width=0.75)
    assert (given["width"], given["depth"]) == (0.75, ShortTraining(load_data("digits")).depth)

    path = tmp_path / "chosen" / "study.json"
    older = json.loads(path.read_text())
    older["estimator"]["given"] = {"epochs": 1}
    older["estimator"]["resolved"].update(width=0.25, depth=0.5)
    del older["estimator"]["resolved"]["adjusted"]
    path.write_text(json.dumps(older))
    assert Study.create(tmp_path / "chosen", plain).manifest.estimator == older["estimator"]


def test_ctrl_c_leaves_a_study_that_goes_on() -> None:
    def interrupted(architecture, seed):
        if len(estimator.estimated) == 6:
            raise KeyboardInterrupt

    estimator = Known(fails=interrupted)
    study = begin(estimator=estimator, trials=12)
    events: list[object] = []
    with pytest.raises(KeyboardInterrupt):
        study.run(on_event=events.append)
    assert isinstance(events[-1], StudyEnded)
    assert events[-1].kind == "interrupted"
    assert [trial.state for trial in study.trials] == ["complete"] * 5 + ["running"]
    study.run()
    whole = begin(trials=12)
    whole.run()
    assert story(study) == story(whole)


def test_sigkill_loses_no_finished_trial_and_repeats_none(tmp_path: Path) -> None:
    # Five kills at random moments of the work; the long form, with real training, is benchmarks/kill_and_resume.py.
    trials, folder, moment = 30, tmp_path / "run", random.Random(0)
    begin(folder).close()
    command = [sys.executable, str(Path(__file__).with_name("studies_stand_ins.py")), str(folder), str(trials)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as nursery:
        assert nursery.stdin is not None
        assert nursery.stdout is not None
        finished: list[Any] = []
        for _ in range(5):
            nursery.stdin.write("\n")
            said: list[str] = []
            events = moment.randint(2, 12)  # five are one trial
            while len(said) < events or not any(map(str.isdigit, said)):
                said.append(nursery.stdout.readline().strip())
            time.sleep(moment.uniform(0, 0.02))
            os.kill(int(next(filter(str.isdigit, said))), signal.SIGKILL)
            while not (line := nursery.stdout.readline().strip()).isdigit():  # events that were still on their way
                assert line != "StudyEnded"
            assert int(line) == signal.SIGKILL
            study = Study.open(folder, space=SPACE)
            now = [each for each in story(study) if each["state"] != "running"]
            study.close()
            assert now[: len(finished)] == finished
            finished = now
        nursery.stdin.close()
    assert 0 < len(finished) < trials
    last = Study.open(folder, space=SPACE, estimator=Known())
    last.run(trials)
    whole = begin()
    whole.run(trials)
    assert story(last) == story(whole)


def test_a_study_that_is_to_go_on_for_longer_keeps_how_far(tmp_path: Path) -> None:
    begin(tmp_path / "run", trials=6, confirm=0).run()
    longer = Study.open(tmp_path / "run", space=SPACE, estimator=Known())
    with pytest.raises(Cut):
        longer.run(20, on_event=cut_at(TrialEnded, 3))
    again = Study.open(tmp_path / "run", space=SPACE, estimator=Known())
    assert (again.manifest.trials, again.manifest.total) == (6, 20)
    assert not again.manifest.is_done(9)
    assert again.run(12).reason == "all 12 trials are done"  # for now
    assert again.run().reason == "all 20 trials are done"
    assert again.manifest.is_done(20)


def test_a_study_that_used_its_space_up_is_done(tmp_path: Path) -> None:
    few = Space("few", stages=Stage(mbconv, width=choice(8, 16), kernel=choice(3, 5)), head=Stage(conv_head, width=16))
    study = begin(tmp_path / "run", space=few, budget=None, strategy="random", trials=20)
    assert study.run().kind == "exhausted"
    assert Study.open(tmp_path / "run", space=few).manifest.is_done(4)
    assert not study.manifest.is_done(3)


@pytest.fixture
def in_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Moves this process to another time zone."""

    def move(zone: str) -> None:
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    yield move
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("ledger", ["sqlite", "journal"])
def test_sessions_in_different_time_zones_know_when_trials_ran(
    tmp_path: Path, ledger: str, in_zone: Callable[[str], None]
) -> None:
    in_zone("JST-9")
    study = begin(tmp_path / "run", trials=4, ledger=ledger)
    study.run(2)
    before = [(trial.started, trial.ended) for trial in study.trials]
    optunas = study.record.ledger._storage.get_all_trials(study.record.ledger._study_id)
    assert [each.datetime_start.astimezone() for each in optunas] == [started for started, _ in before]
    assert all(
        abs((each.datetime_complete.astimezone() - before[each.number][1]).total_seconds()) < 60 for each in optunas
    )
    study.close()
    in_zone("PST8")
    study = Study.open(tmp_path / "run", space=SPACE, estimator=Known())
    assert [(trial.started, trial.ended) for trial in study.trials] == before
    study.run()
    moments = [moment for trial in study.trials for moment in (trial.started, trial.ended)]
    assert moments == sorted(moments)
    assert {moment.utcoffset().total_seconds() / 3600 for moment in moments} == {-8}
    assert (moments[-1] - moments[0]).total_seconds() < 600
    assert "From start to finish, the search took" in cost_section(study)
    study.close()


def test_times_that_say_no_zone_are_local(tmp_path: Path, in_zone: Callable[[str], None]) -> None:
    in_zone("JST-9")
    study = begin(tmp_path / "run", trials=3)
    study.run(2)
    before = [(trial.started, trial.ended) for trial in study.trials]
    study.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "run" / "ledger.db")) as ledger, ledger:
        ledger.execute("DELETE FROM trial_user_attributes WHERE key = 'started'")
        ledger.execute("UPDATE trial_user_attributes SET value_json = replace(value_json, '+09:00', '')")
        for number, (started, _) in enumerate(before):
            local = str(started.replace(tzinfo=None))
            ledger.execute("UPDATE trials SET datetime_start = ? WHERE number = ?", (local, number))
    study = Study.open(tmp_path / "run", space=SPACE, estimator=Known())
    assert [(trial.started, trial.ended) for trial in study.trials] == before
    study.run()
    assert "From start to finish, the search took" in cost_section(study)
    study.close()
