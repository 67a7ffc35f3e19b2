"""What a study promises while it runs: nothing infeasible, nothing twice, failures told apart, an end with a reason."""

from __future__ import annotations

import csv
import json
import os
import signal
import sys
import time
import weakref
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from studies_stand_ins import BUDGET, SPACE, TASK, TWINS, Known, Shuffled, begin, noise, small_space, story

from estimators import Diverged, Estimate
from searchspaces import Architecture, Budget, Space, Stage, architecture_from_json, choice, conv_head, mbconv
from strategies import STRATEGIES, RandomSearch
from studies import (
    Event,
    LocalEngine,
    Study,
    StudyEnded,
    StudyStarted,
    Trial,
    TrialEnded,
    TrialReported,
    TrialStarted,
    results,
)
from studies.interrupts import CAME, Interrupt, answered, first_interrupt
from studies.ledger.database import OptunaLedger

OTHER = small_space("other")
ENGINES = {"local": LocalEngine(), "three ahead": Shuffled(3)}


class Malicious:
    """Proposes from the whole space, from another space, and what was proposed before; now and then something new."""

    def __init__(self, space: object) -> None:
        self._told: list[Architecture] = []

    def ask(self, rng: np.random.Generator) -> Architecture:
        whence = rng.random()
        if self._told and whence < 0.4:
            return self._told[int(rng.integers(len(self._told)))]
        return (OTHER if whence < 0.6 else SPACE).sample(rng)

    def tell(self, architecture: Architecture, outcome: object) -> None:
        self._told.append(architecture)


@pytest.mark.parametrize(
    ("strategy", "engine"),
    [*((name, "three ahead") for name in STRATEGIES), (Malicious, "three ahead"), (Malicious, "local")],
)
def test_no_infeasible_network_and_no_network_twice_is_trained(strategy: Any, engine: str) -> None:
    estimator = Known()
    study = begin(strategy=strategy, estimator=estimator, trials=30)
    study.run(engine=ENGINES[engine])
    assert len(estimator.estimated) == 30
    assert all(architecture in SPACE for architecture in estimator.estimated)
    assert all(BUDGET.admits(architecture.cost(TASK)) for architecture in estimator.estimated)
    assert len({architecture.network(TASK) for architecture in estimator.estimated}) == 30


def test_two_ways_to_one_network_are_one_network() -> None:
    def first(c_in: int, width: int, stride: int) -> Any:
        return mbconv(c_in, width, stride)

    def second(c_in: int, width: int, stride: int) -> Any:
        return mbconv(c_in, width, stride)

    twins = Space("twins", stages=Stage(choice(first, second), width=choice(8, 16)), head=Stage(conv_head, width=16))
    assert twins.size == 4
    estimator = Known()
    study = begin(space=twins, budget=None, strategy="random", estimator=estimator)
    ended = study.run()
    assert len({architecture.network(TASK) for architecture in estimator.estimated}) == len(estimator.estimated) == 2
    assert ended.kind in ("stuck", "exhausted")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_network_is_tried_once_where_several_choices_make_it(strategy: str) -> None:
    estimator = Known()
    study = begin(space=TWINS, budget=None, strategy=strategy, estimator=estimator, trials=24)
    assert TWINS.size == 24
    assert study.run().kind == "exhausted"
    assert (
        len({each.network(TASK) for each in TWINS.enumerate()}) == len(study.trials) == len(estimator.estimated) == 16
    )
    assert sum(len(trial.twins) for trial in study.trials) <= 8


def test_replicas_are_trained_when_asked_for() -> None:
    class Same:
        def ask(self, rng: np.random.Generator) -> Architecture:
            return only

        def tell(self, architecture: Architecture, outcome: object) -> None:
            pass

    only = SPACE.under(BUDGET, TASK).sample(np.random.default_rng(0))
    refused = begin(strategy=Same(), trials=3)
    ended = refused.run()
    assert (ended.kind, len(refused.trials)) == ("stuck", 1)
    assert "has already been tried" in ended.reason
    study = begin(strategy=Same(), trials=3, replicas=True)
    study.run()
    accuracies = [trial.accuracy for trial in study.trials]
    assert len(set(accuracies)) == 3  # each with a seed of its own


