"""Where trials run, as a person types it: on the cores of this machine, or on a Ray cluster."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from nas.parsing import parse_duration
from searchspaces import UserError

if TYPE_CHECKING:
    from studies import Engine

ADDRESS: Final = re.compile(r"auto|local|(?:ray://)?(?:[^\s/:]+|\[[0-9a-fA-F:]+\]):\d+")
"""What may follow `--ray`; anything else is the next argument."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The options that say where trials run.

    Attributes:
        ray: the address of a cluster; empty or `local` for Ray on this machine; None for this process.
        workers: number of parallel trials, each in a process of its own.
        at_once: number of trials that take turns in this process.
        cpus_per_trial, gpus_per_trial: resources of one trial.
        trial_timeout: of one trial, as text.
    """

    ray: str | None = None
    workers: int | None = None
    at_once: int | None = None
    cpus_per_trial: float | None = None
    gpus_per_trial: float | None = None
    trial_timeout: str | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Placement:
        """The options among all those of a command, by name."""
        return cls(ray=given["ray"], **{name: given[name] for name in _OPTIONS})

    def engine(self, device: str = "auto", on_fallback: Callable[[str], object] = lambda why: None) -> Engine:
        """The engine: on Ray, or as many trials at once in this machine as it has cores.

        Args:
            device: that trials need. If they run on Ray, this machine need not have it.
            on_fallback: told why trials run one after the other though there are several cores.

        Raises:
            UserError: a number is out of range, an option needs `--ray`, or this machine does not have the device.
        """
        if self.ray is None:
            from studies.engine import check_device
            from studies.every_core import EveryCore

            check_device(device)
            for option, value in self._options().items():
                if value is not None and option not in ("--workers", "--at-once"):
                    raise UserError(f"{option} is for trials on Ray: add --ray")
            for name, count in (("workers", self.workers), ("--at-once", self.at_once)):
                if count is not None and count < 1:
                    raise UserError(f"{name} must be a whole number from 1, got {count}")
            if (self.workers or 1) > 1 and self.at_once is not None:
                raise UserError(
                    "--at-once is for trials in one process, and --workers starts several: use only one of them"
                )
            return EveryCore(device, self.workers, on_fallback, self.at_once)
        if self.at_once is not None:
            raise UserError(
                "--at-once is for trials in this process; on Ray, --gpus-per-trial 0.25 lets four trials share a GPU"
            )
        from studies.ray.engine import RayEngine

        timeout_s = None if self.trial_timeout is None else parse_duration(self.trial_timeout, "--trial-timeout")
        return RayEngine(
            checked_address(self.ray) or None, self.workers, self.cpus_per_trial, self.gpus_per_trial, timeout_s
        )

    def wave(self, deterministic: bool) -> int | None:
        """The number of proposals in a synchronous batch; None if proposals may depend on the order of results.

        Without `--workers` or `--at-once` it is the number of cores here. A study keeps it wherever it is resumed.

        Raises:
            UserError: trials run on a cluster, and the number of parallel trials is not given.
        """
        if not deterministic:
            return None
        if self.at_once or self.workers:
            return self.at_once or self.workers
        if self.ray and self.ray != "local":
            raise UserError("--deterministic proposes in synchronous batches of --workers: add --workers N")
        from studies.every_core import cores

        return cores()

    def typed(self) -> str:
        """The same options, to be typed again.

        >>> Placement(ray="head:6379", workers=8, gpus_per_trial=0.5).typed()
        ' --ray head:6379 --workers 8 --gpus-per-trial 0.5'
        """
        given = [] if self.ray is None else [f"--ray {self.ray}".rstrip()]
        given += [
            f"{option} {shlex.quote(str(value))}" for option, value in self._options().items() if value is not None
        ]
        return " ".join(["", *given]) if given else ""

    def _options(self) -> dict[str, object]:
        return {f"--{name.replace('_', '-')}": getattr(self, name) for name in _OPTIONS}


_OPTIONS: Final = ("workers", "at_once", "cpus_per_trial", "gpus_per_trial", "trial_timeout")
"""By name; the last three need `--ray`."""


def check_training_workers(ray: str | None, gpus: int | None, workers: int | None) -> None:
    """Refuse numbers of workers of one training that make no sense.

    Raises:
        UserError: there are fewer than one, or they are given without Ray.
    """
    for option, count in (("--gpus", gpus), ("--workers", workers)):
        if count is not None and count < 1:
            raise UserError(f"{option} must be at least 1, got {count}")
        if count is not None and ray is None:
            raise UserError(f"{option} is for training on Ray: add --ray")


def checked_address(given: str | None) -> str | None:
    """What `--ray` was given, if it is an address or empty; None without the option.

    Raises:
        UserError: it is no address, or that of Ray's client.
    """
    if given and given.startswith("ray://"):
        raise UserError(
            f"--ray {given}: Ray's client is not supported, since the search must run on a node of the cluster; submit "
            "it there as a job: ray job submit --address http://HEAD:8265 -- python -m nas search ... --ray auto "
            "(docs/cluster.md)"
        )
    if given and not ADDRESS.fullmatch(given):
        raise UserError(
            f"--ray: {given!r} is not an address; write --ray or --ray local for this machine, else --ray auto or "
            "--ray host:6379"
        )
    return given


def with_address(arguments: Iterable[str]) -> list[str]:
    """Give `--ray` without an address an empty one, since parsers of options know no options with optional values.

    >>> with_address(["resume", "--ray", "runs/first"]), with_address(["--ray", "local"])
    (['resume', '--ray=', 'runs/first'], ['--ray=local'])
    """
    found: list[str] = []
    for argument in arguments:
        if found and found[-1] == "--ray":
            found.pop()
            found += [f"--ray={argument}"] if ADDRESS.fullmatch(argument) else ["--ray=", argument]
        else:
            found.append(argument)
    return [*found[:-1], "--ray="] if found and found[-1] == "--ray" else found
