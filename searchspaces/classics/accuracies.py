"""Accuracies of classic networks on ImageNet, as published with the weights of other collections.

`accuracies.csv` has, for each set of weights, top-1 and top-5 accuracy on the 50,000 validation images (single crop, in
percent) and the side of the images. It is made by `benchmarks/published_accuracies.py` from the tables of torchvision
(BSD-3-Clause; 0.29, `Weights.meta`), timm (Apache-2.0; 1.0, `results-imagenet.csv`, which has no top-5 there) and
imgclsmob (MIT; README, which prints errors). Left out are networks that differ from ours in a layer, weights that were
trained on more than ImageNet-1k, and timm's copies of torchvision's weights.

The same network differs by several points between recipes, more than many networks differ from each other. The name of
the weights in their collection says the recipe: `resnet50.a1_in1k` in timm, say.
"""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

from searchspaces.task import Task

RECIPES: Final = {
    "torchvision": {
        "IMAGENET1K_V1": "torchvision's first weights: a recipe close to the paper's, or converted from others",
        "IMAGENET1K_V2": "torchvision's new recipe or a version of it: long, TrivialAugment, mixup, CutMix, averaging",
    },
    "timm": {
        "a1": "ResNet Strikes Back A1 (arXiv:2110.00476): 600 epochs, LAMB, binary cross-entropy",
        "a1h": "as A1, with stronger dropout, stochastic depth and RandAugment",
        "a2": "ResNet Strikes Back A2 (arXiv:2110.00476): 300 epochs, LAMB, binary cross-entropy",
        "a3": "ResNet Strikes Back A3 (arXiv:2110.00476): 100 epochs on 160 pixels, LAMB, binary cross-entropy",
        "aa": "the authors' weights with AutoAugment",
        "ap": "the authors' weights with AdvProp (arXiv:1911.09665)",
        "gluon": "GluonCV (arXiv:1812.01187)",
        "in1k": "the authors' weights",
        "lamb": "timm's recipe with LAMB",
        "pycls": "pycls, the authors' weights (arXiv:2003.13678)",
        "ra": "RandAugment",
        "ra4_e3600_r224": "3,600 epochs on 224 pixels, after MobileNetV4 (arXiv:2404.10518)",
        "ra4_e3600_r240": "3,600 epochs on 240 pixels, after MobileNetV4 (arXiv:2404.10518)",
        "rmsp": "timm's recipe with RMSProp",
        "tf": "converted from TensorFlow, mostly the authors' weights",
        "tv": "torchvision's first weights",
        "tv2": "torchvision's second weights",
    },
}
"""What is known of a recipe, by collection and name; timm's are what follows the network's name, without `_in1k`."""


@dataclass(frozen=True, slots=True)
class Published:
    """The accuracy of one set of weights.

    Attributes:
        image_size: side of the validation images in pixels, after the crop.
        top1, top5: accuracies in [0, 1]; top-5 is None where the source has none.
        weights: their name in the source.
        source: `torchvision`, `timm` or `imgclsmob`.
    """

    image_size: int
    top1: float
    top5: float | None
    weights: str
    source: str

    @property
    def recipe(self) -> str | None:
        """How they were trained, in words; None where only the source says it."""
        return RECIPES.get(self.source, {}).get(self.weights.rpartition(".")[2].removesuffix("_in1k"))

    def told(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "recipe": self.recipe}


def published_accuracies(name: str) -> tuple[Published, ...]:
    """What is published of a classic network, by its name; empty where these sources have nothing.

    >>> first = published_accuracies("resnet50")[0]
    >>> first.top1, first.top5, first.weights, first.source
    (0.7613, 0.92862, 'IMAGENET1K_V1', 'torchvision')
    """
    return _table().get(name, ())


def published_on(name: str, task: Task) -> tuple[Published, ...]:
    """Those on images of a task's size, from the lowest top-1 to the highest, so that they belong to costs on it.

    There are none unless the task has 3 channels and 1000 classes.
    """
    if (task.classes, task.channels) != (1000, 3):
        return ()
    return tuple(sorted((one for one in published_accuracies(name) if one.image_size == task.image_size), key=_top1))


def _top1(one: Published) -> float:
    return one.top1


@cache
def _table() -> dict[str, tuple[Published, ...]]:
    found: dict[str, tuple[Published, ...]] = {}
    text = (files("searchspaces.classics") / "accuracies.csv").read_text()
    for row in csv.DictReader(text.splitlines()):
        top1, top5 = (round(float(row[key]) / 100, 5) if row[key] else None for key in ("top1", "top5"))
        assert top1 is not None
        one = Published(int(row["image_size"]), top1, top5, row["weights"], row["source"])
        found[row["name"]] = (*found.get(row["name"], ()), one)
    return found
