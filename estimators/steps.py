"""Parts of every training: learning rates, seeds, devices, optimizers, and checks of settings."""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from searchspaces import UserError, nearest

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn

Range = tuple[str, float, float, bool, bool]
"""A setting, its lowest and highest value, and whether each of these is itself allowed."""

DEVICES: Final = ("auto", "cpu", "cuda", "mps")
"""Names of devices; `auto` is the first of cuda, mps and cpu that is available."""


def learning_rates(steps: int, warmup: float) -> NDArray[np.float64]:
    """Learning rates (steps,) relative to their peak: up linearly for `warmup * steps`, then a cosine to almost zero.

    >>> learning_rates(6, 1 / 3).round(2).tolist()
    [0.5, 1.0, 1.0, 0.85, 0.5, 0.15]
    """
    rising, step = round(warmup * steps), np.arange(steps)
    falling = 0.5 * (1 + np.cos(math.pi * (step - rising) / max(steps - rising, 1)))
    return np.where(step < rising, (step + 1) / max(rising, 1), falling)


def find_device(name: str) -> torch.device:
    """The torch device of a name in `DEVICES`.

    Raises:
        UserError: the name is unknown, or this machine has no such device.
    """
    import torch

    if name not in DEVICES:
        raise UserError(unknown_device(name))
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(each for each, is_there in there.items() if is_there)
    if not there[name]:
        raise UserError(f"no device {name!r} here; available: {', '.join(key for key in there if there[key])}")
    return torch.device(name)


def unknown_device(name: str) -> str:
    """The message, with the device that is likely meant.

    >>> unknown_device("gpu"), unknown_device("cudda")
    ("unknown device 'gpu'; did you mean 'cuda'?", "unknown device 'cudda'; did you mean 'cuda'?")
    """
    meant = "; did you mean 'cuda'?" if name.lower() in ("gpu", "nvidia") else nearest(name, DEVICES)
    return f"unknown device {name!r}{meant}"


def seed_of(seed: int, what: str, *numbers: int) -> int:
    """A separate 63-bit seed for each source of randomness of a training, derived from its seed.

    Args:
        seed: of the training.
        what: `weights`, `epoch` (order and augmentation) or `step` (dropout and drop-path).
        numbers: which of them.
    """
    kind = {"weights": 0, "epoch": 1, "step": 2}[what]
    return int(np.random.SeedSequence((seed, kind, *numbers)).generate_state(1, np.uint64)[0] >> 1)


def decayed(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups: weights of convolutions and linear layers with weight decay, all others without.

    Frozen parameters are in none.
    """
    import torch
    from torch.nn.modules.conv import _ConvNd

    weights = {id(each.weight) for each in model.modules() if isinstance(each, (_ConvNd, torch.nn.Linear))}
    groups: tuple[list[Tensor], list[Tensor]] = ([], [])
    for parameter in model.parameters():
        if not parameter.requires_grad:
            continue
        groups[id(parameter) not in weights].append(parameter)
    return [{"params": groups[0], "weight_decay": weight_decay}, {"params": groups[1], "weight_decay": 0.0}]


def quick_to_load(kind: type[torch.optim.Optimizer]) -> type[Any]:
    """A class of torch's optimizers without the decorators for torch.compile, which load the compiler: over a second.

    Its steps are the same; it cannot be differentiated through, or compiled.
    """
    import torch

    methods = {name: inspect.unwrap(getattr(kind, name)) for name in _DECORATED}
    return type(kind.__name__, (kind,), {**methods, "step": torch.no_grad()(methods["step"])})


_DECORATED: Final = ("add_param_group", "load_state_dict", "state_dict", "step", "zero_grad")


def has_bf16() -> bool:
    """Whether this CPU multiplies matrices of bfloat16 in hardware (AMX tiles); otherwise bfloat16 is slower."""
    import torch

    return bool(torch.cpu._is_amx_tile_supported())


def trains_in_bf16(device: torch.device) -> bool:
    """Whether trainings on a device are in bfloat16: on GPUs that have it in hardware, which are Ampere and later ones.

    Others only emulate it: cuDNN has no convolutions of bfloat16 for them.
    """
    import torch

    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def give_back(device: torch.device) -> None:
    """Give the memory that torch keeps for later back to the device, where other processes can have it."""
    import torch

    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


@contextlib.contextmanager
def own_globals(device: torch.device, threads: int) -> Iterator[None]:
    """Set torch's number of threads; restore it and the global generators of the CPU and the device afterwards."""
    import torch

    mps_state = torch.mps.get_rng_state() if device.type == "mps" else None
    threads_before = torch.get_num_threads()
    with torch.random.fork_rng([torch.cuda.current_device()] if device.type == "cuda" else []):
        try:
            torch.set_num_threads(threads)
            yield
        finally:
            torch.set_num_threads(threads_before)
            if mps_state is not None:
                torch.mps.set_rng_state(mps_state)


def check_ranges(
    who: str, settings: object, ranges: Collection[Range], whole: Collection[str], left_open: Collection[str] = ()
) -> None:
    """Check that settings are in range.

    Args:
        who: owner of the settings, for the message.
        settings: object with the settings as attributes.
        whole: settings that must be whole numbers.
        left_open: settings that may be None.

    Raises:
        UserError: a setting is out of range; the message has the range.
    """
    for name, low, high, with_low, with_high in ranges:
        value = getattr(settings, name)
        if value is None and name in left_open:
            continue
        fits = isinstance(value, int if name in whole else (int, float)) and not isinstance(value, bool)
        fits = fits and (low <= value if with_low else low < value) and (value <= high if with_high else value < high)
        if not fits:
            kind = "a whole number" if name in whole else "a number"
            above = f"at least {low}" if with_low else f"above {low}"
            below = "" if high == math.inf else f" and {'at most' if with_high else 'below'} {high}"
            raise UserError(f"{who}: {name} must be {kind} {above}{below}, got {value!r}")