def test_a_strategy_that_has_nothing_that_fits_ends_the_study_and_says_why() -> None:
    """The message names what is bounded, and no other cost."""

    class TooLarge:
        def ask(self, rng: np.random.Generator) -> Architecture:
            return SPACE.architecture({decision.name: decision.options[-1] for decision in SPACE.decisions})

        def tell(self, architecture: Architecture, outcome: object) -> None:
            pass

    for budget, said in (
        ("400K", "macs=400K: it has 1,488,352 MACs"),
        ("params=3K", "params=3K: it has 23,986 parameters"),
        ("100K..400K,params=3K", "macs=100K..400K,params=3K: it has 1,488,352 MACs and 23,986 parameters"),
    ):
        estimator = Known()
        ended = begin(strategy=TooLarge(), estimator=estimator, budget=Budget.parse(budget)).run()
        assert ended.kind == "stuck"
        assert ended.reason.endswith(f"outside the budget {said}"), ended.reason
        assert not estimator.estimated


@pytest.mark.parametrize("engine", ENGINES)
def test_an_exhausted_space_ends_early_and_says_so(engine: str) -> None:
    tiny = Space(
        "tiny", stages=Stage(mbconv, width=choice(8, 16), kernel=choice(3, 5)), head=Stage(conv_head, width=16)
    )
    study = begin(space=tiny, budget=None, strategy="random", trials=50)
    ended = study.run(engine=ENGINES[engine])
    assert ended.kind == "exhausted"
    assert {trial.architecture for trial in study.trials} == set(tiny.enumerate())
    assert {trial.state for trial in study.trials} == {"complete"}


def some_fail(architecture: Architecture, seed: int) -> None:
    kind = int(noise(seed) * 10)
    if kind == 0:
        raise MemoryError
    if kind == 1:
        raise RuntimeError("CUDA error:\n  out of memory")
    if kind == 2:
        raise Diverged("the training loss was nan in epoch 1 of 3")
    if kind == 3:
        raise ValueError("3 is not\n4")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_failed_trial_has_its_reason_and_stops_nothing(engine: str) -> None:
    study = begin(estimator=Known(fails=some_fail), trials=40)
    assert study.run(engine=ENGINES[engine]).kind == "trials"
    for trial in study.trials:
        expected = {
            0: "out of memory",
            1: "out of memory: CUDA error: out of memory",
            2: "diverged: the training loss was nan in epoch 1 of 3",
            3: "ValueError: 3 is not 4",
        }.get(int(noise(study.seed_of(trial.number)) * 10))
        assert (trial.state, trial.reason) == (("failed", expected) if expected else ("complete", None))
        assert (trial.accuracy is None) == (trial.estimate is None) == (expected is not None)
        assert ("some_fail" in trial.details.get("traceback", "")) == (
            trial.state == "failed" and "div" not in str(expected)
        )
    assert {trial.reason for trial in study.trials if trial.reason} >= {"out of memory", "ValueError: 3 is not 4"}


def test_when_all_fail_alike_the_study_stops_and_says_why() -> None:
    def broken(architecture: Architecture, seed: int) -> None:
        raise RuntimeError(f"no kernel for seed {seed}")

    study = begin(estimator=Known(fails=broken))
    ended = study.run()
    assert (ended.kind, len(study.trials)) == ("failing", 5)
    assert ended.reason.startswith("all 5 trials failed in the same way: RuntimeError: no kernel for seed")
    cut = begin(estimator=Known(fails=broken))
    cut.run(3)
    assert cut.run() == ended
    assert story(cut) == story(study)


def test_where_one_trial_ends_well_the_failures_of_all_others_do_not_stop_it() -> None:
    def broken(architecture: Architecture, seed: int) -> None:
        if seed != study.seed_of(3):
            raise RuntimeError("no kernel")

    study = begin(estimator=Known(fails=broken), trials=12)
    assert study.run().kind == "trials"
    assert [trial.number for trial in study.trials if trial.state != "failed"] == [3]


def test_failures_of_two_kinds_do_not_stop_it() -> None:
    def broken(architecture: Architecture, seed: int) -> None:
        raise (RuntimeError if noise(seed) < 0.5 else ValueError)("no")

    assert begin(estimator=Known(fails=broken), trials=12).run().kind == "trials"


@pytest.mark.parametrize(
    ("given", "reason"),
    [(0.5, "TypeError: estimate() must return an Estimate, got float"), (None, "TypeError: estimate() must return")],
)
def test_an_estimator_that_returns_something_else_fails(given: Any, reason: str) -> None:
    class Odd(Known):
        def estimate(self, architecture: Architecture, context: Any) -> Any:
            return given

    study = begin(estimator=Odd(), trials=1)
    study.run()
    assert (study.trials[0].reason or "").startswith(reason)


