"""The checkpoints of a short training: when one is worth its while, and whether one that is found may be gone on from.

Nothing that goes wrong with a checkpoint fails the training: what cannot be read is none, what cannot be written is
noted. Left out: more than one checkpoint of a training, and writing it while the training goes on.
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

    Training = tuple[nn.Module, torch.optim.Optimizer, torch.Generator]
    """A model, its optimizer, and what order and augmentation are drawn from."""

SHARE: Final = 20
"""Training takes at least so many times as long as writing its checkpoints."""


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """How far a training came.

    Attributes:
        curve: accuracy in [0, 1] after each epoch until then.
        micro: images that pass through the network at a time.
        seconds: wall-clock time until then.
    """

    curve: tuple[float, ...]
    micro: int
    seconds: float


@dataclass(slots=True)
class EpochCheckpoints:
    """The checkpoint of one training.

    Attributes:
        place: path or URL; None keeps nothing.
        whose: what makes the training this one, plain JSON values.
        save_after_s: seconds of training between two checkpoints, at least.
        details: what there is to say of it in the estimate.
    """

    place: str | None
    whose: Mapping[str, Any]
    save_after_s: float
    details: dict[str, Any] = field(default_factory=dict)
    _since: float = field(default_factory=lambda: time.perf_counter())
    _took: float = 0.0

    def continued(
        self, begin: Callable[[], Training], epochs: int, batch: int
    ) -> tuple[Training, TrainingProgress | None]:
        """The training, and how far it came; from its beginning if there is nothing to be relied on.

        Args:
            begin: makes its beginning.
            epochs, batch: of the whole training; what is outside of them is not believed.
        """
        training = begin()
        found = self._found()
        if found is None:
            return training, None
        tensors, state = found
        progress = _believed(state, epochs, batch) if _of(state) == json.loads(json.dumps(self.whose)) else None
        if progress is not None:
            model, optimizer, generator = training
            try:
                restore(model, optimizer, tensors, state, batches=generator)
            except UserError:
                progress, training = None, begin()
        after = None if progress is None else len(progress.curve)
        self.details["checkpoint"] = f"continued after epoch {after}" if after else "not used: of another training"
        return training, progress

    def _found(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        if self.place is None:
            return None
        try:
            return load(self.place)
        except Exception as error:  # a storage may raise what it likes; a training can always begin again
            self.details["checkpoint"] = f"not read: {_line(error)}"
            return None

    def keep(self, training: Training, progress: TrainingProgress) -> None:
        """Write one, if that is worth its while."""
        began = time.perf_counter()
        if self.place is None or began - self._since < max(self.save_after_s, SHARE * self._took):
            return
        model, optimizer, generator = training
        tensors, state = training_state(model, optimizer, batches=generator)
        try:
            save(self.place, tensors, {**state, **asdict(progress), "whose": dict(self.whose)})
        except Exception as error:  # a full disk, a storage that is not reached: the training is worth more
            self.details["checkpoint"] = f"not written: {_line(error)}"
            self.place = None
        self._since = time.perf_counter()
        self._took = self._since - began


def _of(state: Any) -> Any:
    return state.get("whose") if isinstance(state, dict) else None


def _believed(state: Mapping[str, Any], epochs: int, batch: int) -> TrainingProgress | None:
    """What was read, if each number in it can be."""
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
