"""Ray Tune as an engine: the study's trials on all the GPUs and cores of a machine or a cluster.

Tune places trials, keeps their actors and notices when one dies; a searcher and a scheduler of a few lines hand its
questions over to the study. An actor is made once and reused: torch and the images stay in it. What is read by every
trial (the estimator with its images, the space) lies once in Ray's object store; jobs travel as text and numbers.

Tune keeps nothing: no checkpoints, no loggers, and its folder of results is a temporary one. Left out: Tune's own
retries (`max_failures`), as they do not cover an actor that dies between two trials; a trial whose worker died is
proposed to Tune again instead.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import queue
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import uuid
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from searchspaces import SPACES, UserError, architecture_from_json, own_code, space_named
from studies.engine import Ending, Job, Snapshot, run_job
from studies.interrupts import first_interrupt
from studies.leftovers import marked, remove_left
from studies.ray.lookout import head_watched, lookout

if TYPE_CHECKING:
    from estimators import Estimator
    from searchspaces import SearchSpace
    from studies.engine import Report

T = TypeVar("T")

RECOUNT_S: Final = 5.0
"""Seconds after which the cluster is counted again: nodes come and go."""

CONNECT_S: Final = 10.0
"""Seconds in which a cluster must answer."""

RESULTS: Final = "nas-ray-"
"""How Tune's temporary folders of results are called."""

QUIET: Final[Mapping[str, str]] = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",  # tells nobody
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # ours is used
    "TUNE_GLOBAL_CHECKPOINT_S": str(10**9),  # the ledger is the only memory
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
}
"""Settings that Ray takes from the environment only."""


