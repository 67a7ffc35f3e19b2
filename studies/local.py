"""The engine of this process: one trial after the other, or several at once on a GPU that one does not fill.

A small network keeps a GPU busy for a fraction of the time; several that take turns, each on a stream of its own, share
it without a second process. How many is measured as the study begins. Left out: threads, since Python has one at a time
and a step is one launch, and more than one GPU, which Ray has.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from estimators.cuda import fatal_error
from estimators.estimator import Advancing
from estimators.steps import find_device, give_back, own_globals
from searchspaces import UserError
from studies.engine import Answers, Ending, Job, Report, advance_job, check_device, failure_kind, nothing, run_job
from studies.trial import SHARE

if TYPE_CHECKING:
    from estimators import Estimator

WINDOW_S: Final = 3.0
"""Seconds over which the speed of so many trials at once is measured."""
GAIN: Final = 1.1
"""Twice as many at once must be this much faster to be kept."""
MOST: Final = 16
"""Trials at once, where the number is measured."""


class LocalEngine:
    """Runs jobs in this process.

    Args:
        device: `auto`, `cpu`, `cuda` or `mps`; `auto` leaves it to the estimator.
        at_once: trials at once, for estimators that can be advanced (`Advancing`); others run one after the other. By
            default one on a CPU, and on a GPU as many as still raise the number of images per second.

    Attributes:
        note: how many run at once, in words; None where they run one after the other.
        exact_by: by which options a seed would be reproduced in spite of that, in words.

    Raises:
        UserError: `at_once` is not at least 1.
    """

    def __init__(self, device: str = "auto", at_once: int | None = None) -> None:
        if at_once is not None and at_once < 1:
            raise UserError(f"at_once must be at least 1, got {at_once}")
        self._device, self._at_once = device, at_once
        self.note: str | None = None
        self.exact_by = ""

    def run(
        self,
        estimator: Estimator,
        next_job: Callable[[], Job | None],
        report: Report,
        done: Callable[[int, Ending], None],
        prepare: Callable[[], None] = nothing,
    ) -> None:
        """As in `Engine`; nothing is prepared, since what thinks here is what trains.

        Raises:
            UserError: the device is not available here, or an error made its GPU unusable for this process. The trial
                that met it has failed, so that a network which always causes it does not stop each resume; what was
                under way beside it has not ended.
        """
        own = getattr(estimator, "device", "auto") if self._device == "auto" else self._device
        check_device(own)

        def ended(number: int, ending: Ending) -> None:
            done(number, ending)
            if ending.state == "failed":
                _check_gpu()

        try:
            self._run(estimator, str(own), next_job, report, ended)
        except RuntimeError:  # also of what cannot be stopped in order on such a GPU
            _check_gpu()
            raise

    def _run(
        self,
        estimator: Estimator,
        device: str,
        next_job: Callable[[], Job | None],
        report: Report,
        done: Callable[[int, Ending], None],
    ) -> None:
        if isinstance(estimator, Advancing):
            width = self._width(device)
            if width.most > 1:
                how = "exactly" if find_device(device).type == "cpu" else "up to rounding"  # which cuDNN does
                self.note = f"up to {width.most} trials at once"
                self.exact_by = f"--at-once 1 or --deterministic reproduces a seed {how}"
                return self._interleave(estimator, width, next_job, report, done)
        while (job := next_job()) is not None:
            done(job.number, run_job(estimator, job, report, self._device))

    def _width(self, device: str) -> Width:
        if self._at_once is not None:
            return Width(self._at_once, measured=False)
        where = find_device(device)
        if where.type != "cuda":
            return Width(1, measured=False)
        from estimators.cuda import room_for_another

        return Width(MOST, measured=True, has_room=lambda under_way: room_for_another(where, under_way))

    def _interleave(
        self,
        estimator: Advancing,
        width: Width,
        next_job: Callable[[], Job | None],
        report: Report,
        done: Callable[[int, Ending], None],
    ) -> None:
        """Advance as many trainings in turns as `width` says."""
        import torch

        device = find_device(getattr(estimator, "device", "auto") if self._device == "auto" else self._device)
        under_way: dict[int, tuple[Job, Generator[int, None, Ending]]] = {}
        again: list[Job] = []  # that ran out of memory beside others, of which there are fewer now
        dry = False  # no job until another one has ended
        answers: dict[int, Answers] = {}
        new: set[int] = set()  # that have done no step yet
        shares = Shares()

        def once(number: int, step: int, accuracy: float) -> bool:
            return answers[number].to_next(lambda: report(number, step, accuracy))

        with own_globals(device, int(getattr(estimator, "threads", torch.get_num_threads()))):
            try:
                while True:
                    while not dry and len(under_way) < width.wanted(len(under_way), bool(new)):
                        job = again.pop() if again else next_job()
                        if job is None:
                            dry = True
                        else:
                            answers.setdefault(job.number, Answers()).heard = 0
                            advancing = advance_job(estimator, job, once, self._device, lambda: len(under_way) > 1)
                            under_way[job.number] = job, advancing
                            new.add(job.number)
                            shares.began(job.number)
                    if not under_way:
                        return
                    for number, (job, advancing) in list(under_way.items()):
                        try:
                            images = next(advancing)
                            width.count(images)
                            if images:
                                new.discard(number)
                            continue
                        except StopIteration as end:
                            ending: Ending = end.value
                        del under_way[number]
                        new.discard(number)
                        share = shares.ended(number)
                        if share < 1:
                            ending = replace(ending, details={**ending.details, SHARE: share})
                        dry = False
                        if under_way and failure_kind(ending.reason) == "out of memory":
                            width.narrow(len(under_way))
                            again.append(job)
                            give_back(device)
                        else:
                            del answers[number]
                            done(number, ending)
            finally:
                for _, advancing in under_way.values():
                    advancing.close()
                give_back(device)


def _check_gpu() -> None:
    """Stop where all that follows would fail.

    Raises:
        UserError: the GPU is unusable in this process.
    """
    why = fatal_error()
    if why is not None:
        raise UserError(f"the GPU is unusable in this process: {why}; resume the study to continue in a new process")


class Shares:
    """How much of a device's time each of several trials had that were under way on it, all alike.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock, self._since = clock, clock()
        self._had: dict[int, tuple[float, float]] = {}  # of each under way: when it began, and seconds until `_since`

    def began(self, number: int) -> None:
        """A trial is under way from now on."""
        self._pass()
        self._had[number] = self._since, 0.0

    def ended(self, number: int) -> float:
        """The mean share of a trial that is under way no more, in [0, 1]: 1 if it was alone.

        >>> times = iter([0.0, 0.0, 4.0, 8.0])
        >>> shares = Shares(lambda: next(times))
        >>> shares.began(1), shares.began(2), shares.ended(1)  # alone for half of its time, then one of two
        (None, None, 0.75)
        """
        self._pass()
        began, had = self._had.pop(number)
        return had / (self._since - began) if self._since > began else 1.0

    def _pass(self) -> None:
        """Divide the time since the last change."""
        now = self._clock()
        for number, (began, had) in self._had.items():
            self._had[number] = began, had + (now - self._since) / len(self._had)
        self._since = now


