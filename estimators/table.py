"""Recorded accuracies from a file: thousands of trials a second, without training.

For tabular benchmarks such as NAS-Bench-Macro (Su et al. 2021, arXiv:2103.11922), which trained each network several
times. An estimate is one of the recorded accuracies, chosen by the trial's seed as if it were a new training, or the
one of a given number.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from estimators.estimator import Estimate, TrialContext
from searchspaces import UserError, load_object, nearest
from searchspaces.files import parse_json, read_bytes

if TYPE_CHECKING:
    from searchspaces import Architecture

UNITS: Final[Mapping[str, float]] = {"fraction": 1.0, "percent": 100.0}
"""How an accuracy of 1 is written."""
FORM: Final = 'one JSON object of entries, as in {"a network\'s key": [0.93, 0.92]}'
"""What the file holds, in words."""


class TableEstimator:
    """Looks architectures up in a JSON file.

    The file holds one object: key -> list of accuracies (or one number), or key -> object with those under `field`.

    Args:
        path: of the JSON file.
        unit: of the file's accuracies, `fraction` or `percent`; checked against all of them.
        field: name of the field that holds the accuracies, if entries are objects.
        key: maps an architecture to its key in the file; by default to its JSON text form. A function, or
            `file.py:function`.
        training: which of the recorded accuracies to return, counting from 1 in the order of the file; by default one
            chosen by the trial's seed.

    Attributes:
        has_fields: whether every entry is an object, so that `field` says which accuracies are read.

    Raises:
        UserError: the key is no function; the file cannot be read, is not such a table, has a key twice, or has
            accuracies that do not fit the unit; an entry has fewer accuracies than `training`.
    """

    def __init__(
        self,
        path: str | Path,
        unit: str = "fraction",
        field: str = "test_acc",
        key: Callable[[Architecture], str] | str | None = None,
        training: int | None = None,
    ) -> None:
        if isinstance(key, str) and ".py:" in key:
            key = load_object(key)
        if key is not None and not callable(key):
            raise UserError(f"table: key must be a function of an architecture or file.py:function, got {key!r}")
        if unit not in UNITS:
            raise UserError(f"table: unknown unit {unit!r}{nearest(unit, UNITS)}")
        self._name, self._unit, self._field = str(path), unit, field
        self._key: Callable[[Architecture], str] = key or (lambda architecture: architecture.to_json())
        self._key_name = getattr(key, "__qualname__", type(key).__name__) if key else "to_json"
        file = Path(path).expanduser()
        content = read_bytes(file, "the table")
        table = parse_json(content, f"the table {file}", FORM)
        if not isinstance(table, dict) or not table:
            raise UserError(f"table {self._name!r} must hold {FORM}, at least one")
        self._sha256 = hashlib.sha256(content).hexdigest()
        self._entries = table
        self._observed = {each: self._accuracies(each, entry) for each, entry in table.items()}
        self.has_fields = all(isinstance(entry, dict) for entry in table.values())
        top = max(max(accuracies) for accuracies in self._observed.values())
        if unit == "percent" and top <= 0.01:
            raise UserError(f"table {self._name!r}: no accuracy is above 1 percent; are they fractions?")
        self._training = None if training is None else self._checked_training(training)

    def _checked_training(self, training: Any) -> int:
        if isinstance(training, bool) or not isinstance(training, int) or training < 1:
            raise UserError(f"table: training must be a whole number of at least 1, got {training!r}")
        short = next((key for key, observed in self._observed.items() if len(observed) < training), None)
        if short is not None:
            raise UserError(f"table {self._name!r}: entry {short!r} holds fewer accuracies than {training}")
        return training

    def _accuracies(self, key: str, entry: Any) -> tuple[float, ...]:
        """The entry's accuracies in [0, 1]."""
        if isinstance(entry, dict):
            if self._field not in entry:
                hint = nearest(self._field, entry)
                raise UserError(f"table {self._name!r}: entry {key!r} has no {self._field!r}{hint}")
            entry = entry[self._field]
        values = entry if isinstance(entry, list) else [entry]
        full = UNITS[self._unit]
        for value in values:
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise UserError(f"table {self._name!r}: entry {key!r} holds {value!r}, which is not an accuracy")
            if not 0 <= value <= full:
                hint = "; is it 'percent'?" if self._unit == "fraction" and 1 < value <= 100 else ""
                raise UserError(
                    f"table {self._name!r}: entry {key!r} holds {value}, outside 0 to {full:g} ({self._unit}){hint}"
                )
        if not values:
            raise UserError(f"table {self._name!r}: entry {key!r} holds no accuracy")
        return tuple(value / full for value in values)

    def describe(self) -> dict[str, Any]:
        """The file, its sha256, and how it is read."""
        one = {} if self._training is None else {"training": self._training}
        return {
            "name": "table",
            "file": Path(self._name).name,
            "sha256": self._sha256,
            "unit": self._unit,
            "field": self._field,
            "key": self._key_name,
            **one,
        }

    def numbers(self, field: str) -> dict[str, float]:
        """A number of every entry, such as a recorded cost, by key.

        Raises:
            UserError: an entry has no such field, or it does not hold one number of at least 0.
        """
        found = {}
        for key, entry in self._entries.items():
            if not isinstance(entry, dict) or field not in entry:
                hint = nearest(field, entry) if isinstance(entry, dict) else ": it is not an object with fields"
                raise UserError(f"table {self._name!r}: entry {key!r} has no {field!r}{hint}")
            value = entry[field]
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
                raise UserError(f"table {self._name!r}: entry {key!r} has {value!r} as {field!r}, which is not a cost")
            found[key] = value
        return found

    @property
    def by_text(self) -> bool:
        """Whether its keys are architectures in their text form, which can be read back."""
        return self._key_name == "to_json"

    def key_of(self, architecture: Architecture) -> str:
        """The key of an architecture, whether the table has it or not."""
        return self._key(architecture)

    @property
    def keys(self) -> tuple[str, ...]:
        """The key of each entry, in the order of the file."""
        return tuple(self._entries)

    @property
    def recorded(self) -> tuple[int, int, int]:
        """Number of entries, and the fewest and the most accuracies that one holds: (3969, 3, 3)."""
        several = [len(accuracies) for accuracies in self._observed.values()]
        return len(several), min(several), max(several)

    @property
    def noisy(self) -> bool:
        """Whether some network has several accuracies, of which a trial gets one by its seed."""
        return self.recorded[2] > 1

    def mean(self, architecture: Architecture) -> float | None:
        """Mean of the accuracies recorded for the architecture, in [0, 1]; None if there is no entry."""
        observed = self._observed.get(self._key(architecture))
        return None if observed is None else sum(observed) / len(observed)

    def estimate(self, architecture: Architecture, context: TrialContext) -> Estimate:
        """One of the accuracies recorded for the architecture: the one of the number `training`, or `context.seed`'s.

        Raises:
            UserError: the table has no entry for the architecture.
        """
        start = time.perf_counter()
        key = self._key(architecture)
        observed = self._observed.get(key)
        if observed is None:
            raise UserError(f"table {self._name!r} has no entry {key!r}")
        index = (
            int(np.random.default_rng(context.seed).integers(len(observed)))
            if self._training is None
            else self._training - 1
        )
        accuracy = observed[index]
        return Estimate(accuracy, time.perf_counter() - start, (accuracy,), {"observation": index})
