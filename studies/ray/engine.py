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
import math
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from searchspaces import UserError
from studies.engine import Answers, Ending, Job, Snapshot, nothing
from studies.interrupts import first_interrupt
from studies.leftovers import marked, remove_left
from studies.ray.cluster import connected, raylets_silent, room, settings_of_ray
from studies.ray.lookout import head_watched, lookout, number_of
from studies.ray.worker import own_files_by_value, put, trainable
from studies.trial import SHARE

if TYPE_CHECKING:
    from estimators import Estimator
    from studies.engine import Report

T = TypeVar("T")

RECOUNT_S: Final = 5.0
"""Seconds after which the cluster is counted again: nodes come and go."""

RESULTS: Final = "nas-ray-"
"""How Tune's temporary folders of results are called."""


class RayEngine:
    """Trials under way wherever Ray has room for them.

    What a trial needs is by default what its estimator says: as many cores as its `threads`, and one GPU where the
    cluster has any and it has a `device` that is not the CPU. One without a `device`, such as a table, takes none.

    Where a worker dies, the trial is run again, from its last checkpoint if there is one that the next worker reaches;
    accuracies that it reported before are not reported twice, and what the study answered to them holds.

    Args:
        address: None starts Ray in this machine, on loopback only, and stops it at the end, unless Ray runs in this
            process already or `RAY_ADDRESS` says where, as in a submitted job; `auto` finds the cluster that this
            machine belongs to; else `host:6379`.
        workers: trials under way at once; by default as many as there is room for, counted anew as nodes come and go.
            More than there is room for makes a cluster that can grow do so.
        or_fewer: on this machine alone, take fewer workers where there is no room for so many, in place of an error.
        cpus_per_trial, gpus_per_trial: what one trial takes; a GPU may be shared, as in 0.25.
        trial_timeout: seconds after which a trial is killed and recorded as failed.
        retries: how often a trial is run again after its worker died, without a new report.

    Attributes:
        workers: as given, or as many as there is room for.
        now: what runs where, for those who look; replaced as things change, and None before there is anything.
        at_end: called at the end of each run, while Ray is still there; a study with several drivers may run again.

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
        or_fewer: bool = False,
    ) -> None:
        for name, value, low in (("workers", workers, 1), ("retries", retries, 0)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < low):
                raise UserError(f"{name} must be a whole number from {low}, got {value!r}")
        if trial_timeout is not None and not 0 < trial_timeout < math.inf:
            raise UserError(f"trial_timeout must be above 0 seconds, got {trial_timeout!r}")
        for name, share in (("cpus_per_trial", cpus_per_trial), ("gpus_per_trial", gpus_per_trial)):
            if share is not None and not (0 <= share <= 1 or (1 < share < math.inf and share == int(share))):
                raise UserError(f"{name} must be a fraction of one or a whole number, got {share!r}")
        _refuse_nothing(cpus_per_trial, gpus_per_trial)
        self._address, self.workers, self._or_fewer = address, workers, or_fewer
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
        prepare: Callable[[], None] = nothing,
    ) -> None:
        """As in `Engine`.

        Raises:
            UserError: Ray is not there, has no room for a single trial or no GPU for an estimator that needs one, or
                the estimator cannot travel.
        """
        with settings_of_ray(), connected(self._address) as own, raylets_silent():
            import ray

            needs = self._needs(estimator, ray.cluster_resources())
            if own:
                self._fit(needs, ray.nodes())
            first = next_job()
            if first is None:
                return
            space = first.architecture.space
            with own_files_by_value(), head_watched(ray.get_runtime_context().gcs_address):
                work = put(estimator, space)
                desk = _Desk(
                    [first],
                    next_job,
                    report,
                    _with_share(done, needs[1]),
                    prepare,
                    lambda: self.workers or max(1, room(ray.nodes(), *needs)),
                    self._timeout,
                    self._retries,
                )
                _tune(desk, trainable(work), needs, self._show)
            self.at_end()
            desk.raise_what_happened()

    def _needs(self, estimator: Estimator, there: Mapping[str, float]) -> tuple[float, float]:
        """Cores and GPUs of one trial."""
        gpus, device = self._gpus, getattr(estimator, "device", None)
        if gpus is None:
            gpus = 1.0 if there.get("GPU", 0) >= 1 and device not in ("cpu", None) else 0.0
        if device == "cuda" and gpus == 0:
            raise UserError(
                "device 'cuda': Ray gives trials no GPU here; if nodes with GPUs join later, pass --gpus-per-trial 1"
            )
        cpus = self._cpus
        if cpus is None:
            cpus = float(getattr(estimator, "threads", 1))
        _refuse_nothing(cpus, gpus)
        return cpus, gpus

    def _show(self, now: Snapshot) -> None:
        self.now = now

    def _fit(self, needs: tuple[float, float], nodes: list[dict[str, Any]]) -> None:
        """Take no more workers than fit, or refuse: a machine of one's own does not grow."""
        fits = room(nodes, *needs)
        if self._or_fewer and self.workers is not None:
            self.workers = max(1, min(self.workers, fits))
        if fits >= (self.workers or 1):
            return
        have = nodes[0]["Resources"]
        raise UserError(
            f"this machine has {have.get('CPU', 0):g} cores and {have.get('GPU', 0):g} GPUs: enough for {fits} trials "
            f"at once with {needs[0]:g} cores and {needs[1]:g} GPUs each, not for {self.workers or 1}; see "
            "--cpus-per-trial and --gpus-per-trial"
        )


