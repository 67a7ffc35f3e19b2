"""The connection to Ray: started in this machine or found at an address, kept quiet, and given back as it was."""

from __future__ import annotations

import contextlib
import gc
import logging
import math
import os
import shutil
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from searchspaces import UserError
from searchspaces.budgeted.automaton import uncollected
from studies.leftovers import marked, remove_left

CONNECT_S: Final = 10.0
"""Seconds in which a cluster must answer."""

QUIET: Final[Mapping[str, str]] = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",  # tells nobody
    "RAY_worker_niceness": "0",  # at Ray's 15, a machine with anything else to do starts and trains ten times slower
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # ours is used
    "TUNE_GLOBAL_CHECKPOINT_S": str(10**9),  # the ledger is the only memory
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
}
"""Settings that Ray takes from the environment only."""


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


class RayUnavailableError(UserError):
    """Ray is not installed, does not start, or has no cluster at the address."""


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[bool]:
    """Ray, connected to; gives whether it was started here."""
    try:
        import ray
        import ray.tune
    except ImportError as error:
        raise RayUnavailableError(
            f"Ray is not installed here ({error}); install it with: pip install 'ray[tune]'"
        ) from error
    log = logging.getLogger("ray")
    if ray.is_initialized():
        log.setLevel(logging.CRITICAL)
        yield False
        return
    own = address == "local" or (address is None and "RAY_ADDRESS" not in os.environ)
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
                _check_address(address or os.environ["RAY_ADDRESS"])
                ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL)
    except Exception as error:  # a bare one where a node does not come up in time
        why = " ".join(str(error).split()[:40])
        where = "cannot start Ray" if own else f"no Ray cluster at {address or os.environ['RAY_ADDRESS']}"
        raise RayUnavailableError(f"{where}: {why}") from error
    if session is not None:
        remove_left(Path(session).parent.glob("session_*"))
    try:
        with marked(Path(session)) if session is not None else contextlib.nullcontext():
            yield own
    finally:
        # Ray's C++ part ends the process with exit code 1 where a reference to one of its objects is dropped while it
        # shuts down. Tune leaves cycles that hold some, and a live screen's thread may collect them just then.
        gc.collect()
        with uncollected():
            ray.shutdown()
        if session is not None:
            shutil.rmtree(session, ignore_errors=True)


@contextlib.contextmanager
def raylets_silent() -> Iterator[None]:
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


def check_listening(host: str, port: int) -> None:
    """Fail at once where no server listens; Ray and MLflow try to reach one for minutes.

    Raises:
        OSError: nothing answers there.
    """
    socket.create_connection((host, port), timeout=CONNECT_S).close()


def _check_address(address: str) -> None:
    """`check_listening`, where the address names a host and a port."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon and port.isdecimal():
        check_listening(host.strip("[]"), int(port))


@contextlib.contextmanager
def _like_this_process() -> Iterator[None]:
    """Start Ray's processes with the modules of this one, and on loopback.

    Ray listens on all of a machine's addresses unless it takes clusters to be impossible there, as on a Mac. Workers
    that train together would look for the address of the machine's name, for minutes where no server knows it.
    """
    from ray._private import ray_constants

    loopback = next((name for _, name in socket.if_nameindex() if name in ("lo", "lo0")), None)
    wanted = {"PYTHONPATH": os.pathsep.join(os.path.abspath(each) for each in sys.path)}
    if loopback is not None:
        wanted |= {"GLOO_SOCKET_IFNAME": loopback, "NCCL_SOCKET_IFNAME": loopback}
    clusters, before = ray_constants.ENABLE_RAY_CLUSTER, {name: os.environ.get(name) for name in wanted}
    ray_constants.ENABLE_RAY_CLUSTER = False
    os.environ.update(wanted)
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = clusters
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
