"""Checkpoints of a short training between epochs: when to write one, and whether to continue from one.

A failing checkpoint never fails the training: an unreadable one is ignored, a failed write is noted in the estimate.
Left out: several checkpoints of one training, and asynchronous writing.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from estimators.checkpoint import load, restore, save, training_state
from searchspaces import UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    Training = tuple[nn.Module, torch.optim.Optimizer]
    """A model and its optimizer."""

SHARE: Final = 20
"""Minimum ratio of the time spent on training to the time spent on writing checkpoints."""


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """The progress of a training at a checkpoint.

    Attributes:
        curve: accuracy in [0, 1] after each epoch so far.
        micro: images per forward pass.
        seconds: wall-clock time so far.
    """

    curve: tuple[float, ...]
    micro: int
    seconds: float


@dataclass(slots=True)
class EpochCheckpoints:
    """The checkpoint of one training.

    Attributes:
        place: path or URL of the file; None keeps no checkpoint.
        whose: identifies the training, as plain JSON values.
        save_after_s: minimum seconds of training between two checkpoints.
        reads: whether one that is there may be continued; else it is of an earlier rung, and is written over.
        details: what happened to the checkpoint, for the estimate.
    """

    place: str | None
    whose: Mapping[str, Any]
    save_after_s: float
    reads: bool = True
    details: dict[str, Any] = field(default_factory=dict)
    _since: float = field(default_factory=lambda: time.perf_counter())
    _took: float = 0.0

    def continued(
        self, begin: Callable[[], Training], epochs: int, batch: int
    ) -> tuple[Training, TrainingProgress | None]:
        """The training as its checkpoint left it, or its beginning if there is no valid checkpoint.

        Args:
            begin: makes the beginning of the training.
            epochs, batch: of the whole training; they bound the values of a valid checkpoint.
        """
        training = begin()
        found = self.found() if self.reads else None
        if found is None:
            return training, None
        tensors, state = found
        progress = _validated(state, epochs, batch) if _of(state) == json.loads(json.dumps(self.whose)) else None
        if progress is not None:
            try:
                restore(*training, tensors, state)
            except UserError:
                progress, training = None, begin()
        after = None if progress is None else len(progress.curve)
        self.details["checkpoint"] = f"continued after epoch {after}" if after else "not used: from another training"
        return training, progress

    def found(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Tensors and state of the checkpoint; None where there is none that can be read."""
        if self.place is None:
            return None
        try:
            return load(self.place)
        except Exception as error:  # storage backends raise errors of any type; the training can always restart
            self.details["checkpoint"] = f"not read: {_line(error)}"
            return None

    def keep(self, training: Training, progress: TrainingProgress) -> None:
        """Write a checkpoint, if enough time was spent on training since the last one."""
        began = time.perf_counter()
        if self.place is None or began - self._since < max(self.save_after_s, SHARE * self._took):
            return
        tensors, state = training_state(*training)
        try:
            save(self.place, tensors, {**state, **asdict(progress), "whose": dict(self.whose)})
        except Exception as error:  # such as a full disk: no reason to lose the training
            self.details["checkpoint"] = f"not written: {_line(error)}"
            self.place = None
        self._since = time.perf_counter()
        self._took = self._since - began


def _of(state: Any) -> Any:
    return state.get("whose") if isinstance(state, dict) else None


def _validated(state: Mapping[str, Any], epochs: int, batch: int) -> TrainingProgress | None:
    """The progress in a checkpoint, if all its values are valid."""
    curve, micro, seconds = (state.get(name) for name in ("curve", "micro", "seconds"))
    if not isinstance(curve, list) or not 0 < len(curve) < epochs:
        return None
    if not all(isinstance(each, float) and 0.0 <= each <= 1.0 for each in curve):
        return None
    if not isinstance(micro, int) or isinstance(micro, bool) or not 1 <= micro <= batch:
        return None
    if not isinstance(seconds, float) or not 0.0 <= seconds < math.inf:
        return None
    return TrainingProgress(tuple(curve), micro, seconds)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
