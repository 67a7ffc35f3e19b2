"""Data sets of the Hugging Face hub, by the library `datasets`: their splits and columns, and its errors in one line.

`datasets` 4 or newer does not run loading scripts. `estimators.sources` makes images and labels of the splits.
"""

from __future__ import annotations

import logging
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from searchspaces import UserError


def hub_splits(spec: str) -> Any:
    """The splits of a data set of the hub, as `datasets` gives them; not one image is decoded.

    Raises:
        UserError: the library is missing or too old, there is no such data set, or it has no training split.
    """
    try:
        import datasets
    except ImportError as error:
        raise UserError(
            f"data {spec!r} needs the Hugging Face library; install it with: pip install 'nas-toolkit[hub]'"
        ) from error
    if int(datasets.__version__.split(".")[0]) < 4:
        raise UserError(f"data {spec!r} needs datasets 4 or newer (older ones run scripts), got {datasets.__version__}")
    name, _, config = spec.removeprefix("hub:").partition(":")
    if not name.strip():
        raise UserError(f"data {spec!r} has no name; give hub:NAME or hub:NAME:CONFIG, such as hub:cifar10")
    try:
        with _kept_from_stderr() as logged, _bars_on_terminals():
            splits = datasets.load_dataset(name, config or None)
    except Exception as error:  # the library raises many types: no such data set, no network, a bad file
        raise UserError(f"data {spec!r} could not be loaded from the hub: {_told(error, name, logged)}") from error
    if "train" not in splits:
        raise UserError(f"data {spec!r} has no split 'train'; it has: {', '.join(splits)}")
    return splits


def hub_columns(spec: str, features: Any) -> tuple[str, str]:
    """Names of the image and the label column: by type, then by the usual names.

    Raises:
        UserError: there are none.
    """
    import datasets

    images = [key for key, feature in features.items() if isinstance(feature, datasets.Image)]
    labels = [key for key, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    labels += [key for key in ("label", "labels") if key in features and key not in labels]
    if not images or not labels:
        raise UserError(f"data {spec!r} is not an image classification dataset: its columns are {', '.join(features)}")
    return images[0], "label" if "label" in labels else labels[0]


@contextmanager
def _bars_on_terminals() -> Iterator[None]:
    """The library's progress bars where standard error is a terminal, as of a download; elsewhere none."""
    from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if sys.stderr.isatty() or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


@contextmanager
def _kept_from_stderr() -> Iterator[list[str]]:
    """The errors that the library logs meanwhile, beside those that it raises, in place of printing them.

    Warnings, two lines for each attempt to reach the hub, are dropped.
    """
    logged: list[str] = []
    keep = logging.Handler(logging.ERROR)
    keep.emit = lambda record: logged.append(record.getMessage())  # type: ignore[method-assign]
    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub")]
    before = [(logger.handlers, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate = [keep], False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield logged
    finally:
        for logger, (handlers, propagate) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate


def _told(error: BaseException, name: str, logged: Sequence[str] = ()) -> str:
    """What an error of the library says, in one line, and what to do where it says that in its own code, or not at all.

    Args:
        error: as it was raised.
        name: of the data set.
        logged: beside it; what repeats the error may name the file.

    >>> _told(ValueError("Config name is missing.\\nPlease pick one among the available configs: ['a', 'b']"), "glue")
    "it has several configurations; give one, as hub:glue:CONFIG, of: 'a', 'b'"
    """
    text = " ".join(str(error).split()) or type(error).__name__
    if (several := _SEVERAL.match(text)) is not None:
        return f"it has several configurations; give one, as hub:{name}:CONFIG, of: {several[1]}"
    if isinstance(error, ConnectionError):
        return f"{text}; check the connection to huggingface.co, or give a folder or an .npz file"
    causes = [text]
    while (cause := error.__cause__) is not None and text.startswith(_GENERATING):  # it says why in its cause alone
        error, causes = cause, [*causes, " ".join(str(cause).split()) or type(cause).__name__]
    fuller = next((" ".join(each.split()) for each in logged if str(error) in each), causes[-1])
    return ": ".join(dict.fromkeys([*causes[:-1], fuller]))


_SEVERAL: Final = re.compile(r"Config name is missing\..*?available configs: \[(.*?)\]")
_GENERATING: Final = "An error occurred while generating the dataset"
