"""The estimators by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final

from estimators.data import ImageData, load_data
from estimators.estimator import Estimator
from estimators.full_training import FullTraining
from estimators.image_sizes import stay_in_files
from estimators.scoring import ZeroCost
from estimators.short_training import ShortTraining
from estimators.sources import READING
from estimators.steps import DEVICES, unknown_device
from estimators.supernet import Supernet
from estimators.table import TableEstimator
from searchspaces import UserError, nearest

ESTIMATORS: Final[dict[str, Callable[..., Estimator]]] = {
    "full-training": FullTraining,
    "short-training": ShortTraining,
    "supernet": Supernet,
    "table": TableEstimator,
    "zero-cost": ZeroCost,
}
"""Each takes the data or its file first, then its settings by name."""


def make_estimator(name: str, data: str | ImageData = "digits", device: str = "auto", **settings: Any) -> Estimator:
    """An estimator by its name.

    Args:
        name: a name in `ESTIMATORS`, or `table:FILE.json`.
        data: images, or a text for `load_data`; a table does not read it.
        device: `auto`, `cpu`, `cuda` or `mps`, for estimators that train.
        settings: of the estimator, by name; and `skip_bad`, `max_pixels`, `cache` and `centre` of `load_data`, if the
            data are a text.

    Raises:
        UserError: the name or a setting is unknown (the message has the nearest one), or a value is not allowed.
    """
    kind, _, subject = name.partition(":")
    if kind not in ESTIMATORS or (subject and kind != "table"):
        raise UserError(f"unknown estimator {name!r}{nearest(kind, ESTIMATORS)}")
    if kind == "table" and not subject:
        raise UserError("estimator 'table' needs its file: table:FILE.json")
    if device not in DEVICES:
        raise UserError(unknown_device(device))
    reading = {name: settings.pop(name) for name in READING if kind != "table" and name in settings}
    known = [each for each in inspect.signature(ESTIMATORS[kind]).parameters if each not in ("data", "path", "device")]
    for each in settings:
        if each not in known:
            raise UserError(f"{kind}: unknown setting {each!r}{nearest(each, known)}")
    if kind == "table":
        try:
            return TableEstimator(subject, **settings)
        except TypeError as error:  # a value of the wrong type, such as a list for a name
            raise UserError(f"table: {error}") from error
    if isinstance(data, str):
        size = settings.get("image_size")
        data = load_data(data, size, **reading, in_files=kind == "full-training" and stay_in_files(data, size))
    return ESTIMATORS[kind](data, device=device, **settings)
