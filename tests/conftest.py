"""What all tests share: one thread for torch, and the command line called as a person calls it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything imports torch: steady times on shared machines


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Standard output as the one JSON value that it must be."""
        import json

        return json.loads(self.out)


@pytest.fixture
def nas_cli(capfd):
    """The command line in this process, output and exit code and all: `nas_cli("cost", "efficientnet_b0")`."""

    def call(*arguments: str) -> Said:
        from nas.cli import main

        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        said = capfd.readouterr()
        return Said(int(ended.value.code or 0), said.out, said.err)

    return call
