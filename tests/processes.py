"""Two processes that train together, as Ray's workers do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def run_two(program: str, folder: Path) -> None:
    """Run a program, with its rank and a folder as arguments, in two processes that both must end well."""
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", program]
    environment = {**os.environ, "PYTHONPATH": path}
    several = [subprocess.Popen([*command, str(rank), str(folder)], env=environment) for rank in range(2)]
    assert [each.wait() for each in several] == [0, 0]
