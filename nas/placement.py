"""Where trials run, as a person types it: in this process, or on Ray."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from nas.parsing import parse_duration
from searchspaces import UserError

if TYPE_CHECKING:
    from studies import Engine

ADDRESS: Final = re.compile(r"auto|[^\s/:]+:\d+|\[[0-9a-fA-F:]+\]:\d+")
"""What may follow `--ray`; anything else is the next argument."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The options that say where trials run.

    Attributes:
        ray: the address of a cluster; empty for Ray on this machine; None for this process.
        workers: number of parallel trials.
        cpus_per_trial, gpus_per_trial: resources of one trial.
        trial_timeout: of one trial, as text.
    """

    ray: str | None = None
    workers: int | None = None
    cpus_per_trial: float | None = None
    gpus_per_trial: float | None = None
    trial_timeout: str | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Placement:
        """The options among all those of a command, by name."""
        return cls(ray=given["ray"], **{name: given[name] for name in _OPTIONS})

    def engine(self, device: str = "auto") -> Engine | None:
        """The engine; None for the default one, this process.

        Args:
            device: that trials need. If they run on Ray, this machine need not have it.

        Raises:
            UserError: a number is out of range, an option needs `--ray`, or this machine does not have the device.
        """
        if self.ray is None:
            from studies.engine import check_device

            check_device(device)
            for option, value in self._options().items():
                if value is not None:
                    raise UserError(f"{option} is for trials on Ray: add --ray")
            return None
        from studies.ray.engine import RayEngine

        timeout_s = None if self.trial_timeout is None else parse_duration(self.trial_timeout, "--trial-timeout")
        return RayEngine(self.ray or None, self.workers, self.cpus_per_trial, self.gpus_per_trial, timeout_s)

    def wave(self, deterministic: bool) -> int | None:
        """The number of proposals in a synchronous batch; None if proposals may depend on the order of results.

        Raises:
            UserError: the number of parallel trials is not given.
        """
        if not deterministic:
            return None
        if self.workers is None:
            raise UserError("--deterministic proposes in synchronous batches of --workers: add --ray --workers N")
        return self.workers

    def typed(self) -> str:
        """The same options, to be typed again.

        >>> Placement(ray="head:6379", workers=8, gpus_per_trial=0.5).typed()
        ' --ray head:6379 --workers 8 --gpus-per-trial 0.5'
        """
        if self.ray is None:
            return ""
        given = [
            f"{option} {shlex.quote(str(value))}" for option, value in self._options().items() if value is not None
        ]
        return " ".join(["", f"--ray {self.ray}".rstrip(), *given])

    def _options(self) -> dict[str, object]:
        return {f"--{name.replace('_', '-')}": getattr(self, name) for name in _OPTIONS}


_OPTIONS: Final = ("workers", "cpus_per_trial", "gpus_per_trial", "trial_timeout")
"""Those that need `--ray`."""


def with_address(arguments: Iterable[str]) -> list[str]:
    """Give `--ray` without an address an empty one, since parsers of options know no options with optional values.

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
