"""Memory of a worker over hundreds of trials: does it give back what each network took?

    python -m benchmarks.actor_memory [--trials N] [--sweeps N] [--device NAME] [--json]

One reused actor of the Ray engine trains networks of an `mbconv` space one after the other, each larger than the one
before, a few times from the smallest to the largest. Its resident memory (and what torch holds of a GPU) is read as
each trial begins, when nothing of the trial before is needed any more. The goal is a flat line: after a sweep at most
10 % above what it was after the first, and the largest network costs nothing that a small one does not.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from estimators import Estimate, ShortTraining, TrialContext, load_data
from searchspaces import Architecture, Budget, Task, space_named
from studies import Study
from studies.ray.engine import RayEngine
from studies.settings import Settings

TASK = Task()
GOAL = 0.1


class Watched:
    """Short training that says what its process holds as a trial begins."""

    def __init__(self, device: str) -> None:
        self._training = ShortTraining(load_data("digits"), epochs=1, data_fraction=0.05, device=device)
        self.device = device

    def describe(self) -> dict[str, Any]:
        """As in `Estimator`."""
        return self._training.describe()

    def estimate(self, architecture: Architecture, context: TrialContext) -> Estimate:
        """As in `Estimator`."""
        before = {"process": os.getpid(), "resident_mib": resident_mib(), "gpu_mib": gpu_mib()}
        estimate = self._training.estimate(architecture, context)
        return Estimate(estimate.accuracy, estimate.seconds, estimate.curve, before)


class InTurn:
    """Proposes what it is given, in order."""

    def __init__(self, networks: list[Architecture]) -> None:
        self._networks, self._told = networks, 0
        self.settings: dict[str, Any] = {}

    def ask(self, rng: np.random.Generator) -> Architecture:
        """As in `Strategy`."""
        return self._networks[self._told]

    def tell(self, architecture: Architecture, outcome: Any) -> None:
        """As in `Strategy`."""
        self._told += outcome.state == "running"


def resident_mib() -> float:
    """Of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def gpu_mib() -> float:
    """What torch holds of a GPU for this process, whether in use or not."""
    import torch

    return torch.cuda.memory_reserved() / 2**20 if torch.cuda.is_available() else 0.0


def measure(trials: int, sweeps: int, device: str) -> list[dict[str, Any]]:
    """What the worker held as each trial began, with the parameters of the network."""
    space = space_named("mbconv")
    rng = np.random.default_rng(0)
    drawn = {space.sample(rng): None for _ in range(trials // sweeps)}
    networks = sorted(drawn, key=lambda each: each.cost(TASK).params) * sweeps
    study = Study.create(
        None,
        Settings(
            space=space,
            task=TASK,
            budget=Budget.parse("100%"),
            strategy=InTurn(networks),
            estimator=Watched(device),
            trials=len(networks),
            replicas=True,
        ),
    )
    study.run(engine=RayEngine(workers=1))
    failed = [trial.reason for trial in study.trials if trial.state != "complete"]
    assert not failed, failed
    return [{"params": trial.cost.params, **trial.details} for trial in study.trials]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--sweeps", type=int, default=5)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    held = measure(given.trials, given.sweeps, given.device)
    each = len(held) // given.sweeps
    after_first = held[each]["resident_mib"]  # as the second sweep begins
    later = [one["resident_mib"] for one in held[each:]]
    found = {
        "trials": len(held),
        "processes": len({one["process"] for one in held}),
        "first_mib": held[0]["resident_mib"],
        "after_first_sweep_mib": after_first,
        "highest_later_mib": max(later),
        "growth": max(later) / after_first - 1,
        "goal": GOAL,
        "gpu_mib": [min(one["gpu_mib"] for one in held[1:]), max(one["gpu_mib"] for one in held)],
        "held": held,
    }
    if given.json:
        print(json.dumps(found, indent=2))
        return
    print("trial  parameters  resident   GPU, reserved")
    for number, one in enumerate(held):
        if number % max(1, each // 6) == 0 or number == len(held) - 1:
            line = f"{number:5}  {one['params'] / 1e6:9.2f}M  {one['resident_mib']:6.0f} MiB  {one['gpu_mib']:6.0f} MiB"
            print(line)
    print(f"{found['processes']} process for {found['trials']} trials")
    print(f"after the first sweep {after_first:.0f} MiB; at most {found['highest_later_mib']:.0f} MiB later:", end=" ")
    print(f"{found['growth']:+.1%}, goal {GOAL:.0%} at most")


if __name__ == "__main__":
    main()
