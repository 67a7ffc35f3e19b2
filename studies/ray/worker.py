"""The actor in which trials run: it is made once and reused, with its estimator, its images and torch in it."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from estimators.cuda import fatal_error
from searchspaces import UserError, architecture_from_json, own_code
from searchspaces.catalog import is_ours
from studies.engine import Ending, Job, run_job

if TYPE_CHECKING:
    from estimators import Estimator
    from searchspaces import SearchSpace


def put(estimator: Estimator, space: SearchSpace) -> Any:
    """A reference to both in the object store; numpy arrays are read there without a copy.

    A space of ours is not sent, as workers know it by its name.
    """
    import ray

    try:
        return ray.put((estimator, None if is_ours(space) else space))
    except (TypeError, AttributeError) as error:
        why = " ".join(str(error).split()[:40])
        raise UserError(f"the estimator or the space cannot be sent to other processes: {why}") from error


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


def trainable(work: Any) -> type[Any]:
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

    def begin(self, number: int, architecture: str, seed: int, **others: Any) -> None:
        """Start to estimate."""
        self.goes_on, self._waits = True, False
        self._jobs.put(Job(number, architecture_from_json(architecture, self._space), seed, **others))

    def next(self) -> dict[str, Any]:
        """What happens next in the trial, in the form of Tune's results; the answer to a report is given first.

        Raises:
            RuntimeError: the trial failed and this process can use its GPU no more. Tune reuses no actor that raises,
                and the trial is run again in another.
        """
        if self._waits:
            self._answers.put(self.goes_on)
        said = self._said.get()
        self._waits = not isinstance(said, Ending)
        if isinstance(said, Ending) and said.state == "failed" and (why := fatal_error()) is not None:
            raise RuntimeError(why)
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
