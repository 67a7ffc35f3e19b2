"""The Ray engine means the same as one process, and bad luck on workers is a trial's, never the study's."""

from __future__ import annotations

import contextlib
import glob
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import test_studies_checkpoints as checkpoints
from studies_stand_ins import Known, begin, story
from test_studies_inheritance import heirs, whole_story
from test_studies_laws import some_fail
from test_studies_waves import outcomes

from estimators import Estimate, Estimator, TrialContext
from searchspaces import Architecture, Budget, Space, Stage, Task, UserError, choice, conv_head, load_space, mbconv
from strategies import STRATEGIES
from studies import Ending, Event, Job, Study, TrialEnded, TrialReported, TrialStarted, inheritance
from studies.engine import Report, nothing
from studies.ray.cluster import room
from studies.ray.engine import RayEngine, _Desk, what_died
from studies.ray.lookout import head_watched

ray = pytest.importorskip("ray", reason="needs Ray: pip install 'ray[tune]'")
pytest.importorskip("ray.tune", reason="needs Ray Tune: pip install 'ray[tune]'")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Ray in this machine, as the engine starts it, for two trials of one core at once."""
    from studies.ray.cluster import connected, settings_of_ray

    if (os.cpu_count() or 1) < 2:
        pytest.skip("needs two cores")
    with settings_of_ray(), connected(None) as own:
        assert own
        yield ray


SMALL = Task(image_size=32, channels=3, classes=10)


def one_at_a_time() -> RayEngine:
    return RayEngine(workers=1)


@dataclass
class Once:
    """Does what it is told where no file is yet, and makes the file."""

    file: Path
    does: Callable[[], None]

    def __call__(self) -> None:
        with contextlib.suppress(FileExistsError):
            self.file.touch(exist_ok=False)
            self.does()


class Unlucky(Known):
    """Something happens to its worker after the second report of some trials."""

    def __init__(self, happens: Callable[[int], None]) -> None:
        super().__init__()
        self._happens = happens

    def estimate(self, architecture: Architecture, context: TrialContext) -> Estimate:
        def report(step: int, accuracy: float) -> bool:
            goes_on = context.report(step, accuracy)
            if step == 2:
                self._happens(context.seed)
            return goes_on

        return super().estimate(architecture, TrialContext(context.seed, context.device, report))


def kill_me() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_cluster_that_is_not_there_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    assert not ray.is_initialized(), "this test runs before those that start Ray"
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # it does not listen
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(UserError, match=f"no Ray cluster at {address}: .*refused"):
            begin(trials=1).run(engine=RayEngine(address))
        assert time.monotonic() - began < 15
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(UserError, match=f"no Ray cluster at {address}"):
            begin(trials=1).run(engine=RayEngine())


class Together:
    """One engine for several studies, which share its workers: the jobs of one after those of the other.

    Args:
        studies: each with fewer than a thousand trials and an equal estimator.
        engine: runs all of it.

    Attributes:
        events: of each study.
    """

    def __init__(self, studies: Sequence[Study], engine: RayEngine) -> None:
        self._studies, self._engine = studies, engine
        self._desks: list[tuple[Callable[[], Job | None], Report, Callable[[int, Ending], None]]] = []
        self._now = 0
        self.events: list[list[Event]] = [[] for _ in studies]

    def begin(self) -> None:
        """Run all studies, the next one from inside of each."""
        number = len(self._desks)
        self._studies[number].run(engine=self, on_event=self.events[number].append)

    def run(
        self,
        estimator: Estimator,
        next_job: Callable[[], Job | None],
        report: Report,
        done: Callable[[int, Ending], None],
        prepare: Callable[[], None],
    ) -> None:
        """As in `Engine`: the last study to begin runs the jobs of all."""
        self._desks.append((next_job, report, done))
        if len(self._desks) < len(self._studies):
            self.begin()
        else:
            self._engine.run(estimator, self._next_job, self._report, self._done)

    def _next_job(self) -> Job | None:
        while self._now < len(self._desks):
            if (job := self._desks[self._now][0]()) is not None:
                return replace(job, number=1000 * self._now + job.number)
            self._now += 1
        return None

    def _report(self, number: int, step: int, accuracy: float) -> bool:
        return self._desks[number // 1000][1](number % 1000, step, accuracy)

    def _done(self, number: int, ending: Ending) -> None:
        self._desks[number // 1000][2](number % 1000, ending)


@pytest.fixture(scope="module")
def on_ray(cluster: Any) -> dict[str, tuple[Study, list[Event]]]:
    """A study of each strategy, run one trial at a time, and what happened."""
    studies = [begin(**settings_for(strategy)) for strategy in STRATEGIES]
    together = Together(studies, one_at_a_time())
    together.begin()
    return dict(zip(STRATEGIES, zip(studies, together.events, strict=True), strict=True))


def settings_for(strategy: str) -> dict[str, Any]:
    return {"strategy": strategy, "trials": 14, "pruner": "asha", "estimator": Known(fails=some_fail)}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_one_trial_at_a_time_is_the_same_as_in_one_process(on_ray: dict[str, Any], strategy: str) -> None:
    here, (there, their_events) = begin(**settings_for(strategy)), on_ray[strategy]
    our_events: list[Event] = []
    here.run(on_event=our_events.append)
    assert story(there) == story(here)
    assert {trial.state for trial in there.trials} == {"complete", "pruned", "failed"}
    for our, their in zip(here.trials, there.trials, strict=True):
        assert their.details.keys() == our.details.keys()
        assert their.curve == our.curve
    assert list(map(happened, their_events)) == list(map(happened, our_events))


def happened(event: Any) -> tuple[str, int]:
    return type(event).__name__, event.trial.number if hasattr(event, "trial") else getattr(event, "number", -1)


def test_short_training_gives_the_same_accuracies_to_the_last_digit(cluster: Any) -> None:
    settings = {"epochs": 2, "data_fraction": 0.2}
    studies = [begin(estimator="short-training", estimator_settings=settings, trials=2) for _ in range(2)]
    studies[0].run()
    studies[1].run(engine=one_at_a_time())
    assert story(studies[1]) == story(studies[0])
    assert all(trial.state == "complete" and len(trial.curve) == 2 for trial in studies[1].trials)


def test_the_weights_of_a_supernet_travel_and_give_the_same_estimates(cluster: Any) -> None:
    settings = {"epochs": 1, "data_fraction": 0.2, "statistics": 32}
    studies = [begin(estimator="supernet", estimator_settings=settings, trials=3) for _ in range(2)]
    studies[0].run()
    studies[1].run(engine=one_at_a_time())
    assert story(studies[1]) == story(studies[0])
    assert all(trial.state == "complete" and trial.details["shared_weights"] > 0.5 for trial in studies[1].trials)


def test_a_space_of_ours_is_known_to_workers_by_its_name(cluster: Any) -> None:
    studies = [
        begin(space="resnet-cifar", budget=Budget.parse("60M"), task=SMALL, strategy="random", trials=2) for _ in "12"
    ]
    studies[0].run()
    studies[1].run(engine=one_at_a_time())
    assert story(studies[1]) == story(studies[0])


def test_four_at_once_never_propose_the_same_and_all_are_told(cluster: Any) -> None:
    events: list[Any] = []
    study = begin(trials=16, estimator=Known(seconds=0.02))
    study.run(engine=RayEngine(workers=4, cpus_per_trial=0.5), on_event=events.append)
    under_way, most = 0, 0
    for event in events:
        under_way += isinstance(event, TrialStarted) - isinstance(event, TrialEnded)
        most = max(most, under_way)
    assert most == 4
    assert len({trial.architecture for trial in study.trials}) == len(study.trials) == 16
    assert {trial.state for trial in study.trials} == {"complete"}
    assert sorted(trial.rank or 0 for trial in study.trials) == list(range(16))
    assert max(trial.told for trial in study.trials) > 0  # those asked late knew how others had ended


def test_it_says_which_trial_is_where_and_what_is_in_use(cluster: Any) -> None:
    import socket

    engine, seen = RayEngine(workers=2), []

    def look(event: Any) -> None:
        if isinstance(event, TrialReported) and event.step == 3:
            assert engine.now is not None
            seen.append((event.number in engine.now.places, engine.now))

    begin(trials=6, estimator=Known(seconds=0.3)).run(engine=engine, on_event=look)
    assert all(there for there, _ in seen)
    assert {place for _, now in seen for place in now.places.values()} == {socket.gethostname()}
    assert {(now.there["CPU"], now.nodes) for _, now in seen} == {(cluster.cluster_resources()["CPU"], 1)}
    assert max(len(now.places) for _, now in seen) == 2
    assert max(now.used["CPU"] for _, now in seen) >= 1


def test_a_head_that_is_gone_is_told_once(monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    import socket

    monkeypatch.setattr("studies.ray.lookout.REFRESH_S", 0.02)
    monkeypatch.setattr("studies.ray.lookout.HEAD_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with head_watched(address):
            time.sleep(0.4)
            assert not capfd.readouterr().err
            server.close()
            until, said = time.monotonic() + 20, ""
            while time.monotonic() < until and not said:
                time.sleep(0.05)
                said = capfd.readouterr().err
            assert said.startswith(f"nas: the head of the Ray cluster at {address} has not answered for 0.2 seconds")
            assert said.count("\n") == 1
            time.sleep(0.1)
        assert not capfd.readouterr().err


def test_a_space_that_runs_out_ends_the_study_with_all_of_it_tried(cluster: Any) -> None:
    tiny = Space(
        "tiny", stages=Stage(mbconv, width=choice(8, 16), kernel=choice(3, 5)), head=Stage(conv_head, width=16)
    )
    study = begin(space=tiny, budget=None, strategy="random", trials=50)
    assert study.run(engine=one_at_a_time()).kind == "exhausted"
    assert {trial.architecture for trial in study.trials} == set(tiny.enumerate())


def test_a_worker_killed_in_the_middle_of_a_trial_changes_nothing(cluster: Any, tmp_path: Path) -> None:
    events: list[Any] = []
    here, there = (
        begin(trials=3, pruner="asha"),
        begin(trials=3, pruner="asha", estimator=Unlucky(lambda seed: Once(tmp_path / "killed", kill_me)())),
    )
    here.run()
    there.run(engine=one_at_a_time(), on_event=events.append)
    assert (tmp_path / "killed").exists()
    assert story(there) == story(here)
    reports = [(event.number, event.step) for event in events if isinstance(event, TrialReported)]
    assert len(reports) == len(set(reports))  # what was reported before the death is not reported again


def lose_the_gpu() -> None:
    """As CUDA does it: after an error of a kernel every call of the process fails with it."""
    import torch

    def fails() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    torch.cuda.is_initialized = lambda: True
    torch.cuda.synchronize = lambda device=None: fails()
    fails()


def test_a_worker_that_loses_its_gpu_is_replaced_and_its_trial_is_run_again(cluster: Any, tmp_path: Path) -> None:
    here, there = (
        begin(trials=3),
        begin(trials=3, estimator=Unlucky(lambda seed: Once(tmp_path / "lost", lose_the_gpu)())),
    )
    here.run()
    there.run(engine=one_at_a_time())
    assert (tmp_path / "lost").exists()
    assert story(there) == story(here)


DIES, LEAVES = 1, 2
"""Trials of the study below whose workers die each time, and are left by `sys.exit`."""


@pytest.fixture(scope="module")
def unlucky(cluster: Any) -> Study:
    """Of four trials, two of which have bad luck."""
    seeds = {begin(trials=1).seed_of(number): number for number in (DIES, LEAVES)}

    def happens(seed: int) -> None:
        if seeds.get(seed) == DIES:
            os._exit(7)
        if seeds.get(seed) == LEAVES:
            sys.exit("no more")

    study = begin(trials=4, estimator=Unlucky(happens))
    assert study.run(engine=RayEngine(workers=1, retries=1)).kind == "trials"
    return study


def test_a_trial_that_always_kills_its_worker_fails_and_stops_nothing(unlucky: Study) -> None:
    assert [trial.state for trial in unlucky.trials] == ["complete", "failed", "failed", "complete"]
    reason = unlucky.trials[DIES].reason or ""
    assert reason.startswith("worker died: ")
    assert reason.endswith("(tried 2 times)")
    assert "\n" not in reason


def test_only_workers_that_die_without_a_new_report_count() -> None:
    """As on preemptible nodes, where a long trial outlives many; one that always dies at the same place is given up."""
    ended: list[Ending] = []
    jobs = [Job(0, None, 0)]  # type: ignore[arg-type]
    desk = _Desk(
        jobs, lambda: None, lambda *_: True, lambda _, ending: ended.append(ending), nothing, lambda: 1, None, retries=2
    )
    reports = [1, 2, 3, 4, 5, 5, 5]  # of each attempt; what was reported before is reported again
    for attempt, count in enumerate(reports):
        assert not ended, f"given up after {attempt} attempts"
        desk.job()
        desk.started(0, None)
        for step in range(1, count + 1):
            desk.reported(0, step, 0.5)
        desk.died(0, "node died: the node of its worker left the cluster")
    assert [each.reason for each in ended] == ["node died: the node of its worker left the cluster (tried 3 times)"]


def test_a_trial_that_waits_for_another_worker_is_not_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is that of an attempt, and the next one has it too, however long it waited."""
    from studies.ray import engine

    now, killed, ended = [0.0], list[object](), list[Ending]()
    monkeypatch.setattr(engine.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(engine, "_kill", killed.append)
    jobs = [Job(0, None, 0)]  # type: ignore[arg-type]
    desk = _Desk(
        jobs, lambda: None, lambda *_: True, lambda _, ending: ended.append(ending), nothing, lambda: 1, 10.0, retries=2
    )
    desk.job()
    desk.started(0, "first")
    desk.died(0, "node died")
    now[0] = 60.0
    desk.look()
    desk.job()
    desk.started(0, "second")
    now[0] = 69.0
    desk.look()
    assert (killed, ended) == ([], [])
    now[0] = 71.0
    desk.look()
    assert killed == ["second"]
    desk.died(0, "it was killed")
    assert [each.reason for each in ended] == ["timeout: not finished after 10 seconds"]


def test_a_job_is_prepared_while_there_is_no_place_for_it() -> None:
    said: list[str] = []

    def next_job() -> Job | None:
        said.append("asked")
        return Job(said.count("asked"), None, 0) if said.count("asked") < 3 else None  # type: ignore[arg-type]

    first = [Job(0, None, 0)]  # type: ignore[arg-type]
    desk = _Desk(
        first, next_job, lambda *_: True, lambda *_: said.append("ended"), lambda: said.append("prepared"),
        lambda: 2, None, retries=0,
    )  # fmt: skip
    desk.look()  # one job waits to be run, and there is place for another
    desk.job()
    desk.look()  # one runs
    assert not said
    desk.job()
    desk.look()
    assert said == ["asked", "prepared"]
    desk.ended(0, Ending("complete", 1.0, 0.5))
    desk.look()  # what was prepared is asked for first
    desk.job()
    desk.look()
    assert said == ["asked", "prepared", "ended", "asked", "prepared"]
    desk.ended(1, Ending("complete", 1.0, 0.5))
    assert desk.job() is None
    desk.look()  # there is nothing more for now
    assert said[5:] == ["ended", "asked"]


def test_an_estimator_that_leaves_its_process_fails_its_trial_only(unlucky: Study) -> None:
    assert unlucky.trials[LEAVES].reason == "SystemExit: no more"


def test_a_trial_that_hangs_is_killed_and_recorded_and_not_tried_again(cluster: Any, tmp_path: Path) -> None:
    slow, began_and_ended = begin(trials=3).seed_of(1), []

    def hangs(seed: int) -> None:
        if seed == slow:
            with (tmp_path / "tried").open("a") as file:
                file.write("once ")
            time.sleep(1000)

    def look(event: Any) -> None:
        if isinstance(event, TrialStarted | TrialEnded) and event.trial.number == 1:
            began_and_ended.append(time.monotonic())

    study = begin(trials=3, estimator=Unlucky(hangs))
    study.run(engine=RayEngine(workers=1, trial_timeout=4), on_event=look)  # time for what does not hang
    assert [trial.state for trial in study.trials] == ["complete", "failed", "complete"]
    assert study.trials[1].reason == "timeout: not finished after 4 seconds"
    assert 4 <= (study.trials[1].seconds or 0) <= began_and_ended[1] - began_and_ended[0] < 1000
    assert (tmp_path / "tried").read_text() == "once "


MINE = '''
"""A file of a person's own: a cell, a space with it, and an estimator."""
from dataclasses import dataclass
from estimators import Estimate
from searchspaces import Space, Stage, Task, choice, conv_head
from searchspaces.layers import Act, Chain, Conv, Norm

def cell(c_in, width, stride, *, kernel=3):
    return Chain(Conv(width, kernel, stride), Norm(), Act("relu"))

space = Space("mine", stages=Stage(cell, width=choice(8, 16), kernel=choice(3, 5)), head=Stage(conv_head, width=16))

@dataclass(frozen=True)
class Params:
    top: float = 1e6

    def describe(self):
        return {"name": "params", "top": self.top}

    def estimate(self, architecture, context):
        module = architecture.build(Task(16, 3, 10))
        return Estimate(min(sum(each.numel() for each in module.parameters()) / self.top, 1.0), 0.1)
'''


BESIDE = """
from searchspaces.layers import Act, Chain, Conv, Norm

class Accuracy(float):
    pass

def body(width, kernel, stride):
    return Chain(Conv(width, kernel, stride), Norm(), Act("relu"))
"""
ABOVE = """
from estimators import Estimate
from searchspaces import Space, Stage, choice, conv_head
import ray_parts

def cell(c_in, width, stride, *, kernel=3):
    return ray_parts.body(width, kernel, stride)

space = Space("mine", stages=Stage(cell, width=choice(8, 16), kernel=choice(3, 5)), head=Stage(conv_head, width=16))

class Late:
    top = ray_parts.Accuracy(0.5)

    def describe(self):
        return {"name": "late"}

    def estimate(self, architecture, context):
        import ray_late
        assert isinstance(self.top, ray_parts.Accuracy)
        return Estimate(float(self.top) * ray_late.SHARE[architecture.choices["stage1.kernel"]], 0.1)
"""


def test_modules_beside_a_file_of_ones_own_travel_too_also_those_imported_late(cluster: Any, tmp_path: Path) -> None:
    mine = tmp_path / "above.py"
    mine.write_text(ABOVE)
    (tmp_path / "ray_parts.py").write_text(BESIDE)
    (tmp_path / "ray_late.py").write_text("SHARE = {3: 0.5, 5: 1.0}")
    study = begin(space=load_space(f"{mine}:space"), estimator=f"{mine}:Late", budget=None, strategy="grid", trials=4)
    for file in tmp_path.iterdir():
        file.unlink()  # as on another machine
    study.run(engine=one_at_a_time())
    assert sorted(trial.accuracy for trial in study.trials) == [0.25, 0.25, 0.5, 0.5], story(study)


def test_spaces_cells_and_estimators_of_a_file_of_ones_own_travel(cluster: Any, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    mine = tmp_path / "elsewhere" / "mine.py"
    mine.write_text(MINE)
    studies = [
        begin(space=load_space(f"{mine}:space"), estimator=f"{mine}:Params", budget=None, strategy="random", trials=2)
        for _ in range(2)
    ]
    studies[0].run()
    studies[1].run(engine=one_at_a_time())
    assert story(studies[1]) == story(studies[0])
    assert {trial.state for trial in studies[1].trials} == {"complete"}


def test_ctrl_c_ends_cleanly_and_the_study_goes_on_as_if_nothing_had_been(cluster: Any, tmp_path: Path) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background of a shell it would be ignored

    def press(event: Any) -> None:
        if isinstance(event, TrialReported) and (event.number, event.step) == (2, 1):
            signal.raise_signal(signal.SIGINT)

    study = begin(tmp_path / "run", trials=5, estimator=Known(seconds=0.05))
    before = signal.getsignal(signal.SIGINT)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        study.run(engine=one_at_a_time(), on_event=press)
    assert time.monotonic() - began < 200  # a hang; the machine may be busy
    assert signal.getsignal(signal.SIGINT) is before
    assert [trial.state for trial in study.trials] == ["complete", "complete", "running"]
    study.run()
    whole = begin(trials=5)
    whole.run()
    assert story(study) == story(whole)


def test_what_the_study_raises_comes_through_and_leaves_nothing_running(cluster: Any) -> None:
    class FullError(Exception):
        pass

    def full(event: Any) -> None:
        if isinstance(event, TrialEnded) and event.trial.number == 1:
            raise FullError("the disk is full")

    study = begin(trials=9, estimator=Known(seconds=0.05))
    with pytest.raises(FullError, match="the disk is full"):
        study.run(engine=RayEngine(), on_event=full)
    until = time.monotonic() + 20
    while cluster.available_resources().get("CPU", 0) < 2 and time.monotonic() < until:
        time.sleep(0.2)
    assert cluster.available_resources()["CPU"] == 2


def test_an_estimator_that_cannot_travel_is_refused_in_one_line(cluster: Any) -> None:
    import threading

    class Locked(Known):
        def __init__(self) -> None:
            super().__init__()
            self.lock = threading.Lock()

    with pytest.raises(UserError, match="cannot be sent to other processes"):
        begin(trials=2, estimator=Locked()).run(engine=RayEngine())


def test_nothing_is_left_on_the_disk_and_no_port_is_open_to_others(cluster: Any) -> None:
    results = Path.home() / "ray_results"
    before = set(results.iterdir()) if results.exists() else None
    temporary = set(glob.glob(f"{tempfile.gettempdir()}/nas-ray-*"))  # those of others
    during: set[str] = set()
    begin(trials=1).run(
        engine=one_at_a_time(), on_event=lambda _: during.update(glob.glob(f"{tempfile.gettempdir()}/nas-ray-*"))
    )
    assert during - temporary
    assert set(glob.glob(f"{tempfile.gettempdir()}/nas-ray-*")) <= temporary
    assert (set(results.iterdir()) if results.exists() else None) == before
    open_to_all = listening_elsewhere(processes_of(os.getpid()))
    assert not open_to_all


def test_others_on_this_machine_need_the_token_of_its_user(cluster: Any, tmp_path: Path) -> None:
    import subprocess

    call = "GcsClient(address=sys.argv[1]).internal_kv_keys(b'', None, timeout=20)"
    known = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}

    def asks(**more: str) -> subprocess.CompletedProcess[str]:
        code = f"import sys; from ray._raylet import GcsClient; {call}"
        command = [sys.executable, "-c", code, cluster.get_runtime_context().gcs_address]
        return subprocess.run(command, env={**known, **more}, capture_output=True, text=True)

    other = asks(HOME=str(tmp_path))
    assert other.returncode == 1
    assert "token" in other.stderr
    assert asks(RAY_AUTH_MODE="token").returncode == 0


def processes_of(pid: int) -> set[int]:
    """A process and all that it started."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            children.setdefault(int(stat.read_text().rpartition(")")[2].split()[1]), []).append(int(stat.parent.name))
    found, todo = set(), [pid]
    while todo:
        found.add(each := todo.pop())
        todo += children.get(each, [])
    return found


def listening_elsewhere(pids: set[int]) -> list[str]:
    """Addresses but loopback on which the processes listen, as in /proc/net/tcp."""
    sockets = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for link in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    sockets.add(os.readlink(link))
    loopback = ("0100007F:", "0000000000000000FFFF00000100007F:", "00000000000000000000000001000000:")
    lines = [line.split() for file in ("tcp", "tcp6") for line in Path("/proc/net", file).read_text().splitlines()[1:]]
    mine = [line for line in lines if line[3] == "0A" and f"socket:[{line[9]}]" in sockets]
    assert mine, "Ray listens nowhere: is this test looking at the right processes?"
    return [line[1] for line in mine if not line[1].startswith(loopback)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"workers": 0}, "workers must be a whole number from 1, got 0"),
        ({"retries": -1}, "retries must be a whole number from 0, got -1"),
        ({"trial_timeout": 0}, "trial_timeout must be above 0 seconds, got 0"),
        ({"gpus_per_trial": 1.5}, "gpus_per_trial must be a fraction of one or a whole number, got 1.5"),
        ({"cpus_per_trial": 0, "gpus_per_trial": 0}, "both 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        RayEngine(**settings)


def test_room_is_counted_node_by_node() -> None:
    def node(cpus: float, gpus: float = 0.0, alive: bool = True) -> dict[str, Any]:
        return {"Alive": alive, "Resources": {"CPU": cpus, "GPU": gpus}}

    assert room([node(3), node(3), node(8, alive=False)], 2, 0) == 2  # two halves of different nodes are no room
    assert room([node(0), node(16, 4)], 1, 1) == 4
    assert room([node(16, 4)], 1, 0.25) == 16
    assert room([node(16, 1)], 1, 0.3) == 3
    assert room([node(2, 4)], 1, 1) == 2
    assert room([node(4, 4)], 0, 2) == 2
    assert room([node(2)], 0.25, 0) == 8


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'ray\[tune\]'"):
        begin(trials=1).run(engine=RayEngine())


def test_what_died_is_said_in_one_line_with_a_kind() -> None:
    assert what_died("ray::X.__init__()\n  File x\nModuleNotFoundError: No module named 'mine'\n") == (
        "worker failed: ModuleNotFoundError: No module named 'mine'"
    )
    assert what_died("Task was killed due to the node running low on memory.\nIP ...").startswith("out of memory: ")
    assert what_died("The actor died because its node has died. Node Id: 3").startswith("node died: ")


def test_the_command_line_searches_and_resumes_on_ray(cluster: Any, nas_cli: Any, tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(MINE)
    own = ["--space", f"{mine}:space", "--estimator", f"{mine}:Params"]
    said = nas_cli(
        "search", *own, "--budget", "100%", "--strategy", "random", "--trials", "2", "--name", "a", "--out", tmp_path,
        "--ray", "--workers", "1", "--trial-timeout", "1m", "--json",
    )  # fmt: skip
    assert said.code == 0, said.err
    assert said.json()["trials"]["complete"] == 2
    said = nas_cli("resume", "--ray", tmp_path / "a", *own, "--trials", "3", "--cpus-per-trial", "0.5")
    assert said.code == 0, said.err
    assert "3/3" in said.out
    assert not said.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--workers", "0"], "workers must be a whole number from 1, got 0"),
        (["--ray", "--workers", "0"], "workers must be a whole number from 1, got 0"),
        (["--ray", "--trial-timeout", "soon"], "soon"),
        (["--ray=foo"], "--ray: 'foo' is not an address; write --ray or --ray local for this machine"),
        (["--ray", "foo"], "(foo); write --ray or --ray local for this machine, else --ray auto or --ray host:6379"),
    ],
)
def test_a_mistake_about_ray_is_one_line_before_anything_is_made(
    nas_cli: Any, tmp_path: Path, words: list[str], message: str
) -> None:
    said = nas_cli("search", "--budget", "400M", "--out", tmp_path / "runs", *words)
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert message in said.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("says", "there", "takes"),
    [
        ({"device": "auto"}, 1, (1, 1)),
        ({"device": "auto"}, 0, (1, 0)),
        ({"device": "cpu"}, 1, (1, 0)),
        ({"device": "cuda", "threads": 2}, 4, (2, 1)),
        ({}, 1, (1, 0)),  # a table has no use for one
    ],
)
def test_a_trial_takes_what_its_estimator_says(says: dict[str, Any], there: int, takes: tuple[int, int]) -> None:
    assert RayEngine()._needs(SimpleNamespace(**says), {"CPU": 8, "GPU": there}) == takes
    assert RayEngine(gpus_per_trial=0.5)._needs(SimpleNamespace(**says), {"CPU": 8, "GPU": there})[1] == 0.5


def test_no_cores_where_there_is_no_gpu_are_refused() -> None:
    engine, estimator = RayEngine(cpus_per_trial=0), SimpleNamespace(device="auto")
    assert engine._needs(estimator, {"CPU": 8, "GPU": 1}) == (0, 1)
    with pytest.raises(UserError, match="both 0: nothing would limit concurrent trials"):
        engine._needs(estimator, {"CPU": 8})


def test_a_gpu_is_looked_for_where_trials_run(cluster: Any, nas_cli: Any, tmp_path: Path) -> None:
    if cluster.cluster_resources().get("GPU"):
        pytest.skip("there are GPUs here")
    words = ["search", "--budget", "400M", "--device", "cuda", "--out", tmp_path]
    here = nas_cli(*words, "--name", "here")
    assert (here.code, here.err) == (2, "nas: no device 'cuda' here; available: cpu\n")
    assert not (tmp_path / "here").exists()
    there = nas_cli(*words, "--name", "there", "--ray", "--quiet")
    assert (there.code, there.err.count("\n")) == (2, 1)
    assert "device 'cuda': Ray gives trials no GPU here; if nodes with GPUs join later" in there.err


SIZED = """
from estimators import Estimate

class Estimator:
    def describe(self):
        return {"name": "sized"}

    def estimate(self, architecture, context):
        accuracy = architecture.choices["depth"] / 10 + context.seed % 7 / 1000
        return Estimate(accuracy, 0.0, (accuracy,))

estimator = Estimator()
"""


def test_a_scaling_study_is_the_same_on_ray(cluster: Any, nas_cli: Any, tmp_path: Path) -> None:
    """The space of such a study is made of a network and has no name: a worker must be given it whole."""
    (tmp_path / "sized.py").write_text(SIZED)
    words = ["scale", "mobilenetv2_100", "--task", "32x32x3:10", "--estimator", f"{tmp_path / 'sized.py'}:estimator"]
    words += ["--trials", "5", "--confirm", "0", "--phi", "1..2", "--out", tmp_path, "--json", "--quiet"]
    here = nas_cli(*words, "--name", "here").json()
    there = nas_cli(*words, "--name", "there", "--ray", "--workers", "1").json()
    assert there["study"]["trials"]["complete"] == 5
    assert there["family"]["trained"] == here["family"]["trained"]
    assert there["family"]["coefficients"] == here["family"]["coefficients"]


class Jittered(Known):
    """Takes its time, and never the same."""

    def estimate(self, architecture: Architecture, context: TrialContext) -> Estimate:
        def report(step: int, accuracy: float) -> bool:
            time.sleep(int.from_bytes(os.urandom(1)) / 255 * 0.1)
            return context.report(step, accuracy)

        return super().estimate(architecture, TrialContext(context.seed, context.device, report))


def test_in_waves_the_same_trials_come_out_however_long_they_take(cluster: Any) -> None:
    settings: dict[str, Any] = {"trials": 20, "pruner": "asha", "wave": 4}
    here, there = begin(**settings), begin(estimator=Jittered(), **settings)
    here.run()
    there.run(engine=RayEngine(workers=2))
    assert outcomes(there) == outcomes(here)
    assert [trial.rank for trial in there.trials] != [trial.rank for trial in here.trials]  # they did not end in order


def test_a_driver_killed_inside_a_training_goes_on_after_its_last_checkpoint(cluster: Any, tmp_path: Path) -> None:
    assert checkpoints.drive(tmp_path, "ray") == -signal.SIGKILL
    found = checkpoints.study(tmp_path / "run", tmp_path / "log", tmp_path / "dies")
    found.run(engine=one_at_a_time())
    found.close()
    checkpoints.check_it_went_on(tmp_path)


def test_a_training_whose_worker_died_goes_on_after_its_last_checkpoint(cluster: Any, tmp_path: Path) -> None:
    found = checkpoints.study(tmp_path / "run", tmp_path / "log", tmp_path / "dies")
    events: list[Any] = []
    found.run(engine=one_at_a_time(), on_event=events.append)
    found.close()
    assert (tmp_path / "dies").exists()
    checkpoints.check_it_went_on(tmp_path)
    reports = [(event.number, event.step) for event in events if isinstance(event, TrialReported)]
    assert len(reports) == len(set(reports)) == 3 * checkpoints.EPOCHS


def test_trials_that_inherit_are_the_same_on_one_worker_as_in_one_process(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inheritance, "FIRST", 3)
    here, there = (heirs(tmp_path / name, trials=14, pruner="asha") for name in ("local", "ray"))
    here.run()
    there.run(engine=one_at_a_time())
    assert whole_story(there) == whole_story(here)
    assert sum(trial.parent is not None for trial in there.trials) >= 8


GARBAGE = """
import gc, os, sys, threading, time
import ray
from studies.ray.cluster import connected

sys.setswitchinterval(1e-5)
shutdown = ray.shutdown

def collecting():
    if gc.isenabled():  # as any thread that makes objects does now and then
        gc.collect()

def shutdown_beside_a_collection():
    threading.Thread(target=collecting, daemon=True).start()
    time.sleep(0.001)
    shutdown()

ray.shutdown = shutdown_beside_a_collection
with connected("local"):
    gc.set_threshold(10**9)  # not before
    for _ in range(40_000):
        cycle = [ray.ObjectRef(os.urandom(28))]
        cycle.append(cycle)
    del cycle
assert gc.isenabled()
print("survived")
"""


def test_garbage_that_holds_references_does_not_end_the_process_as_ray_shuts_down():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", GARBAGE], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout.strip()) == (0, "survived"), done.stderr
