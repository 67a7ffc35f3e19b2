"""Train a candidate for a few epochs on the proxy task; its accuracy on the validation images is the estimate.

The recipe is the usual one for small convolutional networks: SGD with Nesterov momentum, a linear warm-up and a cosine
to zero (Loshchilov & Hutter 2017, arXiv:1608.03983, without restarts), label smoothing (Szegedy et al. 2016,
arXiv:1512.00567, sec. 7), weight decay on convolution and linear weights only (He et al. 2019, arXiv:1812.01187,
sec. 3.1), random crops and mirroring, and cutout (DeVries & Taylor 2017, arXiv:1708.04552). The proxy may shrink the
candidate, its images, and the data: `docs/proxy.md` says what that does to the ranking and how the defaults came about.

Left out: averaging of weights, mixup and learned augmentation, which pay in long trainings only.
"""

from __future__ import annotations

import contextlib
import math
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from estimators.data import ImageData, stratified_split
from estimators.estimator import Diverged, Estimate, Pruned, TrialContext
from searchspaces import Scale, UserError, nearest

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from searchspaces import Architecture

T = TypeVar("T")

DEVICES: Final = ("auto", "cpu", "cuda", "mps")
"""Devices by the names that a person types; `auto` is the first of cuda, mps and cpu that is there."""

ENOUGH_IMAGES: Final = 4000
"""Images used at most where `data_fraction` is left open."""


