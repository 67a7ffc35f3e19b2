"""Where estimators run. An engine knows nothing of strategies and ledgers: it is given jobs and hands back how they
ended."""

from __future__ import annotations

import json
import math
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from estimators import Diverged, Estimate, Pruned, TrialContext
from estimators.core import finished
from estimators.steps import DEVICES, find_device
from studies.checkpoints import reachable
from studies.energy import ENERGY, counters, reading

if TYPE_CHECKING:
    from estimators import Estimator
    from estimators.estimator import Advancing
    from searchspaces import Architecture

Report = Callable[[int, int, float], bool]
"""Takes a trial's number, the step (1 after the first epoch; of a rung 0 or less) and the accuracy in [0, 1]; False
means stop."""

_LONGEST: Final = 4000  # characters kept of a text, from its beginning; of a traceback from the end


@dataclass(frozen=True, slots=True)
class Job:
    """One trial to run.

    Attributes:
        seed: the only randomness of the estimate.
        checkpoint: where its training may be kept while it lasts; None is nowhere.
        parent: where the weights are that it starts from; None starts from scratch.
        weights: where it leaves its own; None does not keep them.
        stoppable: whether a pruner may stop it.
    """

    number: int
    architecture: Architecture
    seed: int
    checkpoint: str | None = None
    parent: str | None = None
    weights: str | None = None
    stoppable: bool = True


@dataclass(frozen=True, slots=True)
class Ending:
    """How a job ended.

    Attributes:
        accuracy: in [0, 1]; None for a failed one.
        curve: accuracy after each epoch, in [0, 1]; empty for a failed one.
        seconds: wall-clock time.
        reason: why it failed or was pruned.
        details: plain JSON values.

    Text of an estimator may hold bytes that are not UTF-8, which no file and no screen takes: they become escapes. Of
    text above 4,000 characters, such as a message with all keys of a network, the beginning is kept.
    """

    state: Literal["complete", "pruned", "failed"]
    seconds: float
    accuracy: float | None = None
    curve: tuple[float, ...] = ()
    reason: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("reason", "details"):
            object.__setattr__(self, name, _kept(getattr(self, name)))