class RayEngine:
    """Trials under way wherever Ray has room for them.

    What a trial needs is by default what its estimator is: as many cores as its `threads`, and one GPU where the
    cluster has any, unless its `device` is the CPU.

    Where a worker dies, the trial is run again, from its last checkpoint if there is one that the next worker reaches;
    accuracies that it reported before are not reported twice, and what the study answered to them holds.

    Args:
        address: None starts Ray in this machine, on loopback only, and stops it at the end, unless Ray runs in this
            process already or `RAY_ADDRESS` says where, as in a submitted job; `auto` finds the cluster that this
            machine belongs to; else `host:6379`.
        workers: trials under way at once; by default as many as there is room for, counted anew as nodes come and go.
            More than there is room for makes a cluster that can grow do so.
        cpus_per_trial, gpus_per_trial: what one trial takes; a GPU may be shared, as in 0.25.
        trial_timeout: seconds after which a trial is killed and recorded as failed.
        retries: how often a trial is run again after its worker died.

    Attributes:
        now: what runs where, for those who look; replaced as things change, and None before there is anything.
        at_end: called when no trial is left, while Ray is still there.

    Raises:
        UserError: a number is out of range.
    """

    def __init__(
        self,
        address: str | None = None,
        workers: int | None = None,
        cpus_per_trial: float | None = None,
        gpus_per_trial: float | None = None,
        trial_timeout: float | None = None,
        retries: int = 2,
    ) -> None:
        for name, value, low in (("workers", workers, 1), ("retries", retries, 0)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < low):
                raise UserError(f"{name} must be a whole number from {low}, got {value!r}")
        if trial_timeout is not None and not 0 < trial_timeout < math.inf:
            raise UserError(f"trial_timeout must be above 0 seconds, got {trial_timeout!r}")
        for name, share in (("cpus_per_trial", cpus_per_trial), ("gpus_per_trial", gpus_per_trial)):
            if share is not None and not (0 <= share <= 1 or (1 < share < math.inf and share == int(share))):
                raise UserError(f"{name} must be a share of one or a whole number, got {share!r}")
        if cpus_per_trial == gpus_per_trial == 0:
            raise UserError("cpus_per_trial and gpus_per_trial are both 0: then nothing bounds the trials under way")
        self._address, self._workers = address, workers
        self._cpus, self._gpus = cpus_per_trial, gpus_per_trial
        self._timeout, self._retries = trial_timeout, retries
        self.now: Snapshot | None = None
        self.at_end: Callable[[], object] = lambda: None

    def run(
        self,
        estimator: Estimator,
        next_job: Callable[[], Job | None],
        report: Report,
        done: Callable[[int, Ending], None],
    ) -> None:
        """As in `Engine`.

        Raises:
            UserError: Ray is not there, has no room for a single trial or no GPU for an estimator that needs one, or
                the estimator cannot travel.
        """
        with settings_of_ray(), connected(self._address) as own, _raylets_silent():
            import ray

            needs = self._needs(estimator, ray.cluster_resources())
            if own:
                self._refuse_what_never_fits(needs, ray.nodes())
            first = next_job()
            if first is None:
                return
            space = first.architecture.space
            with own_files_by_value(), head_watched(ray.get_runtime_context().gcs_address):
                work = _put(estimator, space)
                desk = _Desk(
                    [first],
                    next_job,
                    report,
                    done,
                    lambda: self._workers or max(1, room(ray.nodes(), *needs)),
                    self._timeout,
                    self._retries,
                )
                _tune(desk, _trainable(work), needs, self._show)
            self.at_end()
            desk.raise_what_happened()

    def _needs(self, estimator: Estimator, there: Mapping[str, float]) -> tuple[float, float]:
        """Cores and GPUs of one trial."""
        gpus, device = self._gpus, getattr(estimator, "device", "auto")
        if gpus is None:
            gpus = 1.0 if there.get("GPU", 0) >= 1 and device != "cpu" else 0.0
        if device == "cuda" and gpus == 0:
            raise UserError(
                "device 'cuda': Ray gives trials no GPU here; where nodes with GPUs come later, say --gpus-per-trial 1"
            )
        cpus = self._cpus
        if cpus is None:
            cpus = float(getattr(estimator, "threads", 1))
        return cpus, gpus

    def _show(self, now: Snapshot) -> None:
        self.now = now

    def _refuse_what_never_fits(self, needs: tuple[float, float], nodes: list[dict[str, Any]]) -> None:
        """A machine of one's own does not grow."""
        fits = room(nodes, *needs)
        if fits >= (self._workers or 1):
            return
        have = nodes[0]["Resources"]
        raise UserError(
            f"this machine has {have.get('CPU', 0):g} cores and {have.get('GPU', 0):g} GPUs: room for {fits} trials "
            f"at once of {needs[0]:g} cores and {needs[1]:g} GPUs each, not for {self._workers or 1}; "
            "see --cpus-per-trial and --gpus-per-trial"
        )


def room(nodes: list[dict[str, Any]], cpus: float, gpus: float) -> int:
    """How many trials of so many cores and GPUs fit on nodes, as `ray.nodes()` lists them.

    >>> room([{"Alive": True, "Resources": {"CPU": 8.0, "GPU": 2.0}}, {"Alive": False, "Resources": {}}], 1, 0.4)
    4
    """

    def pieces(there: float, each: float) -> float:
        if each == 0:
            return math.inf
        return there // each if each >= 1 else there // 1 * (1.0000001 // each)  # a share is a share of one

    alive = [node["Resources"] for node in nodes if node["Alive"]]
    return sum(int(min(pieces(has.get("CPU", 0), cpus), pieces(has.get("GPU", 0), gpus))) for has in alive)


@dataclass(eq=False, slots=True)
class _UnderWay:
    """A job that the study gave and that has not ended.

    Attributes:
        answers: what the study said to each of its reports, of all attempts.
        heard: reports of this attempt.
        attempts: how often it was handed to Tune.
        began: when the first worker and the present one took it up; monotonic seconds.
        too_slow: it was killed for its slowness.
        actor: where it runs.
    """

    job: Job
    answers: list[bool] = field(default_factory=list)
    heard: int = 0
    attempts: int = 0
    began: tuple[float, float] | None = None
    too_slow: bool = False
    actor: Any = None


