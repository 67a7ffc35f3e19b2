"""Which trial is on which node, and how much of the cluster is in use: for the eyes of the person at the driver.

Nothing here decides anything. A worker is asked once where it is, the cluster every other second what is in use.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from studies.engine import Snapshot

REFRESH_S: Final = 2.0
"""Seconds after which the cluster is asked again."""

KINDS: Final = ("CPU", "GPU")


def lookout(show: Callable[[Snapshot], None]) -> Any:
    """A callback of Tune that tells whenever something has changed.

    Args:
        show: called in the driver's thread.
    """
    import ray
    from ray import tune

    class Lookout(tune.Callback):
        def __init__(self) -> None:
            self._workers: dict[int, str] = {}  # of trials under way, by number
            self._asked: dict[Any, str] = {}  # answers to come, and whose they will be
            self._nodes: dict[str, str] = {}  # the node of each worker
            self._names: dict[str, str] = {}  # what nodes are called
            self._used: dict[str, float] = {}
            self._there: dict[str, float] = {}
            self._counted = float("-inf")
            self._shown: Snapshot | None = None

        def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            actor = trial.temporary_state.ray_actor
            worker = str(actor)  # has its identity; the actor itself is Tune's to keep
            self._workers[_number(trial)] = worker
            if worker not in self._nodes and worker not in self._asked.values():
                self._asked[actor.where.remote()] = worker  # answered before the training begins

        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            self._workers.pop(_number(trial), None)

        def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            self._workers.pop(_number(trial), None)

        def on_step_begin(self, iteration: int, trials: Any, **info: Any) -> None:
            self._hear()
            places = {number: self._nodes[at] for number, at in self._workers.items() if at in self._nodes}
            unknown = any(node not in self._names for node in places.values())
            if unknown or time.monotonic() - self._counted > REFRESH_S:
                self._count()
            called = {number: self._names.get(node, "a node that is gone") for number, node in places.items()}
            now = Snapshot(called, self._used, self._there, len(self._names))
            if now != self._shown:
                self._shown = now
                show(now)

        def _hear(self) -> None:
            """Take the answers that have come; a worker that died gave none."""
            if self._asked:
                for answer in ray.wait(list(self._asked), num_returns=len(self._asked), timeout=0)[0]:
                    worker = self._asked.pop(answer)
                    with contextlib.suppress(ray.exceptions.RayError):
                        self._nodes[worker] = ray.get(answer)

        def _count(self) -> None:
            self._counted = time.monotonic()
            self._names = names(ray.nodes())
            there, free = ray.cluster_resources(), ray.available_resources()
            self._there = {kind: there.get(kind, 0.0) for kind in KINDS}
            self._used = {kind: max(self._there[kind] - free.get(kind, 0.0), 0.0) for kind in KINDS}

    return Lookout()


def names(nodes: list[dict[str, Any]]) -> dict[str, str]:
    """What a person calls the nodes that are alive, by their ids: the name given, else the host, else the address.

    >>> node = {"Alive": True, "NodeManagerAddress": "10.0.0.7", "NodeManagerHostname": "gpu-7", "NodeName": "10.0.0.7"}
    >>> names([{**node, "NodeID": "a"}, {**node, "NodeID": "b", "NodeName": "left"}])
    {'a': 'gpu-7', 'b': 'left'}
    """
    alive = [node for node in nodes if node["Alive"]]
    hosts = Counter(node["NodeManagerHostname"] for node in alive if node["NodeName"] == node["NodeManagerAddress"])

    def name(node: dict[str, Any]) -> str:
        if node["NodeName"] != node["NodeManagerAddress"]:
            return str(node["NodeName"])
        if hosts[node["NodeManagerHostname"]] == 1:
            return str(node["NodeManagerHostname"])
        return str(node["NodeManagerAddress"])

    return {node["NodeID"]: name(node) for node in alive}


def _number(trial: Any) -> int:
    return int(trial.config["job"]["number"])
