"""How near a short training comes to the speed of its own steps: `python -m benchmarks.proxy_speed`.

One thread of a CPU, networks at 32x32 pixels, three things timed in turns in the same run:

- whole: `ShortTraining.estimate` from the architecture to the accuracy, with data work, evaluation and all;
- limit: the same number of steps on one fixed batch, and of forward passes for the evaluation;
- plain: a loop over a `DataLoader` with two processes that crop and mirror image by image, steps only.

Prints, for each network, `limit / whole` (1 is the best there can be) and `plain / whole` (how many times faster the
whole short training is than the plain loop). Speeds are ratios, since seconds depend on the machine.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from estimators.data import ImageData
from estimators.estimator import TrialContext
from estimators.short_training import ShortTraining
from estimators.steps import decayed, quick_to_load
from searchspaces import Scale, Task, classic, load_space, space_named

IMAGES = {"few-macs, 5.2M MACs": 4000}
"""Training and validation images: those of a short training where that takes a minute; 800 for larger networks."""


class Whole:
    """A classic as short training builds its candidates, never shrunken."""

    def __init__(self, name: str) -> None:
        self._network = classic(name)

    def build(self, task: Task, scale: Scale = Scale()) -> Any:  # noqa: B008 - a frozen value
        return self._network.build(task)


def networks() -> dict[str, Any]:
    """What is trained."""
    few = load_space("examples/few_macs.py:space")
    rng = np.random.default_rng(5)
    drawn = [few.sample(rng) for _ in range(40)]
    near = min(drawn, key=lambda each: abs(each.cost(data().task).macs - 5.2e6))
    return {
        "few-macs, 5.2M MACs": near,
        "EfficientNet-B0 in mbconv": space_named("mbconv").references["efficientnet_b0"],
        "ResNet-18": Whole("resnet18"),
        "GoogLeNet": Whole("googlenet"),
    }


def data(count: int = 800) -> ImageData:
    """Noise: the speed does not depend on what is seen."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 32, 32, 3), np.uint8)
    labels = np.arange(count) % 10
    return ImageData.of("noise", images, labels, images[:20], labels[:20])


class Plain(Dataset[tuple[torch.Tensor, int]]):
    """Images cropped and mirrored one by one, as the usual loop does."""

    def __init__(self, images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image = torch.from_numpy(self.images[index]).permute(2, 0, 1).float().sub(127.5).div(64.0)
        padded = torch.nn.functional.pad(image, (4, 4, 4, 4))
        top, left = torch.randint(0, 9, (2,)).tolist()
        image = padded[:, top : top + 32, left : left + 32]
        return (image.flip(2) if torch.rand(()) < 0.5 else image), int(self.labels[index])


def step_of(network: Any, settings: ShortTraining) -> tuple[Any, Callable[[Any, Any], None]]:
    """A network and one training step on a batch."""
    model = network.build(settings.data.task).to(memory_format=torch.channels_last)
    optimizer = quick_to_load(torch.optim.SGD)(decayed(model, 5e-4), lr=0.01, momentum=0.9, nesterov=True)

    def step(inputs: Any, labels: Any) -> None:
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(model(inputs), labels, label_smoothing=0.1).backward()
        optimizer.step()

    return model, step


def compared(network: Any, settings: ShortTraining) -> tuple[float, float, float]:
    """Seconds of an epoch: whole, at its limit, and of the plain loop without evaluation."""
    images = torch.randn(settings.batch, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(settings.batch) % 10
    train, val = settings.split()
    steps, passes = len(train) // settings.batch, -(-len(val) // settings.batch)

    began = time.perf_counter()
    settings.estimate(network, TrialContext(0, "cpu"))
    whole = (time.perf_counter() - began) / settings.epochs

    model, step = step_of(network, settings)
    step(images, labels)
    began = time.perf_counter()
    for _ in range(steps):
        step(images, labels)
    model.eval()
    with torch.inference_mode():
        for _ in range(passes):
            model(images)
    limit = time.perf_counter() - began

    model.train()
    loader = DataLoader(Plain(settings.data.images[train], settings.data.labels[train]), settings.batch, shuffle=True,
                        num_workers=2, drop_last=True, persistent_workers=True)  # fmt: skip
    next(iter(loader))  # starts the processes
    began = time.perf_counter()
    for inputs, targets in loader:
        step(inputs.contiguous(memory_format=torch.channels_last), targets)
    return whole, limit, time.perf_counter() - began


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="turns; the median of their ratios counts")
    parser.add_argument("--batch", type=int, default=32)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'network':28} {'images/s whole':>15} {'limit / whole':>14} {'plain / whole':>14}")
    for name, network in networks().items():
        images = data(IMAGES.get(name, 800))
        settings = ShortTraining(images, epochs=3, batch=arguments.batch, width=1.0, depth=1.0, data_fraction=1.0)
        rounds = [compared(network, settings) for _ in range(arguments.rounds)]
        limit = statistics.median(limit / whole for whole, limit, _ in rounds)
        plain = statistics.median(plain / whole for whole, _, plain in rounds)
        speed = len(images.labels) / min(whole for whole, _, _ in rounds)
        print(f"{name:28} {speed:15.0f} {limit:14.2f} {plain:14.2f}", flush=True)


if __name__ == "__main__":
    main()
