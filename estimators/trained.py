"""A trained network: a folder that says which network, how it was trained and on what, and holds its weights.

    network.json           its text form, and the task that it was trained on
    training.json          the recipe with every setting, the data, class names, the mean and standard deviation of
                           pixels, the learning curve, accuracies, versions, and how the network was found
    best.safetensors       the averaged weights of the last epoch that validated within a standard error of the best
    last.safetensors       the weights after the last step, not averaged
    checkpoint.safetensors while it is not finished: all that the next step depends on

Nothing read from it can run code.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from estimators.sources import Reading, reading_of
from searchspaces import Scale, Task, UserError, nearest, network_from_file
from searchspaces.files import read_json
from searchspaces.layers import ShapeError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from searchspaces import Buildable, SearchSpace

NETWORK: Final = "network.json"
FACTS: Final = "training.json"
CHECKPOINT: Final = "checkpoint.safetensors"
WEIGHTS: Final = {"best": "best.safetensors", "last": "last.safetensors"}
FORMAT: Final = 1
"""Raised when an older `nas` would misread what a newer one writes."""


@dataclass(frozen=True)
class Trained:
    """A network that was trained, opened from its folder.

    Attributes:
        folder: where it lies.
        network: what was trained.
        task: the images and classes that it was trained on.
        class_names: by the position of the logit.
        mean, std: of each channel, of pixels in 0 to 255; what is taken off and divided by before the network.
        facts: all of training.json.
    """

    folder: Path
    network: Buildable
    task: Task
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    facts: Mapping[str, Any]

    @staticmethod
    def open(folder: str | Path, space: SearchSpace | None = None) -> Trained:
        """Open the folder of a finished training.

        Args:
            folder: as `nas train` wrote it.
            space: of the network, where it is no space of ours.

        Raises:
            UserError: it is not the folder of a training, is damaged, or has not finished.
        """
        folder = Path(folder)
        facts = read_facts(folder)
        if facts is None and not folder.exists():
            raise UserError(f"no folder {str(folder)!r}; nas train makes one")
        if facts is None:
            raise UserError(f"{str(folder)!r} is not a trained network: it has no {FACTS}; make one with: nas train")
        if not facts["finished"]:
            raise UserError(f"the training in {str(folder)!r} is not finished; the same nas train command resumes it")
        network = network_from_file(folder / NETWORK, space)
        try:
            task = Task.parse(facts["task"])
            mean, std = tuple(map(float, facts["mean"])), tuple(map(float, facts["std"]))
            Reading(**reading_of(facts["data"]))
        except (UserError, TypeError, ValueError, OverflowError) as error:
            raise UserError(f"{folder / FACTS} is damaged: {error}") from error
        if not isinstance(facts["data"].get("fingerprint"), str):
            raise UserError(f"{folder / FACTS} is damaged: its data have no fingerprint")
        names = tuple(map(str, facts["class_names"]))
        if len(names) != task.classes or len(mean) != task.channels or len(std) != task.channels:
            raise UserError(f"{folder / FACTS} is damaged: names, mean and std are not those of the task {task}")
        if not all(map(math.isfinite, (*mean, *std))) or not min(std) > 0:
            raise UserError(f"{folder / FACTS} is damaged: mean and std of pixels must be finite, and std above 0")
        return Trained(folder, network, task, names, mean, std, facts)

    def module(self, which: str = "best") -> nn.Module:
        """The torch module with its weights, in evaluation mode, on the CPU.

        Args:
            which: `best` (averaged, of the epoch that is kept) or `last`.

        Raises:
            UserError: the weights are missing, damaged or of another network.
        """
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        if which not in WEIGHTS:
            raise UserError(f"unknown weights {which!r}{nearest(which, WEIGHTS)}")
        path = self.folder / WEIGHTS[which]
        with torch.random.fork_rng([]):  # what is drawn for the fresh weights is nobody's business
            module = built(self.network, self.task)
        try:
            module.load_state_dict(load_file(path))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise UserError(f"cannot use the weights {path}: {str(error).splitlines()[0]}") from error
        return module.eval()

    def scaled_images(self, images: NDArray[np.uint8]) -> Tensor:
        """What the network takes: images uint8 (N, H, W, C) as float (N, C, H, W), with the training's mean and std."""
        import torch

        pixels = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float()
        mean, std = (torch.tensor(each)[:, None, None] for each in (self.mean, self.std))
        return (pixels - mean) / std

    def logits(self, images: NDArray[np.uint8], which: str = "best", batch: int = 256) -> NDArray[np.float32]:
        """Logits (N, classes) of images uint8 (N, H, W, C), on the CPU."""
        import torch

        module = self.module(which)
        with torch.inference_mode():
            parts = [module(self.scaled_images(images[i : i + batch])) for i in range(0, len(images), batch)]
        found: NDArray[np.float32] = torch.cat(parts).numpy()
        return found


def built(network: Buildable, task: Task, drop_path: float = 0.0) -> nn.Module:
    """The fresh module of a network for a task.

    Raises:
        UserError: the network cannot take the task's images.
    """
    try:
        return network.build(task, drop_path=drop_path)
    except ShapeError as error:
        raise UserError(f"the network cannot take images of {task}: {error}") from error


def settled(make: Callable[[], nn.Module], task: Task) -> nn.Module:
    """A module with random weights, the same each time, whose norms have seen one batch of noise.

    Else numbers would grow or vanish from layer to layer, and a comparison would tell nothing.
    """
    import torch
    from torch import nn

    with torch.random.fork_rng([]), torch.no_grad():
        torch.manual_seed(0)
        module = make().train()
        norms = [each for each in module.modules() if isinstance(each, nn.BatchNorm1d | nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = 1.0
        module(torch.rand(4, *task.shape) * 2 - 1)
        for norm in norms:
            norm.momentum = 0.1
    return module.eval()


def network_text(network: Buildable, task: Task) -> str:
    """The text form of a network that is trained on a task."""
    form = json.loads(network.to_json())
    if form.get("scale") == Scale().told():
        del form["scale"]
    return json.dumps({**form, "task": str(task)})


def read_facts(folder: Path) -> dict[str, Any] | None:
    """What training.json says; None where there is none.

    Raises:
        UserError: it is damaged, or of a newer format.
    """
    path = folder / FACTS
    if not path.exists():
        return None
    facts = read_json(path)
    kinds = _KINDS if isinstance(facts, dict) else {"format": int}
    for name, kind in kinds.items():
        value = facts.get(name) if isinstance(facts, dict) else None
        if not isinstance(value, kind):
            raise UserError(f"{path} is not what nas train wrote: {name!r} cannot be {value!r}")
    if facts["format"] > FORMAT:
        raise UserError(f"{path} was written by a newer nas (format {facts['format']}): upgrade nas-toolkit")
    found: dict[str, Any] = facts
    return found


_KINDS: Final[dict[str, type]] = {
    "format": int,
    "finished": bool,
    "recipe": dict,
    "seed": int,
    "task": str,
    "data": dict,
    "class_names": list,
    "mean": list,
    "std": list,
    "curve": list,
}
