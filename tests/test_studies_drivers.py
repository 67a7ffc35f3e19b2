"""Several drivers on one study in PostgreSQL: no trial is given to two, none is lost, a dead one's are taken over.

Run as a script, `python test_studies_drivers.py FOLDER`, it starts a driver for each line that it reads, and says what
happens: others kill it.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from latency_stand_ins import made_up
from postgresql_server import programs, server
from studies_stand_ins import SPACE, TASK, Known, Shuffled, begin, story
from test_studies_waves import outcomes

from nas.listing import runs_document
from searchspaces import Architecture, Budget, UserError
from strategies import make_strategy
from studies import Study, StudyEnded, TrialEnded, TrialReported, TrialStarted
from studies.ledger import OptunaLedger
from studies.ledger.drivers import BOUNDS
from studies.record import replay
from studies.trackers import Trackers

TRIALS = 40
PACE_S = 0.02  # before each of three reports


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Of a database."""
    pytest.importorskip("psycopg", reason="needs psycopg: pip install 'nas-toolkit[postgresql]'")
    if programs() is None:
        pytest.skip("needs a PostgreSQL server, such as Debian's package postgresql")
    with server() as found:
        yield found


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Of a run, whose name is no other's in the database."""
    return tmp_path / request.node.name


def driver(folder: str, url: str) -> None:
    """Work on the study until it ends; one line for each event, with the process that ran the trial."""
    me = str(os.getpid())

    def say(event: Any) -> None:
        if isinstance(event, TrialStarted | TrialEnded):
            of = event.trial.driver.split(":")[1]
            if of == me:
                print(type(event).__name__, event.trial.number, me, flush=True)

    study = Study.open(folder, space=SPACE, estimator=Known(seconds=PACE_S), ledger=url)
    print(type(study.run(on_event=say)).__name__, 0, me, flush=True)