class _Over(Exception):  # noqa: N818 - it is how Tune's loop is left
    """Nothing more is to be run."""


class _Desk:
    """Where Tune's questions meet the study's answers, on the driver's one thread.

    What the study raises is kept, not raised through Tune, which would take it for a trial's failure.

    Attributes:
        interrupted: Ctrl-C was pressed.
    """

    def __init__(
        self,
        given: list[Job],
        next_job: Callable[[], Job | None],
        report: Report,
        done: Callable[[int, Ending], None],
        slots: Callable[[], int],
        timeout: float | None,
        retries: int,
    ) -> None:
        self._next_job, self._report, self._done = next_job, report, done
        self._slots, self._timeout, self._retries = slots, timeout, retries
        self._under_way: dict[int, _UnderWay] = {}
        self._ready: deque[_UnderWay] = deque()  # to be run, for the first time or again
        for job in given:
            self._take(job)
        self._dry = False  # nothing for now: ask again when another one has ended
        self._counted: tuple[float, int] = (-math.inf, 0)
        self._error: BaseException | None = None
        self.interrupted = False

    def interrupt(self) -> None:
        """End at the next step, so that the ledger is never cut in the middle."""
        self.interrupted = True

    def job(self) -> Job | None:
        """What is to be run next; None if nothing for now."""
        if not self._ready and not self._dry and self._goes_on and len(self._under_way) < self._limit():
            job = self._safely(self._next_job, None)
            self._dry = job is None
            if job is not None:
                self._take(job)
        if not self._ready or not self._goes_on:
            return None
        trial = self._ready.popleft()
        trial.attempts, trial.heard, trial.actor = trial.attempts + 1, 0, None
        return trial.job

    @property
    def finished(self) -> bool:
        """Whether there is nothing under way and nothing to come."""
        return not self._goes_on or (self._dry and not self._under_way)

    def started(self, number: int, actor: Any) -> None:
        """A worker took a job up."""
        trial, now = self._under_way[number], time.monotonic()
        trial.began, trial.actor = (trial.began[0] if trial.began else now, now), actor

    def reported(self, number: int, step: int, accuracy: float) -> bool:
        """Whether the trial goes on."""
        trial = self._under_way[number]
        trial.heard += 1
        if trial.heard > len(trial.answers):
            trial.answers.append(self._safely(lambda: self._report(number, step, accuracy), True))
        return trial.answers[trial.heard - 1]

    def ended(self, number: int, ending: Ending) -> None:
        """A trial came to its end."""
        self._under_way.pop(number)
        self._dry = False
        self._safely(lambda: self._done(number, ending), None)

    def died(self, number: int, why: str) -> None:
        """The worker of a trial is no more, or never came to be."""
        if number not in self._under_way:
            return  # after its end: that is kept
        trial, now = self._under_way[number], time.monotonic()
        first, last = trial.began or (now, now)
        if trial.too_slow:
            reason = f"timeout: no end after {self._timeout:g} seconds"
        elif trial.attempts > self._retries:
            reason = f"{why} (tried {trial.attempts} times)" if trial.attempts > 1 else why
        else:
            self._ready.append(trial)
            return
        self.ended(number, Ending("failed", now - (last if trial.too_slow else first), reason=reason))

    def look(self) -> None:
        """Kill what takes too long; called several times a second.

        Raises:
            _Over: it is to end at once.
        """
        if not self._goes_on:
            for trial in self._under_way.values():
                _kill(trial.actor)
            raise _Over
        for trial in self._under_way.values():
            late = self._timeout is not None and trial.began and time.monotonic() - trial.began[1] > self._timeout
            if late and not trial.too_slow:
                trial.too_slow = True
                _kill(trial.actor)

    def raise_what_happened(self) -> None:
        """Raise what the study raised, or KeyboardInterrupt after Ctrl-C."""
        if self._error is not None:
            raise self._error
        if self.interrupted:
            raise KeyboardInterrupt

    @property
    def _goes_on(self) -> bool:
        return self._error is None and not self.interrupted

    def _take(self, job: Job) -> None:
        self._under_way[job.number] = trial = _UnderWay(job)
        self._ready.append(trial)

    def _limit(self) -> int:
        when, limit = self._counted
        if time.monotonic() - when > RECOUNT_S:
            limit = self._slots()
            self._counted = (time.monotonic(), limit)
        return limit

    def _safely(self, call: Callable[[], T], otherwise: T) -> T:
        if not self._goes_on:
            return otherwise
        try:
            return call()
        except BaseException as error:
            self._error = error
            return otherwise