@pytest.mark.parametrize(("step", "accuracy"), [(1, float("nan")), (1, 1.5), (0, 0.5)])
def test_a_report_that_makes_no_sense_fails_the_trial(step: int, accuracy: float) -> None:
    class Odd(Known):
        def estimate(self, architecture: Architecture, context: Any) -> Estimate:
            context.report(step, accuracy)
            return Estimate(0.5, 0.1)

    study = begin(estimator=Odd(), trials=1)
    study.run()
    assert (study.trials[0].reason or "").startswith("ValueError: report(step, accuracy) needs")


def test_an_estimator_that_only_gives_a_curve_has_one() -> None:
    class Silent(Known):
        def estimate(self, architecture: Architecture, context: Any) -> Estimate:
            return Estimate(0.5, 0.1, (0.25, 0.5), {"array": np.float64(3.0), "odd": {1, 2}.__class__})

    study = begin(estimator=Silent(), trials=1, pruner="median")
    study.run()
    assert study.trials[0].reports == ((1, 0.25), (2, 0.5))
    details = {"array": 3.0, "odd": "<class 'set'>"}  # as JSON holds them
    assert study.best.estimate == Estimate(0.5, 0.1, (0.25, 0.5), details)


def test_no_trial_starts_after_the_time_is_over() -> None:
    study = begin(estimator=Known(seconds=0.02), trials=None)
    began = time.monotonic()
    ended = study.run(limit_s=0.3)
    assert ended == StudyEnded("time", "the time limit of 0.3 seconds is reached")
    assert 0.3 <= time.monotonic() - began < 3
    assert study.trials
    assert {trial.state for trial in study.trials} == {"complete"}


@pytest.mark.parametrize("engine", ENGINES)
def test_events_tell_the_whole_story_in_order(engine: str) -> None:
    events: list[Event] = []
    study = begin(trials=9, pruner="asha", estimator=Known(fails=some_fail))
    ended = study.run(engine=ENGINES[engine], on_event=events.append)
    assert events[0] == StudyStarted(ended=0, again=0, trials=9, limit_s=None)
    assert events[-1] == ended
    assert [event.trial.number for event in events if isinstance(event, TrialStarted)] == list(range(9))
    ends = [event.trial for event in events if isinstance(event, TrialEnded)]
    assert [trial.rank for trial in ends] == list(range(9))
    assert sorted(ends, key=lambda trial: trial.number) == study.trials
    for trial in study.trials:
        reported = [event for event in events if isinstance(event, TrialReported) and event.number == trial.number]
        assert tuple((event.step, event.accuracy) for event in reported) == trial.reports
        assert any(event.stop for event in reported[:2]) == (trial.state == "pruned")


def test_the_seed_alone_decides() -> None:
    def proposals(seed: int) -> Iterator[str]:
        np.random.seed(seed)
        study = begin(seed=5)
        study.run(20)
        return (trial.architecture.to_json() for trial in study.trials)

    assert list(proposals(0)) == list(proposals(1))
    one, other = begin(seed=5), begin(seed=6)
    one.run(10), other.run(10)
    assert [trial.architecture for trial in one.trials] != [trial.architecture for trial in other.trials]
    seeds = {study.seed_of(number) for study in (one, other) for number in range(50)}
    assert len(seeds) == 100


def test_the_best_and_the_front() -> None:
    study = begin(trials=30)
    study.run()
    complete = [trial for trial in study.trials if trial.state == "complete"]
    assert study.best.accuracy == max(trial.accuracy or 0 for trial in complete)
    for x in ("macs", "params", "peak_activation_bytes"):
        front = study.pareto(x)
        points = [(getattr(trial.cost, x), trial.accuracy or 0.0) for trial in front]
        assert all(cheap < dear and low < high for (cheap, low), (dear, high) in pairwise(points))
        for trial in complete:
            cost, accuracy = getattr(trial.cost, x), trial.accuracy or 0.0
            assert any(c <= cost and a >= accuracy for c, a in points)
            assert trial in front or any(c <= cost and a >= accuracy and (c, a) != (cost, accuracy) for c, a in points)


def test_a_study_without_a_budget_searches_the_whole_space() -> None:
    study = begin(budget=None, trials=20)
    study.run()
    assert any(not Budget.parse("400K").admits(trial.cost) for trial in study.trials)


