"""Searches of packages that want other versions than `nas` does: in another Python, through pipes (`server`)."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from nas.peers.here import Observe
from searchspaces import UserError

SERVER: Final = Path(__file__).with_name("server.py")

_SERVERS: dict[str, subprocess.Popen[str]] = {}
"""One for each Python, as importing NNI takes seconds; each ends when its input does."""


def search_elsewhere(
    python: str, name: str, observe: Observe, sizes: Sequence[int], trials: int, seed: int, **settings: Any
) -> None:
    """Run a search in another Python to its last trial; arguments as for `catalog.search`, the name as in `server`.

    Raises:
        UserError: it ended before its last trial; what it said of that is on standard error.
    """
    if python not in _SERVERS:
        _SERVERS[python] = subprocess.Popen(
            [python, "-P", str(SERVER)],  # -P: no file beside it is taken for a package
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            start_new_session=True,  # Ctrl-C is for the process that waits, which closes it
        )
    server = _SERVERS[python]
    assert server.stdin
    assert server.stdout
    asked = {"search": name, "settings": settings, "digits": list(sizes), "trials": trials, "seed": seed}
    try:
        server.stdin.write(json.dumps(asked) + "\n")
        while (line := server.stdout.readline()) != "null\n":
            if not line:
                raise BrokenPipeError
            server.stdin.write(json.dumps(observe(json.loads(line)).accuracy) + "\n")
    except BrokenPipeError:
        close()
        raise UserError(f"{name} in {python} ended before its last trial; its output is above") from None


def version_elsewhere(python: str, module: str, package: str) -> str | None:
    """The version of a package in another Python; None where it is not installed.

    Raises:
        UserError: there is no such Python, or it does not run.
    """
    asked = (
        "import importlib.metadata as m, importlib.util as u; "
        f"print(m.version({package!r}) if u.find_spec({module!r}) else '')"
    )
    try:
        told = subprocess.run([python, "-P", "-c", asked], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        raise UserError(f"--peers-python: cannot run {python!r}: {error}") from error
    return told.stdout.strip() or None


def close() -> None:
    """End the searches' processes."""
    while _SERVERS:
        _, server = _SERVERS.popitem()
        assert server.stdin
        assert server.stdout
        with contextlib.suppress(BrokenPipeError):
            server.stdin.close()
        server.stdout.close()
        server.terminate()
        server.wait()