class _Bench:
    """Where an actor's trials are worked on: a thread that estimates, and waits at each report for the answer.

    One thread for all trials of an actor, as torch keeps a pool of threads for each thread that calls it.
    """

    def __init__(self, estimator: Estimator, space: SearchSpace | None) -> None:
        self._estimator, self._space = estimator, space
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._said: queue.SimpleQueue[tuple[int, float] | Ending] = queue.SimpleQueue()
        self._waits = False
        self.goes_on = True
        threading.Thread(target=self._work, daemon=True).start()

    def begin(self, number: int, architecture: str, seed: int, checkpoint: str | None) -> None:
        """Start to estimate."""
        self.goes_on, self._waits = True, False
        self._jobs.put(Job(number, architecture_from_json(architecture, self._space), seed, checkpoint))

    def next(self) -> dict[str, Any]:
        """What happens next in the trial, in the form of Tune's results; the answer to a report is given first."""
        if self._waits:
            self._answers.put(self.goes_on)
        said = self._said.get()
        self._waits = not isinstance(said, Ending)
        return {"ending": said, "done": True} if isinstance(said, Ending) else {"report": said}

    def _work(self) -> None:
        while True:
            job, began = self._jobs.get(), time.perf_counter()
            try:
                ending = run_job(self._estimator, job, self._hand_over)
            except BaseException as error:  # SystemExit and the like, which in one process would end the study
                reason = f"{type(error).__name__}: {error}"
                ending = Ending("failed", time.perf_counter() - began, reason=reason)
            self._said.put(ending)

    def _hand_over(self, number: int, step: int, accuracy: float) -> bool:
        self._said.put((step, accuracy))
        return self._answers.get()


