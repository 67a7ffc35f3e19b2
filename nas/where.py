"""Where trials run, as a person types it: in this process, or on Ray."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from nas.wording import parse_duration
from searchspaces.errors import UserError

if TYPE_CHECKING:
    from studies import Engine

ADDRESS: Final = re.compile(r"auto|[^\s/:]+:\d+|\[[0-9a-fA-F:]+\]:\d+")
"""What may follow `--ray`; anything else is the next argument."""


@dataclass(frozen=True, slots=True)
class Where:
    """The options by which a person says it.

    Attributes:
        ray: the address of a cluster; empty for this machine; None for this process.
        workers: trials under way at once.
        cpus, gpus: of one trial.
        timeout: of one trial, as text.
    """

    ray: str | None = None
    workers: int | None = None
    cpus: float | None = None
    gpus: float | None = None
    timeout: str | None = None

    def engine(self, device: str = "auto") -> Engine | None:
        """The engine; None for the usual one.

        Args:
            device: that trials need. Where they run on Ray it need not be here.

        Raises:
            UserError: a number is out of range, an option is of no use without `--ray`, or the device is not here.
        """
        if self.ray is None:
            from studies.engine import check_device

            check_device(device)
            for option, value in self._options().items():
                if value is not None:
                    raise UserError(f"{option} is for trials on Ray: add --ray")
            return None
        from studies.ray.engine import RayEngine

        timeout_s = None if self.timeout is None else parse_duration(self.timeout)
        return RayEngine(self.ray or None, self.workers, self.cpus, self.gpus, timeout_s)

    def wave(self, deterministic: bool) -> int | None:
        """Proposals in a wave, where the order in which trials end is to change nothing.

        Raises:
            UserError: nobody said how many are under way at once.
        """
        if not deterministic:
            return None
        if self.workers is None:
            raise UserError("--deterministic proposes in waves of as many as --workers: add --ray --workers N")
        return self.workers

    def words(self) -> str:
        """The same options, to be typed again.

        >>> Where("head:6379", workers=8, gpus=0.5).words()
        ' --ray head:6379 --workers 8 --gpus-per-trial 0.5'
        """
        if self.ray is None:
            return ""
        given = [
            f"{option} {shlex.quote(str(value))}" for option, value in self._options().items() if value is not None
        ]
        return " ".join(["", f"--ray {self.ray}".rstrip(), *given])

    def _options(self) -> dict[str, object]:
        return {
            "--workers": self.workers,
            "--cpus-per-trial": self.cpus,
            "--gpus-per-trial": self.gpus,
            "--trial-timeout": self.timeout,
        }


def with_address(arguments: Iterable[str]) -> list[str]:
    """Give `--ray` without an address an empty one, as no parser of options knows options with and without a value.

    >>> with_address(["resume", "--ray", "runs/first"]), with_address(["--ray", "auto"])
    (['resume', '--ray=', 'runs/first'], ['--ray=auto'])
    """
    found: list[str] = []
    for argument in arguments:
        if found and found[-1] == "--ray":
            found.pop()
            found += [f"--ray={argument}"] if ADDRESS.fullmatch(argument) else ["--ray=", argument]
        else:
            found.append(argument)
    return [*found[:-1], "--ray="] if found and found[-1] == "--ray" else found
