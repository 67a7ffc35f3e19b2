"""Parts of every training: steps that survive running out of memory, learning rates, devices, random state."""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeVar

from searchspaces import UserError, nearest

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

T = TypeVar("T")

Range = tuple[str, float, float, bool, bool]
"""A setting, its lowest and highest value, and whether each of these is itself allowed."""

DEVICES: Final = ("auto", "cpu", "cuda", "mps")
"""Names of devices; `auto` is the first of cuda, mps and cpu that is available."""


def learning_rate(step: int, steps: int, warmup: float) -> float:
    """Learning rate relative to its peak: a linear warm-up of `warmup * steps` steps, then a cosine to almost zero.

    >>> [round(learning_rate(step, 6, 1 / 3), 2) for step in range(6)]
    [0.5, 1.0, 1.0, 0.85, 0.5, 0.15]
    """
    rising = round(warmup * steps)
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))


def find_device(name: str) -> torch.device:
    """The torch device of a name in `DEVICES`.

    Raises:
        UserError: the name is unknown, or this machine has no such device.
    """
    import torch

    if name not in DEVICES:
        raise UserError(f"unknown device {name!r}{nearest(name, DEVICES)}")
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(each for each, is_there in there.items() if is_there)
    if not there[name]:
        raise UserError(f"no device {name!r} here; available: {', '.join(key for key in there if there[key])}")
    return torch.device(name)


class Stepper:
    """Forward and backward passes that survive running out of memory once, by halving the batch.

    Attributes:
        micro: images per forward pass; the whole batch until memory runs out.
    """

    def __init__(self, model: nn.Module, device: torch.device, batch: int, label_smoothing: float) -> None:
        self.micro = batch
        self._batch, self._model, self._device, self._smoothing = batch, model, device, label_smoothing

    def step(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Accumulate the gradient of the mean loss over the batch; returns that loss."""
        loss = self._try(self._gradient, inputs, labels)
        if loss is None:  # out of memory; not in the handler, since its error holds the memory
            self._model.zero_grad(set_to_none=True)
            loss = self._gradient(inputs, labels)
        return loss

    def accuracy(self, scale: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor) -> float | None:
        """Top-1 accuracy on uint8 images, in [0, 1]; None if a logit is not finite."""
        right = self._try(self._right, scale, images, labels)
        if right is None:
            right = self._right(scale, images, labels)
        return None if right < 0 else right / len(labels)

    def _try(self, work: Callable[..., T], *arguments: Any) -> T | None:
        """Call `work`; if memory runs out for the first time, halve the batch and return None."""
        try:
            return work(*arguments)
        except (RuntimeError, MemoryError) as error:
            if not _out_of_memory(error) or self.micro < self._batch or self.micro < 2:
                raise
        self.micro = (self.micro + 1) // 2
        if self._device.type == "cuda":
            import torch

            torch.cuda.empty_cache()
        return None

    def _gradient(self, inputs: Tensor, labels: Tensor) -> Tensor:
        import torch

        total = torch.zeros((), device=self._device)
        for part in self._parts(labels):
            with self._autocast():
                logits = self._model(inputs[part])  # (micro, classes)
                loss = torch.nn.functional.cross_entropy(logits, labels[part], label_smoothing=self._smoothing)
            loss = loss * (len(logits) / len(labels))
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        return total

    def _right(self, scale: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor) -> int:
        """Number of correctly classified images; -1 if a logit is not finite."""
        import torch

        self._model.eval()
        right = torch.zeros((), dtype=torch.int64, device=self._device)
        finite = torch.ones((), dtype=torch.bool, device=self._device)
        with torch.inference_mode():  # in float32, as `nas evaluate` and every exported file judge
            for part in self._parts(labels):
                logits = self._model(scale(images[part]).contiguous(memory_format=torch.channels_last))
                right += (logits.argmax(1) == labels[part]).sum()
                finite &= logits.isfinite().all()
        return int(right) if bool(finite) else -1

    def _parts(self, labels: Tensor) -> list[slice]:
        return [slice(start, start + self.micro) for start in range(0, len(labels), self.micro)]

    def _autocast(self) -> torch.autocast:
        import torch

        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._device.type == "cuda")


def _out_of_memory(error: BaseException) -> bool:
    """CUDA raises its own error; on the CPU and on MPS it is a RuntimeError, recognized by its text."""
    import torch

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return "out of memory" in str(error) or "can't allocate memory" in str(error)


def decayed(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups: weights of convolutions and linear layers with weight decay, all others without."""
    import torch
    from torch.nn.modules.conv import _ConvNd

    weights = {id(each.weight) for each in model.modules() if isinstance(each, (_ConvNd, torch.nn.Linear))}
    groups: tuple[list[Tensor], list[Tensor]] = ([], [])
    for parameter in model.parameters():
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


def normalisation(images: Tensor) -> Callable[[Tensor], Tensor]:
    """A function that normalizes uint8 (N, C, H, W) images by the mean and deviation of each channel of `images`."""
    pixels = images.float()
    mean = pixels.mean((0, 2, 3), keepdim=True)
    std = pixels.std((0, 2, 3), keepdim=True).clamp(min=1.0)
    return lambda some: (some.float() - mean) / std


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
