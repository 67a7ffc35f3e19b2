"""The default engine of the command line: as many trials at once as this machine has cores, each with its own threads.

A short training gains little from a second thread, and a search is made of many of them, so a machine with several
cores and no GPU runs one trial on each. Ray does it, on this machine only: it shares the images among the processes,
replaces one that dies, and is there already. Left out: GPUs, which one process fills with several trials
(`LocalEngine`); estimators that say nothing of their threads, which may hold what cannot be sent to another process;
and machines of a cluster (`RAY_ADDRESS`), whose cores are not this process's to take.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from estimators import machine
from estimators.steps import find_device
from searchspaces import UserError
from studies.engine import Ending, Engine, Job, Report, Snapshot, check_device, nothing
from studies.local import LocalEngine
from studies.ray.cluster import RayUnavailableError

if TYPE_CHECKING:
    from estimators import Estimator

WORKER_BYTES: Final = 1 << 30
"""Memory that one worker is taken to need: torch, the activations of a candidate, and room for the largest."""


def cores() -> int:
    """The cores that a search may use: those of this process, or fewer where the environment's `NAS_CORES` says so.

    Raises:
        UserError: `NAS_CORES` is not a number of cores.
    """
    given = os.environ.get("NAS_CORES")
    if given is not None:
        if not given.isdecimal() or int(given) < 1:
            raise UserError(f"NAS_CORES must be a number of cores, at least 1, got {given!r}")
        return int(given)
    return machine.cores()


class EveryCore:
    """One trial on each core; `LocalEngine` where there is one core, a GPU, or no Ray.

    Args:
        device: `auto`, `cpu`, `cuda` or `mps`; `auto` leaves it to the estimator.
        workers: processes, each with one trial; 1 is `LocalEngine`. By default what `workers_for` says.
        on_fallback: told in one line why trials run one after the other though there are several cores.
        at_once: trials at once in this process, which then runs all of them; see `LocalEngine`.
    """

    def __init__(
        self,
        device: str = "auto",
        workers: int | None = None,
        on_fallback: Callable[[str], object] = lambda why: None,
        at_once: int | None = None,
    ) -> None:
        self._device, self._workers, self._on_fallback = device, workers, on_fallback
        self._at_once = 1 if at_once is None and workers == 1 else at_once
        self._engine: Engine | None = None

    @property
    def note(self) -> str | None:
        """How many run at once, in words; None where they run one after the other."""
        workers = getattr(self._engine, "workers", None) or 1
        return f"{workers} trials at once" if workers > 1 else getattr(self._engine, "note", None)

    @property
    def exact_by(self) -> str:
        """By which options a seed would be reproduced in spite of that, in words."""
        return getattr(self._engine, "exact_by", "--workers 1 or --deterministic reproduces a seed exactly")

    @property
    def now(self) -> Snapshot | None:
        """What runs where; None while trials run in this process."""
        return getattr(self._engine, "now", None)

    def workers_for(self, estimator: Estimator) -> int:
        """How many processes: cores over the estimator's threads, and no more than half of the memory holds.

        Raises:
            UserError: the device is not available here.
        """
        own = getattr(estimator, "device", "auto") if self._device == "auto" else self._device
        check_device(own)
        if self._at_once is not None:
            return 1
        if self._workers is not None:
            return self._workers
        threads = getattr(estimator, "threads", None)
        if threads is None or "RAY_ADDRESS" in os.environ or find_device(own).type != "cpu":
            return 1
        return max(1, min(cores() // int(threads), machine.memory_bytes() // 2 // WORKER_BYTES))

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
            UserError: the device is not available here, or there is no room for as many workers as were given.
        """
        count = self.workers_for(estimator)
        if count > 1:
            from studies.ray.engine import RayEngine

            self._engine = RayEngine(workers=count, or_fewer=self._workers is None)
            try:
                return self._engine.run(estimator, next_job, report, done, prepare)
            except RayUnavailableError as error:  # before any job was taken
                self._on_fallback(f"one trial at a time instead of {count}: {error}")
                self._workers = 1
        self._engine = LocalEngine(self._device, self._at_once)
        self._engine.run(estimator, next_job, report, done)
