"""What Ray costs a trial beyond its training, and what a second worker brings.

    python -m benchmarks.ray_overhead [--trials N] [--plain N] [--json]

First a trivial estimator: seconds per trial in our engine, and in a plain Tune function trainable in the same run; the
goal is a fifth of it at most. Then trainings of a fixed number of multiplications on one core: trials per second with
two workers and with one; the goal is 1.8 times, on two cores that nobody else uses. What two processes without Ray
gain at the same work is measured beside: more there is not.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from typing import Any

import numpy as np

from estimators import Estimate, TrialContext
from searchspaces import Architecture, Budget, Space, Stage, Task, choice, conv_head, conv_stem, mbconv
from studies import Study, TrialEnded
from studies.ray.cluster import connected, settings_of_ray
from studies.ray.engine import RayEngine
from studies.settings import Settings

TASK = Task(image_size=32, channels=3, classes=10)
SPACE = Space(
    "small",
    stem=Stage(conv_stem, width=8, stride=2),
    stages=[
        Stage(mbconv, width=choice(8, 16), depth=choice(1, 2), kernel=choice(3, 5), expansion=choice(1, 2), stride=2),
        Stage(mbconv, width=choice(16, 24), depth=choice(1, 2, 3), kernel=choice(3, 5, 7), expansion=choice(1, 2, 3)),
    ],
    head=Stage(conv_head, width=choice(32, 48)),
)


class Busy:
    """Multiplies matrices on one core; reports once.

    Args:
        products: of matrices of 192 x 192.
    """

    def __init__(self, products: int = 0) -> None:
        self._products = products

    def describe(self) -> dict[str, Any]:
        """As in `Estimator`."""
        return {"name": "busy", "products": self._products}

    def estimate(self, architecture: Architecture, context: TrialContext) -> Estimate:
        """As in `Estimator`."""
        began = time.perf_counter()
        multiply(self._products)
        context.report(1, 0.5)
        return Estimate(0.5, time.perf_counter() - began, (0.5,))


def multiply(products: int) -> None:
    """Work for one core."""
    matrix = np.full((192, 192), 1 / 192)
    for _ in range(products):
        matrix = matrix @ matrix


def gain_without_ray(products: int) -> float:
    """How much more two processes do than one."""
    seconds = []
    for count in (1, 2):
        with multiprocessing.get_context("spawn").Pool(count) as pool:
            pool.map(multiply, [1] * count, chunksize=1)  # imports are not counted
            began = time.perf_counter()
            pool.map(multiply, [products] * 8 * count, chunksize=1)
            seconds.append((time.perf_counter() - began) / count)
    return seconds[0] / seconds[1]


def engine_seconds(trials: int, products: int, workers: int) -> tuple[float, float]:
    """Wall-clock and training seconds of each trial but the first of each worker, which waits for its process."""
    study = Study.create(
        None,
        Settings(
            space=SPACE,
            task=TASK,
            budget=Budget.parse("1.5M"),
            strategy="random",
            estimator=Busy(products),
            trials=trials + workers,
        ),
    )
    ends: list[float] = []

    def note(event: Any) -> None:
        if isinstance(event, TrialEnded):
            ends.append(time.perf_counter())

    study.run(engine=RayEngine(workers=workers), on_event=note)
    seconds = [trial.seconds or 0.0 for trial in study.trials]
    return (ends[-1] - ends[workers - 1]) / (len(ends) - workers), sum(seconds) / len(seconds)


def plain_seconds(trials: int) -> float:
    """Wall-clock seconds per trial of a function trainable, one at a time, actors not reused as Tune does not."""
    from ray import tune

    ends: list[float] = []

    class Notes(tune.Callback):
        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            ends.append(time.perf_counter())

    def trivial(config: dict[str, Any]) -> None:
        tune.report({"accuracy": 0.5})

    with tempfile.TemporaryDirectory() as folder:
        tune.run(
            trivial,
            num_samples=trials + 1,
            max_concurrent_trials=1,
            resources_per_trial={"cpu": 1},
            storage_path=folder,
            callbacks=[Notes()],
            verbose=0,
        )
    return (ends[-1] - ends[0]) / (len(ends) - 1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--plain", type=int, default=20, help="trials of the function trainable; they are alike")
    parser.add_argument("--products", type=int, default=2000, help="matrix products in a training")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # in the workers
    gain = gain_without_ray(given.products)
    with settings_of_ray(), connected(None):
        wall_s, training_s = engine_seconds(given.trials, 0, workers=1)
        plain_s = plain_seconds(given.plain)
        one_s, alone_s = engine_seconds(24, given.products, workers=1)
        two_s, beside_s = engine_seconds(48, given.products, workers=2)
    found = {
        "trials": given.trials,
        "overhead_s": wall_s - training_s,
        "plain_s": plain_s,
        "share_of_plain": (wall_s - training_s) / plain_s,
        "one_worker_s": one_s,
        "two_workers_s": two_s,
        "speed_of_two": one_s / two_s,
        "speed_of_two_processes_without_ray": gain,
        "training_alone_s": alone_s,
        "training_beside_another_s": beside_s,
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
    }
    if given.json:
        print(json.dumps(found, indent=2))
        return
    print(f"beyond the training, per trial      {found['overhead_s']:8.3f} s   ({given.trials} trials)")
    print(f"plain Tune function, per trial      {plain_s:8.3f} s   ({given.plain} trials)")
    print(f"share                               {found['share_of_plain']:8.1%}     goal: 20% at most")
    print(f"one worker, per trial               {one_s:8.3f} s   of which training {alone_s:.3f} s")
    print(f"two workers, per trial              {two_s:8.3f} s   a training beside another takes {beside_s:.3f} s")
    print(f"two workers, trials against one     {found['speed_of_two']:8.2f}     goal: 1.8; without Ray {gain:.2f}")
    print(f"cores {found['cores']}, load {found['load']:.1f}: with others at work the last number says little")


if __name__ == "__main__":
    main()