def _trainable(work: Any) -> type[Any]:
    """Tune's class of the actors.

    Args:
        work: reference to the estimator and the space.
    """
    import ray
    from ray import tune

    code = own_code.sources()

    class Worker(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            own_code.install(code)  # the work may need it to be read
            self._bench = _Bench(*ray.get(work))
            self.reset_config(config)

        def reset_config(self, config: dict[str, Any]) -> bool:
            os.chdir(os.environ.get("TUNE_ORIG_WORKING_DIR", "/"))
            shutil.rmtree(self.logdir, ignore_errors=True)  # Tune makes one for each trial; nothing is written there
            self._bench.begin(**config["job"])
            return True

        def step(self) -> dict[str, Any]:
            return self._bench.next()

        def refuse(self) -> None:
            self._bench.goes_on = False

        def where(self) -> str:
            return str(ray.get_runtime_context().get_node_id())

    Worker.__name__ = f"nas-{uuid.uuid4().hex[:12]}"  # Tune's register of names is shared by all drivers of a cluster
    return Worker


def _tune(desk: _Desk, worker: type[Any], needs: tuple[float, float], show: Callable[[Snapshot], None]) -> None:
    """Let Tune run all that the desk gives."""
    from ray import tune
    from ray.tune.schedulers import TrialScheduler
    from ray.tune.search import Searcher

    class Asks(Searcher):
        def suggest(self, trial_id: str) -> Any:
            job = desk.job()
            if job is None:
                return Searcher.FINISHED if desk.finished else None
            return {
                "job": {
                    "number": job.number,
                    "architecture": job.architecture.to_json(),
                    "seed": job.seed,
                    "checkpoint": job.checkpoint,
                },
            }

        def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
            """The scheduler and the callbacks have the trial itself."""

        def save(self, checkpoint_path: str) -> None:
            """The ledger is the only memory."""

        def restore(self, checkpoint_path: str) -> None:
            """There is nothing to restore."""

    class Decides(TrialScheduler):
        _supports_buffered_results = False

        def __init__(self) -> None:
            super().__init__()  # type: ignore[no-untyped-call]

        def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
            # A trial is never stopped from here: it is told to stop, and then says itself how it ended.
            if not desk.reported(_number(trial), *result["report"]):
                trial.temporary_state.ray_actor.refuse.remote()  # comes before the next step
            return str(TrialScheduler.CONTINUE)

        def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
            desk.ended(_number(trial), result["ending"])

        def on_trial_add(self, tune_controller: Any, trial: Any) -> None: ...
        def on_trial_error(self, tune_controller: Any, trial: Any) -> None: ...
        def on_trial_remove(self, tune_controller: Any, trial: Any) -> None: ...
        def choose_trial_to_run(self, tune_controller: Any) -> None: ...  # in the order in which they were proposed
        def debug_string(self) -> str:
            return ""

    class Watches(tune.Callback):
        def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            desk.started(_number(trial), trial.temporary_state.ray_actor)

        def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            desk.died(_number(trial), what_died(Path(trial.error_file).read_text()))

        def on_step_begin(self, iteration: int, trials: Any, **info: Any) -> None:
            desk.look()

    remove_left(Path(tempfile.gettempdir()).glob(f"{RESULTS}*"))
    with (
        tempfile.TemporaryDirectory(prefix=RESULTS, ignore_cleanup_errors=True) as folder,
        marked(Path(folder)),
        first_interrupt(desk.interrupt),
    ):
        from ray.tune.execution.placement_groups import PlacementGroupFactory

        bundle = {name: value for name, value in zip(("CPU", "GPU"), needs, strict=True) if value}
        with contextlib.suppress(_Over):
            tune.run(
                worker,
                name="tune",
                resources_per_trial=PlacementGroupFactory([bundle]),
                num_samples=-1,
                storage_path=folder,
                search_alg=Asks(),
                scheduler=Decides(),
                trial_name_creator=str,
                trial_dirname_creator=lambda trial: trial.trial_id,
                callbacks=[Watches(), lookout(show)],
                reuse_actors=True,
                raise_on_failed_trial=False,
                verbose=0,
                _remote=False,
            )


def what_died(text: str) -> str:
    """One line of Ray's many on the death of a worker.

    >>> what_died("The actor died. Worker exit type: SYSTEM_ERROR Worker exit detail: End of file. Some common causes")
    'worker died: End of file'
    """
    line = " ".join(text.split())
    if "running low on memory" in line:
        return "out of memory: its worker was killed as its node ran out of memory"
    if "detail:" in line:
        said = line.rpartition("detail:")[2].partition("Some common causes")[0].strip().rstrip(".")
        return f"worker died: {said}"
    if "node has died" in line or "node was terminated" in line:
        return "node died: the node of its worker is no more"
    lines = [each.strip() for each in text.splitlines() if each.strip()]
    return f"worker failed: {lines[-1] if lines else 'no reason given'}"


def _number(trial: Any) -> int:
    return int(trial.config["job"]["number"])


def _kill(actor: Any) -> None:
    import ray

    if actor is not None:
        with contextlib.suppress(Exception):  # it may be gone already
            ray.kill(actor)


def _put(estimator: Estimator, space: SearchSpace) -> Any:
    """A reference to both in the object store; numpy arrays are read there without a copy.

    A space of ours is not sent, as workers know it by its name.
    """
    import ray

    ours = space.name in SPACES and space == space_named(space.name)
    try:
        return ray.put((estimator, None if ours else space))
    except (TypeError, AttributeError) as error:
        why = " ".join(str(error).split()[:40])
        raise UserError(f"the estimator or the space cannot be sent to other processes: {why}") from error


@contextlib.contextmanager
def settings_of_ray() -> Iterator[None]:
    """The environment, signals and log levels that Ray and Tune read or change, given back as they were."""
    before = {name: os.environ.get(name) for name in QUIET}
    waiting = "TUNE_MAX_PENDING_TRIALS_PG"  # how many actors may be made at a time; the desk bounds them all
    before[waiting] = os.environ.get(waiting)
    log = logging.getLogger("ray")
    level, main = log.level, threading.current_thread() is threading.main_thread()
    signals = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGUSR1)} if main else {}
    os.environ.update({**QUIET, waiting: str(10**6)})
    try:
        yield
    finally:
        log.setLevel(level)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        for each, handler in signals.items():
            if handler is not None:
                signal.signal(each, handler)


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[bool]:
    """Ray, connected to; gives whether it was started here."""
    try:
        import ray
        import ray.tune
    except ImportError as error:
        raise UserError(f"Ray is not installed here ({error}); pip install 'ray[tune]'") from error
    log = logging.getLogger("ray")
    if ray.is_initialized():
        log.setLevel(logging.CRITICAL)
        yield False
        return
    own = address is None and "RAY_ADDRESS" not in os.environ
    session = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            if own:
                with _like_this_process():
                    started: Any = ray.init(
                        "local", include_dashboard=False, log_to_driver=False, logging_level=logging.CRITICAL
                    )
                session = started.address_info["session_dir"]
            else:
                _refuse_nobody(address or os.environ["RAY_ADDRESS"])
                ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL)
    except (OSError, RuntimeError, ValueError) as error:
        why = " ".join(str(error).split()[:40])
        where = "cannot start Ray" if own else f"no Ray cluster at {address or os.environ['RAY_ADDRESS']}"
        raise UserError(f"{where}: {why}") from error
    if session is not None:
        remove_left(Path(session).parent.glob("session_*"))
    try:
        with marked(Path(session)) if session is not None else contextlib.nullcontext():
            yield own
    finally:
        ray.shutdown()
        if session is not None:
            shutil.rmtree(session, ignore_errors=True)


