"""A PostgreSQL server of our own, as Debian's package brings it: a socket in a temporary folder, and no port.

It is for tests and benchmarks. `programs` says whether there is one to start.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

USER: Final = "postgres"  # who runs it where we are root, which PostgreSQL refuses to be


def programs() -> Path | None:
    """Where `initdb` and `postgres` lie; None where they cannot be used."""
    if os.geteuid() == 0 and USER not in {each.pw_name for each in pwd.getpwall()}:
        return None
    there = [Path(found).resolve().parent for found in [shutil.which("initdb")] if found]
    there += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda each: -float(each.parent.name))
    return next((each for each in there if (each / "initdb").exists() and (each / "postgres").exists()), None)


@contextlib.contextmanager
def server(durable: bool = False) -> Iterator[str]:
    """Start one; gives the URL of its database, with its password.

    Args:
        durable: wait for the disk at each commit, as a server of which something is expected does.
    """
    where = programs()
    assert where is not None, "no PostgreSQL server here, such as Debian's package postgresql"
    folder, password = Path(tempfile.mkdtemp(prefix="pg-")), secrets.token_hex(16)  # a socket's path must be short
    other = {"user": USER, "group": pwd.getpwnam(USER).pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    try:
        (folder / "password").write_text(password)
        if other:
            for each in (folder, folder / "password"):
                shutil.chown(each, USER)
        secret = ["--username=nas", f"--pwfile={folder / 'password'}", "--auth=scram-sha-256"]
        made = [where / "initdb", "--pgdata", folder / "data", *secret, "--encoding=UTF8", "--locale=C", "--no-sync"]
        subprocess.run(made, check=True, capture_output=True, cwd=folder, **other)  # type: ignore[call-overload]
        settings = {"listen_addresses": "", "unix_socket_directories": folder, "fsync": "on" if durable else "off"}
        begun = [where / "postgres", "-D", folder / "data"]
        begun += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (folder / "log").open("wb") as log:
            running = subprocess.Popen(begun, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=folder, **other)  # type: ignore[call-overload]
        try:
            url = f"postgresql://nas:{password}@/postgres?host={folder}"
            _wait(url, running, folder / "log")
            yield url
        finally:
            running.send_signal(signal.SIGQUIT)  # at once: nothing of it is kept
            running.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait(url: str, running: subprocess.Popen[bytes], log: Path) -> None:
    import psycopg

    until = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(url).close()
            return
        except psycopg.OperationalError as error:
            if running.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"PostgreSQL did not start: {log.read_text()}") from error
            time.sleep(0.05)