class Nursery:
    """Drivers one after the other, each a fork of a process that has loaded all there is to load."""

    def __init__(self, folder: Path, url: str) -> None:
        command = [sys.executable, __file__, str(folder)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env={**os.environ, "URL": url}
        )
        self.said: list[tuple[str, int, str]] = []
        self.killed: list[str] = []

    def begin(self) -> None:
        """Begin a driver."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")

    def listen(self, until: Callable[[tuple[str, int, str]], bool]) -> tuple[str, int, str]:
        """Hear lines until there is one such."""
        assert self.process.stdout is not None
        while True:
            what, number, who = self.process.stdout.readline().split()
            self.said.append((what, int(number), who))
            if until(self.said[-1]):
                return self.said[-1]

    def kill(self) -> None:
        """Kill the driver that spoke last."""
        who = self.said[-1][2]
        os.kill(int(who), signal.SIGKILL)
        assert self.listen(lambda line: line[0] in ("ended", "StudyEnded")) == ("ended", -signal.SIGKILL, who)
        self.killed.append(who)

    def finish(self) -> None:
        """Hear the last driver out."""
        assert self.process.stdin is not None
        self.listen(lambda line: line[0] == "StudyEnded")
        self.process.communicate()


def test_two_drivers_killed_at_random_finish_all_trials_and_train_none_twice(folder: Path, url: str) -> None:
    moment = random.Random(0)
    begin(folder, ledger=url, trials=TRIALS).close()
    drivers = [Nursery(folder, url), Nursery(folder, url)]
    for each in drivers:
        each.listen(lambda line: line[0] == "ready")
    for each in drivers:
        each.begin()
    for each in drivers:
        starts = moment.randint(3, 6)
        for _ in range(starts):
            each.listen(lambda line: line[0] == "TrialStarted")
        time.sleep(moment.uniform(0, 3 * PACE_S))
        each.kill()
        each.begin()
    for each in drivers:
        each.finish()
    study = Study.open(folder, space=SPACE, ledger=url)
    said = [line for each in drivers for line in each.said]
    killed = [who for each in drivers for who in each.killed]

    assert [trial.state for trial in study.trials] == ["complete"] * TRIALS
    assert len({trial.architecture.network(study.task) for trial in study.trials}) == TRIALS
    assert sorted(trial.rank for trial in study.trials if trial.rank is not None) == list(range(TRIALS))
    starts = Counter(number for what, number, _ in said if what == "TrialStarted")
    ends = Counter(number for what, number, _ in said if what == "TrialEnded")
    assert set(starts) == set(range(TRIALS))
    assert set(ends.values()) == {1}
    for number, count in starts.items():  # who was not the last to start it was killed over it
        runners = [who for what, each, who in said if (what, each) == ("TrialStarted", number)]
        assert count == 1 or len(set(runners) & set(killed)) >= count - 1
    assert sum(starts.values()) <= TRIALS + len(killed)
    whose = Counter(trial.driver for trial in study.trials)
    assert len(whose) == 4  # two drivers, each begun twice
    assert_proposals_follow(study)
    study.close()


def assert_proposals_follow(study: Study) -> None:
    """Every proposal is what the strategy says to all that had happened by then, whoever asked it."""
    manifest = study.manifest
    strategy = make_strategy(manifest.strategy["name"], study.feasible, 1, **manifest.strategy["resolved"])
    for trial, outcome in replay(study.trials):
        if trial.confirms is not None:
            continue
        if outcome.state == "running":
            asked = strategy.ask(np.random.default_rng([manifest.seed, trial.number]))
            assert asked.network(study.task) == trial.architecture.network(study.task), trial.number
        strategy.tell(trial.architecture, outcome)


class Cut(BaseException):
    """Stands for the death of the driver: nothing catches it."""


def cut_at(wanted: type[object], count: int) -> Any:
    """An observer that kills the run at its `count`-th event of a kind."""
    left = count

    def watch(event: object) -> None:
        nonlocal left
        left -= isinstance(event, wanted)
        if left == 0:
            raise Cut

    return watch


@contextlib.contextmanager
def aside(run: Callable[[], Any]) -> Iterator[list[Any]]:
    """Another driver, in a thread; what it returned or raised is there at the end."""
    came: list[Any] = []

    def work() -> None:
        try:
            came.append(run())
        except BaseException as error:
            came.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield came
    finally:
        thread.join(300)
        assert not thread.is_alive()


@pytest.mark.parametrize("engine", [None, Shuffled(4)])
def test_alone_it_is_cut_and_resumed_as_anywhere(folder: Path, url: str, engine: Any) -> None:
    settings = {"pruner": "asha", "trials": 16, "confirm": 1}
    whole = begin(**settings)
    whole.run(engine=engine)
    broken = begin(folder, ledger=url, **settings)
    for kind, count in [(TrialStarted, 1), (TrialEnded, 5), (TrialReported, 8), (TrialStarted, 3)]:
        with pytest.raises(Cut):
            broken.run(engine=engine, on_event=cut_at(kind, count))
        broken.close()
        broken = Study.open(folder, space=SPACE, estimator=Known(), ledger=url)
    broken.run(engine=engine)
    assert story(broken) == story(whole)
    broken.close()


def test_a_driver_takes_over_what_a_dead_one_left_and_nothing_of_a_living_one(folder: Path, url: str) -> None:
    begin(folder, ledger=url, trials=6).close()
    there, go_on = threading.Event(), threading.Event()

    def wait(architecture: Architecture, seed: int) -> None:
        there.set()
        assert go_on.wait(300)

    slow = Study.open(folder, space=SPACE, estimator=Known(fails=wait), ledger=url)
    with aside(slow.run) as came:  # has trial 0
        assert there.wait(300)
        dead = Study.open(folder, space=SPACE, estimator=Known(), ledger=url)
        with pytest.raises(Cut):  # leaves trial 1
            dead.run(on_event=cut_at(TrialReported, 1))
        dead.close()
        events: list[Any] = []
        trackers = Trackers(folder)  # is told of ends whose starts were elsewhere

        def hear(event: Any) -> None:
            events.append(event)
            trackers(event)
            if isinstance(event, TrialEnded) and event.trial.number == 5:
                go_on.set()  # now there is nothing left but trial 0, elsewhere

        second = Study.open(folder, space=SPACE, estimator=Known(), ledger=url)
        ended = second.run(on_event=hear)
        assert [event.trial.number for event in events if isinstance(event, TrialStarted)] == [1, 2, 3, 4, 5]
        assert [event.trial.number for event in events if isinstance(event, TrialEnded)] == [1, 2, 3, 4, 5, 0]
    assert came == [ended] == [StudyEnded("trials", "all 6 trials are done")]
    assert len({trial.driver for trial in second.trials}) == 2
    slow.close()
    assert_proposals_follow(second)
    second.close()


def test_leaders_are_confirmed_when_the_proposals_of_all_drivers_have_ended(folder: Path, url: str) -> None:
    begin(folder, ledger=url, trials=14, confirm=2, pruner="median").close()
    studies = [Study.open(folder, space=SPACE, estimator=Known(seconds=0.002), ledger=url) for _ in range(2)]
    with aside(lambda: studies[0].run(engine=Shuffled(2))) as came:
        ended = studies[1].run(engine=Shuffled(2))
    assert came == [ended] == [StudyEnded("trials", "all 14 trials are done")]
    for study in studies:
        study.record.load()
        assert [len(each.accuracies) for each in study.confirmed] == [4, 4]
        last = max(trial.rank for trial in study.trials if trial.rank is not None and trial.confirms is None)
        assert all(trial.told > last for trial in study.trials if trial.confirms is not None)
        assert_proposals_follow(study)
        study.close()
    assert story(studies[0]) == story(studies[1])


@pytest.mark.parametrize("wave", [None, 4])
def test_two_drivers_go_on_after_confirmations(folder: Path, url: str, wave: int | None) -> None:
    one = begin(trials=9, confirm=1, wave=wave)
    one.run()
    one.run(18)
    first = begin(folder, ledger=url, trials=9, confirm=1, wave=wave)
    first.run()
    first.close()
    studies = [Study.open(folder, space=SPACE, estimator=Known(seconds=0.002), ledger=url) for _ in range(2)]
    with aside(lambda: studies[0].run(18, engine=Shuffled(2))) as came:
        ended = studies[1].run(18, engine=Shuffled(2))
    assert came == [ended] == [StudyEnded("trials", "all 18 trials are done")]
    for study in studies:
        study.record.load()
        if wave is None:
            assert_proposals_follow(study)
        else:
            assert outcomes(study) == outcomes(one)
        study.close()
    assert story(studies[0]) == story(studies[1])


def test_in_waves_two_drivers_make_the_proposals_that_one_makes(folder: Path, url: str) -> None:
    one = begin(wave=4, trials=22, pruner="asha")
    one.run()
    begin(folder, ledger=url, wave=4, trials=22, pruner="asha").close()
    studies = [
        Study.open(folder, space=SPACE, estimator=Known(seconds=seconds), ledger=url) for seconds in (0.0, 0.005)
    ]
    with aside(studies[0].run) as came:
        ended = studies[1].run(engine=Shuffled(2))
    assert came == [ended]
    for study in studies:
        study.record.load()
        assert outcomes(study) == outcomes(one)
        study.close()


def test_all_drivers_stop_where_all_trials_fail_alike(folder: Path, url: str) -> None:
    def fails(architecture: Architecture, seed: int) -> None:
        raise ValueError("no such luck")

    begin(folder, ledger=url, trials=40).close()
    studies = [Study.open(folder, space=SPACE, estimator=Known(fails), ledger=url) for _ in range(2)]
    with aside(studies[0].run) as came:
        ended = studies[1].run()
    assert came == [ended] == [StudyEnded("failing", "all 5 trials failed in the same way: ValueError: no such luck")]
    for study in studies:
        study.record.load()
        assert len(study.trials) <= 6
        study.close()


def test_a_driver_that_hangs_within_a_transaction_does_not_stop_the_others(
    folder: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy import text

    monkeypatch.setitem(BOUNDS, "idle_in_transaction_session_timeout", "1s")
    with contextlib.closing(begin(folder, ledger=url, trials=4)) as study:
        engine = study.record.ledger._storage.engine
        with engine.connect() as hanging:
            bounds = {name: hanging.scalar(text(f"SHOW {name}")) for name in BOUNDS if "tcp" not in name}
            assert bounds == {"lock_timeout": "5min", "idle_in_transaction_session_timeout": "1s"}
            hanging.execute(text("SELECT * FROM studies FOR UPDATE"))
            study.run()
            hanging.invalidate()
        assert [trial.state for trial in study.trials] == ["complete"] * 4


def hang_up(url: str) -> None:
    """Break the connections that hold the locks of drivers."""
    import psycopg

    with psycopg.connect(url) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")


def test_a_driver_whose_connection_breaks_ends_and_says_so(folder: Path, url: str) -> None:
    study = begin(folder, ledger=url, trials=8)

    def watch(event: object) -> None:
        if isinstance(event, TrialReported) and event.number == 3:
            hang_up(url)

    with pytest.raises(UserError, match=r"the connection broke, .* resume to continue") as caught:
        study.run(on_event=watch)
    assert "\n" not in str(caught.value)
    assert url.split(":")[2].split("@")[0] not in str(caught.value)  # the password
    study.close()
    again = Study.open(folder, space=SPACE, estimator=Known(), ledger=url)
    assert [trial.state for trial in again.trials] == ["complete"] * 3 + ["running"]
    again.run()
    whole = begin(trials=8)
    whole.run()
    assert story(again) == story(whole)
    again.close()


@pytest.mark.parametrize(
    ("what", "width", "others"), [("start", 1, TrialStarted), ("start", 2, TrialEnded), ("end", 2, TrialEnded)]
)
def test_a_driver_that_loses_its_turn_while_it_has_it_writes_nothing(
    folder: Path, url: str, what: str, width: int, others: type[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = begin(folder, ledger=url, trials=8)
    write, calls, left = getattr(study.record, what), itertools.count(1), list[Any]()

    def late(*given: Any, **named: Any) -> Any:
        if next(calls) == 3:
            hang_up(url)
            other = Study.open(folder, space=SPACE, estimator=Known(), ledger=url)
            with contextlib.closing(other), pytest.raises(Cut):
                other.run(on_event=cut_at(others, 1))
            left.extend(story(other))
        return write(*given, **named)

    monkeypatch.setattr(study.record, what, late)
    with pytest.raises(UserError, match=r"the connection broke, .* resume to continue"):
        study.run(engine=Shuffled(width))
    study.close()
    again = Study.open(folder, space=SPACE, estimator=Known(), ledger=url)
    assert story(again) == left
    again.run()
    assert len({trial.architecture.network(again.task) for trial in again.trials}) == 8
    assert_proposals_follow(again)
    again.close()


def test_a_copy_of_the_manifest_is_a_run_folder_too_and_no_password_is_in_it(folder: Path, url: str) -> None:
    secret = url.split(":")[2].split("@")[0]
    begin(folder, ledger=url, trials=4).close()
    there = folder.parent / "there" / "copied"
    there.mkdir(parents=True)
    manifest = (folder / "study.json").read_text()
    assert secret not in manifest
    (there / "study.json").write_text(manifest)
    with pytest.raises(UserError, match=r"the URL again: --ledger postgresql://nas:\*\*\*@"):
        Study.open(there, space=SPACE)
    study = Study.open(there, space=SPACE, estimator=Known(), ledger=url)
    study.run()
    assert (there / "best.json").exists()
    with contextlib.closing(Study.open(folder, space=SPACE, ledger=url)) as same:
        assert story(study) == story(same)
    study.close()


def test_a_url_without_its_password_is_completed_and_kept_as_one_with_it(
    folder: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the command of a report, which is typed where `PGPASSWORD` is set."""
    secret = url.split(":")[2].split("@")[0]
    hidden = url.replace(f":{secret}@", ":***@")
    begin(folder, ledger=url, trials=2).close()
    monkeypatch.setenv("PGPASSWORD", secret)
    with contextlib.closing(begin(folder, ledger=hidden, trials=2)) as again:
        again.run()
    with contextlib.closing(begin(folder.with_name(f"{folder.name}-2"), ledger=hidden, trials=2)) as other:
        assert other.manifest.ledger == again.manifest.ledger
        assert "nas:***@" in other.manifest.ledger
    begin(folder.with_name(f"{folder.name}-2"), ledger=url, trials=2).close()