def _kept(value: Any) -> Any:
    """A JSON value whose text can be written as UTF-8, and is not too long for a ledger, a table and a screen.

    >>> _kept({"name": ["caf\\udce9"]})
    {'name': ['caf\\\\udce9']}
    """
    if isinstance(value, str):
        text = value.encode("utf-8", "backslashreplace").decode()
        return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
    if isinstance(value, Mapping):
        return {_kept(key): _kept(each) for key, each in value.items()}
    return [_kept(each) for each in value] if isinstance(value, list) else value


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is where, in an engine that runs trials elsewhere.

    Attributes:
        places: the name of the node of each trial that a worker has taken up, by the trial's number.
        used, there: in use and there in all, by kind, `CPU` and `GPU`; what others run counts too.
        nodes: how many there are.
    """

    places: Mapping[int, str]
    used: Mapping[str, float]
    there: Mapping[str, float]
    nodes: int


def nothing() -> None:
    """What an engine that is given no `prepare` calls in its place."""


class Engine(Protocol):
    """Runs jobs until there are no more."""

    def run(
        self,
        estimator: Estimator,
        next_job: Callable[[], Job | None],
        report: Report,
        done: Callable[[int, Ending], None],
        prepare: Callable[[], None] = nothing,
    ) -> None:
        """Ask for jobs, run them, and return when there is none left and none under way.

        The functions are called from one thread, that of the caller. Any of them may raise: the engine then stops what
        is under way and lets the error through.

        Args:
            estimator: estimates each job's architecture, with the job's seed.
            next_job: gives the next job. None means none for now: ask again after another one has ended.
            report: called as accuracies come in.
            done: called once for each job, with its number.
            prepare: thinks of the next job before it is asked for; for engines whose driver is idle while trials run,
                to be called at any time while there is no place for one.
        """
        ...


def check_device(name: object) -> None:
    """Refuse a device that this machine does not have, which is better said once than by every trial.

    Raises:
        UserError: the device is not available here; the message lists those that are.
    """
    if name in DEVICES and name not in ("auto", "cpu"):
        find_device(str(name))


def run_job(estimator: Estimator, job: Job, report: Report, device: str = "auto") -> Ending:
    """Estimate one job; whatever the estimator raises becomes an ending, and what `report` raises comes through.

    Args:
        estimator, job: what is to be done.
        report: as in `Engine.run`.
        device: for the trial's context.
    """

    def advancing(context: TrialContext) -> Generator[int, None, Estimate]:
        yield from ()
        return estimator.estimate(job.architecture, context)

    return finished(_advanced(advancing, job, report, device, _first_step(estimator)))


def advance_job(
    estimator: Advancing,
    job: Job,
    report: Report,
    device: str = "auto",
    shared: Callable[[], bool] = lambda: False,
) -> Generator[int, None, Ending]:
    """`run_job` step by step, for an estimator that can be advanced; yields what it yields.

    Args:
        estimator, job, report, device: as there.
        shared: as in `TrialContext`.
    """
    return _advanced(
        lambda context: estimator.advance(job.architecture, context),
        job, report, device, _first_step(estimator), shared,
    )  # fmt: skip


@dataclass(slots=True)
class Answers:
    """What the study said to each report of a job, so that none is told twice where the job begins again.

    Attributes:
        said: to the reports of all attempts.
        heard: reports of the present attempt.
    """

    said: list[bool] = field(default_factory=list)
    heard: int = 0

    def to_next(self, tell: Callable[[], bool]) -> bool:
        """The answer to the next report of the present attempt, which the study is told if no attempt told it."""
        self.heard += 1
        if self.heard > len(self.said):
            self.said.append(tell())
        return self.said[self.heard - 1]


def _first_step(estimator: object) -> int:
    """Of its reports: 1, or with rungs before the first epoch so many less."""
    return 1 - int(getattr(estimator, "climbs", 0))


def _advanced(
    begin: Callable[[TrialContext], Generator[int, None, Estimate]],
    job: Job,
    report: Report,
    device: str,
    first: int,
    shared: Callable[[], bool] = lambda: False,
) -> Generator[int, None, Ending]:
    start, before = time.perf_counter(), counters()
    unheard: list[BaseException] = []
    places = {name: reachable(getattr(job, name)) for name in ("checkpoint", "parent", "weights")}

    def checked_report(step: int, accuracy: float) -> bool:
        step, accuracy = int(step), float(accuracy)
        if step < first or not 0.0 <= accuracy <= 1.0:  # NaN fails here too
            raise ValueError(
                f"report(step, accuracy) needs a step from {first} and an accuracy in [0, 1], got {step}, {accuracy}"
            )
        try:
            return report(job.number, step, accuracy)
        except BaseException as error:  # a full disk is not the estimator's failure, even if it catches everything
            unheard.append(error)
            raise

    def ended() -> Generator[int, None, Ending]:
        context = TrialContext(
            job.seed, device, checked_report, places["checkpoint"], places["parent"], places["weights"], job.stoppable,
            shared,
        )  # fmt: skip
        try:
            estimate = yield from begin(context)
        except Pruned as pruned:
            return Ending("pruned", *_sound(pruned.seconds, pruned.accuracy, pruned.curve), f"pruned: {pruned}")
        if not isinstance(estimate, Estimate):
            raise TypeError(f"estimate() must return an Estimate, got {type(estimate).__name__}")
        details = json.loads(json.dumps(dict(estimate.details), default=str))
        for name, told in (("parent", "inherited"), ("weights", "weights")):
            if getattr(job, name) is not None and places[name] is None:
                details[told] = "not reached: the folder of the weights is not on this machine"
        return Ending("complete", *_sound(estimate.seconds, estimate.accuracy, estimate.curve), None, details)

    try:
        ending = yield from ended()
    except (Exception, SystemExit) as error:  # `sys.exit` would end the study, and every resume of it
        where = {} if isinstance(error, Diverged) else {"traceback": traceback.format_exc()[-_LONGEST:]}
        ending = Ending("failed", time.perf_counter() - start, reason=_reason(error), details=where)
    if unheard:
        raise unheard[0]
    if ending.details.get("device", "cuda") != "cuda":  # a process may use a GPU for something else
        return ending
    energy = reading(before)
    return ending if energy is None else replace(ending, details={**ending.details, ENERGY: energy})


def _sound(seconds: float, accuracy: float, curve: Iterable[float]) -> tuple[float, float, tuple[float, ...]]:
    """What a trial ended with, as plain numbers that its ledger can hold.

    Raises:
        ValueError: it cannot.
    """
    seconds, accuracy, curve = float(seconds), float(accuracy), tuple(map(float, curve))
    if not 0.0 <= seconds < math.inf:
        raise ValueError(f"seconds must be finite and at least 0, got {seconds}")
    for each in (accuracy, *curve):
        if not 0.0 <= each <= 1.0:
            raise ValueError(f"accuracies, those of the curve too, must be in [0, 1], got {each}")
    return seconds, accuracy, curve


def failure_kind(reason: str | None) -> str:
    """What failed trials have in common that failed alike.

    >>> failure_kind("out of memory: tried to allocate 2 GiB"), failure_kind("ValueError: 3 is not 4")
    ('out of memory', 'ValueError')
    """
    return (reason or "").partition(":")[0]


def _reason(error: BaseException) -> str:
    """One line: what kind of failure, and the error's own words."""
    message = " ".join(str(error).split())
    if isinstance(error, Diverged):
        kind = "diverged"
    elif isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or _says_out_of_memory(message):
        kind = "out of memory"
    else:
        kind = type(error).__name__
    return f"{kind}: {message}" if message else kind


def _says_out_of_memory(message: str) -> bool:
    """How torch's CPU, MPS and older CUDA allocators say it, in a plain RuntimeError."""
    return any(words in message for words in ("out of memory", "can't allocate memory", "not enough memory"))