def test_a_strategy_object_is_copied_and_not_changed() -> None:
    mine = RandomSearch(SPACE.under(BUDGET, TASK))
    one, other = begin(strategy=mine), begin(strategy=mine)
    one.run(5), other.run(5)
    assert story(one) == story(other)


def test_importing_studies_is_light() -> None:
    import subprocess
    import sys

    heavy = {"optuna", "pandas", "plotly", "sqlalchemy", "torch"}
    said = subprocess.run(
        [sys.executable, "-c", f"import sys, studies; print(sorted({heavy} & set(sys.modules)))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == "[]"


@pytest.mark.parametrize("more", [{}, {"estimates": "score, not accuracy"}])
def test_optuna_dashboard_names_the_objective(tmp_path: Any, more: dict[str, str]) -> None:
    import io

    from optuna_dashboard._app import create_app

    from studies.ledger.database import storage_of

    class Described(Known):
        def describe(self) -> dict[str, Any]:
            return {**super().describe(), **more}

    begin(tmp_path / "run", trials=1, estimator=Described()).close()
    asked = {"REQUEST_METHOD": "GET", "PATH_INFO": "/api/studies/1", "QUERY_STRING": "after=0", "SERVER_NAME": "here"}
    asked |= {"wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(), "wsgi.errors": io.StringIO()}
    said = b"".join(create_app(storage_of("sqlite", tmp_path / "run"))(asked, lambda *_: None))
    assert json.loads(said)["objective_names"] == ["score" if more else "accuracy"]


def test_optuna_reads_the_ledger(tmp_path: Any) -> None:
    import optuna

    study = begin(tmp_path / "run", trials=12, pruner="asha", estimator=Known(fails=some_fail))
    study.run()
    study.close()
    theirs = optuna.load_study(study_name="run", storage=f"sqlite:///{tmp_path / 'run' / 'ledger.db'}")
    assert theirs.metric_names == ["accuracy"]
    assert theirs.direction == optuna.study.StudyDirection.MAXIMIZE
    assert theirs.best_value == study.best.accuracy
    states = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}
    for our, their in zip(study.trials, theirs.trials, strict=True):
        assert their.state.name == states[our.state]
        assert their.value == our.accuracy
        assert their.params == our.architecture.choices
        assert their.user_attrs["macs"] == our.cost.macs
        assert architecture_from_json(their.user_attrs["architecture"], SPACE) == our.architecture
        assert tuple(their.intermediate_values.items()) == our.reports
    assert len(theirs.trials_dataframe()) == 12
    assert optuna.visualization.plot_optimization_history(theirs).data
    assert optuna.visualization.plot_intermediate_values(theirs).data
    assert isinstance(Study.open(tmp_path / "run", space=SPACE).trials[0].reports, tuple)


def test_the_dashboard_reads_the_ledger(tmp_path: Any) -> None:
    dashboard = pytest.importorskip("optuna_dashboard")
    import io
    import json

    from optuna.storages import RDBStorage

    study = begin(tmp_path / "run", trials=2)
    study.run()
    study.close()
    serve = dashboard.wsgi(RDBStorage(f"sqlite:///{tmp_path / 'run' / 'ledger.db'}"))
    request = {"REQUEST_METHOD": "GET", "PATH_INFO": "/api/studies/1", "QUERY_STRING": "", "SERVER_NAME": "here"}
    request |= {
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
    }
    answer = json.loads(b"".join(serve(request, lambda status, headers, error=None: None)))
    assert answer["name"] == "run"
    assert [trial["values"] for trial in answer["trials"]] == [[trial.accuracy] for trial in study.trials]


def test_a_ledger_is_written_as_optuna_itself_would_write_it(tmp_path: Any) -> None:
    unlike = {"ended": None, "details": None, "seconds": None}

    def kept(folder: Any, by_optuna: bool) -> list[Any]:
        study = begin(folder, trials=14, estimator=Known(some_fail), pruner="asha")
        if by_optuna:
            study.record.ledger._rows = None
        study.run()
        storage = study.record.ledger._storage
        found = storage.get_all_trials(study.record.ledger._study_id)
        study.close()
        return [
            (
                each.number, each.state, each.values, each.params, each.distributions, each.intermediate_values,
                {**each.user_attrs, "started": None, "outcome": {**each.user_attrs["outcome"], **unlike}},
                each.datetime_start < each.datetime_complete,
            )
            for each in found
        ]  # fmt: skip

    ours = kept(tmp_path / "ours", by_optuna=False)
    assert {state.name for _, state, *_ in ours} == {"COMPLETE", "PRUNED", "FAIL"}
    assert ours == kept(tmp_path / "optuna", by_optuna=True)


@pytest.fixture
def signals_reach_us() -> Iterator[None]:
    """Also where the tests run in the background, in which a shell ignores Ctrl-C."""
    before = {each: signal.signal(each, signal.default_int_handler) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        CAME.clear()  # else later tests would see it in their exit codes


@pytest.mark.usefixtures("signals_reach_us")
@pytest.mark.parametrize("moment", ["started", "ended"])
def test_results_are_those_of_the_ledger_where_ctrl_c_came_between_the_two(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = getattr(OptunaLedger, moment)

    def interrupted(ledger: OptunaLedger, trial: Trial, *rest: Any) -> None:
        write(ledger, trial, *rest)
        if trial.number == 2:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(OptunaLedger, moment, interrupted)
    events: list[Event] = []
    study = begin(tmp_path / "run", trials=9)
    with pytest.raises(KeyboardInterrupt):
        study.run(on_event=events.append)
    known = [(trial.number, trial.state) for trial in Study.open(tmp_path / "run", space=SPACE).trials]
    assert [(trial.number, trial.state) for trial in study.trials] == known
    assert len(known) == 3
    rows = list(csv.DictReader((tmp_path / "run" / "trials.csv").read_text().splitlines()))
    last_state = "complete" if moment == "ended" else "interrupted"
    assert [row["state"] for row in rows] == ["complete", "complete", last_state]
    last = events[-1]
    assert isinstance(last, StudyEnded)
    assert f"after {3 if moment == 'ended' else 2} trials" in last.reason


class Gone:
    """Something whose weak references are told when it is gone."""


def lose_a_signal() -> None:
    """Ask for an end where Python drops what is raised."""

    def told(_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    gone = Gone()
    reference = weakref.ref(gone, told)
    del gone
    assert reference() is None


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The exceptions that Python drops."""
    dropped: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: dropped.append(told.exc_type))
    return dropped


@pytest.mark.usefixtures("signals_reach_us")
@pytest.mark.parametrize("moment", [TrialStarted, TrialReported, TrialEnded])
def test_a_study_ends_although_the_interrupt_was_lost(moment: type[object], lost: list[Any], tmp_path: Path) -> None:
    events: list[object] = []

    def losing(event: object) -> None:
        events.append(event)
        if isinstance(event, moment) and not lost:
            lose_a_signal()

    study = begin(tmp_path / "run", trials=9)
    with pytest.raises(KeyboardInterrupt):
        study.run(on_event=losing)
    assert lost == [KeyboardInterrupt]
    assert sum(isinstance(each, TrialStarted) for each in events) == 1
    assert isinstance(events[-1], StudyEnded)
    assert events[-1].kind == "interrupted"


@pytest.mark.usefixtures("signals_reach_us")
def test_a_further_signal_interrupts_where_the_first_was_lost_and_not_what_ends_in_order(lost: list[Any]) -> None:
    answers, ended = list[str](), []

    def work(interrupt: Interrupt) -> None:
        with answered(answers.append), first_interrupt(interrupt.ask, "writing"):
            lose_a_signal()
            ended.append("nothing")
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                ended.append("the work")
            finally:
                os.kill(os.getpid(), signal.SIGTERM)
                interrupt.check()
                ended.append("in order")

    try:
        raise KeyboardInterrupt  # an earlier one, which is over
    except KeyboardInterrupt:
        with pytest.raises(KeyboardInterrupt):
            work(Interrupt())
    assert lost == [KeyboardInterrupt]
    assert ended == ["nothing", "in order"]
    assert answers == ["writing"]


@pytest.mark.usefixtures("signals_reach_us")
def test_a_second_signal_of_a_scheduler_does_not_end_the_writing_of_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(*given: Any) -> str:
        os.kill(os.getpid(), signal.SIGTERM)
        return table(*given)

    def first(event: object) -> None:
        if isinstance(event, TrialEnded):
            os.kill(os.getpid(), signal.SIGTERM)

    table = results.table
    monkeypatch.setattr(results, "table", ended)
    with pytest.raises(KeyboardInterrupt):
        begin(tmp_path / "run", trials=9).run(on_event=first)
    assert (tmp_path / "run" / "trials.csv").exists()
    assert (tmp_path / "run" / "best.json").exists()
