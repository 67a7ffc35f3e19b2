"""The training images of one process, batch by batch, in a buffer that never moves.

An epoch is drawn and augmented before its steps, as many batches at a time as a buffer holds; a step reads the batch at
`row`, a counter on the device, so that it can be recorded once and replayed. The uint8 images lie on the device, or on
the host where the device has no room for them; or they are crops that processes take from image files some batches
ahead. Those are cropped and resized before anything else is done to them, as in torchvision's reference trainings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from estimators.augmentation import Augmentation, Draws, augmented, batches_in, draw
from estimators.in_files import PROCESSES, InFiles, crops_ahead
from estimators.machine import cores
from searchspaces import UserError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

BUFFER_BYTES: Final = 32 << 20
"""Size of the buffer of augmented images; at least one batch, at most an epoch."""
ROOM: Final = 4
"""How many times the size of the uint8 images must be free on a GPU for them to be kept there."""


class Batches:
    """Augmented batches of an epoch after the other.

    Args:
        images: uint8 (all images, side, side, channels), which may be `OnDisk` or `InFiles`.
        labels: int64 (all images,).
        positions: (training images,), indices into both.
        how: the augmentation.
        batch: images per step of all processes together.
        classes: in all.
        seed: of the draws of an epoch, by its number.
        device: where the batches are made.
        statistics: mean and standard deviation of the pixels of each channel.
        rank, processes: this process takes its share of each batch.
        fill: whether the last incomplete batch of an epoch is filled with images of the first, or left out.
        strength: of the augmentation in an epoch, by its number, above 0.

    Attributes:
        steps: batches in an epoch.
        share: images of a batch that this process takes.
        inputs: float (rows, side, side, channels), the buffer.
        targets: int64 (rows,) or, where images are mixed, probabilities (rows, classes).
        row: int64 (), where the next batch begins; a step moves it on.
    """

    def __init__(
        self,
        images: Any,
        labels: NDArray[np.int64],
        positions: NDArray[np.int64],
        how: Augmentation,
        batch: int,
        classes: int,
        seed: Callable[[int], int],
        device: torch.device,
        statistics: tuple[NDArray[np.float64], NDArray[np.float64]],
        rank: int = 0,
        processes: int = 1,
        fill: bool = False,
        strength: Callable[[int], float] = lambda epoch: 1.0,
    ) -> None:
        import torch

        self.steps, self.share = batches_in(len(positions), batch, fill), batch // processes
        self._from_files = images if isinstance(images, InFiles) else None
        self._smallest = how.resized_crop  # of the crops from files, which are not cropped again
        how = how if self._from_files is None else replace(how, resized_crop=0.0)
        self._positions, self._how, self._batch, self._classes, self._seed = positions, how, batch, classes, seed
        self._strength = strength
        self._images, self._labels, self._device, self._rank, self._fill_up = images, labels, device, rank, fill
        side, channels = images.shape[1], images.shape[3]
        self.mean, self.std = (torch.tensor(each, dtype=torch.float32, device=device) for each in statistics)
        self._chunk = min(max(1, BUFFER_BYTES // (4 * self.share * side * side * channels)), self.steps)  # batches
        self._chunk = self._chunk if self._from_files is None else 1  # which processes decode, each another one
        rows = self._chunk * self.share
        self.inputs = torch.empty(rows, side, side, channels, device=device)
        shape, kind = ((rows, classes), torch.float32) if how.mixes else ((rows,), torch.int64)
        self.targets = torch.empty(shape, dtype=kind, device=device)
        self.row = torch.zeros((), dtype=torch.int64, device=device)
        self._held: tuple[int, int] | None = None  # the epoch and the chunk in the buffer
        self._epochs: dict[int, Draws] = {}
        self._loaders = max(1, min(PROCESSES, cores() // processes - (device.type == "cpu")))
        self._coming: tuple[Iterator[Any], int] | None = None  # crops, and the number of the next batch
        self._resident: tuple[Tensor, NDArray[np.int64]] | None = None  # pixels on a GPU, and where each image is
        size = side * side * channels * len(positions)
        if device.type != "cpu" and self._from_files is None and _has_room(device, size):
            place = np.zeros(len(images), np.int64)
            place[positions] = np.arange(len(positions))
            self._resident = torch.from_numpy(images[positions]).to(device), place

    def ready(self, step: int) -> None:
        """Have the batch of a step, counted from the start of the training, at `row` of the buffer."""
        epoch, at = divmod(step, self.steps)
        chunk, first = divmod(at, self._chunk)
        if self._held != (epoch, chunk):
            self._fill(epoch, chunk)
            self._held = epoch, chunk
            self.row.fill_(first * self.share)

    def scaled(self, pixels: Tensor) -> Tensor:
        """uint8 (N, channels, side, side) normalized as the batches are."""
        return (pixels.float() - self.mean[:, None, None]) / self.std[:, None, None]

    def close(self) -> None:
        """End the processes that decode ahead."""
        self._coming = None

    def _fill(self, epoch: int, chunk: int) -> None:
        import torch

        self._epochs = {each: drawn for each, drawn in self._epochs.items() if each >= epoch}
        draws = self._drawn(epoch, chunk)
        labels = torch.from_numpy(self._labels[draws.order]).to(self._device)
        pixels = self._pixels(draws.order) if self._from_files is None else self._crops(epoch, chunk)
        inputs, targets = augmented(pixels, labels, draws, self._at(epoch), self.mean, self.std, self._classes)
        self.inputs[: len(inputs)].copy_(inputs)
        self.targets[: len(targets)].copy_(targets)

    def _drawn(self, epoch: int, chunk: int) -> Draws:
        """The draws of this process's share of some batches of an epoch."""
        if epoch not in self._epochs:
            side, seed = self._images.shape[1], self._seed(epoch)
            how = self._at(epoch)
            self._epochs[epoch] = draw(how, self._positions, side, self._batch, self.share, seed, self._fill_up)
        return self._epochs[epoch].at(self._places(chunk))

    def _at(self, epoch: int) -> Augmentation:
        """The augmentation in an epoch."""
        strength = self._strength(epoch)
        return self._how if strength == 1 else self._how.at(strength)

    def _places(self, chunk: int) -> NDArray[np.int64]:
        """Where in the order of an epoch this process's share of some batches is."""
        first, last = chunk * self._chunk, min((chunk + 1) * self._chunk, self.steps)
        starts = np.arange(first, last) * self._batch + self._rank * self.share
        places: NDArray[np.int64] = (starts[:, None] + np.arange(self.share)).reshape(-1)
        return places

    def _crops(self, epoch: int, chunk: int) -> Tensor:
        """uint8 (share, side, side, channels) on the device, from files.

        Raises:
            UserError: a file cannot be read any more.
        """
        assert self._from_files is not None
        number = epoch * self.steps + chunk
        if self._coming is None or self._coming[1] != number:
            pinned = self._device.type == "cuda"
            plan = self._plan(number)
            self._coming = crops_ahead(self._from_files, self._smallest, plan, self._loaders, pinned), number
        crops = next(self._coming[0])
        if isinstance(crops, UserError):
            raise crops
        self._coming = self._coming[0], number + 1
        found: Tensor = crops.to(self._device, non_blocking=self._device.type == "cuda")
        return found

    def _plan(self, number: int) -> Iterator[tuple[NDArray[np.int64], int, NDArray[np.int64]]]:
        """What processes decode from a batch on: its rows, the seed of its epoch, and places in the epoch."""
        while True:
            epoch, chunk = divmod(number, self.steps)
            yield self._drawn(epoch, chunk).order, self._seed(epoch), self._places(chunk)
            number += 1

    def _pixels(self, order: NDArray[np.int64]) -> Tensor:
        """uint8 (rows, side, side, channels) on the device."""
        import torch

        if self._resident is not None:
            pixels, place = self._resident
            return pixels[torch.from_numpy(place[order]).to(self._device)]
        held = torch.from_numpy(self._images[order])
        if self._device.type == "cuda":
            return held.pin_memory().to(self._device, non_blocking=True)
        return held.to(self._device)  # MPS may read memory after it was freed, where it does not wait


def channel_statistics(images: Any, positions: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation (at least 1) of each channel of some images, in pixel values; exact.

    Args:
        images: uint8 (all images, height, width, channels), which may be `OnDisk` or `InFiles`.
        positions: of those that count.
    """
    import torch

    if isinstance(images, InFiles):
        return images.statistics(positions)
    count, total, squares = 0, np.zeros(images.shape[3]), np.zeros(images.shape[3])
    for start in range(0, len(positions), 1024):
        pixels = torch.from_numpy(images[positions[start : start + 1024]]).flatten(0, 2)  # (pixels, channels)
        values = pixels.to(torch.int32)
        count += len(values)
        total += values.sum(0, dtype=torch.int64).numpy()
        squares += (values * values).sum(0, dtype=torch.int64).numpy()
    mean = total / count
    return mean, np.sqrt(np.maximum(squares / count - mean**2, 1.0))


def _has_room(device: torch.device, size: int) -> bool:
    """Whether a GPU should keep images of so many bytes; memory of other devices is the host's."""
    if device.type != "cuda":
        return True
    import torch

    free: Any = torch.cuda.mem_get_info(device)[0]
    return bool(free > ROOM * size)