@dataclass(eq=False, slots=True)
class _UnderWay:
    """A job that the study gave and that has not ended.

    Attributes:
        answers: what the study said to its reports.
        attempts: how often it was handed to Tune, from that on which made its last new report.
        began: when the first worker and the present one took it up; monotonic seconds.
        too_slow: it was killed for its slowness.
        actor: where it runs.
    """

    job: Job
    answers: Answers = field(default_factory=Answers)
    attempts: int = 0
    began: tuple[float, float] | None = None
    too_slow: bool = False
    actor: Any = None


def _with_share(done: Callable[[int, Ending], None], gpus: float) -> Callable[[int, Ending], None]:
    """Tells what part of a GPU a trial had, where it reserved a part."""
    if not 0 < gpus < 1:
        return done

    def told(number: int, ending: Ending) -> None:
        on_gpu = ending.details.get("device") == "cuda"
        done(number, replace(ending, details={**ending.details, SHARE: gpus}) if on_gpu else ending)

    return told


def _refuse_nothing(cpus: float | None, gpus: float | None) -> None:
    if cpus == gpus == 0:
        raise UserError("cpus_per_trial and gpus_per_trial are both 0: nothing would limit concurrent trials")


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
        prepare: Callable[[], None],
        slots: Callable[[], int],
        timeout: float | None,
        retries: int,
    ) -> None:
        self._next_job, self._report, self._done, self._prepare = next_job, report, done, prepare
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
        trial.attempts, trial.answers.heard = trial.attempts + 1, 0
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

        def tell() -> bool:
            trial.attempts = 1  # it got further than any before it
            return self._safely(lambda: self._report(number, step, accuracy), True)

        return trial.answers.to_next(tell)

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
            reason = f"timeout: not finished after {self._timeout:g} seconds"
        elif trial.attempts > self._retries:
            reason = f"{why} (tried {trial.attempts} times)" if trial.attempts > 1 else why
        else:
            trial.actor = None  # it waits for another, for however long: the time is that of an attempt
            self._ready.append(trial)
            return
        self.ended(number, Ending("failed", now - (last if trial.too_slow else first), reason=reason))

    def look(self) -> None:
        """Kill what takes too long, and prepare a job that there is no place for yet; called several times a second.

        Raises:
            _Over: it is to end at once.
        """
        if not self._goes_on:
            for trial in self._under_way.values():
                _kill(trial.actor)
            raise _Over
        for trial in self._under_way.values():
            if self._timeout is None or trial.began is None or trial.actor is None or trial.too_slow:
                continue
            if time.monotonic() - trial.began[1] > self._timeout:
                trial.too_slow = True
                _kill(trial.actor)
        if not self._ready and not self._dry and len(self._under_way) >= self._limit():
            self._safely(self._prepare, None)

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
                    "parent": job.parent,
                    "weights": job.weights,
                    "stoppable": job.stoppable,
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
            if not desk.reported(number_of(trial), *result["report"]):
                trial.temporary_state.ray_actor.refuse.remote()  # comes before the next step
            return str(TrialScheduler.CONTINUE)

        def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
            desk.ended(number_of(trial), result["ending"])

        def on_trial_add(self, tune_controller: Any, trial: Any) -> None: ...
        def on_trial_error(self, tune_controller: Any, trial: Any) -> None: ...
        def on_trial_remove(self, tune_controller: Any, trial: Any) -> None: ...
        def choose_trial_to_run(self, tune_controller: Any) -> None: ...  # in the order in which they were proposed
        def debug_string(self) -> str:
            return ""

    class Watches(tune.Callback):
        def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            desk.started(number_of(trial), trial.temporary_state.ray_actor)

        def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            desk.died(number_of(trial), what_died(Path(trial.error_file).read_text()))

        def on_step_begin(self, iteration: int, trials: Any, **info: Any) -> None:
            desk.look()

    remove_left(Path(tempfile.gettempdir()).glob(f"{RESULTS}*"))
    with (
        tempfile.TemporaryDirectory(prefix=RESULTS, ignore_cleanup_errors=True) as folder,
        marked(Path(folder)),
        first_interrupt(desk.interrupt, "waiting for the workers"),
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
        return "node died: the node of its worker left the cluster"
    lines = [each.strip() for each in text.splitlines() if each.strip()]
    return f"worker failed: {lines[-1] if lines else 'no reason given'}"


def _kill(actor: Any) -> None:
    import ray

    if actor is not None:
        with contextlib.suppress(Exception):  # it may be gone already
            ray.kill(actor)