@dataclass(frozen=True, eq=False, slots=True)
class ShortTraining:
    """A few epochs of training on shrunken candidates and data.

    Deterministic given the architecture and the seed on a CPU, whatever the global generators and torch's number of
    threads are; the caller's are left as they were. Memory is given back whether the trial ends well or not.

    Attributes:
        data: the images; only their search part is touched.
        epochs: passes over the training images.
        batch: images per step; the last incomplete batch of an epoch is dropped.
        lr: learning rate at its peak.
        warmup: share of all steps in which the learning rate rises linearly to its peak, in [0, 1).
        weight_decay: on the weights of convolutions and linear layers only, not on biases and norms.
        label_smoothing: probability mass spread over all classes, in [0, 1).
        image_size: side in pixels of the images trained on; None leaves them as they are.
        width, depth: what the candidate's widths and depths are multiplied by.
        data_fraction: share of the images used, stratified, before they are split, in (0, 1]; None uses up to 4,000.
        val_fraction: share of the used images to validate on, stratified, in (0, 0.5].
        split_seed: the only randomness of which images are used and which validate.
        crop: images are padded by this share of their side and cropped at random; 0 is off.
        mirror: mirror half of the images left to right; None does so where `ImageData.mirror` allows it.
        cutout: side of the hole cut at random, as a share of the image's side; 0 is off.
        threads: cores that one training uses on a CPU. It changes the order of sums and with it the last digits of the
            result, so it is part of what the estimator is; 1 is the same in every engine, and does not stall beside
            other work.
        device: one of `DEVICES`, used where the trial's context says `auto`. Not part of what the estimator is.

    Raises:
        UserError: if a setting is outside what is said here, or the device is not there.
    """

    data: ImageData
    epochs: int = 6
    batch: int = 32
    lr: float = 0.1
    warmup: float = 0.2
    weight_decay: float = 5e-4
    label_smoothing: float = 0.1
    image_size: int | None = None
    width: float = 0.25
    depth: float = 0.5
    data_fraction: float | None = None
    val_fraction: float = 0.2
    split_seed: int = 0
    crop: float = 0.125
    mirror: bool | None = None
    cutout: float = 0.0
    threads: int = 1
    device: str = "auto"

    def __post_init__(self) -> None:
        _check(self)
        if self.device not in ("auto", "cpu"):
            find_device(self.device)  # that it is not there is better said now than by every trial
        if self.image_size is None:
            object.__setattr__(self, "image_size", self.data.task.image_size)
        elif self.image_size != self.data.task.image_size:
            object.__setattr__(self, "data", self.data.resized(self.image_size))
        if self.data_fraction is None:
            object.__setattr__(self, "data_fraction", min(1.0, ENOUGH_IMAGES / len(self.data.labels)))
        if self.mirror is None:
            object.__setattr__(self, "mirror", self.data.mirror)

    def describe(self) -> dict[str, Any]:
        """Settings, defaults resolved, and data, as plain JSON values."""
        settings = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in ("data", "device")}
        train, val = self.split()
        counts = {"train_images": len(train), "val_images": len(val)}
        return {"name": "short-training", **settings, **counts, "data": self.data.describe()}

    def split(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Positions in `data.images` to train on and to validate on; a function of the settings alone."""
        assert self.data_fraction is not None
        _, used = stratified_split(self.data.labels, self.data_fraction, self.split_seed, least=2)
        train, val = stratified_split(self.data.labels[used], self.val_fraction, self.split_seed, least=1)
        return used[train], used[val]

    def estimate(self, architecture: Architecture, context: TrialContext) -> Estimate:
        """Train one architecture and validate it after each epoch.

        A step that runs out of memory is done again in two halves whose gradients are added, and so are all later ones;
        batch norm then sees half batches. Where the report after the last epoch says stop, there is nothing left to
        stop: the estimate is given all the same.

        Raises:
            Pruned: `context.report` said stop before the last epoch.
            Diverged: the loss or the logits are no longer finite.
            UserError: the device is unknown or not there.
        """
        import torch

        device = find_device(self.device if context.device == "auto" else context.device)
        with _own_globals(device, self.threads):
            try:
                return self._train(architecture, context, device)
            except BaseException as error:
                traceback.clear_frames(error.__traceback__)  # they hold the network for as long as the error lives
                raise
            finally:
                if device.type == "cuda":
                    torch.cuda.empty_cache()
                elif device.type == "mps":
                    torch.mps.empty_cache()

    def _train(self, architecture: Architecture, context: TrialContext, device: torch.device) -> Estimate:
        import torch

        start = time.perf_counter()
        init_seed, batch_seed = np.random.SeedSequence(context.seed).generate_state(2, np.uint64).tolist()
        torch.manual_seed(init_seed)  # weights now, dropout and drop-path later
        generator = torch.Generator().manual_seed(batch_seed)  # order, augmentation: on the CPU, alike on all devices

        model = architecture.build(self.data.task, Scale(self.width, self.depth))
        model = model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        train, val = self.split()
        (images, labels), validation = self._tensors(train, device), self._tensors(val, device)
        scale = _normalisation(images)
        optimizer = torch.optim.SGD(_decayed(model, self.weight_decay), lr=self.lr, momentum=0.9, nesterov=True)
        batch = min(self.batch, len(images))
        steps = len(images) // batch
        stepper = _Stepper(model, device, batch, self.label_smoothing)

        curve: list[float] = []
        loss = math.nan
        for epoch in range(self.epochs):
            model.train()
            total = torch.zeros((), device=device)
            order = torch.randperm(len(images), generator=generator).to(device)
            for step in range(steps):
                rate = self.lr * learning_rate(epoch * steps + step, self.epochs * steps, self.warmup)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                chosen = order[step * batch : (step + 1) * batch]
                inputs = augmented(scale(images[chosen]), generator, self.crop, bool(self.mirror), self.cutout)
                optimizer.zero_grad(set_to_none=True)
                total += stepper.step(inputs, labels[chosen])
                optimizer.step()
            loss = float(total) / steps
            if not math.isfinite(loss):
                raise Diverged(f"the training loss was {loss} in epoch {epoch + 1} of {self.epochs}")
            accuracy = stepper.accuracy(scale, *validation)
            if accuracy is None:
                raise Diverged(f"the logits were not finite after epoch {epoch + 1} of {self.epochs}")
            curve.append(accuracy)
            if not context.report(epoch + 1, accuracy) and epoch + 1 < self.epochs:
                raise Pruned(tuple(curve), time.perf_counter() - start)
        details = {"device": device.type, "train_loss": loss, "batch_halved": stepper.micro < batch}
        return Estimate(curve[-1], time.perf_counter() - start, tuple(curve), details)

    def _tensors(self, positions: np.ndarray[Any, Any], device: torch.device) -> tuple[Tensor, Tensor]:
        """Images uint8 (N, C, H, W) and labels int64 (N,) on the device."""
        import torch

        images = torch.from_numpy(self.data.images[positions]).permute(0, 3, 1, 2)
        return images.to(device), torch.from_numpy(self.data.labels[positions]).to(device)


def learning_rate(step: int, steps: int, warmup: float) -> float:
    """Share of the peak at a step: up linearly for `warmup * steps` steps, then down a cosine to nearly zero.

    >>> [round(learning_rate(step, 6, 1 / 3), 2) for step in range(6)]
    [0.5, 1.0, 1.0, 0.85, 0.5, 0.15]
    """
    rising = round(warmup * steps)
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))


def augmented(images: Tensor, generator: torch.Generator, crop: float, mirror: bool, cutout: float) -> Tensor:
    """Crop, mirror and cut a hole, each image its own way; the shape stays.

    Args:
        images: float (batch, channels, height, width), normalised: the zeros of padding and hole are the mean colour.
        generator: on the CPU; the only randomness.
        crop, cutout: shares of the side; see `ShortTraining`.
    """
    import torch

    count, channels, height, width = images.shape
    device = images.device
    pad = math.ceil(crop * height)
    shifts = torch.randint(0, 2 * pad + 1, (2, count, 1), generator=generator)
    rows = shifts[0] + torch.arange(height)  # (batch, height), into the padded image
    columns = shifts[1] + torch.arange(width)
    if mirror:
        turned = torch.rand(count, 1, generator=generator) < 0.5
        columns = torch.where(turned, columns.flip(1), columns)
    padded = torch.nn.functional.pad(images, (pad, pad, pad, pad))
    which = torch.arange(count, device=device)[:, None, None, None]
    channel = torch.arange(channels, device=device)[:, None, None]
    images = padded[which, channel, rows.to(device)[:, None, :, None], columns.to(device)[:, None, None, :]]
    hole = round(cutout * height)
    if hole:
        corner = torch.randint(0, height, (2, count, 1), generator=generator) - hole // 2
        # The hole may reach beyond the border, as in the paper's sec. 3.2.
        inside = (torch.arange(height) >= corner) & (torch.arange(height) < corner + hole)  # (2, batch, side)
        images = images.masked_fill((inside[0][:, None, :, None] & inside[1][:, None, None, :]).to(device), 0.0)
    return images.contiguous(memory_format=torch.channels_last)


def find_device(name: str) -> torch.device:
    """The torch device by its name in `DEVICES`.

    Raises:
        UserError: if the name is unknown, or this machine has no such device.
    """
    import torch

    if name not in DEVICES:
        raise UserError(f"unknown device {name!r}{nearest(name, DEVICES)}")
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(each for each, is_there in there.items() if is_there)
    if not there[name]:
        raise UserError(f"device {name!r} is not there; there are: {', '.join(key for key in there if there[key])}")
    return torch.device(name)


class _Stepper:
    """Forward and backward passes that survive running out of memory once.

    Attributes:
        micro: images that pass through the network at a time; the whole batch until memory runs out.
    """

    def __init__(self, model: nn.Module, device: torch.device, batch: int, label_smoothing: float) -> None:
        self.micro = batch
        self._batch, self._model, self._device, self._smoothing = batch, model, device, label_smoothing

    def step(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Add the gradient of the mean loss over the batch; returns that loss."""
        loss = self._try(self._gradient, inputs, labels)
        if loss is None:  # out of memory: outside of the handler, whose error held the memory
            self._model.zero_grad(set_to_none=True)
            loss = self._gradient(inputs, labels)
        return loss

    def accuracy(self, scale: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor) -> float | None:
        """Share of uint8 images told right, in [0, 1]; None where a logit is not finite."""
        right = self._try(self._right, scale, images, labels)
        if right is None:
            right = self._right(scale, images, labels)
        return None if right < 0 else right / len(labels)

    def _try(self, work: Callable[..., T], *arguments: Any) -> T | None:
        """Do the work; if memory runs out for the first time, halve the batch and return None."""
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
        """Images told right; -1 where a logit is not finite."""
        import torch

        self._model.eval()
        right = torch.zeros((), dtype=torch.int64, device=self._device)
        finite = torch.ones((), dtype=torch.bool, device=self._device)
        with torch.inference_mode(), self._autocast():
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
    """CUDA has its own error; the CPU's and Apple's are a RuntimeError known by its words."""
    import torch

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return "out of memory" in str(error) or "can't allocate memory" in str(error)


def _decayed(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups of parameters: the weights of convolutions and linear layers, and the rest, which is not decayed."""
    import torch
    from torch.nn.modules.conv import _ConvNd

    weights = {id(each.weight) for each in model.modules() if isinstance(each, (_ConvNd, torch.nn.Linear))}
    groups: tuple[list[Tensor], list[Tensor]] = ([], [])
    for parameter in model.parameters():
        groups[id(parameter) not in weights].append(parameter)
    return [{"params": groups[0], "weight_decay": weight_decay}, {"params": groups[1], "weight_decay": 0.0}]


def _normalisation(images: Tensor) -> Callable[[Tensor], Tensor]:
    """A function that makes uint8 (N, C, H, W) float, with mean 0 and variance 1 per channel of the given images."""
    pixels = images.float()
    mean = pixels.mean((0, 2, 3), keepdim=True)
    std = pixels.std((0, 2, 3), keepdim=True).clamp(min=1.0)
    return lambda some: (some.float() - mean) / std


@contextlib.contextmanager
def _own_globals(device: torch.device, threads: int) -> Iterator[None]:
    """Give torch's global generators, of the CPU and of the device, and its number of threads back as they were."""
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


def _check(settings: ShortTraining) -> None:
    """Refuse what is out of range: (setting, lowest, highest, whether the ends themselves are allowed)."""
    ranges: tuple[tuple[str, float, float, bool, bool], ...] = (
        ("epochs", 1, math.inf, True, False),
        ("batch", 1, math.inf, True, False),
        ("lr", 0, math.inf, False, False),
        ("warmup", 0, 1, True, False),
        ("weight_decay", 0, math.inf, True, False),
        ("label_smoothing", 0, 1, True, False),
        ("image_size", 1, math.inf, True, False),
        ("width", 0, math.inf, False, False),
        ("depth", 0, math.inf, False, False),
        ("data_fraction", 0, 1, False, True),
        ("val_fraction", 0, 0.5, False, True),
        ("split_seed", 0, math.inf, True, False),
        ("crop", 0, 0.5, True, True),
        ("cutout", 0, 1, True, False),
        ("threads", 1, math.inf, True, False),
    )
    whole = {"epochs", "batch", "image_size", "split_seed", "threads"}
    for name, low, high, with_low, with_high in ranges:
        value = getattr(settings, name)
        if value is None and name in ("image_size", "data_fraction"):
            continue
        fits = isinstance(value, int if name in whole else (int, float)) and not isinstance(value, bool)
        fits = fits and (low <= value if with_low else low < value) and (value <= high if with_high else value < high)
        if not fits:
            kind = "a whole number" if name in whole else "a number"
            above = f"at least {low}" if with_low else f"above {low}"
            below = "" if high == math.inf else f" and {'at most' if with_high else 'below'} {high}"
            raise UserError(f"short-training: {name} must be {kind} {above}{below}, got {value!r}")
    if settings.device not in DEVICES:
        raise UserError(f"unknown device {settings.device!r}{nearest(settings.device, DEVICES)}")