class Width:
    """How many trials at once: twice as many as long as that is faster, no more than fit into memory.

    Args:
        most: the largest number.
        measured: whether to find the number by measuring; otherwise it is `most`.
        has_room: whether one more fits into memory, given how many are under way, all of which have done a step.
        clock: seconds.
    """

    def __init__(
        self,
        most: int,
        measured: bool,
        has_room: Callable[[int], bool] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.most, self._measured, self._has_room, self._clock = most, measured, has_room, clock
        self._target = 1 if measured else most
        self._speed = 0.0  # images per second at half of the target
        self._images, self._since = 0, 0.0
        self._full: int | None = None  # so many under way that there was no room for one more

    def wanted(self, under_way: int, new: bool = False) -> int:
        """How many should be under way.

        Args:
            under_way: how many are.
            new: whether some of them have done no step, so that nobody knows what memory they need.
        """
        target = min(self._target, self.most)
        if self._has_room is None or under_way == 0 or under_way >= target:
            return target
        if new or under_way == self._full:  # to ask makes the device wait
            return under_way
        self._full = None if self._has_room(under_way) else under_way
        return target if self._full is None else under_way

    def count(self, images: int) -> None:
        """So many images were processed by a step."""
        if not self._measured:
            return
        now = self._clock()
        if not self._images:  # a window begins after the first step, since what is prepared before it takes its time
            self._since = now
        self._images += images
        if now - self._since < WINDOW_S:
            return
        speed = self._images / (now - self._since)
        if speed < GAIN * self._speed:
            self._measured, self._target = False, self._target // 2
        elif 2 * self._target > self.most:
            self._measured = False
        else:
            self._speed, self._target, self._images = speed, 2 * self._target, 0

    def narrow(self, most: int) -> None:
        """No more than so many at once from now on."""
        self.most, self._measured, self._target = most, False, min(most, self._target)
