"""Rungs: trainings of smaller fidelity that a trial climbs before its own, so that it may be stopped at less cost.

A rung is a training of its own, from scratch and from the trial's seed: on fewer training images, on smaller images,
for fewer epochs, or several of these at once, and always judged on the same validation images. What it ends at is
reported before the first epoch, and a trial that is not stopped there starts anew with all it has. So the resource of
successive halving (Jamieson & Talwalkar 2016, arXiv:1502.07943) may be images or image size, beside epochs. One
departure: nothing of a rung's training is kept for the next, since a cosine to zero has no way on.

Epochs are steps 1, 2, ... of a trial, whether it has rungs or not; the last rung is step 0, the one before it step -1.
So an epoch keeps its number, steps come in order, and the sign tells what is no point of the learning curve: curves,
plots and extrapolations read steps from 1 alone. Predictors and pruners look at each step for itself.

Left out: rungs that are shrunken in width or depth.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np

from estimators.data import stratified_split
from searchspaces import UserError, nearest

FORM: Final = "images:0.25, image_size:16+epochs:3, or several with commas between them"


@dataclass(frozen=True, slots=True)
class Rung:
    """How much a rung's training is given.

    Attributes:
        images: share of the trial's training images, stratified, in (0, 1].
        image_size: side in pixels.
        epochs: passes over those images.
    """

    images: float
    image_size: int
    epochs: int

    @property
    def pixels(self) -> float:
        """Pixels that are trained on, in those of the training images at a side of one pixel: about its cost."""
        return self.images * self.image_size**2 * self.epochs

    def part(self, train: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], seed: int) -> np.ndarray[Any, Any]:
        """Which of the trial's training images it has: at least one of each class.

        Args:
            train: positions of the trial's training images, ascending.
            labels: of all images.
            seed: of the random choice, the same for all trials.
        """
        if self.images == 1:
            return train
        found: np.ndarray[Any, Any] = train[stratified_split(labels[train], self.images, seed, least=1)[1]]
        return found


def parse_rungs(text: object, image_size: int, epochs: int) -> dict[str, Rung]:
    """The rungs that a person typed, the first to the last, by what was typed of each.

    Args:
        text: such as `images:0.25,images:0.5` or `image_size:16+images:0.5,images:0.25`; empty for none.
        image_size: of the trial's own training.
        epochs: of the trial's own training.

    Raises:
        UserError: the text is no such list, or a rung is not smaller than the training or than the rung after it.

    >>> parse_rungs("image_size:16+images:0.5,images:0.25", 32, 6)["images:0.25"]
    Rung(images=0.25, image_size=32, epochs=6)
    """
    if not isinstance(text, str):
        raise UserError(f"rungs must be a string such as {FORM}; got {text!r}")
    whole = {"images": 1, "image_size": image_size, "epochs": epochs}
    found: dict[str, Rung] = {}
    for words in (each.strip() for each in text.split(",") if text.strip()):
        given: dict[str, Any] = {}
        for part in words.split("+"):
            name, colon, value = (each.strip() for each in part.partition(":"))
            if not colon:
                raise UserError(f"rungs: {part.strip()!r} does not look like {FORM}")
            if name not in whole:
                raise UserError(f"rungs: unknown fidelity {name!r}{nearest(name, whole)}")
            if name in given:
                raise UserError(f"rungs: {name} is given twice in {words!r}")
            given[name] = _smaller(name, value, whole[name])
        found[words] = Rung(**{**whole, **given})
    for (before, small), (after, large) in pairwise(found.items()):
        if small.pixels >= large.pixels:
            raise UserError(f"rungs must grow: {before!r} trains on no fewer pixels than {after!r} after it")
    return found


def _smaller(name: str, value: str, whole: int) -> float:
    """A value of a rung, which must be below that of the trial's own training."""
    kind: Callable[[str], float] = float if name == "images" else int
    must = f"must be a {'number above 0' if name == 'images' else 'whole number at least 1'} and below {whole}"
    try:
        found = kind(value)
    except ValueError:
        raise UserError(f"rungs: {name} {must}, got {value!r}") from None
    if not 0 < found < whole:
        raise UserError(f"rungs: {name} {must}, which the training itself uses, got {value}")
    return found


def step_of(index: int, rungs: int) -> int:
    """The step at which a rung reports; `index` counts from 0, the first.

    >>> [step_of(index, 2) for index in range(2)]
    [-1, 0]
    """
    return index + 1 - rungs


def passed(state: object, whose: dict[str, Any], rungs: int) -> tuple[float, ...]:
    """Accuracies of the rungs that a trial had passed at its checkpoint; none if that is of another trial.

    Args:
        state: of the checkpoint, as it was read.
        whose: identifies the trial, without what it has passed.
        rungs: how many there are.
    """
    recorded = state.get("whose") if isinstance(state, dict) else None
    mine = json.loads(json.dumps(whose))
    if not isinstance(recorded, dict) or {name: recorded.get(name) for name in mine} != mine:
        return ()
    found: Any = recorded.get("rungs")
    if not isinstance(found, list) or len(found) > rungs:
        return ()
    return tuple(found) if all(isinstance(each, float) and 0.0 <= each <= 1.0 for each in found) else ()