@contextlib.contextmanager
def _raylets_silent() -> Iterator[None]:
    """Keep what Ray says of dying nodes off standard output, which is a live screen or one JSON object.

    No setting of Ray does; it prints that even where nothing is to be sent to the driver.
    """
    from ray._private import worker

    before = worker.print_to_stdstream
    worker.print_to_stdstream = lambda *_, **__: None
    try:
        yield
    finally:
        worker.print_to_stdstream = before


def _refuse_nobody(address: str) -> None:
    """Fail at once where nobody listens, which Ray tries to reach for minutes."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()


@contextlib.contextmanager
def _like_this_process() -> Iterator[None]:
    """Start Ray's processes with the modules of this one, and on loopback.

    Ray listens on all of a machine's addresses unless it takes clusters to be impossible there, as on a Mac.
    """
    from ray._private import ray_constants

    clusters, path = ray_constants.ENABLE_RAY_CLUSTER, os.environ.get("PYTHONPATH")
    ray_constants.ENABLE_RAY_CLUSTER = False
    os.environ["PYTHONPATH"] = os.pathsep.join(os.path.abspath(each) for each in sys.path)
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = clusters
        if path is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = path


@contextlib.contextmanager
def own_files_by_value() -> Iterator[None]:
    """Send what a person's own file defines as it is here, so that no worker has to run the file."""
    import ray.cloudpickle as pickle

    modules = own_code.modules()
    for module in modules:
        pickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in modules:
            pickle.unregister_pickle_by_value(module)
