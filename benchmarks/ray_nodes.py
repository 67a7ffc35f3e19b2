"""Ray nodes on this machine that are ours to kill, for benchmarks and tests.

`ray start` listens on all addresses of a machine; a token that only its children know keeps everybody else out.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self


class Nodes:
    """Nodes of one cluster, each with its processes in a group of its own, behind a token of our own.

    Args:
        log: where the nodes say what they do.
        paths: folders that workers and drivers import from, besides the repository.
        settings: more of the environment.

    Attributes:
        environment: what a driver needs to be let in.
        address: of the head.
    """

    def __init__(self, log: Path, *paths: Path, **settings: str) -> None:
        root = Path(__file__).parent.parent
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, [root, *paths])),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            **settings,
        }
        self.address = ""
        self._started: list[subprocess.Popen[bytes]] = []
        self._log = log.open("wb", buffering=0)
        self._folder = tempfile.mkdtemp(prefix="ray-")  # a socket's path must be short

    def head(self, *options: str) -> subprocess.Popen[bytes]:
        """A head that runs no trials; another one takes the place, and the address, of the one before."""
        from ray.util import get_node_ip_address

        if not self.address:
            with socket.socket() as free:
                free.bind(("", 0))
                self.address = f"{get_node_ip_address()}:{free.getsockname()[1]}"
        port, place = f"--port={self.address.rpartition(':')[2]}", f"--temp-dir={self._folder}"
        return self._start("--head", port, "--num-cpus=0", "--include-dashboard=false", place, *options)

    def worker(self, name: str) -> subprocess.Popen[bytes]:
        """A node for one trial at a time."""
        return self._start(f"--address={self.address}", "--num-cpus=1", f"--node-name={name}")

    def _start(self, *options: str) -> subprocess.Popen[bytes]:
        """A node that is up; a busy machine may need a second try."""
        start = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
        command = [*start, "--dashboard-agent-listen-port=0", *options]  # 52365, the usual one, is another Ray's here
        for _ in range(3):
            before = self._ready()
            node = subprocess.Popen(
                command,
                env=self.environment,
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
            )
            self._started.append(node)
            wait_for(lambda: self._ready() > before or node.poll() is not None, 180)  # noqa: B023 - waited for here
            if node.poll() is None:
                return node
            self.kill(node)
        raise AssertionError(f"no node came up; see {self._log.name}")

    def _ready(self) -> int:
        return Path(self._log.name).read_text().count("Ray runtime started")

    def kill(self, node: subprocess.Popen[bytes]) -> None:
        """SIGKILL to all processes of a node: its machine is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(node.pid, signal.SIGKILL)
        node.wait(10)

    def kill_all(self) -> None:
        """SIGKILL to every node."""
        while self._started:
            self.kill(self._started.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill_all()
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def wait_for(what: Callable[[], bool], seconds: float) -> None:
    """Wait until something is so.

    Raises:
        AssertionError: it is not so after all these seconds.
    """
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.1)