def test_runs_are_listed_as_running_while_any_driver_works(
    folder: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", url.split(":")[2].split("@")[0])
    settings: dict[str, Any] = {"space": "mbconv", "task": None, "budget": Budget.parse("400M"), "strategy": "random"}

    def listed() -> tuple[str, int]:
        (row,) = runs_document(folder.parent)["runs"]
        return row["state"], row["trials"]

    def watch(event: object) -> None:
        if isinstance(event, TrialEnded):
            assert listed() == ("running", event.trial.number + 1)

    with contextlib.closing(begin(folder, ledger=url, trials=3, **settings)) as study:
        with pytest.raises(Cut):
            study.run(on_event=cut_at(TrialEnded, 1))
        assert listed() == ("unfinished", 1)
        study.run(on_event=watch)
    assert listed() == ("done", 3)


def test_a_server_that_does_not_answer_does_not_hold_up_the_list_of_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("psycopg", reason="needs psycopg: pip install 'nas-toolkit[postgresql]'")
    monkeypatch.setattr("nas.listing.CONNECT_S", 2)
    begin(tmp_path / "run", space="mbconv", budget=None).close()
    kept = tmp_path / "run" / "study.json"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://nas@127.0.0.1:{silent.getsockname()[1]}/postgres"
        kept.write_text(json.dumps({**json.loads(kept.read_text()), "ledger": url}))
        began = time.monotonic()
        (row,) = runs_document(tmp_path)["runs"]
    assert row["state"] == "unreadable"
    assert "timeout" in row["reason"]
    assert time.monotonic() - began < 60  # psycopg waits for 130 s


def test_a_lost_folder_is_made_again_by_the_same_settings(folder: Path, url: str) -> None:
    settings: dict[str, Any] = {"latency": made_up(SPACE, TASK), "confirm": 1}
    whole = begin(trials=8, **settings)
    whole.run()
    with contextlib.closing(begin(folder, ledger=url, trials=8, **settings)) as study:
        study.run(5)
    before = {name: (folder / name).read_text() for name in ("study.json", "latency.json")}
    shutil.rmtree(folder)
    with pytest.raises(UserError, match=r"seed was 3 when the study began and is 4 now") as caught:
        begin(folder, ledger=url, seed=4, **settings)
    assert url.split(":")[2].split("@")[0] not in str(caught.value)  # the password
    assert not folder.exists()
    with contextlib.closing(begin(folder, ledger=url, trials=20, **settings)) as study:  # goes by what was planned
        study.run(8)
        assert story(study) == story(whole)
    assert {name: (folder / name).read_text() for name in before} == before


def test_a_process_killed_as_it_makes_the_folder_takes_no_name_away(
    folder: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*paths: Path) -> None:
        raise Cut

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", killed)
        with pytest.raises(Cut):
            begin(folder, ledger=url, trials=2)
    assert not folder.exists()
    with contextlib.closing(begin(folder, ledger=url, trials=2)) as study:
        study.run()


def test_a_study_of_the_same_name_that_keeps_no_manifest_is_left_alone(folder: Path, url: str) -> None:
    OptunaLedger.create(url, folder, folder.name, {}).close()
    with pytest.raises(UserError, match=r"already holds a study named .*; choose another name"):
        begin(folder, ledger=url)
    assert not folder.exists()


if __name__ == "__main__":
    begin(trials=1).run()  # loads all there is to load, once for all that are to be killed
    import psycopg  # noqa: F401

    print("ready", 0, os.getpid(), flush=True)
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            driver(sys.argv[1], os.environ["URL"])
            os._exit(0)
        print("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), child, flush=True)
