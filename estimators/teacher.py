"""Trained networks that teach another one: knowledge distillation (Hinton et al. 2015, arXiv:1503.02531).

Besides the labels a student learns the probabilities that its teacher gives to all classes, both softened by a
temperature (sec. 2). Several teachers are an ensemble: the mean of their softened probabilities (sec. 1). A teacher
sees the images of the batch as they are augmented and mixed for the student, at its own size and by its own
normalization.
Left out: teachers' logits kept from epoch to epoch, since every epoch augments anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from estimators.trained import WEIGHTS, Trained, built
from searchspaces import UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from estimators.data import ImageData
    from searchspaces import SearchSpace


@dataclass(frozen=True)
class Teacher:
    """Trained networks for the classes of a data set, at least one.

    Attributes:
        members: the networks.
    """

    members: tuple[_Member, ...]

    @staticmethod
    def read(folders: Sequence[str | Path], data: ImageData, space: SearchSpace | None = None) -> Teacher:
        """Read teachers with their best weights.

        Args:
            folders: of finished trainings.
            data: what the student learns.
            space: of the teachers' networks, where it is no space of ours.

        Raises:
            UserError: a folder has no finished training or is damaged, or its network has other classes or channels.
        """
        return Teacher(tuple(_Member.read(folder, data, space) for folder in folders))

    def on(self, device: torch.device, mean: Tensor, std: Tensor, temperature: float) -> Callable[[Tensor], Tensor]:
        """What gives the teacher's softened probabilities (images, classes), in the order of the student's classes.

        Args:
            device: where the images are.
            mean, std: (channels,), by which the student's images are normalized.
            temperature: by which logits are divided.
        """
        import torch

        several = [each.on(device, mean, std) for each in self.members]

        def probabilities(inputs: Tensor) -> Tensor:
            with torch.no_grad():
                found = [(logits(inputs).float() / temperature).softmax(1) for logits in several]
                return torch.stack(found).mean(0)

        return probabilities

    def told(self) -> list[dict[str, Any]]:
        """What a training records of them."""
        return [{"source": str(each.trained.folder), "fingerprint": each.fingerprint} for each in self.members]


@dataclass(frozen=True)
class _Member:
    """One teacher: its network, the SHA-256 of its weights, the weights, and the place of each class of the student."""

    trained: Trained
    fingerprint: str
    tensors: dict[str, Tensor]
    order: tuple[int, ...]

    @staticmethod
    def read(folder: str | Path, data: ImageData, space: SearchSpace | None) -> _Member:
        trained = Trained.open(folder, space)
        names = trained.class_names
        if set(names) != set(data.class_names):
            other = sorted(set(names) ^ set(data.class_names))
            raise UserError(
                f"--teacher {folder} has different classes from the data: "
                f"{', '.join(map(repr, other[:5]))}{', ...' if len(other) > 5 else ''} "
                f"{'is' if len(other) == 1 else 'are'} only in one of them"
            )
        if trained.task.channels != data.task.channels:
            raise UserError(
                f"--teacher {folder} takes images of {trained.task.channels} channels, and the data have "
                f"{data.task.channels}"
            )
        tensors = trained.module().state_dict()
        fingerprint = hashlib.sha256((trained.folder / WEIGHTS["best"]).read_bytes()).hexdigest()
        return _Member(trained, fingerprint, tensors, tuple(names.index(each) for each in data.class_names))

    def on(self, device: torch.device, mean: Tensor, std: Tensor) -> Callable[[Tensor], Tensor]:
        """What gives its logits, in the order of the student's classes, of images normalized for the student."""
        import torch
        from torch.nn import functional

        with torch.random.fork_rng([]):
            made: Any = built(self.trained.network, self.trained.task)
        made.load_state_dict(self.tensors)
        module: nn.Module = made.eval().requires_grad_(False).to(device).to(memory_format=torch.channels_last)
        own_mean, own_std = (torch.tensor(each, device=device) for each in (self.trained.mean, self.trained.std))
        factor, shift = (std / own_std)[:, None, None], ((mean - own_mean) / own_std)[:, None, None]
        side, order = self.trained.task.image_size, torch.tensor(self.order, device=device)

        def logits(inputs: Tensor) -> Tensor:
            images = inputs * factor + shift  # (images, channels, side, side)
            if images.shape[2] != side:
                images = functional.interpolate(
                    images, (side, side), mode="bilinear", align_corners=False, antialias=True
                )
            found: Tensor = module(images.contiguous(memory_format=torch.channels_last)).index_select(1, order)
            return found

        return logits
