"""What each technique of training is worth on small image sets: `python -m benchmarks.techniques`.

    python -m benchmarks.techniques --fashion fashion-mnist.npz --cifar cifar10-small.npz --sets fashion-2000,cifar

Trains one small network (that of `benchmarks.recipes`) by the recipe `resnet` (He et al. 2016: steps, crops, mirroring
and weight decay, nothing else), and by that recipe with one technique more. Prints the test accuracy of each over
seeds, and its difference from the baseline's, seed by seed, with the standard error of the mean difference.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any, Final

import torch

from benchmarks.recipes import NETWORK, sets
from estimators import ImageData
from estimators.recipe import Recipe, make_recipe
from estimators.training import train

TECHNIQUES: Final[dict[str, dict[str, Any]]] = {
    "cosine": {"schedule": "cosine"},
    "cosine, warmup": {"schedule": "cosine", "warmup": 0.05},
    "exponential": {"schedule": "exponential"},
    "Nesterov": {"nesterov": True},
    "Adam": {"optimizer": "adam", "lr": 1e-3},
    "AdamW": {"optimizer": "adamw", "lr": 1e-3, "weight_decay": 0.05},
    "RMSProp": {"optimizer": "rmsprop", "lr": 0.008},
    "weight decay 5e-4": {"weight_decay": 5e-4},
    "label smoothing": {"label_smoothing": 0.1},
    "cutout": {"cutout": 0.5},
    "mixup": {"mixup": 0.2, "mix": 1.0},
    "CutMix": {"cutmix": 1.0, "mix": 0.5},
    "RandAugment 1 x 5": {"randaugment_operations": 1, "randaugment_magnitude": 5.0},
    "dropout": {"dropout": 0.2},
    "DropConnect": {"drop_connect": 0.2},
    "stochastic depth": {"drop_path": 0.2},
    "adaptive clipping": {"adaptive_clip": 0.01},
    "weight averaging": {"ema": 0.99},
    "He initialization": {"initialization": "he"},
    "Xavier initialization": {"initialization": "xavier"},
    "progressive": {"progressive": 4},
}


def accuracies(data: ImageData, recipe: Recipe, seeds: int) -> tuple[list[float], float]:
    """Test accuracies in percent, by seed, and the mean seconds of a training."""
    found, seconds = [], []
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as folder:
            facts = train(NETWORK, data, recipe, Path(folder, "x"), seed, "cpu").facts
        found.append(100 * facts["test_accuracy"])
        seconds.append(facts["seconds"])
    return found, statistics.mean(seconds)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fashion", default="fashion-mnist.npz")
    parser.add_argument("--cifar", default="cifar10-small.npz")
    parser.add_argument("--sets", default="fashion-2000,cifar")
    parser.add_argument("--image-size", type=int, help="pixels a side; the images' own by default")
    parser.add_argument("--only", help="techniques, separated by commas; all by default")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    chosen = TECHNIQUES if given.only is None else {name: TECHNIQUES[name] for name in given.only.split(",")}
    for name, data in sets(given).items():
        usual = {"epochs": given.epochs, "batch": given.batch}
        print(f"\n{name}: {len(data.labels):,} images, {given.epochs} epochs, {given.seeds} seeds, {NETWORK.words()}")
        before, seconds = accuracies(data, make_recipe("resnet", **usual), given.seeds)
        print(f"  {'resnet':22} {statistics.mean(before):5.1f} {'':15} {seconds:6.1f} s", flush=True)
        for technique, settings in chosen.items():
            after, seconds = accuracies(data, make_recipe("resnet", **usual, **settings), given.seeds)
            gains = [now - then for now, then in zip(after, before, strict=True)]
            error = statistics.stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else float("nan")
            print(
                f"  {technique:22} {statistics.mean(after):5.1f}  {statistics.mean(gains):+5.1f} ± {error:.1f}  "
                f"{seconds:6.1f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
