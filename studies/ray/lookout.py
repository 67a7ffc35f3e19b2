"""What the driver sees of the cluster: whether its head is there, which trial is on which node, and what is in use.

Nothing here decides anything. A worker is asked once where it is, the cluster every other second what is in use. While
a head is gone all of Ray's calls wait for it, so it is looked for from a thread.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

from studies.engine import Snapshot

REFRESH_S: Final = 2.0
"""Seconds after which the cluster is asked again."""

KINDS: Final = ("CPU", "GPU")


HEAD_S: Final = 20.0
"""Seconds for which a head may be silent, as when it is started again, before a person is told."""


@contextlib.contextmanager
def head_watched(address: str) -> Iterator[None]:
    """Say on standard error when the head of the cluster is gone: Ray only ends the process, a minute later.

    Args:
        address: host and port.
    """
    host, _, port = address.rpartition(":")
    over = threading.Event()

    def watch() -> None:
        answered = time.monotonic()
        while not over.wait(REFRESH_S):
            with contextlib.suppress(OSError):
                socket.create_connection((host.strip("[]"), int(port)), timeout=REFRESH_S).close()
                answered = time.monotonic()
            if time.monotonic() - answered > HEAD_S:
                print(
                    f"nas: the head of the Ray cluster at {address} has not answered for {HEAD_S:g} seconds; after a "
                    "minute Ray ends this process. Finished trials are in the ledger: resume when the cluster is back",
                    file=sys.stderr,
                    flush=True,
                )
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


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
            self._workers[number_of(trial)] = worker
            if worker not in self._nodes and worker not in self._asked.values():
                self._asked[actor.where.remote()] = worker  # answered before the training begins

        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            self._workers.pop(number_of(trial), None)

        def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            self._workers.pop(number_of(trial), None)

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


def number_of(trial: Any) -> int:
    """The number in the study of one of Tune's trials."""
    return int(trial.config["job"]["number"])
